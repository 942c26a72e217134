"""Erasing a person who is nowhere in any more: the names go, what the person did stays, and no seal breaks."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from conftest import acting, acting_staff, invited, lines_by
from django.contrib.auth.models import Group, User
from django.core.management import CommandError, call_command
from django.test import Client
from named import everywhere

from byokportal.errors import InvalidInput, NotAllowed
from support import follow
from support import services as support_services
from support.models import Notice, Ticket
from tenants import audit, log_trees, roles, services
from tenants.models import AuditEvent, Invitation, Member, PersonName, Role, Tenant

pytestmark = pytest.mark.django_db
CAROL = "carol@acme.example"


@pytest.fixture
def lead(sam: User) -> User:
    sam.groups.set([Group.objects.get(name=roles.LEAD)])
    return sam


@pytest.fixture
def carol(tenant: Tenant, alice: Member) -> Member:
    """Somebody who came, did this and that, and left; a colleague has written about her."""
    member = invited(tenant, CAROL, Role.OWNER)
    services.mint_token(member, name="for Carol", actor=acting(member))
    ticket = support_services.open_ticket(
        tenant, subject=f"Who is {CAROL}?", text=f"I am {CAROL}.", topic=Ticket.Topic.KEY, actor=acting(member)
    )
    thanks = "Thanks, Carol@ACME.example!"
    support_services.answer_ticket(ticket, text=thanks, status=ticket.status, actor=acting(alice))
    services.invite(tenant, email="dora@acme.example", role="auditor", actor=acting(member))
    follow.follow()
    return member


def test_nothing_names_an_erased_person_and_nothing_that_she_did_is_gone(
    tenant: Tenant, alice: Member, bob: Member, carol: Member, lead: User
) -> None:
    services.remove_member(carol, reason="left the company", actor=acting(alice))
    follow.follow()
    log_trees.seal()
    assert Notice.objects.filter(recipient=CAROL).exists()
    before = list(AuditEvent.objects.order_by("pk").values_list("pk", "actor", "payload", "seal"))
    minted = AuditEvent.objects.get(name="tenants.token.minted")
    assert audit.actor_of(minted) == f"member:{CAROL}"
    done = services.erase_person("Carol@Acme.example", reason="She asked for it", actor=acting_staff(lead))
    assert (len(done.names), done.accounts) == (1, 1)
    assert everywhere(CAROL) == []
    kept = list(AuditEvent.objects.filter(pk__in=[one[0] for one in before]).order_by("pk"))
    assert [(one.pk, one.actor, one.payload, one.seal) for one in kept] == before, "no line changes, and no leaf"
    minted = AuditEvent.objects.get(pk=minted.pk)
    mark = f"an erased person ({done.names[0].pk[:8]})"
    assert audit.actor_of(minted) == f"member:{mark}"
    ticket = Ticket.objects.get()
    assert ticket.subject == f"Who is {mark}?" and ticket.opened_by == f"member:{mark}"
    user = User.objects.get(pk=carol.user_id)
    assert not user.is_active and not user.has_usable_password() and not EmailAddress.objects.filter(user=user).exists()
    [event] = lines_by("kore:sam@kore.example", "tenants.person.erased")
    assert event.tenant == tenant
    assert audit.sentence(event) == f"The name of {mark} was erased: She asked for it"
    # The others are who they were.
    assert everywhere("bob@acme.example") and lines_by("member:alice@acme.example", "tenants.member.removed")
    with pytest.raises(InvalidInput):
        services.erase_person(CAROL, reason="once more", actor=acting_staff(lead))


def test_whoever_is_still_in_somewhere_is_not_erased(
    tenant: Tenant, alice: Member, carol: Member, mallory: Member, lead: User
) -> None:
    def why(person: str, reason: str = "asked for") -> str:
        with pytest.raises(InvalidInput) as refused:
            services.erase_person(person, reason=reason, actor=acting_staff(lead))
        return str(refused.value.errors)

    assert "a member of an organisation" in why(CAROL)
    assert "one of Kore.ai's people" in why("sam@kore.example")
    assert "an invitation is open" in why("dora@acme.example")
    assert "Nobody is known" in why("nobody@acme.example") and "Nobody is known" in why(" ")
    services.remove_member(carol, reason="r", actor=acting(alice))
    services.add_head_recipient(tenant, email=CAROL, actor=acting(alice))
    assert "head of a log" in why(CAROL)
    assert "give one that does not name them" in why(CAROL, reason=f"{CAROL} asked")
    assert PersonName.objects.filter(text=CAROL, erased_at=None).exists()


def test_only_a_lead_erases(tenant: Tenant, alice: Member, carol: Member, lead: User) -> None:
    services.remove_member(carol, reason="r", actor=acting(alice))
    for actor in (acting(alice), acting(carol)):
        with pytest.raises(NotAllowed):
            services.erase_person(CAROL, reason="r", actor=actor)
    lead.groups.set([Group.objects.get(name=roles.SUPPORT)])
    with pytest.raises(NotAllowed):
        services.erase_person(CAROL, reason="r", actor=acting_staff(User.objects.get(pk=lead.pk)))


def test_each_organisations_rows_have_a_mark_of_their_own(
    tenant: Tenant, alice: Member, mallory: Member, lead: User
) -> None:
    for one in (alice, mallory):
        invitation = services.invite(one.tenant, email=CAROL, role="auditor", actor=acting(one))
        services.withdraw_invitation(invitation, reason="r", actor=acting(one))
    services.erase_person(CAROL, reason="r", actor=acting_staff(lead))
    shown = set(Invitation.objects.filter(status="withdrawn").values_list("email", flat=True))
    assert len(shown) == 2 and all(one.endswith("@erased.invalid") for one in shown)


def test_who_comes_back_is_somebody_new(tenant: Tenant, alice: Member, carol: Member, lead: User) -> None:
    services.remove_member(carol, reason="r", actor=acting(alice))
    services.erase_person(CAROL, reason="r", actor=acting_staff(lead))
    again = invited(tenant, CAROL, Role.AUDITOR)
    assert again.user_id != carol.user_id
    assert len(lines_by(f"member:{CAROL}", "tenants.member.joined")) == 1


def test_former_members_who_are_erased_get_no_mail(tenant: Tenant, alice: Member, carol: Member, lead: User) -> None:
    services.remove_member(carol, reason="r", actor=acting(alice))
    services.erase_person(CAROL, reason="r", actor=acting_staff(lead))
    event = AuditEvent.objects.filter(tenant=tenant).first()
    from support import notices

    address = Member.everybody.get(pk=carol.pk).user.email
    assert event is not None and address.endswith("@erased.invalid")
    notices.write(event, "people-changed", address, {"sentence": "s", "actor": "a"}, tenant=tenant)
    assert not Notice.objects.filter(recipient=address).exists()


def test_the_command_erases_and_says_what(tenant: Tenant, alice: Member, carol: Member) -> None:
    out = io.StringIO()
    with pytest.raises(CommandError, match="a member of an organisation"):
        call_command("erase_person", person=CAROL, reason="asked for", stdout=out)
    services.remove_member(carol, reason="r", actor=acting(alice))
    call_command("erase_person", person=CAROL, reason="asked for", stdout=out)
    said: dict[str, Any] = json.loads(out.getvalue())
    assert said["accounts"] == 1 and len(said["names"]) == 1 and said["rows"]["tenants.Invitation.email"] == 1
    assert CAROL not in out.getvalue()


def test_a_lead_erases_in_the_back_office(
    tenant: Tenant, alice: Member, carol: Member, lead: User, browser_of: Callable[..., Client]
) -> None:
    services.remove_member(carol, reason="r", actor=acting(alice))
    address = "/admin/auth/user/operations/erase-person/"
    client = browser_of(lead)
    refused = client.post(address, {"person": "bob", "reason": "asked for"})
    assert "Nobody is known by this" in refused.content.decode()
    assert client.post(address, {"person": CAROL, "reason": "asked for"}).status_code == 302
    assert everywhere(CAROL) == []
