"""Mails: what they say, and that each is sent once, later when the server is down."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
import time_machine
from conftest import acting_staff
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.core import mail
from django.core.mail import EmailMessage
from django.template import engines
from django.test import Client
from django.utils import timezone

from byokportal import clock
from keys.models import Closing, ClosingReceipt
from support import follow, mails, notices
from support.models import Notice
from tenants import audit, services, tokens
from tenants.models import InvitationLink, OwnerRecovery, Tenant


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


def test_a_mail_that_a_slow_run_comes_to_late_is_still_sent_once(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    follow.follow()
    first = Notice.objects.get()
    facts = {"template": first.template, "recipient": first.recipient, "context": first.context}
    Notice.objects.create(tenant=tenant, due_at=first.due_at + timedelta(microseconds=1), **facts)
    at_once, taken_by_another = EmailMessage.send, list[int]()
    with time_machine.travel(timezone.now() + timedelta(seconds=1), tick=False) as now:

        def send(message: EmailMessage) -> int:
            if mail.outbox:
                taken_by_another.append(notices.send_due())
            else:
                now.shift(notices.CLAIM_LASTS + timedelta(seconds=1))
            return at_once(message)

        monkeypatch.setattr(EmailMessage, "send", send)
        assert notices.send_due() == 2
    assert taken_by_another == [0]
    assert len(mail.outbox) == 2


# --- the table -----------------------------------------------------------------------------------------------------

FOLDER = Path(django_settings.BASE_DIR, "templates", "emails")
SAMPLE = {"ticket": "5f8c1f0e-0000-4000-8000-000000000000", "incident": "1", "code": "policy_drift"}


def _invitation(tenant: Tenant, sam: User) -> dict[str, str]:
    return {"invitation": str(tenant.invitations.get().pk)}


def _recovery(tenant: Tenant, sam: User) -> dict[str, str]:
    kim = User.objects.create_user("kim@kore.example")
    asked = {"requested_by": sam, "approved_by": kim, "due_at": timezone.now(), "status": "waiting"}
    made = OwnerRecovery.objects.create(tenant=tenant, kind="new_owner", email=ADDRESS, reason="r", **asked)
    return {"recovery": str(made.pk)}


def _staff(tenant: Tenant, sam: User) -> dict[str, str]:
    services.create_staff(ADDRESS, groups=["Support"], reason="r", actor=acting_staff(sam))
    return {}


def _address(tenant: Tenant, sam: User) -> dict[str, str]:
    now = clock.now()
    return {"target": str(services.request_address_change(sam, email="n@kore.example", signed_in_at=now).pk)}


def _receipts(tenant: Tenant, sam: User) -> dict[str, str]:
    now = clock.now()
    closing = Closing.objects.create(
        tenant=tenant, status="erased", erased_at=now, ends_at=now, reason="the contract ended", requested_by="tests"
    )
    for number in (1, 2):
        facts = {"body": "{}", "signature": "c2lnbmVk", "public_key": "a2V5", "signed_at": now}
        ClosingReceipt.objects.create(closing=closing, number=number, **facts)
    return {"closing": str(closing.pk), "number": "1"}


ADDRESS = "dora@kore.example"
# Mails about a row that has to be there.
ROWS = {
    "invitation": _invitation,
    "recovery-announced": _recovery,
    "staff-invitation": _staff,
    "address-change": _address,
    "closing-receipt-1": _receipts,
    "closing-receipt-2": _receipts,
}


def test_every_mail_of_the_table_has_its_two_templates_and_every_template_its_row() -> None:
    files = {f"{name}{end}" for name in mails.MAILS for end in (".subject.txt", ".txt")}
    assert {path.name for path in FOLDER.iterdir()} == files


@pytest.mark.parametrize("template", mails.MAILS)
def test_every_mail_says_its_words_and_leaves_no_gap(
    template: str, tenant: Tenant, sam: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines["django"].engine, "string_if_invalid", "NOT GIVEN: %s")
    Tenant.objects.filter(pk=tenant.pk).update(name="Tom & Söhne <AG>")
    tenant.refresh_from_db()
    context = {name: SAMPLE.get(name, f"the {name} & so") for name in mails.MAILS[template].context}
    if template in ROWS:
        context |= ROWS[template](tenant, sam)
    message = notices.compose(Notice(template=template, tenant=tenant, recipient=ADDRESS, context=context))
    assert message is not None
    text = f"{message.subject}\n{message.body}"
    assert message.subject.strip()
    assert "\n" not in message.subject
    assert "NOT GIVEN" not in text
    assert "&amp;" not in text
    if "sentence" in context:
        assert context["sentence"] in message.body


def test_a_mail_is_written_from_what_its_row_names_and_nothing_else(tenant: Tenant) -> None:
    event = audit.record("keys.key.recovered", tenant=tenant, actor=audit.SYSTEM)
    for template, context in (("no-such-mail", {}), ("key-recovered", {}), ("key-active", {"key": "x"})):
        with pytest.raises(KeyError):
            notices.write(event, template, ADDRESS, context, tenant=tenant)
    assert not Notice.objects.exists()
