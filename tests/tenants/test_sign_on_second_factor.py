"""A sign-on always ends at a page on which the person can go on, whatever account it is and whatever it has."""

from __future__ import annotations

import re
import time
from typing import Any

import directory as dir
import pytest
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret, hotp_value, yield_hotp_counters_from_time
from conftest import PASSWORD, acting, invited
from directory import Directory, enter, link, offered, sign_in
from django.core.cache import cache
from django.test import Client

from tenants import services
from tenants.models import Member, Tenant

pytestmark = pytest.mark.django_db


@pytest.fixture
def directory(directory: Directory, alice: Member) -> Directory:
    """The directory, offered."""
    offered(alice, directory, default_role="auditor")
    return directory


@pytest.fixture
def bob(bob: Member, directory: Directory) -> Member:
    """An auditor with an own account, which is linked."""
    directory.person("bob", amr=None, auth_time=int(time.time()))
    link(sign_in(bob), bob, directory, "bob")
    return bob


def require(tenant: Tenant, alice: Member) -> None:
    keeper = invited(tenant, "carol@acme.example", "owner")
    TOTP.activate(keeper.user, generate_totp_secret())
    connection = services.connection_of(tenant)
    services.set_sign_on_mode(connection, mode="required", break_glass=keeper, actor=acting(alice))


def code_of(secret: str) -> str:
    return f"{hotp_value(secret, next(yield_hotp_counters_from_time())):06}"


def anew(browser: Client, directory: Directory, subject: str, there: str) -> Any:
    """Go through the step-up that a page leads to, and open the page again."""
    asked = browser.get(there)
    assert asked["Location"].startswith("/sign-on/again/"), asked["Location"]
    directory.person(subject, amr=None, auth_time=int(time.time()))
    answer = dir.over(browser, directory, subject, browser.post(asked["Location"], {"next": there}))
    assert browser.get(answer["Location"])["Location"] == there
    return browser.get(there)


def set_up_an_app(browser: Client, directory: Directory, subject: str) -> str:
    """Set up an authenticator app as the pages lead to it; returns its secret."""
    page = anew(browser, directory, subject, "/accounts/2fa/totp/activate/")
    assert page.status_code == 200
    secret = str(page.context["form"].secret)
    done = browser.post("/accounts/2fa/totp/activate/", {"code": code_of(secret)})
    assert done.status_code == 302, done.content.decode()
    codes = browser.get(done["Location"])
    assert codes.status_code == 200, "the recovery codes are shown, as to everybody"
    return secret


@pytest.mark.django_db(transaction=True)  # allauth says after the commit that a factor came
def test_a_linked_account_whose_factor_was_reset_gets_a_new_one_where_the_sign_on_is_the_only_way_in(
    tenant: Tenant, alice: Member, bob: Member, directory: Directory, settings: Any
) -> None:
    settings.MFA_REQUIRED = True
    TOTP.activate(bob.user, generate_totp_secret())
    require(tenant, alice)
    services.reset_second_factor(bob, reason="lost phone", actor=acting(alice))
    browser, page = Client(), f"/tenants/{tenant.pk}/"
    assert enter(browser, directory, "bob")["Location"] == page
    assert browser.get(page)["Location"] == "/accounts/2fa/"
    shown = browser.get("/accounts/2fa/")
    assert shown.status_code == 200
    for link_there in re.findall(r'href="(/accounts/[^"]*)"', shown.content.decode()):
        assert browser.get(link_there).status_code != 403, link_there
    secret = set_up_an_app(browser, directory, "bob")
    assert browser.get(page).status_code == 200
    # the next one asks for it
    again = Client()
    assert enter(again, directory, "bob")["Location"].startswith("/accounts/2fa/authenticate/")
    cache.clear()  # a code counts once; this forgets that it was used
    assert again.post("/accounts/2fa/authenticate/", {"code": code_of(secret)})["Location"] == page
    assert again.get(page).status_code == 200


def test_such_a_session_sets_up_nothing_else_and_nothing_once_there_is_a_factor(
    tenant: Tenant, alice: Member, bob: Member, directory: Directory
) -> None:
    """A passkey would be a way in of its own, to other organisations too once the person is in them."""
    require(tenant, alice)
    browser = Client()
    enter(browser, directory, "bob")
    closed = ("webauthn/", "webauthn/add/", "recovery-codes/", "recovery-codes/generate/", "recovery-codes/download/")
    assert browser.get("/accounts/2fa/").status_code == 200
    for path in closed:
        assert browser.get(f"/accounts/2fa/{path}").status_code == 403, path
    TOTP.activate(bob.user, generate_totp_secret())
    for path in ("", "totp/activate/", "totp/deactivate/", *closed):
        assert browser.get(f"/accounts/2fa/{path}").status_code == 403, path


@pytest.mark.parametrize("other", ["offered", "of another organisation too"])
def test_an_account_with_another_way_in_gets_its_factor_there(
    tenant: Tenant, alice: Member, bob: Member, directory: Directory, mallory: Member, other: str, settings: Any
) -> None:
    settings.MFA_REQUIRED = True
    if other != "offered":
        invitation = services.invite(mallory.tenant, email=bob.user.email, role="auditor", actor=acting(mallory))
        services.accept_invitation(services.new_link(invitation), user=bob.user)
        require(tenant, alice)
    browser = Client()
    enter(browser, directory, "bob")
    for path in ("", "totp/activate/"):
        refused = browser.get(f"/accounts/2fa/{path}")
        assert refused.status_code == 403
        assert "sign out and sign in to it with its password" in refused.content.decode()
    own = Client()
    own.post("/accounts/login/", {"login": bob.user.email, "password": PASSWORD})
    assert own.get("/accounts/2fa/totp/activate/").status_code == 200


@pytest.mark.parametrize("has_factor", [True, False])
@pytest.mark.parametrize("asserted", [True, False])
@pytest.mark.parametrize("is_required", [True, False])
@pytest.mark.parametrize("mode", ["offered", "required"])
@pytest.mark.parametrize("account", ["linked", "made"])
def test_whoever_signs_on_can_go_on(
    tenant: Tenant,
    alice: Member,
    bob: Member,
    directory: Directory,
    settings: Any,
    account: str,
    mode: str,
    is_required: bool,
    asserted: bool,
    has_factor: bool,
) -> None:
    subject = "bob" if account == "linked" else "dora"
    enter(Client(), directory, directory.person(subject, amr=None))
    member = Member.objects.of(tenant).get(user__email=f"{subject}@acme.example")
    if has_factor:
        TOTP.activate(member.user, generate_totp_secret())
    if mode == "required":
        require(tenant, alice)
    settings.MFA_REQUIRED = is_required
    directory.person(subject, amr=["mfa"] if asserted else None)
    browser = Client()
    there = enter(browser, directory, subject)["Location"]
    answer = browser.get(there, follow=True)
    if answer.status_code == 403:  # then the own sign-in, which it names, leads on
        assert "sign out and sign in to it with its password" in answer.content.decode()
        browser.post("/accounts/logout/")
        answer = browser.post("/accounts/login/", {"login": member.user.email, "password": PASSWORD}, follow=True)
        answer = answer if answer.status_code != 200 else browser.get(f"/tenants/{tenant.pk}/", follow=True)
    assert answer.status_code == 200
    where = answer.redirect_chain[-1][0] if answer.redirect_chain else there
    assert re.fullmatch(rf"/tenants/{tenant.pk}/|/accounts/2fa/(authenticate/.*)?", where), where
    if where == "/accounts/2fa/":
        assert not has_factor
        assert "/accounts/2fa/totp/activate/" in answer.content.decode()
        assert browser.get("/accounts/2fa/totp/activate/").status_code != 403
