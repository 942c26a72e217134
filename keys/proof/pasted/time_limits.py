"""Dates in a policy after which our calls are refused: named before they come; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from byokportal.translation import translate as _
from keys.policies import conditions
from keys.policies.evaluator import Request
from keys.proof.pasted import trial_requests
from keys.proof.pasted.findings import Kind, Note, Path, Policy, shown

DAYS = 90  # long enough to change a policy in a bank
CLOCKS = {"aws:currenttime", "aws:epochtime", "aws:tokenissuetime"}
MOST = 5  # dates of one policy that are named


def notes(kind: Kind, policy: Policy, requests: Sequence[Request]) -> Iterator[Note]:
    """Yield the dates within the next 90 days at which an Allow ends that our calls hang on, or a Deny begins."""
    dated = list(_dated(policy))[: 4 * MOST]
    if not dated:
        return
    told = 0
    for path, statement, operator, key in dated:
        effect = statement.get("Effect")
        for request in requests:
            after = trial_requests.later(request, DAYS)
            if (
                _met(policy, statement, operator, key, request) is (effect == "Allow")
                and _met(policy, statement, operator, key, after) is (effect != "Allow")
                and _speaks_of(kind, policy, statement, request)
                and (effect == "Deny" or not trial_requests.decide(kind, policy, after).allowed)
            ):
                yield _note((*path, "Condition", operator, key), statement, operator, key)
                told += 1
                break
        if told >= MOST:
            return


def _dated(policy: Policy) -> Iterator[tuple[Path, dict[str, Any], str, str]]:
    for path, statement in trial_requests.statements(policy):
        condition = statement.get("Condition")
        if statement.get("Effect") not in ("Allow", "Deny") or not isinstance(condition, dict):
            continue
        for operator, keys in condition.items():
            for key in keys if isinstance(keys, dict) else ():
                if str(key).lower() in CLOCKS:
                    yield path, statement, str(operator), str(key)


def _met(policy: Policy, statement: dict[str, Any], operator: str, key: str, request: Request) -> bool:
    return (operator, key) in trial_requests.unmet(policy, statement, request, answer=True)


def _speaks_of(kind: Kind, policy: Policy, statement: dict[str, Any], request: Request) -> bool:
    """Tell whether a statement, without its Condition, is about a call."""
    bare = {name: value for name, value in statement.items() if name != "Condition"}
    alone = {**policy, "Statement": [bare]}
    if statement.get("Effect") == "Allow":
        return trial_requests.decide(kind, alone, request).allowed
    return any(True for _ in trial_requests.denying(kind, alone, [request]))


def _note(where: Path, statement: dict[str, Any], operator: str, key: str) -> Note:
    dates = conditions.texts(statement["Condition"][operator][key])
    date = shown(dates[0] if dates else "", most=40)
    return Note(
        "condition_ends",
        "warning",
        where,
        _(
            "This Allow ends within %(days)s days, at %(date)s (%(key)s): from then on AWS refuses us, "
            "and what your key protects does not open.",
            days=DAYS,
            date=date,
            key=shown(key, most=40),
        )
        if statement.get("Effect") == "Allow"
        else _(
            "This Deny begins within %(days)s days, at %(date)s (%(key)s): from then on AWS refuses us, "
            "and what your key protects does not open.",
            days=DAYS,
            date=date,
            key=shown(key, most=40),
        ),
        _("Set a later date, or leave the condition out of the statement."),
    )
