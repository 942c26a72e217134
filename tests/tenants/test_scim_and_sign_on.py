"""A tenant's directory that both signs its people in (OpenID Connect) and tells by SCIM who is in."""

from __future__ import annotations

import pytest
from conftest import acting, invited
from directory import Directory, enter, offered, required
from django.test import Client
from scim_directory import Scim

from support import follow
from support.models import Notice
from tenants import services
from tenants.models import AuditEvent, DirectoryUser, Member, SignOnConnection, SignOnIdentity, Tenant

pytestmark = pytest.mark.django_db


def tracker(tenant: Tenant) -> str:
    return f"/tenants/{tenant.pk}/"


def named(scim: Scim, directory: Directory) -> str:
    """Let the directory name Dora as an admin, by SCIM and at the sign-on as an owner."""
    directory.person("dora", groups=["byok-owners"])
    person = scim.user("dora@acme.example")
    scim.group("byok-admins", person, role="admin")
    return person


def test_who_is_named_comes_in_by_the_sign_on_with_the_role_of_the_group(
    tenant: Tenant, alice: Member, directory: Directory
) -> None:
    offered(alice, directory, may_make_owners=True)
    scim = Scim(alice)
    named(scim, directory)
    browser = Client()
    assert enter(browser, directory, "dora")["Location"] == tracker(tenant)
    dora = Member.objects.of(tenant).get(user__email="dora@acme.example")
    assert dora.role == "admin", "the claim says owner, and the directory's groups decide"
    assert DirectoryUser.objects.get(member=dora).is_given


@pytest.mark.parametrize("why", ["not named", "switched off", "no role"])
def test_nobody_comes_in_beside_the_directory(tenant: Tenant, alice: Member, directory: Directory, why: str) -> None:
    offered(alice, directory)
    scim = Scim(alice)
    directory.person("dora", groups=["byok-admins"])
    if why != "not named":
        person = scim.user("dora@acme.example")
        scim.group("byok-admins", person, role="admin" if why == "switched off" else "")
        scim.switch(person, why != "switched off")
    answer = enter(Client(), directory, "dora")
    assert answer.status_code == 409
    assert not Member.objects.of(tenant).filter(user__email="dora@acme.example").exists()


def test_who_leaves_the_directory_is_signed_out_and_stays_out_until_it_says_otherwise(
    tenant: Tenant, alice: Member, directory: Directory
) -> None:
    offered(alice, directory)
    scim = Scim(alice)
    person = named(scim, directory)
    browser = Client()
    enter(browser, directory, "dora")
    assert browser.get(tracker(tenant)).status_code == 200
    scim.switch(person, False)
    assert browser.get(tracker(tenant))["Location"].startswith(("/accounts/login/", "/sign-on/"))
    assert enter(Client(), directory, "dora").status_code == 409
    scim.switch(person, True)
    back = Client()
    assert enter(back, directory, "dora")["Location"] == tracker(tenant)
    assert back.get(tracker(tenant)).status_code == 200
    assert SignOnIdentity.objects.get(subject="dora").member.removed_at is None
    assert browser.get(tracker(tenant)).status_code == 302, "the session of before stays ended"


def test_a_person_deleted_and_named_again_comes_back_by_the_sign_on(
    tenant: Tenant, alice: Member, directory: Directory
) -> None:
    offered(alice, directory)
    scim = Scim(alice)
    person = named(scim, directory)
    enter(Client(), directory, "dora")
    scim.ask("DELETE", f"Users/{person}", status=204)
    assert enter(Client(), directory, "dora").status_code == 409
    again = scim.user("dora@acme.example")
    scim.group("byok-auditors", again, role="auditor")
    assert enter(Client(), directory, "dora")["Location"] == tracker(tenant)
    assert Member.objects.of(tenant).get(user__email="dora@acme.example").role == "auditor"


def test_the_break_glass_owner_stays_until_it_is_another_one(
    tenant: Tenant, alice: Member, directory: Directory
) -> None:
    carol = invited(tenant, "carol@acme.example", "owner")
    connection = required(alice, directory, carol)
    scim = Scim(alice)
    person = scim.user("carol@acme.example")
    for _ in range(2):
        scim.switch(person, False)
    carol.refresh_from_db()
    assert carol.removed_at is None
    kept = AuditEvent.objects.of(tenant).filter(name="tenants.directory.break_glass_kept")
    assert kept.count() == 1
    follow.follow()
    assert Notice.objects.filter(event=kept.get(), recipient="alice@acme.example").exists()
    scim.ask("DELETE", f"Users/{person}", status=204)
    scim.ask("GET", f"Users/{person}", status=404)
    carol.refresh_from_db()
    assert carol.removed_at is None
    connection = SignOnConnection.objects.get(pk=connection.pk)
    services.set_sign_on_mode(connection, mode="required", break_glass=alice, actor=acting(alice))
    carol.refresh_from_db()
    assert carol.removed_at is not None
    assert not DirectoryUser.objects.exists()
