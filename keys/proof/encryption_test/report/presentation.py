"""One test as people read it, in the portal and in the back office:
headline, chain, waits, remedies, the rows; pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from byokportal import clock, words
from keys.models import CheckResult, EncryptionTest, KeyRegistration
from keys.proof.encryption_test import CHECKS
from keys.proof.encryption_test.base import Verdict, Wait
from keys.proof.encryption_test.report import chain, remedy_order
from keys.proof.encryption_test.report.chain import Chain, State
from keys.proof.encryption_test.report.remedy_order import Remedy

Status = EncryptionTest.Status
TITLES = {check.code: check.title for check in CHECKS}
TOTAL = sum(not check.is_warning for check in CHECKS)
EVIDENCE = {
    "action": "We called",
    "aws_code": "AWS answered",
    "request_id": "AWS request ID",
    "at": "Asked at",
    "why": "Why",
    "final_at": "Final at",
    "first_refused_at": "First refused at",
    "insecure_at": "First seen at",
    "turned_at": "Turned at",
    "spares": "A Deny has to spare",
    "allowed": "Let us in",
    "arn": "ARN",
    "account": "Account",
    "role_account": "Account of the role",
    "key_account": "Account of the key",
    "service_role_arn": "Service Role ARN",
    "unique_id": "Unique ID",
    "key_state": "Key state",
    "key_manager": "Key manager",
    "key_spec": "Key spec",
    "key_usage": "Key usage",
    "deletion_at": "Deleted at",
    "origin": "Origin of the key material",
}
SHOWN_APART = {"warning", "note"}  # sentences of their own, not facts in a list


@dataclass(frozen=True, slots=True)
class Line:
    """One check as a line of the list.

    Attributes:
        state: how it is set: the verdict, or `ours`.
        label: the same in words.
        evidence: (name for people, value for people).
        note: a sentence worth knowing that decides nothing.
    """

    row: CheckResult
    state: str
    label: str
    evidence: tuple[tuple[str, str], ...]
    note: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """One thing that is waited for.

    Attributes:
        until: when it ends by itself at the latest; None when only an answer ends it.
    """

    kind: str
    sentence: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class TestReport:
    """One test, read.

    Attributes:
        lines: every check that decides, as many as `total`; `worth_knowing`: those that never do.
        tone: `ok`, `bad`, `wait` or `ours`: how the headline is set.
        likely: what will have to be changed unless AWS's refusal passes by itself; of a test that is over,
            what it ended before it could settle.
        seen: changes whenever something that is shown changes; a page that has it needs no other.
    """

    test: EncryptionTest
    tone: str
    headline: str
    explanation: str
    chain: Chain
    waits: tuple[Waiting, ...]
    remedies: tuple[Remedy, ...]
    likely: tuple[Remedy, ...]
    lines: tuple[Line, ...]
    worth_knowing: tuple[Line, ...]
    passed: int
    total: int
    seen: str

    @property
    def is_over(self) -> bool:
        return self.test.finished_at is not None

    @property
    def counts_at(self) -> datetime | None:
        """When the first of the likely changes is due; None: none is, or the test is over."""
        first = self.likely[0].counts_at if self.likely and not self.is_over else None
        return first + timedelta(minutes=1, microseconds=-1) if first else None

    @property
    def due_at(self) -> datetime | None:
        """When AWS is asked again; None while it is being asked, and when the test is over."""
        return self.test.due_at if self.test.status in {Status.WAITING, Status.WAITING_FOR_KORE} else None

    @property
    def due_in(self) -> int:
        """Seconds until AWS is asked again: counted down by the page,
        so that a wrong clock of a person's machine does no harm."""
        return max(0, round((self.due_at - clock.now()).total_seconds())) if self.due_at else 0


def read(test: EncryptionTest, rows: Sequence[CheckResult], registration: KeyRegistration) -> TestReport:
    """Read one test.

    Args:
        rows: its checks, in their order.
        registration: what it tests, for what follows from the verdict.
    """
    links = chain.of(rows, is_over=test.finished_at is not None, waits_for_kore=test.status == Status.WAITING_FOR_KORE)
    remedies = tuple(remedy_order.in_order(rows)) if test.finished_at else ()
    likely = () if test.status == Status.CANCELLED else tuple(remedy_order.likely(rows))
    waits = () if test.finished_at else tuple(_waits(rows))
    is_over = test.finished_at is not None
    lines = tuple(_line(row, is_over=is_over) for row in _every(rows))
    hygiene = tuple(_line(row, is_over=is_over) for row in rows if row.code.startswith("hygiene."))
    passed = sum(line.row.verdict == Verdict.PASS for line in lines)
    tone, headline, explanation = _headline(test, registration, waits, remedies, likely, passed)
    return TestReport(
        test,
        tone,
        headline,
        explanation,
        links,
        waits,
        remedies,
        likely,
        lines,
        hygiene,
        passed,
        len(lines),
        _seen(test, rows),
    )


def _every(rows: Sequence[CheckResult]) -> list[CheckResult]:
    """Return a row for every check that decides:
    what was not asked has one too, so that the list is as long as the count says."""
    found = {row.code: row for row in rows if not row.code.startswith("hygiene.")}
    made = [
        found.get(check.code)
        or CheckResult(code=check.code, title=check.title, step=check.step, verdict=Verdict.UNKNOWN)
        for check in CHECKS
        if not check.is_warning
    ]
    return made + [row for code, row in found.items() if code not in TITLES]  # of an earlier release


def _headline(
    test: EncryptionTest,
    registration: KeyRegistration,
    waits: Sequence[Waiting],
    remedies: Sequence[Remedy],
    likely: Sequence[Remedy],
    passed: int,
) -> tuple[str, str, str]:
    if test.status == Status.CANCELLED:
        return (
            "wait",
            "This test was called off",
            "The ARNs changed, or the key was retired meanwhile. Start a new test.",
        )
    if remedies:
        more = f"There are {len(remedies)} things to mend, in this order. " if len(remedies) > 1 else ""
        return (
            "bad",
            remedies[0].headline,
            (
                f"{more}Make the change in AWS, then test again. "
                "You need not share the ARNs again unless one of them changes."
            ),
        )
    if test.verdict == Verdict.PASS:
        return "ok", "Every check passed", PASSED.get(registration.status, "Your role and your key work.")
    kinds = {wait.kind for wait in waits}
    if Wait.OURS in kinds or test.status == Status.WAITING_FOR_KORE:
        return (
            "ours",
            "This is on Kore.ai’s side. You need not change anything.",
            "Our engineers know of it. The test goes on by itself as soon as our side works again.",
        )
    if LET_US_IN in kinds:
        return (
            "bad",
            "Your role lets in whom it has to refuse",
            "Set the trust policy as step 2 shows it, now. If a second look finds the same, we stop the key.",
        )
    if Wait.PROPAGATION in kinds and likely and likely[0].counts_at:
        at = words.minute(likely[0].counts_at, now=clock.now())
        return (
            "wait",
            "AWS refused us. That may pass by itself",
            (
                "AWS needs a few minutes to pass on a change. "
                f"If it is still so at {at}, change {likely[0].what} (step {likely[0].step}) as shown below."
            ),
        )
    if test.status != Status.WAITING:
        so_far = f"{passed} of {TOTAL} checks passed so far." if passed else "The first answers come in a few seconds."
        return "wait", "We are asking AWS", so_far
    if Wait.PROPAGATION in kinds:
        return (
            "wait",
            "AWS refused us. That may pass by itself",
            "AWS needs a few minutes to pass on a change. Until then we do not call a refusal a fault.",
        )
    if Wait.AWS in kinds:
        return "wait", "AWS gave no clear answer", "That says nothing about what you set up. We ask again."
    if Wait.SECOND_LOOK in kinds:
        return (
            "wait",
            "All well so far. We look a second time",
            "Your role refused strangers once. We ask once more, a while later, before we believe it.",
        )
    return (
        "wait",
        "Every check passed. The new key waits",
        "The key in service is suspended. Resume it, and the new key takes over.",
    )


PASSED: dict[str, str] = {
    KeyRegistration.Status.ACTIVE: "Your key is in service. You can take it back at any time.",
    KeyRegistration.Status.SUSPENDED: "Your role and your key work. The key stays suspended until it is resumed.",
    KeyRegistration.Status.RETIRING: (
        "Your role and your key still work. Keep them until your data has moved to the new key and no backup needs "
        "the old one."
    ),
}
LET_US_IN = "let_us_in"
WAITS: dict[str, str] = {
    LET_US_IN: "Your role let in whom it has to refuse. We look a second time before we stop the key.",
    Wait.OURS: "Kore.ai’s side has to work first. Nothing here depends on you.",
    Wait.PROPAGATION: "AWS refused us soon after a change. It may not have passed the change on yet.",
    Wait.AWS: "AWS was too busy, or did not answer.",
    Wait.SECOND_LOOK: "Your role refused us without the right External ID, as it should. We look a second time.",
}


def _waits(rows: Sequence[CheckResult]) -> list[Waiting]:
    found: dict[str, list[CheckResult]] = {}
    for row in rows:
        if not row.code.startswith("hygiene."):
            found.setdefault(LET_US_IN if chain.let_us_in(row) else chain.wait_of(row), []).append(row)
    return [
        Waiting(wait, sentence, max((row.final_at for row in found[wait] if row.final_at), default=None))
        for wait, sentence in WAITS.items()
        if wait in found
    ]


def _line(row: CheckResult, *, is_over: bool) -> Line:
    evidence = [
        (EVIDENCE.get(name) or words.of(name), words.label(value))
        for name, value in row.evidence.items()
        if name not in SHOWN_APART
    ]
    note = str(row.evidence.get("warning") or row.evidence.get("note") or "")
    wait = chain.wait_of(row)
    if "needs" in row.evidence:
        evidence = [
            ("Comes after", ", ".join(TITLES.get(code, code) for code in str(row.evidence["needs"]).split(", ")))
        ]
    if wait is Wait.OURS:
        return Line(row, "ours", chain.LABELS[State.OURS], tuple(evidence), note)
    if row.verdict != Verdict.UNKNOWN:
        return Line(row, row.verdict, row.get_verdict_display(), tuple(evidence), note)
    if wait is Wait.NOTHING:
        return Line(row, "skipped", chain.LABELS[State.NOT_ASKED], tuple(evidence), note)
    label = chain.LABELS[State.UNSETTLED if is_over else State.WAITING]
    return Line(row, "skipped" if is_over else row.verdict, label, tuple(evidence), note)


def _seen(test: EncryptionTest, rows: Sequence[CheckResult]) -> str:
    facts: list[object] = [test.status, test.verdict, test.due_at, test.keep_until, test.finished_at]
    facts += [(row.code, row.verdict, row.causes, row.evidence.get("final_at")) for row in rows]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
