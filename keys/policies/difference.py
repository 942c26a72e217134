"""What changes between two documents, line by line, for a page to show; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

Kind = Literal["same", "removed", "added"]
Line = tuple[Kind, str]
MOST_CHANGES = 300  # lines; beyond, the middle is shown as replaced whole, so that no text keeps us busy


def lines(old: str, new: str) -> list[Line]:
    """Return the lines of both texts in reading order, each `same`, `removed` (of the old) or `added` (of the new).

    In a place that changes, what is removed stands before what is added. `same` and `removed` make up the
    old text, `same` and `added` the new one; line ends are not looked at.
    """
    before, after = old.splitlines(), new.splitlines()
    head = _common(before, after)
    tail = _common(before[head:][::-1], after[head:][::-1])
    left, right = before[head : len(before) - tail], after[head : len(after) - tail]
    return [
        *(("same", text) for text in before[:head]),
        *_grouped(_changed(left, right)),
        *(("same", text) for text in before[len(before) - tail :]),
    ]


def _common(left: Sequence[str], right: Sequence[str]) -> int:
    pairs = zip(left, right, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(left), len(right)))


def _changed(old: Sequence[str], new: Sequence[str]) -> list[Line]:
    """Return the shortest way from one to the other (Myers, "An O(ND) Difference Algorithm", 1986, the greedy one)."""
    reach, trail = {1: 0}, []
    for changes in range(min(len(old) + len(new), MOST_CHANGES) + 1):
        trail.append(dict(reach))
        for diagonal in range(-changes, changes + 1, 2):
            is_down = _is_down(reach, diagonal, changes)
            at = reach[diagonal + 1] if is_down else reach[diagonal - 1] + 1
            while at < len(old) and at - diagonal < len(new) and old[at] == new[at - diagonal]:
                at += 1
            reach[diagonal] = at
            if at >= len(old) and at - diagonal >= len(new):
                return _walked_back(old, new, trail)
    return [*(("removed", text) for text in old), *(("added", text) for text in new)]


def _is_down(reach: dict[int, int], diagonal: int, changes: int) -> bool:
    """Tell whether the last change that leads furthest on a diagonal adds a line (down) or removes one (right)."""
    return diagonal == -changes or (diagonal != changes and reach[diagonal - 1] < reach[diagonal + 1])


def _walked_back(old: Sequence[str], new: Sequence[str], trail: Sequence[dict[int, int]]) -> list[Line]:
    x, y = len(old), len(new)
    found: list[Line] = []
    for changes in range(len(trail) - 1, -1, -1):
        reach, diagonal = trail[changes], x - y
        is_down = _is_down(reach, diagonal, changes)
        start = reach[diagonal + 1] if is_down else reach[diagonal - 1] + 1
        while x > start:
            x, y = x - 1, y - 1
            found.append(("same", old[x]))
        if changes and is_down:
            y -= 1
            found.append(("added", new[y]))
        elif changes:
            x -= 1
            found.append(("removed", old[x]))
    return found[::-1]


def _grouped(changed: list[Line]) -> Iterator[Line]:
    added: list[Line] = []
    for line in changed:
        if line[0] == "added":
            added.append(line)
            continue
        if line[0] == "same":
            yield from added
            added = []
        yield line
    yield from added
