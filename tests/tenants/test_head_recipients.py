"""To whom the signed head of a log is mailed: named by an owner, in the portal and by API, mailed once a day."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from conftest import invited
from django.core import mail
from django.test import Client
from django.utils import timezone

from keys import log_heads
from support import follow, notices
from tenants import audit, head_mailings, log_trees
from tenants.models import AuditEvent, HeadMailing, HeadRecipient, Member, Role

pytestmark = pytest.mark.django_db
VERIFIER = Path(__file__).parents[2] / "docs" / "examples" / "verify_log.py"


@pytest.fixture(autouse=True)
def _heads(settings: Any, tmp_path: Path) -> None:
    settings.SEAL_HEADS_DIR = str(tmp_path / "heads")


def head() -> None:
    log_trees.seal()
    assert log_heads.publish_due() is not None


def mails() -> list[Any]:
    """Return the mails about heads that go out now."""
    mail.outbox.clear()
    head_mailings.write_due()
    follow.follow()
    notices.send_due()
    return [one for one in mail.outbox if "signed head" in one.subject]


def test_an_owner_names_an_address_in_the_portal_and_the_head_comes_once_a_day(
    alice: Member, browser_of: Callable[..., Client]
) -> None:
    browser, page = browser_of(alice), f"/tenants/{alice.tenant_id}/log/seal/"
    assert "No head has been signed yet" in browser.get(page).content.decode()
    assert browser.post(page, {"email": "Archive@audit.example"}, follow=True).status_code == 200
    assert mails() == []
    head()
    assert "Signed head 1" in browser.get(page).content.decode()
    assert mails() == []
    HeadMailing.objects.update(due_at=timezone.now())
    (sent,) = mails()
    assert sent.to == ["archive@audit.example"]
    kept = json.loads(next(line for line in sent.body.splitlines() if line.startswith("{")))
    assert kept == browser.get(f"{page}head.json").json()
    assert browser.get(f"{page}verify_log.py").content == VERIFIER.read_bytes()
    assert mails() == []
    with time_machine.travel(timezone.now() + timedelta(days=1, minutes=1), tick=False):
        assert len(mails()) == 1
    assert audit.data_of(AuditEvent.objects.filter(name="keys.log_head.mailed").latest("pk"))["recipients"] == [
        "archive@audit.example"
    ]
    number = HeadRecipient.objects.get().pk
    browser.post(f"{page}recipients/{number}/remove/")
    assert not HeadMailing.objects.exists()
    with time_machine.travel(timezone.now() + timedelta(days=3), tick=False):
        assert mails() == []


def test_by_api_too_and_what_is_refused(
    alice: Member, bob: Member, mallory: Member, api_of: Callable[[Member], Client]
) -> None:
    api, path = api_of(alice), f"/api/v1/tenants/{alice.tenant_id}/log/recipients"
    made = api.post(path, {"email": "a@audit.example"}, content_type="application/json")
    assert made.status_code == 201, made.content
    assert [one["email"] for one in api.get(path).json()["items"]] == ["a@audit.example"]
    for bad in (
        {"email": "A@audit.example"},
        {"email": "x"},
        {"email": ""},
        {},
        {"email": 7},
        {"email": "a\0@b.example"},
    ):
        assert api.post(path, bad, content_type="application/json").status_code == 400, bad
    for number in range(4):
        assert api.post(path, {"email": f"{number}@audit.example"}, content_type="application/json").status_code == 201
    assert "at most" in api.post(path, {"email": "z@audit.example"}, content_type="application/json").content.decode()

    admin = api_of(invited(alice.tenant, "carol@acme.example", Role.ADMIN))
    for who, status in ((api_of(bob), 403), (admin, 403), (api_of(mallory), 404)):
        assert who.post(path, {"email": "b@x.example"}, content_type="application/json").status_code == status
        assert who.delete(f"{path}/{made.json()['id']}").status_code == status
    assert api_of(bob).get(path).status_code == 200
    for there in ("x", "0", "99999999999999999999"):
        assert api.delete(f"{path}/{there}").status_code == 404
    assert api.delete(f"{path}/{made.json()['id']}").status_code == 204
    names = AuditEvent.objects.filter(name__startswith="tenants.head_recipient.").values_list("name", flat=True)
    assert sorted(set(names)) == ["tenants.head_recipient.added", "tenants.head_recipient.removed"]
