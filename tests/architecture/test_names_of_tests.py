"""The tests have the same names in every process that collects them, or workers beside each other cannot share them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_another_process_gives_every_test_the_same_name(request: pytest.FixtureRequest) -> None:
    """An address in memory, a clock or the order of a set in a parameter's name is another one there."""
    ours = {item.nodeid for item in request.session.items}
    listed = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert listed.returncode == 0, listed.stdout[-2000:] + listed.stderr[-2000:]
    theirs = set(listed.stdout.splitlines())
    assert sorted(ours - theirs) == []
