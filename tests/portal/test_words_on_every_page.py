"""No page, back-office page, mail or ticket shows a code, a status name or a time without its zone;
the URL map is walked in many states."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import Customer, acting
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from url_map import addresses

from byokportal import words
from byokportal.errors import DomainError
from keys import services
from keys.models import EncryptionTest, KeyHealth, KeyRegistration, RevocationDrill, RoleConfiguration
from keys.proof.diagnosis.causes import CAUSES
from keys.proof.encryption_test import CHECKS, remedies
from support import notices
from support import services as support_services
from support.models import Notice, Ticket, TicketMessage
from tenants import audit, audit_events
from tenants.models import AuditEvent, Member, Tenant

pytestmark = pytest.mark.django_db
NOT_TEXT = re.compile(r"<(head|script|style|pre|textarea|svg)\b.*?</\1>|<input[^>]*>|<!--.*?-->", re.DOTALL)
# values, one field of the API, and names of Terraform's resources
NOT_OURS = re.compile(r"arn:\S+|\S+@\S+|https?://\S+|byok-[A-Za-z0-9_-]{20,}|cache_until|aws_kms_[a-z_]+")
SNAKE = re.compile(r"\b[a-z][a-z0-9]*(?:_[a-z0-9]+)+\b")
ACTOR = re.compile(r"\b(?:member|kore|service):[\w@]")
TIME = re.compile(r"\b\d{1,2}:\d{2}(?::\d{2})?(?:\.\d+)?(?![\d:.]| UTC)")
YOU = re.compile(r"Waiting for you\b|your organisation|for you to", re.IGNORECASE)
CODES = {check.code for check in CHECKS} | set(audit_events.EVENTS)


def visible(page: str) -> str:
    """Return what a person reads of a page: the text without documents, scripts and attributes."""
    text = html.unescape(re.sub(r"<[^>]*>", " ", NOT_TEXT.sub(" ", page)))
    return re.sub(r"\s+", " ", NOT_OURS.sub(" ", text))


def wrong(text: str) -> list[str]:
    """Return what no person should read."""
    found = SNAKE.findall(text) + ACTOR.findall(text) + [code for code in CODES if code in text]
    return found + [text[max(0, one.start() - 30) : one.end() + 10] for one in TIME.finditer(text)]


def every_page(tenant: Tenant) -> Iterator[str]:
    """Yield the address of every page that can be filled in with what the tenant has."""
    first: dict[str, Any] = {
        "test": EncryptionTest.objects.of(tenant).first(),
        "ticket": Ticket.objects.of(tenant).first(),
        "drill": RevocationDrill.objects.of(tenant).first(),
    }
    for route in sorted({address.route for address in addresses()}):
        if route.startswith(("api/", "accounts/", "admin/", "docs/", "invitations/")) or "documents/" in route:
            continue
        for number in "123456" if "<int:number>" in route else "1":
            path = route.replace("<uuid:tenant>", str(tenant.pk)).replace("<int:number>", number)
            for name, row in first.items():
                if row is not None:
                    path = path.replace(f"<uuid:{name}>", str(row.pk))
            if "<" not in path:
                yield "/" + path


# Models whose page shows staff a column of JSON as it is stored.
AS_STORED = (AuditEvent, RoleConfiguration, Notice)


def office_pages() -> Iterator[str]:
    """Yield every list of the back office, and the pages of its newest rows."""
    yield "/admin/"
    for model in admin.site._registry:
        path = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
        yield path
        for row in () if model in AS_STORED else model._default_manager.order_by("-pk")[:3]:
            yield f"{path}{row.pk}/change/"


def read_everything(tenant: Tenant, person: Client, staff: Client) -> None:
    """Assert that nothing that people read of the tenant holds a code of ours."""
    said: dict[str, list[str]] = {}
    for paths, client in ((every_page(tenant), person), (office_pages(), staff)):
        for path in paths:
            answer = client.get(path)
            if answer.status_code == 200 and answer["Content-Type"].startswith("text/html"):
                text = visible(answer.content.decode())
                if found := wrong(text):
                    said[path] = found[:6]
                # other pages show what the tenant reads
                if re.fullmatch(r"/admin/(\w+/\w+/)?", path) and (you := YOU.findall(text)):
                    said[path] = [*said.get(path, []), *you]
    for notice in Notice.objects.filter(tenant=tenant):
        message = notices.compose(notice)
        if message is not None:
            body = f"{message.subject} {message.body}"
            assert tenant.external_id not in body
            # A document that a sentence speaks of stands below it in the same mail, or the sentence names its page.
            assert "below" not in body or '"Effect"' in body
            if found := wrong(NOT_OURS.sub(" ", body)):
                said[f"mail {notice.template}"] = found
    for one in TicketMessage.objects.filter(tenant=tenant):
        assert tenant.external_id not in one.text
        assert "below" not in one.text
        if found := wrong(NOT_OURS.sub(" ", one.text)):
            said[f"ticket {one.pk}"] = found
    for event in AuditEvent.objects.of(tenant):
        if found := wrong(NOT_OURS.sub(" ", audit.sentence(event))):
            said[f"event {event.name}"] = found
    assert not said, "\n".join(f"{name}: {what}" for name, what in said.items())


@pytest.fixture
def read(tenant: Tenant, alice: Member, sam: User, browser_of: Callable[..., Client]) -> Callable[[], None]:
    return lambda: read_everything(tenant, browser_of(alice), browser_of(sam))


def test_a_new_organisation(read: Callable[[], None]) -> None:
    read()


def test_a_set_up_that_was_refused_in_each_way(
    tenant: Tenant, alice: Member, customer: Customer, work: Callable[[], None], read: Callable[[], None]
) -> None:
    customer.follow_the_guide(tenant, acting(alice))
    right = services.document(tenant, "trust-policy")
    customer.set_trust(right.replace(tenant.external_id, "another-one"))
    services.submit_registration(tenant, actor=acting(alice))
    work()
    read()
    for trust in (right.replace("StringEquals", "StringNotEquals"), right):
        customer.set_trust(trust)
        if trust == right:
            customer.kms.disable_key(KeyId=customer.key_arn)
        services.start_test(tenant, actor=acting(alice))
        work()
        read()
    assert Notice.objects.filter(template="registration-rejected").exists()


def test_a_key_in_service_and_out_of_it(
    tenant: Tenant,
    alice: Member,
    active: KeyRegistration,
    work: Callable[[], None],
    read: Callable[[], None],
    customer: Customer,
    probe_now: Callable[[KeyRegistration], KeyRegistration],
) -> None:
    read()
    services.start_drill(tenant, actor=acting(alice))
    support_services.open_ticket(
        tenant, topic="question", subject="s", text=f"It is {tenant.external_id}", actor=acting(alice)
    )
    customer.kms.disable_key(KeyId=customer.key_arn)
    for _ in range(3):
        probe_now(active)
    work()
    assert active.status == "suspended"
    read()
    services.suspend(tenant, reason="an exercise", actor=acting(alice))
    work()
    read()
    services.resume(tenant, reason="over", actor=acting(alice))
    customer.kms.enable_key(KeyId=customer.key_arn)
    for _ in range(3):
        probe_now(active)
    work()
    read()


@pytest.mark.parametrize("reason", ["aws_throttled", "own_access_broken", "aws_surprise", "resumed", "kms_wrong_key"])
def test_a_key_that_cannot_be_told(active: KeyRegistration, read: Callable[[], None], reason: str) -> None:
    KeyRegistration.objects.filter(pk=active.pk).update(
        status="unreachable",
        reason=reason,
    )
    KeyHealth.objects.update(
        refused_since=timezone.now(), refused_code="kms_access_denied", next_probe_at=timezone.now()
    )
    read()


# --- the tables ---------------------------------------------------------------------------------------------------


def test_every_code_of_ours_has_words() -> None:
    waiting, codes = [DomainError], set(CAUSES)
    while waiting:
        error = waiting.pop()
        waiting += error.__subclasses__()
        if "code" in vars(error):
            codes.add(error.code)
    for code in codes | {check.code for check in CHECKS}:
        assert not SNAKE.search(words.of(code))
        assert words.of(code)[0].isupper()


def test_words_of_people_stay_as_they_are() -> None:
    for text in ("left", "we rotate", "a-b", "Why? kms_access_denied was said", "1.2", ""):
        assert words.label(text) == text
    assert words.label("kms_access_denied") == "AWS refused access to the key"
    assert words.label("2026-03-04T14:03:20.5+00:00") == "2026-03-04 14:03:20 UTC"
    assert [
        words.person(one)
        for one in ("system", "member:a@b.example", "kore:command line", "kore:s@kore.example", "service:x (1)")
    ] == ["the system", "a@b.example", "Kore.ai support", "s@kore.example (Kore.ai)", "x (1)"]


def test_no_remedy_in_a_mail_speaks_of_a_document_beside_it_or_names_the_external_id() -> None:
    for template in [*remedies.REMEDIES.values(), *(check.remedy for check in CHECKS)]:
        filled = re.sub(r"\{(\w+)\}", lambda name: "byok-SECRET" if name[1] == "external_id" else name[1], template)
        told = remedies.away_from_the_page(filled, "byok-SECRET")
        assert "below" not in told
        assert "byok-SECRET" not in told
        assert "External ID your External ID" not in told
