"""Where the portal leads somebody who came by the sign-on: no link and no form of a page that they see is closed."""

from __future__ import annotations

import re
from html import unescape
from typing import Any
from urllib.parse import urlencode

import directory as dir
import pytest
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from conftest import acting, acting_staff
from directory import Directory, enter, link, offered, sign_in
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import get_resolver, reverse
from url_map import addresses

from keys import services as key_services
from tenants import mailed_links, services, sign_on_sessions, tokens
from tenants.models import Member, PersonLanguage, SignOnAttempt, Tenant
from tenants.services import recovery as recoveries
from tenants.views import sign_on_flow

pytestmark = pytest.mark.django_db
# Links that act on the account which is signed in, and so want its own sign-in.
FOR_THE_ACCOUNT = {"portal:invitation-link", "portal:address-link"}


@pytest.fixture
def directory(directory: Directory, alice: Member) -> Directory:
    """The directory, offered."""
    offered(alice, directory, default_role="auditor")
    return directory


@pytest.fixture(params=["linked", "made", "made, with a factor"])
def signed_on(request: pytest.FixtureRequest, tenant: Tenant, bob: Member, directory: Directory) -> Client:
    """The browser of an auditor whom the directory let in."""
    subject = directory.person("bob" if request.param == "linked" else "dora", amr=["mfa"])
    if request.param == "linked":
        link(sign_in(bob), bob, directory, subject)
    browser = Client()
    enter(browser, directory, subject)
    if request.param == "made, with a factor":
        dora = Member.objects.of(tenant).get(user__email="dora@acme.example")
        TOTP.activate(dora.user, generate_totp_secret())
    return browser


def test_no_link_and_no_form_of_a_page_that_is_shown_is_closed(tenant: Tenant, signed_on: Client) -> None:
    left, seen, pages = ["/"], set[str](), 0
    while left:
        path = left.pop()
        if path in seen:
            continue
        seen.add(path)
        if path == reverse("account_logout"):  # it would end this
            continue
        # By GET: what only takes a POST answers 405, unless it is closed to this session.
        answer = signed_on.get(path)
        refused = answer.status_code == 403 and "is not part of your sign-in" in answer.content.decode()
        assert not refused, path
        if answer.status_code in {301, 302}:
            left.append(answer["Location"])
        if answer.status_code != 200 or not answer["Content-Type"].startswith("text/html"):
            continue
        pages += 1
        found = re.findall(r'(?:href|action|hx-get|hx-post)="(/[^"#]*)', answer.content.decode())
        left += [one for one in map(unescape, found) if not one.startswith(("/static/", "//"))]
    assert pages > 15, "it walked through the portal"
    assert reverse("portal:language") in seen


def test_the_language_is_chosen_at_the_foot_of_the_page(signed_on: Client, tenant: Tenant) -> None:
    page = f"/tenants/{tenant.pk}/"
    answer = signed_on.post(reverse("portal:language"), {"language": "de", "next": page})
    assert (answer.status_code, answer["Location"]) == (302, page)
    assert '<html lang="de">' in signed_on.get(page).content.decode()
    assert PersonLanguage.objects.get(user=signed_on.session["_auth_user_id"]).language == "de"


def test_a_recovery_is_stopped_by_its_link_whoever_is_signed_in(
    signed_on: Client, tenant: Tenant, alice: Member, sam: User
) -> None:
    User.objects.filter(pk=alice.user_id).update(is_active=False)
    recovery = services.request_new_owner(tenant, email="eve@acme.example", reason="r", actor=acting_staff(sam))
    kim = User.objects.create_user("kim@kore.example", "kim@kore.example", "kims-password-of-tests", is_staff=True)
    kim.groups.add(Group.objects.get(name="Support lead"))
    services.approve_recovery(recovery, reason="r", actor=acting_staff(kim))
    raw = recoveries.new_objection_link(recovery, "bob@acme.example")
    answer = signed_on.get(f"/recoveries/{raw}/", follow=True)
    assert answer.status_code == 200
    assert "Stop the recovery" in answer.content.decode()
    assert signed_on.post("/recovery/", follow=True).status_code == 200
    recovery.refresh_from_db()
    assert recovery.status == "objected"


def test_a_link_for_a_colleague_opens_whoever_is_signed_in(signed_on: Client, tenant: Tenant, alice: Member) -> None:
    _, raw = key_services.make_link(tenant, name="Cloud platform", actor=acting(alice))
    answer = signed_on.get(f"/setup-links/{raw}/", follow=True)
    assert answer.status_code == 200
    assert tenant.external_id in answer.content.decode()


def test_each_link_with_a_secret_is_for_its_holder_or_for_an_account() -> None:
    links = {one.name for one in addresses() if "<str:secret>" in one.route}
    assert links == FOR_THE_ACCOUNT | (mailed_links.FOR_THE_HOLDER & links)
    assert not FOR_THE_ACCOUNT & sign_on_sessions.OPEN
    portal = get_resolver().namespace_dict["portal"][1].reverse_dict
    assert all(one.removeprefix("portal:") in portal for one in mailed_links.FOR_THE_HOLDER)


def test_a_second_factor_that_is_missing_keeps_nobody_from_stopping_a_recovery(
    tenant: Tenant, bob: Member, settings: Any
) -> None:
    browser = sign_in(bob)
    settings.MFA_REQUIRED = True
    answer = browser.get(f"/recoveries/{tokens.new_secret()}/")
    assert answer["Location"] == "/recovery/"
    assert browser.get("/recovery/").status_code == 409
    assert browser.get(f"/tenants/{tenant.pk}/")["Location"] == "/accounts/2fa/"


@pytest.mark.parametrize("way", ["link", "again"])
def test_sign_ins_that_a_signed_in_person_begins_are_counted_too(
    tenant: Tenant, alice: Member, directory: Directory, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser, path = Client(), "/sign-on/again/"
    if way == "again":
        enter(browser, directory, "alice")
    else:
        browser, path = sign_in(alice), f"/tenants/{tenant.pk}/sign-on/link/"
    monkeypatch.setattr(sign_on_flow, "BEGUN", sign_on_flow.Limit("sign-on-of-test", 3, 60))
    SignOnAttempt.objects.all().delete()
    for _ in range(3):
        assert browser.post(path)["Location"] == "/sign-on/go/"
    assert browser.post(path).status_code == 429
    assert SignOnAttempt.objects.count() == 3


@pytest.mark.parametrize(
    "hostile", ["abc", "/a\x00b", "//evil.example/", "/\ud800", "javascript:alert(1)", "/" + "中" * 600]
)
def test_where_a_step_up_leads_back_to_is_one_of_our_pages(
    tenant: Tenant, alice: Member, directory: Directory, hostile: str
) -> None:
    browser = Client()
    enter(browser, directory, "alice")
    body = urlencode({"next": hostile}, errors="surrogatepass")
    began = browser.post("/sign-on/again/", body, content_type="application/x-www-form-urlencoded")
    kept = SignOnAttempt.objects.get(purpose="again").next_page
    assert "\x00" not in kept
    directory.person("alice", auth_time=2**31)
    answer = dir.over(browser, directory, "alice", began)
    done = browser.get(answer["Location"])
    assert done.status_code == 302
    assert "evil" not in done["Location"]
    assert not done["Location"].startswith("javascript")
