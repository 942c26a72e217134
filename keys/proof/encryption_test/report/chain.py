"""The chain "our role → External ID → your role → your key": the rows of one test → the state of each link; pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from byokportal import clock, words
from byokportal.translation import lazy
from byokportal.translation import translate as _
from keys import actions
from keys.models import CheckResult
from keys.proof.encryption_test import asked
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
    State.WORKS: lazy("Works"),
    State.BROKEN: lazy("Broken here"),
    State.WAITING: lazy("Waiting"),
    State.OURS: lazy("On Kore.ai’s side"),
    State.NOT_ASKED: lazy("Not asked yet"),
    State.BEGUN: lazy("Not all asked yet"),
    State.UNSETTLED: lazy("Not settled"),
}
# The document to change, as a sentence says it; where no document is named, by step.
DOCUMENTS = {
    TRUST: lazy("the trust policy of your role"),
    PERMISSIONS: lazy("the permissions policy of your role"),
    KEY_POLICY: lazy("the key policy of your key"),
    KEY: lazy("your key"),
    BOUNDARY: lazy("the permissions boundary of your role"),
    SCP: lazy("a service control policy of your organization"),
    RCP: lazy("a resource control policy of your organization"),
}
WITHOUT_DOCUMENT = {1: lazy("your key"), 2: lazy("your role"), 3: lazy("the key policy of your key")}
LINKS = {
    "ours": lazy("Our role"),
    "external_id": lazy("External ID"),
    "role": lazy("Your role"),
    "key": lazy("Your key"),
}
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
WORKS = {
    "ours": lazy("It is the role you trust, and it may ask for yours."),
    "external_id": lazy("Without exactly your External ID, your role refuses."),
    "role": lazy("It lets us in, and we become it and nobody else."),
    "key": lazy("It does everything your documents allow."),
}
OURS_SENTENCE = lazy("Kore.ai mends this. You need not change anything.")
NOT_ASKED = {
    "ours": lazy("We ask it first."),
    "external_id": lazy("We see it once your role lets us in."),
    "role": lazy("We ask it once our side works."),
    "key": lazy("We ask it once your role lets us in."),
}
UNSETTLED = lazy("The test ended before this was certain. The next one asks again.")


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
        return _(LABELS[self.state])


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


def of(
    rows: Collection[CheckResult],
    *,
    is_over: bool = False,
    waits_for_kore: bool = False,
    allowed: Sequence[str] = actions.GUIDE,
) -> Chain:
    """Return the chain as the rows of one test show it.

    Args:
        is_over: the test is: nothing is waited for any more.
        waits_for_kore: our own side failed, even where the row at which it was met does not say so.
        allowed: what the tenant's documents allow us, which says what is asked (`keys.actions`).
    """
    found: dict[str, list[CheckResult]] = {name: [] for name in LINKS}
    for row in rows:
        if not row.code.startswith("hygiene."):  # warnings never decide
            found[link_of(row)].append(row)
    codes = [each.code for each in asked(allowed, found={row.code for row in rows}) if not each.is_warning]
    first, *rest = (_link(name, found[name], codes, is_over=is_over) for name in LINKS)
    if waits_for_kore and first.state != State.OURS:
        first = Link(first.name, first.title, State.OURS, _(OURS_SENTENCE), first.check)
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
    return _(DOCUMENTS.get(row.document) or WITHOUT_DOCUMENT.get(row.step, lazy("something")))


WAITS = {
    Wait.PROPAGATION: lazy("AWS refused it soon after a change. We ask again before that counts."),
    Wait.AWS: lazy("AWS gave no clear answer. We ask again."),
    Wait.SECOND_LOOK: lazy("It passed the first look. We look a second time."),
}
LET_US_IN = lazy("It let in whom it has to refuse. We look a second time before we stop the key.")


def _link(name: str, rows: Sequence[CheckResult], codes: Sequence[str], *, is_over: bool) -> Link:
    title = _(LINKS[name])
    waits = {wait_of(row): row for row in reversed(rows)}  # the first row of each kind
    failed = sorted((row for row in rows if row.verdict == Verdict.FAIL), key=rank)
    if Wait.OURS in waits:
        return Link(name, title, State.OURS, _(OURS_SENTENCE), waits[Wait.OURS])
    if failed:
        return Link(name, title, State.BROKEN, _broken(name, failed, codes), failed[0])
    for wait, sentence in WAITS.items():
        if wait in waits and is_over:
            return Link(name, title, State.UNSETTLED, _(UNSETTLED), waits[wait])
        if wait in waits:
            row, sentence = waits[wait], _(sentence)
            if let_us_in(row):
                sentence = _(LET_US_IN)
            elif wait is Wait.PROPAGATION and row.remedy and row.final_at:
                at = words.minute(row.final_at, now=clock.now())
                sentence = _("AWS refuses it. If it is still so at %(at)s, change %(what)s.", at=at, what=what_of(row))
            return Link(name, title, State.WAITING, sentence, row, row.final_at)
    passed = {row.code for row in rows if row.verdict == Verdict.PASS}
    expected = {code for code in codes if BY_PREFIX[code.partition(".")[0]] == name}
    if passed >= expected:
        return Link(name, title, State.WORKS, _(WORKS[name]), rows[-1])
    # Not green before everything was asked: a green link must not turn red.
    if not passed & expected:
        return Link(name, title, State.NOT_ASKED, _(NOT_ASKED[name]))
    return Link(
        name,
        title,
        State.BEGUN,
        _("%(passed)s of %(total)s checks passed so far.", passed=len(passed & expected), total=len(expected)),
    )


def _broken(name: str, failed: Sequence[CheckResult], codes: Sequence[str]) -> str:
    first = failed[0]
    prefix = first.code.partition(".")[0]
    if prefix == "external_id":
        return _("Your role lets us in without exactly your External ID.")
    if first.code == STRANGERS:
        return _("It lets in others than our role.")
    if prefix == "role":
        return _("Your role asks for another one than yours.") if name == "external_id" else _("It refuses our role.")
    if prefix == "account":
        return _("It is not the role we became.")
    if prefix == "use":
        uses = sum(code.startswith("use.") for code in codes)
        if first.document == PERMISSIONS:
            return _(
                "Its permissions policy refuses %(refused)s of our %(calls)s calls.", refused=len(failed), calls=uses
            )
        return _("AWS refuses %(refused)s of our %(calls)s calls.", refused=len(failed), calls=uses)
    return _("It cannot be used as it is.")
