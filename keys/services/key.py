"""Operations of the key in service: where it stands, suspend, resume, drop caches, latency, rotate, leave."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from functools import reduce
from operator import or_

from django.conf import settings
from django.db.models import F, OuterRef, Q, Subquery

from byokportal import clock, stored_sentences
from byokportal.errors import InvalidInput, Turn
from byokportal.translation import lazy
from byokportal.translation import translate as _
from keys import branchkeys, errors, health, lifecycle, tasks
from keys.health import again, kept, notes, stops
from keys.models import BranchKey, KeyHealth, KeyRegistration, RestoreHold, RoleConfiguration
from keys.services.registration import give_up_preparation, shown_among
from tenants import approvals, audit, onboarding, roles, transactions
from tenants.approvals import HELD, Held
from tenants.audit import Actor
from tenants.models import AuditEvent, OnboardingStep, Tenant
from tenants.services import reason_of

Status = KeyRegistration.Status
Step = OnboardingStep.Status
Configuration = RoleConfiguration
# what tells every process to drop its keys
DROPPING = (
    "keys.key.caches_dropped",
    "keys.key.suspended",
    "keys.latency.changed",
)


@dataclass(frozen=True, slots=True)
class Drop:
    """The last time that every process was told to forget its unwrapped keys of a tenant, and what they made of it."""

    generation: int
    since: datetime
    processes: list[stops.Process]

    @property
    def done(self) -> list[stops.Process]:
        return [process for process in self.processes if process.at is not None]

    @property
    def held(self) -> list[stops.Process]:
        """Those that held a key and have dropped it."""
        return [process for process in self.done if process.count]

    @property
    def is_over(self) -> bool:
        return len(self.done) == len(self.processes)

    @property
    def last_after(self) -> float:
        """Seconds until the last process that held a key had dropped it;
        0 where none held one, which measures nothing."""
        times = [process.at for process in self.held if process.at is not None]
        return round(max((max(times) - self.since).total_seconds(), 0.0), 1) if times else 0.0


@dataclass(frozen=True, slots=True)
class KeyState:
    """The key in service as portal, API and admin show it."""

    status: str
    label: str
    since: datetime | None
    reason: str
    whose_turn: str
    suspended_by: str
    next_probe_at: datetime | None
    protected_by: str  # tenant, platform or nobody
    generation: int
    key_arn: str
    role_arn: str
    refused_since: datetime | None = None  # AWS refuses us since, whoever's doing that is
    refused_code: str = ""
    deletion_date: datetime | None = None
    warnings: tuple[notes.Note, ...] = ()
    way_back: again.WayBack | None = None  # of a key that good answers bring back
    is_asked: bool = False  # somebody asked for a probe, and its answer is not here yet
    held_since: datetime | None = None  # after a restore: until an owner confirms (`keys.holds`)

    @property
    def next_probe_in(self) -> int:
        """Seconds until AWS is asked again, which the page counts down: a wrong clock of its reader does no harm."""
        return max(0, round((self.next_probe_at - clock.now()).total_seconds())) if self.next_probe_at else 0


def key_state(tenant: Tenant) -> KeyState:
    """Return where the tenant's key stands, and whose turn it is."""
    return key_state_among(tenant, registrations_with_generation(tenant))


def registrations_with_generation(tenant: Tenant) -> list[KeyRegistration]:
    """Return the tenant's registrations that are not retired, each with the generation of its keys."""
    rows = KeyRegistration.objects.of(tenant).not_retired()
    held = RestoreHold.objects.open().filter(tenant=OuterRef("tenant")).values("held_at")[:1]
    return list(rows.annotate(generation=F("tenant__key_generation"), held_at=Subquery(held)))


def key_state_among(tenant: Tenant, rows: list[KeyRegistration]) -> KeyState:
    """Return the state of the tenant's key, where `registrations_with_generation` is read already."""
    if rows:
        tenant.key_generation = rows[0].generation  # type: ignore[attr-defined]  # annotated
        held_since = rows[0].held_at  # type: ignore[attr-defined]  # annotated
    else:
        tenant.refresh_from_db(fields=["key_generation"])
        held_since = RestoreHold.objects.of(tenant).open().values_list("held_at", flat=True).first()
    is_serving = (row for row in rows if row.status in KeyRegistration.SERVING)
    registration = next(is_serving, None) or shown_among(tenant, rows)
    serving = registration is not None and registration.status in KeyRegistration.SERVING
    protected_by = "tenant" if serving else "platform" if settings.PLATFORM_KEY_ARN else "nobody"
    if registration is None:
        unknown = KeyState(
            "none", _("No key yet"), None, "", Turn.TENANT.value, "", None, protected_by, tenant.key_generation, "", ""
        )
        return replace(unknown, held_since=held_since)
    all_known = KeyHealth.objects.known_of(rows)
    known = all_known.get(registration.pk) or KeyHealth.objects.known(registration)
    # no answer brings it back
    is_left_alone = registration.is_stopped_by_a_person and not known.is_probe_awaited
    return KeyState(
        status=registration.status,
        label=registration.get_status_display(),
        since=registration.moved_at,
        reason=registration.reason,
        whose_turn=Turn.TENANT.value if held_since else _whose_turn(registration),
        suspended_by=registration.suspended_by,
        next_probe_at=None if is_left_alone else known.next_probe_at,
        protected_by=protected_by,
        generation=tenant.key_generation,
        key_arn=registration.key_arn,
        role_arn=registration.role_arn,
        refused_since=known.refused_since,
        refused_code=known.refused_code,
        deletion_date=notes.deletion_date(known) if serving else None,
        warnings=(*(_warnings(known) if serving else ()), *kept.notes(tenant, all_known.values())),
        way_back=again.way_back(known),
        is_asked=known.is_probe_awaited,
        held_since=held_since,
    )


def _warnings(known: KeyHealth) -> list[notes.Note]:
    """Return what is to be known of the key; what a test kept is said in the language of the moment."""
    return [
        replace(note, text=stored_sentences.again(note.text)) if note.code == notes.TEST_WARNING else note
        for note in notes.of(known)
    ]


def _whose_turn(registration: KeyRegistration) -> str:
    match registration.status:
        case Status.DRAFT | Status.REJECTED:
            return Turn.TENANT.value
        case Status.SUSPENDED:
            return (
                Turn.KORE.value if registration.suspended_by == KeyRegistration.SuspendedBy.KORE else Turn.TENANT.value
            )
        case Status.TESTING if registration.waits_for_activation:
            is_timed = registration.activation == KeyRegistration.Activation.AT_TIME
            return Turn.NOBODY.value if is_timed else Turn.TENANT.value
        case Status.ACTIVE | Status.RETIRING | Status.RETIRED:
            return Turn.NOBODY.value
    return Turn.KORE.value


@transactions.atomic
def suspend(tenant: Tenant, *, reason: str, actor: Actor) -> KeyState:
    """Stop every use of the tenant's key; only a person undoes it (design.md 3).

    Raises:
        KeyNotActive: no registration serves.
        RegistrationBusy: somebody moved it at the same moment; try again.
    """
    roles.require(actor, "keys.suspend", tenant)
    reason = reason_of(reason)
    by = KeyRegistration.SuspendedBy.TENANT if actor.is_tenants else KeyRegistration.SuspendedBy.KORE
    return press(tenant, by=by, reason=reason, actor=actor)


@transactions.atomic
def press(tenant: Tenant, *, by: KeyRegistration.SuspendedBy, reason: str, actor: Actor) -> KeyState:
    """Let the button of one side be pressed; it is part of an operation, which asks who may.

    Raises:
        KeyNotActive, RegistrationBusy: as `suspend`.
    """
    registration = _serving(tenant)
    # The tenant's button stays pressed under Kore.ai's: each side undoes its own only.
    presses = by == KeyRegistration.SuspendedBy.TENANT and registration.tenant_suspended_at is None
    facts: dict[str, object] = {"tenant_suspended_at": clock.now()} if presses else {}
    stands_below = registration.suspended_by == KeyRegistration.SuspendedBy.KORE
    if registration.status != Status.SUSPENDED:
        lifecycle.move(registration, Status.SUSPENDED, actor=actor, reason=reason, suspended_by=by, **facts)
    elif registration.suspended_by == by or (stands_below and not presses):
        return key_state(tenant)
    else:
        # AWS's refusal, or the other side's button:
        # the pressed button is what counts from now on, Kore.ai's above the tenant's.
        facts |= {} if stands_below else {"suspended_by": by, "reason": reason}
        KeyRegistration.objects.filter(pk=registration.pk, status=Status.SUSPENDED).update(**facts)
        lifecycle.changed(tenant.pk)
    audit.record(
        "keys.key.suspended", tenant=tenant, actor=actor, target=registration, suspended_by=by.label, reason=reason
    )
    return key_state(tenant)


@transactions.atomic
def resume(tenant: Tenant, *, reason: str, actor: Actor) -> KeyState:
    """Undo a pressed Suspend: the key is asked at once and serves after two good answers,
    a few seconds apart (`health.timing`).

    While the other side's button is pressed too, the key stays suspended by that.

    Raises:
        KeyNotActive: no registration serves.
        RegistrationBusy: it is not suspended by the button that this actor may undo.
    """
    roles.require(actor, "keys.resume", tenant)
    reason = reason_of(reason)
    registration = _serving(tenant)
    tenants_own, kores = KeyRegistration.SuspendedBy.TENANT, KeyRegistration.SuspendedBy.KORE
    is_tenant = actor.is_tenants
    is_pressed = registration.tenant_suspended_at is not None if is_tenant else registration.suspended_by == kores
    if registration.status != Status.SUSPENDED or not is_pressed:
        state = registration.status_in_english
        raise errors.RegistrationBusy(
            status=f"{state} by {registration.suspended_by_in_english}" if registration.suspended_by else state,
            wanted="resumed",
        )
    # An approval is for this suspension, and ends with it.
    since = registration.tenant_suspended_at
    facts = {"registration": str(registration.pk), "suspended_at": since.isoformat() if since else ""}
    approvals.require(actor, "keys.resume", tenant, reason=reason, **facts)
    rows = KeyRegistration.objects.filter(pk=registration.pk, status=Status.SUSPENDED)
    if is_tenant and registration.suspended_by == kores:
        rows.update(tenant_suspended_at=None)
    elif not is_tenant and registration.tenant_suspended_at is not None:
        rows.update(suspended_by=tenants_own, reason=lazy("the organisation's own Suspend stands"))
        lifecycle.changed(tenant.pk)
    else:
        lifecycle.move(
            registration,
            Status.UNREACHABLE,
            actor=actor,
            reason="resumed",
            tenant_suspended_at=None,
        )
        KeyHealth.objects.filter(registration=registration).update(
            good_probes=0, good_since=None, denied_probes=0, next_probe_at=clock.now(), probe_claimed_at=None
        )
        tasks.enqueue(tasks.probe, registration_id=str(registration.pk))
    audit.record("keys.key.resumed", tenant=tenant, actor=actor, target=registration, reason=reason)
    return key_state(tenant)


@transactions.atomic
def ask_again(tenant: Tenant, *, reason: str = "", actor: Actor) -> KeyState:
    """Ask AWS now what it says of the tenant's keys; two good answers end a suspension by AWS (`health.timing`).

    Where a button is pressed AWS is asked too, for what DescribeKey says, but no answer undoes the button.

    Args:
        reason: required of support staff.

    Raises:
        KeyNotActive: no key serves or still opens anything.
    """
    roles.require(actor, "keys.probe", tenant)
    if actor.kind == "staff":
        reason = reason_of(reason)
    registrations = list(KeyRegistration.objects.of(tenant).probed())
    if not registrations:
        raise errors.KeyNotActive
    wake = [registration for registration in registrations if health.ask_again(registration, is_a_person=True)]
    for registration in wake:
        tasks.enqueue(tasks.probe, registration_id=str(registration.pk))
    if wake:  # who presses twice asked once
        audit.record("keys.key.asked_again", tenant=tenant, actor=actor, target=wake[0], reason=reason)
    return key_state(tenant)


@transactions.atomic
def drop_caches(tenant: Tenant, *, reason: str, actor: Actor) -> KeyState:
    """Tell every process of ours to forget its unwrapped keys of this tenant now: the generation grows."""
    roles.require(actor, "keys.drop_caches", tenant)
    reason = reason_of(reason)
    lifecycle.changed(tenant.pk, drop=True)
    audit.record("keys.key.caches_dropped", tenant=tenant, actor=actor, reason=reason)
    return key_state(tenant)


def last_drop(tenant: Tenant) -> Drop | None:
    """Return what became of the last stop or drop; None: there was none."""
    # The newest of each name is one step in an index; the newest of all three would be looked for in the whole log.
    mine = AuditEvent.objects.of(tenant).order_by("-id")
    newest = [Q(pk=Subquery(mine.filter(name=name).values("pk")[:1])) for name in DROPPING]
    stopped = {"generation": F("tenant__key_generation"), "stopped_in": F("tenant__key_stopped_in")}
    event = mine.filter(reduce(or_, newest)).annotate(**stopped).first()
    if event is None:
        return None
    tenant.key_generation = event.generation  # type: ignore[attr-defined]  # annotated
    tenant.key_stopped_in = event.stopped_in  # type: ignore[attr-defined]  # annotated
    processes = stops.of(tenant, generation=tenant.key_generation, since=event.at)
    return Drop(tenant.key_generation, event.at, processes)


@transactions.atomic
def set_latency(tenant: Tenant, *, seconds: int, actor: Actor) -> None:
    """Choose the revocation latency.

    Args:
        seconds: 0 to 900; 0 asks the CMK every time.
    """
    roles.require(actor, "keys.set_latency", tenant)
    if not 0 <= seconds <= 900:
        raise InvalidInput(errors={"seconds": [_("Choose 0 to 900 seconds.")]})
    if seconds > Tenant.objects.values_list("revocation_latency", flat=True).get(pk=tenant.pk):
        approvals.require(actor, "keys.set_latency", tenant, seconds=seconds)
    Tenant.objects.filter(pk=tenant.pk).update(revocation_latency=seconds)
    # A shorter promise counts at once: what was loaded under the longer one goes.
    lifecycle.changed(tenant.pk, drop=True)
    audit.record("keys.latency.changed", tenant=tenant, actor=actor, seconds=seconds)


@transactions.atomic
def rotate_branch_key(tenant: Tenant, *, reason: str, actor: Actor) -> None:
    """Ask for a fresh branch key now, ahead of its schedule; what the old one wrapped goes on opening.

    Raises:
        KeyNotActive: no branch key wraps new data keys yet.
    """
    roles.require(actor, "keys.rotate", tenant)
    reason = reason_of(reason)
    current = BranchKey.objects.of(tenant).filter(is_current=True).first()
    if current is None:
        raise errors.KeyNotActive
    BranchKey.objects.filter(pk=current.pk, is_current=True).update(due_at=clock.now(), attempts=0)
    audit.record("keys.branch_key.rotation_requested", tenant=tenant, actor=actor, target=current, reason=reason)
    tasks.enqueue(tasks.attend_branch_key, branch_key_id=str(current.pk))


@transactions.atomic
def leave(tenant: Tenant, *, reason: str, actor: Actor) -> KeyState:
    """Give up BYOK: the platform's key takes over, every branch key moves to it, then the registration is retired.

    A replacement in preparation is withdrawn with it: once tested it would put a key of the tenant's in service again.

    Raises:
        PlatformKeyMissing: there is no key to go back to.
        KeyNotActive: no registration serves.
        RegistrationBusy: the key does not answer or is suspended, so nothing could be moved away from it.
    """
    roles.require(actor, "keys.leave", tenant)
    reason = reason_of(reason)
    if not settings.PLATFORM_KEY_ARN:
        raise errors.PlatformKeyMissing
    registration = _serving(tenant)
    if registration.status != Status.ACTIVE:
        raise errors.RegistrationBusy(status=registration.status_in_english, wanted="left")
    facts = {"registration": str(registration.pk), "key_arn": registration.key_arn}
    approvals.require(actor, "keys.leave", tenant, reason=reason, **facts)
    lifecycle.move(registration, Status.RETIRING, actor=actor, reason="left")
    audit.record("keys.key.left", tenant=tenant, actor=actor, target=registration, reason=reason)
    give_up_preparation(tenant, reason=f"left: {reason}"[:200], actor=actor)
    branchkeys.begin_moving(tenant)
    onboarding.restart(tenant, actor=actor, reason="left")
    tasks.enqueue(tasks.enqueue_due_branch_keys)
    return key_state(tenant)


def _serving(tenant: Tenant) -> KeyRegistration:
    """Return the serving registration, locked:
    a probe that moves it at this moment waits, so a pressed button is never lost."""
    registration = KeyRegistration.objects.of(tenant).serving().select_for_update(no_key=True).first()
    if registration is None:
        raise errors.KeyNotActive
    return registration


HELD["keys.resume"] = Held(
    lazy("Resume the key"), lambda tenant, given, reason, actor: resume(tenant, reason=reason, actor=actor)
)
HELD["keys.leave"] = Held(
    lazy("Give up your own key {key_arn}"),
    lambda tenant, given, reason, actor: leave(tenant, reason=reason, actor=actor),
)
HELD["keys.set_latency"] = Held(
    lazy("Raise the revocation latency to {seconds} seconds"),
    lambda tenant, given, reason, actor: set_latency(tenant, seconds=given["seconds"], actor=actor),
)
