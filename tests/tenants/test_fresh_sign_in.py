"""A sign-in that is too old for what is asked leads to the sign-in and back;
nothing that was posted is kept meanwhile."""

from __future__ import annotations

import types
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from allauth.account.internal.flows.login import AUTHENTICATION_METHODS_SESSION_KEY
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret, hotp_value, yield_hotp_counters_from_time
from django import forms
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.test import Client
from django.urls import path

from byokportal import clock, urls
from tenants import fresh, portal
from tenants.models import Member, Tenant

PASSWORD = "a long enough passphrase"


class Reason(forms.Form):
    reason = forms.CharField()


@login_required
def operation(request: HttpRequest) -> HttpResponse:
    """A page of the portal whose service asks for a fresh sign-in."""
    form = Reason(request.POST or None)
    if request.method == "POST" and form.is_valid():
        with portal.refusals_on(form):
            fresh.require(request)
            return HttpResponse("done")
    return render(request, "404.html", {"form": form})


@login_required
def page(request: HttpRequest) -> HttpResponse:
    fresh.require(request)
    return HttpResponse(f"signed in at {fresh.signed_in_at(request)}")


@pytest.fixture
def routes(settings: object) -> None:
    more = types.ModuleType("routes")
    more.urlpatterns = [path("page", page), path("operation", operation), *urls.urlpatterns]
    more.handler404, more.handler500 = urls.handler404, urls.handler500  # type: ignore[attr-defined]
    settings.ROOT_URLCONF = more  # type: ignore[attr-defined]


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    """Return a function that sets our clock forward."""

    def move(by: timedelta) -> None:
        before = clock.now

        def now() -> datetime:
            return before() + by

        monkeypatch.setattr(clock, "now", now)

    return move


@pytest.fixture
def signed_in(tenant: Tenant, alice: Member, routes: None) -> Client:
    """Alice's browser, a moment after she signed in."""
    alice.user.set_password(PASSWORD)
    alice.user.save()
    client = Client()
    assert client.post("/accounts/login/", {"login": "alice@acme.example", "password": PASSWORD}).status_code == 302
    return client


def test_a_sign_in_counts_for_ten_minutes(signed_in: Client, later: Callable[[timedelta], None]) -> None:
    assert b"signed in at" in signed_in.get("/page").content
    later(timedelta(minutes=9, seconds=50))
    assert signed_in.get("/page").status_code == 200
    later(timedelta(seconds=20))
    answer = signed_in.get("/page?tab=2")
    assert answer.status_code == 302
    assert answer["Location"] == "/accounts/reauthenticate/?next=%2Fpage%3Ftab%3D2"


def test_the_password_leads_back_to_the_page(signed_in: Client, later: Callable[[timedelta], None]) -> None:
    later(timedelta(minutes=11))
    answer = signed_in.post("/operation", {"reason": "a reason"}, headers={"referer": "http://testserver/page?a=1"})
    asked = signed_in.get(answer["Location"]).content.decode()
    assert "Sign in again first. Nothing is done yet" in asked
    assert "a reason" not in asked + str(dict(signed_in.session))
    wrong = signed_in.post(answer["Location"], {"password": "wrong"})
    assert wrong.status_code == 200
    assert signed_in.get("/page").status_code == 302
    back = signed_in.post(answer["Location"], {"password": PASSWORD})
    assert (back.status_code, back["Location"]) == (302, "http://testserver/page?a=1")
    assert signed_in.post("/operation", {"reason": "a reason"}).content == b"done"


def test_nobody_is_led_out_of_the_portal(signed_in: Client, later: Callable[[timedelta], None]) -> None:
    later(timedelta(minutes=11))
    answer = signed_in.post("/operation", {"reason": "r"}, headers={"referer": "https://evil.example/operation"})
    assert answer["Location"] == "/accounts/reauthenticate/?next=%2F"


def test_a_part_of_a_page_leads_the_whole_page(signed_in: Client, later: Callable[[timedelta], None]) -> None:
    later(timedelta(minutes=11))
    headers = {"hx-request": "true", "hx-current-url": "http://testserver/tenants/x/key?a=1"}
    answer = signed_in.post("/operation", {"reason": "r"}, headers=headers)
    assert answer["HX-Redirect"] == "/accounts/reauthenticate/?next=%2Ftenants%2Fx%2Fkey%3Fa%3D1"


def test_a_session_that_never_proved_anything_is_not_fresh(
    alice: Member, browser_of: Callable[[Member], Client], routes: None
) -> None:
    alice.user.set_password(PASSWORD)
    alice.user.save()
    browser = browser_of(alice, is_fresh=False)
    assert browser.get("/page").status_code == 302
    session = browser.session
    session[fresh.KEY] = {"user": str(alice.user.pk + 1), "at": clock.now().timestamp()}  # somebody else's proof
    session.save()
    assert browser.get("/page").status_code == 302


def test_a_second_factor_proves_it_too(alice: Member, browser_of: Callable[[Member], Client], routes: None) -> None:
    secret = generate_totp_secret()
    alice.user.set_unusable_password()
    alice.user.save()
    TOTP.activate(alice.user, secret)
    browser = browser_of(alice, is_fresh=False)
    answer = browser.get("/page")
    assert answer["Location"] == "/accounts/2fa/reauthenticate/?next=%2Fpage"
    code = f"{hotp_value(secret, next(yield_hotp_counters_from_time())):06}"
    assert browser.post(answer["Location"], {"code": code})["Location"] == "/page"
    assert browser.get("/page").status_code == 200


def test_who_has_nothing_to_give_again_reads_so(
    alice: Member, browser_of: Callable[[Member], Client], routes: None
) -> None:
    alice.user.set_unusable_password()
    alice.user.save()
    assert browser_of(alice, is_fresh=False).get("/page").status_code == 403


def test_the_clock_of_a_web_machine_counts_for_nothing(signed_in: Client, later: Callable[[timedelta], None]) -> None:
    """allauth writes and compares `time.time()`; another machine's may be hours ahead."""
    session = signed_in.session
    for record in session[AUTHENTICATION_METHODS_SESSION_KEY]:
        record |= {"at": clock.now().timestamp() + 7200, "reauthenticated": True}
    session.save()
    later(timedelta(minutes=11))
    for address in ("/page", "/accounts/2fa/totp/activate/"):
        assert signed_in.get(address)["Location"].startswith("/accounts/reauthenticate/"), address


def test_the_second_factor_is_set_up_and_removed_after_a_fresh_sign_in_only(
    signed_in: Client, alice: Member, later: Callable[[timedelta], None]
) -> None:
    assert signed_in.get("/accounts/2fa/totp/activate/").status_code == 200
    TOTP.activate(alice.user, generate_totp_secret())
    later(timedelta(minutes=11))
    for address in (
        "/accounts/2fa/totp/deactivate/",
        "/accounts/2fa/recovery-codes/generate/",
        "/accounts/2fa/webauthn/add/",
    ):
        answer = signed_in.post(address, {"code": "123456"})
        assert answer["Location"].startswith("/accounts/reauthenticate/"), address
    assert "123456" not in str(dict(signed_in.session))
    assert Authenticator.objects.filter(user=alice.user, type="totp").exists()


# --- one sign-in for the back office too ---------------------------------------------------------------------


def test_the_back_office_has_no_sign_in_of_its_own(sam: User, browser_of: Callable[[User], Client]) -> None:
    other = User.objects.create_superuser("root@kore.example", "root@kore.example", PASSWORD)
    TOTP.activate(other, generate_totp_secret())
    given = {"username": "root@kore.example", "password": PASSWORD}
    stranger = Client()
    address = "/admin/login/?next=/admin/tenants/tenant/"
    for answer in (stranger.get(address), stranger.post(address, given)):
        assert answer["Location"] == "/accounts/login/?next=%2Fadmin%2Ftenants%2Ftenant%2F"
    browser = browser_of(sam, is_fresh=False)
    answer = browser.post("/admin/login/?next=//evil.example/", given)
    assert (answer.status_code, answer["Location"]) == (302, "/admin/")
    assert (
        browser.get("/admin/login/?next=abc")["Location"] == "abc"
    )  # an address of ours, not a view that is not there
    assert browser.session["_auth_user_id"] == str(sam.pk)  # root's password alone lets nobody in as root


def test_a_member_at_the_back_office_s_sign_in_is_refused(
    alice: Member, browser_of: Callable[[Member], Client]
) -> None:
    assert browser_of(alice, is_fresh=False).get("/admin/login/").status_code == 403
