"""How long a thread waits for the database: budgets, one inside the other."""

from __future__ import annotations

import time

import pytest

from byokportal import deadline


def test_without_a_budget_nobody_is_hurried() -> None:
    assert deadline.left() is None
    with deadline.waiting() as left:
        assert left is None


def test_only_waiting_counts() -> None:
    with deadline.at_most(0.2):
        time.sleep(0.02)
        assert deadline.left() == 0.2
        with deadline.waiting() as left:
            assert left == 0.2
            time.sleep(0.02)
        assert 0 <= deadline.left() <= 0.18
    assert deadline.left() is None


def test_an_inner_budget_is_never_larger_and_is_paid_out_of_the_outer_one() -> None:
    with deadline.at_most(0.2):
        with deadline.at_most(9):
            assert deadline.left() == 0.2
        with deadline.at_most(0.05):
            with deadline.waiting():
                time.sleep(0.1)
            assert deadline.left() == 0
        assert deadline.left() == pytest.approx(0.15)
