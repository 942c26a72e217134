"""Our own side first: nothing that follows says anything about the tenant unless all of this works; pure."""

from __future__ import annotations

from byokportal.translation import lazy
from keys import errors
from keys.aws.sessions import AssumeOutcome
from keys.proof.encryption_test import refusals
from keys.proof.encryption_test.base import Judgement, Verdict, Wait, check, evidence_of, passed
from keys.proof.encryption_test.facts import Answer, Facts

# Words beside AWS's own, for what only we can know of our side.
RECREATED, DRIFTED = ("our_service_role_recreated",), ("our_policy_drift",)
CANARY = ("our_canary_broken", "our_explicit_deny")
MISSING = ("our_identity_policy_missing_assume_role",)
NAMES = ("ours.identity", "ours.canary", "ours.policy")


@check(NAMES[0], title=lazy("Our service role is the one you trust"), step=5)
def identity(facts: Facts) -> Judgement | None:
    """The ARN and the unique id are those that tenants were shown: trust policies store the id, not the name."""
    if facts.ours is None:
        return None
    answer = facts.ours.identity
    if answer.error is not None:
        return _broken(answer)
    role = {"service_role_arn": facts.ours.arn, "unique_id": facts.ours.unique_id}
    if not facts.ours.is_expected(facts.subject):
        evidence = {**evidence_of(answer), **role, "why": lazy("another role answered")}
        return Judgement(Verdict.UNKNOWN, evidence, RECREATED, wait=Wait.OURS)
    return passed(answer, **role)


@check(NAMES[1], title=lazy("Our service role can use a role in another account of ours"), step=5, needs=NAMES[:1])
def canary(facts: Facts) -> Judgement | None:
    """The same call as to a tenant, to a role whose trust policy is known to be right."""
    if facts.ours is None:
        return None
    outcome = facts.ours.canary
    if outcome is None:
        return Judgement(Verdict.UNKNOWN, {"why": lazy("no canary role is set up")}, wait=Wait.OURS)
    if outcome.allowed:
        return passed(outcome)
    # no answer: that says nothing of our side
    if outcome.allowed is None and outcome.aws_code not in refusals.OUR_CODES:
        return Judgement(Verdict.UNKNOWN, evidence_of(outcome), wait=Wait.AWS)
    # Across accounts a refusal has no tail; our own policies, read back, say whether they are the cause.
    if outcome.allowed is None:
        return _broken(outcome)
    return _broken(
        outcome, known=DRIFTED if facts.ours.has_drifted else CANARY if facts.ours.may_ask_canary else MISSING
    )


@check(NAMES[2], title=lazy("Our policy allows us to ask for your role"), step=5, needs=NAMES[:1])
def policy(facts: Facts) -> Judgement | None:
    """Read back from IAM: attached, as we wrote it, naming the tenant's role."""
    if facts.ours is None:
        return None
    answer = facts.ours.policy
    if answer is None:
        return Judgement(Verdict.UNKNOWN, {"why": lazy("our policies could not be read")}, wait=Wait.OURS)
    if answer.error is not None:
        return _broken(answer)
    if not facts.ours.names_role:
        return _broken(answer, lazy("no attached policy names the role"), MISSING)
    if facts.ours.has_drifted:
        return _broken(answer, lazy("our policy is not what we last wrote"), DRIFTED)
    return passed(answer)


def _broken(answer: Answer | AssumeOutcome, why: str = "", known: tuple[str, ...] = ()) -> Judgement:
    """Return the judgement for an answer that says that our side does not work, or says nothing at all."""
    evidence = {**evidence_of(answer), **({"why": why} if why else {})}
    labels = known or refusals.OUR_CODES.get(str(evidence.get("aws_code", "")), ())
    wait = Wait.OURS
    if isinstance(answer, Answer):
        if isinstance(answer.error, errors.AwsThrottled | errors.AwsUnreachable):
            wait = Wait.AWS
        if answer.is_late:
            labels = ("our_clock_skew",)
        elif answer.is_denied or answer.denial.layer:
            labels = (
                ("our_explicit_deny",)
                if answer.denial.is_explicit
                else refusals.OUR_LAYERS.get(answer.denial.layer, labels)
            )
        if answer.action.startswith("iam:"):  # a refusal to read says nothing of what stands there
            labels = known
    return Judgement(Verdict.UNKNOWN, evidence, labels, wait=wait)
