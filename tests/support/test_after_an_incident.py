"""Until when an organisation is one of an incident's, and what its people are told then and later."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from conftest import acting, acting_staff, with_health
from django.contrib.auth.models import User
from django.core import mail
from django.test import Client
from django.urls import reverse

from byokportal import clock, words
from keys import lifecycle
from keys import services as key_services
from keys.models import Incident, KeyRegistration
from support import follow, notices, services
from support.models import AffectedTenant
from tenants import audit
from tenants.audit import SYSTEM
from tenants.models import AuditEvent, Member, Tenant

Status = KeyRegistration.Status
KEY = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
OURS = {"reason": "own_access_broken", "whose_turn": "kore"}


@pytest.fixture
def registration(tenant: Tenant, alice: Member) -> KeyRegistration:
    """Of an organisation whose key we cannot use, by a fault of ours."""
    facts = {"key_arn": KEY, "role_arn": "arn:aws:iam::111122223333:role/byok", "role_claim": "111122223333/byok"}
    made = KeyRegistration.objects.create(tenant=tenant, status=Status.ACTIVE, activated_at=clock.now(), **facts)
    return with_health(made, next_probe_at=clock.now())


@pytest.fixture
def incident(registration: KeyRegistration) -> Incident:
    return begun(registration)


def begun(registration: KeyRegistration) -> Incident:
    """Open an incident that takes this key from us."""
    role = registration.tenant.service_role
    opened = Incident.objects.create(service_role=role, why="tests", opened_at=clock.now(), seen_at=clock.now())
    facts = {"service_role_arn": role.arn, "why": "tests", "count": 1}
    audit.record("keys.incident.opened", tenant=None, actor=SYSTEM, target=opened, **facts)
    if registration.status != Status.UNREACHABLE:
        lost(registration)
    followed()
    return opened


def lost(registration: KeyRegistration) -> AuditEvent:
    lifecycle.move(registration, Status.UNREACHABLE, actor=SYSTEM, reason="own_access_broken")
    return noted(registration, "keys.key.unreachable", **OURS)


def ended(incident: Incident) -> None:
    Incident.objects.filter(pk=incident.pk).update(closed_at=clock.now())
    facts = {"service_role_arn": incident.service_role.arn}
    audit.record("keys.incident.closed", tenant=None, actor=SYSTEM, target=incident, **facts)
    followed()


def recovered(registration: KeyRegistration) -> AuditEvent:
    registration.refresh_from_db()
    lifecycle.move(registration, Status.ACTIVE, actor=SYSTEM)
    return noted(registration, "keys.key.recovered")


def noted(registration: KeyRegistration, name: str, **data: str) -> AuditEvent:
    return audit.record(name, tenant=registration.tenant, actor=SYSTEM, target=registration, **data)


def followed() -> None:
    while follow.follow():
        pass


def mailed() -> list[str]:
    """Let go what is due; return the texts that alice got."""
    mail.outbox.clear()
    while notices.send_due():
        pass
    return [str(one.body) for one in mail.outbox if one.to == ["alice@acme.example"]]


# --- until when ------------------------------------------------------------------------------------------------------


def by_aws(registration: KeyRegistration, alice: Member, sam: User) -> None:
    reason = "kms_key_disabled"
    lifecycle.move(registration, Status.SUSPENDED, actor=SYSTEM, reason=reason, suspended_by="aws")
    noted(registration, "keys.key.suspended", suspended_by="AWS", reason=reason)


def by_the_organisation(registration: KeyRegistration, alice: Member, sam: User) -> None:
    key_services.suspend(registration.tenant, reason="r", actor=acting(alice))


def by_us(registration: KeyRegistration, alice: Member, sam: User) -> None:
    key_services.suspend(registration.tenant, reason="r", actor=acting_staff(sam))


def replaced(registration: KeyRegistration, alice: Member, sam: User) -> None:
    noted(registration, "keys.registration.activated", key_arn=KEY)


def left(registration: KeyRegistration, alice: Member, sam: User) -> None:
    noted(registration, "keys.key.left", reason="r")


ENDS = ("keys.key.suspended", "keys.registration.activated", "keys.key.left")
Way = Callable[[KeyRegistration, Member, User], None]


@pytest.mark.parametrize("is_over", [False, True])
@pytest.mark.parametrize("mails", ["", "released", "dropped"])
@pytest.mark.parametrize("way", [by_aws, by_the_organisation, by_us, replaced, left])
def test_what_comes_after_an_incident_is_not_put_down_to_it(
    incident: Incident, registration: KeyRegistration, alice: Member, sam: User, way: Way, mails: str, is_over: bool
) -> None:
    if mails:
        services.decide_held_mails(incident, choice=mails, reason="r", actor=acting_staff(sam))
    if is_over:
        ended(incident)
    assert AffectedTenant.objects.get().back_at is None
    way(registration, alice, sam)
    followed()
    mailed()
    newest = AuditEvent.objects.of(registration.tenant).filter(name__in=ENDS).latest("pk")
    assert AffectedTenant.objects.get().back_at == newest.at
    recovered(registration)
    followed()
    (text,) = mailed()
    assert "answers again" in text and "fault of ours" not in text


@pytest.mark.parametrize("mails", ["", "dropped"])
def test_who_is_back_after_the_end_hears_from_when_to_when_it_was(
    incident: Incident, registration: KeyRegistration, sam: User, mails: str
) -> None:
    if mails:
        services.decide_held_mails(incident, choice=mails, reason="r", actor=acting_staff(sam))
    ended(incident)
    mailed()
    recovered(registration)
    followed()
    (text,) = mailed()
    assert "fault of ours" in text and AffectedTenant.objects.get().back_at is not None


def test_two_incidents_in_a_row_end_together(incident: Incident, registration: KeyRegistration) -> None:
    ended(incident)
    again = begun(registration)
    assert AffectedTenant.objects.filter(back_at=None).count() == 2
    recovered(registration)
    followed()
    assert not AffectedTenant.objects.filter(back_at=None).exists()
    ended(again)
    assert sum("fault of ours" in text for text in mailed()) == 1


def test_a_key_that_is_lost_twice_counts_from_the_second_time(
    incident: Incident, registration: KeyRegistration
) -> None:
    AffectedTenant.objects.update(since=clock.now() - timedelta(hours=3))
    recovered(registration)
    followed()
    second = lost(registration)
    followed()
    affected = AffectedTenant.objects.get()
    assert (affected.since, affected.back_at) == (second.at, None)


# --- what our people tell them ---------------------------------------------------------------------------------------


def test_who_is_back_is_told_so_and_who_is_not_that_it_lasts(
    incident: Incident, registration: KeyRegistration, mallory: Member, sam: User, browser_of: Callable[..., Client]
) -> None:
    AffectedTenant.objects.create(incident=incident, tenant=mallory.tenant, since=clock.now())
    Incident.objects.filter(pk=incident.pk).update(opened_at=clock.now() - timedelta(days=1))
    recovered(registration)
    followed()
    mail.outbox.clear()
    browser, url = browser_of(sam), reverse("admin:keys_incident_operation", args=[incident.pk, "tell"])
    ready = browser.get(url).context["form"].initial
    day = words.minute(clock.now() - timedelta(days=1), now=clock.now()).partition(",")[0]
    assert f"since {day}, " in ready["text"] and f"from {day}, " in ready["text_back"], "with its day"
    assert browser.post(url, {"text": ready["text"]}).status_code == 200, "both are wanted"
    answer = browser.post(url, ready, follow=True)
    assert "2 organisations are told" in answer.content.decode()
    followed()
    while notices.send_due():
        pass
    told = {one.to[0]: str(one.body) for one in mail.outbox if "a fault on our own side" in one.body}
    now, over = "we cannot use the key", "For your organisation it is over"
    alice, other = registration.tenant.members.get().user.email, mallory.user.email
    assert {to: (now in text, over in text) for to, text in told.items()} == {
        alice: (False, True),
        other: (True, False),
    }
