"""What follows from each event of a tenant's log: whom a mail tells of it, which ticket it moves."""

from __future__ import annotations

import json
from collections.abc import Callable

from django.conf import settings
from django.urls import reverse

from byokportal import words
from byokportal.translation import lazy
from keys import services as key_services
from keys.models import EncryptionTest, KeyRegistration
from support import causes, closed, mailed, notices, response, services
from support.models import Notice, Ticket
from tenants import approvals, audit, log_proofs, onboarding, roles
from tenants.audit import SYSTEM
from tenants.models import Approval, AuditEvent, Member, Tenant

Status, Topic = Ticket.Status, Ticket.Topic
REFUSED_IN_TEST = " ".join(
    (
        lazy("AWS refuses us in the encryption test."),
        lazy("That may pass by itself: AWS needs some minutes to pass on a change."),
    )
)
CHANGE_THEN = lazy("If it is still so at {at}, change this.")
GOES_ON = lazy("The test goes on by itself, and we mail you what comes of it.")
HOW_IT_STANDS = lazy("Its page shows how it stands: {page}")
OURS = " ".join(
    (
        lazy("Something on Kore.ai's side has to be looked at."),
        lazy("You need not change anything; we go on when it works."),
    )
)


def _submitted(event: AuditEvent, tenant: Tenant) -> None:
    registration = causes.registration_of(event, tenant)
    if registration is not None:
        causes.shared(tenant, registration)


def _activated(event: AuditEvent, tenant: Tenant) -> None:
    registration = causes.registration_of(event, tenant)
    if registration is not None:
        causes.corrected(tenant, Topic.CONFIGURATION, registration, causes.PASSED)
    causes.close_of_keys_out_of_use(tenant)
    response.back(event, tenant)
    notices.tell(event, tenant, "key-active", {"key_arn": str(audit.data_of(event).get("key_arn", ""))})


def _tested(event: AuditEvent, tenant: Tenant) -> None:
    """Our side is done: when the key goes into service is the organisation's to say."""
    registration = causes.registration_of(event, tenant)
    if registration is not None:
        causes.corrected(tenant, Topic.CONFIGURATION, registration, causes.TESTED)
    notices.tell(event, tenant, "key-tested", {"key_arn": str(audit.data_of(event)["key_arn"])})


def _finished(event: AuditEvent, tenant: Tenant) -> None:
    """A test that passes closes what a fault of ours opened about a key that is in service."""
    registration = causes.registration_of(event, tenant)
    if registration is None or audit.data_of(event)["verdict"] != "pass":
        return
    if registration.status in {*KeyRegistration.SERVING, KeyRegistration.Status.RETIRING}:
        causes.corrected(tenant, Topic.CONFIGURATION, registration, causes.PASSED)


def _configured(event: AuditEvent, tenant: Tenant) -> None:
    registration = causes.registration_of(event, tenant)
    if registration is not None:
        causes.configured(tenant, registration)


def _withdrawn(event: AuditEvent, tenant: Tenant) -> None:
    """What was withdrawn waits for nobody any more."""
    registration = causes.registration_of(event, tenant)
    if registration is not None:
        causes.corrected(tenant, Topic.CONFIGURATION, registration, lazy("The registration was withdrawn."))


def _left(event: AuditEvent, tenant: Tenant) -> None:
    causes.close_of_keys_out_of_use(tenant)
    response.back(event, tenant)


def _rejected(event: AuditEvent, tenant: Tenant) -> None:
    registration = causes.registration_of(event, tenant)
    if registration is None:
        return
    causes.broken(
        tenant,
        Topic.CONFIGURATION,
        registration,
        text=causes.remedies_text(event, registration),
        status=Status.WAITING_FOR_TENANT,
    )
    notices.tell(
        event, tenant, "registration-rejected", {"text": causes.remedies_text(event, registration, with_documents=True)}
    )


def _refused(event: AuditEvent, tenant: Tenant) -> None:
    """AWS refuses us, and that may pass: say what will be due if it does not, unless the test has ended meanwhile."""
    registration = causes.registration_of(event, tenant)
    test = EncryptionTest.objects.of(tenant).filter(pk=json.loads(event.payload)["target"]).first()
    changes = key_services.likely_changes_of(test) if test else []
    if registration is None or test is None or not changes:
        return
    page = settings.BASE_URL + reverse("portal:test", args=[tenant.pk, test.pk])
    text = "\n\n".join(
        [
            REFUSED_IN_TEST,
            *(
                f"{CHANGE_THEN.format(at=words.minute(at, now=event.at))} "
                + causes.CHANGE.format(step=step, step_name=onboarding.BY_NUMBER[step].name, remedy=change)
                for step, at, change in changes
            ),
            f"{GOES_ON} {HOW_IT_STANDS.format(page=page)}",
        ]
    )
    ticket = causes.open_ticket_of(tenant, Topic.CONFIGURATION, registration)
    if ticket is not None:
        services.answer_ticket(ticket, text=text, status=ticket.status, actor=SYSTEM)
    notices.tell(event, tenant, "test-refused", {"text": text})


def _ours(event: AuditEvent, tenant: Tenant) -> None:
    """Our own side does not work: a person of ours is called once for each service role and fault,
    and no tenant is blamed."""
    registration = causes.registration_of(event, tenant)
    if registration is None:
        return
    data = audit.data_of(event)
    code = str(data.get("code") or data.get("reason") or "unknown")
    ticket = causes.open_ticket_of(tenant, Topic.CONFIGURATION, registration)
    if ticket is None:
        ticket = causes.broken(tenant, Topic.CONFIGURATION, registration, text=OURS, status=Status.WAITING_FOR_KORE)
    told = Notice.objects.filter(
        tenant=tenant, template="kore-needed", context__ticket=str(ticket.pk), context__code=code
    ).exists()
    if told:  # the worker tries again and again; one mail and one message are enough
        return
    is_known = causes.is_known(tenant, code)
    services.answer_ticket(
        ticket, text=audit.sentence(event), is_internal=True, status=Status.WAITING_FOR_KORE, actor=SYSTEM
    )
    if is_known:  # the fault is the service role's: one mail, whatever the number of tenants
        return
    context = {"ticket": str(ticket.pk), "code": code, "sentence": audit.sentence(event)}
    notices.write(event, "kore-needed", settings.SUPPORT_EMAIL, context, tenant=tenant)


def _activation_missed(event: AuditEvent, tenant: Tenant) -> None:
    notices.tell(event, tenant, "activation-missed", {"sentence": audit.sentence(event)})


def _proposed(event: AuditEvent, tenant: Tenant) -> None:
    """Whoever may confirm hears that ARNs came in by a link."""
    may = roles.OPERATIONS["keys.decide_proposal"].members
    notices.tell(event, tenant, "arns-proposed", {"sentence": audit.sentence(event)}, members=may)


def _answered(event: AuditEvent, tenant: Tenant) -> None:
    """What our people write in a ticket is mailed to the tenant's, and what those write to whom of ours it concerns;
    what the system writes has its own mail."""
    data = audit.data_of(event)
    if event.actor == SYSTEM.label or data.get("is_internal"):
        return
    found = Ticket.objects.of(tenant).select_related("assignee", "merged_into__assignee")
    ticket = services.current(found.get(pk=str(json.loads(event.payload)["target"])))
    context = {"ticket": str(ticket.pk), "subject": ticket.subject, "message": str(data.get("message", ""))}
    if event.actor.startswith("kore:"):
        notices.tell(event, tenant, "ticket-answered", context)
    else:
        context["author"] = words.person(audit.actor_of(event))
        notices.write(event, "ticket-written", mailed.of_ours(ticket), context, tenant=tenant)


def _mail_refused(event: AuditEvent, tenant: Tenant) -> None:
    """Who wrote a mail that was not taken hears why."""
    data = audit.data_of(event)
    target = str(json.loads(event.payload)["target"])
    context = {"ticket": target, "subject": str(data["subject"]), "why": str(data["why"])}
    notices.write(event, "ticket-mail-refused", str(data["email"]), context, tenant=tenant)


def _log_head(event: AuditEvent, tenant: Tenant) -> None:
    """Mail the signed head to whom the organisation named, with all that a verifier needs of it."""
    data = audit.data_of(event)
    kept = log_proofs.head(tenant, int(str(data["number"])))
    context = {
        "number": str(data["number"]),
        "at": str(kept["head"]["at"]),
        "size": str(kept["entry"]["size"]),
        "kept": json.dumps(kept),
    }
    recipients = data["recipients"]
    for recipient in recipients if isinstance(recipients, list) else ():
        notices.write(event, "log-head", str(recipient), context, tenant=tenant)


def _webhook_failing(event: AuditEvent, tenant: Tenant) -> None:
    notices.tell(event, tenant, "webhook-failing", {"sentence": audit.sentence(event)})


def _log_stream_failing(event: AuditEvent, tenant: Tenant) -> None:
    notices.tell(event, tenant, "log-stream-failing", {"sentence": audit.sentence(event)})


def _suspended(event: AuditEvent, tenant: Tenant) -> None:
    if event.actor == SYSTEM.label:
        causes.refused(event, tenant)
    response.back(event, tenant)
    notices.tell(event, tenant, "key-suspended", {"sentence": audit.sentence(event)})
    response.hold_what_was_taken_back(event, tenant)


def _restore_held(event: AuditEvent, tenant: Tenant) -> None:
    _tell_owners(event, tenant, "restore-held")


def _restore_ended(event: AuditEvent, tenant: Tenant) -> None:
    _tell_owners(event, tenant, "restore-ended")


def _tell_owners(event: AuditEvent, tenant: Tenant, template: str) -> None:
    """Every owner hears of it, whichever mails they chose: one of them has to look."""
    owners = Member.objects.of(tenant).owners().values_list("user__email", flat=True)
    for address in sorted(owners):
        notices.write(event, template, address, {"sentence": audit.sentence(event)}, tenant=tenant)


def _deletion(event: AuditEvent, tenant: Tenant) -> None:
    data = audit.data_of(event)
    notices.tell(event, tenant, "key-deletion", {name: str(data[name]) for name in ("key_arn", "at")})


def _kept(event: AuditEvent, tenant: Tenant) -> None:
    data = audit.data_of(event)
    notices.tell(
        event, tenant, "old-key-needed", {name: str(data[name]) for name in ("key_arn", "role_arn", "until", "days")}
    )


def _at_risk(event: AuditEvent, tenant: Tenant) -> None:
    data = audit.data_of(event)
    notices.tell(event, tenant, "old-key-at-risk", {"why": str(data["why"]), "until": str(data["until"])})


def _horizon_ended(event: AuditEvent, tenant: Tenant) -> None:
    notices.tell(event, tenant, "old-key-given-up", {"sentence": audit.sentence(event)})


def _unreachable(event: AuditEvent, tenant: Tenant) -> None:
    notices.tell(event, tenant, "key-unreachable", {"sentence": audit.sentence(event)})
    response.lost(event, tenant)


def _recovered(event: AuditEvent, tenant: Tenant) -> None:
    registration = causes.registration_of(event, tenant)
    if registration is not None:
        causes.corrected(tenant, Topic.KEY, registration, causes.RECOVERED)
    met = response.back(event, tenant)
    notices.tell(event, tenant, "key-recovered", {"sentence": response.over(met) if met else audit.sentence(event)})
    if met is not None:
        response.hold(met.incident, event, tenant)


def _told(event: AuditEvent, tenant: Tenant) -> None:
    """What our people write to those whom an incident of ours concerns."""
    notices.tell(event, tenant, "incident-told", {"text": str(audit.data_of(event)["text"])})


def _invited(event: AuditEvent, tenant: Tenant) -> None:
    target = str(json.loads(event.payload)["target"])
    notices.write(event, "invitation", str(audit.data_of(event)["email"]), {"invitation": target}, tenant=tenant)


def _people_changed(event: AuditEvent, tenant: Tenant) -> None:
    """Who may act for the organisation has changed: the owners hear of it at once, and whom it concerns."""
    context = notices.change(event)
    notices.tell(event, tenant, "people-changed", context)
    data = audit.data_of(event)
    if data.get("email"):
        notices.write(event, "people-changed", str(data["email"]), context, tenant=tenant)


def _sign_on_changed(event: AuditEvent, tenant: Tenant) -> None:
    """By what people are known here has changed: the owners hear of it at once."""
    notices.tell(event, tenant, "sign-on-changed", notices.change(event))


def _no_owner_left(event: AuditEvent, tenant: Tenant) -> None:
    """Nobody can act as an owner: everybody who is still in hears of it, and the person whose access ended."""
    context = notices.change(event)
    mails = set(Member.objects.of(tenant).filter(user__is_active=True).values_list("user__email", flat=True))
    for email in sorted(mails | {str(audit.data_of(event)["email"])}):
        notices.write(event, "people-changed", email, context, tenant=tenant)


def _approval_requested(event: AuditEvent, tenant: Tenant) -> None:
    """Those who may approve hear of it; who asked does not."""
    approval = Approval.objects.get(pk=str(json.loads(event.payload)["target"]))
    data = audit.data_of(event)
    context = {"what": str(data["what"]), "reason": str(data["reason"]), "actor": words.person(audit.actor_of(event))}
    may = approvals.approvers(tenant).exclude(pk=approval.requested_by_id)
    addresses = list(may.values_list("user__email", flat=True))
    wanted = set(mailed.addresses(tenant, "approvals")) & set(addresses)
    # Somebody has to hear of it: where nobody who may approve wants such mails, all of them get it.
    for address in sorted(wanted) or addresses:
        notices.write(event, "approval-requested", address, context, tenant=tenant)


def _approval_decided(event: AuditEvent, tenant: Tenant) -> None:
    """The owners hear of it, and who asked."""
    notices.tell(event, tenant, "approval-decided", notices.change(event))
    asked_by = audit.data_of(event).get("email")
    if asked_by:
        notices.write(event, "approval-decided", str(asked_by), notices.change(event), tenant=tenant)


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
        notices.write(event, "people-changed", address, notices.change(event), tenant=tenant)
    if event.name == "tenants.recovery.objected":
        notices.write(event, "people-changed", settings.SUPPORT_EMAIL, notices.change(event), tenant=tenant)


REACTIONS: dict[str, Callable[[AuditEvent, Tenant], None]] = {
    "keys.arns.proposed": _proposed,
    "keys.restore.held": _restore_held,
    "keys.restore.ended": _restore_ended,
    "keys.registration.submitted": _submitted,
    "keys.registration.tested": _tested,
    "keys.activation.missed": _activation_missed,
    "keys.registration.activated": _activated,
    "keys.registration.rejected": _rejected,
    "keys.registration.withdrawn": _withdrawn,
    "keys.test.refused": _refused,
    "keys.test.finished": _finished,
    "keys.configuration.written": _configured,
    "keys.configuration.removed": _configured,
    "keys.key.left": _left,
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
    "keys.log_head.mailed": _log_head,
    "support.ticket.opened": _answered,
    "support.ticket.answered": _answered,
    "support.ticket.closed": _answered,
    "support.ticket.reopened": _answered,
    "support.mail.refused": _mail_refused,
    "support.incident.told": _told,
    "support.webhook.added": _people_changed,
    "support.webhook.removed": _people_changed,
    "support.webhook.switched_off": _people_changed,
    "support.webhook.secret_rotated": _people_changed,
    "support.webhook.given_up": _webhook_failing,
    "support.webhook.failed_for_days": _webhook_failing,
    "tenants.log_stream.added": _people_changed,
    "tenants.log_stream.changed": _people_changed,
    "tenants.log_stream.removed": _people_changed,
    "tenants.log_stream.switched_off": _people_changed,
    "tenants.log_stream.secret_rotated": _people_changed,
    "tenants.log_stream.behind": _log_stream_failing,
    "tenants.log_stream.lines_rejected": _log_stream_failing,
    "tenants.log_stream.failed_for_days": _log_stream_failing,
    "tenants.member.invited": _invited,
    "tenants.invitation.resent": _invited,
    "tenants.member.joined": _people_changed,
    "tenants.member.role_changed": _people_changed,
    "tenants.member.removed": _people_changed,
    "tenants.member.left": _people_changed,
    "tenants.person.erased": _people_changed,
    "tenants.token.minted": _people_changed,
    "tenants.sign_on.set_up": _sign_on_changed,
    "tenants.sign_on.changed": _sign_on_changed,
    "tenants.sign_on.saml_set_up": _sign_on_changed,
    "tenants.sign_on.saml_changed": _sign_on_changed,
    "tenants.sign_on.directory_changed": _sign_on_changed,
    "tenants.sign_on.look_failed": _sign_on_changed,
    "tenants.sign_on.certificate_ends": _sign_on_changed,
    "tenants.sign_on.mode_changed": _sign_on_changed,
    "tenants.sign_on.removed": _sign_on_changed,
    "tenants.sign_on.linked": _people_changed,
    "tenants.sign_on.unlinked": _people_changed,
    "tenants.member.joined_by_sign_on": _people_changed,
    "tenants.member.joined_by_directory": _people_changed,
    "tenants.member.ended_by_directory": _people_changed,
    "tenants.directory.set_up": _sign_on_changed,
    "tenants.directory.changed": _sign_on_changed,
    "tenants.directory.token_made": _sign_on_changed,
    "tenants.directory.token_revoked": _sign_on_changed,
    "tenants.directory.group_role_changed": _sign_on_changed,
    "tenants.directory.removed": _sign_on_changed,
    "tenants.directory.break_glass_kept": _sign_on_changed,
    "tenants.directory.no_owner_left": _no_owner_left,
    "tenants.domain.added": _sign_on_changed,
    "tenants.domain.verified": _sign_on_changed,
    "tenants.domain.lapsed": _sign_on_changed,
    "tenants.domain.removed": _sign_on_changed,
    "tenants.second_person.required": _approval_decided,
    "tenants.second_person.dropped": _approval_decided,
    "tenants.second_person.short": _people_changed,
    "tenants.approval.requested": _approval_requested,
    "tenants.approval.approved": _approval_decided,
    "tenants.approval.refused": _approval_decided,
    "tenants.member.address_changed": _address_changed,
    "tenants.second_factor.reset": _people_changed,
    "tenants.account.switched_off": _people_changed,
    "tenants.account.switched_on": _people_changed,
    "tenants.tenant.closed": closed.ended,
    "keys.closing.receipt_signed": closed.signed,
    "tenants.recovery.announced": _recovery,
    "tenants.recovery.withdrawn": _recovery_ended,
    "tenants.recovery.objected": _recovery_ended,
    "tenants.recovery.done": _recovery_ended,
}
