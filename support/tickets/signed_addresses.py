"""The address by which one person answers one ticket: it names both and carries a MAC, so that nobody can make one.

Layout of what stands behind the plus, in base32 without padding, in lower case: ticket (16 bytes), id of the account
(5 bytes), the first 11 bytes of HMAC-SHA-256. Case does not count, because mail servers change it. With a local part of
at most eleven characters before the plus the whole stays below the 64 characters of RFC 5321, 4.5.3.1.1.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import uuid
from collections.abc import Iterator
from typing import NamedTuple

from django.conf import settings

LABEL = b"byok ticket address v1:"
ACCOUNT_BYTES, MAC_BYTES = 5, 11
LENGTH = 52  # characters of base32
WORD = re.compile(r"[a-z2-7]{52}", re.ASCII)
# More addresses than that stand in no mail that a person answers.
MOST = 50


class Place(NamedTuple):
    """Whose answer to what an address is for: a ticket, and the id of an account."""

    ticket: uuid.UUID
    account: int


def is_on() -> bool:
    """Tell whether answers by mail are taken."""
    return bool(settings.INBOUND_MAIL_SECRETS and settings.INBOUND_MAIL_ADDRESS)


def secrets() -> list[bytes]:
    """Return the secrets, the one that signs first; what cannot be read is none (`byokportal.checks` says so)."""
    found = []
    for text in settings.INBOUND_MAIL_SECRETS:
        try:
            found.append(base64.b64decode(text.removeprefix("whsec_"), validate=True))
        except (binascii.Error, ValueError):
            continue
    return found


def address(place: Place) -> str:
    """Return the address by which this person answers this ticket."""
    local, _, domain = settings.INBOUND_MAIL_ADDRESS.partition("@")
    return f"{local}+{word(place)}@{domain}"


def word(place: Place) -> str:
    """Return the signed word of an address, which stands in our Message-IDs too."""
    named = _named(place)
    return base64.b32encode(named + _mac(secrets()[0], named)).decode().rstrip("=").lower()


def message_id(place: Place, number: int) -> str:
    """Return the Message-ID of a mail about one message of the ticket to this person."""
    return f"<{word(place)}.{number}@{settings.INBOUND_MAIL_ADDRESS.partition('@')[2]}>"


def thread_id(ticket: uuid.UUID) -> str:
    """Return the id that all mails of a ticket refer to, so that mail programs show them together."""
    return f"<ticket.{ticket}@{settings.INBOUND_MAIL_ADDRESS.partition('@')[2]}>"


def places_in(text: str) -> list[Place]:
    """Return what the addresses, or Message-IDs, of ours in a text are for; of those that nobody made none.

    Args:
        text: the headers of a mail that name receivers, or other mails; bounded.
    """
    found: list[Place] = []
    for place in _candidates(text.lower()):
        if place not in found:
            found.append(place)
    return found


def _candidates(text: str) -> Iterator[Place]:
    local, _, domain = settings.INBOUND_MAIL_ADDRESS.lower().partition("@")
    ours = re.compile(
        rf"(?:{re.escape(local)}\+|<)([a-z2-7]{{52}})(?:\.[0-9]{{1,19}})?@{re.escape(domain)}(?![a-z0-9.-])"
    )
    for number, match in enumerate(ours.finditer(text)):
        if number == MOST:
            return
        place = read(match[1])
        if place is not None:
            yield place


def read(text: str) -> Place | None:
    """Return what a signed word is for; None: none of ours made it."""
    if not WORD.fullmatch(text):
        return None
    raw = base64.b32decode(text.upper() + "=" * (-LENGTH % 8))
    named, mac = raw[:-MAC_BYTES], raw[-MAC_BYTES:]
    if not any(hmac.compare_digest(_mac(key, named), mac) for key in secrets()):
        return None
    return Place(uuid.UUID(bytes=named[:16]), int.from_bytes(named[16:], "big"))


def _named(place: Place) -> bytes:
    return place.ticket.bytes + place.account.to_bytes(ACCOUNT_BYTES, "big")


def _mac(key: bytes, named: bytes) -> bytes:
    return hmac.digest(key, LABEL + named, "sha256")[:MAC_BYTES]
