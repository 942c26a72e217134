"""Who was ended, came again in any way, and is ended or let in by the directory after that."""

from __future__ import annotations

import pytest
from conftest import acting, invited
from directory import Directory, enter, link, offered, sign_in
from django.test import Client
from scim_directory import Scim

from support import follow
from support.models import Notice
from tenants import services
from tenants.audit import data_of
from tenants.models import AuditEvent, DirectoryUser, Member, Tenant

pytestmark = pytest.mark.django_db
DORA = "dora@acme.example"


def of_dora(tenant: Tenant) -> list[Member]:
    return list(Member.objects.of(tenant).filter(user__email=DORA))


# --- the directory's word counts for who is in, however the person came again -----------------------------------------


def let_in_again(alice: Member, dora: Member, how: str, directory: Directory) -> Member:
    """Invite Dora once more; she accepts with her account, or links it to the sign-on as well."""
    invitation = services.invite(alice.tenant, email=DORA, role="admin", actor=acting(alice))
    again = services.accept_invitation(services.new_link(invitation), user=dora.user)
    if how == "invited and linked":
        offered(alice, directory)
        directory.person("dora", groups=["byok-admins"])
        assert link(sign_in(again), again, directory, "dora").status_code == 302
    return again


@pytest.mark.parametrize("ended_by", ["an owner", "the directory"])
@pytest.mark.parametrize("how", ["invited", "invited and linked"])
@pytest.mark.parametrize("then", ["switched off", "deleted"])
def test_who_was_let_in_again_goes_when_the_directory_says_so(
    tenant: Tenant, alice: Member, directory: Directory, ended_by: str, how: str, then: str
) -> None:
    scim = Scim(alice)
    dora = invited(tenant, DORA, "admin")
    person = scim.user(DORA)
    assert DirectoryUser.objects.get(pk=person).member == dora
    if ended_by == "the directory":
        scim.switch(person, False)
        scim.switch(person, True)
    else:
        services.remove_member(dora, reason="r", actor=acting(alice))
    again = let_in_again(alice, dora, how, directory)
    _, raw = services.mint_token(again, name="t", permissions=["read"], days=30, actor=acting(again))
    if then == "deleted":
        scim.ask("DELETE", f"Users/{person}", status=204)
    else:
        scim.switch(person, False)
    assert of_dora(tenant) == []
    api = Client(headers={"authorization": f"Bearer {raw}"})
    assert api.get(f"/api/v1/tenants/{tenant.pk}/onboarding").status_code == 401
    last = AuditEvent.objects.of(tenant).filter(name="tenants.member.ended_by_directory").last()
    assert last is not None
    assert data_of(last)["email"] == DORA


def test_who_was_let_in_again_stays_while_the_directory_has_nothing_against_it(
    tenant: Tenant, alice: Member, directory: Directory
) -> None:
    scim = Scim(alice)
    dora = invited(tenant, DORA, "admin")
    person = scim.user(DORA)
    services.remove_member(dora, reason="r", actor=acting(alice))
    again = let_in_again(alice, dora, "invited", directory)
    scim.switch(person, True)
    assert of_dora(tenant) == [again]
    assert DirectoryUser.objects.get(pk=person).member == again


# --- whoever was shown out stays out when the connection is replaced --------------------------------------------------


@pytest.mark.parametrize("with_scim", [False, True])
@pytest.mark.parametrize("how", ["shown out", "left with the connection"])
def test_only_who_left_with_a_connection_comes_by_the_next_one(
    tenant: Tenant, alice: Member, directory: Directory, how: str, with_scim: bool
) -> None:
    connection = offered(alice, directory, default_role="admin")
    directory.person("dora", groups=[])
    enter(Client(), directory, "dora")
    (dora,) = of_dora(tenant)
    if how == "shown out":
        services.remove_member(dora, reason="r", actor=acting(alice))
    services.remove_connection(connection, reason="to another one", actor=acting(alice))
    assert of_dora(tenant) == []
    offered(alice, directory, default_role="admin")
    if with_scim:
        scim = Scim(alice)
        scim.group("byok-admins", scim.user(DORA), role="admin")
    answer = enter(Client(), directory, "dora")
    if how == "shown out":
        assert answer.status_code == 409
        assert "Your membership was ended" in answer.content.decode()
        assert of_dora(tenant) == []
    else:
        assert len(of_dora(tenant)) == 1


# --- what the page promises of disconnecting is so at the next sign-in ------------------------------------------------


@pytest.mark.parametrize("whose", ["made by the sign-on", "linked"])
def test_disconnecting_lets_everybody_sign_in_again_with_the_role_of_before(
    tenant: Tenant, alice: Member, directory: Directory, whose: str
) -> None:
    offered(alice, directory, role_claim="", role_values={})
    scim = Scim(alice)
    directory.person("dora", groups=[])
    if whose == "linked":
        dora = invited(tenant, DORA, "auditor")
        assert link(sign_in(dora), dora, directory, "dora").status_code == 302
    scim.group("byok-auditors", scim.user(DORA), role="auditor")
    assert enter(Client(), directory, "dora").status_code == 302
    browser = sign_in(alice)
    page = f"/tenants/{tenant.pk}/directory/remove/"
    assert "takes roles from a claim" not in browser.get(page).content.decode()
    assert browser.post(page, {"reason": "moving"}).status_code == 302
    assert enter(Client(), directory, "dora")["Location"] == f"/tenants/{tenant.pk}/"
    assert [one.role for one in of_dora(tenant)] == ["auditor"]


def test_disconnecting_says_where_a_claim_gives_the_roles_from_then_on(
    tenant: Tenant, alice: Member, directory: Directory
) -> None:
    offered(alice, directory)
    scim = Scim(alice)
    directory.person("dora", groups=["byok-admins"])
    scim.group("byok-auditors", scim.user(DORA), role="auditor")
    enter(Client(), directory, "dora")
    assert [one.role for one in of_dora(tenant)] == ["auditor"]
    browser = sign_in(alice)
    page = f"/tenants/{tenant.pk}/directory/remove/"
    assert "takes roles from a claim" in browser.get(page).content.decode()
    browser.post(page, {"reason": "moving"})
    enter(Client(), directory, "dora")
    assert [one.role for one in of_dora(tenant)] == ["admin"]


# --- an address that the directory changes ----------------------------------------------------------------------------


def test_an_address_that_the_directory_changes_is_in_the_log_and_the_old_one_is_told(
    tenant: Tenant, alice: Member, directory: Directory
) -> None:
    offered(alice, directory)
    directory.person("dora", groups=["byok-admins"])
    enter(Client(), directory, "dora")
    directory.person("dora", email="eve@acme.example", groups=["byok-admins"])
    enter(Client(), directory, "dora")
    changed = AuditEvent.objects.of(tenant).get(name="tenants.member.address_changed")
    assert (data_of(changed)["old"], data_of(changed)["email"]) == (DORA, "eve@acme.example")
    signed_on = AuditEvent.objects.of(tenant).filter(name="tenants.member.signed_on").last()
    assert signed_on is not None
    assert data_of(signed_on)["email"] == "eve@acme.example"
    follow.follow()
    told = set(Notice.objects.filter(event=changed).values_list("recipient", flat=True))
    assert told >= {DORA, alice.user.email}
    enter(Client(), directory, "dora")
    assert AuditEvent.objects.of(tenant).filter(name="tenants.member.address_changed").count() == 1
