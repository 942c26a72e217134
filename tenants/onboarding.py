"""The six steps of the guide: one table, and advance(), the one way a step changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime

from byokportal import clock, words
from byokportal.errors import Turn
from byokportal.translation import lazy
from byokportal.translation import translate as _
from tenants import audit, transactions
from tenants.audit import Actor
from tenants.models import OnboardingMove, OnboardingStep, Tenant

Status = OnboardingStep.Status
NOTHING = lazy("Nothing to do.")
EXPECTED = "expected"  # the name of a `Change` in a step's evidence
DONE = frozenset({Status.DONE, Status.SKIPPED})


@dataclass(frozen=True, slots=True)
class Step:
    """One step: the guide's own title, and what comes next while it stands in a status."""

    number: int
    name: str  # short, for trackers and the API
    title: str  # the guide's heading, to the letter
    next: Mapping[str, str]


STEPS = (
    Step(
        1,
        lazy("CMK"),
        lazy("Ensure you have a KMS Customer Managed Key"),
        {
            Status.NOT_STARTED: lazy("Give the CMK ARN."),
            Status.WAITING_FOR_TENANT: lazy("Give the CMK ARN."),
            Status.IN_PROGRESS: lazy("Nothing to do: the test is looking at the key."),
            Status.FAILED: lazy("Look at what the test says about your key, correct it, then test again."),
        },
    ),
    Step(
        2,
        lazy("IAM role"),
        lazy("Create an IAM role for our application"),
        {
            Status.NOT_STARTED: lazy("Create the role with the trust policy and the permissions policy shown here."),
            Status.WAITING_FOR_TENANT: lazy(
                "Create the role with the two policies shown here, then give the Role ARN."
            ),
            Status.IN_PROGRESS: lazy("Nothing to do: the test is looking at the role."),
            Status.FAILED: lazy("Correct the document that the test names, then test again."),
        },
    ),
    Step(
        3,
        lazy("Key policy"),
        lazy("Grant the role access to your Customer Managed Key"),
        {
            Status.NOT_STARTED: lazy("Give the Role ARN first (step 2)."),
            Status.WAITING_FOR_TENANT: lazy("Add the statement shown here to your key policy."),
            Status.IN_PROGRESS: lazy("Nothing to do: the test shows whether the key policy lets the role in."),
            Status.FAILED: lazy("Correct the key policy as the test says, then test again."),
        },
    ),
    Step(
        4,
        lazy("Validate"),
        lazy("Validate IAM and KMS Configuration (Optional)"),
        {
            Status.NOT_STARTED: lazy("If you like, look at your side before we do. Our own test follows in any case."),
            Status.WAITING_FOR_TENANT: lazy(
                "If you like, look at your side before we do. Our own test follows in any case."
            ),
            Status.IN_PROGRESS: lazy("Compare the output with what is shown here."),
        },
    ),
    Step(
        5,
        lazy("Service-side configuration"),
        lazy("Service-Side Configuration"),
        {
            Status.NOT_STARTED: lazy("Share both ARNs first (step 6)."),
            Status.WAITING_FOR_TENANT: lazy("Correct the step that the test names, then test again."),
            Status.WAITING_FOR_KORE: lazy("Nothing to do: Kore.ai has a ticket for it."),
            Status.IN_PROGRESS: lazy(
                "Nothing to do: our side is being configured and tested. It takes about a minute."
            ),
            Status.FAILED: lazy("Nothing to do: Kore.ai has a ticket for it."),
        },
    ),
    Step(
        6,
        lazy("Share"),
        lazy("Share required information"),
        {
            Status.NOT_STARTED: lazy("Finish steps 1 to 3 first."),
            Status.WAITING_FOR_TENANT: lazy("Check both ARNs and share them."),
        },
    ),
)
BY_NUMBER = {step.number: step for step in STEPS}


# Evidence of step 5 while everything is tested: the time at which the key goes into service, or BUTTON.
ACTIVATION, BUTTON = "activation", "by_button"


@dataclass(frozen=True, slots=True)
class Change:
    """What will have to be changed unless AWS's answer passes by itself.

    Args:
        why: what AWS's answer is, a sentence.
        what: the document, for people: "the trust policy of your role".
        step: of the guide, in which it lies.
        counts_at: from when on AWS's answer counts, ISO 8601.
        test: the id of the test that met it.
        causes: labels still possible, likeliest first.
    """

    why: str
    what: str
    step: int
    counts_at: str
    test: str
    causes: list[str]

    @property
    def words(self) -> str:
        """The sentence of the tracker."""
        at = words.minute(datetime.fromisoformat(self.counts_at), now=clock.now())
        return _(
            "%(why)s If it is still so at %(at)s, change %(what)s (step %(step)s) as the test says.",
            why=_(self.why),
            at=at,
            what=_(self.what),
            step=self.step,
        )


@dataclass(frozen=True, slots=True)
class StepView:
    """One step as portal, API and admin show it."""

    number: int
    name: str
    title: str
    status: str
    label: str
    since: datetime
    whose_turn: str
    evidence: dict[str, object]
    next: str


def whose_turn(number: int, status: str) -> str:
    """Tell who has to do something: the tenant, Kore.ai or nobody."""
    if status in {Status.DONE, Status.SKIPPED}:
        return Turn.NOBODY.value
    if status in {Status.WAITING_FOR_KORE, Status.IN_PROGRESS} or (number == 5 and status == Status.FAILED):
        return Turn.KORE.value
    if status == Status.NOT_STARTED and number in {4, 5}:
        return Turn.NOBODY.value
    return Turn.TENANT.value


def begin(tenant: Tenant, *, actor: Actor) -> None:
    """Lay out the six steps of a new tenant; the first waits for the tenant."""
    OnboardingStep.objects.bulk_create(OnboardingStep(tenant=tenant, number=step.number) for step in STEPS)
    advance(tenant, 1, Status.WAITING_FOR_TENANT, actor=actor)


@transactions.atomic
def advance(
    tenant: Tenant,
    number: int,
    status: str,
    *,
    actor: Actor,
    reason: str = "",
    evidence: Mapping[str, object] | None = None,
) -> bool:
    """Set one step to a status, with a history row and a line in the log; False when it stands there already.

    Args:
        evidence: ids, ARNs and codes that show why; never a secret. It replaces what was there;
            None keeps it, unless it showed a fault.
    """
    step = OnboardingStep.objects.select_for_update(no_key=True).get(tenant=tenant, number=number)
    if step.status == status:
        if evidence is not None and evidence != step.evidence:
            OnboardingStep.objects.filter(pk=step.pk).update(evidence=evidence)
        return False
    old, now = step.status, clock.now()
    if evidence is None and old == Status.FAILED:
        evidence = {}  # what showed the fault says nothing of what comes after it
    facts = {"status": status, "since": now} | ({} if evidence is None else {"evidence": evidence})
    if not OnboardingStep.objects.filter(pk=step.pk, status=old).update(**facts):
        return False
    OnboardingMove.objects.create(
        tenant=tenant, step=step, old_status=old, new_status=status, reason=reason[:500], actor=actor.label, at=now
    )
    audit.record(
        "tenants.step.changed", tenant=tenant, actor=actor, target=step, step=number, old=old, new=status, reason=reason
    )
    return True


def advance_if(tenant: Tenant, number: int, statuses: set[str], status: str, *, actor: Actor, reason: str = "") -> bool:
    """Advance a step only out of one of the given statuses."""
    if not OnboardingStep.objects.filter(tenant=tenant, number=number, status__in=statuses).exists():
        return False
    return advance(tenant, number, status, actor=actor, reason=reason)


@transactions.atomic
def expect(tenant: Tenant, changes: Mapping[int, Change]) -> None:
    """Keep what a test that goes on has met: which change will be due in which step unless AWS's answer passes by
    itself. No status changes by it, so the log has no line for it.

    Args:
        changes: by number of the step; of a step that is not named nothing is expected any more.
    """
    for step in OnboardingStep.objects.select_for_update(no_key=True).filter(tenant=tenant):
        evidence = {name: value for name, value in step.evidence.items() if name != EXPECTED}
        if step.number in changes:
            evidence[EXPECTED] = asdict(changes[step.number])
        if evidence != step.evidence:
            OnboardingStep.objects.filter(pk=step.pk).update(evidence=evidence)


@transactions.atomic
def restart(tenant: Tenant, *, actor: Actor, reason: str) -> None:
    """Lay the six steps out again, as for a new tenant: its registration is gone."""
    for step in STEPS:
        status = Status.WAITING_FOR_TENANT if step.number == 1 else Status.NOT_STARTED
        advance(tenant, step.number, status, actor=actor, reason=reason, evidence={})


def overview(tenant: Tenant) -> list[StepView]:
    """Return the six steps in order."""
    return views(OnboardingStep.objects.filter(tenant=tenant).order_by("number"))


def is_set_up(tenant: Tenant) -> bool:
    """Tell whether the last of our own steps is done, so that there is a key to look at."""
    return OnboardingStep.objects.filter(tenant=tenant, number=5, status=Status.DONE).exists()


def views(steps: Iterable[OnboardingStep]) -> list[StepView]:
    """Return the steps of one tenant with their words; while a change is expected none says that nothing is to do."""
    found = [view(step) for step in steps]
    expected = next((step.number for step in found if EXPECTED in step.evidence), None)
    if expected is None:
        return found
    first = _("First see step %(step)s.", step=expected)
    return [
        replace(step, next=_("Done.") if step.status in DONE else first) if _is_idle(step) else step for step in found
    ]


def _is_idle(step: StepView) -> bool:
    """Tell whether the table says that nothing is to do, and nothing else does."""
    if step.evidence.get(EXPECTED) or (step.status == Status.WAITING_FOR_TENANT and step.evidence.get(ACTIVATION)):
        return False
    return _next_in_table(step.number, step.status).startswith(NOTHING.rstrip("."))


def _next_in_table(number: int, status: str) -> str:
    return BY_NUMBER[number].next.get(status, NOTHING)


def view(step: OnboardingStep) -> StepView:
    """Return one step with its words."""
    table = BY_NUMBER[step.number]
    expected = step.evidence.get(EXPECTED)
    following = _(_next_in_table(step.number, step.status))
    if expected and step.status != Status.FAILED:
        following = Change(**expected).words
    turn = whose_turn(step.number, step.status)
    activation = step.evidence.get(ACTIVATION) if step.status == Status.WAITING_FOR_TENANT else None
    if activation == BUTTON:
        following = _("Tested: every check passed. Your key waits for you: activate it when you want it in service.")
    elif activation:
        following = _("Tested: every check passed. Your key goes into service at %(at)s.", at=words.label(activation))
        turn = Turn.NOBODY.value
    return StepView(
        number=step.number,
        name=_(table.name),
        title=_(table.title),
        status=step.status,
        label=step.get_status_display(),
        since=step.since,
        whose_turn=turn,
        evidence=step.evidence,
        next=following,
    )
