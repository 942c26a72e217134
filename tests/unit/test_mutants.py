"""The table of security switches fits the code: each place is there once, and so are the tests that hold it."""

from __future__ import annotations

from pathlib import Path

from tests.mutants.__main__ import ROOT, SWITCHES, misplaced


def test_each_switch_stands_in_its_place() -> None:
    assert misplaced() == []
    assert len(SWITCHES) >= 60
    assert len({one.rule for one in SWITCHES}) == len(SWITCHES)


def test_the_tests_that_hold_a_switch_are_there() -> None:
    named = {Path(test) for one in SWITCHES for test in one.tests.split()}
    assert [str(test) for test in sorted(named) if not (ROOT / test).exists()] == []
