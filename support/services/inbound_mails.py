"""Takes the answer to a ticket that came by mail: from a gateway that signs, by the person whose address it is."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import structlog
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction

from byokportal import clock
from byokportal.errors import BodyTooLarge, DomainError
from byokportal.translation import lazy
from support.errors import InboundMailOff, MailNotSigned, MailReplayed
from support.models import InboundMail, Ticket
from support.services import tickets
from support.tickets import inbound, signed_addresses
from tenants import audit, roles, transactions
from tenants.audit import Actor
from tenants.models import Member, Tenant

log = structlog.get_logger(__name__)
LONGEST = 256 * 1024  # bytes of a raw mail; no address of ours takes more
# How far the gateway's clock may be from the database's, as Standard Webhooks has it.
TOLERANCE = timedelta(minutes=5)
DELIVERY = re.compile(r"[\x21-\x7e]{1,256}", re.ASCII)
TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)
# Mails of one person that are taken in an hour, and that are answered with what was wrong.
AN_HOUR, TAKEN, TOLD = timedelta(hours=1), 30, 5
# Tells that mails were left out; it stands below what was written.
LEFT_OUT = "({count} of the mail did not come in: a ticket takes text only. Paste a document into the text.)"
NOTHING_WRITTEN = lazy("There was no text in it above the quotation, and attachments are not taken.")
REFUSALS = frozenset({"ticket_closed", "invalid_input", "secret_pasted", "nothing_written"})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a mail.

    Attributes:
        outcome: `taken`, `refused` (the person is told why) or `dropped` (nobody is).
        why: a code; "" when it was taken.
    """

    outcome: str
    why: str = ""


def take_mail(raw: bytes, headers: Mapping[str, str]) -> Outcome:
    """Take one delivery of a mail gateway.

    Args:
        raw: the mail as it came, at most `LONGEST` bytes.
        headers: those of the request: `webhook-id`, `webhook-timestamp`, `webhook-signature`.

    Raises:
        InboundMailOff: nobody set a secret and an address.
        BodyTooLarge: before anything is read of it.
        MailNotSigned: no secret of ours signed it, or too long ago.
        MailReplayed: this delivery was taken before.
    """
    if not signed_addresses.is_on() or not signed_addresses.secrets():
        raise InboundMailOff
    if len(raw) > LONGEST:
        raise BodyTooLarge(limit=LONGEST)
    delivery = _verified(raw, headers)
    # Asked first, so that a mail that was taken is not read again; the unique key decides.
    if InboundMail.objects.filter(delivery=delivery).exists():
        raise MailReplayed
    found = inbound.read(raw)
    if isinstance(found, inbound.Dropped):
        return _keep(delivery, None, Outcome("dropped", found.why))
    who = _who(found)
    if isinstance(who, str):
        return _keep(delivery, None, Outcome("dropped", who))
    return _answer(who.tenant, who, found, delivery)


def _verified(raw: bytes, headers: Mapping[str, str]) -> str:
    """Return the digest of the delivery's id, once its signature and its time hold.

    Raises:
        MailNotSigned: they do not.
    """
    name = headers.get("webhook-id", "")
    sent = headers.get("webhook-timestamp", "")
    given = headers.get("webhook-signature", "")[:2_000].split()
    if not DELIVERY.fullmatch(name) or not TIMESTAMP.fullmatch(sent):
        raise MailNotSigned(why="A header of the signature is missing, or is not as it has to be.")
    signed = f"{name}.{sent}.".encode() + raw
    right = [b"v1," + base64.b64encode(hmac.digest(key, signed, "sha256")) for key in signed_addresses.secrets()]
    if not any(hmac.compare_digest(one, each.encode("ascii", "replace")) for one in right for each in given[:10]):
        raise MailNotSigned(why="No secret of ours made this signature.")
    if abs(clock.now().timestamp() - int(sent)) > TOLERANCE.total_seconds():
        raise MailNotSigned(why="It was signed more than five minutes ago, or ahead.")
    return hashlib.sha256(name.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class _Person:
    """Who wrote, and to which ticket."""

    ticket: Ticket
    user: User
    actor: Actor

    @property
    def tenant(self) -> Tenant:
        return self.ticket.tenant


def _who(found: inbound.InboundMail) -> _Person | str:
    """Return the person whose address it is and who wrote; else why there is none: a code.

    The thread counts where no receiver is an address of ours: some programs answer to From and not to Reply-To.
    """
    places = signed_addresses.places_in(found.receivers) or signed_addresses.places_in(found.thread)
    if not places:
        return "no_signed_address"
    users = {user.pk: user for user in get_user_model().objects.filter(pk__in={place.account for place in places})}
    for place in places:
        user = users.get(place.account)
        if user is None or not user.is_active or user.email.lower() != found.sender:
            continue
        ticket = Ticket.objects.select_related("tenant", "merged_into").filter(pk=place.ticket).first()
        if ticket is None:
            continue
        actor = _actor(user, ticket)
        if actor is not None:
            return _Person(ticket, user, actor)
    return "not_the_person"


def _actor(user: User, ticket: Ticket) -> Actor | None:
    member = Member.objects.of(ticket.tenant).filter(user=user).select_related("user", "tenant").first()
    if member is not None:
        actor = Actor.of_member(member, via=roles.MAIL)
    elif user.is_staff:
        actor = dataclasses.replace(Actor.staff(user), via=roles.MAIL)
    else:
        return None
    return actor if roles.allowed(actor, "support.answer_ticket", ticket.tenant) else None


@transactions.atomic
def _answer(tenant: Tenant, who: _Person, found: inbound.InboundMail, delivery: str) -> Outcome:
    """Add the message, or write down why not and tell the person; in one transaction with the row of the delivery."""
    recent = InboundMail.objects.filter(user=who.user, at__gt=clock.now() - AN_HOUR)
    outcomes = list(recent.values_list("outcome", flat=True)[: TAKEN + 1])
    if len(outcomes) > TAKEN:
        return _keep(delivery, who, Outcome("dropped", "too_many"))
    message = ""
    if found.message_id:
        named = f"{who.ticket.pk} {who.user.pk} {found.message_id}"
        message = hashlib.sha256(named.encode()).hexdigest()
        if InboundMail.objects.filter(message=message).exists():
            return _keep(delivery, who, Outcome("dropped", "twice"))
    text = found.text
    if not text:
        return _refuse(delivery, who, "nothing_written", NOTHING_WRITTEN, outcomes)
    if found.attachments:
        parts = "1 attachment" if found.attachments == 1 else f"{found.attachments} attachments"
        text = f"{text}\n\n{LEFT_OUT.format(count=parts)}"
    try:
        with transaction.atomic():
            tickets.answer_ticket(who.ticket, text=text, mail_id=found.message_id, actor=who.actor)
    except DomainError as error:
        if error.code not in REFUSALS:
            raise
        sentences = " ".join(sentence for several in error.errors.values() for sentence in several)
        return _refuse(delivery, who, error.code, sentences or str(error), outcomes)
    return _keep(delivery, who, Outcome("taken"), message=message)


def _refuse(delivery: str, who: _Person, why: str, sentence: str, recent: list[str]) -> Outcome:
    """Refuse a mail, and tell its writer why a few times an hour at most: two programs cannot keep writing for ever."""
    told = sum(outcome == "refused" for outcome in recent)
    outcome = _keep(delivery, who, Outcome("refused", why))
    if told < TOLD:
        audit.record(
            "support.mail.refused",
            tenant=who.tenant,
            actor=who.actor,
            target=tickets.current(who.ticket),
            why=sentence,
            subject=who.ticket.subject,
            email=who.user.email,
        )
    return outcome


def _keep(delivery: str, who: _Person | None, outcome: Outcome, *, message: str = "") -> Outcome:
    """Write down what became of a delivery.

    Raises:
        MailReplayed: another request was faster.
    """
    try:
        with transaction.atomic():
            InboundMail.objects.create(
                delivery=delivery,
                message=message,
                ticket=who.ticket if who else None,
                user=who.user if who else None,
                outcome=outcome.outcome,
            )
    except IntegrityError:
        raise MailReplayed from None
    log.info("mail_came_in", outcome=outcome.outcome, why=outcome.why, ticket=str(who.ticket.pk) if who else "")
    return outcome
