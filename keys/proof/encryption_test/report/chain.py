"""The chain "our role → External ID → your role → your key": the rows of one test → the state of each link; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from byokportal import clock, words
from keys.models import CheckResult
from keys.proof.encryption_test import CHECKS
from keys.proof.encryption_test.base import PROPAGATION, Verdict, Wait
from keys.proof.encryption_test.refusals import BOUNDARY, KEY, KEY_POLICY, OURS, PERMISSIONS, RCP, SCP, TRUST


class State(StrEnum):
    """How one link stands; the words are what people read, so that nothing hangs on a colour."""

    WORKS = "works"
    BROKEN = "broken"
    WAITING = "waiting"
    OURS = "ours"  # broken on Kore.ai's side: nobody else can correct it
    NOT_ASKED = "not_asked"
    BEGUN = "begun"  # some of its checks passed, the others were not asked
    UNSETTLED = "unsettled"  # the test ended, for another reason, before this was certain


LABELS = {
    State.WORKS: "Works",
    State.BROKEN: "Broken here",
    State.WAITING: "Waiting",
    State.OURS: "On Kore.ai’s side",
    State.NOT_ASKED: "Not asked yet",
    State.BEGUN: "Not all asked yet",
    State.UNSETTLED: "Not settled",
}
# The document to change, as a sentence says it; where no document is named, by step.
DOCUMENTS = {
    TRUST: "the trust policy of your role",
    PERMISSIONS: "the permissions policy of your role",
    KEY_POLICY: "the key policy of your key",
    KEY: "your key",
    BOUNDARY: "the permissions boundary of your role",
    SCP: "a service control policy of your organization",
    RCP: "a resource control policy of your organization",
}
WITHOUT_DOCUMENT = {1: "your key", 2: "your role", 3: "the key policy of your key"}
LINKS = {"ours": "Our role", "external_id": "External ID", "role": "Your role", "key": "Your key"}
NOT_YET = "not asked yet"  # the evidence of a check that a look did not come to
STRANGERS = "role.refuses_others"
BY_PREFIX = {
    "ours": "ours",
    "external_id": "external_id",
    "role": "role",
    "account": "role",
    "key": "key",
    "use": "key",
}
BY_STEP = {1: "key", 2: "role", 3: "key", OURS: "ours"}
EXPECTED = tuple(check.code for check in CHECKS if not check.is_warning)
WORKS = {
    "ours": "It is the role you trust, and it may ask for yours.",
    "external_id": "Without exactly your External ID, your role refuses.",
    "role": "It lets us in, and we become it and nobody else.",
    "key": "It does everything the guide asks for.",
}
OURS_SENTENCE = "Kore.ai mends this. You need not change anything."
NOT_ASKED = {
    "ours": "We ask it first.",
    "external_id": "We see it once your role lets us in.",
    "role": "We ask it once our side works.",
    "key": "We ask it once your role lets us in.",
}
UNSETTLED = "The test ended before this was certain. The next one asks again."


@dataclass(frozen=True, slots=True)
class Link:
    """One link of the chain.

    Attributes:
        sentence: one sentence: what the state rests on.
        check: the row that decides; None while nothing was asked.
        until: when a refusal counts as final, or the second look comes; None when there is no such time.
    """

    name: str
    title: str
    state: State
    sentence: str
    check: CheckResult | None = None
    until: datetime | None = None

    @property
    def label(self) -> str:
        return LABELS[self.state]


@dataclass(frozen=True, slots=True)
class Chain:
    """The four links in order."""

    links: tuple[Link, ...]
    is_over: bool = False

    @property
    def broken(self) -> Link | None:
        """The link to correct first: what comes after it hangs on it. `remedy_order` begins with the same row."""
        ours = self.links[0] if self.links[0].state == State.OURS else None
        broken = [(rank(link.check), link) for link in self.links if link.state == State.BROKEN and link.check]
        first = min(broken, key=lambda pair: pair[0])[1] if broken else None
        # while it goes on, nothing is asked of the tenant before our side works
        return first or ours if self.is_over else ours or first

    @property
    def alt(self) -> str:
        """The same in words, for people who do not see the picture."""
        return " ".join(f"{link.title}: {link.label.lower()}. {link.sentence}" for link in self.links)


def of(rows: Iterable[CheckResult], *, is_over: bool = False, waits_for_kore: bool = False) -> Chain:
    """Return the chain as the rows of one test show it.

    Args:
        is_over: the test is: nothing is waited for any more.
        waits_for_kore: our own side failed, even where the row at which it was met does not say so.
    """
    found: dict[str, list[CheckResult]] = {name: [] for name in LINKS}
    for row in rows:
        if not row.code.startswith("hygiene."):  # warnings never decide
            found[link_of(row)].append(row)
    first, *rest = (_link(name, found[name], is_over=is_over) for name in LINKS)
    if waits_for_kore and first.state != State.OURS:
        first = Link(first.name, first.title, State.OURS, OURS_SENTENCE, first.check)
    return Chain((first, *rest), is_over)


def link_of(row: CheckResult) -> str:
    """Return the link that a row speaks of: a refusal belongs where its remedy lies, not where it was met."""
    return "ours" if wait_of(row) is Wait.OURS else _link_where(row.code, row.verdict, row.step, row.causes)


def _link_where(code: str, verdict: str, step: int, causes: Sequence[str]) -> str:
    prefix = code.partition(".")[0]
    if prefix == "use" and verdict in {Verdict.FAIL, Verdict.UNKNOWN} and step == 2:
        return "role"
    named = [cause for cause in causes if cause != PROPAGATION]
    if prefix == "role" and named and all(cause.startswith("external_id") for cause in named):
        return "external_id"
    return BY_PREFIX.get(prefix) or BY_STEP.get(step, "key")


def rank_of(code: str, step: int, causes: Sequence[str]) -> tuple[bool, int]:
    """Return the order of the remedies of failed checks, everywhere:
    a role that lets anybody in first, then along the chain."""
    lets_anybody_in = code.startswith("external_id.") or code == STRANGERS
    return not lets_anybody_in, list(LINKS).index(_link_where(code, Verdict.FAIL, step, causes))


def rank(row: CheckResult) -> tuple[bool, int, int]:
    """Return the place of a failed row in the order of the remedies."""
    return (*rank_of(row.code, row.step, row.causes), row.position)


def wait_of(row: CheckResult) -> Wait:
    """Return why a row cannot tell yet."""
    if row.verdict != Verdict.UNKNOWN:
        return Wait.NOTHING
    if row.causes and all(cause.startswith("our_") for cause in row.causes):
        return Wait.OURS
    if row.step == OURS and row.evidence.get("why", NOT_YET) != NOT_YET:  # no answer at all says nothing of our side
        return Wait.OURS
    if PROPAGATION in row.causes:
        return Wait.PROPAGATION
    if row.final_at:
        return Wait.SECOND_LOOK
    return Wait.AWS if "action" in row.evidence else Wait.NOTHING  # nothing was asked: there is nothing to wait for


def let_us_in(row: CheckResult) -> bool:
    """Tell whether a role that serves let in whom it has to refuse, once so far."""
    return row.verdict == Verdict.UNKNOWN and "insecure_at" in row.evidence


def what_of(row: CheckResult) -> str:
    """Return what a row says to change, as a sentence says it."""
    return DOCUMENTS.get(row.document) or WITHOUT_DOCUMENT.get(row.step, "something")


WAITS = {
    Wait.PROPAGATION: "AWS refused it soon after a change. We ask again before that counts.",
    Wait.AWS: "AWS gave no clear answer. We ask again.",
    Wait.SECOND_LOOK: "It passed the first look. We look a second time.",
}
LET_US_IN = "It let in whom it has to refuse. We look a second time before we stop the key."
USES = sum(code.startswith("use.") for code in EXPECTED)


def _link(name: str, rows: Sequence[CheckResult], *, is_over: bool) -> Link:
    title = LINKS[name]
    waits = {wait_of(row): row for row in reversed(rows)}  # the first row of each kind
    failed = sorted((row for row in rows if row.verdict == Verdict.FAIL), key=rank)
    if Wait.OURS in waits:
        return Link(name, title, State.OURS, OURS_SENTENCE, waits[Wait.OURS])
    if failed:
        return Link(name, title, State.BROKEN, _broken(name, failed), failed[0])
    for wait, sentence in WAITS.items():
        if wait in waits and is_over:
            return Link(name, title, State.UNSETTLED, UNSETTLED, waits[wait])
        if wait in waits:
            row = waits[wait]
            if let_us_in(row):
                sentence = LET_US_IN
            elif wait is Wait.PROPAGATION and row.remedy and row.final_at:
                at = words.minute(row.final_at, now=clock.now())
                sentence = f"AWS refuses it. If it is still so at {at}, change {what_of(row)}."
            return Link(name, title, State.WAITING, sentence, row, row.final_at)
    passed = {row.code for row in rows if row.verdict == Verdict.PASS}
    expected = {code for code in EXPECTED if BY_PREFIX[code.partition(".")[0]] == name}
    if passed >= expected:
        return Link(name, title, State.WORKS, WORKS[name], rows[-1])
    # Not green before everything was asked: a green link must not turn red.
    if not passed & expected:
        return Link(name, title, State.NOT_ASKED, NOT_ASKED[name])
    return Link(name, title, State.BEGUN, f"{len(passed & expected)} of {len(expected)} checks passed so far.")


def _broken(name: str, failed: Sequence[CheckResult]) -> str:
    first = failed[0]
    prefix = first.code.partition(".")[0]
    if prefix == "external_id":
        return "Your role lets us in without exactly your External ID."
    if first.code == STRANGERS:
        return "It lets in others than our role."
    if prefix == "role":
        return "Your role asks for another one than yours." if name == "external_id" else "It refuses our role."
    if prefix == "account":
        return "It is not the role we became."
    if prefix == "use":
        whose = "Its permissions policy" if first.document == PERMISSIONS else "AWS"
        return f"{whose} refuses {len(failed)} of our {USES} calls."
    return "It cannot be used as it is."
