"""Answers to tickets by mail: what the gateway may send, who may write, and what becomes of hostile mails."""

from __future__ import annotations

import base64
import hmac
import json
import re
import uuid
from collections.abc import Callable
from datetime import timedelta
from email.message import EmailMessage
from typing import Any

import pytest
import time_machine
from conftest import acting, acting_staff, invited
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.core import mail
from django.test import Client
from django.utils import translation
from django.utils.translation import gettext
from hypothesis import given, settings
from hypothesis import strategies as st

from byokportal import clock
from support import follow, notices, services
from support.models import InboundMail, Notice, Ticket, TicketMessage
from support.tickets import inbound, plain_text, signed_addresses
from support.tickets.signed_addresses import Place
from tenants import audit
from tenants import services as tenant_services
from tenants.models import AuditEvent, Member, Role

SECRET = "whsec_" + base64.b64encode(b"a secret of tests, 32 bytes long").decode()
OLD = "whsec_" + base64.b64encode(b"another one that was used before").decode()
URL = "/api/inbound/mail"
ALICE, SAM = "alice@acme.example", "sam@kore.example"


@pytest.fixture(autouse=True)
def _on(settings: Any) -> None:
    settings.INBOUND_MAIL_SECRETS = [SECRET, OLD]
    settings.INBOUND_MAIL_ADDRESS = "reply@byok.example"


@pytest.fixture
def ticket(alice: Member) -> Ticket:
    return services.open_ticket(
        alice.tenant, topic="question", subject="Which Region?", text="Ours?", actor=acting(alice)
    )


def signed(raw: bytes, *, name: str = "", at: int = 0, secret: str = SECRET) -> dict[str, str]:
    name, sent = name or str(uuid.uuid4()), str(at or int(clock.now().timestamp()))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    mac = hmac.digest(key, f"{name}.{sent}.".encode() + raw, "sha256")
    return {
        "webhook-id": name,
        "webhook-timestamp": sent,
        "webhook-signature": f"v1,{base64.b64encode(mac).decode()}",
    }


def post(raw: bytes, headers: dict[str, str] | None = None) -> Any:
    return Client().post(URL, raw, content_type="message/rfc822", headers=signed(raw) if headers is None else headers)


def to(ticket: Ticket, user: User) -> str:
    return signed_addresses.address(Place(ticket.pk, user.pk))


def letter(ticket: Ticket, user: User, text: str = "It is eu-west-1.", **headers: str) -> bytes:
    """Return a mail of this person, as their program writes it."""
    message = EmailMessage()
    message["From"] = headers.pop("From", f"A Person <{user.email}>")
    message["To"] = headers.pop("To", to(ticket, user))
    message["Subject"] = headers.pop("Subject", "Re: Which Region?")
    message["Message-ID"] = headers.pop("message_id", f"<{uuid.uuid4()}@acme.example>")
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    message.set_content(text)
    return message.as_bytes()


# --- it works ------------------------------------------------------------------------------------------------------


def test_a_mail_is_the_persons_message_and_it_is_our_turn(ticket: Ticket, alice: Member, sam: User) -> None:
    services.answer_ticket(ticket, text="Any of them.", actor=acting_staff(sam))
    answer = post(
        letter(ticket, alice.user, "Then eu-west-1.\n\nOn Fri, 27 Nov 2026, Kore.ai wrote:\n> Any of them.\n")
    )
    assert (answer.status_code, answer.json()) == (200, {"outcome": "taken", "why": ""})
    ticket.refresh_from_db()
    last = ticket.messages.last()
    assert (last.text, last.author) == ("Then eu-west-1.", f"member:{ALICE}")
    assert ticket.status == Ticket.Status.WAITING_FOR_KORE
    line = AuditEvent.objects.filter(name="support.ticket.answered").latest("pk")
    assert json.loads(line.payload)["via"] == "mail"


def test_our_mail_carries_the_address_and_the_answer_threads(ticket: Ticket, alice: Member, sam: User) -> None:
    follow.follow()
    post(letter(ticket, alice.user, "More of it.", message_id="<first@acme.example>"))
    services.answer_ticket(ticket, text="Any of them.", actor=acting_staff(sam))
    follow.follow()
    mail.outbox.clear()
    notices.send_due()
    (sent,) = [one for one in mail.outbox if one.to == [ALICE] and "written" in one.subject]
    assert sent.reply_to == [to(ticket, alice.user)]
    assert sent.extra_headers["In-Reply-To"] == "<first@acme.example>"
    assert sent.extra_headers["Auto-Submitted"] == "auto-generated"
    assert "Any of them." in sent.body and plain_text.MARKER in sent.body
    assert "You can also answer this mail" in sent.body
    # A program that answers to From, and quotes all of it, finds the way by the thread.
    quoted = "\n".join(f"> {line}" for line in sent.body.splitlines())
    raw = letter(
        ticket,
        alice.user,
        f"Thanks.\n{quoted}",
        To="byok@kore.example",
        In_Reply_To=sent.extra_headers["Message-ID"],
    )
    assert post(raw).json()["outcome"] == "taken"
    assert ticket.messages.last().text == "Thanks."


def test_where_no_mails_are_taken_ours_is_a_link(ticket: Ticket, alice: Member, sam: User, settings: Any) -> None:
    settings.INBOUND_MAIL_SECRETS = []
    services.answer_ticket(ticket, text="Any of them.", actor=acting_staff(sam))
    follow.follow()
    notices.send_due()
    (sent,) = [one for one in mail.outbox if one.to == [ALICE] and "written" in one.subject]
    assert str(ticket.pk) in sent.body and not sent.reply_to
    for words in ("Any of them.", "answer this mail", plain_text.MARKER):
        assert words not in sent.body


def test_in_german_our_line_is_german_and_what_is_below_it_is_ours_too(
    ticket: Ticket, alice: Member, sam: User
) -> None:
    tenant_services.choose_language(alice.user, "de")
    services.answer_ticket(ticket, text="Any of them.", actor=acting_staff(sam))
    follow.follow()
    notices.send_due()
    sent = [one for one in mail.outbox if one.to == [ALICE]][-1]
    assert "Sie können auch auf diese E-Mail antworten" in sent.body and plain_text.MARKERS[1] in sent.body
    assert post(letter(ticket, alice.user, f"Danke.\n{sent.body}")).json()["outcome"] == "taken"
    assert ticket.messages.last().text == "Danke."
    post(letter(ticket, alice.user, "> only quoted"))
    follow.follow()
    notices.send_due()
    refused = mail.outbox[-1]
    assert refused.subject.startswith("Ihre E-Mail wurde nicht angenommen") and "kein Text" in refused.body


def test_our_line_is_known_in_every_language() -> None:
    for code, _name in django_settings.LANGUAGES:
        with translation.override(code):
            assert gettext(plain_text.MARKER) in plain_text.MARKERS


def test_our_person_answers_by_mail_and_hears_of_what_the_tenant_writes(
    ticket: Ticket, alice: Member, sam: User
) -> None:
    services.assign_ticket(ticket, to=sam, actor=acting_staff(sam))
    services.answer_ticket(ticket, text="Please hurry.", actor=acting(alice))
    follow.follow()
    notices.send_due()
    sent = [one for one in mail.outbox if one.to == [SAM]][-1]
    assert "Please hurry." in sent.body and sent.reply_to == [to(ticket, sam)]
    assert post(letter(ticket, sam, "We do.")).json()["outcome"] == "taken"
    ticket.refresh_from_db()
    assert (ticket.messages.last().author, ticket.status) == (f"kore:{SAM}", "waiting_for_tenant")
    assert ticket.first_answered_at is not None


def test_the_secret_before_still_counts_and_a_changed_case_too(ticket: Ticket, alice: Member) -> None:
    raw = letter(ticket, alice.user, To=to(ticket, alice.user).upper())
    assert post(raw, signed(raw, secret=OLD)).json()["outcome"] == "taken"


def test_an_answer_to_a_merged_ticket_goes_where_the_conversation_is(ticket: Ticket, alice: Member, sam: User) -> None:
    other = services.open_ticket(alice.tenant, topic="question", subject="Other", text="t", actor=acting(alice))
    services.merge_ticket(ticket, into=other, reason="the same", actor=acting_staff(sam))
    assert post(letter(ticket, alice.user, "Still open?")).json()["outcome"] == "taken"
    assert other.messages.last().text == "Still open?"


# --- what the gateway may not ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"webhook-signature": ""}, 401, "mail_not_signed"),
        ({"webhook-signature": "v1,AAAA"}, 401, "mail_not_signed"),
        ({"webhook-signature": "v1,\xe4"}, 401, "mail_not_signed"),
        ({"webhook-id": ""}, 401, "mail_not_signed"),
        ({"webhook-id": "another"}, 401, "mail_not_signed"),
        ({"webhook-timestamp": "soon"}, 401, "mail_not_signed"),
        ({"webhook-timestamp": "99999999999999"}, 401, "mail_not_signed"),
        ({"webhook-timestamp": ""}, 401, "mail_not_signed"),
    ],
)
def test_what_is_not_signed_is_refused(
    ticket: Ticket, alice: Member, change: dict[str, str], status: int, code: str
) -> None:
    raw = letter(ticket, alice.user)
    answer = post(raw, signed(raw) | change)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert not InboundMail.objects.exists()


@pytest.mark.parametrize(("seconds", "status"), [(-300, 200), (300, 200), (-301, 401), (301, 401), (-86_400, 401)])
def test_what_was_signed_long_ago_or_ahead_is_refused(ticket: Ticket, alice: Member, seconds: int, status: int) -> None:
    with time_machine.travel(int(clock.now().timestamp()), tick=False):
        raw = letter(ticket, alice.user)
        stale = signed(raw, at=int(clock.now().timestamp()) + seconds)
        assert post(raw, stale).status_code == status


def test_another_body_or_secret_is_refused(ticket: Ticket, alice: Member) -> None:
    raw = letter(ticket, alice.user)
    assert post(raw + b"x", signed(raw)).status_code == 401
    other = "whsec_" + base64.b64encode(b"nobody here knows this secret...").decode()
    assert post(raw, signed(raw, secret=other)).status_code == 401


def test_a_delivery_is_taken_once_and_a_mail_once(ticket: Ticket, alice: Member) -> None:
    raw = letter(ticket, alice.user)
    headers = signed(raw)
    assert post(raw, headers).status_code == 200
    again = post(raw, headers)
    assert (again.status_code, again.json()["code"]) == (409, "mail_replayed")
    assert post(raw).json() == {"outcome": "dropped", "why": "twice"}
    assert ticket.messages.count() == 2


def test_a_mail_that_is_too_long_is_refused_and_other_methods_too(ticket: Ticket, alice: Member) -> None:
    raw = letter(ticket, alice.user) + b"x" * (256 * 1024)
    assert post(raw).status_code == 413
    assert Client().get(URL).status_code == 405


@pytest.mark.parametrize(
    "off", [{"INBOUND_MAIL_SECRETS": []}, {"INBOUND_MAIL_ADDRESS": ""}, {"INBOUND_MAIL_SECRETS": ["not base64"]}]
)
def test_without_its_settings_there_is_nothing(ticket: Ticket, alice: Member, settings: Any, off: Any) -> None:
    raw = letter(ticket, alice.user)
    for name, value in off.items():
        setattr(settings, name, value)
    assert post(raw).status_code == 404


# --- who may not ---------------------------------------------------------------------------------------------------


def test_nobody_writes_by_the_address_of_somebody_else(
    ticket: Ticket, alice: Member, bob: Member, mallory: Member, sam: User
) -> None:
    for writer in (bob.user, mallory.user, sam):
        raw = letter(ticket, alice.user, From=writer.email)
        assert post(raw).json() == {"outcome": "dropped", "why": "not_the_person"}
    # One's own address for a ticket of another organisation, as if ours had made it.
    assert post(letter(ticket, mallory.user)).json() == {"outcome": "dropped", "why": "not_the_person"}
    assert ticket.messages.count() == 1 and not Notice.objects.filter(template="ticket-mail-refused").exists()


def test_who_left_or_was_switched_off_writes_nothing_more(ticket: Ticket, alice: Member, sam: User) -> None:
    carol = invited(alice.tenant, "carol@acme.example", Role.ADMIN)
    raw = letter(ticket, carol.user)
    tenant_services.remove_member(carol, reason="left", actor=acting(alice))
    assert post(raw).json()["why"] == "not_the_person"
    User.objects.filter(pk=sam.pk).update(is_active=False)
    assert post(letter(ticket, sam)).json()["why"] == "not_the_person"


def test_staff_without_the_permission_and_a_ticket_that_is_not_there(ticket: Ticket, alice: Member) -> None:
    visitor = User.objects.create_user("visitor@kore.example", "visitor@kore.example", is_staff=True)
    assert post(letter(ticket, visitor)).json()["why"] == "not_the_person"
    nowhere = signed_addresses.address(Place(uuid.uuid4(), alice.user.pk))
    assert post(letter(ticket, alice.user, To=nowhere)).json()["why"] == "not_the_person"


# --- hostile and odd mails -------------------------------------------------------------------------------------------

Make = Callable[[Ticket, User], bytes]


def _flipped(ticket: Ticket, user: User) -> bytes:
    address = to(ticket, user)
    at = address.index("+") + 20
    return letter(ticket, user, To=address[:at] + ("a" if address[at] != "a" else "b") + address[at + 1 :])


def _raw(text: str) -> Make:
    """Return a maker of a mail whose headers a program would not write."""

    def make(ticket: Ticket, user: User) -> bytes:
        return (text.replace("{to}", to(ticket, user)).replace("{from}", user.email).replace("\n", "\r\n")).encode(
            "utf-8", "surrogateescape"
        )

    return make


def _head(**headers: str) -> Make:
    return lambda ticket, user: letter(ticket, user, **headers)


HEAD = "From: {from}\nTo: {to}\nMessage-ID: <x@y>\n"
HOSTILE: dict[str, tuple[Make, str]] = {
    "a changed address": (_flipped, "no_signed_address"),
    "no address of ours": (_head(To="support@byok.example"), "no_signed_address"),
    "our domain as a part of another": (
        lambda t, u: letter(t, u, To=to(t, u) + ".evil.example"),
        "no_signed_address",
    ),
    "two senders": (_raw("From: {from}, eve@evil.example\nTo: {to}\n\nhi\n"), "no_sender"),
    "two From": (_raw("From: {from}\nFrom: eve@evil.example\nTo: {to}\n\nhi\n"), "no_sender"),
    "no From": (_raw("To: {to}\n\nhi\n"), "no_sender"),
    "the person in the name only": (_raw('From: "{from}" <eve@evil.example>\nTo: {to}\n\nhi\n'), "not_the_person"),
    "the person in a comment": (_raw("From: eve@evil.example ({from})\nTo: {to}\n\nhi\n"), "no_sender"),
    "an encoded sender": (_raw("From: =?utf-8?q?alice=40acme.example?= <eve@evil.example>\nTo: {to}\n\nx\n"),
                          "not_the_person"),
    "a group": (_raw("From: friends: {from};\nTo: {to}\n\nhi\n"), "no_sender"),
    "an answer of a program": (_head(Auto_Submitted="auto-replied"), "automatic"),
    "our own mail that comes back": (_head(Auto_Submitted="auto-generated (x); y"), "automatic"),
    "bulk": (_head(Precedence="bulk"), "automatic"),
    "a list": (_head(List_Id="<l.acme.example>"), "automatic"),
    "a bounce": (_head(Return_Path="<>"), "automatic"),
    "a failure": (_head(X_Failed_Recipients="a@b.example"), "automatic"),
    "away": (_head(Subject="Out of Office: Re: x"), "automatic"),
    "away, in German": (_head(Subject="=?utf-8?q?Automatische_Antwort=3A_x?="), "automatic"),
    "away, in our words": (_head(X_Autoreply="yes"), "automatic"),
    "the server": (_head(From="MAILER-DAEMON@acme.example"), "automatic"),
    "nobody reads it": (_head(From="no-reply@acme.example"), "automatic"),
    "a report": (_raw(HEAD + 'Content-Type: multipart/report; boundary="b"\n\n--b\n\nx\n--b--\n'), "automatic"),
    "no line": (lambda t, u: b"\xff" * 100, "unreadable"),
    "nothing": (lambda t, u: b"", "unreadable"),
    "only bytes": (lambda t, u: bytes(range(256)) * 20, "no_sender"),
    "a hundred boundaries": (_raw(HEAD + "\n" + "boundary\n" * 100), "unreadable"),
    "deep parts": (
        _raw(
            HEAD
            + "".join(f'Content-Type: multipart/mixed; boundary="b{n}"\n\n--b{n}\n' for n in range(20))
            + "Content-Type: text/plain\n\nhi\n"
        ),
        "unreadable",
    ),
    "many parts": (
        _raw(HEAD + 'Content-Type: multipart/mixed; boundary="b"\n\n' + "--b\n\nx\n" * 200 + "--b--\n"),
        "unreadable",
    ),
    "a thousand headers": (_raw(HEAD + "".join(f"X-{n}: y\n" for n in range(1000)) + "\nhi\n"), "unreadable"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_mail_changes_nothing_and_nobody_hears_of_it(name: str, ticket: Ticket, alice: Member) -> None:
    make, why = HOSTILE[name]
    answer = post(make(ticket, alice.user))
    assert (answer.status_code, answer.json()) == (200, {"outcome": "dropped", "why": why})
    assert ticket.messages.count() == 1
    follow.follow()
    assert not Notice.objects.filter(template="ticket-mail-refused").exists()


def _html(html: str) -> Make:
    return _raw(HEAD + "Content-Type: text/html; charset=utf-8\n\n" + html)


TAKEN: dict[str, tuple[Make, str]] = {
    "no charset that there is": (_raw(HEAD + "Content-Type: text/plain; charset=x-nothing\n\nGrüße\n"), "Grüße"),
    "a codec that is none": (_raw(HEAD + "Content-Type: text/plain; charset=zlib\n\nhi\n"), "hi"),
    "broken base64": (_raw(HEAD + "Content-Transfer-Encoding: base64\n\naGk=!!!\n"), "hi"),
    "an unknown encoding": (_raw(HEAD + "Content-Transfer-Encoding: x-none\n\nhi\n"), "hi"),
    "no end of the parts": (_raw(HEAD + 'Content-Type: multipart/mixed; boundary="b"\n\n--b\n\nhi\n'), "hi"),
    "control characters": (_raw(HEAD + "\nh\x00i\x07\u202e there\n"), "hi there"),
    "HTML only": (_html("<style>p{}</style><p>Hello&nbsp;you,</p><p>a &lt;b&gt;<br>c</p>"), "Hello you,\n\na <b>\nc"),
    "HTML with a script": (_html("<script>alert(1)</script>hi<div hidden>unseen</div>"), "hi"),
    "HTML with a quotation": (_html('<p>Yes.</p><div class="gmail_quote">On … wrote: <p>No?</p></div>'), "Yes."),
    "HTML that never ends": (_html("<p>hi</p>" + "<!--" * 9000), "hi"),
    "HTML of brackets": (_html("hi" + "<" * 60_000), "hi"),
    "two texts": (
        _raw(
            HEAD
            + 'Content-Type: multipart/alternative; boundary="b"\n\n--b\n\nhi\n--b\nContent-Type: text/html\n\n'
            "<p>other</p>\n--b--\n"
        ),
        "hi",
    ),
    "a signature": (_raw(HEAD + "\nhi\n-- \nAlice\nAcme\n"), "hi"),
    "Outlook": (_raw(HEAD + "\nhi\n\nFrom: Kore.ai\nSent: today\nTo: me\nSubject: x\n\nold\n"), "hi"),
    "Outlook in German": (_raw(HEAD + "\nhi\n\nVon: Kore.ai\nGesendet: heute\nAn: mich\n\nalt\n"), "hi"),
    "an introduction over two lines": (_raw(HEAD + "\nhi\nAm 27. Nov. 2026 um 10:00\nschrieb Kore.ai:\n> x\n"), "hi"),
    "an original message": (_raw(HEAD + "\nhi\n-----Original Message-----\nold\n"), "hi"),
    "our line": (_raw(HEAD + f"\nhi\n> -- {plain_text.MARKER} --\n> old\n"), "hi"),
    "a quotation between what is new": (_raw(HEAD + "\n> No?\nYes.\n"), "> No?\nYes."),
    "From in a sentence": (_raw(HEAD + "\nFrom: here it works\nnot there\n"), "From: here it works\nnot there"),
    "a name with a comma": (_raw('From: "Doe, A" <{from}>\nTo: {to}\n\nhi\n'), "hi"),
    "a Message-ID that would break a header": (_raw("From: {from}\nTo: {to}\nMessage-ID: <a\n b@c>\n\nhi\n"), "hi"),
    "markup": (_raw(HEAD + "\n<b>hi</b>\n"), "<b>hi</b>"),
}  # fmt: skip


@pytest.mark.parametrize("name", TAKEN)
def test_an_odd_mail_is_read_as_a_person_reads_it(name: str, ticket: Ticket, alice: Member) -> None:
    make, text = TAKEN[name]
    answer = post(make(ticket, alice.user))
    assert (answer.status_code, answer.json()["outcome"]) == (200, "taken")
    said = ticket.messages.last().text
    assert said.startswith(text) if name == "HTML of brackets" or name == "HTML that never ends" else said == text


def test_attachments_do_not_come_in_and_the_ticket_says_so(ticket: Ticket, alice: Member) -> None:
    message = EmailMessage()
    message["From"], message["To"] = ALICE, to(ticket, alice.user)
    message.set_content("See the policy.")
    message.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="../../policy.pdf")
    assert post(message.as_bytes()).json()["outcome"] == "taken"
    assert ticket.messages.last().text.startswith("See the policy.\n\n(1 attachment of the mail did not come in")


@pytest.mark.parametrize(
    ("text", "why", "told"),
    [
        ("x" * 10_001, "invalid_input", "10,001 characters"),
        (f"It is {'AKIA'}IOSFODNN7EXAMPLE wJalrXUtnFEMI/K7MDENG/" + "bPxRfiCYEXAMPLEKEY", "secret_pasted", "secret"),
        ("> only quoted", "nothing_written", "no text"),
    ],
)
def test_a_mail_that_cannot_be_taken_is_answered_to_its_person(
    ticket: Ticket, alice: Member, text: str, why: str, told: str
) -> None:
    assert post(letter(ticket, alice.user, text)).json() == {"outcome": "refused", "why": why}
    follow.follow()
    notices.send_due()
    (sent,) = [one for one in mail.outbox if "did not come in" in one.subject]
    assert sent.to == [ALICE] and told in sent.body and "EXAMPLEKEY" not in sent.body
    assert "EXAMPLEKEY" not in str(list(AuditEvent.objects.values_list("payload", flat=True)))
    assert ticket.messages.count() == 1


def test_a_closed_ticket_says_so_a_few_times_and_no_more(ticket: Ticket, alice: Member) -> None:
    services.close_ticket(ticket, reason="answered", actor=audit.SYSTEM)
    for _ in range(8):
        assert post(letter(ticket, alice.user)).json() == {"outcome": "refused", "why": "ticket_closed"}
    follow.follow()
    assert Notice.objects.filter(template="ticket-mail-refused").count() == 5


def test_a_person_writes_thirty_mails_an_hour(ticket: Ticket, alice: Member) -> None:
    InboundMail.objects.bulk_create(
        InboundMail(delivery=str(number), user=alice.user, ticket=ticket, outcome="taken") for number in range(31)
    )
    assert post(letter(ticket, alice.user)).json() == {"outcome": "dropped", "why": "too_many"}
    InboundMail.objects.update(at=clock.now() - timedelta(hours=2))
    assert post(letter(ticket, alice.user)).json()["outcome"] == "taken"


# --- what must never happen -------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(raw=st.binary(max_size=2_000), head=st.sampled_from([b"", b"From: a@b.example\n", b"From: a@b.example\n\n"]))
def test_no_bytes_make_the_reader_fail(raw: bytes, head: bytes) -> None:
    found = inbound.read(head + raw)
    assert isinstance(found, inbound.Dropped | inbound.InboundMail)


@settings(max_examples=150, deadline=None)
@given(text=st.text(max_size=500), html=st.text(alphabet="<>!-/=ab\"' &;#x", max_size=500))
def test_no_text_makes_the_cutting_fail_or_grow(text: str, html: str) -> None:
    assert len(plain_text.without_quotation(plain_text.without_control(text))) <= len(text)
    plain_text.of_html(html)


@settings(max_examples=200, deadline=None)
@given(word=st.text(alphabet="abcdefghijklmnopqrstuvwxyz234567", min_size=52, max_size=52))
def test_nobody_guesses_an_address(word: str) -> None:
    assert signed_addresses.read(word) is None


def test_an_address_names_one_person_and_one_ticket_and_fits_a_mailbox() -> None:
    place = Place(uuid.uuid4(), 2**39)
    address = signed_addresses.address(place)
    assert signed_addresses.places_in(f"x, {address.upper()}") == [place]
    assert len(address.partition("@")[0]) <= 64
    assert re.fullmatch(r"reply\+[a-z2-7]{52}@byok\.example", address)
    assert TicketMessage._meta.get_field("mail_id").max_length >= 242
