"""The organisation in the portal: home, log, people, tickets."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from conftest import acting, acting_staff, join
from django.contrib.auth.models import User
from django.test import Client

from byokportal import clock
from support import services as support_services
from support.models import Ticket
from tenants import audit, services
from tenants.audit import Actor
from tenants.models import AuditEvent, Member, Tenant

NOBODY = "5f8c1f0e-0000-4000-8000-000000000000"


@pytest.fixture
def portal(alice: Member, browser_of: Callable[[Member], Client]) -> Client:
    return browser_of(alice)


def _path(tenant: Tenant, rest: str) -> str:
    return f"/tenants/{tenant.pk}/{rest}"


# --- home ----------------------------------------------------------------------------------------------------


def test_a_person_in_several_organisations_chooses(portal: Client, alice: Member, mallory: Member) -> None:
    invitation = services.invite(mallory.tenant, email=alice.user.email, role="auditor", actor=acting(mallory))
    services.accept_invitation(services.new_link(invitation), user=alice.user)
    page = portal.get("/").content.decode()
    assert "Acme Bank" in page
    assert "Mallory Ltd" in page


def test_staff_without_an_organisation_come_to_the_back_office(sam: User, browser_of: Callable[[User], Client]) -> None:
    assert browser_of(sam).get("/")["Location"] == "/admin/"


def test_a_person_without_an_organisation_is_told_what_to_do(db: None, browser_of: Callable[[User], Client]) -> None:
    user = User.objects.create_user("lost@acme.example", "lost@acme.example")
    assert "lost@acme.example" in browser_of(user).get("/").content.decode()


def test_nobody_is_in_without_signing_in(tenant: Tenant) -> None:
    for path in ("/", _path(tenant, ""), _path(tenant, "log/")):
        assert Client().get(path)["Location"].startswith("/accounts/login/")


# --- log -----------------------------------------------------------------------------------------------------


def test_the_log_is_read_page_by_page_newest_first(portal: Client, tenant: Tenant) -> None:
    for number in range(60):
        audit.record("tenants.token.minted", tenant=tenant, actor=audit.SYSTEM, name=f"token-{number:02}")
    first = portal.get(_path(tenant, "log/"))
    seen = [event.pk for event in first.context["found"].items]
    second = portal.get(_path(tenant, "log/"), {"cursor": str(first.context["found"].next)})
    seen += [event.pk for event in second.context["found"].items]
    assert seen == sorted(seen, reverse=True)
    assert len(seen) == len(set(seen)) == tenant.events.count()
    assert second.context["found"].next is None
    assert "The automation token token-59 was made." in first.content.decode()


@pytest.mark.parametrize("before", ["x", "-1", "0", "9" * 30, "９", "1.5", ""])
def test_a_cursor_that_is_none_is_no_error(portal: Client, tenant: Tenant, before: str) -> None:
    assert portal.get(_path(tenant, "log/"), {"before": before}).status_code == 200


def test_the_log_of_another_tenant_is_not_in_it(portal: Client, tenant: Tenant, mallory: Member) -> None:
    assert "Mallory" not in portal.get(_path(tenant, "log/")).content.decode()


def test_an_event_of_an_earlier_version_is_read_as_a_sentence(portal: Client, tenant: Tenant) -> None:
    data = {"operation": "keys.suspend", "service_role_arn": "arn:aws:iam::111122223333:role/r"}
    payload = audit.canonical({"data": data})
    AuditEvent.objects.create(
        tenant=tenant, name="tenants.attempt.refused", actor="system", payload=payload, at=clock.now()
    )
    page = portal.get(_path(tenant, "log/")).content.decode()
    assert "Recorded by an earlier version: tenants attempt refused (operation: " in page
    assert "service role arn: arn:aws:iam::111122223333:role/r)." in page


# --- people --------------------------------------------------------------------------------------------------


def test_an_owner_invites_and_changes_roles(portal: Client, tenant: Tenant) -> None:
    assert portal.post(_path(tenant, "people/"), {"email": "Carol@acme.example", "role": "auditor"}).status_code == 302
    carol = join(tenant.invitations.get(email="carol@acme.example"))
    assert portal.post(_path(tenant, f"people/{carol.pk}/role/"), {"role": "admin"}).status_code == 302
    carol.refresh_from_db()
    assert carol.role == "admin"
    assert (
        "already"
        in portal.post(_path(tenant, "people/"), {"email": "carol@acme.example", "role": "admin"}).content.decode()
    )


def test_the_last_owner_stays(portal: Client, tenant: Tenant, alice: Member) -> None:
    portal.post(_path(tenant, f"people/{alice.pk}/role/"), {"role": "auditor"})
    alice.refresh_from_db()
    assert alice.role == "owner"


def test_an_auditor_sees_the_people_and_invites_nobody(
    bob: Member, alice: Member, tenant: Tenant, browser_of: Callable[[Member], Client]
) -> None:
    reader = browser_of(bob)
    page = reader.get(_path(tenant, "people/")).content.decode()
    assert "alice@acme.example" in page
    assert "Invite somebody" not in page
    assert reader.post(_path(tenant, "people/"), {"email": "x@acme.example", "role": "owner"}).status_code == 403
    assert reader.post(_path(tenant, f"people/{bob.pk}/role/"), {"role": "owner"}).status_code == 403


# --- tickets ------------------------------------------------------------------------------------------------


def test_a_ticket_is_opened_read_and_answered_without_internal_messages(
    portal: Client, tenant: Tenant, sam: User
) -> None:
    answer = portal.post(_path(tenant, "tickets/"), {"topic": "question", "subject": "Which Region?", "text": "Ours?"})
    ticket = Ticket.objects.get()
    assert answer["Location"] == _path(tenant, f"tickets/{ticket.pk}/")
    support_services.answer_ticket(ticket, text="Any Region.", actor=acting_staff(sam))
    support_services.answer_ticket(ticket, text="Nice people", is_internal=True, actor=acting_staff(sam))
    page = portal.get(answer["Location"]).content.decode()
    assert "Any Region." in page
    assert "Kore.ai support" in page
    assert "Nice people" not in page
    assert portal.post(answer["Location"], {"text": "Thank you."}).status_code == 302
    assert portal.post(answer["Location"], {"text": " "}).context["form"].errors["text"]
    support_services.close_ticket(ticket, reason="answered", actor=acting_staff(sam))
    assert "The ticket is closed" in portal.post(answer["Location"], {"text": "One more"}).content.decode()
    assert "Which Region?" in portal.get(_path(tenant, "tickets/")).content.decode()


@pytest.mark.parametrize("given", [{"topic": "configuration"}, {"subject": ""}, {"text": ""}, {"subject": "x" * 300}])
def test_a_ticket_that_says_nothing_is_refused(portal: Client, tenant: Tenant, given: dict[str, str]) -> None:
    page = portal.post(_path(tenant, "tickets/"), {"topic": "question", "subject": "Which?", "text": "Ours?"} | given)
    assert page.context["form"].errors
    assert not Ticket.objects.exists()


def test_words_are_shown_as_words(portal: Client, tenant: Tenant) -> None:
    portal.post(
        _path(tenant, "tickets/"), {"topic": "question", "subject": "<script>alert(1)</script>", "text": "<b>bold</b>"}
    )
    ticket = Ticket.objects.get()
    for path in ("tickets/", f"tickets/{ticket.pk}/", "log/"):
        page = portal.get(_path(tenant, path)).content.decode()
        assert "<script>alert" not in page
        assert "<b>bold" not in page


# --- another organisation --------------------------------------------------------------------------------------


def test_what_belongs_to_another_organisation_is_not_there(portal: Client, tenant: Tenant, mallory: Member) -> None:
    theirs = support_services.open_ticket(
        mallory.tenant, topic="question", subject="Hidden", text="Hidden", actor=Actor.of_member(mallory, via="portal")
    )
    for path in (
        _path(mallory.tenant, ""),
        _path(mallory.tenant, f"tickets/{theirs.pk}/"),
        _path(tenant, f"tickets/{theirs.pk}/"),
        f"/tenants/{NOBODY}/",
    ):
        page = portal.get(path)
        assert page.status_code == 404, path
        assert "Hidden" not in page.content.decode()
    assert portal.post(_path(tenant, f"people/{mallory.pk}/role/"), {"role": "auditor"}).status_code == 404
