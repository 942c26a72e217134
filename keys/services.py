"""Deeds of the keys app: register, test, approve, suspend, resume, drop caches, give out data keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import get_args

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from byokportal.errors import DomainError, InvalidInput, Turn
from keys import branchkeys, datakeys, errors, lifecycle, tasks
from keys.arns import KeyArn, RoleArn
from keys.checks import history, reading
from keys.configuration import packing
from keys.datakeys import Context, NewDataKey, OpenedDataKey
from keys.health import notes, stops
from keys.models import BranchKey, EncryptionTest, KeyRegistration, RoleConfiguration
from keys.policies import documents, linter
from keys.validation import reading as validation_reading
from keys.validation.points import Facts
from tenants import audit, onboarding, roles
from tenants.audit import Actor
from tenants.models import AuditEvent, OnboardingStep, Tenant
from tenants.services import reason_of

Status = KeyRegistration.Status
Step = OnboardingStep.Status
Configuration = RoleConfiguration
DROPPING = (
    "keys.key.caches_dropped",
    "keys.key.suspended",
    "keys.latency.changed",
)  # what tells every process to drop its keys


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
    def is_over(self) -> bool:
        return len(self.done) == len(self.processes)

    @property
    def last_after(self) -> float:
        """Seconds from the deed until the last process that has dropped had done so."""
        times = [process.at for process in self.processes if process.at is not None]
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


# --- registration (steps 1, 2 and 6) ------------------------------------------------------------------


@transaction.atomic
def save_draft(
    tenant: Tenant, *, key_arn: str | None = None, role_arn: str | None = None, actor: Actor
) -> KeyRegistration:
    """Keep the ARNs that the tenant gives, each checked at once; a rejected registration becomes a draft again.

    Args:
        key_arn: CMK ARN as typed; None leaves it as it is.
        role_arn: Role ARN as typed; None leaves it as it is.

    Raises:
        ArnRefused: with the reason under its field; nothing is saved then.
        RegistrationBusy: it is shared already and being worked on.
    """
    roles.require(actor, "keys.register", tenant)
    given: dict[str, str] = {}
    if key_arn is not None:
        given["key_arn"] = str(KeyArn.parse(key_arn, our_account=settings.AWS_ACCOUNT_ID))
    if role_arn is not None:
        given["role_arn"] = str(RoleArn.parse(role_arn, our_account=settings.AWS_ACCOUNT_ID))
    Tenant.objects.select_for_update().get(pk=tenant.pk)  # two first drafts at once: one row
    registration = KeyRegistration.objects.of(tenant).in_preparation().first()
    if registration is None:
        serving = KeyRegistration.objects.of(tenant).serving().first()
        inherited = {"key_arn": serving.key_arn, "role_arn": serving.role_arn} if serving else {}
        registration = KeyRegistration.objects.create(tenant=tenant, replaces=serving, **{**inherited, **given})
    changed = {name: value for name, value in given.items() if getattr(registration, name) != value}
    if registration.status not in {Status.DRAFT, Status.REJECTED} and changed:
        raise errors.RegistrationBusy(status=registration.get_status_display().lower(), wanted="changed")
    if changed and registration.status == Status.REJECTED:
        lifecycle.move(registration, Status.DRAFT, actor=actor, reason="changed by the tenant")
    if "role_arn" in changed:
        _request_removal(registration)
    if changed:
        KeyRegistration.objects.filter(pk=registration.pk).update(changed_at=timezone.now(), **changed)
        registration.refresh_from_db()
    audit.record("keys.registration.drafted", tenant=tenant, actor=actor, target=registration, **given)
    _advance_draft(tenant, registration, given, actor=actor)
    return registration


def _request_removal(registration: KeyRegistration) -> None:
    """Ask for the removal from our policy of the role that this registration named until now."""
    removal_id = branchkeys.request_removal(registration)
    if removal_id is not None:
        transaction.on_commit(
            partial(tasks.configure_service_role.delay, configuration_id=str(removal_id)), robust=True
        )


def _advance_draft(tenant: Tenant, registration: KeyRegistration, given: dict[str, str], *, actor: Actor) -> None:
    """Move the tracker as far as a draft goes; a replacement does not undo the steps of the key that serves."""
    if registration.replaces_id is not None:
        return
    waiting = partial(
        onboarding.advance_if, tenant, statuses={Step.NOT_STARTED}, status=Step.WAITING_FOR_TENANT, actor=actor
    )
    if "key_arn" in given:
        onboarding.advance(tenant, 1, Step.DONE, actor=actor, evidence={"key_arn": given["key_arn"]})
        waiting(number=2)
    if "role_arn" in given:
        onboarding.advance(tenant, 2, Step.DONE, actor=actor, evidence={"role_arn": given["role_arn"]})
        waiting(number=3)
    if registration.key_arn and registration.role_arn:
        waiting(number=6)


@transaction.atomic
def submit_registration(tenant: Tenant, *, actor: Actor) -> KeyRegistration:
    """Share both ARNs with Kore.ai (step 6): asks for the service-side configuration (step 5).

    Raises:
        NoRegistration, ArnsMissing: there is nothing complete to share.
        RoleArnTaken: the role cannot be used; neutral, whoever uses it.
        ServiceRoleFull: a very long Role ARN and no room for it.
        RegistrationBusy: it is shared already.
    """
    roles.require(actor, "keys.register", tenant)
    registration = KeyRegistration.objects.of(tenant).in_preparation().first()
    if registration is None:
        raise errors.NoRegistration
    missing = [name for name in ("key_arn", "role_arn") if not getattr(registration, name)]
    if missing:
        raise errors.ArnsMissing(names=" and ".join(missing), missing=missing)
    role = RoleArn.parse(registration.role_arn, our_account=settings.AWS_ACCOUNT_ID)
    if KeyRegistration.objects.filter(role_claim=role.claim).exclude(tenant=tenant).exists():
        raise errors.RoleArnTaken(errors={"role_arn": [errors.RoleArnTaken.detail]})
    packing.require_room(registration.role_arn)
    now = timezone.now()
    lifecycle.move(registration, Status.SUBMITTED, actor=actor, submitted_at=now, changed_at=now)
    audit.record(
        "keys.registration.submitted",
        tenant=tenant, actor=actor, target=registration, key_arn=registration.key_arn, role_arn=registration.role_arn,
    )  # fmt: skip
    approved = settings.SERVICE_SIDE_APPROVAL == "automatic"
    configuration = RoleConfiguration.objects.create(
        tenant=tenant,
        registration=registration,
        service_role=tenant.service_role,
        action=RoleConfiguration.Action.ADD,
        role_arn=registration.role_arn,
        status=RoleConfiguration.Status.QUEUED if approved else RoleConfiguration.Status.WAITING_FOR_APPROVAL,
        due_at=now if approved else None,
    )
    audit.record("keys.configuration.requested", tenant=tenant, actor=actor, target=configuration)
    if registration.replaces_id is None:
        onboarding.advance(
            tenant,
            6,
            Step.DONE,
            actor=actor,
            evidence={"key_arn": registration.key_arn, "role_arn": registration.role_arn},
        )
        onboarding.advance(tenant, 3, Step.IN_PROGRESS, actor=actor)
        onboarding.advance(tenant, 5, Step.IN_PROGRESS if approved else Step.WAITING_FOR_KORE, actor=actor)
    if approved:
        _start_configuration(registration, configuration, actor=actor)
    return registration


def _start_configuration(registration: KeyRegistration, configuration: RoleConfiguration, *, actor: Actor) -> None:
    lifecycle.move(registration, Status.CONFIGURING, actor=actor)
    transaction.on_commit(
        partial(tasks.configure_service_role.delay, configuration_id=str(configuration.pk)), robust=True
    )


@transaction.atomic
def approve_configuration(configuration: RoleConfiguration, *, reason: str, actor: Actor) -> None:
    """Let the worker configure our service role (SERVICE_SIDE_APPROVAL=support), or try a stopped configuration again.

    Raises:
        RegistrationBusy: it waits for no approval (any more).
    """
    roles.require(actor, "keys.approve", configuration.tenant)
    reason = reason_of(reason)
    now = timezone.now()
    waiting = RoleConfiguration.objects.filter(
        pk=configuration.pk, status__in=[Configuration.Status.WAITING_FOR_APPROVAL, Configuration.Status.FAILED]
    )
    if not waiting.update(
        status=Configuration.Status.QUEUED, due_at=now, claimed_at=None, finished_at=None, approved_by=actor.label[:200]
    ):
        raise errors.RegistrationBusy(status=configuration.get_status_display().lower(), wanted="approved")
    audit.record(
        "keys.configuration.approved", tenant=configuration.tenant, actor=actor, target=configuration, reason=reason
    )
    onboarding.advance(configuration.tenant, 5, Step.IN_PROGRESS, actor=actor, reason=reason)
    if configuration.registration.status == Status.SUBMITTED:
        _start_configuration(configuration.registration, configuration, actor=actor)


@transaction.atomic
def withdraw(tenant: Tenant, *, reason: str, actor: Actor) -> None:
    """Give up the registration in preparation; the key that serves, if there is one, goes on serving.

    Raises:
        NoRegistration: nothing is in preparation.
        RegistrationBusy: somebody moved it at the same moment.
    """
    roles.require(actor, "keys.register", tenant)
    reason = reason_of(reason)
    registration = KeyRegistration.objects.of(tenant).in_preparation().select_for_update().first()
    if registration is None:
        raise errors.NoRegistration
    now = timezone.now()
    registration.tests.open().update(
        status=EncryptionTest.Status.CANCELLED, finished_at=now, due_at=None, claimed_at=None
    )
    registration.configurations.filter(status__in=Configuration.OPEN).update(
        status=Configuration.Status.CANCELLED, finished_at=now, due_at=None, claimed_at=None
    )
    lifecycle.move(registration, Status.RETIRED, actor=actor, reason=reason)
    audit.record("keys.registration.withdrawn", tenant=tenant, actor=actor, target=registration, reason=reason)
    _request_removal(registration)
    if registration.replaces_id is None:
        onboarding.restart(tenant, actor=actor, reason="withdrawn")


def shown_registration(tenant: Tenant) -> KeyRegistration | None:
    """Return the registration that people mean: the one in preparation, else the serving one, else the newest."""
    mine = KeyRegistration.objects.of(tenant)
    return mine.in_preparation().first() or mine.serving().first() or mine.first()


# --- test and documents ----------------------------------------------------------------------------------


@transaction.atomic
def start_test(tenant: Tenant, *, actor: Actor, reason: str = "", keep_until: datetime | None = None) -> EncryptionTest:
    """Ask for a fresh proof of the registration; while one runs, that one is returned.

    Args:
        reason: required of support staff.
        keep_until: "keep testing until …": the change window of the tenant, at most a week away.

    Raises:
        NoRegistration: nothing is shared yet.
        RegistrationBusy: our side is being configured; the test follows by itself.
    """
    roles.require(actor, "keys.test", tenant)
    if actor.kind == "staff":
        reason = reason_of(reason)
    now = timezone.now()
    if keep_until is not None and not 0 < (keep_until - now).total_seconds() <= 7 * 86_400:
        raise InvalidInput(errors={"keep_until": ["Choose a time within the next seven days."]})
    registration = shown_registration(tenant)
    if registration is None or registration.status in {Status.DRAFT, Status.RETIRED}:
        raise errors.NoRegistration
    if registration.status in {Status.SUBMITTED, Status.CONFIGURING}:
        raise errors.RegistrationBusy(status=registration.get_status_display().lower(), wanted="tested")
    running: EncryptionTest | None = EncryptionTest.objects.filter(registration=registration).open().first()
    if running is not None:
        EncryptionTest.objects.filter(pk=running.pk).update(keep_until=keep_until, due_at=now)
        transaction.on_commit(partial(tasks.run_test.delay, test_id=str(running.pk)), robust=True)
        return running
    if registration.status == Status.REJECTED:
        # Somebody mended something just now: IAM needs time again before a refusal means anything.
        lifecycle.move(registration, Status.TESTING, actor=actor, reason="tested again", changed_at=now)
        if registration.replaces_id is None:
            onboarding.advance(tenant, 5, Step.IN_PROGRESS, actor=actor)
    test = EncryptionTest.objects.create(
        tenant=tenant, registration=registration, requested_by=actor.label[:200], due_at=now, keep_until=keep_until
    )
    audit.record("keys.test.requested", tenant=tenant, actor=actor, target=test, reason=reason)
    transaction.on_commit(partial(tasks.run_test.delay, test_id=str(test.pk)), robust=True)
    return test


def read_test(test: EncryptionTest) -> reading.Reading:
    """Return a test as people read it, in the portal and in the back office; reads its checks and its registration."""
    return reading.read(test, list(test.checks.all()), test.registration)


def compare_tests(tests: QuerySet[EncryptionTest], *, start: int, count: int) -> history.Comparison:
    """Return runs side by side.

    Args:
        tests: newest first.
        start: how many to pass over.
        count: how many to show; the one after them is read too, for the last one to be compared with.
    """
    runs = tests.select_related("registration").prefetch_related("checks")[start : start + count + 1]
    return history.compare(list(runs), shown=count)


def document(tenant: Tenant, name: str) -> str:
    """Return one document of the guide, filled in with the tenant's own values.

    Raises:
        DocumentUnknown: there is none of that name.
        ArnsMissing: it names an ARN that the tenant has not given yet.
    """
    if name not in documents.NAMES:
        raise errors.DocumentUnknown(names=", ".join(documents.NAMES))
    registration = shown_registration(tenant)
    arns = (
        {"key_arn": registration.key_arn, "role_arn": registration.role_arn}
        if registration
        else {"key_arn": "", "role_arn": ""}
    )
    missing = [arn for arn in documents.NAMES[name] if not arns[arn]]
    if missing:
        raise errors.ArnsMissing(names=" and ".join(missing), missing=missing)
    return documents.of(name, service_role_arn=tenant.service_role.arn, external_id=tenant.external_id, **arns)


def check_policy(tenant: Tenant, *, kind: str, text: str) -> linter.Reading:
    """Read a policy that the tenant pasted, before any AWS call; nothing of it is kept."""
    return linter.lint(_kind(kind), text, **_own_values(tenant))


def granted_by_policy(tenant: Tenant, *, kind: str, text: str) -> list[str]:
    """Return what a policy that the tenant pasted gives us by itself: `sts:AssumeRole`, or patterns of the guide."""
    return linter.granted(_kind(kind), text, **_own_values(tenant))


def _kind(name: str) -> linter.Kind:
    if name not in get_args(linter.Kind):
        raise InvalidInput(errors={"kind": ["Choose trust, permissions or key."]})
    return name  # type: ignore[return-value]


def _own_values(tenant: Tenant) -> dict[str, str]:
    registration = shown_registration(tenant)
    return {
        "service_role_arn": tenant.service_role.arn,
        "external_id": tenant.external_id,
        "role_arn": registration.role_arn if registration else "",
        "key_arn": registration.key_arn if registration else "",
        "tenant": str(tenant.pk),
    }


def read_output(tenant: Tenant, *, text: str) -> validation_reading.Reading:
    """Read what a command of step 4 printed; nothing of it is kept."""
    return validation_reading.read(text, Facts(**_own_values(tenant)))


# --- the key in service ---------------------------------------------------------------------------------------


def key_state(tenant: Tenant) -> KeyState:
    """Return where the tenant's key stands, and whose turn it is."""
    registration = KeyRegistration.objects.of(tenant).serving().first() or shown_registration(tenant)
    tenant.refresh_from_db(fields=["key_generation"])
    serving = registration is not None and registration.status in KeyRegistration.SERVING
    protected_by = "tenant" if serving else "platform" if settings.PLATFORM_KEY_ARN else "nobody"
    if registration is None:
        return KeyState(
            "none", "No key yet", None, "", Turn.TENANT.value, "", None, protected_by, tenant.key_generation, "", ""
        )
    return KeyState(
        status=registration.status,
        label=registration.get_status_display(),
        since=registration.moved_at,
        reason=registration.reason,
        whose_turn=_whose_turn(registration),
        suspended_by=registration.suspended_by,
        next_probe_at=registration.next_probe_at,
        protected_by=protected_by,
        generation=tenant.key_generation,
        key_arn=registration.key_arn,
        role_arn=registration.role_arn,
        refused_since=registration.refused_since,
        refused_code=registration.refused_code,
        deletion_date=notes.deletion_date(registration) if serving else None,
        warnings=tuple(notes.of(registration)) if serving else (),
    )


def _whose_turn(registration: KeyRegistration) -> str:
    match registration.status:
        case Status.DRAFT | Status.REJECTED:
            return Turn.TENANT.value
        case Status.SUSPENDED:
            return (
                Turn.KORE.value if registration.suspended_by == KeyRegistration.SuspendedBy.KORE else Turn.TENANT.value
            )
        case Status.ACTIVE | Status.RETIRING | Status.RETIRED:
            return Turn.NOBODY.value
    return Turn.KORE.value


@transaction.atomic
def suspend(tenant: Tenant, *, reason: str, actor: Actor) -> KeyState:
    """Stop every use of the tenant's key; only a person undoes it (design.md 3).

    Raises:
        KeyNotActive: no registration serves.
        RegistrationBusy: somebody moved it at the same moment; try again.
    """
    roles.require(actor, "keys.suspend", tenant)
    reason = reason_of(reason)
    registration = _serving(tenant)
    by = KeyRegistration.SuspendedBy.TENANT if actor.kind == "member" else KeyRegistration.SuspendedBy.KORE
    # The tenant's button stays pressed under Kore.ai's: each side undoes its own only.
    presses = by == KeyRegistration.SuspendedBy.TENANT and registration.tenant_suspended_at is None
    facts: dict[str, object] = {"tenant_suspended_at": timezone.now()} if presses else {}
    stands_below = registration.suspended_by == KeyRegistration.SuspendedBy.KORE
    if registration.status != Status.SUSPENDED:
        lifecycle.move(registration, Status.SUSPENDED, actor=actor, reason=reason, suspended_by=by, **facts)
    elif registration.suspended_by == by or (stands_below and not presses):
        return key_state(tenant)
    else:
        # AWS's refusal, or the other side's button: the pressed button is what counts from now on, Kore.ai's above the tenant's.
        facts |= {} if stands_below else {"suspended_by": by, "reason": reason}
        KeyRegistration.objects.filter(pk=registration.pk, status=Status.SUSPENDED).update(**facts)
        lifecycle.changed(tenant.pk)
    audit.record(
        "keys.key.suspended", tenant=tenant, actor=actor, target=registration, suspended_by=by.label, reason=reason
    )
    return key_state(tenant)


@transaction.atomic
def resume(tenant: Tenant, *, reason: str, actor: Actor) -> KeyState:
    """Undo a pressed Suspend: the key is asked again and serves after two good probes in a row.

    While the other side's button is pressed too, the key stays suspended by that.

    Raises:
        KeyNotActive: no registration serves.
        RegistrationBusy: it is not suspended by the button that this actor may undo.
    """
    roles.require(actor, "keys.resume", tenant)
    reason = reason_of(reason)
    registration = _serving(tenant)
    tenants_own, kores = KeyRegistration.SuspendedBy.TENANT, KeyRegistration.SuspendedBy.KORE
    is_tenant = actor.kind == "member"
    is_pressed = registration.tenant_suspended_at is not None if is_tenant else registration.suspended_by == kores
    if registration.status != Status.SUSPENDED or not is_pressed:
        state = registration.get_status_display().lower()
        raise errors.RegistrationBusy(
            status=f"{state} by {registration.get_suspended_by_display()}" if registration.suspended_by else state,
            wanted="resumed",
        )
    rows = KeyRegistration.objects.filter(pk=registration.pk, status=Status.SUSPENDED)
    if is_tenant and registration.suspended_by == kores:
        rows.update(tenant_suspended_at=None)
    elif not is_tenant and registration.tenant_suspended_at is not None:
        rows.update(suspended_by=tenants_own, reason="the organisation's own Suspend stands")
        lifecycle.changed(tenant.pk)
    else:
        lifecycle.move(
            registration,
            Status.UNREACHABLE,
            actor=actor,
            reason="resumed",
            tenant_suspended_at=None,
            good_probes=0,
            denied_probes=0,
            next_probe_at=timezone.now(),
            probe_claimed_at=None,
        )
        transaction.on_commit(partial(tasks.probe.delay, registration_id=str(registration.pk)), robust=True)
    audit.record("keys.key.resumed", tenant=tenant, actor=actor, target=registration, reason=reason)
    return key_state(tenant)


@transaction.atomic
def drop_caches(tenant: Tenant, *, reason: str, actor: Actor) -> KeyState:
    """Tell every process of ours to forget its unwrapped keys of this tenant now: the generation grows."""
    roles.require(actor, "keys.drop_caches", tenant)
    reason = reason_of(reason)
    lifecycle.changed(tenant.pk, drop=True)
    audit.record("keys.key.caches_dropped", tenant=tenant, actor=actor, reason=reason)
    return key_state(tenant)


def last_drop(tenant: Tenant) -> Drop | None:
    """Return what became of the last stop or drop; None: there was none."""
    event = AuditEvent.objects.of(tenant).filter(name__in=DROPPING).order_by("-id").first()
    if event is None:
        return None
    tenant.refresh_from_db(fields=["key_generation"])
    processes = stops.of(tenant.pk, generation=tenant.key_generation, since=event.at)
    return Drop(tenant.key_generation, event.at, processes)


@transaction.atomic
def set_latency(tenant: Tenant, *, seconds: int, actor: Actor) -> None:
    """Choose the revocation latency.

    Args:
        seconds: 0 to 900; 0 asks the CMK every time.
    """
    roles.require(actor, "keys.set_latency", tenant)
    if not 0 <= seconds <= 900:
        raise InvalidInput(errors={"seconds": ["Choose 0 to 900 seconds."]})
    Tenant.objects.filter(pk=tenant.pk).update(revocation_latency=seconds)
    # A shorter promise counts at once: what was loaded under the longer one goes.
    lifecycle.changed(tenant.pk, drop=True)
    audit.record("keys.latency.changed", tenant=tenant, actor=actor, seconds=seconds)


@transaction.atomic
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
    BranchKey.objects.filter(pk=current.pk, is_current=True).update(due_at=timezone.now(), attempts=0)
    audit.record("keys.branch_key.rotation_requested", tenant=tenant, actor=actor, target=current, reason=reason)
    transaction.on_commit(partial(tasks.attend_branch_key.delay, branch_key_id=str(current.pk)), robust=True)


@transaction.atomic
def leave(tenant: Tenant, *, reason: str, actor: Actor) -> KeyState:
    """Give up BYOK: the platform's key takes over, every branch key moves to it, then the registration is retired.

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
        raise errors.RegistrationBusy(status=registration.get_status_display().lower(), wanted="left")
    lifecycle.move(registration, Status.RETIRING, actor=actor, reason="left")
    audit.record("keys.key.left", tenant=tenant, actor=actor, target=registration, reason=reason)
    branchkeys.begin_moving(tenant)
    onboarding.restart(tenant, actor=actor, reason="left")
    transaction.on_commit(tasks.ring_branch_keys.delay, robust=True)
    return key_state(tenant)


def _serving(tenant: Tenant) -> KeyRegistration:
    """Return the serving registration, locked: a probe that moves it at this moment waits, so a pressed button is never lost."""
    registration = KeyRegistration.objects.of(tenant).serving().select_for_update().first()
    if registration is None:
        raise errors.KeyNotActive
    return registration


# --- data keys -------------------------------------------------------------------------------------------------


def generate_data_keys(
    tenant: Tenant, contexts: Sequence[Context], *, actor: Actor, request_id: str
) -> list[NewDataKey]:
    """Make one data key for each context; see `keys.datakeys.generate` for what is raised."""
    return datakeys.generate(tenant, contexts, caller=actor.label, request_id=request_id)


def open_data_keys(
    tenant: Tenant, items: Sequence[tuple[bytes, Context]], *, actor: Actor, request_id: str
) -> list[OpenedDataKey | DomainError]:
    """Open wrapped data keys; a failed item is the error in its place."""
    return datakeys.open_wrapped(tenant, items, caller=actor.label, request_id=request_id)


def rewrap_data_keys(
    tenant: Tenant, items: Sequence[tuple[bytes, Context]], *, actor: Actor, request_id: str
) -> list[bytes | DomainError]:
    """Move wrapped data keys to the current branch key; a failed item is the error in its place."""
    return datakeys.rewrap(tenant, items, caller=actor.label, request_id=request_id)
