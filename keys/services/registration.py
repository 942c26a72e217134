"""Operations of a registration before it serves: draft, share, approve, withdraw (steps 1, 2, 5 and 6)."""

from __future__ import annotations

from functools import partial

from django.conf import settings
from django.db.models import F

from byokportal import clock
from byokportal.translation import lazy
from keys import errors, lifecycle, retirement, tasks
from keys.arns import KeyArn, RoleArn
from keys.configuration import packing
from keys.models import EncryptionTest, KeyRegistration, RoleConfiguration, ServiceRolePolicy, choices_of
from keys.proof.pasted import stack_outputs
from keys.services import acceptance
from tenants import approvals, audit, onboarding, roles, transactions
from tenants.approvals import HELD, Held
from tenants.audit import Actor
from tenants.models import OnboardingStep, Tenant
from tenants.services import reason_of

Status = KeyRegistration.Status
Step = OnboardingStep.Status
Configuration = RoleConfiguration


@transactions.atomic
def save_draft(
    tenant: Tenant, *, key_arn: KeyArn | None = None, role_arn: RoleArn | None = None, actor: Actor
) -> KeyRegistration:
    """Keep the ARNs that the tenant gives, each checked at once; a rejected registration, and one that is tested and
    waits for its activation, becomes a draft again.

    Args:
        key_arn: None leaves it as it is.
        role_arn: None leaves it as it is.

    Raises:
        ArnRefused: with the reason under its field; nothing is saved then.
        RegistrationBusy: it is shared already and being worked on.
        TokenNotMarked, FreshSignInNeeded: a key serves, so this replaces it.
    """
    roles.require(actor, "keys.register", tenant)
    given, rules = dict[str, str](), acceptance.rules_of(tenant)
    if key_arn is not None:
        rules.judge(key_arn)
        given["key_arn"] = str(key_arn)
    if role_arn is not None:
        rules.judge(role_arn)
        given["role_arn"] = str(role_arn)
    require_replace_beside_a_serving_key(tenant, actor)
    registration = KeyRegistration.objects.of(tenant).in_preparation().first()
    if registration is None:
        serving = KeyRegistration.objects.of(tenant).serving().first()
        inherited = {"key_arn": serving.key_arn, "role_arn": serving.role_arn} if serving else {}
        registration = KeyRegistration.objects.create(
            tenant=tenant, replaces=serving, actions=choices_of(tenant).actions, **{**inherited, **given}
        )
    changed = {name: value for name, value in given.items() if getattr(registration, name) != value}
    was_tested = registration.waits_for_activation
    if registration.status not in {Status.DRAFT, Status.REJECTED} and changed and not was_tested:
        raise errors.RegistrationBusy(status=registration.status_in_english, wanted="changed")
    if changed and registration.status != Status.DRAFT:
        # What was tested is another role or key than the one that is given now.
        _cancel_tests(registration)
        reason = "changed by the tenant"
        lifecycle.move(registration, Status.DRAFT, actor=actor, reason=reason, tested_at=None, role_claim=None)
    if "role_arn" in changed:
        _request_removal(registration)
    if changed:
        KeyRegistration.objects.filter(pk=registration.pk).update(changed_at=clock.now(), **changed)
        registration.refresh_from_db()
    audit.record("keys.registration.drafted", tenant=tenant, actor=actor, target=registration, **given)
    if changed and was_tested and registration.replaces_id is None:
        onboarding.advance(tenant, 5, Step.NOT_STARTED, actor=actor, evidence={})
        onboarding.advance(tenant, 6, Step.WAITING_FOR_TENANT, actor=actor, evidence={})
    _advance_draft(tenant, registration, given, actor=actor)
    return registration


def save_outputs(tenant: Tenant, *, text: str, actor: Actor) -> KeyRegistration:
    """Keep the ARNs of what a deployment printed: stack outputs, `terraform output -json`, or an ARN alone.

    Raises:
        SecretPasted, InvalidInput: there is a secret in it, or no ARN that could be meant; nothing is saved then.
        ArnRefused, RegistrationBusy, TokenNotMarked, FreshSignInNeeded: as `save_draft` does.
    """
    roles.require(actor, "keys.register", tenant)
    found = stack_outputs.read(text, service_role=RoleArn.parse(tenant.service_role.arn))
    return save_draft(tenant, key_arn=found.key, role_arn=found.role, actor=actor)


def require_replace_beside_a_serving_key(tenant: Tenant, actor: Actor) -> None:
    """Raise unless the actor may replace the key that serves, if one does:
    what is prepared beside it takes over from it."""
    if KeyRegistration.objects.of(tenant).serving().exists():
        roles.require(actor, "keys.replace", tenant)


def _request_removal(registration: KeyRegistration) -> None:
    """Ask for the removal from our policy of the role that this registration named until now."""
    removal_id = retirement.request_removal(registration)
    if removal_id is not None:
        tasks.enqueue(tasks.configure_service_role, configuration_id=str(removal_id))


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


@transactions.atomic
def submit_registration(tenant: Tenant, *, actor: Actor) -> KeyRegistration:
    """Share both ARNs with Kore.ai (step 6): asks for the service-side configuration (step 5).

    Raises:
        NoRegistration, ArnsMissing: there is nothing complete to share.
        ArnRefused: an ARN cannot be used; one that was saved,
            or is taken over from the key that serves, is judged again.
        RoleArnTaken: the role cannot be used; neutral, whoever uses it.
        ServiceRoleFull: a very long Role ARN and no room for it.
        RegistrationBusy: it is shared already.
        TokenNotMarked, FreshSignInNeeded: a key serves, so this replaces it.
    """
    roles.require(actor, "keys.register", tenant)
    require_replace_beside_a_serving_key(tenant, actor)
    registration = KeyRegistration.objects.of(tenant).in_preparation().first()
    if registration is None:
        raise errors.NoRegistration
    missing = [name for name in ("key_arn", "role_arn") if not getattr(registration, name)]
    if missing:
        raise errors.ArnsMissing(names=" and ".join(missing), missing=missing)
    rules = acceptance.rules_of(tenant)
    KeyArn.parse(registration.key_arn, rules=rules)
    role = RoleArn.parse(registration.role_arn, rules=rules)
    if KeyRegistration.objects.filter(role_claim=role.claim).exclude(tenant=tenant).exists():
        raise errors.RoleArnTaken(errors={"role_arn": [errors.RoleArnTaken.detail]})
    written = ServiceRolePolicy.objects.filter(service_role=tenant.service_role)
    policies = {policy.slot: policy.role_arns for policy in written}
    packing.require_room(registration.role_arn, policies, our_account=settings.AWS_ACCOUNT_ID)
    if KeyRegistration.objects.of(tenant).serving().exists():
        arns = {"key_arn": registration.key_arn, "role_arn": registration.role_arn}
        approvals.require(actor, "keys.replace", tenant, **arns)
    now = clock.now()
    # another choice at this very moment is of the next registration: this one has what was read here
    chosen = registration.actions
    lifecycle.move(registration, Status.SUBMITTED, actor=actor, submitted_at=now, changed_at=now, actions=chosen)
    audit.record(
        "keys.registration.submitted",
        tenant=tenant,
        actor=actor,
        target=registration,
        key_arn=registration.key_arn,
        role_arn=registration.role_arn,
        actions=registration.actions,
    )
    # Our own tenant waits for nobody: it has to be there before customers are.
    approved = settings.SERVICE_SIDE_APPROVAL == "automatic" or tenant.is_canary
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
    tasks.enqueue(tasks.configure_service_role, configuration_id=str(configuration.pk))


@transactions.atomic
def approve_configuration(configuration: RoleConfiguration, *, reason: str, actor: Actor) -> None:
    """Let the worker configure our service role (SERVICE_SIDE_APPROVAL=support).

    Raises:
        RegistrationBusy: it waits for no approval (any more).
    """
    roles.require(actor, "keys.approve", configuration.tenant)
    reason = reason_of(reason)
    now = clock.now()
    waiting = RoleConfiguration.objects.filter(pk=configuration.pk, status=Configuration.Status.WAITING_FOR_APPROVAL)
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


@transactions.atomic
def retry_configuration(configuration: RoleConfiguration, *, reason: str, actor: Actor) -> None:
    """Let the worker try a change of our policy again that stopped: the naming of a role, or its removal.

    Raises:
        RegistrationBusy: it has not stopped, another one is on its way, or nobody waits for it any more.
    """
    tenant = configuration.tenant
    roles.require(actor, "keys.approve", tenant)
    reason = reason_of(reason)
    found = RoleConfiguration.objects.select_related("registration").get(pk=configuration.pk)
    others = RoleConfiguration.objects.filter(
        registration=found.registration, action=found.action, status__in=Configuration.OPEN
    )
    stopped = RoleConfiguration.objects.filter(pk=found.pk, status=Configuration.Status.FAILED)
    facts = {"status": Configuration.Status.QUEUED, "due_at": clock.now(), "claimed_at": None, "finished_at": None}
    if not can_retry(found) or others.exists() or not stopped.update(**facts):
        raise errors.RegistrationBusy(status=found.get_status_display().lower(), wanted="tried again")
    audit.record(
        "keys.configuration.tried_again",
        tenant=tenant,
        actor=actor,
        target=found,
        role_arn=found.role_arn,
        reason=reason,
    )
    if found.action == Configuration.Action.ADD and found.registration.replaces_id is None:
        onboarding.advance(tenant, 5, Step.IN_PROGRESS, actor=actor, reason=reason)
    tasks.enqueue(tasks.configure_service_role, configuration_id=str(found.pk))


def can_retry(configuration: RoleConfiguration) -> bool:
    """Tell whether somebody waits for a change of our policy that stopped; `registration` is loaded.

    A role that was refused for good, or given up, is named no more; one that is not needed is removed in any case.
    """
    is_waited_for = configuration.registration.status == Status.CONFIGURING
    is_removal = configuration.action == Configuration.Action.REMOVE
    return configuration.status == Configuration.Status.FAILED and (is_removal or is_waited_for)


@transactions.atomic
def withdraw(tenant: Tenant, *, reason: str, actor: Actor) -> None:
    """Give up the registration in preparation; the key that serves, if there is one, goes on serving.

    Raises:
        NoRegistration: nothing is in preparation.
        RegistrationBusy: somebody moved it at the same moment.
    """
    roles.require(actor, "keys.register", tenant)
    registration = give_up_preparation(tenant, reason=reason_of(reason), actor=actor)
    if registration is None:
        raise errors.NoRegistration
    if registration.replaces_id is None:
        onboarding.restart(tenant, actor=actor, reason="withdrawn")


def _cancel_tests(registration: KeyRegistration) -> None:
    registration.tests.open().update(
        status=EncryptionTest.Status.CANCELLED, finished_at=clock.now(), due_at=None, claimed_at=None
    )


def give_up_preparation(tenant: Tenant, *, reason: str, actor: Actor) -> KeyRegistration | None:
    """Retire the registration in preparation with all that runs for it, and return it; None: there is none.

    It is part of an operation, which asks who may and opens the transaction.

    Raises:
        RegistrationBusy: somebody moved it at the same moment.
    """
    registration = KeyRegistration.objects.of(tenant).in_preparation().select_for_update(no_key=True).first()
    if registration is None:
        return None
    now = clock.now()
    _cancel_tests(registration)
    registration.configurations.filter(status__in=Configuration.OPEN).update(
        status=Configuration.Status.CANCELLED, finished_at=now, due_at=None, claimed_at=None
    )
    facts = {"role_claim": None, "activation_due_at": None, "tested_at": None}
    lifecycle.move(registration, Status.RETIRED, actor=actor, reason=reason, **facts)
    audit.record("keys.registration.withdrawn", tenant=tenant, actor=actor, target=registration, reason=reason)
    _request_removal(registration)
    return registration


def shown_registration(tenant: Tenant) -> KeyRegistration | None:
    """Return the registration that people mean:
    the one in preparation, else the serving one, else the last that served, else the newest."""
    return shown_among(tenant, list(KeyRegistration.objects.of(tenant).not_retired()))


def shown_among(tenant: Tenant, rows: list[KeyRegistration]) -> KeyRegistration | None:
    """Return the same, where all of the tenant's registrations that are not retired are read already."""
    for statuses in (KeyRegistration.IN_PREPARATION, KeyRegistration.SERVING):
        found = next((row for row in rows if row.status in statuses), None)
        if found is not None:
            return found
    mine = KeyRegistration.objects.of(tenant)
    return mine.order_by(F("activated_at").desc(nulls_last=True), "-created_at").first()


HELD["keys.replace"] = Held(
    lazy("Replace the key in service: {key_arn}, used through {role_arn}"),
    lambda tenant, given, reason, actor: submit_registration(tenant, actor=actor),
)
