"""Mails: what they say, and that each is sent once, later when the server is down."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from conftest import acting_staff
from django.contrib.auth.models import User
from django.core import mail
from django.test import Client
from django.utils import timezone

from support import follow, notices
from support.models import Notice
from tenants import services, tokens
from tenants.models import InvitationLink, Tenant


def test_the_invitation_lets_the_owner_choose_a_password_and_carries_our_values(tenant: Tenant) -> None:
    follow.follow()
    assert notices.send_due() == 1
    assert notices.send_due() == 0
    (message,) = mail.outbox
    assert message.to == ["alice@acme.example"]
    assert message.subject == "You are invited to Acme Bank at Kore.ai BYOK"
    assert tenant.service_role.arn in message.body
    assert tenant.service_role.account_id in message.body
    assert tenant.external_id not in message.body
    path = re.search(r"http://[^/\s]+(/invitations/\S+)", message.body).group(1)
    client = Client()
    page = client.get(path, follow=True)
    assert page.redirect_chain[-1][0] == "/invitation/"
    assert "Kore.ai support invites you to Acme Bank" in page.content.decode()
    done = client.post("/invitation/", {"password": "a long enough passphrase"})
    assert done["Location"] == f"/tenants/{tenant.pk}/"
    assert tenant.members.get().user.check_password("a long enough passphrase")


def test_no_row_holds_the_secret_of_the_link(tenant: Tenant) -> None:
    follow.follow()
    notices.send_due()
    secret = re.search(r"/invitations/([^/\s]+)/", mail.outbox[0].body).group(1)
    assert secret not in str(list(Notice.objects.values())) + str(list(InvitationLink.objects.values()))
    assert InvitationLink.objects.get().digest == tokens.digest(secret)


def test_an_invitation_that_was_withdrawn_meanwhile_is_not_mailed(tenant: Tenant, sam: User) -> None:
    follow.follow()
    services.withdraw_invitation(tenant.invitations.get(), reason="Wrong address", actor=acting_staff(sam))
    assert notices.send_due() == 1
    assert not mail.outbox


def test_a_mail_that_fails_becomes_due_again_later_and_later(tenant: Tenant, settings: object) -> None:
    follow.follow()
    settings.EMAIL_BACKEND = "django.core.mail.backends.nowhere.EmailBackend"  # type: ignore[attr-defined]
    waits = []
    for _ in range(3):
        Notice.objects.update(due_at=timezone.now())
        assert notices.send_due() == 0
        waits.append(Notice.objects.get().due_at - timezone.now())
    assert timedelta(0) < waits[0] < waits[1] < waits[2]
    assert notices.send_due() == 0  # not due yet
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"  # type: ignore[attr-defined]
    Notice.objects.update(due_at=timezone.now())
    assert notices.send_due() == 1


def test_after_ten_attempts_a_person_has_to_look(tenant: Tenant, settings: object) -> None:
    follow.follow()
    settings.EMAIL_BACKEND = "django.core.mail.backends.nowhere.EmailBackend"  # type: ignore[attr-defined]
    Notice.objects.update(attempts=9)
    notices.send_due()
    notice = Notice.objects.get()
    assert (notice.attempts, notice.due_at, notice.sent_at) == (10, None, None)


def test_a_claim_of_a_lost_worker_is_taken_over(tenant: Tenant) -> None:
    follow.follow()
    Notice.objects.update(claimed_at=timezone.now())
    assert notices.send_due() == 0
    Notice.objects.update(claimed_at=timezone.now() - timedelta(seconds=91))
    assert notices.send_due() == 1


@pytest.mark.parametrize(
    ("template", "context"),
    [
        ("key-active", {"key_arn": "arn:aws:kms:eu-central-1:111122223333:key/x"}),
        ("registration-rejected", {"text": "Step 2, IAM role: add the External ID."}),
        ("key-suspended", {"sentence": "The key was suspended by AWS."}),
        ("key-unreachable", {"sentence": "The key could not be asked."}),
        ("key-recovered", {"sentence": "The key answers again."}),
        ("key-deletion", {"key_arn": "arn:aws:kms:eu-central-1:111122223333:key/x", "at": "3 June 2026, 10:00 UTC"}),
        (
            "kore-needed",
            {"ticket": "5f8c1f0e-0000-4000-8000-000000000000", "code": "policy_drift", "sentence": "It stopped."},
        ),
    ],
)
def test_every_mail_has_a_subject_and_says_its_words(tenant: Tenant, template: str, context: dict[str, str]) -> None:
    Tenant.objects.filter(pk=tenant.pk).update(name="Tom & Söhne <AG>")
    tenant.refresh_from_db()
    message = notices.compose(Notice(template=template, tenant=tenant, recipient="alice@acme.example", context=context))
    assert message.subject.strip()
    assert "\n" not in message.subject
    assert "Tom & Söhne <AG>" in message.subject
    assert list(context.values())[-1] in message.body
