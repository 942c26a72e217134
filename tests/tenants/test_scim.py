"""What a tenant's directory says by SCIM, and what follows for memberships: each rule through its addresses."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from conftest import PASSWORD, acting, an_approval
from directory import verified_domain
from django.contrib.auth.models import User
from django.test import Client
from scim_directory import USER, Scim
from url_map import addresses

from byokportal import clock
from byokportal.errors import InvalidInput, NotAllowed
from keys.services import link_by_secret, make_link
from support import follow
from support.models import Notice
from tenants import errors, services, tasks
from tenants.models import (
    AccessToken,
    Approval,
    AuditEvent,
    DirectoryGroup,
    DirectoryToken,
    DirectoryUser,
    Invitation,
    Member,
    Tenant,
)

pytestmark = pytest.mark.django_db
BrowserOf = Callable[..., Client]


@pytest.fixture
def scim(tenant: Tenant, alice: Member) -> Scim:
    """Acme Bank's directory; its domain is verified."""
    verified_domain(tenant)
    return Scim(alice)


def account(email: str) -> User:
    """Make an account with a sign-in of its own, in no organisation."""
    from allauth.account.models import EmailAddress

    user = User.objects.create_user(email, email, PASSWORD)
    EmailAddress.objects.create(user=user, email=email, verified=True, primary=True)
    return user


def joined(scim: Scim, browser_of: BrowserOf, email: str = "dora@acme.example", role: str = "admin") -> tuple[Any, ...]:
    """Let somebody with an account of their own join by the directory; returns the person, the member, the browser."""
    person = scim.user(email)
    group = scim.group(f"byok-{role}s", person, role=role)
    user = account(email)
    browser = browser_of(user)
    assert browser.post(f"/tenants/{scim.tenant.pk}/directory/join/").status_code == 302
    return person, Member.objects.of(scim.tenant).get(user=user), browser, group


def events(tenant: Tenant) -> list[str]:
    return list(AuditEvent.objects.of(tenant).order_by("pk").values_list("name", flat=True))


# --- it works -----------------------------------------------------------------------------------------------------


def test_who_is_named_joins_by_the_fresh_sign_in_of_an_account_with_the_role_of_the_group(
    scim: Scim, browser_of: BrowserOf
) -> None:
    _person, dora, browser, _ = joined(scim, browser_of)
    assert dora.role == "admin"
    assert browser.get(f"/tenants/{scim.tenant.pk}/").status_code == 200
    assert "by the directory" in browser.get(f"/tenants/{scim.tenant.pk}/people/").content.decode()
    assert events(scim.tenant)[-1] == "tenants.member.joined_by_directory"
    page = browser_of(scim.owner).get(f"/tenants/{scim.tenant.pk}/directory/").content.decode()
    assert "Admin, by the directory" in page
    assert f"/api/scim/v2/{scim.tenant.pk}" in page
    assert scim.raw not in page


def test_nobody_is_a_member_before_the_own_sign_in(scim: Scim, browser_of: BrowserOf) -> None:
    person = scim.user("dora@acme.example")
    scim.group("byok-admins", person, role="admin")
    user = account("dora@acme.example")
    assert not Member.objects.filter(user=user).exists()
    assert "Acme Bank names you" in browser_of(user).get("/").content.decode()
    stale = browser_of(user, is_fresh=False).post(f"/tenants/{scim.tenant.pk}/directory/join/")
    assert stale.status_code == 302
    assert "reauthenticate" in stale["Location"]
    assert not Member.objects.filter(user=user).exists()


def test_the_role_follows_the_groups(scim: Scim, browser_of: BrowserOf) -> None:
    person, dora, _, group = joined(scim, browser_of)
    auditors = scim.group("byok-auditors", person, role="auditor")
    dora.refresh_from_db()
    assert dora.role == "admin", "the highest counts"
    scim.patch(f"Groups/{group}", {"op": "Remove", "path": f'members[value eq "{person}"]'})
    dora.refresh_from_db()
    assert dora.role == "auditor"
    scim.ask("DELETE", f"Groups/{auditors}", status=204)
    dora.refresh_from_db()
    assert dora.removed_at is not None, "in no group with a role: no membership"


def test_a_directory_makes_owners_only_where_an_owner_allowed_it(scim: Scim, browser_of: BrowserOf) -> None:
    _person, dora, _, group = joined(scim, browser_of)
    row = DirectoryGroup.objects.get(pk=group)
    with pytest.raises(InvalidInput) as raised:
        services.set_group_role(row, role="owner", actor=acting(scim.owner))
    assert raised.value.errors == {"role": ["This directory may make no owners. Allow that first."]}
    services.set_directory(scim.tenant, may_make_owners=True, actor=acting(scim.owner))
    services.set_group_role(row, role="owner", actor=acting(scim.owner))
    dora.refresh_from_db()
    assert dora.role == "owner"
    services.set_directory(scim.tenant, may_make_owners=False, actor=acting(scim.owner))
    dora.refresh_from_db()
    assert dora.removed_at is not None


@pytest.mark.parametrize("active", [False, "False", "false"])
def test_a_switched_off_person_is_out_with_all_that_could_be_used(
    scim: Scim, browser_of: BrowserOf, monkeypatch: pytest.MonkeyPatch, active: object
) -> None:
    person, dora, browser, _ = joined(scim, browser_of)
    _, raw = services.mint_token(dora, name="t", permissions=["read"], days=30, actor=acting(dora))
    _link, secret = make_link(scim.tenant, name="cloud", actor=acting(dora))
    approval = an_approval(dora)
    invitation = Invitation.objects.create(
        tenant=scim.tenant,
        email="eve@acme.example",
        role="auditor",
        invited_by="x",
        inviter=dora,
        expires_at=clock.now() + timedelta(days=7),
    )
    api = Client(headers={"authorization": f"Bearer {raw}"})
    steps = f"/api/v1/tenants/{scim.tenant.pk}/onboarding"
    keys = f"/api/v1/tenants/{scim.tenant.pk}/data-keys"
    assert api.get(steps).status_code == 200
    assert api.post(keys, "{}", "application/json").status_code == 403, "known, and no service"
    scim.switch(person, active)
    assert browser.get(f"/tenants/{scim.tenant.pk}/").status_code in {302, 404}
    assert link_by_secret(secret) is None
    for row in (approval, invitation):
        row.refresh_from_db()
        assert row.status == "withdrawn"
    assert AccessToken.objects.get(member=dora).revoked_at is not None
    # Callers are remembered, for five seconds at most.
    later = clock.monotonic() + 5.0
    monkeypatch.setattr(clock, "monotonic", lambda: later)
    assert api.get(steps).status_code == 401
    assert api.post(keys, "{}", "application/json").status_code == 401
    assert User.objects.get(pk=dora.user_id).is_active, "the account is the person's"
    assert "tenants.member.ended_by_directory" in events(scim.tenant)
    last = AuditEvent.objects.of(scim.tenant).get(name="tenants.member.ended_by_directory")
    assert last.actor == "directory"


def test_another_tenants_access_stays(scim: Scim, mallory: Member, browser_of: BrowserOf) -> None:
    person, dora, browser, _ = joined(scim, browser_of)
    there = services.invite(mallory.tenant, email=dora.user.email, role="admin", actor=acting(mallory))
    other = services.accept_invitation(services.new_link(there), user=dora.user)
    services.mint_token(other, name="t", permissions=["read"], days=30, actor=acting(other))
    scim.ask("DELETE", f"Users/{person}", status=204)
    assert browser.get(f"/tenants/{scim.tenant.pk}/").status_code == 404
    assert browser.get(f"/tenants/{mallory.tenant_id}/").status_code == 200
    assert AccessToken.objects.get(member=other).revoked_at is None
    scim.ask("GET", f"Users/{person}", status=404)


def test_reactivation_gives_the_membership_back_and_no_old_token(scim: Scim, browser_of: BrowserOf) -> None:
    person, dora, _browser, _ = joined(scim, browser_of)
    _, raw = services.mint_token(dora, name="t", permissions=["read"], days=30, actor=acting(dora))
    scim.switch(person, False)
    scim.switch(person, True)
    again = Member.objects.of(scim.tenant).get(user=dora.user)
    assert again.pk != dora.pk
    assert again.role == "admin"
    api = Client(headers={"authorization": f"Bearer {raw}"})
    assert api.get(f"/api/v1/tenants/{scim.tenant.pk}/onboarding").status_code == 401


def test_whom_a_person_showed_out_the_directory_does_not_bring_back(scim: Scim, browser_of: BrowserOf) -> None:
    person, dora, _browser, _ = joined(scim, browser_of)
    services.remove_member(dora, reason="r", actor=acting(scim.owner))
    scim.switch(person, False)
    scim.switch(person, True)
    assert not Member.objects.of(scim.tenant).filter(user=dora.user).exists()
    answer = browser_of(dora.user).post(f"/tenants/{scim.tenant.pk}/directory/join/")
    assert answer.status_code == 409
    assert not Member.objects.of(scim.tenant).filter(user=dora.user).exists()


# --- who was in before --------------------------------------------------------------------------------------------


def test_the_directory_ends_a_membership_that_a_person_gave_and_changes_none(scim: Scim, bob: Member) -> None:
    person = scim.user(bob.user.email)
    scim.group("byok-admins", person, role="admin")
    bob.refresh_from_db()
    assert bob.role == "auditor", "the role of who was in before is for people to change"
    scim.switch(person, False)
    bob.refresh_from_db()
    assert bob.removed_at is not None


def test_the_last_owner_goes_and_the_organisation_is_told(scim: Scim, bob: Member) -> None:
    person = scim.user("alice@acme.example")
    scim.switch(person, False)
    scim.owner.refresh_from_db()
    assert scim.owner.removed_at is not None
    assert "tenants.directory.no_owner_left" in events(scim.tenant)
    follow.follow()
    told = Notice.objects.filter(event__name="tenants.directory.no_owner_left").values_list("recipient", flat=True)
    assert set(told) == {"alice@acme.example", "bob@acme.example"}


def test_an_owner_does_not_take_the_last_owner_away_by_a_group(
    scim: Scim, browser_of: BrowserOf, alice: Member
) -> None:
    services.set_directory(scim.tenant, may_make_owners=True, actor=acting(alice))
    _person, dora, _, group = joined(scim, browser_of, role="owner")
    services.remove_member(alice, reason="r", actor=acting(dora))
    with pytest.raises(errors.LastOwner):
        services.set_group_role(DirectoryGroup.objects.get(pk=group), role="", actor=acting(dora))
    dora.refresh_from_db()
    assert (dora.role, dora.removed_at) == ("owner", None)


# --- what a directory cannot do -----------------------------------------------------------------------------------


def attempts(scim: Scim, bob: Member, sam: User, mallory: Member) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return what a directory that is in the wrong hands tries, by whom it would take over."""
    return {
        "an address of another domain": ("carl@other.example", {}),
        "one of Kore.ai's people": (sam.email, {}),
        "an owner of another tenant": (mallory.user.email, {}),
        "a name that is not the address": ("x", {"emails": [{"value": "carl@other.example", "primary": True}]}),
        "a domain below ours": ("carl@sub.acme.example", {}),
        "a look-alike": ("carl@acme.exampl\u0435", {}),
    }


@pytest.mark.parametrize("what", [
    "an address of another domain", "one of Kore.ai's people", "an owner of another tenant",
    "a name that is not the address", "a domain below ours", "a look-alike",
])  # fmt: skip
def test_no_account_is_taken_over(
    scim: Scim, bob: Member, sam: User, mallory: Member, browser_of: BrowserOf, what: str
) -> None:
    carl = account("carl@other.example")
    name, more = attempts(scim, bob, sam, mallory)[what]
    before = (Member.everybody.count(), User.objects.count())
    person = scim.user(name, **{"active": True, **more})
    group = scim.group("owners", person)
    services.set_directory(scim.tenant, may_make_owners=True, default_role="admin", actor=acting(scim.owner))
    services.set_group_role(DirectoryGroup.objects.get(pk=group), role="owner", actor=acting(scim.owner))
    for user in (carl, mallory.user):
        answer = browser_of(user).post(f"/tenants/{scim.tenant.pk}/directory/join/")
        assert answer.status_code in {404, 409}
    scim.switch(person, False)
    scim.ask("DELETE", f"Users/{person}", status=204)
    assert (Member.everybody.count(), User.objects.count()) == before
    mallory.refresh_from_db()
    assert mallory.removed_at is None
    assert User.objects.get(pk=sam.pk).is_active
    assert User.objects.get(pk=carl.pk).check_password(PASSWORD)


def test_an_address_that_was_not_proved_joins_nothing(scim: Scim, browser_of: BrowserOf) -> None:
    person = scim.user("dora@acme.example")
    scim.group("byok-admins", person, role="admin")
    user = User.objects.create_user("dora", "dora@acme.example", PASSWORD)
    assert browser_of(user).post(f"/tenants/{scim.tenant.pk}/directory/join/").status_code == 404


def test_a_person_who_is_renamed_stays_who_it_is(scim: Scim, bob: Member, browser_of: BrowserOf) -> None:
    person, dora, _, _ = joined(scim, browser_of)
    scim.patch(f"Users/{person}", {"op": "replace", "path": "userName", "value": bob.user.email},
               {"op": "replace", "path": 'emails[type eq "work"].value', "value": bob.user.email})  # fmt: skip
    scim.switch(person, False)
    dora.refresh_from_db()
    bob.refresh_from_db()
    assert dora.removed_at is not None
    assert bob.removed_at is None


def test_without_the_domain_the_directory_gives_and_takes_nothing(scim: Scim, bob: Member) -> None:
    scim.tenant.mail_domains.update(status="lapsed")
    person = scim.user(bob.user.email)
    scim.switch(person, False)
    bob.refresh_from_db()
    assert bob.removed_at is None


# --- tokens -------------------------------------------------------------------------------------------------------


def test_a_token_is_of_its_own_kind_and_reaches_its_tenant_alone(scim: Scim, mallory: Member) -> None:
    assert scim.raw.startswith("byok_dt_")
    assert DirectoryToken.objects.get().digest != scim.raw
    with_token = Client(headers={"authorization": f"Bearer {scim.raw}"})
    assert with_token.get(f"/api/v1/tenants/{scim.tenant.pk}/setup").status_code == 401
    services.set_directory(mallory.tenant, actor=acting(mallory))
    for other in (mallory.tenant_id, "00000000-0000-0000-0000-000000000000", "x"):
        answer = with_token.get(f"/api/scim/v2/{other}/Users")
        assert answer.status_code == 404
    _automation, raw = services.mint_token(
        scim.owner, name="t", permissions=["people"], days=3, actor=acting(scim.owner)
    )
    assert (
        Client(headers={"authorization": f"Bearer {raw}"}).get(f"/api/scim/v2/{scim.tenant.pk}/Users").status_code
        == 401
    )


def test_another_tenants_people_and_groups_do_not_exist(scim: Scim, mallory: Member) -> None:
    verified_domain(mallory.tenant, "evil.example")
    theirs = Scim(mallory)
    person, group = theirs.user("m@evil.example"), theirs.group("g")
    for path in (f"Users/{person}", f"Groups/{group}"):
        for method, body in (("GET", None), ("DELETE", None), ("PUT", {"schemas": [USER], "userName": "x"})):
            if method != "PUT" or path.startswith("Users"):
                scim.ask(method, path, body, status=404)
    scim.patch(f"Users/{person}", {"op": "replace", "path": "active", "value": False}, status=404)
    mine = scim.group("mine")
    scim.patch(f"Groups/{mine}", {"op": "add", "path": "members", "value": [{"value": person}]}, status=400)
    assert scim.ask("GET", f'Users?filter=id eq "{person}"', status=200)["totalResults"] == 0


@pytest.mark.parametrize(
    "route", sorted(one.route for one in addresses() if one.name.startswith("scim:") and "<path:" not in one.route)
)
def test_another_tenants_addresses_answer_like_ones_that_there_are_not(scim: Scim, mallory: Member, route: str) -> None:
    services.set_directory(mallory.tenant, actor=acting(mallory))
    theirs, none = str(mallory.tenant_id), "00000000-0000-0000-0000-000000000000"
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        got = [
            Client(headers={"authorization": f"Bearer {scim.raw}"}).generic(
                method, "/" + route.replace("<str:tenant>", tenant).replace("<str:pk>", none)
            )
            for tenant in (theirs, none)
        ]
        assert got[0].status_code == got[1].status_code == 404
        assert got[0].content == got[1].content


def test_an_owner_makes_a_token_with_a_fresh_sign_in_and_sees_it_once(
    scim: Scim, bob: Member, browser_of: BrowserOf, api_of: Any
) -> None:
    page = f"/tenants/{scim.tenant.pk}/directory/"
    stale = browser_of(scim.owner, is_fresh=False).post(f"{page}token/")
    assert "reauthenticate" in stale["Location"]
    browser = browser_of(scim.owner)
    answer = browser.post(f"{page}token/", {"days": "30"})
    shown = browser.get(answer["Location"]).content.decode()
    assert "byok_dt_" in shown
    assert "byok_dt_" not in browser.get(answer["Location"]).content.decode()
    assert "2 tokens work already" in browser.post(f"{page}token/").content.decode()
    assert browser_of(bob).post(f"{page}token/").status_code == 403
    by_token = services.mint_token(scim.owner, name="t", permissions=["people"], days=3, actor=acting(scim.owner))[0]
    from tenants.audit import Actor

    with pytest.raises(NotAllowed):
        services.make_directory_token(scim.directory, actor=Actor.of_member(scim.owner, via="api", token=by_token))


def test_a_revoked_or_expired_token_ends_with_the_next_request(scim: Scim, browser_of: BrowserOf) -> None:
    scim.ask("GET", "Users", status=200)
    assert DirectoryToken.objects.get().last_used_at is not None
    DirectoryToken.objects.update(expires_at=clock.now())
    scim.ask("GET", "Users", status=401)
    DirectoryToken.objects.update(expires_at=None)
    page = f"/tenants/{scim.tenant.pk}/directory/tokens/{scim.token.pk}/revoke/"
    assert browser_of(scim.owner).post(page).status_code == 302
    scim.ask("GET", "Users", status=401)
    with time_machine.travel(clock.now() + timedelta(days=15)):
        tasks.clear_expired()
    assert not DirectoryToken.objects.exists()


def test_a_second_person_approves_a_token_and_a_role(scim: Scim, bob: Member) -> None:
    Member.objects.update(created_at=clock.now() - timedelta(days=9), role_since=clock.now() - timedelta(days=9))
    group = DirectoryGroup.objects.get(pk=scim.group("g"))
    Tenant.objects.update(second_person_since=clock.now())
    for do in (
        lambda: services.make_directory_token(scim.directory, actor=acting(scim.owner)),
        lambda: services.set_group_role(group, role="admin", actor=acting(scim.owner)),
        lambda: services.set_directory(scim.tenant, default_role="admin", actor=acting(scim.owner)),
        lambda: services.remove_directory(scim.directory, reason="r", actor=acting(scim.owner)),
    ):
        with pytest.raises(errors.SecondPersonNeeded) as raised:
            do()
        assert services.ask_second_person(raised.value) is not None
    assert Approval.objects.filter(status="waiting").count() == 4
    services.revoke_directory_token(scim.token, actor=acting(scim.owner))


def test_disconnecting_deletes_what_the_directory_said_and_keeps_the_people(scim: Scim, browser_of: BrowserOf) -> None:
    _person, _dora, browser, _ = joined(scim, browser_of)
    page = f"/tenants/{scim.tenant.pk}/directory/remove/"
    assert browser_of(scim.owner).post(page, {"reason": "moving"}).status_code == 302
    scim.ask("GET", "Users", status=401)
    assert not DirectoryUser.objects.exists()
    assert browser.get(f"/tenants/{scim.tenant.pk}/").status_code == 200


# --- the protocol -------------------------------------------------------------------------------------------------


def test_filters_and_pages(scim: Scim) -> None:
    ids = [scim.user(f"p{n}@acme.example", externalId=f"E{n}") for n in range(5)]
    scim.switch(ids[4], False)
    group = scim.group("Admins", ids[0])
    for text, found in {
        'userName eq "P1@ACME.example"': [1],
        'externalId eq "E2"': [2],
        'externalId eq "e2"': [],
        f'id eq "{ids[3]}"': [3],
        "active eq false": [4],
        'active eq "True" and not (userName sw "p0")': [1, 2, 3],
        'emails[type eq "work"].value eq "p1@acme.example"': [1],
        'emails[type eq "work" and value eq "p2@acme.example"]': [2],
        'userName eq "p0@acme.example" or emails.value co "p3@"': [0, 3],
        'id eq "no uuid"': [],
    }.items():
        answer = scim.ask("GET", f"Users?filter={text}", status=200)
        assert [ids.index(one["id"]) for one in answer["Resources"]] == found if found else not answer["totalResults"]
    for text in ('displayName eq "admins"', f'members eq "{ids[0]}"', f'members.value eq "{ids[0]}"'):
        assert scim.ask("GET", f"Groups?filter={text}", status=200)["Resources"][0]["id"] == group
    page = scim.ask("GET", "Users?startIndex=2&count=2", status=200)
    assert [ids.index(one["id"]) for one in page["Resources"]] == [1, 2]
    assert (page["totalResults"], page["startIndex"], page["itemsPerPage"]) == (5, 2, 2)
    assert scim.ask("GET", "Users?count=0", status=200)["totalResults"] == 5
    lean = scim.ask("GET", "Groups?excludedAttributes=members", status=200)["Resources"][0]
    assert "members" not in lean


@pytest.mark.parametrize("text", ['password eq "x"', "userName", 'userName gt "a"', "active eq 1", "(" * 600,
                                  'title eq "x"', " or ".join(['id eq "x"'] * 30)])  # fmt: skip
def test_what_nobody_can_ask_for(scim: Scim, text: str) -> None:
    assert scim.ask("GET", f"Users?filter={text}", status=400)["scimType"] == "invalidFilter"


def test_names_and_addresses_are_unique(scim: Scim) -> None:
    scim.user("dora@acme.example")
    for name, email in (("DORA@acme.example", "other@acme.example"), ("other", "Dora@Acme.example")):
        body = {"schemas": [USER], "userName": name, "emails": [{"value": email}]}
        assert scim.ask("POST", "Users", body, status=409)["scimType"] == "uniqueness"


def test_what_we_do_not_need_is_not_kept(scim: Scim) -> None:
    person = scim.user("dora@acme.example", password="hunter2-secret", title="Boss", phoneNumbers=[{"value": "1"}])
    row = DirectoryUser.objects.get(pk=person)
    assert "hunter2-secret" not in str(row.resource)
    assert set(row.resource) == {"active", "emails"}


def test_an_answer_of_put_keeps_a_person_as_active_as_before(scim: Scim) -> None:
    person = scim.user("dora@acme.example")
    scim.switch(person, False)
    body = {"schemas": [USER], "userName": "dora@acme.example"}
    assert scim.ask("PUT", f"Users/{person}", body, status=200)["active"] is False


def test_entra_sends_a_remove_with_a_value(scim: Scim) -> None:
    one, two = scim.user("a@acme.example"), scim.user("b@acme.example")
    group = scim.group("g", one, two)
    scim.patch(f"Groups/{group}", {"op": "Remove", "path": "members", "value": [{"value": one}]})
    assert [str(pk) for pk in DirectoryGroup.objects.get(pk=group).users.values_list("pk", flat=True)] == [two]


def test_too_many_requests_wait(scim: Scim, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from tenants.attempts import Limit
    from tenants.scim import admission

    monkeypatch.setattr(admission, "REQUESTS", Limit("scim", 2, 60))
    monkeypatch.setattr(admission, "WRONG", Limit("scim-wrong-token", 2, 60))
    for status in (200, 200, 429):
        scim.ask("GET", "Users", status=status)
    scim.raw = "byok_dt_" + "x" * 43
    for status in (401, 401, 429):
        scim.ask("GET", "Users", status=status)
