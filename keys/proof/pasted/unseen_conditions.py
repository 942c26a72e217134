"""Conditions whose keys cannot be seen from here: what they may do to our calls is said, not guessed; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from byokportal.translation import translate as _
from keys.policies.evaluator import EvalDecision, Request
from keys.proof.pasted import trial_requests
from keys.proof.pasted.findings import Kind, Note, Path, Policy, shown

MOST = 10  # conditions of one policy that are named


def notes(kind: Kind, policy: Policy, requests: Sequence[Request]) -> Iterator[Note]:
    """Yield the conditions on which it hangs whether our calls are let through: those of a Deny, always;
    those of an Allow, where nothing else allows the call."""
    caller = _("our role") if kind == "trust" else _("your role")
    found: dict[Path, Note] = {}
    for path, statement, request in trial_requests.denying(kind, policy, requests, decision=EvalDecision.UNSEEN):
        for where, key in _places(policy, path, statement, request):
            found.setdefault(where, _note(where, key, _("this Deny hits %(caller)s", caller=caller), is_deny=True))
    for request in requests:
        if not trial_requests.is_unseen(trial_requests.decide(kind, policy, request)):
            continue
        for path, statement in trial_requests.allowing(kind, policy, request, decision=EvalDecision.UNSEEN):
            for where, key in _places(policy, path, statement, request):
                found.setdefault(
                    where, _note(where, key, _("this Allow counts for %(caller)s", caller=caller), is_deny=False)
                )
    yield from list(found.values())[:MOST]


def _places(policy: Policy, path: Path, statement: Mapping[str, Any], request: Request) -> Iterator[tuple[Path, str]]:
    pairs = trial_requests.unmet(policy, statement, request, answer=None)
    for operator, key in pairs:
        yield (*path, "Condition", operator, key), key
    if not pairs:  # a policy variable in its Resource
        yield path, ""


def _note(where: Path, key: str, so: str, *, is_deny: bool) -> Note:
    name = shown(key, most=60) if key else _("the value of a policy variable")
    if is_deny:
        fix = (
            _("Leave the Deny as it is, and check that the condition is as you mean it for this role.")
            if key
            else _("Leave the Deny as it is, and check that the variable is what you mean for this role.")
        )
    elif key:
        fix = _("Check that the condition is as you mean it for this role.")
    else:
        fix = _("Check that the variable is what you mean for this role.")
    return Note(
        "condition_unseen",
        "info",
        where,
        _(
            "We cannot see %(name)s from here, so we cannot tell whether %(so)s. The encryption test will tell.",
            name=name,
            so=so,
        ),
        fix,
    )
