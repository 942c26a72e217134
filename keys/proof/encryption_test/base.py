"""Check, Verdict and Judgement: what a check is, and how an answer of AWS becomes a verdict; pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from byokportal.errors import Kind
from keys import errors
from keys.aws.sessions import AssumeOutcome
from keys.models import EncryptionTest
from keys.proof.encryption_test import remedies
from keys.proof.encryption_test.facts import Answer, Clock, Facts
from keys.proof.encryption_test.refusals import OURS, Diagnosis

Verdict = EncryptionTest.Verdict
Evidence = Mapping[str, object]
PROPAGATION = "propagation_delay"  # the cause that stands beside the others while a change may be on its way


class Wait(StrEnum):
    """Why a verdict is unknown, which decides when it is looked at again."""

    NOTHING = ""
    PROPAGATION = "propagation"  # a refusal soon after a change
    AWS = "aws"  # throttled, unreachable, or an answer that we do not know
    OURS = "ours"  # our own side does not work
    SECOND_LOOK = "second_look"  # the External ID probes, some time later


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a check found.

    Args:
        reason: on fail, the word that the registration is rejected with; "" means the check's code.
        step, document: where the remedy lies, when it is not the check's own.
        remedy: a template of `remedies`; "" means the check's own.
        words: more values for that template.
        inferred: what stands in the document now, in full, as far as the answers tell.
        may_pass: a refusal: propagation of a change would look the same for a while.
        spares: AWS says that a Deny decided: the ARN of whom it has to spare; "" for anything else.
    """

    verdict: Verdict
    evidence: Evidence = field(default_factory=dict)
    causes: tuple[str, ...] = ()
    wait: Wait = Wait.NOTHING
    reason: str = ""
    step: int | None = None
    document: str | None = None
    remedy: str = ""
    words: Mapping[str, str] = field(default_factory=dict)
    inferred: str = ""
    may_pass: bool = False
    spares: str = ""

    @property
    def names_a_change(self) -> bool:
        """Whether it says what to change in AWS: it failed, or will have failed unless the change is on its way."""
        is_likely = self.wait in {Wait.PROPAGATION, Wait.SECOND_LOOK} and bool(self.causes)
        return self.verdict == Verdict.FAIL or (self.verdict == Verdict.UNKNOWN and is_likely)


Judge = Callable[[Facts], Judgement | None]


@dataclass(frozen=True, slots=True)
class Check:
    """One question of the encryption test."""

    code: str
    title: str
    step: int
    needs: tuple[str, ...]  # codes that have to pass, else this one is skipped
    document: str
    remedy: str  # a sentence with the tenant's values to be filled in
    is_warning: bool  # never decides a run
    judge: Judge  # None: not asked yet


def check(
    code: str,
    *,
    title: str,
    step: int,
    needs: tuple[str, ...] = (),
    document: str = "",
    remedy: str = "",
    is_warning: bool = False,
) -> Callable[[Judge], Check]:
    """Make a check of a judging function; see `Check`."""

    def make(judge: Judge) -> Check:
        return Check(code, title, step, needs, document, remedy, is_warning, judge)

    return make


def judge(facts: Facts, checks: tuple[Check, ...]) -> dict[str, Judgement]:
    """Judge as far as the facts go; a check whose facts were not asked yet is not in the answer."""
    judgements: dict[str, Judgement] = {}
    for each in checks:
        missing = [code for code in each.needs if code in judgements and judgements[code].verdict != Verdict.PASS]
        if missing:
            judgements[each.code] = Judgement(Verdict.SKIPPED, {"needs": ", ".join(missing)})
        elif (found := each.judge(facts)) is not None:
            judgements[each.code] = _settled(facts.clock, each.code, found)
    return judgements


def _settled(clock: Clock, code: str, found: Judgement) -> Judgement:
    """Return the judgement, or that it waits: what passed in this test and is refused now has changed a moment ago."""
    final_at = clock.final_at(code, is_deny=bool(found.spares))
    if found.verdict != Verdict.FAIL or not found.may_pass or clock.now >= final_at:
        return found
    turned = clock.turned.get(code)
    more = {"turned_at": turned.isoformat()} if turned else {}
    return _propagating(found, final_at, more)


def _propagating(found: Judgement, final_at: datetime, more: Evidence) -> Judgement:
    """Return a failure as what it is while a change may still be on its way:
    unknown, with the likely causes, the change that would be due, and the time when it counts."""
    return replace(
        found,
        verdict=Verdict.UNKNOWN,
        evidence={**found.evidence, **more, "final_at": final_at.isoformat(timespec="seconds")},
        causes=(*found.causes, PROPAGATION),
        wait=Wait.PROPAGATION,
    )


# --- answers and verdicts --------------------------------------------------------------------------------------


def evidence_of(answer: Answer | AssumeOutcome) -> dict[str, object]:
    """Return what AWS said, as the customer can find it again: code, request id, time."""
    evidence: dict[str, object] = {}
    if isinstance(answer, AssumeOutcome):
        evidence["action"] = "sts:AssumeRole"
        code = answer.aws_code
    else:
        evidence["action"] = answer.action
        code = "" if answer.error is None else str(answer.error.params.get("aws_code") or answer.error.code)
    if code:
        evidence["aws_code"] = code
    if answer.request_id:
        evidence["request_id"] = answer.request_id
    evidence["at"] = answer.at.isoformat(timespec="seconds")
    return evidence


def passed(answer: Answer | AssumeOutcome, **more: object) -> Judgement:
    return Judgement(Verdict.PASS, {**evidence_of(answer), **more})


def skipped(why: str) -> Judgement:
    return Judgement(Verdict.SKIPPED, {"why": why})


def cannot_tell(answer: Answer) -> Judgement | None:
    """Return the judgement for an answer that says nothing about the tenant's side, None for one that does."""
    if answer.error is None or answer.error.kind is Kind.KEY_REFUSED:
        return None
    ours = isinstance(answer.error, errors.OwnAccessBroken)
    return Judgement(Verdict.UNKNOWN, evidence_of(answer), wait=Wait.OURS if ours else Wait.AWS)


def refused(
    facts: Facts,
    answer: Answer,
    diagnosis: Diagnosis,
    *,
    words: Mapping[str, str] | None = None,
    inferred: str = "",
) -> Judgement:
    """Return the judgement for a refusal; `judge` makes it unknown while IAM may still be propagating a change.

    A diagnosis that points at our own side is never the tenant's failure.

    Args:
        words: values for the remedy of the likeliest cause, beside the tenant's own.
        inferred: see `Judgement`.
    """
    if diagnosis.step == OURS:
        return Judgement(Verdict.UNKNOWN, evidence_of(answer), diagnosis.causes, wait=Wait.OURS, step=OURS)
    spares = ""
    if answer.denial.is_explicit:  # of our call into the role the principal is our service role, of all others the role
        asks = facts.subject.access.service_role if answer.action.startswith("sts:") else facts.subject.role
        spares = str(asks)
    found = failed(answer, diagnosis, words={**(words or {}), "spared": spares})
    evidence = {**found.evidence, "spares": spares} if spares else found.evidence
    return replace(found, evidence=evidence, inferred=inferred, may_pass=True, spares=spares)


def failed(
    answer: Answer,
    diagnosis: Diagnosis,
    *,
    reason: str = "",
    words: Mapping[str, str] | None = None,
    more: Evidence | None = None,
) -> Judgement:
    """Return the judgement for an answer that is certain at once.

    Args:
        reason: "" takes the code of the answer's error.
        words: see `refused`.
        more: evidence beside what AWS answered.
    """
    return Judgement(
        Verdict.FAIL,
        {**evidence_of(answer), **(more or {})},
        diagnosis.causes,
        reason=reason or (answer.error.code if answer.error else ""),
        step=diagnosis.step,
        document=diagnosis.document,
        remedy=remedies.of(diagnosis.remedy or diagnosis.causes[0]),
        words=words or {},
    )
