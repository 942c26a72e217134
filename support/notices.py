"""Mails: what each one is written from, and the sending of those that are due. The row is the job."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.core.mail import EmailMessage
from django.db.models import F, Q
from django.template import Context, engines
from django.urls import reverse

from byokportal import clock, words
from support.models import Notice
from tenants import services
from tenants.models import INVITATION_LASTS, AddressChange, AuditEvent, Invitation, OwnerRecovery, Tenant

log = structlog.get_logger(__name__)
CLAIM_LASTS = timedelta(seconds=90)  # longer than the task may run: older means its worker was lost
BATCH = 50  # mails a run
ATTEMPTS = 10  # then a person has to look
LONGEST_WAIT = timedelta(hours=6)


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
        if free.filter(pk=pk).update(claimed_at=now, attempts=F("attempts") + 1):
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


def write(
    event: AuditEvent, template: str, recipient: str, context: dict[str, str], *, tenant: Tenant | None = None
) -> None:
    """Write down that a mail is to be sent because of an event; each one once.

    Raises:
        KeyError: there is no such mail, or its context is not what the mail is written from (a bug, not a refusal).
    """
    if context.keys() != MAILS[template].context:
        raise KeyError(f"{template} is written from {sorted(MAILS[template].context)}, not from {sorted(context)}")
    Notice.objects.get_or_create(
        event=event, template=template, recipient=recipient, defaults={"tenant": tenant, "context": context}
    )


def compose(notice: Notice) -> EmailMessage | None:
    """Return the mail of a notice, from `templates/emails/<template>.subject.txt` and `.txt`;
    None when it has lost its point."""
    context: dict[str, Any] = {**notice.context, "support_url": settings.SUPPORT_URL, "base_url": settings.BASE_URL}
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
    if notice.tenant is not None:
        text = words.without_external_id(text, notice.tenant.external_id)
    return EmailMessage(subject, text, to=[notice.recipient])


def _text(template: str, context: dict[str, Any]) -> str:
    """Return plain text: nothing is escaped for HTML."""
    return str(engines["django"].engine.get_template(template).render(Context(context, autoescape=False)))  # type: ignore[attr-defined]


# The tenant's pages that any mail to a tenant may name.
PAGES = {
    "tracker_url": "tracker",
    "people_url": "members",
    "approvals_url": "approvals",
    "sign_on_url": "sign-on",
    "branch_keys_url": "branch-keys",
    "key_url": "key",
    "links_url": "links",
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
    """

    context: frozenset[str]
    more: Callable[[Notice], dict[str, Any] | None] = _nothing


def _mail(*context: str, more: Callable[[Notice], dict[str, Any] | None] = _nothing) -> Mail:
    return Mail(frozenset(context), more)


# The name of its two templates in templates/emails → what it is written from.
MAILS: dict[str, Mail] = {
    "invitation": _mail("invitation", more=_invitation),
    "people-changed": _mail("sentence", "actor"),
    "sign-on-changed": _mail("sentence", "actor"),
    "approval-requested": _mail("what", "reason", "actor"),
    "approval-decided": _mail("sentence", "actor"),
    "address-change": _mail("target", more=_address),
    "address-changed": _mail("sentence"),
    "sign-in-changed": _mail("sentence", more=_password),
    "account-changed": _mail("sentence", "actor", more=_office),
    "staff-invitation": _mail(more=_staff),
    "recovery-announced": _mail("recovery", "sentence", more=_recovery),
    "arns-proposed": _mail("sentence"),
    "key-active": _mail("key_arn"),
    "key-suspended": _mail("sentence"),
    "key-unreachable": _mail("sentence"),
    "key-recovered": _mail("sentence"),
    "key-deletion": _mail("key_arn", "at"),
    "registration-rejected": _mail("text"),
    "test-refused": _mail("text"),
    "old-key-needed": _mail("key_arn", "role_arn", "until", "days"),
    "old-key-at-risk": _mail("why", "until"),
    "old-key-given-up": _mail("sentence"),
    "kore-needed": _mail("ticket", "code", "sentence", more=_ticket),
    "incident-opened": _mail("sentence", "incident", more=_incident),
    "incident-closed": _mail("sentence"),
}
