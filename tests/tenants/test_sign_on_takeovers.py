"""Attempts to take over an account or an organisation by a directory: each one is refused, and nothing is left of it.

Acme Bank (Alice, owner; Bob, auditor) has the directory and the domain acme.example. Mallory, the owner of another
organisation, has a directory too, and says there whatever she likes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import directory as dir
import pytest
from allauth.account.models import EmailAddress
from conftest import PASSWORD, acting
from directory import Directory, back, connect, enter, link, offered, over, sign_in, verified_domain
from django.contrib.auth.models import User
from django.test import Client

from byokportal import clock
from byokportal.errors import DomainError
from tenants import audit, oidc, services, tokens
from tenants.models import Member, SignOnAttempt, SignOnConnection, SignOnIdentity, SignOnSession, Tenant
from tenants.services import sign_on_members

pytestmark = pytest.mark.django_db


@dataclass
class World:
    """Both organisations, each with its directory."""

    tenant: Tenant
    alice: Member
    bob: Member
    mallory: Member
    acme: Directory
    evil: Directory

    @property
    def page(self) -> str:
        return f"/tenants/{self.tenant.pk}/"

    def reaches(self, browser: Client) -> bool:
        """Tell whether a browser sees Acme Bank."""
        answer = browser.get(self.page)
        return answer.status_code == 200 and "Acme Bank" in answer.content.decode()


@pytest.fixture(scope="module")
def _directories() -> Iterator[tuple[Directory, Directory]]:
    with dir.running() as acme, dir.running() as evil:
        yield acme, evil


@pytest.fixture
def world(
    tenant: Tenant,
    alice: Member,
    bob: Member,
    mallory: Member,
    _directories: tuple[Directory, Directory],
    settings: Any,
) -> World:
    acme, evil = _directories
    settings.OUTBOUND_ALLOW = [acme.issuer, evil.issuer]
    verified_domain(tenant, "acme.example")
    verified_domain(mallory.tenant, "evil.example")
    offered(alice, acme, default_role="auditor")
    evil.person("mallory", email="mallory@evil.example")
    connection = connect(mallory, evil, default_role="admin", may_make_owners=True)
    link(sign_in(mallory), mallory, evil, "mallory")
    services.set_sign_on_mode(connection, mode="offered", actor=acting(mallory))
    return World(tenant, alice, bob, mallory, acme, evil)


def by_evil(world: World, subject: str, **claims: Any) -> tuple[Client, Any]:
    """Sign in by Mallory's directory as somebody whom it says these things of."""
    world.evil.person(subject, **claims)
    browser = Client()
    return browser, enter(browser, world.evil, subject, email="x@evil.example")


# --- another directory speaks of our people -----------------------------------------------------------


@pytest.mark.parametrize(
    "email",
    [
        "alice@acme.example",
        "ALICE@ACME.EXAMPLE",
        "alice@sub.acme.example",
        "alice@acme.example.evil.example",
        "alice@acme.example@evil.example",
        '"alice@acme.example"@evil.example@acme.example',
        "alice@acme.example\n@evil.example",
        "alice@evil.example,alice@acme.example",
        "alice@acmе.example",
        "alice@kore.example",
        "alice",
        "@evil.example",
        "alice@",
    ],
)
def test_a_directory_asserts_no_address_outside_its_own_domains(world: World, email: str) -> None:
    before = set(Member.objects.values_list("tenant", "user__email", "role"))
    browser, answer = by_evil(world, "somebody", email=email)
    assert answer.status_code in {409, 302}, answer.status_code
    assert not world.reaches(browser)
    assert "_auth_user_id" not in browser.session or answer.status_code == 302
    after = set(Member.objects.values_list("tenant", "user__email", "role"))
    assert {one for one in after - before if one[0] == world.tenant.pk} == set()
    assert all(one[1].rpartition("@")[2] == "evil.example" for one in after - before)


def test_the_subject_of_another_directory_is_another_person(world: World) -> None:
    browser, _ = by_evil(world, "alice", email="alice@evil.example")
    assert not world.reaches(browser)
    assert SignOnIdentity.objects.filter(subject="alice").count() == 2


def test_a_directory_that_says_it_is_ours_does_not_become_it(world: World) -> None:
    """Its discovery document names another issuer than the address it stands at."""
    with pytest.raises(DomainError) as raised:
        oidc.discover(world.evil.issuer + "/", whose="t")
    assert raised.value.code == "directory_unfit"


def test_an_identity_counts_for_the_issuer_that_it_was_made_at(world: World) -> None:
    connection = services.connection_of(world.tenant)
    SignOnConnection.objects.filter(pk=connection.pk).update(issuer=world.evil.issuer)  # by hand, past the service
    world.evil.person("alice", email="alice@acme.example")
    provider = oidc.discover(world.evil.issuer, whose="t")
    SignOnConnection.objects.filter(pk=connection.pk).update(provider=provider)
    browser = Client()
    answer = enter(browser, world.evil, "alice", email="alice@acme.example")
    assert answer["Location"] == "/sign-on/link/", "there is an account, and this issuer does not know it"
    assert not world.reaches(browser)


def test_a_domain_that_is_only_named_lets_nobody_in(world: World) -> None:
    services.add_domain(world.mallory.tenant, name="acme.example", actor=acting(world.mallory))
    browser, answer = by_evil(world, "alice2", email="alice@acme.example")
    assert answer.status_code == 409
    assert services.connection_for("alice@acme.example") == services.connection_of(world.tenant)
    assert not world.reaches(browser)


def test_a_domain_that_lapsed_lets_nobody_in(world: World) -> None:
    world.acme.person("dora")
    world.tenant.mail_domains.update(status="lapsed")
    assert services.connection_for("dora@acme.example") is None
    assert not Member.objects.of(world.tenant).filter(user__email="dora@acme.example").exists()


# --- an account that exists -----------------------------------------------------------------------------


def test_an_account_is_not_entered_because_the_address_is_the_same(world: World) -> None:
    world.acme.person("eve", email="bob@acme.example")
    browser = Client()
    answer = enter(browser, world.acme, "eve")
    assert answer["Location"] == "/sign-on/link/"
    assert not world.reaches(browser)
    assert browser.post("/sign-on/link/").status_code == 404
    assert not SignOnIdentity.objects.filter(subject="eve").exists()


def test_nobody_links_another_persons_address_to_an_own_account(world: World) -> None:
    world.acme.person("eve", email="bob@acme.example")
    browser = sign_in(world.alice)
    services.unlink_account(world.alice, actor=acting(world.alice))
    answer = link(browser, world.alice, world.acme, "eve")
    assert answer.status_code == 409
    assert not SignOnIdentity.objects.filter(subject="eve").exists()


def test_an_old_sign_in_links_nothing(world: World, browser_of: Callable[..., Client]) -> None:
    browser = browser_of(world.bob, is_fresh=False)
    answer = browser.post(f"{world.page}sign-on/link/")
    assert answer["Location"].startswith("/accounts/reauthenticate/")
    assert not SignOnAttempt.objects.filter(user=world.bob.user).exists()


def test_a_link_that_bob_began_is_not_finished_by_alice(world: World) -> None:
    services.unlink_account(world.alice, actor=acting(world.alice))
    world.acme.person("bob", email="bob@acme.example")
    browser = sign_in(world.bob)
    began = browser.post(f"{world.page}sign-on/link/")
    over(browser, world.acme, "bob", began)
    browser.post("/accounts/logout/")
    browser.post("/accounts/login/", {"login": "alice@acme.example", "password": PASSWORD})
    assert browser.post("/sign-on/link/").status_code in {404, 409}
    assert not SignOnIdentity.objects.filter(subject="bob").exists()


def test_a_second_person_of_the_directory_is_not_linked_to_a_linked_account(world: World) -> None:
    world.acme.person("eve", email="alice@acme.example")
    answer = link(sign_in(world.alice), world.alice, world.acme, "eve")
    assert answer.status_code == 409
    assert SignOnIdentity.objects.get(member=world.alice).subject == "alice"


def test_one_person_of_the_directory_is_not_linked_to_two_accounts(world: World) -> None:
    world.acme.person("alice", email="bob@acme.example")
    answer = link(sign_in(world.bob), world.bob, world.acme, "alice")
    assert answer.status_code == 409
    assert SignOnIdentity.objects.get(subject="alice").member == world.alice


def test_an_address_that_passed_to_another_person_brings_no_account_with_it(world: World) -> None:
    world.acme.person("dora", email="d@acme.example")
    enter(Client(), world.acme, "dora")
    world.acme.person("dirk", email="d@acme.example")
    browser = Client()
    answer = enter(browser, world.acme, "dirk")
    assert answer.status_code == 409
    assert not world.reaches(browser)


def test_a_removed_member_is_not_let_in_again_by_linking(world: World) -> None:
    world.acme.person("bob", email="bob@acme.example")
    link(sign_in(world.bob), world.bob, world.acme, "bob")
    services.remove_member(world.bob, reason="left", actor=acting(world.alice))
    browser = Client()
    answer = enter(browser, world.acme, "bob")
    assert answer["Location"] == "/sign-on/link/"
    browser.post("/accounts/login/", {"login": "bob@acme.example", "password": PASSWORD})
    answer = browser.post("/sign-on/link/")
    assert answer.status_code == 409
    assert not Member.objects.of(world.tenant).filter(user=world.bob.user).exists()
    assert not world.reaches(browser)


def test_a_removed_person_of_the_directory_is_not_let_in_by_another_account(world: World) -> None:
    world.acme.person("dora")
    enter(Client(), world.acme, "dora")
    dora = Member.objects.get(tenant=world.tenant, user__email="dora@acme.example")
    services.remove_member(dora, reason="left", actor=acting(world.alice))
    User.objects.filter(pk=dora.user_id).update(email="gone@acme.example")
    elsewhere = services.invite(
        world.mallory.tenant, email="dora@acme.example", role="admin", actor=acting(world.mallory)
    )
    other = services.accept_invitation(services.new_link(elsewhere), password=PASSWORD)
    browser = Client()
    assert enter(browser, world.acme, "dora")["Location"] == "/sign-on/link/"
    browser.post("/accounts/login/", {"login": "dora@acme.example", "password": PASSWORD})
    assert browser.post("/sign-on/link/").status_code == 409
    assert not Member.objects.of(world.tenant).filter(user=other.user).exists()


def test_a_removed_member_who_changed_the_address_is_not_let_in_as_somebody_new(world: World) -> None:
    services.remove_member(world.bob, reason="left", actor=acting(world.alice))
    User.objects.filter(pk=world.bob.user_id).update(email="bob@elsewhere.example")
    EmailAddress.objects.filter(user=world.bob.user).update(email="bob@elsewhere.example")
    world.acme.person("bob", email="bob@acme.example")
    browser = Client()
    assert enter(browser, world.acme, "bob").status_code == 409
    assert not world.reaches(browser)


@pytest.mark.parametrize("hosted", [{}, {"hd": "evil.example"}, {"hd": ""}, {"hd": 7}])
def test_a_consumers_account_at_google_with_an_address_of_ours_is_none_of_ours(
    world: World, hosted: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sign_on_members, "GOOGLE", world.acme.issuer)
    world.acme.person("eve", email="eve@acme.example", **hosted)
    browser = Client()
    assert enter(browser, world.acme, "eve").status_code == 409
    assert not world.reaches(browser)
    world.acme.person("dora", email="dora@acme.example", hd="acme.example")
    browser = Client()
    enter(browser, world.acme, "dora")
    assert world.reaches(browser)


def test_what_a_person_of_the_directory_leaves_behind_ends_with_the_connection(world: World) -> None:
    connection = services.connection_of(world.tenant)
    world.acme.person("dora")
    enter(Client(), world.acme, "dora")
    dora = Member.objects.get(tenant=world.tenant, user__email="dora@acme.example")
    Member.objects.filter(pk=dora.pk).update(role="owner")
    dora.refresh_from_db()
    invitation = services.invite(world.tenant, email="dora@home.example", role="owner", actor=acting(dora))
    raw = services.new_link(invitation)
    services.remove_connection(connection, reason="broken into", actor=acting(world.alice))
    with pytest.raises(DomainError) as raised:
        services.accept_invitation(raw, password=PASSWORD)
    assert raised.value.code == "invitation_over"


@pytest.mark.parametrize("how", ["domain removed", "domain lapsed", "draft"])
def test_a_token_of_a_person_of_the_directory_ends_with_what_brought_them_in(world: World, how: str) -> None:
    world.acme.person("dora")
    enter(Client(), world.acme, "dora")
    dora = Member.objects.get(tenant=world.tenant, user__email="dora@acme.example")
    Member.objects.filter(pk=dora.pk).update(role="admin")
    dora.refresh_from_db()
    _, raw = services.mint_token(dora, name="t", permissions=["operate"], actor=acting(dora))
    _, of_alice = services.mint_token(world.alice, name="t", permissions=["operate"], actor=acting(world.alice))
    assert tokens.verify(raw) is not None
    if how == "domain removed":
        services.remove_domain(world.tenant.mail_domains.get(), reason="r", actor=acting(world.alice))
    elif how == "domain lapsed":
        world.tenant.mail_domains.update(status="lapsed")
    else:
        SignOnConnection.objects.filter(tenant=world.tenant).update(mode="draft")
    assert tokens.verify(raw) is None
    assert tokens.verify(of_alice) is not None


def test_one_of_kores_people_is_neither_made_nor_linked(world: World, sam: User) -> None:
    User.objects.filter(pk=sam.pk).update(email="sam@acme.example")
    world.acme.person("sam", email="sam@acme.example")
    browser = Client()
    answer = enter(browser, world.acme, "sam")
    assert answer.status_code == 409
    assert "belongs to Kore.ai" in answer.content.decode()
    assert not Member.objects.filter(user=sam).exists()


def test_a_switched_off_account_is_not_entered(world: World) -> None:
    world.acme.person("dora")
    enter(Client(), world.acme, "dora")
    User.objects.filter(email="dora@acme.example").update(is_active=False)
    browser = Client()
    enter(browser, world.acme, "dora")
    assert not world.reaches(browser)


# --- roles ----------------------------------------------------------------------------------------------------


def test_a_directory_makes_no_owner_unless_an_owner_allowed_it(world: World) -> None:
    world.acme.person("dora", groups=["byok-owners"])
    enter(Client(), world.acme, "dora")
    assert Member.objects.of(world.tenant).get(user__email="dora@acme.example").role == "auditor"


def test_who_has_no_role_there_comes_not_in(world: World, settings: Any) -> None:
    connection = services.connection_of(world.tenant)
    SignOnConnection.objects.filter(pk=connection.pk).update(default_role="")
    world.acme.person("dora", groups=["everybody"])
    answer = enter(Client(), world.acme, "dora")
    assert answer.status_code == 409
    assert not User.objects.filter(email="dora@acme.example").exists()


def test_the_directory_changes_no_role_of_an_account_that_was_there(world: World) -> None:
    world.acme.person("alice", groups=["byok-auditors"])
    enter(Client(), world.acme, "alice")
    world.alice.refresh_from_db()
    assert world.alice.role == "owner"


# --- the browser, the answer and its parts --------------------------------------------------------------------


def begun(world: World, subject: str = "alice") -> tuple[Client, str]:
    """Begin in a browser, and return it with the address that the directory sends it back to."""
    browser = Client()
    browser.post("/sign-on/", {"email": f"{subject}@acme.example"})
    address = browser.get("/sign-on/go/")["Refresh"].removeprefix("0;url=")
    return browser, world.acme.authorize(address, subject)


def test_an_answer_is_taken_only_in_the_browser_that_began(world: World) -> None:
    """A sign-in that Mallory began and that somebody else's browser finishes, or the other way round."""
    _, address = begun(world)
    victim = Client()
    assert back(victim, address).status_code == 404
    victim.post("/sign-on/", {"email": "alice@acme.example"})
    assert back(victim, address).status_code == 404
    assert not world.reaches(victim)


def test_an_answer_is_taken_once(world: World) -> None:
    browser, address = begun(world)
    assert back(browser, address).status_code == 302
    assert back(browser, address).status_code == 404


def test_a_sign_in_is_finished_once(world: World) -> None:
    browser, address = begun(world)
    back(browser, address)
    cookie = browser.cookies["sign-on"].value
    assert browser.get("/sign-on/finish/")["Location"] == world.page
    thief = Client()
    thief.cookies["sign-on"] = cookie
    assert thief.get("/sign-on/finish/").status_code == 404
    assert not world.reaches(thief)


@pytest.mark.parametrize("state", ["", "x", "{state}x", "é"])
def test_another_state_is_refused(world: World, state: str) -> None:
    browser, address = begun(world)
    right = address.partition("state=")[2]
    assert back(browser, address.replace(right, state.format(state=right))).status_code == 404


def test_an_answer_at_the_address_of_another_tenant_is_refused(world: World) -> None:
    browser, address = begun(world)
    moved = address.replace(str(world.tenant.pk), str(world.mallory.tenant_id))
    assert back(browser, moved).status_code == 404


def test_an_answer_that_names_another_issuer_is_refused(world: World) -> None:
    browser, address = begun(world)
    assert back(browser, f"{address}&iss={world.evil.issuer}").status_code == 409
    assert browser.get("/sign-on/finish/").status_code == 404


def test_a_code_of_another_sign_in_is_refused(world: World) -> None:
    """Mallory's own code in the victim's browser: the nonce of its ID token is not this sign-in's."""
    world.acme.person("eve", email="eve@acme.example")
    _, theirs = begun(world, "eve")
    browser, address = begun(world)
    code, stolen = (one.partition("code=")[2].partition("&")[0] for one in (address, theirs))
    answer = back(browser, address.replace(code, stolen))
    assert answer.status_code == 409
    assert not world.reaches(browser)


@pytest.mark.parametrize("query", ["error=access_denied", "code=", "code=made-up", ""])
def test_an_answer_without_a_code_that_counts_is_refused(world: World, query: str) -> None:
    browser, address = begun(world)
    state = address.partition("state=")[2]
    assert back(browser, f"{address.partition('?')[0]}?state={state}&{query}").status_code == 409
    assert not world.reaches(browser)


def test_a_sign_in_that_took_too_long_is_over(world: World) -> None:
    browser, address = begun(world)
    SignOnAttempt.objects.update(expires_at=clock.now())
    assert back(browser, address).status_code == 404


def test_nothing_is_finished_that_the_directory_has_not_answered(world: World) -> None:
    browser, _ = begun(world)
    assert browser.get("/sign-on/finish/").status_code == 404
    assert browser.get("/sign-on/link/").status_code == 404
    assert not world.reaches(browser)


def test_a_connection_that_was_removed_meanwhile_lets_nobody_in(world: World) -> None:
    browser, address = begun(world)
    back(browser, address)
    services.remove_connection(services.connection_of(world.tenant), reason="r", actor=acting(world.alice))
    assert browser.get("/sign-on/finish/").status_code == 404
    assert not world.reaches(browser)


def test_a_domain_that_was_removed_meanwhile_lets_nobody_in(world: World) -> None:
    browser, address = begun(world)
    back(browser, address)
    services.remove_domain(world.tenant.mail_domains.get(), reason="r", actor=acting(world.alice))
    assert browser.get("/sign-on/finish/").status_code == 409
    assert not world.reaches(browser)


@pytest.mark.parametrize("next_page", ["https://evil.example/", "//evil.example/", "javascript:alert(1)", "/\\evil"])
def test_it_leads_to_no_other_host(world: World, next_page: str) -> None:
    browser = Client()
    enter(browser, world.acme, "alice")
    assert browser.post("/sign-on/again/", {"next": next_page})["Location"] == "/sign-on/go/"
    assert SignOnAttempt.objects.order_by("-created_at").first().next_page == "/"  # type: ignore[union-attr]


# --- sessions -------------------------------------------------------------------------------------------------


def test_the_id_of_a_session_in_another_persons_browser_ends_that_one(
    world: World, browser_of: Callable[..., Client]
) -> None:
    enter(Client(), world.acme, "alice")
    row = SignOnSession.objects.get()
    browser = browser_of(world.mallory)
    session = browser.session
    session["sign_on"] = str(row.pk)
    session.save()
    assert not world.reaches(browser)
    assert "_auth_user_id" not in browser.session


@pytest.mark.parametrize("value", ["", "x", 7, None, "00000000-0000-4000-8000-000000000000", ["x"]])
def test_a_session_whose_row_is_not_there_is_ended(world: World, browser_of: Callable[..., Client], value: Any) -> None:
    browser = browser_of(world.alice)
    session = browser.session
    session["sign_on"] = value
    session.save()
    assert not world.reaches(browser)


def test_mallory_reaches_nothing_of_acme_by_an_account_of_hers_that_alice_shares(world: World) -> None:
    """Alice is a member of Mallory's organisation too; Mallory's directory says that it is Alice."""
    invitation = services.invite(
        world.mallory.tenant, email=world.alice.user.email, role="owner", actor=acting(world.mallory)
    )
    services.accept_invitation(services.new_link(invitation), user=world.alice.user)
    browser, answer = by_evil(world, "alice3", email="alice@acme.example")
    assert answer.status_code == 409
    assert not world.reaches(browser)


def test_an_invitation_makes_no_second_account_of_who_came_by_the_directory(world: World) -> None:
    world.acme.person("dora")
    enter(Client(), world.acme, "dora")
    with pytest.raises(DomainError) as raised:
        services.invite(world.tenant, email="dora@acme.example", role="owner", actor=acting(world.alice))
    assert raised.value.code == "already_member"


def test_an_open_invitation_ends_when_its_person_comes_by_the_directory(world: World) -> None:
    invitation = services.invite(world.tenant, email="dora@acme.example", role="owner", actor=acting(world.alice))
    raw = services.new_link(invitation)
    world.acme.person("dora")
    enter(Client(), world.acme, "dora")
    with pytest.raises(DomainError) as raised:
        services.accept_invitation(raw, password=PASSWORD)
    assert raised.value.code == "invitation_over"
    assert Member.objects.of(world.tenant).get(user__email="dora@acme.example").role == "auditor"


def test_an_account_of_the_directory_gets_no_password(world: World, mailoutbox: list[Any]) -> None:
    world.acme.person("dora")
    enter(Client(), world.acme, "dora")
    Client().post("/accounts/password/reset/", {"email": "dora@acme.example"})
    assert not [one for one in mailoutbox if "reset/key" in one.body]
    user = User.objects.get(email="dora@acme.example")
    user.set_password(PASSWORD)  # by hand, past every page
    user.save()
    browser = Client()
    answer = browser.post("/accounts/login/", {"login": "dora@acme.example", "password": PASSWORD})
    assert answer["Location"] == "/sign-on/"
    assert not world.reaches(browser)


def test_a_link_for_a_new_password_of_before_lets_nobody_in_once_it_is_required(
    world: World, mailoutbox: list[Any]
) -> None:
    Client().post("/accounts/password/reset/", {"email": world.alice.user.email})
    link_in_mail = re.search(r"/accounts/password/reset/key/\S+", mailoutbox[-1].body)
    assert link_in_mail is not None
    keeper = _second_owner(world)
    connection = services.connection_of(world.tenant)
    services.set_sign_on_mode(connection, mode="required", break_glass=keeper, actor=acting(world.alice))
    browser, new = Client(), "another long passphrase"
    page = browser.get(link_in_mail[0])["Location"]
    browser.post(page, {"password1": new, "password2": new})
    world.alice.user.refresh_from_db()
    assert world.alice.user.check_password(new)
    answer = browser.post("/accounts/login/", {"login": world.alice.user.email, "password": new})
    assert answer["Location"] == "/sign-on/"
    assert not world.reaches(browser)


def _second_owner(world: World) -> Member:
    from conftest import invited

    return invited(world.tenant, "carol@acme.example", "owner")


def test_the_log_of_acme_knows_of_no_sign_in_that_was_refused_as_a_member(world: World) -> None:
    by_evil(world, "somebody2", email="alice@acme.example")
    assert not world.tenant.events.filter(name="tenants.member.signed_on").exists()
    lines = [audit.data_of(one) for one in world.tenant.events.all()]
    assert lines and all("evil" not in json.dumps(one) for one in lines)
