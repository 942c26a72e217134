"""Is the External ID required, and exactly the tenant's? (confused deputy; IAM guide, "Access to AWS accounts owned
by third parties") Pure."""

from __future__ import annotations

from datetime import timedelta

from byokportal.translation import lazy
from keys.aws.sessions import AssumeOutcome
from keys.proof.encryption_test import inferred, refusals
from keys.proof.encryption_test.base import Judgement, Verdict, Wait, check, evidence_of, passed, skipped
from keys.proof.encryption_test.checks import ours
from keys.proof.encryption_test.facts import Clock, Facts, Trust

INSECURE = "insecure_trust"


@check(
    "external_id.required",
    title=lazy("Your role refuses us without the External ID"),
    step=2,
    needs=ours.NAMES,
    document=refusals.TRUST,
    remedy=(
        lazy(
            "Require your External ID: AWS let us become {role_arn} without it, so set the trust policy of {role_name} "
            "to the document below, with its condition on sts:ExternalId (StringEquals, no IfExists, no ForAllValues) "
            "and no other Allow statement."
        )
    ),
)
def required(facts: Facts) -> Judgement | None:
    return _judge(facts, facts.trust, facts.trust.without, refusals.NOT_REQUIRED) if facts.trust else None


@check(
    "external_id.exact",
    title=lazy("Your role refuses us with a wrong External ID"),
    step=2,
    needs=ours.NAMES,
    document=refusals.TRUST,
    remedy=(
        lazy(
            "Require exactly {external_id} with StringEquals: AWS let us become {role_arn} with an External ID that is "
            "not yours. Set the trust policy of {role_name} to the document below."
        )
    ),
)
def exact(facts: Facts) -> Judgement | None:
    """A list that holds other ids beside the tenant's is not seen here: nobody can try ids that nobody knows.
    The paste box sees it."""
    return _judge(facts, facts.trust, facts.trust.wrong, refusals.NOT_EXACT) if facts.trust else None


def _judge(facts: Facts, trust: Trust, outcome: AssumeOutcome, cause: str) -> Judgement:
    clock = facts.clock
    if outcome.allowed:  # no grace: propagation delays a permission, and this one is there
        stands = inferred.wide_trust(
            facts.subject, without=bool(trust.without.allowed), wrong=bool(trust.wrong.allowed)
        )
        is_told = trust.right.ok and None not in (trust.without.allowed, trust.wrong.allowed)
        return insecure(clock, outcome, cause, inferred=stands if is_told else "")
    if outcome.allowed is None:  # a time-out or throttling is never read as a refusal
        return Judgement(Verdict.UNKNOWN, evidence_of(outcome), wait=Wait.AWS)
    if not trust.right.ok:  # a role that refuses everybody proves nothing about its External ID
        return skipped(lazy("The role has to let us in with the right External ID first."))
    second_look = (clock.refused_at or clock.now) + clock.gap
    if clock.now < second_look:
        evidence = {
            **evidence_of(outcome),
            "why": lazy("refused once, as it should be"),
            "final_at": second_look.isoformat(timespec="seconds"),
        }
        return Judgement(Verdict.UNKNOWN, evidence, wait=Wait.SECOND_LOOK)
    return passed(
        outcome, **({"first_refused_at": clock.refused_at.isoformat(timespec="seconds")} if clock.refused_at else {})
    )


def insecure(clock: Clock, outcome: AssumeOutcome, cause: str, *, inferred: str = "") -> Judgement:
    """Return the judgement for a role that lets somebody in who must not be:
    at once, or seen twice where a key in service would stop."""
    evidence = {**evidence_of(outcome), "allowed": True}
    if clock.is_serving and (clock.insecure_at is None or clock.now < clock.insecure_at + max(clock.gap, timedelta(0))):
        seen = clock.insecure_at or clock.now
        evidence |= {"insecure_at": seen.isoformat(), "final_at": (seen + clock.gap).isoformat(timespec="seconds")}
        return Judgement(Verdict.UNKNOWN, evidence, (cause,), wait=Wait.SECOND_LOOK)
    return Judgement(Verdict.FAIL, evidence, (cause,), reason=INSECURE, inferred=inferred)
