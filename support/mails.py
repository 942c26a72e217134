"""Which mails there are: what each is written from, and what is looked up when it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.urls import reverse
from django.utils.translation import gettext as _

from byokportal import clock, stored_sentences, words
from keys import services as key_services
from keys.models import ClosingReceipt
from support.models import Notice, Ticket, TicketMessage
from support.tickets import plain_text, signed_addresses
from tenants import services
from tenants.models import (
    INVITATION_LASTS,
    AddressChange,
    Invitation,
    OwnerRecovery,
)

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
