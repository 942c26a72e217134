"""Mails: what each one is written from, and the sending of those that are due. The row is the job."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.mail import EmailMessage
from django.db.models import F, Q
from django.template import Context, engines
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext as _

from byokportal import clock, stored_sentences, words
from keys import services as key_services
from keys.models import ClosingReceipt
from support import mailed
from support.models import Notice, Ticket, TicketMessage
from support.tickets import plain_text, signed_addresses
from tenants import audit, services
from tenants.models import (
    INVITATION_LASTS,
    AddressChange,
    AuditEvent,
    Invitation,
    Member,
    OwnerRecovery,
    Role,
    Tenant,
)

log = structlog.get_logger(__name__)
CLAIM_LASTS = timedelta(seconds=45)  # longer than one mail may take: older means its worker was lost
BATCH = 50  # mails a run
OURS = {"what", "why", "text", "sentence", "until", "days", "at"}  # of the context of a mail: our own sentences
CLEARED = 20  # chunks of a run that deletes old ones
ATTEMPTS = 10  # then a person has to look
LONGEST_WAIT = timedelta(hours=6)
# No program answers a mail that says so (RFC 3834, 5; the second is Exchange's), and we drop one that comes back.
AUTOMATIC = {"Auto-Submitted": "auto-generated", "X-Auto-Response-Suppress": "All"}


def send_due() -> int:
    """Send the mails whose time has come; what fails becomes due again, later each time.

    Returns:
        how many were sent.
    """
    now = clock.now()
    free = Notice.objects.filter(sent_at=None, due_at__lte=now).filter(
        Q(claimed_at=None) | Q(claimed_at__lt=now - CLAIM_LASTS)
    )
    sent = 0
    for pk in list(free.order_by("due_at").values_list("pk", flat=True)[:BATCH]):
        if free.filter(pk=pk).update(claimed_at=clock.now(), attempts=F("attempts") + 1):
            sent += _send(Notice.objects.select_related("tenant__service_role").get(pk=pk), now)
    return sent


def _send(notice: Notice, now: datetime) -> bool:
    try:
        message = compose(notice)
        if message is not None:
            message.send()
    except Exception:  # a mail server that is down, or a bug in a template: neither may hold up the other mails
        given_up = notice.attempts >= ATTEMPTS
        wait = min(timedelta(minutes=1) * 2 ** (notice.attempts - 1), LONGEST_WAIT)
        Notice.objects.filter(pk=notice.pk).update(claimed_at=None, due_at=None if given_up else now + wait)
        log.exception("mail_not_sent", notice_id=notice.pk, attempts=notice.attempts, given_up=given_up)
        return False
    Notice.objects.filter(pk=notice.pk).update(sent_at=clock.now(), due_at=None, claimed_at=None)
    return True


def clear() -> int:
    """Delete mails that were sent, dropped or given up long ago, the oldest first; returns how many."""
    gone, last, until = 0, 0, clock.now() - timedelta(days=settings.NOTICE_RETENTION_DAYS)
    for _round in range(CLEARED):
        # The next by their number, whatever they are: no query looks at all of them, and those that stay hold up none.
        some = list(Notice.objects.filter(pk__gt=last).order_by("pk").values_list("pk", "created_at")[: BATCH * 20])
        old = [pk for pk, at in some if at < until]
        if not old:
            break
        last = some[-1][0]
        waits = Notice.objects.held().values("pk")
        gone += Notice.objects.filter(pk__in=old, due_at=None).exclude(pk__in=waits).delete()[0]
    return gone


def write(
    event: AuditEvent, template: str, recipient: str, context: dict[str, str], *, tenant: Tenant | None = None
) -> None:
    """Write down that a mail is to be sent because of an event; each one once.

    Raises:
        KeyError: there is no such mail, or its context is not what the mail is written from (a bug, not a refusal).
    """
    if context.keys() != MAILS[template].context:
        raise KeyError(f"{template} is written from {sorted(MAILS[template].context)}, not from {sorted(context)}")
    if words.is_erased(recipient):
        return
    Notice.objects.get_or_create(
        event=event, template=template, recipient=recipient, defaults={"tenant": tenant, "context": context}
    )


def tell(
    event: AuditEvent, tenant: Tenant, template: str, context: dict[str, str], *, members: Collection[str] = tuple(Role)
) -> None:
    """Write a mail to the members who want its kind, of these roles alone."""
    told = mailed.addresses(tenant, MAILS[template].kind, roles=members)
    if not Member.objects.of(tenant).owners().exists():  # the first has not come yet, but its automation may have begun
        told += Invitation.objects.of(tenant).pending().filter(role=Role.OWNER).values_list("email", flat=True)
    for address in told:
        write(event, template, address, context, tenant=tenant)


def change(event: AuditEvent) -> dict[str, str]:
    """Return what a mail about a change says: what happened, and who did it."""
    return {"sentence": audit.sentence(event), "actor": words.person(audit.actor_of(event))}


def write_of_ticket(ticket: Ticket, template: str, recipient: str, context: dict[str, str]) -> None:
    """Write down a mail to our own people about a ticket, of which the tenant's log says nothing.

    Raises:
        KeyError: as `write`.
    """
    if context.keys() != MAILS[template].context:
        raise KeyError(f"{template} is written from {sorted(MAILS[template].context)}, not from {sorted(context)}")
    Notice.objects.create(tenant=ticket.tenant, template=template, recipient=recipient, context=context)


def compose(notice: Notice) -> EmailMessage | None:
    """Return the mail of a notice, from `templates/emails/<template>.subject.txt` and `.txt`, in the language of its
    recipient; None when it has lost its point."""
    kind = MAILS[notice.template]
    language = settings.LANGUAGE_CODE if kind.is_for_staff else _language(notice)
    sentences = _sentences(notice)
    with translation.override(language):
        return _compose(notice, sentences)


def _language(notice: Notice) -> str:
    """Return the language of a mail: the recipient's; an invitation's is that of whoever invited, if they chose one."""
    if notice.template == "invitation":
        invitation = Invitation.objects.filter(pk=notice.context["invitation"]).select_related("inviter__user").first()
        if invitation is not None and invitation.inviter is not None:
            inviter = invitation.inviter.user.email
            return services.language_of(notice.recipient, or_of=inviter, tenant=notice.tenant)
    return services.language_of(notice.recipient, tenant=notice.tenant)


def _sentences(notice: Notice) -> dict[str, Callable[[], str]]:
    """Return how the words are made again that the row has in English and that follow from its event."""
    event = notice.event
    if event is None:
        return {}
    made: dict[str, Callable[[], str]] = {
        "sentence": lambda: audit.sentence(event),
        "actor": lambda: words.person(audit.actor_of(event)),
    }
    with translation.override(settings.LANGUAGE_CODE):
        return {name: make for name, make in made.items() if notice.context.get(name) == make()}


def _compose(notice: Notice, sentences: dict[str, Callable[[], str]]) -> EmailMessage | None:
    context: dict[str, Any] = {**notice.context, "support_url": settings.SUPPORT_URL, "base_url": settings.BASE_URL}
    ours = OURS & notice.context.keys() if notice.template != "incident-told" else set()  # a person of ours wrote that
    context |= {name: key_services.say_again(notice.context[name]) for name in ours}
    if "reason" in notice.context:
        context["reason"] = words.reason(notice.context["reason"])
    context |= {name: make() for name, make in sentences.items()}
    if notice.tenant is not None:
        role = notice.tenant.service_role
        context |= {"tenant": notice.tenant.name, "service_role_arn": role.arn, "aws_account_id": role.account_id}
        for name, page in PAGES.items():
            context[name] = settings.BASE_URL + reverse(f"portal:{page}", args=[notice.tenant.pk])
    more = MAILS[notice.template].more(notice)
    if more is None:
        return None
    context |= more
    subject = " ".join(_text(f"emails/{notice.template}.subject.txt", context).split())
    text = _text(f"emails/{notice.template}.txt", context)
    if MAILS[notice.template].kind and notice.tenant is not None:
        last = _("Members choose which of these mails they get: %(url)s") % {"url": context["mails_url"]}
        text += f"\n{last}\n"
    if notice.tenant is not None:
        subject, text = (words.without_external_id(one, notice.tenant.external_id) for one in (subject, text))
    message = EmailMessage(subject, text, to=[notice.recipient], headers=dict(AUTOMATIC))
    if MAILS[notice.template].is_answered and context["place"] is not None:
        message.reply_to = [signed_addresses.address(context["place"])]
        message.extra_headers |= _thread(notice, context["place"])
    return message


def _thread(notice: Notice, place: signed_addresses.Place) -> dict[str, str]:
    """Return the headers by which mail programs, and we, know to which conversation a mail belongs."""
    root = signed_addresses.thread_id(place.ticket)
    theirs = TicketMessage.objects.filter(ticket=place.ticket, author__endswith=f":{notice.recipient}").exclude(
        mail_id=""
    )
    last = theirs.order_by("-at", "-id").values_list("mail_id", flat=True).first()
    return {
        "Message-ID": signed_addresses.message_id(place, notice.pk),
        "In-Reply-To": last or root,
        "References": f"{root} {last}" if last else root,
    }


def _text(template: str, context: dict[str, Any]) -> str:
    """Return plain text: nothing is escaped for HTML."""
    return str(engines["django"].engine.get_template(template).render(Context(context, autoescape=False)))  # type: ignore[attr-defined]


# The tenant's pages that any mail to a tenant may name.
PAGES = {
    "activation_url": "activation",
    "restore_url": "confirm-restore",
    "tracker_url": "tracker",
    "people_url": "members",
    "approvals_url": "approvals",
    "sign_on_url": "sign-on",
    "branch_keys_url": "branch-keys",
    "key_url": "key",
    "links_url": "links",
    "tests_url": "tests",
    "seal_url": "log-seal",
    "webhooks_url": "webhooks",
    "log_streams_url": "log-streams",
    "mails_url": "mails",
}

# --- what is looked up when a mail is written: links, and secrets that stand in no row ---------------------------


def _nothing(notice: Notice) -> dict[str, Any]:
    return {}


def _password(notice: Notice) -> dict[str, Any]:
    return {"password_url": settings.BASE_URL + reverse("account_reset_password")}


def _office(notice: Notice) -> dict[str, Any]:
    return {"office_url": settings.BASE_URL + reverse("admin:index")}


def _ticket(notice: Notice) -> dict[str, Any]:
    return {"ticket_url": settings.BASE_URL + reverse("admin:support_ticket_change", args=[notice.context["ticket"]])}


def _answered(notice: Notice) -> dict[str, Any]:
    assert notice.tenant is not None
    page = reverse("portal:ticket", args=[notice.tenant.pk, notice.context["ticket"]])
    return {"answer_url": settings.BASE_URL + page, **_message(notice)}


def _refused(notice: Notice) -> dict[str, Any]:
    """Return why, and where the ticket is: a member reads it in the portal, our people in the back office."""
    is_ours = get_user_model().objects.filter(email__iexact=notice.recipient, is_staff=True).exists()
    page = _ticket(notice)["ticket_url"] if is_ours else _answered(notice)["answer_url"]
    return {"answer_url": page, "why": stored_sentences.again(notice.context["why"])}


def _written(notice: Notice) -> dict[str, Any]:
    return {**_ticket(notice), **_message(notice)}


def _message(notice: Notice) -> dict[str, Any]:
    """Return the address by which the receiver answers by mail, and then the text that is answered.

    Where no mails are taken, a mail is a link: what people write to each other stays in the ticket.
    """
    found: dict[str, Any] = {"text": "", "marker": _(plain_text.MARKER), "place": None}
    if not signed_addresses.is_on():
        return found
    user = get_user_model().objects.filter(email__iexact=notice.recipient, is_active=True).first()
    ticket = Ticket.objects.filter(pk=notice.context["ticket"]).select_related("merged_into").first()
    if user is None or ticket is None:
        return found
    number = str(notice.context.get("message", ""))
    shown = TicketMessage.objects.filter(pk=int(number) if number.isdigit() else 0, tenant=notice.tenant)
    text = shown.filter(is_internal=False).values_list("text", flat=True).first()
    place = signed_addresses.Place((ticket.merged_into or ticket).pk, user.pk)
    return {**found, "place": place, "text": text or ""}


def _incident(notice: Notice) -> dict[str, Any]:
    path = reverse("admin:keys_incident_change", args=[notice.context["incident"]])
    return {"incident_url": settings.BASE_URL + path}


def _invitation(notice: Notice) -> dict[str, Any] | None:
    """Return the words and the link of an invitation; None when it can no longer be used, so that no mail is sent.

    The secret of the link is made here, when the mail is written, so that it never stands in a row.
    """
    invitation = Invitation.objects.pending().filter(pk=notice.context["invitation"]).first()
    if invitation is None:
        return None
    path = reverse("portal:invitation-link", args=[services.new_link(invitation)])
    return {
        "role_label": invitation.get_role_display(),
        "inviter": words.person(invitation.invited_by),
        "invitation_url": settings.BASE_URL + path,
        "days": INVITATION_LASTS.days,
    }


def _recovery(notice: Notice) -> dict[str, Any] | None:
    """Return the link by which a member stops a recovery; None when it has ended."""
    recovery = OwnerRecovery.objects.filter(pk=notice.context["recovery"], status=OwnerRecovery.Status.WAITING).first()
    if recovery is None:
        return None
    services.announced_late(recovery)
    path = reverse("portal:recovery-link", args=[services.new_objection_link(recovery, notice.recipient)])
    return {"objection_url": settings.BASE_URL + path}


def _closing(notice: Notice) -> dict[str, Any]:
    """Return the receipt of a closing, as its reader keeps it, and what it says of the dates."""
    row = ClosingReceipt.objects.select_related("closing").get(
        closing=notice.context["closing"], number=int(notice.context["number"])
    )
    ends_at = row.closing.ends_at
    return {
        "receipt": json.dumps(key_services.receipt_document(row)),
        "reason": row.closing.reason,
        "until": words.instant(ends_at) if ends_at else "",
    }


def _staff(notice: Notice) -> dict[str, Any] | None:
    """Return the link by which one of our people chooses a password; None when there is one."""
    user = services.staff_of(notice.recipient)
    if user is None or user.has_usable_password():
        return None
    return {
        "password_url": settings.BASE_URL + services.password_link(user),
        "days": settings.PASSWORD_RESET_TIMEOUT // 86_400,
        "office_url": settings.BASE_URL + reverse("admin:index"),
    }


def _address(notice: Notice) -> dict[str, Any] | None:
    """Return the link that proves a new address; None when another change took its place."""
    change = AddressChange.objects.filter(pk=notice.context["target"], used_at=None, expires_at__gt=clock.now()).first()
    if change is None:
        return None
    path = reverse("portal:address-link", args=[services.new_address_link(change)])
    return {"address_url": settings.BASE_URL + path, "old": change.user.email}


@dataclass(frozen=True, slots=True)
class Mail:
    """What one mail is written from.

    Attributes:
        context: what the event gives it (`support.follow`): words and ids, never a secret.
        more: what is looked up when it is written; None: the mail has lost its point and is not sent.
        kind: of `support.kinds`, by which members choose it (`support.mailed`); empty: nobody can refuse it.
        is_for_staff: Kore.ai's own people read it, in English.
        is_answered: its receiver may answer it by mail, where that is set up.
    """

    context: frozenset[str]
    more: Callable[[Notice], dict[str, Any] | None] = _nothing
    kind: str = ""
    is_for_staff: bool = False
    is_answered: bool = False


def _mail(
    *context: str,
    kind: str = "",
    more: Callable[[Notice], dict[str, Any] | None] = _nothing,
    is_for_staff: bool = False,
    is_answered: bool = False,
) -> Mail:
    return Mail(frozenset(context), more, kind, is_for_staff, is_answered)


# The name of its two templates in templates/emails → what it is written from.
MAILS: dict[str, Mail] = {
    "invitation": _mail("invitation", more=_invitation),
    "people-changed": _mail("sentence", "actor", kind="people"),
    "sign-on-changed": _mail("sentence", "actor", kind="sign_on"),
    "approval-requested": _mail("what", "reason", "actor", kind="approvals"),
    "approval-decided": _mail("sentence", "actor", kind="approvals"),
    "address-change": _mail("target", more=_address),
    "address-changed": _mail("sentence"),
    "sign-in-changed": _mail("sentence", more=_password),
    "account-changed": _mail("sentence", "actor", more=_office, is_for_staff=True),
    "staff-invitation": _mail(more=_staff, is_for_staff=True),
    "recovery-announced": _mail("recovery", "sentence", more=_recovery),
    "closing-receipt-1": _mail("closing", "number", more=_closing),
    "closing-receipt-2": _mail("closing", "number", more=_closing),
    "arns-proposed": _mail("sentence", kind="setup"),
    "key-active": _mail("key_arn", kind="key"),
    "key-tested": _mail("key_arn", kind="setup"),
    "activation-missed": _mail("sentence", kind="setup"),
    "key-suspended": _mail("sentence", kind="key"),
    "key-unreachable": _mail("sentence", kind="key"),
    "key-recovered": _mail("sentence", kind="key"),
    "key-deletion": _mail("key_arn", "at", kind="key"),
    "registration-rejected": _mail("text", kind="setup"),
    "test-refused": _mail("text", kind="setup"),
    "old-key-needed": _mail("key_arn", "role_arn", "until", "days", kind="key"),
    "old-key-at-risk": _mail("why", "until", kind="key"),
    "old-key-given-up": _mail("sentence", kind="key"),
    "ticket-answered": _mail("ticket", "subject", "message", kind="tickets", more=_answered, is_answered=True),
    "ticket-written": _mail(
        "ticket", "subject", "message", "author", more=_written, is_for_staff=True, is_answered=True
    ),
    "ticket-due": _mail("ticket", "subject", "what", "due_at", "is_late", more=_ticket, is_for_staff=True),
    "ticket-mail-refused": _mail("ticket", "subject", "why", more=_refused),
    "webhook-failing": _mail("sentence", kind="people"),
    "log-stream-failing": _mail("sentence", kind="people"),
    "kore-needed": _mail("ticket", "code", "sentence", more=_ticket, is_for_staff=True),
    "incident-opened": _mail("sentence", "incident", more=_incident, is_for_staff=True),
    "incident-closed": _mail("sentence", is_for_staff=True),
    "restore-held": _mail("sentence"),
    "restore-ended": _mail("sentence"),
    "incident-told": _mail("text", kind="key"),
    "log-head-refused": _mail("sentence", is_for_staff=True),
    "log-head": _mail("number", "at", "size", "kept"),
    "service-roles-short": _mail("sentence", is_for_staff=True),
    "policy-drifted": _mail("sentence", is_for_staff=True),
}
