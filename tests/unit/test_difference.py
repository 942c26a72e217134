"""The visible difference between two documents: nothing of either is lost, and no text keeps us busy."""

from __future__ import annotations

import difflib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.policies import difference


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("", "", []),
        ("a\nb", "a\nb", [("same", "a"), ("same", "b")]),
        ("", "a", [("added", "a")]),
        ("a", "", [("removed", "a")]),
        ("a\nb\nc", "a\nB\nc", [("same", "a"), ("removed", "b"), ("added", "B"), ("same", "c")]),
        (
            "a\nb\nc\nd",
            "A\nB\nc\nD",
            [
                ("removed", "a"),
                ("removed", "b"),
                ("added", "A"),
                ("added", "B"),
                ("same", "c"),
                ("removed", "d"),
                ("added", "D"),
            ],
        ),
        ("a\nc", "a\nb\nc", [("same", "a"), ("added", "b"), ("same", "c")]),
        ("a\r\nb", "a\nb", [("same", "a"), ("same", "b")]),
    ],
)
def test_lines(old: str, new: str, expected: list[difference.Line]) -> None:
    assert difference.lines(old, new) == expected


few = st.lists(st.sampled_from("abcdef"), max_size=30).map("\n".join)


@given(old=few, new=few)
def test_both_texts_can_be_read_from_it_and_it_is_the_shortest(old: str, new: str) -> None:
    found = difference.lines(old, new)
    assert [text for kind, text in found if kind != "added"] == old.splitlines()
    assert [text for kind, text in found if kind != "removed"] == new.splitlines()
    matcher = difflib.SequenceMatcher(None, old.splitlines(), new.splitlines(), autojunk=False)
    assert sum(kind == "same" for kind, _ in found) >= sum(block.size for block in matcher.get_matching_blocks())


def test_texts_that_share_little_are_shown_as_replaced() -> None:
    old, new = "\n".join(f"x\n{n}" for n in range(2000)), "\n".join(f"x\ny{n}" for n in range(2000))
    found = difference.lines(old, new)
    assert found[:2] == [("same", "x"), ("removed", "0")]
    assert [text for kind, text in found if kind != "removed"] == new.splitlines()
