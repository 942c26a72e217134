"""One switch: a rule that protects customers, the change that turns it off, and the tests that hold it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Switch:
    """A rule in one place of the code.

    Attributes:
        rule: what holds, as a sentence.
        file: from the root of the project.
        old: stands there exactly once.
        new: what turns the rule off.
        tests: paths for pytest; the first test that is red ends the run.
    """

    rule: str
    file: str
    old: str
    new: str
    tests: str
