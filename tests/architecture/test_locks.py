"""What the requirements name stands in the lock that is installed, in a version that they allow, with its reason."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent.parent
PARTS = ("requirements", "requirements-embedded", "requirements-dev", "requirements-bench")


def named(part: str) -> dict[str, tuple[Requirement, str]]:
    """Return what a file of requirements names itself: name → requirement and reason."""
    lines = [line.partition("#") for line in (ROOT / f"{part}.in").read_text().splitlines()]
    found = [(Requirement(text), reason.strip()) for text, _, reason in lines if text.strip() and text[0] != "-"]
    return {canonicalize_name(one.name): (one, reason) for one, reason in found}


def locked(part: str) -> dict[str, tuple[str, str]]:
    """Return what a lock installs: name → version, and who wants it."""
    pattern = re.compile(r"^([\w.-]+)(?:\[[^]]*\])?==([^\s;]+)[^\n]*\n((?:[ ]+[^\n]*\n)*)", re.MULTILINE)
    text = (ROOT / f"{part}.txt").read_text()
    return {canonicalize_name(name): (version, wanted) for name, version, wanted in pattern.findall(text)}


@pytest.mark.parametrize("part", PARTS)
def test_a_lock_has_what_its_requirements_name_and_nothing_that_they_no_longer_name(part: str) -> None:
    lock = locked(part)
    wrong = {
        name: lock.get(name, ("missing", ""))[0]
        for name, (requirement, _) in named(part).items()
        if name not in lock or not requirement.specifier.contains(lock[name][0], prereleases=True)
    }
    assert not wrong, "make lock"
    own = {name for name, (_, wanted) in lock.items() if re.search(rf"-r {part}\.in\b", wanted)}
    assert own == set(named(part)), "make lock"


@pytest.mark.parametrize("part", ["requirements", "requirements-embedded", "requirements-bench"])
def test_each_package_that_is_wanted_has_its_reason(part: str) -> None:
    assert [name for name, (_, reason) in named(part).items() if not reason] == []
