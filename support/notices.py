"""Mails: written down because of an event, composed, and sent when they are due. The row in the database is the job."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.core.mail import EmailMessage
from django.db.models import F, Q
from django.template import Context, engines
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext as _

from byokportal import clock, words
from keys import services as key_services
from support import mailed
from support.mails import MAILS
from support.models import Notice, Ticket, TicketMessage
from support.tickets import signed_addresses
from tenants import audit, services
from tenants.models import (
    AuditEvent,
    Invitation,
    Member,
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
