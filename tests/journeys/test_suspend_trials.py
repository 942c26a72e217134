"""Suspend under load, as `make soak` tries it a hundred times (tests/soak/suspend.py)."""

from __future__ import annotations

import pytest

from tests.soak import suspend

TRIALS = 2  # one at each web process; `make soak` makes a hundred


@pytest.mark.slow
def test_no_key_comes_later_than_five_seconds_after_suspend() -> None:
    measured = suspend.run(TRIALS)
    print("\n".join(suspend.distribution(measured)))  # shown with -s, and when it fails
    assert {len(each) for each in measured.values()} == {TRIALS}
    assert [seconds for each in measured.values() for seconds in each if seconds > suspend.BOUND] == []
