"""Fault injection: what goes wrong between AWS and its callers, as rules that tests and `manage.py faults` set."""

from __future__ import annotations

import fnmatch
import random
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

# Fault → what its value is, the least, the most, and what it is when none is given.
FAULTS: dict[str, tuple[str, float, float, float]] = {
    "iam-delay": ("seconds until a change to roles, users and policies is seen", 0, 120, 10),
    "kms-delay": ("seconds until a change to keys and key policies is seen", 0, 120, 10),
    "throttling": ("", 0, 0, 0),
    "timeout": ("seconds until the connection is dropped without an answer", 0, 120, 30),
    "latency": ("seconds until the answer comes", 0, 60, 1),
    "error": ("the HTTP status, 500 to 599", 500, 599, 500),
    "reset": ("", 0, 0, 0),
    "code": ("", 0, 0, 0),  # its value is a word
    "garbage": ("", 0, 0, 0),
    "cut": ("", 0, 0, 0),
    "clock": ("seconds by which AWS's clock is ahead (behind: negative)", -604_800, 604_800, 3_600),
    "key-state": ("", 0, 0, 0),  # its value is a word
}
KEY_STATES = (
    "Creating",
    "Enabled",
    "Disabled",
    "PendingDeletion",
    "PendingImport",
    "PendingReplicaDeletion",
    "Unavailable",
    "Updating",
)
CODE = re.compile(r"[A-Za-z][A-Za-z0-9.]{0,99}", re.ASCII)
DELAYS = {"iam-delay", "kms-delay"}
MAX_RULES = 1_000


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: where it applies (empty: everywhere), what happens, and for how many calls (0: until it is cleared).

    A delay counts the changes it holds back, the other faults count the calls they meet.
    """

    fault: str
    account: str = ""  # the caller's, or the one of the role or key that is asked for
    key: str = ""  # id or ARN
    operation: str = ""  # like kms:Decrypt or Decrypt; * and ? are wildcards
    value: float | str = 0
    times: int = 0
    share: float = 1.0  # of the calls it is about, at random
    number: int = 0

    def meets(self, call: Call) -> bool:
        """Tell whether the rule is about this call."""
        if self.account and self.account not in call.accounts:
            return False
        if self.key and self.key.rpartition("/")[2] != call.key.rpartition("/")[2]:
            return False
        names = (f"{call.service}:{call.operation}".lower(), call.operation.lower())
        return not self.operation or any(fnmatch.fnmatchcase(name, self.operation.lower()) for name in names)


@dataclass(frozen=True, slots=True)
class Call:
    """What a rule looks at."""

    service: str
    operation: str
    accounts: tuple[str, ...]
    key: str = ""


def rule_of(given: Mapping[str, Any]) -> Rule:
    """Read a rule.

    Raises:
        ValueError: an unknown field or fault, or a value out of range; the message says which.
    """
    unknown = set(given) - {"fault", "account", "key", "operation", "value", "times", "share"}
    if unknown:
        raise ValueError(f"A rule has no field {sorted(unknown)[0]}.")
    fault = given.get("fault")
    if fault not in FAULTS:
        raise ValueError(f"The faults are {', '.join(FAULTS)}.")
    words = {name: given.get(name) or "" for name in ("account", "key", "operation")}
    for name, text in words.items():
        if not isinstance(text, str) or len(text) > 2048:
            raise ValueError(f"{name} is a text.")
    times = given.get("times") or 0
    if not isinstance(times, int) or isinstance(times, bool) or not 0 <= times <= 1_000_000:
        raise ValueError("times is a whole number from 0 (until cleared) to 1,000,000.")
    share = 1.0 if given.get("share") is None else given["share"]
    if not isinstance(share, int | float) or isinstance(share, bool) or not 0 < share <= 1:
        raise ValueError("share is a number above 0, up to 1: the part of the calls that meets it.")
    value = _value(fault, given.get("value"))
    return Rule(fault, words["account"], words["key"], words["operation"], value, times, float(share))


def _value(fault: str, given: object) -> float | str:
    if fault == "code":
        if not isinstance(given, str) or not CODE.fullmatch(given):
            raise ValueError("The value of code is an error code of AWS's: letters, digits and dots.")
        return given
    if fault == "key-state":
        if given not in KEY_STATES:
            raise ValueError(f"The value of key-state is one of {', '.join(KEY_STATES)}.")
        return str(given)
    what, least, most, default = FAULTS[fault]
    if given is None:
        return default
    try:
        value = float(given)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ValueError(f"The value of {fault} is a number: {what}.") from None
    if not least <= value <= most:
        raise ValueError(f"The value of {fault} is from {least:g} to {most:g}: {what}.")
    return value


class Faults:
    """The rules that stand; safe for many threads."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []
        self._lock = threading.Lock()
        self._numbers = 0
        self._cleared = threading.Event()

    def add(self, rule: Rule) -> Rule:
        """Let a rule stand, and return it with its number.

        Raises:
            ValueError: there are too many.
        """
        with self._lock:
            if len(self._rules) >= MAX_RULES:
                raise ValueError(f"There are {MAX_RULES} rules already: clear some.")
            self._numbers += 1
            made = replace(rule, number=self._numbers)
            self._rules.append(made)
            return made

    def clear(self, number: int | None = None) -> int:
        """Take a rule back, or all of them; return how many that were."""
        with self._lock:
            kept = [rule for rule in self._rules if number is not None and rule.number != number]
            cleared = len(self._rules) - len(kept)
            self._rules = kept
            if number is None:
                self._cleared.set()
                self._cleared = threading.Event()
            return cleared

    def until_cleared(self) -> threading.Event:
        """Return what is set as soon as all rules are taken back: a call that waits then goes on at once."""
        return self._cleared

    def rules(self) -> list[dict[str, Any]]:
        """Return the rules as plain values."""
        with self._lock:
            return [asdict(rule) for rule in self._rules]

    def met(self, call: Call, *, wanted: Callable[[str], bool]) -> list[Rule]:
        """Return the rules that a call meets, of the faults that are wanted, and count them."""
        if not self._rules:  # without rules a call costs nothing
            return []
        with self._lock:
            of_call = [rule for rule in self._rules if wanted(rule.fault) and rule.meets(call)]
            # Chance, no secret.
            found = [rule for rule in of_call if rule.share == 1 or random.random() < rule.share]  # noqa: S311
            for rule in found:
                if rule.times:
                    at = self._rules.index(rule)
                    self._rules[at : at + 1] = [replace(rule, times=rule.times - 1)] if rule.times > 1 else []
            return found
