"""Sign-on by a tenant's directory, end to end against a real OpenID Connect provider."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import directory as dir
import pytest
from allauth.mfa.models import Authenticator
from conftest import PASSWORD, acting, invited
from directory import Directory, connect, enter, link, offered, required, sign_in, verified_domain
from django.contrib.auth.models import User
from django.core import mail
from django.test import Client

from byokportal import clock
from byokportal.errors import NotAllowed, NotFound
from support import follow, notices
from tenants import authentication, errors, services
from tenants.models import (
    AuditEvent,
    Member,
    SignOnAttempt,
    SignOnConnection,
    SignOnIdentity,
    SignOnSession,
    Tenant,
)

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def _running() -> Iterator[Directory]:
    with dir.running() as running:
        yield running


@pytest.fixture
def directory(_running: Directory, settings: Any, tenant: Tenant) -> Directory:
    """Acme Bank's directory; its domain is verified."""
    settings.OUTBOUND_ALLOW = [_running.issuer]
    _running.asked.clear()
    verified_domain(tenant)
    return _running


@pytest.fixture
def carol(tenant: Tenant, alice: Member) -> Member:
    """A second owner."""
    return invited(tenant, "carol@acme.example", "owner")


def tracker(tenant: Tenant) -> str:
    return f"/tenants/{tenant.pk}/"


# --- it works ----------------------------------------------------------------------------------------------


def test_a_person_of_the_directory_becomes_a_member_with_the_role_of_a_claim(
    tenant: Tenant, alice: Member, directory: Directory
) -> None:
    offered(alice, directory)
    directory.person("dora", groups=["everybody", "byok-auditors", "byok-admins"])
    browser = Client()
    answer = enter(browser, directory, "dora")
    assert answer["Location"] == tracker(tenant)
    assert browser.get(tracker(tenant)).status_code == 200
    dora = Member.objects.of(tenant).get(user__email="dora@acme.example")
    assert dora.role == "admin"
    assert not dora.user.has_usable_password()
    identity = SignOnIdentity.objects.get(member=dora)
    assert (identity.subject, identity.issuer, identity.made_account) == ("dora", directory.issuer, True)
    names = list(AuditEvent.objects.of(tenant).order_by("pk").values_list("name", flat=True))
    assert names[-2:] == ["tenants.member.joined_by_sign_on", "tenants.member.signed_on"]


def test_the_same_person_comes_back_to_the_same_account_whatever_the_address_is_then(
    tenant: Tenant, alice: Member, directory: Directory
) -> None:
    offered(alice, directory)
    directory.person("dora", groups=["byok-admins"])
    enter(Client(), directory, "dora")
    directory.person("dora", email="dora.new@acme.example", groups=["byok-auditors"])
    enter(Client(), directory, "dora")
    dora = Member.objects.of(tenant).get(sign_on_identities__subject="dora")
    assert dora.user.email == "dora.new@acme.example"
    assert dora.role == "auditor"


def test_an_owner_links_the_account_and_comes_in_by_either_way(
    tenant: Tenant, alice: Member, directory: Directory
) -> None:
    offered(alice, directory)
    browser = Client()
    assert enter(browser, directory, "alice")["Location"] == tracker(tenant)
    assert browser.get(tracker(tenant)).status_code == 200
    assert sign_in(alice).get(tracker(tenant)).status_code == 200
    assert Member.objects.of(tenant).count() == 1


def test_who_comes_by_the_sign_on_with_an_account_signs_in_to_it_and_links_it(
    tenant: Tenant, alice: Member, bob: Member, directory: Directory
) -> None:
    offered(alice, directory)
    directory.person("bob", groups=["byok-admins"])
    browser = Client()
    answer = enter(browser, directory, "bob")
    assert answer["Location"] == "/sign-on/link/"
    page = browser.get("/sign-on/link/").content.decode()
    assert "There is an account for this address already" in page
    browser.post("/accounts/login/", {"login": bob.user.email, "password": PASSWORD})
    assert browser.post("/sign-on/link/").status_code == 302
    assert SignOnIdentity.objects.get(subject="bob").member == bob
    bob.refresh_from_db()
    assert bob.role == "auditor", "the role of an account that was there is for people to change"
    again = Client()
    assert enter(again, directory, "bob")["Location"] == tracker(tenant)


def test_a_draft_is_tried_by_owners_alone(tenant: Tenant, alice: Member, bob: Member, directory: Directory) -> None:
    connect(alice, directory)
    directory.person("bob", groups=["byok-admins"])
    assert "No organisation signs in here" in Client().post("/sign-on/", {"email": "bob@acme.example"}).content.decode()
    assert link(sign_in(bob), bob, directory, "bob").status_code in {302, 409}
    assert not SignOnIdentity.objects.exists()


def test_it_asks_for_code_with_pkce_state_and_nonce(alice: Member, directory: Directory) -> None:
    offered(alice, directory)
    asked = directory.asked[-1]
    assert asked["response_type"] == ["code"]
    assert asked["code_challenge_method"] == ["S256"]
    assert asked["redirect_uri"] == [f"http://localhost:8000/sign-on/{alice.tenant_id}/callback/"]
    assert all(len(asked[name][0]) >= 43 for name in ("state", "nonce", "code_challenge"))
    assert "prompt" not in asked


# --- where such a session reaches ------------------------------------------------------------------------------


@pytest.fixture
def at_both(tenant: Tenant, alice: Member, mallory: Member) -> Member:
    """Alice as a member of Mallory's organisation too; returns that membership."""
    invitation = services.invite(mallory.tenant, email=alice.user.email, role="owner", actor=acting(mallory))
    return services.accept_invitation(_link_of(invitation), user=alice.user)


def _link_of(invitation: Any) -> str:
    return services.new_link(invitation)


CLOSED = [
    "/accounts/2fa/",
    "/accounts/2fa/totp/activate/",
    "/accounts/2fa/webauthn/add/",
    "/accounts/2fa/webauthn/",
    "/accounts/2fa/recovery-codes/generate/",
    "/accounts/password/change/",
    "/accounts/password/reset/",
    "/accounts/reauthenticate/",
    "/accounts/2fa/reauthenticate/",
    "/accounts/sessions/",
    "/accounts/login/",
    "/address/",
    "/address/confirm/",
    "/invitation/",
    "/sign-on/link/",
    "/admin/",
    "/admin/login/",
]


def test_a_session_of_a_linked_account_reaches_that_tenant_only(
    tenant: Tenant, alice: Member, at_both: Member, directory: Directory
) -> None:
    offered(alice, directory)
    browser = Client()
    enter(browser, directory, "alice")
    assert browser.get(tracker(tenant)).status_code == 200
    for path in ("", "key/", "people/", "automation/", "log/", "tickets/", "sign-on/", "steps/1/"):
        assert browser.get(f"/tenants/{at_both.tenant_id}/{path}").status_code == 404, path
    assert browser.get("/")["Location"] == tracker(tenant)
    for path in CLOSED:
        for method in (browser.get, browser.post):
            assert method(path).status_code == 403, path
    assert browser.post(f"/tenants/{at_both.tenant_id}/automation/", {"name": "t"}).status_code == 404
    # by her own sign-in she reaches both
    own = sign_in(alice)
    assert own.get(tracker(tenant)).status_code == own.get(tracker(at_both.tenant)).status_code == 200


def test_every_address_that_is_mounted_is_closed_to_it_but_for_a_list() -> None:
    from django.urls import get_resolver

    from tenants import mailed_links, sign_on_sessions

    names = {f"portal:{one}" for one in get_resolver().namespace_dict["portal"][1].reverse_dict if isinstance(one, str)}
    reached = {one for one in names if one in sign_on_sessions.OPEN - mailed_links.FOR_THE_HOLDER}
    assert reached == {
        "portal:home",
        "portal:language",
        "portal:guide",
        "portal:sign-on-start",
        "portal:sign-on-go",
        "portal:sign-on-callback",
        "portal:saml-acs",
        "portal:saml-metadata",
        "portal:saml-answer",
        "portal:sign-on-finish",
        "portal:sign-on-again",
    }


def test_an_account_of_the_directory_may_set_up_a_second_factor_and_no_other_way_in(
    alice: Member, directory: Directory
) -> None:
    offered(alice, directory, default_role="auditor")
    directory.person("dora")
    browser = Client()
    enter(browser, directory, "dora")
    assert browser.get("/accounts/2fa/").status_code == 200
    for path in ("/accounts/password/change/", "/address/", "/invitation/", "/accounts/reauthenticate/"):
        assert browser.get(path).status_code == 403, path


def test_nothing_of_the_session_before_stays(alice: Member, directory: Directory) -> None:
    offered(alice, directory)
    browser = sign_in(alice)
    assert browser.session["signed_in_at"]
    key = browser.session.session_key
    enter(browser, directory, "alice")
    assert "signed_in_at" not in browser.session
    assert browser.session.session_key != key


def test_an_own_sign_in_after_it_is_an_own_session(
    tenant: Tenant, alice: Member, at_both: Member, directory: Directory
) -> None:
    offered(alice, directory)
    browser = Client()
    enter(browser, directory, "alice")
    browser.post("/accounts/logout/")
    browser.post("/accounts/login/", {"login": alice.user.email, "password": PASSWORD})
    assert browser.get(tracker(at_both.tenant)).status_code == 200


# --- it ends -------------------------------------------------------------------------------------------------------


def _ended(browser: Client, tenant: Tenant) -> bool:
    answer = browser.get(tracker(tenant))
    return answer.status_code == 302 and "sign-on" in answer["Location"]


def test_a_session_ends_with_connection_domain_member_and_account(
    tenant: Tenant, alice: Member, carol: Member, directory: Directory
) -> None:
    connection = offered(alice, directory, default_role="auditor")
    directory.person("dora")

    def browser_of_dora() -> Client:
        browser = Client()
        assert enter(browser, directory, "dora")["Location"] == tracker(tenant)
        return browser

    browser = browser_of_dora()
    domain = tenant.mail_domains.get()
    for end, undo in (
        ({"status": "lapsed"}, {"status": "verified"}),
        ({"removed_at": clock.now()}, {"removed_at": None}),
    ):
        tenant.mail_domains.filter(pk=domain.pk).update(**end)
        assert _ended(browser, tenant)
        tenant.mail_domains.filter(pk=domain.pk).update(**undo)
        assert browser.get(tracker(tenant)).status_code == 302, "what has ended does not come back"
        browser = browser_of_dora()
    services.set_sign_on_mode(connection, mode="draft", actor=acting(alice))
    assert _ended(browser, tenant)
    services.set_sign_on_mode(connection, mode="offered", actor=acting(alice))
    browser = browser_of_dora()
    User.objects.filter(email="dora@acme.example").update(is_active=False)
    assert browser.get(tracker(tenant)).status_code == 302
    User.objects.filter(email="dora@acme.example").update(is_active=True)
    browser = browser_of_dora()
    services.remove_connection(connection, reason="moved", actor=acting(alice))
    assert _ended(browser, tenant)


def test_with_the_connection_go_the_people_who_came_by_it_and_their_tokens(
    tenant: Tenant, alice: Member, directory: Directory, api_of: Callable[..., Client]
) -> None:
    connection = offered(alice, directory, default_role="admin")
    directory.person("dora")
    enter(Client(), directory, "dora")
    dora = Member.objects.of(tenant).get(user__email="dora@acme.example")
    api = api_of(dora)
    assert api.get(f"/api/v1/tenants/{tenant.pk}/setup").status_code == 200
    services.remove_connection(connection, reason="moved", actor=acting(alice))
    authentication.forget_all()
    assert api.get(f"/api/v1/tenants/{tenant.pk}/setup").status_code == 401
    assert list(Member.objects.of(tenant)) == [alice]
    assert "tenants.member.left_with_sign_on" in AuditEvent.objects.of(tenant).values_list("name", flat=True)
    # another connection knows nobody of the one before
    offered(alice, directory, default_role="admin")
    enter(Client(), directory, "dora")
    assert Member.objects.of(tenant).count() == 2


def test_a_removed_member_of_the_directory_stays_out(tenant: Tenant, alice: Member, directory: Directory) -> None:
    offered(alice, directory, default_role="admin")
    directory.person("dora")
    enter(Client(), directory, "dora")
    dora = Member.objects.of(tenant).get(user__email="dora@acme.example")
    services.remove_member(dora, reason="left", actor=acting(alice))
    answer = enter(Client(), directory, "dora")
    assert answer.status_code == 409
    assert "Your membership was ended" in answer.content.decode()
    assert list(Member.objects.of(tenant)) == [alice]


# --- required -------------------------------------------------------------------------------------------------------


def test_required_ends_passwords_and_recovery_but_for_the_break_glass_owner(
    tenant: Tenant, alice: Member, carol: Member, directory: Directory
) -> None:
    before = sign_in(alice)
    required(alice, directory, carol)
    # a session of before reaches the tenant no more
    answer = before.get(tracker(tenant))
    assert answer.status_code == 302
    assert f"/tenants/{tenant.pk}/sign-on/needed/" in answer["Location"]
    assert "lets people in by its own sign-on alone" in before.get(answer["Location"]).content.decode()
    # and no password begins one
    browser = Client()
    answer = browser.post("/accounts/login/", {"login": alice.user.email, "password": PASSWORD})
    assert answer["Location"] == "/sign-on/"
    assert "_auth_user_id" not in browser.session
    # nobody gets a mail for a new password
    mail.outbox.clear()
    assert browser.post("/accounts/password/reset/", {"email": alice.user.email}).status_code == 302
    assert not [one for one in mail.outbox if "password" in one.body and "reset/key" in one.body]
    # by the sign-on she is in
    assert enter(browser, directory, "alice")["Location"] == tracker(tenant)
    assert browser.get(tracker(tenant)).status_code == 200
    # the break-glass owner signs in as before
    assert sign_in(carol).get(tracker(tenant)).status_code == 200
    browser.post("/accounts/password/reset/", {"email": carol.user.email})


def test_required_closes_every_page_of_the_tenant_to_an_own_sign_in(
    tenant: Tenant, alice: Member, bob: Member, carol: Member, directory: Directory
) -> None:
    from django.urls import get_resolver

    browser = sign_in(bob)
    required(alice, directory, carol)
    pages = [
        pattern
        for pattern in get_resolver().url_patterns[-1].url_patterns
        if str(pattern.pattern).startswith("tenants/<uuid:tenant>/")
    ]
    assert len(pages) > 30
    for pattern in pages:
        route = str(pattern.pattern)
        # Where the way in begins; who is named by no directory of the tenant's finds nothing at the second.
        if "sign-on/needed" in route or "directory/join" in route:
            continue
        path = "/" + re.sub(r"<int:\w+>", "1", route.replace("<uuid:tenant>", str(tenant.pk)))
        path = re.sub(r"<uuid:\w+>", "00000000-0000-4000-8000-000000000000", path)
        path = path.replace("<slug:name>", "trust-policy")
        for method in (browser.get, browser.post):
            answer = method(path)
            assert answer.status_code in {302, 405}, (path, answer.status_code)
            if answer.status_code == 302:
                assert "/sign-on/needed/" in answer["Location"], (path, answer["Location"])


def test_who_is_not_linked_yet_links_by_an_own_fresh_sign_in_and_gets_no_further(
    tenant: Tenant, alice: Member, bob: Member, carol: Member, directory: Directory
) -> None:
    required(alice, directory, carol)
    directory.person("bob", groups=["byok-auditors"])
    browser = sign_in(bob)
    needed = f"/tenants/{tenant.pk}/sign-on/needed/"
    assert needed in browser.get(tracker(tenant))["Location"]
    assert "Link this account" in browser.get(needed).content.decode()
    answer = dir.over(browser, directory, "bob", browser.post(needed))
    assert answer["Location"] == "/sign-on/finish/"
    browser.get("/sign-on/finish/")
    assert browser.post("/sign-on/link/")["Location"] == "/sign-on/"
    assert needed in browser.get(tracker(tenant))["Location"]
    again = Client()
    assert enter(again, directory, "bob")["Location"] == tracker(tenant)
    assert again.get(tracker(tenant)).status_code == 200


def test_the_break_glass_owner_stays_one_while_it_is_required(
    tenant: Tenant, alice: Member, carol: Member, directory: Directory
) -> None:
    connection = required(alice, directory, carol)
    for do in (
        lambda: services.change_role(carol, role="admin", actor=acting(alice)),
        lambda: services.remove_member(carol, reason="r", actor=acting(alice)),
        lambda: services.leave_organisation(carol, actor=acting(carol)),
    ):
        with pytest.raises(errors.BreakGlassOwner):
            do()
    services.set_sign_on_mode(connection, mode="required", break_glass=alice, actor=acting(alice))
    services.change_role(carol, role="admin", actor=acting(alice))


@pytest.mark.parametrize("who", ["nobody", "auditor", "of the directory", "without a password", "of another tenant"])
def test_only_an_owner_who_can_sign_in_alone_breaks_the_glass(
    tenant: Tenant, alice: Member, bob: Member, carol: Member, mallory: Member, directory: Directory, who: str
) -> None:
    connection = offered(alice, directory, may_make_owners=True)
    directory.person("dora", groups=["byok-owners"])
    enter(Client(), directory, "dora")
    carol.user.set_unusable_password()
    carol.user.save()
    keeper = {
        "nobody": None,
        "auditor": bob,
        "of the directory": Member.objects.of(tenant).get(user__email="dora@acme.example"),
        "without a password": carol,
        "of another tenant": mallory,
    }[who]
    with pytest.raises(errors.SignOnNotReady):
        services.set_sign_on_mode(connection, mode="required", break_glass=keeper, actor=acting(alice))


def test_it_is_offered_only_with_a_domain_and_once_an_owner_has_tried_it(
    tenant: Tenant, alice: Member, directory: Directory
) -> None:
    connection = connect(alice, directory)
    with pytest.raises(errors.SignOnNotReady, match="No owner has linked"):
        services.set_sign_on_mode(connection, mode="offered", actor=acting(alice))
    tenant.mail_domains.update(status="pending")
    with pytest.raises(errors.SignOnNotReady, match="domains is verified"):
        services.set_sign_on_mode(connection, mode="offered", actor=acting(alice))


# --- second factor and fresh sign-in --------------------------------------------------------------------------------


def test_it_counts_as_a_second_factor_only_where_the_directory_says_so(
    tenant: Tenant, alice: Member, directory: Directory, settings: Any
) -> None:
    offered(alice, directory, default_role="auditor")
    settings.MFA_REQUIRED = True
    for amr, is_enough in ((["pwd"], False), (["pwd", "mfa"], True), ("mfa", False), ([], False), (None, False)):
        directory.person("dora", amr=amr)
        browser = Client()
        enter(browser, directory, "dora")
        answer = browser.get(tracker(tenant))
        assert (answer.status_code == 200) == is_enough, amr
        assert is_enough or answer["Location"] == "/accounts/2fa/"
    directory.person("dora", amr=None, acr="mfa")
    browser = Client()
    enter(browser, directory, "dora")
    assert browser.get(tracker(tenant)).status_code == 200


def test_a_second_factor_of_the_account_is_asked_for_unless_the_directory_says_there_was_one(
    tenant: Tenant, alice: Member, directory: Directory
) -> None:
    offered(alice, directory)
    Authenticator.objects.create(user=alice.user, type="totp", data={"secret": "x"})
    browser = Client()
    assert enter(browser, directory, "alice")["Location"].startswith("/accounts/2fa/authenticate/")
    assert browser.get(tracker(tenant)).status_code == 302
    directory.person("alice", amr=["mfa"])
    browser = Client()
    assert enter(browser, directory, "alice")["Location"] == tracker(tenant)
    assert browser.get(tracker(tenant)).status_code == 200


def _again(browser: Client, tenant: Tenant, directory: Directory, subject: str) -> Any:
    """Ask for something that needs a fresh sign-in, and go through it; returns the callback's answer or the last."""
    asked = browser.post(f"/tenants/{tenant.pk}/sign-on/domains/", {"name": "more.example"})
    assert asked.status_code == 302
    assert asked["Location"].startswith("/sign-on/again/")
    assert browser.get(asked["Location"]).status_code == 200
    answer = dir.over(browser, directory, subject, browser.post(asked["Location"], {"next": tracker(tenant)}))
    return browser.get(answer["Location"]) if answer.status_code == 302 else answer


def test_a_sign_on_is_no_fresh_sign_in_until_the_directory_asks_anew(
    tenant: Tenant, alice: Member, directory: Directory
) -> None:
    offered(alice, directory)
    browser = Client()
    enter(browser, directory, "alice")
    directory.person("alice", auth_time=int(time.time()))
    answer = _again(browser, tenant, directory, "alice")
    assert answer["Location"] == tracker(tenant)
    assert directory.asked[-1]["prompt"] == ["login"]
    assert directory.asked[-1]["max_age"] == ["0"]
    done = browser.post(f"/tenants/{tenant.pk}/sign-on/domains/", {"name": "more.example"})
    assert done["Location"] == f"/tenants/{tenant.pk}/sign-on/"
    assert tenant.mail_domains.filter(name="more.example").exists()


@pytest.mark.parametrize("auth_time", [None, 0, "now", -3600, -120, True, [1]], ids=str)
def test_an_answer_that_does_not_say_when_or_says_long_ago_is_no_fresh_sign_in(
    tenant: Tenant, alice: Member, directory: Directory, auth_time: Any
) -> None:
    offered(alice, directory)
    browser = Client()
    enter(browser, directory, "alice")
    is_offset = isinstance(auth_time, int) and auth_time is not True and auth_time < 0
    directory.person("alice", auth_time=int(time.time()) + auth_time if is_offset else auth_time)
    answer = _again(browser, tenant, directory, "alice")
    assert answer.status_code == 409
    assert "did not ask you anew" in answer.content.decode()
    asked = browser.post(f"/tenants/{tenant.pk}/sign-on/domains/", {"name": "more.example"})
    assert asked["Location"].startswith("/sign-on/again/")


def test_another_person_at_the_directory_makes_no_session_of_mine_fresh(
    tenant: Tenant, alice: Member, directory: Directory
) -> None:
    offered(alice, directory)
    browser = Client()
    enter(browser, directory, "alice")
    directory.person("eve", email="alice@acme.example", auth_time=int(time.time()))
    answer = _again(browser, tenant, directory, "eve")
    assert answer.status_code == 409
    assert "Somebody else signed in" in answer.content.decode()


# --- who may not ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["admin", "auditor"])
def test_only_an_owner_changes_the_connection(
    tenant: Tenant, alice: Member, directory: Directory, role: str, browser_of: Callable[..., Client]
) -> None:
    connection = connect(alice, directory)
    person = invited(tenant, "eve@acme.example", role)
    for do in (
        lambda: connect(person, directory),
        lambda: services.set_sign_on_mode(connection, mode="draft", actor=acting(person)),
        lambda: services.remove_connection(connection, reason="r", actor=acting(person)),
    ):
        with pytest.raises(NotAllowed):
            do()
    browser = browser_of(person)
    assert browser.get(f"/tenants/{tenant.pk}/sign-on/connection/").status_code == 403
    assert browser.get(f"/tenants/{tenant.pk}/sign-on/").status_code == 200


def test_another_tenants_connection_does_not_exist(alice: Member, mallory: Member, directory: Directory) -> None:
    connection = connect(alice, directory)
    with pytest.raises(NotFound):
        services.remove_connection(connection, reason="r", actor=acting(mallory))
    with pytest.raises(NotFound):
        services.connection_of(mallory.tenant)


def test_the_issuer_of_a_connection_never_changes(alice: Member, directory: Directory) -> None:
    connect(alice, directory)
    with pytest.raises(Exception, match="not as it has to be") as raised:
        services.set_connection(
            alice.tenant,
            issuer="https://login.evil.example",
            client_id="x",
            client_secret="x",
            provider={},
            role_claim="",
            role_values={},
            default_role="admin",
            may_make_owners=True,
            factor_values=[],
            actor=acting(alice),
        )
    assert "issuer" in raised.value.errors  # type: ignore[attr-defined]


def test_the_client_secret_is_stored_sealed_and_never_shown(
    alice: Member, directory: Directory, browser_of: Callable[..., Client], api_of: Callable[..., Client]
) -> None:
    connection = connect(alice, directory, client_secret="correct horse battery")
    assert "correct horse" not in connection.sealed_secret
    page = f"/tenants/{alice.tenant_id}/sign-on/"
    browser = browser_of(alice)
    for text in (
        browser.get(page).content.decode(),
        browser.get(f"{page}connection/").content.decode(),
        api_of(alice).get(f"/api/v1/tenants/{alice.tenant_id}/sign-on").content.decode(),
        *AuditEvent.objects.values_list("payload", flat=True),
    ):
        assert "correct horse" not in text
        assert connection.sealed_secret not in text


# --- pages, API and mails -------------------------------------------------------------------------------------------


def test_an_owner_sets_it_up_on_the_page(tenant: Tenant, alice: Member, directory: Directory) -> None:
    browser, page = sign_in(alice), f"/tenants/{tenant.pk}/sign-on/"
    given = {
        "issuer": directory.issuer,
        "client_id": "byok",
        "client_secret": "s3cret",
        "role_claim": "groups",
        "owners": "",
        "admins": "a, b",
        "auditors": "c",
        "default_role": "",
        "factors": "mfa",
    }
    assert browser.post(f"{page}connection/", given).status_code == 302
    connection = SignOnConnection.objects.get()
    assert connection.role_values == {"a": "admin", "b": "admin", "c": "auditor"}
    assert browser.post(f"{page}connection/", {**given, "client_secret": "", "admins": "a"}).status_code == 302
    directory.person("alice", groups=["a"])
    assert link(browser, alice, directory, "alice").status_code == 302
    assert browser.post(f"{page}mode/", {"mode": "offered"}).status_code == 302
    refused = browser.post(f"{page}mode/", {"mode": "required"})
    assert "Choose the owner who still signs in" in refused.content.decode()
    assert browser.post(f"{page}mode/", {"mode": "required", "break_glass": alice.pk}).status_code == 302
    assert "alice@acme.example still signs in without it" in browser.get(page).content.decode()
    assert browser.post(f"{page}unlink/").status_code == 302
    assert not SignOnIdentity.objects.exists()
    assert browser.get(f"{page}remove/").status_code == 200
    assert browser.post(f"{page}remove/", {"reason": "moved"}).status_code == 302
    assert "None is connected" in browser.get(page).content.decode()


@pytest.mark.parametrize(
    ("issuer", "words"),
    [
        ("http://169.254.169.254", "begins with https"),
        ("https://169.254.169.254", "not by a number"),
        ("https://localhost", "not by a number"),
        ("https://nowhere.acme.example", "no address on the public internet"),
        ("{issuer}/", "another issuer"),
        ("{issuer}?x=1", "without a query"),
    ],
)
def test_an_issuer_that_is_none_is_refused_on_the_page(
    tenant: Tenant, alice: Member, directory: Directory, issuer: str, words: str
) -> None:
    given = {"issuer": issuer.format(issuer=directory.issuer), "client_id": "byok", "client_secret": "s"}
    answer = sign_in(alice).post(f"/tenants/{tenant.pk}/sign-on/connection/", given)
    assert answer.status_code == 200
    assert words in answer.content.decode()
    assert not SignOnConnection.objects.exists()


def test_the_api_does_the_same(
    tenant: Tenant, alice: Member, directory: Directory, api_of: Callable[..., Client]
) -> None:
    api, base = api_of(alice), f"/api/v1/tenants/{tenant.pk}/sign-on"
    assert api.get(base).status_code == 404
    given = {"issuer": directory.issuer, "client_id": "byok", "client_secret": "s", "default_role": "auditor"}
    made = api.put(base, given, content_type="application/json")
    assert made.status_code == 200, made.content
    assert made.json()["mode"] == "draft"
    assert "secret" not in made.content.decode()
    early = api.put(f"{base}/mode", {"mode": "offered"}, content_type="application/json")
    assert early.json()["code"] == "sign_on_not_ready"
    directory.person("alice")
    link(sign_in(alice), alice, directory, "alice")
    given = {"mode": "required", "break_glass": alice.pk}
    assert api.put(f"{base}/mode", given, content_type="application/json").json()["break_glass"] == alice.pk
    assert api.delete(base, {"reason": "moved"}, content_type="application/json").status_code == 204
    assert api.get(base).status_code == 404


def test_every_owner_gets_a_mail_about_each_change(
    tenant: Tenant, alice: Member, carol: Member, directory: Directory
) -> None:
    connection = required(alice, directory, carol)
    directory.person("dora", groups=["byok-admins"])
    enter(Client(), directory, "dora")
    services.remove_connection(connection, reason="moved", actor=acting(alice))
    while follow.follow():
        pass
    mail.outbox.clear()
    notices.send_due()
    to_carol = "\n".join(str(one.body) for one in mail.outbox if one.to == [carol.user.email])
    for words in ("was set up", "became: offered", "became: required", "was linked", "joined as admin", "was removed"):
        assert words in to_carol, words


def test_a_recovery_by_kore_takes_required_back(
    tenant: Tenant, alice: Member, carol: Member, directory: Directory
) -> None:
    from tenants.services import connections

    required(alice, directory, carol)
    connections.no_longer_required(tenant)
    assert services.connection_of(tenant).mode == "offered"
    assert sign_in(alice).get(tracker(tenant)).status_code == 200


def test_what_is_over_is_cleared_away(alice: Member, directory: Directory) -> None:
    import time_machine

    from tenants import tasks

    offered(alice, directory)
    enter(Client(), directory, "alice")
    assert SignOnAttempt.objects.exists()
    with time_machine.travel(clock.now().timestamp() + 2 * 86_400):
        tasks.clear_expired()
    assert not SignOnAttempt.objects.exists()
    assert not SignOnSession.objects.exists()


@pytest.mark.parametrize("claims", [{"groups": ["a\x00"]}, {"email": "d\ud800@acme.example"}])
def test_a_text_that_is_none_signs_nobody_on(
    tenant: Tenant, alice: Member, directory: Directory, claims: dict[str, Any]
) -> None:
    """The directory is the organisation's own: it says whatever it likes."""
    offered(alice, directory)
    directory.person("odd", **claims)
    answer = enter(Client(), directory, "odd")
    assert answer.status_code in {403, 409}, answer.status_code
    assert not Member.objects.of(tenant).filter(user__email__startswith="d").exists()
