"""Mails come in the language of whoever gets them; what the log says in them too, and staff read English."""

from __future__ import annotations

import pytest
from conftest import acting, invited
from django.core import mail
from django.test import Client
from django.utils import translation

from support import follow, mails, notices
from support.models import Notice
from tenants import audit, services
from tenants.models import AuditEvent, Invitation, Member, Role, Tenant


def _sent(email: str) -> mail.EmailMessage:
    follow.follow()
    notices.send_due()
    return next(message for message in reversed(mail.outbox) if message.to == [email])


def test_each_person_gets_a_mail_in_their_own_language(tenant: Tenant, alice: Member) -> None:
    anna = invited(tenant, "anna@acme.example", Role.OWNER)
    services.choose_language(anna.user, "de")
    services.choose_language(alice.user, "en")
    invited(tenant, "carol@acme.example", Role.AUDITOR)
    german, english = _sent("anna@acme.example"), _sent("alice@acme.example")
    assert english.subject == "Acme Bank: who may act for you has changed"
    assert "Hello," in english.body
    assert german.subject == "Acme Bank: wer für Sie handeln darf, hat sich geändert"
    assert "Guten Tag," in german.body
    assert "Welche dieser Mails Mitglieder bekommen" in german.body
    assert translation.get_language() != "de", "the worker speaks English again"


def test_an_invitation_comes_in_the_language_of_who_invited(tenant: Tenant, alice: Member) -> None:
    services.choose_language(alice.user, "de")
    services.invite(tenant, email="dora@acme.example", role=Role.AUDITOR, actor=acting(alice))
    message = _sent("dora@acme.example")
    assert message.subject == "Sie sind zu Acme Bank bei Kore.ai BYOK eingeladen"
    assert Invitation.objects.filter(email="dora@acme.example").exists()


def test_who_chose_nothing_reads_what_the_first_owner_reads_and_else_english(tenant: Tenant, alice: Member) -> None:
    assert services.language_of("nobody@acme.example", tenant=tenant) == "en"
    services.choose_language(alice.user, "de")
    assert services.language_of("nobody@acme.example", tenant=tenant) == "de"
    assert services.language_of("nobody@acme.example") == "en"
    assert services.language_of("ALICE@acme.example") == "de"


def test_a_row_keeps_english_whoever_reads_it(tenant: Tenant, alice: Member) -> None:
    services.choose_language(alice.user, "de")
    follow.follow()
    assert all("wurde" not in str(row) for row in Notice.objects.values_list("context", flat=True))


def test_the_sentence_of_the_log_in_a_mail_is_said_again_in_the_language(
    tenant: Tenant, alice: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The catalog has the sentences of the log; here one stands in for them."""
    services.choose_language(alice.user, "de")
    invited(tenant, "carol@acme.example", Role.AUDITOR)
    said = audit.sentence

    def sentence(event: AuditEvent) -> str:
        return f"Auf Deutsch: {said(event)}" if translation.get_language() == "de" else said(event)

    monkeypatch.setattr(audit, "sentence", sentence)
    assert "Auf Deutsch: " in _sent("alice@acme.example").body


def test_a_mail_for_a_new_password_is_in_the_language_of_the_account(alice: Member, client: Client) -> None:
    services.choose_language(alice.user, "de")
    client.post("/accounts/password/reset/", {"email": alice.user.email})
    assert mail.outbox[-1].subject == "Wählen Sie ein neues Passwort für Kore.ai BYOK"
    assert "der Link gilt einmal" in mail.outbox[-1].body


def test_staff_read_english(tenant: Tenant, alice: Member) -> None:
    services.choose_language(alice.user, "de")
    staff = {name for name, one in mails.MAILS.items() if one.is_for_staff}
    assert {"incident-opened", "staff-invitation", "policy-drifted"} <= staff
