"""Reads the log and does what follows from it: tickets, mails. Each event once, in one transaction with its mark."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import timedelta

import structlog
from django.conf import settings
from django.db.models import F
from django.urls import reverse

from byokportal import clock, database, words
from keys import services as key_services
from keys.models import EncryptionTest, KeyRegistration, RoleConfiguration
from support import notices, services
from support.models import Notice, Ticket
from tenants import approvals, audit, onboarding, roles, transactions
from tenants.audit import SYSTEM
from tenants.models import Approval, AuditEvent, Invitation, Member, Role, ServiceRole, Tenant

log = structlog.get_logger(__name__)
Status = Ticket.Status
CHUNK = 100  # events that are read at once
A_MOMENT, AN_HOUR = timedelta(minutes=1), timedelta(hours=1)  # until what could not be followed is tried again
PASSED = "The encryption test passed and the key is in service."


def follow(limit: int = 500) -> int:
    """Follow what was not followed yet; safe to run anywhere, at any time, by several workers at once.

    An event that cannot be followed (a bug) is logged, counted for support to see, and tried again after an hour: it
    holds up no other, however many of them there are.

    Returns:
        how many events had something to follow.
    """
    known = [*REACTIONS, *INCIDENTS, *ACCOUNTS]
    nothing = AuditEvent.objects.not_followed().exclude(name__in=known)
    transactions.run(lambda: nothing.update(followed_at=clock.now()))
    followed = tried = after = 0
    held: set[uuid.UUID | None] = set()  # tenants that an operation holds now: their events are for the next run
    while tried < limit:
        due = (
            AuditEvent.objects.due(clock.now())
            .filter(name__in=known, pk__gt=after)
            .exclude(tenant__in=held)
            .order_by("pk")
        )
        events = list(due.values_list("pk", "tenant_id")[:CHUNK])
        if not events:
            break
        for pk, tenant_id in events:
            after = pk
            if tenant_id in held:
                continue
            tried += 1
            outcome = _attempt(pk, tenant_id)
            if outcome is None:
                held.add(tenant_id)
            followed += bool(outcome)
    return followed


def _attempt(pk: int, tenant_id: uuid.UUID | None) -> bool | None:
    """Follow one event, or put it off; None: its tenant is held at this moment."""
    try:
        return _follow_one(pk, tenant_id)
    except Exception as error:
        unusable = database.is_unusable(error)  # that says nothing about the event
        log.exception("event_not_followed", event_id=pk)
        AuditEvent.objects.not_followed().filter(pk=pk).update(
            next_at=clock.now() + (A_MOMENT if unusable else AN_HOUR), attempts=F("attempts") + (0 if unusable else 1)
        )
        return False


@transactions.atomic
def _follow_one(pk: int, tenant_id: uuid.UUID | None) -> bool | None:
    tenant = None
    if tenant_id is not None:
        # One follower a tenant: a later event must see the ticket that an earlier one opens. Events of others do not
        # wait for a tenant that an operation holds: the next run follows what is left here.
        tenant = Tenant.objects.select_for_update(no_key=True, skip_locked=True).filter(pk=tenant_id).first()
        if tenant is None:
            return None
    # The mark and what follows commit together; whoever loses the compare-and-set leaves the event to the winner.
    if not AuditEvent.objects.filter(pk=pk, followed_at=None).update(followed_at=clock.now()):
        return False
    event = AuditEvent.objects.get(pk=pk)
    if tenant is None:
        return _follow_ours(event)
    REACTIONS[event.name](event, tenant)
    return True


def _follow_ours(event: AuditEvent) -> bool:
    """What happened to our own side concerns no tenant: the people on call are told."""
    data = audit.data_of(event)
    if event.name in ACCOUNTS:
        template, address = ACCOUNTS[event.name]
        recipient = str(data[address])
    elif event.name in INCIDENTS:
        template, recipient = INCIDENTS[event.name], settings.SUPPORT_EMAIL
    else:
        return False
    target = json.loads(event.payload)["target"]
    known = {"target": target, "incident": target, **_change(event)}
    notices.write(event, template, recipient, {name: known[name] for name in notices.MAILS[template].context})
    return True


# --- step 5: the ticket that opens, answers and closes itself -------------------------------------------


def _registration(event: AuditEvent, tenant: Tenant) -> KeyRegistration | None:
    """Return the registration that the event is about; its target is one, or a test or a configuration of one."""
    target = _uuid(json.loads(event.payload)["target"])
    if target is None:
        return None
    if event.name.startswith("keys.test."):
        test = EncryptionTest.objects.of(tenant).filter(pk=target).select_related("registration").first()
        return test.registration if test else None
    if event.name.startswith("keys.configuration."):
        configuration = RoleConfiguration.objects.of(tenant).filter(pk=target).select_related("registration").first()
        return configuration.registration if configuration else None
    return KeyRegistration.objects.of(tenant).filter(pk=target).first()


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


def _ticket(tenant: Tenant, registration: KeyRegistration) -> Ticket | None:
    return (
        Ticket.objects.of(tenant)
        .open()
        .filter(topic=Ticket.Topic.CONFIGURATION, registration_id=registration.pk)
        .first()
    )


def _open(tenant: Tenant, registration: KeyRegistration, *, status: str, text: str) -> Ticket:
    return services.open_ticket(
        tenant,
        topic=Ticket.Topic.CONFIGURATION,
        subject="Service-side configuration (step 5)",
        text=text,
        status=status,
        registration_id=registration.pk,
        actor=SYSTEM,
    )


def _submitted(event: AuditEvent, tenant: Tenant) -> None:
    registration = _registration(event, tenant)
    if registration is None:
        return
    automatic = settings.SERVICE_SIDE_APPROVAL == "automatic"
    status = Status.IN_PROGRESS if automatic else Status.WAITING_FOR_KORE
    shared = f"The CMK ARN {registration.key_arn} and the Role ARN {registration.role_arn} were shared."
    then = (
        "Our side is then configured and tested by itself."
        if automatic
        else "Kore.ai support approves the configuration first."
    )
    ticket = _ticket(tenant, registration)
    if ticket is None:
        ticket = _open(tenant, registration, status=status, text=f"{shared} {then}")
    else:
        services.answer_ticket(ticket, text=f"{shared} {then}", status=status, actor=SYSTEM)
    if registration.status in {*KeyRegistration.SERVING, KeyRegistration.Status.RETIRING}:
        _close(ticket, PASSED)  # the activation was followed first: commits land out of order


def _activated(event: AuditEvent, tenant: Tenant) -> None:
    registration = _registration(event, tenant)
    ticket = registration and _ticket(tenant, registration)
    if ticket:
        _close(ticket, PASSED)
    _tell_owners(event, tenant, "key-active", {"key_arn": str(audit.data_of(event).get("key_arn", ""))})


def _close(ticket: Ticket, reason: str) -> None:
    services.close_ticket(ticket, reason=reason, actor=SYSTEM)


def _withdrawn(event: AuditEvent, tenant: Tenant) -> None:
    """What was withdrawn waits for nobody any more."""
    registration = _registration(event, tenant)
    ticket = registration and _ticket(tenant, registration)
    if ticket:
        _close(ticket, "The registration was withdrawn.")


def _rejected(event: AuditEvent, tenant: Tenant) -> None:
    registration = _registration(event, tenant)
    if registration is None:
        return
    text = _remedies_text(event, registration)
    ticket = _ticket(tenant, registration)
    if ticket is None:
        _open(tenant, registration, status=Status.WAITING_FOR_TENANT, text=text)
    else:
        services.answer_ticket(ticket, text=text, status=Status.WAITING_FOR_TENANT, actor=SYSTEM)
    _tell_owners(event, tenant, "registration-rejected", {"text": text})


def _remedies_text(event: AuditEvent, registration: KeyRegistration) -> str:
    """Return the message to the tenant: every check that failed, with its step and its remedy."""
    test = registration.tests.exclude(finished_at=None).order_by("-finished_at").first()
    remedies = [
        f"Step {step}, {onboarding.BY_NUMBER[step].name}: {remedy}"
        for step, remedy in (key_services.remedies_of(test) if test else ())
    ]
    if remedies and test:
        page = settings.BASE_URL + reverse("portal:test", args=[registration.tenant_id, test.pk])
        remedies.append(f"The page of the test has each document as it has to read, and what changes in it: {page}")
    if not remedies:
        data = audit.data_of(event)
        remedies = [f"Step {data.get('step')}: {words.label(data.get('why') or data.get('reason'))}"]
    closing = (
        "Correct this, then test again from the setup page. "
        "You need not share the ARNs again unless one of them changes."
    )
    return "\n\n".join(["The encryption test found something to change.", *remedies, closing])


def _refused(event: AuditEvent, tenant: Tenant) -> None:
    """AWS refuses us, and that may pass: say what will be due if it does not, unless the test has ended meanwhile."""
    registration = _registration(event, tenant)
    test = EncryptionTest.objects.of(tenant).filter(pk=json.loads(event.payload)["target"]).first()
    changes = key_services.likely_changes_of(test) if test else []
    if registration is None or test is None or not changes:
        return
    page = settings.BASE_URL + reverse("portal:test", args=[tenant.pk, test.pk])
    text = "\n\n".join(
        [
            "AWS refuses us in the encryption test. That may pass by itself: "
            "AWS needs some minutes to pass on a change.",
            *(
                f"If it is still so at {words.minute(at, now=event.at)}, change this. "
                f"Step {step}, {onboarding.BY_NUMBER[step].name}: {change}"
                for step, at, change in changes
            ),
            f"The test goes on by itself, and we mail you what comes of it. Its page shows how it stands: {page}",
        ]
    )
    ticket = _ticket(tenant, registration)
    if ticket is not None:
        services.answer_ticket(ticket, text=text, status=ticket.status, actor=SYSTEM)
    _tell_owners(event, tenant, "test-refused", {"text": text})


def _ours(event: AuditEvent, tenant: Tenant) -> None:
    """Our own side does not work: a person of ours is called once for each service role and fault,
    and no tenant is blamed."""
    registration = _registration(event, tenant)
    if registration is None:
        return
    data = audit.data_of(event)
    code = str(data.get("code") or data.get("reason") or "unknown")
    ticket = _ticket(tenant, registration)
    if ticket is None:
        text = "Something on Kore.ai's side has to be looked at. You need not change anything; we go on when it works."
        ticket = _open(tenant, registration, status=Status.WAITING_FOR_KORE, text=text)
    told = Notice.objects.filter(
        tenant=tenant, template="kore-needed", context__ticket=str(ticket.pk), context__code=code
    ).exists()
    if told:  # the worker tries again and again; one mail and one message are enough
        return
    is_known = _is_known(tenant, code)
    services.answer_ticket(
        ticket, text=audit.sentence(event), is_internal=True, status=Status.WAITING_FOR_KORE, actor=SYSTEM
    )
    if is_known:  # the fault is the service role's: one mail, whatever the number of tenants
        return
    context = {"ticket": str(ticket.pk), "code": code, "sentence": audit.sentence(event)}
    notices.write(event, "kore-needed", settings.SUPPORT_EMAIL, context, tenant=tenant)


def _is_known(tenant: Tenant, code: str) -> bool:
    """Tell whether support has heard of this fault of the tenant's service role,
    and a ticket about it still waits for us."""
    # another tenant's event may be followed right now
    ServiceRole.objects.select_for_update(no_key=True).get(pk=tenant.service_role_id)
    waiting = Ticket.objects.filter(status=Status.WAITING_FOR_KORE, tenant__service_role=tenant.service_role_id)
    tickets = [str(pk) for pk in waiting.values_list("pk", flat=True)]
    mails = Notice.objects.filter(template="kore-needed", tenant__service_role=tenant.service_role_id)
    return mails.filter(context__code=code, context__ticket__in=tickets).exists()


# --- mails -------------------------------------------------------------------------------------------------


def _tell_owners(event: AuditEvent, tenant: Tenant, template: str, context: dict[str, str]) -> None:
    owners = list(Member.objects.of(tenant).owners().values_list("user__email", flat=True))
    if not owners:  # the first one has not come yet, but its automation may have begun
        owners = list(Invitation.objects.of(tenant).pending().filter(role=Role.OWNER).values_list("email", flat=True))
    for address in owners:
        notices.write(event, template, address, context, tenant=tenant)


def _proposed(event: AuditEvent, tenant: Tenant) -> None:
    """Whoever may confirm hears that ARNs came in by a link."""
    may = Member.objects.of(tenant).filter(role__in=roles.OPERATIONS["keys.decide_proposal"].members)
    for address in may.filter(user__is_active=True).values_list("user__email", flat=True):
        notices.write(event, "arns-proposed", address, {"sentence": audit.sentence(event)}, tenant=tenant)


def _suspended(event: AuditEvent, tenant: Tenant) -> None:
    _tell_owners(event, tenant, "key-suspended", {"sentence": audit.sentence(event)})


def _deletion(event: AuditEvent, tenant: Tenant) -> None:
    data = audit.data_of(event)
    _tell_owners(event, tenant, "key-deletion", {name: str(data[name]) for name in ("key_arn", "at")})


def _kept(event: AuditEvent, tenant: Tenant) -> None:
    data = audit.data_of(event)
    _tell_owners(
        event, tenant, "old-key-needed", {name: str(data[name]) for name in ("key_arn", "role_arn", "until", "days")}
    )


def _at_risk(event: AuditEvent, tenant: Tenant) -> None:
    data = audit.data_of(event)
    _tell_owners(event, tenant, "old-key-at-risk", {"why": str(data["why"]), "until": str(data["until"])})


def _horizon_ended(event: AuditEvent, tenant: Tenant) -> None:
    _tell_owners(event, tenant, "old-key-given-up", {"sentence": audit.sentence(event)})


def _unreachable(event: AuditEvent, tenant: Tenant) -> None:
    _tell_owners(event, tenant, "key-unreachable", {"sentence": audit.sentence(event)})


def _recovered(event: AuditEvent, tenant: Tenant) -> None:
    _tell_owners(event, tenant, "key-recovered", {"sentence": audit.sentence(event)})


def _invited(event: AuditEvent, tenant: Tenant) -> None:
    target = str(json.loads(event.payload)["target"])
    notices.write(event, "invitation", str(audit.data_of(event)["email"]), {"invitation": target}, tenant=tenant)


def _people_changed(event: AuditEvent, tenant: Tenant) -> None:
    """Who may act for the organisation has changed: every owner hears of it at once, and whom it concerns."""
    context = _change(event)
    _tell_owners(event, tenant, "people-changed", context)
    data = audit.data_of(event)
    if data.get("email"):
        notices.write(event, "people-changed", str(data["email"]), context, tenant=tenant)


def _sign_on_changed(event: AuditEvent, tenant: Tenant) -> None:
    """By what people are known here has changed: every owner hears of it at once."""
    _tell_owners(event, tenant, "sign-on-changed", _change(event))


def _approval_requested(event: AuditEvent, tenant: Tenant) -> None:
    """Those who may approve hear of it; who asked does not."""
    approval = Approval.objects.get(pk=str(json.loads(event.payload)["target"]))
    data = audit.data_of(event)
    context = {"what": str(data["what"]), "reason": str(data["reason"]), "actor": words.person(event.actor)}
    for member in approvals.approvers(tenant).exclude(pk=approval.requested_by_id).select_related("user"):
        notices.write(event, "approval-requested", member.user.email, context, tenant=tenant)


def _approval_decided(event: AuditEvent, tenant: Tenant) -> None:
    """Every owner hears of it, and who asked."""
    _tell_owners(event, tenant, "approval-decided", _change(event))
    asked_by = audit.data_of(event).get("email")
    if asked_by:
        notices.write(event, "approval-decided", str(asked_by), _change(event), tenant=tenant)


def _address_changed(event: AuditEvent, tenant: Tenant) -> None:
    """The owners hear of it, and the address before: it may be the only one that its person still reads."""
    _people_changed(event, tenant)
    notices.write(
        event, "address-changed", str(audit.data_of(event)["old"]), {"sentence": audit.sentence(event)}, tenant=tenant
    )


def _recovery(event: AuditEvent, tenant: Tenant) -> None:
    """Every present and former member hears of a recovery, each with a link by which it can be stopped."""
    target = str(json.loads(event.payload)["target"])
    addresses = Member.everybody.filter(tenant=tenant).values_list("user__email", flat=True)
    for address in sorted({address.lower() for address in addresses}):
        notices.write(
            event, "recovery-announced", address, {"recovery": target, "sentence": audit.sentence(event)}, tenant=tenant
        )


def _recovery_ended(event: AuditEvent, tenant: Tenant) -> None:
    addresses = Member.everybody.filter(tenant=tenant).values_list("user__email", flat=True)
    for address in sorted({address.lower() for address in addresses}):
        notices.write(event, "people-changed", address, _change(event), tenant=tenant)
    if event.name == "tenants.recovery.objected":
        notices.write(event, "people-changed", settings.SUPPORT_EMAIL, _change(event), tenant=tenant)


def _change(event: AuditEvent) -> dict[str, str]:
    return {"sentence": audit.sentence(event), "actor": words.person(event.actor)}


# Mails about one account: template, and what of the event's data is the address.
ACCOUNTS = {
    "tenants.staff.created": ("staff-invitation", "email"),
    "tenants.staff.regrouped": ("account-changed", "email"),
    "tenants.second_factor.reset": ("account-changed", "email"),
    "tenants.address.change_requested": ("address-change", "email"),
    "tenants.member.address_changed": ("address-changed", "old"),
    "tenants.account.sign_in_changed": ("sign-in-changed", "email"),
}
INCIDENTS = {
    "keys.incident.opened": "incident-opened",
    "keys.incident.closed": "incident-closed",
    "keys.incident.closed_by_hand": "incident-closed",
}
REACTIONS: dict[str, Callable[[AuditEvent, Tenant], None]] = {
    "keys.arns.proposed": _proposed,
    "keys.registration.submitted": _submitted,
    "keys.registration.activated": _activated,
    "keys.registration.rejected": _rejected,
    "keys.registration.withdrawn": _withdrawn,
    "keys.test.refused": _refused,
    "keys.test.waits_for_kore": _ours,
    "keys.configuration.failed": _ours,
    "keys.configuration.waits_for_kore": _ours,
    "keys.registration.kept": _kept,
    "keys.registration.horizon_ended": _horizon_ended,
    "keys.kept_key.at_risk": _at_risk,
    "keys.key.suspended": _suspended,
    "keys.key.deletion_scheduled": _deletion,
    "keys.key.unreachable": _unreachable,
    "keys.key.recovered": _recovered,
    "tenants.member.invited": _invited,
    "tenants.invitation.resent": _invited,
    "tenants.member.joined": _people_changed,
    "tenants.member.role_changed": _people_changed,
    "tenants.member.removed": _people_changed,
    "tenants.member.left": _people_changed,
    "tenants.token.minted": _people_changed,
    "tenants.sign_on.set_up": _sign_on_changed,
    "tenants.sign_on.changed": _sign_on_changed,
    "tenants.sign_on.mode_changed": _sign_on_changed,
    "tenants.sign_on.removed": _sign_on_changed,
    "tenants.sign_on.linked": _people_changed,
    "tenants.sign_on.unlinked": _people_changed,
    "tenants.member.joined_by_sign_on": _people_changed,
    "tenants.domain.added": _sign_on_changed,
    "tenants.domain.verified": _sign_on_changed,
    "tenants.domain.lapsed": _sign_on_changed,
    "tenants.domain.removed": _sign_on_changed,
    "tenants.second_person.required": _approval_decided,
    "tenants.second_person.dropped": _approval_decided,
    "tenants.approval.requested": _approval_requested,
    "tenants.approval.approved": _approval_decided,
    "tenants.approval.refused": _approval_decided,
    "tenants.member.address_changed": _address_changed,
    "tenants.second_factor.reset": _people_changed,
    "tenants.account.switched_off": _people_changed,
    "tenants.account.switched_on": _people_changed,
    "tenants.recovery.announced": _recovery,
    "tenants.recovery.withdrawn": _recovery_ended,
    "tenants.recovery.objected": _recovery_ended,
    "tenants.recovery.done": _recovery_ended,
}
