"""Our own side first: nothing that follows says anything about the tenant unless all of this works; pure."""

from __future__ import annotations

from keys.checks.base import Finding, Verdict, Wait, cannot_tell, check, evidence_of, passed
from keys.checks.facts import Facts

NAMES = ("ours.identity", "ours.canary", "ours.policy")


@check(NAMES[0], title="Our service role is the one you trust", step=5)
def identity(facts: Facts) -> Finding | None:
    """The ARN and the unique id are those that tenants were shown: trust policies store the id, not the name."""
    if facts.ours is None:
        return None
    answer = facts.ours.identity
    if answer.error is not None:
        return cannot_tell(answer) or Finding(Verdict.UNKNOWN, evidence_of(answer), wait=Wait.OURS)
    role = {"service_role_arn": facts.ours.arn, "unique_id": facts.ours.unique_id}
    if not facts.ours.is_expected(facts.subject):
        return Finding(Verdict.UNKNOWN, {**evidence_of(answer), **role, "why": "another role answered"}, wait=Wait.OURS)
    return passed(answer, **role)


@check(NAMES[1], title="Our service role can use a role in another account of ours", step=5, needs=NAMES[:1])
def canary(facts: Facts) -> Finding | None:
    """The same call as to a tenant, to a role whose trust policy is known to be right."""
    if facts.ours is None:
        return None
    outcome = facts.ours.canary
    if outcome is None:
        return Finding(Verdict.UNKNOWN, {"why": "no canary role is set up"}, wait=Wait.OURS)
    if outcome.allowed:
        return passed(outcome)
    # Refused or no answer: which of the two makes no difference to the tenant, it is our role in our account.
    return Finding(Verdict.UNKNOWN, evidence_of(outcome), wait=Wait.OURS)


@check(NAMES[2], title="Our policy allows us to ask for your role", step=5, needs=NAMES[:1])
def policy(facts: Facts) -> Finding | None:
    """Read back from IAM: attached, as we wrote it, naming the tenant's role."""
    if facts.ours is None:
        return None
    answer = facts.ours.policy
    if answer is None:
        return Finding(Verdict.UNKNOWN, {"why": "our policies could not be read"}, wait=Wait.OURS)
    if answer.error is not None:
        return cannot_tell(answer) or Finding(Verdict.UNKNOWN, evidence_of(answer), wait=Wait.OURS)
    if not facts.ours.names_role:
        return Finding(
            Verdict.UNKNOWN, {**evidence_of(answer), "why": "no attached policy names the role"}, wait=Wait.OURS
        )
    if facts.ours.has_drifted:
        return Finding(
            Verdict.UNKNOWN, {**evidence_of(answer), "why": "our policy is not what we last wrote"}, wait=Wait.OURS
        )
    return passed(answer)
