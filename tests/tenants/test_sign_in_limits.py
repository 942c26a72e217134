"""Guessing is stopped, and nobody keeps another person out: failures count by account and address, and by address."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret, hotp_value, yield_hotp_counters_from_time
from django.conf import settings as configured
from django.core import mail
from django.test import Client

from byokportal import addresses, clock
from tenants import sign_in
from tenants.models import Member

PASSWORD = "a long enough passphrase"
HOME, STRANGER = "198.51.100.7", "203.0.113.9"


@pytest.fixture(autouse=True)
def people(alice: Member, bob: Member, settings: Any) -> None:
    """Alice and Bob have passwords; everybody comes through one proxy of ours."""
    settings.PROXIES = addresses.proxies("1")
    for member in (alice, bob):
        member.user.set_password(PASSWORD)
        member.user.save()


def at(address: str, browser: Client | None = None) -> Client:
    """Return a browser at an address, behind our proxy."""
    browser = browser or Client()
    browser.defaults.update({"REMOTE_ADDR": "10.0.0.2", "HTTP_X_FORWARDED_FOR": address})
    return browser


def sign(browser: Client, password: str = PASSWORD, *, login: str = "alice@acme.example") -> bool:
    """Try to sign in; tell whether it worked."""
    answer = browser.post("/accounts/login/", {"login": login, "password": password})
    assert answer.status_code in {200, 302}
    return answer.status_code == 302


def fail(address: str, times: int, *, login: str = "alice@acme.example") -> None:
    for _ in range(times):
        assert not sign(at(address), "wrong", login=login)


def test_guessing_from_one_address_is_stopped() -> None:
    fail(STRANGER, 5)
    assert not sign(at(STRANGER))  # even with the right password
    assert sign(at(HOME))


def test_guessing_over_many_accounts_is_stopped() -> None:
    for number in range(10):
        fail(STRANGER, 1, login=f"nobody{number}@acme.example")
    assert not sign(at(STRANGER), login="bob@acme.example")
    assert sign(at(HOME), login="bob@acme.example")


def test_a_stranger_behind_the_same_proxy_keeps_nobody_out() -> None:
    fail(STRANGER, 30)
    assert sign(at(HOME))


def test_an_address_that_somebody_writes_himself_counts_for_nothing() -> None:
    for number in range(5):
        assert not sign(at(f"192.0.2.{number}, {STRANGER}"), "wrong")
    assert not sign(at(f"192.0.2.99, {STRANGER}"))
    assert sign(at(f"{STRANGER}, {HOME}"))  # and blames nobody else


def test_the_addresses_of_one_network_are_one_guesser() -> None:
    for number in range(5):
        assert not sign(at(f"2001:db8:1:2::{number}"), "wrong")
    assert not sign(at("2001:db8:1:2:ffff::1"))
    assert sign(at("2001:db8:1:3::1"))


def test_who_signs_in_often_is_no_guesser() -> None:
    for _ in range(12):
        assert sign(at(HOME))


def test_a_device_that_was_here_before_is_counted_by_itself() -> None:
    known = at(HOME)
    assert sign(known)
    cookie = known.cookies[configured.DEVICE_COOKIE_NAME]
    assert cookie["httponly"] and cookie["samesite"] == "Lax" and cookie["max-age"] == 90 * 86400
    known.post("/accounts/logout/")
    fail(HOME, 12)  # somebody else in the same office
    assert not sign(at(HOME))
    assert sign(known)
    known.post("/accounts/logout/")
    for _ in range(10):
        assert not sign(known, "wrong")
    assert not sign(known)  # a stolen device does not guess for ever
    assert sign(at("192.0.2.1"))


def test_a_device_is_known_to_its_own_account_only() -> None:
    known = at(HOME)
    assert sign(known)
    known.post("/accounts/logout/")
    fail(HOME, 5, login="bob@acme.example")
    assert not sign(known, login="bob@acme.example")
    assert sign(known)


def _changed(member: Member) -> None:
    member.user.set_password("quite another passphrase")
    member.user.save()


@pytest.mark.parametrize("why", ["password", "age", "forged"])
def test_a_device_is_forgotten(why: str, alice: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    known = at(HOME)
    assert sign(known)
    known.post("/accounts/logout/")
    password = PASSWORD
    match why:
        case "password":
            _changed(alice)
            password = "quite another passphrase"
        case "age":
            before: Callable[[], datetime] = clock.now
            monkeypatch.setattr(clock, "now", lambda: before() + timedelta(days=91))
        case _:
            name = configured.DEVICE_COOKIE_NAME
            known.cookies[name] = known.cookies[name].value[:-3] + "abc"
    fail(HOME, 6)
    assert not sign(known, password)


def test_two_people_at_one_device_are_both_known() -> None:
    shared = at(HOME)
    for login in ("alice@acme.example", "bob@acme.example"):
        assert sign(shared, login=login)
        shared.post("/accounts/logout/")
    fail(HOME, 12)
    for login in ("alice@acme.example", "bob@acme.example"):
        assert sign(shared, login=login)
        shared.post("/accounts/logout/")


# --- the second factor, the password again, a new one -------------------------------------------------------


@pytest.fixture
def secret(alice: Member) -> str:
    secret = generate_totp_secret()
    TOTP.activate(alice.user, secret)
    return secret


def code_of(secret: str) -> str:
    return f"{hotp_value(secret, next(yield_hotp_counters_from_time())):06}"


def half_way(address: str) -> Client:
    browser = at(address)
    assert sign(browser)
    return browser


def test_a_code_is_not_guessed_and_a_stranger_with_the_password_keeps_nobody_out(secret: str) -> None:
    stranger = half_way(STRANGER)
    for _ in range(5):
        assert stranger.post("/accounts/2fa/authenticate/", {"code": "000000"}).status_code == 200
    assert stranger.post("/accounts/2fa/authenticate/", {"code": code_of(secret)}).status_code == 200
    assert half_way(HOME).post("/accounts/2fa/authenticate/", {"code": code_of(secret)}).status_code == 302


def test_many_addresses_together_do_not_guess_a_code_and_a_known_device_is_let_in(secret: str) -> None:
    known = half_way(HOME)
    assert known.post("/accounts/2fa/authenticate/", {"code": code_of(secret)}).status_code == 302
    known.post("/accounts/logout/")
    TOTP.activate(secret_user := known_user(), secret2 := generate_totp_secret())
    for number in range(sign_in.CODES.count + 1):
        half_way(f"192.0.2.{number}").post("/accounts/2fa/authenticate/", {"code": "000000"})
    assert half_way("192.0.2.200").post("/accounts/2fa/authenticate/", {"code": code_of(secret2)}).status_code == 200
    assert sign(known)
    assert known.post("/accounts/2fa/authenticate/", {"code": code_of(secret2)}).status_code == 302
    assert secret_user.is_active


def known_user() -> Any:
    from django.contrib.auth.models import User

    user = User.objects.get(email="alice@acme.example")
    user.authenticator_set.all().delete()
    return user


def test_nobody_at_an_open_screen_guesses_the_password(alice: Member, browser_of: Callable[[Member], Client]) -> None:
    for path, name in (("/accounts/reauthenticate/", "password"), ("/accounts/password/change/", "oldpassword")):
        open_screen = at(STRANGER if name == "password" else "192.0.2.1", browser_of(alice))
        rest = {"password1": "quite another one, long", "password2": "quite another one, long"}
        for _ in range(5):
            assert open_screen.post(path, {name: "wrong", **rest}).status_code == 200
        assert open_screen.post(path, {name: PASSWORD, **rest}).status_code == 200, path
    alice.user.refresh_from_db()
    assert alice.user.check_password(PASSWORD)
    assert sign(at(HOME))


def test_nobody_fills_an_inbox_and_the_person_still_gets_a_mail() -> None:
    known = at(HOME)
    assert sign(known)
    known.post("/accounts/logout/")
    mail.outbox.clear()
    for number in range(20):
        at(f"192.0.2.{number}").post("/accounts/password/reset/", {"email": "alice@acme.example"})
    assert len(mail.outbox) == sign_in.RESETS.count
    assert known.post("/accounts/password/reset/", {"email": "alice@acme.example"}).status_code == 302
    assert len(mail.outbox) == sign_in.RESETS.count + 1


def test_nobody_learns_who_has_an_account() -> None:
    there, missing = (
        at(STRANGER).post("/accounts/login/", {"login": login, "password": "wrong"})
        for login in ("alice@acme.example", "x@acme.example")
    )
    same = there.content.decode().replace("alice@", "x@")
    strip = [line for line in same.splitlines() if "csrf" not in line.lower()]
    assert strip == [line for line in missing.content.decode().splitlines() if "csrf" not in line.lower()]
    asked = [
        at(HOME).post("/accounts/password/reset/", {"email": email}) for email in ("bob@acme.example", "x@acme.example")
    ]
    assert [(answer.status_code, answer["Location"]) for answer in asked] == [
        (302, "/accounts/password/reset/done/")
    ] * 2
    for login in ("alice@acme.example", "x@acme.example"):
        fail("192.0.2.77", 5, login=login)
