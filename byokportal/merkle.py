"""Merkle trees as RFC 9162, section 2.1 (and RFC 6962 before it) has them: roots, proofs and their checks. Pure.

A tree that grows is its peaks: the roots of its complete subtrees from left to right, one for each bit of its size that
is set. Whoever keeps the complete subtrees of some levels proves anything without reading all leaves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

SIZE = 32  # bytes of a hash
EMPTY = hashlib.sha256(b"").digest()  # the root of no leaves

# The root of the complete subtree of 2**level leaves that is the `index`th of its level.
Complete: TypeAlias = Callable[[int, int], bytes]


class Node(NamedTuple):
    """A complete subtree."""

    level: int
    place: int
    hash: bytes


def leaf(entry: bytes) -> bytes:
    """Return the hash of an entry as a leaf."""
    return hashlib.sha256(b"\x00" + entry).digest()


def parent(left: bytes, right: bytes) -> bytes:
    """Return the hash of the node over two others."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def append(size: int, peaks: list[bytes], hashed: bytes) -> list[Node]:
    """Add a leaf to a tree of that size: its peaks change; return the complete subtrees that the leaf ends."""
    level, done = 0, []
    while size >> level & 1:
        hashed = parent(peaks.pop(), hashed)
        level += 1
        done.append(Node(level, size >> level, hashed))
    peaks.append(hashed)
    return done


def root(peaks: Sequence[bytes]) -> bytes:
    """Return the root of a tree."""
    if not peaks:
        return EMPTY
    found = peaks[-1]
    for left in reversed(peaks[:-1]):
        found = parent(left, found)
    return found


def root_of(leaves: Sequence[bytes]) -> bytes:
    """Return the root over the hashes of leaves."""
    peaks: list[bytes] = []
    for number, hashed in enumerate(leaves):
        append(number, peaks, hashed)
    return root(peaks)


def complete_in(leaves: Sequence[bytes]) -> Complete:
    """Return what finds complete subtrees where all leaves are in memory."""
    return lambda level, index: root_of(leaves[index << level : (index + 1) << level])


def root_at(size: int, complete: Complete) -> bytes:
    """Return the root that the tree had when it had that many leaves."""
    return _between(0, size, complete) if size else EMPTY


def inclusion(index: int, size: int, complete: Complete) -> list[bytes]:
    """Return the proof that a leaf is in the tree of that size (section 2.1.3.1)."""
    first, last, proof = 0, size, []
    while last - first > 1:
        middle = first + _split(last - first)
        if index < middle:
            proof.append(_between(middle, last, complete))
            last = middle
        else:
            proof.append(_between(first, middle, complete))
            first = middle
    return proof[::-1]


def consistency(old: int, size: int, complete: Complete) -> list[bytes]:
    """Return the proof that the tree of the old size is the beginning of the other (section 2.1.4.1)."""
    if not 0 < old < size:
        return []
    first, last, proof, is_whole = 0, size, [], True
    while last != old:
        middle = first + _split(last - first)
        if old <= middle:
            proof.append(_between(middle, last, complete))
            last = middle
        else:
            proof.append(_between(first, middle, complete))
            first, is_whole = middle, False
    return ([] if is_whole else [_between(first, last, complete)]) + proof[::-1]


def verify_inclusion(hashed: bytes, index: int, size: int, proof: Sequence[bytes], expected: bytes) -> bool:
    """Tell whether a proof shows that the leaf is in the tree with that root (section 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    number, last, found = index, size - 1, hashed
    for one in proof:
        if last == 0:
            return False
        if number & 1 or number == last:
            found = parent(one, found)
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            found = parent(found, one)
        number, last = number >> 1, last >> 1
    return last == 0 and found == expected


def verify_consistency(old: int, size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Tell whether a proof shows that the tree with the old root is the beginning of the other (section 2.1.4.2)."""
    if old == size:
        return old_root == new_root and not proof
    if not 0 <= old < size or (old > 0 and not proof) or (old == 0 and proof):
        return False
    if old == 0:
        return old_root == EMPTY
    steps = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    number, last = old - 1, size - 1
    while number & 1:
        number, last = number >> 1, last >> 1
    before = after = steps[0]
    for one in steps[1:]:
        if last == 0:
            return False
        if number & 1 or number == last:
            before, after = parent(one, before), parent(one, after)
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            after = parent(after, one)
        number, last = number >> 1, last >> 1
    return last == 0 and before == old_root and after == new_root


def _split(size: int) -> int:
    """Return the largest power of two that is smaller."""
    return 1 << (size - 1).bit_length() - 1


def _between(first: int, last: int, complete: Complete) -> bytes:
    """Return the root over the leaves of a part that begins where one of the RFC's subtrees does."""
    size = last - first
    if size & (size - 1) == 0:
        level = size.bit_length() - 1
        return complete(level, first >> level)
    middle = first + _split(size)
    return parent(_between(first, middle, complete), _between(middle, last, complete))
