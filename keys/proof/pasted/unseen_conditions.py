"""Conditions whose keys cannot be seen from here: what they may do to our calls is said, not guessed; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from keys.policies.evaluator import Request, Verdict
from keys.proof.pasted import trial_requests
from keys.proof.pasted.findings import Kind, Note, Path, Policy, shown

MOST = 10  # conditions of one policy that are named


def notes(kind: Kind, policy: Policy, requests: Sequence[Request]) -> Iterator[Note]:
    """Yield the conditions on which it hangs whether our calls are let through: those of a Deny, always;
    those of an Allow, where nothing else allows the call."""
    caller = "our role" if kind == "trust" else "your role"
    found: dict[Path, Note] = {}
    for path, statement, request in trial_requests.denying(kind, policy, requests, verdict=Verdict.UNSEEN):
        for where, key in _places(policy, path, statement, request):
            found.setdefault(where, _note(where, key, f"this Deny hits {caller}", "Leave the Deny as it is, and check"))
    for request in requests:
        if not trial_requests.is_unseen(trial_requests.decide(kind, policy, request)):
            continue
        for path, statement in trial_requests.allowing(kind, policy, request, verdict=Verdict.UNSEEN):
            for where, key in _places(policy, path, statement, request):
                found.setdefault(where, _note(where, key, f"this Allow counts for {caller}", "Check"))
    yield from list(found.values())[:MOST]


def _places(policy: Policy, path: Path, statement: Mapping[str, Any], request: Request) -> Iterator[tuple[Path, str]]:
    pairs = trial_requests.unmet(policy, statement, request, answer=None)
    for operator, key in pairs:
        yield (*path, "Condition", operator, key), key
    if not pairs:  # a policy variable in its Resource
        yield path, ""


def _note(where: Path, key: str, so: str, do: str) -> Note:
    name = shown(key, most=60) if key else "the value of a policy variable"
    return Note(
        "condition_unseen",
        "info",
        where,
        f"We cannot see {name} from here, so we cannot tell whether {so}. The encryption test will tell.",
        f"{do} that {'the condition is as you mean it' if key else 'the variable is what you mean'} for this role.",
    )
