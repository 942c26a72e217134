"""Which transactions a snapshot has seen, as a table."""

from __future__ import annotations

import pytest

from byokportal import visibility


@pytest.mark.parametrize(
    ("snapshot", "mark", "seen"),
    [
        ("", 1, False),
        ("10:10:", 9, True),
        ("10:10:", 10, False),
        ("10:14:10,12", 9, True),
        ("10:14:10,12", 10, False),
        ("10:14:10,12", 11, True),
        ("10:14:10,12", 12, False),
        ("10:14:10,12", 13, True),
        ("10:14:10,12", 14, False),
        ("10:120:12", 2, True),
        ("10:120:112", 12, True),  # 12 is not open, 112 is
    ],
)
def test_what_a_snapshot_has_seen(snapshot: str, mark: int, seen: bool) -> None:
    assert visibility.has_seen(snapshot, mark) is seen


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("10:14:10,12/", "10:14:10,12"),
        ("10:10:", "10:10:"),
        ("10:14:10/14", "10:15:10"),  # its own transaction sees itself …
        ("10:14:10/17", "10:18:10,14,15,16"),  # … and not those between
        ("10:14:10,12/13", "10:14:10,12"),
    ],
)
def test_what_is_kept_of_it(said: str, kept: str) -> None:
    assert visibility.kept(said) == kept


def test_a_long_snapshot_claims_to_have_seen_less() -> None:
    many = ",".join(str(number) for number in range(1_000, 2_000))
    assert visibility.kept(f"1000:2000:{many}/") == "1000:1000:"
    assert visibility.kept(f"1000:2000:{many}/", still_writes=True) == "1000:1000:"


def test_of_a_transaction_that_still_writes_nothing_after_the_oldest_open_one_is_seen() -> None:
    assert visibility.kept("5:9:6,7/9", still_writes=True) == "5:5:"
    assert visibility.kept("5:9:6,7/", still_writes=True) == "5:9:6,7"
