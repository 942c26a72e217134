"""Merkle trees: the known roots of RFC 6962's reference leaves, and for every size that proofs show what is true, and
nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byokportal import merkle

# The leaves and roots that the implementations of Certificate Transparency are tested with.
ENTRIES = [
    bytes.fromhex(one)
    for one in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [merkle.leaf(str(number).encode()) for number in range(300)]


@pytest.mark.parametrize("size", range(9))
def test_the_roots_are_those_of_the_reference(size: int) -> None:
    assert merkle.root_of([merkle.leaf(one) for one in ENTRIES[:size]]).hex() == ROOTS[size]


def test_the_proofs_are_those_of_the_rfc() -> None:
    """RFC 9162, section 2.1.5, with its tree of seven leaves."""
    a, b, c, d, e, f, j = (merkle.leaf(f"d{number}".encode()) for number in range(7))
    g, h, i = merkle.parent(a, b), merkle.parent(c, d), merkle.parent(e, f)
    k, m = merkle.parent(g, h), merkle.parent(i, j)
    complete = merkle.complete_in([a, b, c, d, e, f, j])
    assert merkle.inclusion(0, 7, complete) == [b, h, m]
    assert merkle.inclusion(3, 7, complete) == [c, g, m]
    assert merkle.inclusion(4, 7, complete) == [f, j, k]
    assert merkle.inclusion(6, 7, complete) == [i, k]
    assert merkle.consistency(3, 7, complete) == [c, d, g, m]
    assert merkle.consistency(4, 7, complete) == [m]
    assert merkle.consistency(6, 7, complete) == [i, j, k]


@pytest.mark.parametrize("size", [*range(1, 34), 64, 65, 255, 256, 257, 300])
def test_every_leaf_is_proved_at_its_place_and_at_no_other(size: int) -> None:
    complete, root = merkle.complete_in(LEAVES[:size]), merkle.root_of(LEAVES[:size])
    for index in {*range(min(size, 40)), size // 2, size - 1}:
        proof = merkle.inclusion(index, size, complete)
        assert merkle.verify_inclusion(LEAVES[index], index, size, proof, root)
        assert not merkle.verify_inclusion(LEAVES[index + 1 if index + 1 < 300 else 0], index, size, proof, root)
        if size > 1:
            assert not merkle.verify_inclusion(LEAVES[index], (index + 1) % size, size, proof, root)
            assert not merkle.verify_inclusion(LEAVES[index], index, size, proof[:-1], root)
        assert not merkle.verify_inclusion(LEAVES[index], index, size, [*proof, root], root)


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 20), st.integers(0, 7))
def test_a_tree_is_proved_to_be_the_beginning_of_another_and_no_other_is(
    one: int, other: int, place: int, bit: int
) -> None:
    old, size = sorted((one, other))
    complete = merkle.complete_in(LEAVES)
    before, after = merkle.root_of(LEAVES[:old]), merkle.root_of(LEAVES[:size])
    proof = merkle.consistency(old, size, complete)
    assert merkle.root_at(size, complete) == after
    assert merkle.verify_consistency(old, size, before, after, proof)
    changed = merkle.root_of([merkle.leaf(b"changed"), *LEAVES[1:old]])
    assert not merkle.verify_consistency(old, size, changed, after, proof)
    if proof:
        place %= len(proof)
        proof[place] = bytes([proof[place][0] ^ 1 << bit]) + proof[place][1:]
        assert not merkle.verify_consistency(old, size, before, after, proof)


def test_a_growing_tree_names_each_complete_subtree_once() -> None:
    peaks: list[bytes] = []
    nodes = [node for number, one in enumerate(LEAVES) for node in merkle.append(number, peaks, one)]
    complete = merkle.complete_in(LEAVES)
    assert len({(node.level, node.place) for node in nodes}) == len(nodes)
    assert all(complete(node.level, node.place) == node.hash for node in nodes)
    assert sum(node.level == 8 for node in nodes) == 1
