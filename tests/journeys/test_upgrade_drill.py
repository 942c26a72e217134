"""A rolling upgrade under load, as `make upgrade-drill` plays it for longer (tests/soak/upgrade.py)."""

from __future__ import annotations

import pytest

from tests.soak import upgrade


@pytest.mark.slow
def test_no_answer_is_lost_while_one_version_gives_way_to_the_next() -> None:
    revision = upgrade.older()
    print(f"from {revision or 'this version'}")  # shown with -s, and when it fails
    try:
        wrong = upgrade.drill(revision, seconds=3, webs=1, tenants=1)
    except FileNotFoundError as missing:
        pytest.skip(f"{missing} is not on this machine")
    assert wrong == []
