"""Is it the key that was given, of the right kind, and enabled?
DescribeKey is asked once and judged here many times; pure."""

from __future__ import annotations

from byokportal.translation import lazy
from keys import errors
from keys.proof.encryption_test import refusals, remedies
from keys.proof.encryption_test.base import (
    Judgement,
    Verdict,
    Wait,
    cannot_tell,
    check,
    evidence_of,
    failed,
    passed,
    refused,
    skipped,
)
from keys.proof.encryption_test.facts import Facts
from keys.proof.encryption_test.refusals import Diagnosis

NEEDS = ("account.identity",)


@check(
    "key.exists",
    title=lazy("AWS KMS knows the key"),
    step=1,
    needs=NEEDS,
    document=refusals.KEY,
    remedy=remedies.REMEDIES["key_not_found"],
)
def exists(facts: Facts) -> Judgement | None:
    if facts.key is None:
        return None
    answer = facts.key.answer
    if answer.ok:
        return passed(answer)
    if answer.is_denied:
        # Whatever was done with the key shows that it is there, even when it may not be described.
        used = facts.use is not None and any(each.ok for each in facts.use.tried)
        return passed(answer, why=lazy("the key was used")) if used else _not_described(facts)
    if isinstance(answer.error, errors.KeyNotFound):
        # The ARN was sent to another Region than its own: certain.
        if answer.error.params.get("aws_code") == "InvalidArnException":
            return failed(answer, Diagnosis(("key_wrong_region",), 1, refusals.KEY))
        is_multi_region = facts.subject.key.is_multi_region
        diagnosis = refusals.REPLICA_MISSING if is_multi_region else refusals.CERTAIN[errors.KeyNotFound]
        return refused(facts, answer, diagnosis)  # a key made just now is not found everywhere yet
    if isinstance(answer.error, errors.WrongKeyAnswered):
        return failed(answer, refusals.CERTAIN[errors.WrongKeyAnswered])
    return cannot_tell(answer) or Judgement(Verdict.UNKNOWN, evidence_of(answer), wait=Wait.AWS)


@check("key.enabled", title=lazy("The key is enabled"), step=1, needs=("key.exists",), document=refusals.KEY)
def enabled(facts: Facts) -> Judgement | None:
    if facts.key is None or facts.key.facts is None:
        return _not_described(facts)
    state = facts.key.facts.state
    if state == "Enabled":
        return passed(facts.key.answer, key_state=state)
    if state not in refusals.STATES:  # Creating, Updating: it passes by itself
        return Judgement(Verdict.UNKNOWN, {**evidence_of(facts.key.answer), "key_state": state}, wait=Wait.AWS)
    reason, cause = refusals.STATES[state]
    if cause == "key_pending_import" and facts.subject.has_worked:
        cause = "key_material_expired_or_deleted"
    more: dict[str, object] = {"key_state": state}
    if facts.key.facts.deletion_at:
        more["deletion_at"] = facts.key.facts.deletion_at.isoformat(timespec="seconds")
    return failed(
        facts.key.answer,
        Diagnosis((cause,), 1, refusals.KEY),
        reason=reason,
        more=more,
    )


@check(
    "key.customer_managed",
    title=lazy("The key is customer managed"),
    step=1,
    needs=("key.exists",),
    document=refusals.KEY,
)
def customer_managed(facts: Facts) -> Judgement | None:
    if facts.key is None or facts.key.facts is None:
        return _not_described(facts)
    manager = facts.key.facts.manager
    if manager == "CUSTOMER":
        return passed(facts.key.answer, key_manager=manager)
    diagnosis = Diagnosis(("aws_managed_key",), 1, refusals.KEY)
    return failed(facts.key.answer, diagnosis, more={"key_manager": manager})


@check(
    "key.symmetric",
    title=lazy("The key is symmetric, for encryption"),
    step=1,
    needs=("key.exists",),
    document=refusals.KEY,
)
def symmetric(facts: Facts) -> Judgement | None:
    if facts.key is None or facts.key.facts is None:
        return _not_described(facts)
    kind = {"key_spec": facts.key.facts.spec, "key_usage": facts.key.facts.usage}
    if facts.key.is_symmetric:
        return passed(facts.key.answer, **kind)
    cause = "key_wrong_usage" if kind["key_usage"] != "ENCRYPT_DECRYPT" else "key_wrong_spec"
    return failed(facts.key.answer, Diagnosis((cause,), 1, refusals.KEY), more=kind)


@check(
    "key.region_and_account",
    title=lazy("The key has the ARN, Region and account you gave"),
    step=1,
    needs=("key.exists",),
    document=refusals.KEY,
)
def region_and_account(facts: Facts) -> Judgement | None:
    if facts.key is None or facts.key.facts is None:
        return _not_described(facts)
    found = facts.key.facts
    evidence = {"arn": found.arn, "account": found.account}
    if found.arn == str(facts.subject.key) and found.account == facts.subject.key.account:
        return passed(facts.key.answer, **evidence)
    diagnosis = Diagnosis(("key_arn_changed",), 1, refusals.KEY)
    return failed(facts.key.answer, diagnosis, reason="kms_wrong_key", more=evidence)


def _not_described(facts: Facts) -> Judgement | None:
    return None if facts.key is None else skipped(lazy("DescribeKey was refused; use.describe says why."))
