"""One test as people read it, in the portal and in the back office:
headline, chain, waits, remedies, the rows; pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from byokportal import clock, stored_sentences, words
from byokportal.translation import lazy
from byokportal.translation import translate as _
from keys import actions
from keys.models import CheckResult, EncryptionTest, KeyRegistration
from keys.proof.encryption_test import CHECKS, asked
from keys.proof.encryption_test.base import Check, Verdict, Wait
from keys.proof.encryption_test.report import chain, remedy_order
from keys.proof.encryption_test.report.chain import Chain, State
from keys.proof.encryption_test.report.remedy_order import Remedy

Status = EncryptionTest.Status
TITLES = {check.code: check.title for check in CHECKS}
VERDICTS: dict[str, str] = {
    Verdict.PASS: lazy("Passed"),
    Verdict.FAIL: lazy("Failed"),
    Verdict.SKIPPED: lazy("Skipped"),
    Verdict.UNKNOWN: lazy("Cannot tell yet"),
}
EVIDENCE = {
    "action": lazy("We called"),
    "aws_code": lazy("AWS answered"),
    "request_id": lazy("AWS request ID"),
    "at": lazy("Asked at"),
    "why": lazy("Why"),
    "final_at": lazy("Final at"),
    "first_refused_at": lazy("First refused at"),
    "insecure_at": lazy("First seen at"),
    "turned_at": lazy("Turned at"),
    "spares": lazy("A Deny has to spare"),
    "allowed": lazy("Let us in"),
    "arn": lazy("ARN"),
    "account": lazy("Account"),
    "role_account": lazy("Account of the role"),
    "key_account": lazy("Account of the key"),
    "service_role_arn": lazy("Service Role ARN"),
    "unique_id": lazy("Unique ID"),
    "key_state": lazy("Key state"),
    "key_manager": lazy("Key manager"),
    "key_spec": lazy("Key spec"),
    "key_usage": lazy("Key usage"),
    "deletion_at": lazy("Deleted at"),
    "origin": lazy("Origin of the key material"),
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

    @property
    def title(self) -> str:
        """What the check asks."""
        return stored_sentences.again(self.row.title)


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
    codes = {row.code for row in rows}
    # that is asked as long as a branch key has to move to this key, which the rows of a test tell for good
    allowed = actions.of(registration.actions, encrypts="use.encrypt" in codes)
    links = chain.of(
        rows,
        is_over=test.finished_at is not None,
        waits_for_kore=test.status == Status.WAITING_FOR_KORE,
        allowed=allowed,
    )
    remedies = tuple(remedy_order.in_order(rows)) if test.finished_at else ()
    likely = () if test.status == Status.CANCELLED else tuple(remedy_order.likely(rows))
    waits = () if test.finished_at else tuple(_waits(rows))
    is_over = test.finished_at is not None
    lines = tuple(_line(row, is_over=is_over) for row in _every(rows, asked(allowed, found=codes)))
    hygiene = tuple(_line(row, is_over=is_over) for row in rows if row.code.startswith("hygiene."))
    passed = sum(line.row.verdict == Verdict.PASS for line in lines)
    tone, headline, explanation = _headline(test, registration, waits, remedies, likely, passed, len(lines))
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


def _every(rows: Sequence[CheckResult], checks: Sequence[Check]) -> list[CheckResult]:
    """Return a row for every check that decides:
    what was not asked has one too, so that the list is as long as the count says."""
    found = {row.code: row for row in rows if not row.code.startswith("hygiene.")}
    made = [
        found.get(check.code)
        or CheckResult(code=check.code, title=check.title, step=check.step, verdict=Verdict.UNKNOWN)
        for check in checks
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
    total: int,
) -> tuple[str, str, str]:
    if test.status == Status.CANCELLED:
        return (
            "wait",
            _("This test was called off"),
            _("The ARNs changed, or the key was retired meanwhile. Start a new test."),
        )
    if remedies:
        explanation = _(
            "Make the change in AWS, then test again. You need not share the ARNs again unless one of them changes."
        )
        if len(remedies) > 1:
            many = _("There are %(number)s things to mend, in this order.", number=len(remedies))
            explanation = f"{many} {explanation}"
        return (
            "bad",
            remedies[0].headline,
            explanation,
        )
    if test.verdict == Verdict.PASS:
        return "ok", _("Every check passed"), _(PASSED.get(registration.status, WORKS))
    kinds = {wait.kind for wait in waits}
    if Wait.OURS in kinds or test.status == Status.WAITING_FOR_KORE:
        return (
            "ours",
            _("This is on Kore.ai’s side. You need not change anything."),
            _("Our engineers know of it. The test goes on by itself as soon as our side works again."),
        )
    if LET_US_IN in kinds:
        return (
            "bad",
            _("Your role lets in whom it has to refuse"),
            _("Set the trust policy as step 2 shows it, now. If a second look finds the same, we stop the key."),
        )
    if Wait.PROPAGATION in kinds and likely and likely[0].counts_at:
        at = words.minute(likely[0].counts_at, now=clock.now())
        return (
            "wait",
            _("AWS refused us. That may pass by itself"),
            _(
                "AWS needs a few minutes to pass on a change. If it is still so at %(at)s, change %(what)s "
                "(step %(step)s) as shown below.",
                at=at,
                what=likely[0].what,
                step=likely[0].step,
            ),
        )
    if test.status != Status.WAITING:
        so_far = (
            _("%(passed)s of %(total)s checks passed so far.", passed=passed, total=total)
            if passed
            else _("The first answers come in a few seconds.")
        )
        return "wait", _("We are asking AWS"), so_far
    if Wait.PROPAGATION in kinds:
        return (
            "wait",
            _("AWS refused us. That may pass by itself"),
            _("AWS needs a few minutes to pass on a change. Until then we do not call a refusal a fault."),
        )
    if Wait.AWS in kinds:
        return "wait", _("AWS gave no clear answer"), _("That says nothing about what you set up. We ask again.")
    if Wait.SECOND_LOOK in kinds:
        return (
            "wait",
            _("All well so far. We look a second time"),
            _("Your role refused strangers once. We ask once more, a while later, before we believe it."),
        )
    return (
        "wait",
        _("Every check passed. The new key waits"),
        _("The key in service is suspended. Resume it, and the new key takes over."),
    )


WORKS = lazy("Your role and your key work.")
PASSED: dict[str, str] = {
    KeyRegistration.Status.TESTING: lazy("Your role and your key work. The key goes into service when you want it."),
    KeyRegistration.Status.ACTIVE: lazy("Your key is in service. You can take it back at any time."),
    KeyRegistration.Status.SUSPENDED: lazy("Your role and your key work. The key stays suspended until it is resumed."),
    KeyRegistration.Status.RETIRING: lazy(
        "Your role and your key still work. Keep them until your data has moved to the new key and no backup needs "
        "the old one."
    ),
}
LET_US_IN = "let_us_in"
WAITS: dict[str, str] = {
    LET_US_IN: lazy("Your role let in whom it has to refuse. We look a second time before we stop the key."),
    Wait.OURS: lazy("Kore.ai’s side has to work first. Nothing here depends on you."),
    Wait.PROPAGATION: lazy("AWS refused us soon after a change. It may not have passed the change on yet."),
    Wait.AWS: lazy("AWS was too busy, or did not answer."),
    Wait.SECOND_LOOK: lazy("Your role refused us without the right External ID, as it should. We look a second time."),
}


def _waits(rows: Sequence[CheckResult]) -> list[Waiting]:
    found: dict[str, list[CheckResult]] = {}
    for row in rows:
        if not row.code.startswith("hygiene."):
            found.setdefault(LET_US_IN if chain.let_us_in(row) else chain.wait_of(row), []).append(row)
    return [
        Waiting(wait, _(sentence), max((row.final_at for row in found[wait] if row.final_at), default=None))
        for wait, sentence in WAITS.items()
        if wait in found
    ]


def _line(row: CheckResult, *, is_over: bool) -> Line:
    evidence = [
        (_(EVIDENCE[name]) if name in EVIDENCE else words.of(name), _shown(name, value))
        for name, value in row.evidence.items()
        if name not in SHOWN_APART
    ]
    note = stored_sentences.again(str(row.evidence.get("warning") or row.evidence.get("note") or ""))
    wait = chain.wait_of(row)
    if "needs" in row.evidence:
        evidence = [
            (_("Comes after"), ", ".join(_(TITLES.get(code, code)) for code in str(row.evidence["needs"]).split(", ")))
        ]
    if wait is Wait.OURS:
        return Line(row, "ours", _(chain.LABELS[State.OURS]), tuple(evidence), note)
    if row.verdict != Verdict.UNKNOWN:
        return Line(row, row.verdict, _(VERDICTS[row.verdict]), tuple(evidence), note)
    if wait is Wait.NOTHING:
        return Line(row, "skipped", _(chain.LABELS[State.NOT_ASKED]), tuple(evidence), note)
    label = _(chain.LABELS[State.UNSETTLED if is_over else State.WAITING])
    return Line(row, "skipped" if is_over else row.verdict, label, tuple(evidence), note)


def _shown(name: str, value: object) -> str:
    """Return what stands beside a name of the evidence, for people."""
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    return stored_sentences.again(str(value)) if name == "why" else words.label(value)


def _seen(test: EncryptionTest, rows: Sequence[CheckResult]) -> str:
    facts: list[object] = [test.status, test.verdict, test.due_at, test.keep_until, test.finished_at]
    facts += [(row.code, row.verdict, row.causes, row.evidence.get("final_at")) for row in rows]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
