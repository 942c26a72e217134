"""The pages, messages and mails of accounts are ours in every word:
none of allauth's own is left where anybody reads it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import allauth
import pytest
from allauth.account.adapter import get_adapter
from allauth.core import context
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from conftest import passkey_of
from django.conf import settings
from django.core import mail
from django.template.loader import get_template
from django.test import Client, RequestFactory
from django.test.signals import template_rendered
from django.urls import reverse

from byokportal import clock
from tenants import account_urls
from tenants.models import Member
from tenants.services import staff

OURS = Path(settings.BASE_DIR) / "templates"
ALLAUTH = Path(allauth.__file__).parent / "templates"
NOT_SHOWN = {
    "account/messages/cannot_delete_primary_email.txt": "no page touches an address",
    "account/messages/email_confirmation_failed.txt": "an address is proved by an invitation",
    "account/messages/email_confirmation_sent.txt": "the same",
    "account/messages/email_confirmed.txt": "the same",
    "account/messages/email_deleted.txt": "no page touches an address",
    "account/messages/login_code_sent.txt": "no sign-in by a mailed code",
    "account/messages/password_set.txt": "nobody sets a first password by allauth",
    "account/messages/phone_verification_sent.txt": "no phones",
    "account/messages/phone_verified.txt": "no phones",
    "account/messages/primary_email_set.txt": "no page touches an address",
    "account/messages/unverified_primary_email.txt": "the same",
}
MAILS = {
    "account/email/password_changed",
    "account/email/password_reset",
    "account/email/password_reset_key",
    "account/email/unknown_account",
    "mfa/email/recovery_codes_generated",
    "mfa/email/totp_activated",
    "mfa/email/totp_deactivated",
    "mfa/email/webauthn_added",
    "mfa/email/webauthn_removed",
}


def is_ours(name: str) -> bool:
    return Path(get_template(name).origin.name).is_relative_to(OURS)  # type: ignore[attr-defined]


@pytest.fixture
def rendered() -> Iterator[set[str]]:
    """Which templates were used, as files."""
    found: set[str] = set()

    def note(template: Any, **_: Any) -> None:
        if template.origin and template.origin.name != "<unknown source>":
            found.add(str(template.origin.name))

    template_rendered.connect(note)
    yield found
    template_rendered.disconnect(note)


def test_every_page_that_is_mounted_has_a_template_of_ours(db: None) -> None:
    views = [getattr(one.callback, "view_class", None) for one in account_urls.urlpatterns]
    names = {view.template_name for view in views if getattr(view, "template_name", None)}
    assert len(names) >= 19
    assert sorted(name for name in names if not is_ours(name)) == []


def test_every_page_renders_no_template_of_allauths(
    alice: Member, browser_of: Callable[..., Client], rendered: set[str]
) -> None:
    browser, stranger = browser_of(alice), Client()
    browser.get(reverse("mfa_index"))
    browser.get(reverse("mfa_activate_totp"))
    browser.get(reverse("mfa_add_webauthn"))
    TOTP.activate(alice.user, generate_totp_secret())
    RecoveryCodes.activate(alice.user)
    key = passkey_of(alice)
    one = re.compile(r"pk>|<")
    for pattern in account_urls.urlpatterns:
        if pattern.name in {"account_reset_password_from_key", "account_logout"} | {
            "account_signup",
            "account_set_password",
            "account_email",
        }:
            continue
        path = reverse(pattern.name, kwargs={"pk": key.pk} if one.search(str(pattern.pattern)) else {})
        for client in (browser, stranger):
            client.get(path)
    browser.get(staff.password_link(alice.user), follow=True)
    stranger.get("/accounts/password/reset/key/1-nonsense/")
    browser.get(reverse("account_logout"))
    assert len([name for name in rendered if Path(name).is_relative_to(OURS)]) > 20
    assert sorted(name for name in rendered if Path(name).is_relative_to(ALLAUTH)) == []


def test_every_message_is_ours_or_never_shown() -> None:
    there = {
        str(path.relative_to(ALLAUTH)) for path in ALLAUTH.glob("*/messages/*") if path.parts[-3] != "socialaccount"
    }
    assert sorted(name for name in there if not is_ours(name)) == sorted(NOT_SHOWN)


def test_every_mail_that_can_be_sent_is_ours() -> None:
    for prefix in MAILS:
        assert is_ours(f"{prefix}_subject.txt") and is_ours(f"{prefix}_message.txt"), prefix
    assert {str(path.relative_to(OURS)).rsplit("_", 1)[0] for path in OURS.glob("*/email/*_*.txt")} == MAILS


@pytest.mark.parametrize("email", ["alice@acme.example", "nobody@acme.example"])
def test_the_mail_for_a_forgotten_password(alice: Member, rendered: set[str], email: str) -> None:
    Client().post("/accounts/password/reset/", {"email": email})
    (message,) = [one for one in mail.outbox if one.to == [email]]
    assert "Kore.ai BYOK" in message.subject and "example.com" not in message.body
    assert ("/password/reset/key/" in message.body) == (email == alice.user.email)
    assert settings.SUPPORT_URL in str(message.body)
    assert not [name for name in rendered if Path(name).is_relative_to(ALLAUTH)]


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "[]",
        "7",
        "{}",
        '{"id": 1}',
        '{"id": "eA", "response": {}, "type": "public-key"}',
        "nonsense",
        '{"id": "eA", "rawId": "eA", "response": {"userHandle": 3}, "type": "public-key"}',
    ],
)
@pytest.mark.parametrize("path", ["login", "reauthenticate", "add"])
def test_what_is_no_passkey_is_an_error_of_the_form(
    alice: Member, browser_of: Callable[..., Client], path: str, answer: str
) -> None:
    client = Client() if path == "login" else browser_of(alice)
    if path == "reauthenticate":
        passkey_of(alice)
    client.get(f"/accounts/2fa/webauthn/{path}/", headers={"accept": "application/json"})
    got = client.post(f"/accounts/2fa/webauthn/{path}/", {"credential": answer, "next": "/"}, follow=True)
    assert got.status_code == 200
    assert 'class="errors"' in got.text or 'class="notice error"' in got.text


def test_a_mail_about_a_change_says_what_changed_and_what_to_do(alice: Member, rendered: set[str]) -> None:
    request = RequestFactory().get("/", headers={"user-agent": "Chromium"})
    facts = {"timestamp": clock.now(), "ip": "192.0.2.1", "user_agent": "Chromium"}
    with context.request_context(request):
        for prefix in sorted(MAILS - {"account/email/password_reset_key", "account/email/unknown_account"}):
            get_adapter().send_mail(prefix, alice.user.email, facts)
    assert len(mail.outbox) == 7
    for message in mail.outbox:
        assert "your account" in message.subject or "Your password" in message.subject
        assert "From: 192.0.2.1, Chromium" in message.body
        assert f"{settings.BASE_URL}/accounts/password/reset/" in message.body
    assert not [name for name in rendered if Path(name).is_relative_to(ALLAUTH)]
