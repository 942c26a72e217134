"""A raw mail → who wrote, to which of our addresses, what; or why it is dropped. Pure, bounded, and it never fails.

Sources: RFC 5322 (mails), RFC 2045 to 2047 (MIME), RFC 3834 (automatic responses), RFC 3464 (reports of delivery).
"""

from __future__ import annotations

import binascii
import email
import email.errors
import email.header
import email.policy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message

from support.tickets import plain_text

# Parts of a mail, levels of them, characters of a header, and lines of headers that are read.
PARTS, DEPTH, HEADER, HEADERS = 50, 8, 10_000, 500
BODY = 60_000  # characters of text
FROM = re.compile(r"(?:[^<>,;:]*<)?\s*([A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,253})\s*>?", re.ASCII)
QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
MESSAGE_ID = re.compile(r"<[\x21-\x3b\x3d\x3f-\x7e]{1,240}>", re.ASCII)
RECEIVERS = ("To", "Cc", "Delivered-To", "X-Original-To", "Envelope-To", "X-Envelope-To", "X-Forwarded-To")
THREAD = ("In-Reply-To", "References")
AUTOMATIC_PRECEDENCE = frozenset({"bulk", "junk", "list", "auto_reply"})
AUTOMATIC_HEADERS = (
    "X-Autoreply", "X-Autorespond", "X-Auto-Reply-From", "X-Failed-Recipients", "List-Id", "List-Unsubscribe",
    "Feedback-ID", "X-Mailer-Daemon",
)  # fmt: skip
ROBOTS = re.compile(r"(?:mailer-daemon|postmaster|no-?reply|do-?not-?reply|bounces?|auto-?reply)(?:[+=.-].*)?@", re.I)
ABSENT = re.compile(
    r"\s*(?:out of (?:the )?office|automatic reply|auto(?:matic)?[- ]?(?:reply|response)|autoreply|automatische antwort"
    r"|abwesenheits(?:notiz|mail|nachricht)|abwesend|réponse automatique|undeliver(?:ed|able)|delivery status"
    r"|mail delivery (?:failed|subsystem)|returned mail|unzustellbar)",
    re.IGNORECASE,
)
# What a parser of the standard library has been seen to raise for a mail that nobody's program wrote.
UNREADABLE = (
    ValueError, LookupError, TypeError, AttributeError, RecursionError, binascii.Error, email.errors.MessageError,
    AssertionError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class InboundMail:
    """What was read of a mail.

    Attributes:
        sender: the address of From, in lower case.
        receivers: the headers that may name one of our addresses.
        thread: the headers that name earlier mails.
        message_id: "" where it has none that could stand in a header of ours.
        text: what was written, without what it quotes; "" where nothing was.
        attachments: how many parts were not taken.
    """

    sender: str
    receivers: str
    thread: str
    message_id: str
    text: str
    attachments: int


@dataclass(frozen=True, slots=True)
class Dropped:
    """Why nothing is done with a mail: a code."""

    why: str


def read(raw: bytes) -> InboundMail | Dropped:
    """Return what a mail says.

    Args:
        raw: the mail as it came, headers and body; the caller bounds it.
    """
    if raw.lower().count(b"boundary") > PARTS or raw[:200_000].count(b"\n") == 0:
        return Dropped("unreadable")
    try:
        message = email.message_from_bytes(raw, policy=email.policy.compat32)
        return _read(message)
    except UNREADABLE:
        return Dropped("unreadable")


def _read(message: Message) -> InboundMail | Dropped:
    if len(message.keys()) > HEADERS:
        return Dropped("unreadable")
    sender = _sender(message)
    if not sender:
        return Dropped("no_sender")
    if is_automatic(message, sender):
        return Dropped("automatic")
    plain, html, attachments = "", "", 0
    for part in _parts(message):
        kind = part.get_content_type()
        is_text = kind in {"text/plain", "text/html"} and not part.get_filename()
        if not is_text or part.get_content_disposition() == "attachment":
            attachments += 1
        elif kind == "text/plain":
            plain = f"{plain}\n{_text(part)}" if plain else _text(part)
        elif not html:
            html = _text(part)
    text = plain_text.without_control(plain)
    if not text.strip() and html:
        text = plain_text.of_html(plain_text.without_control(html))
    return InboundMail(
        sender=sender,
        receivers="\n".join(_all(message, *RECEIVERS)),
        thread="\n".join(_all(message, *THREAD)),
        message_id=_message_id(message),
        text=plain_text.without_quotation(text[:BODY]),
        attachments=attachments,
    )


def is_automatic(message: Message, sender: str) -> bool:
    """Tell whether a machine wrote it: an answer would be answered for ever, and a bounce is for nobody."""
    submitted = _one(message, "Auto-Submitted").partition(";")[0].strip().lower()
    if submitted not in {"", "no"} or any(message.get(name) is not None for name in AUTOMATIC_HEADERS):
        return True
    if _one(message, "Precedence").strip().lower() in AUTOMATIC_PRECEDENCE:
        return True
    if any(path.strip() in {"<>", ""} for path in _all(message, "Return-Path")):
        return True
    if message.get_content_type() == "multipart/report" or ROBOTS.match(sender):
        return True
    return bool(ABSENT.match(_decoded(_one(message, "Subject"))))


def _sender(message: Message) -> str:
    """Return the one address of From; "" where there are several of them, or something else than an address."""
    found = _all(message, "From")
    if len(found) != 1:
        return ""
    match = FROM.fullmatch(QUOTED.sub("", found[0]).strip())
    return match[1].lower() if match else ""


def _parts(message: Message) -> Iterator[Message]:
    """Yield the parts that are not made of others, in their order; a mail within the mail is one part.

    Raises:
        ValueError: there are more of them than anybody writes.
    """
    waiting, seen = [(message, 0)], 0
    while waiting:
        part, depth = waiting.pop()
        seen += 1
        if seen > PARTS or depth > DEPTH:
            raise ValueError("more parts than a mail of a person has")
        payload = part.get_payload()
        if part.get_content_maintype() == "multipart" and isinstance(payload, list):
            waiting += [(one, depth + 1) for one in reversed(payload) if isinstance(one, Message)]
        else:
            yield part


def _text(part: Message) -> str:
    payload = part.get_payload(decode=True)
    if not isinstance(payload, bytes):
        return ""
    try:
        return payload.decode(part.get_content_charset() or "utf-8", "replace")[:BODY]
    except (LookupError, ValueError):
        return payload.decode("utf-8", "replace")[:BODY]


def _all(message: Message, *names: str) -> list[str]:
    """Return the values of these headers, unfolded and bounded."""
    found = [value for name in names for value in message.get_all(name, [])]
    return [re.sub(r"[\r\n\t]+", " ", str(value))[:HEADER] for value in found[:HEADERS]]


def _one(message: Message, name: str) -> str:
    return next(iter(_all(message, name)), "")


def _decoded(text: str) -> str:
    try:
        parts = email.header.decode_header(text[:1000])
        return "".join(
            part.decode(charset or "ascii", "replace") if isinstance(part, bytes) else part for part, charset in parts
        )
    except UNREADABLE:
        return text


def _message_id(message: Message) -> str:
    found = MESSAGE_ID.search(_one(message, "Message-ID"))
    return found[0] if found else ""
