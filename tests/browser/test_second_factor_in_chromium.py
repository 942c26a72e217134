"""Second factors as people set them up and use them, in a browser that can have a passkey."""

# ruff: noqa: F401, F811  fixtures are imported by name

from __future__ import annotations

import base64
import time
from pathlib import Path
from typing import Any, cast

import browsing
import pytest
import qrcode
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import (
    TOTP,
    format_hotp_value,
    generate_totp_secret,
    hotp_value,
    yield_hotp_counters_from_time,
)
from browser.test_portal_in_chromium import PASSWORD, chromium, page, pytestmark, said
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from playwright.sync_api import CDPSession, Page

from tenants import fresh, second_factor
from tenants.models import Member, Tenant

# Reads a picture of a QR code module by module: true where it is dark.
READ = """async ([png, size]) => {
  const bytes = Uint8Array.from(atob(png), one => one.charCodeAt(0));
  const picture = await createImageBitmap(new Blob([bytes], {type: "image/png"}));
  const paper = new OffscreenCanvas(picture.width, picture.height).getContext("2d");
  paper.drawImage(picture, 0, 0);
  const step = picture.width / size;
  const at = (n) => Math.floor((n + 0.5) * step);
            const dark = (x, y) => paper.getImageData(at(x), at(y), 1, 1).data[0] < 128;
  return Array.from({length: size}, (_, y) => Array.from({length: size}, (_, x) => dark(x, y)));
}"""


def code_of(secret: str) -> str:
    """Return what an authenticator app shows now, and for some seconds more."""
    while time.time() % 30 > 25:
        time.sleep(1)
    return format_hotp_value(hotp_value(secret, next(yield_hotp_counters_from_time())))


def scanned(page: Page, size: int) -> list[list[bool]]:
    """Return the modules of the QR code as a camera sees them."""
    picture = page.locator(".qr svg").screenshot()
    other = page.context.new_page()  # outside the policy of our pages
    try:
        return cast(list[list[bool]], other.evaluate(READ, [base64.b64encode(picture).decode(), size]))
    finally:
        other.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_authenticator_app_is_set_up_by_what_the_page_shows(
    page: Page, alice: Member, said: list[str], scheme: Any
) -> None:
    page.emulate_media(color_scheme=scheme)
    page.goto("/accounts/2fa/totp/activate/")
    secret = page.inner_text("#totp-secret").replace(" ", "")
    box = page.locator(".qr svg").bounding_box()
    assert box is not None and min(box["width"], box["height"]) > 100
    expected = qrcode.QRCode()
    expected.add_data(second_factor.Adapter().build_totp_url(alice.user, secret))
    assert scanned(page, len(expected.get_matrix())) == expected.get_matrix()
    assert secret not in str(page.get_attribute(".qr", "aria-label"))

    page.fill("input[name=code]", "000000")
    page.click("main button[type=submit]")
    page.wait_for_selector("main .errors")
    assert page.inner_text("#totp-secret").replace(" ", "") == secret
    page.fill("input[name=code]", code_of(secret))
    page.click("main button[type=submit]")
    page.wait_for_url("**/accounts/2fa/recovery-codes/")
    kept = Authenticator.objects.get(user=alice.user, type="totp").data["secret"]
    assert second_factor.Adapter().decrypt(kept) == secret
    assert said == []


@pytest.fixture
def device(page: Page) -> CDPSession:
    """A device with a fingerprint reader that keeps passkeys."""
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    options = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True}
    options |= {"isUserVerified": True, "automaticPresenceSimulation": True}
    session.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    return session


def sign_out(page: Page) -> None:
    browsing.sign_out(page)
    page.wait_for_url("**/accounts/login/")


def sign_in(page: Page, alice: Member) -> None:
    page.fill("input[name=login]", alice.user.email)
    page.fill("input[name=password]", PASSWORD)
    page.click("main button[type=submit] >> nth=0")
    page.wait_for_url("**/accounts/2fa/authenticate/")


def forget_that_it_is_fresh(alice: Member) -> None:
    """Let every session of Alice's have signed in some time ago."""
    for session in Session.objects.all():
        store = SessionStore(session.session_key)
        if fresh.KEY in store:
            store[fresh.KEY] = {"user": str(alice.user.pk), "at": 0}
            store.save()


def test_a_passkey_from_its_first_use_to_its_removal(
    page: Page, tenant: Tenant, alice: Member, device: CDPSession, said: list[str]
) -> None:
    page.goto("/accounts/2fa/webauthn/add/")
    page.fill("input[name=name]", "Laptop of Alice")
    page.click("#passkey")
    page.wait_for_url("**/accounts/2fa/recovery-codes/")
    page.goto("/accounts/2fa/webauthn/")
    assert "Signs you in alone" in page.inner_text("main")
    page.click("text=Rename")
    page.fill("input[name=name]", "Old laptop")
    page.click("main button[type=submit]")
    page.wait_for_selector("main :text('Old laptop')")

    # … alone
    sign_out(page)
    page.click("#passkey")
    page.wait_for_url(f"**/tenants/{tenant.pk}/")

    # … after the password; "Stop signing in" leads back
    sign_out(page)
    sign_in(page, alice)
    page.click("text=Stop signing in")
    page.wait_for_url("**/accounts/login/")
    sign_in(page, alice)
    page.click("#passkey")
    page.wait_for_url(f"**/tenants/{tenant.pk}/")

    # … as a fresh sign-in, which leads back to the page that asked for it
    forget_that_it_is_fresh(alice)
    page.goto("/accounts/2fa/webauthn/")
    page.click("text=Remove")
    page.wait_for_url("**/accounts/reauthenticate/**")
    page.click("text=Use a passkey instead")
    page.wait_for_url("**/webauthn/reauthenticate/**")
    page.click("#passkey")
    page.wait_for_url("**/remove/")
    page.click("text=Remove the passkey")
    page.wait_for_selector("text=You have none yet")
    assert not Authenticator.objects.filter(user=alice.user, type="webauthn").exists()
    assert said == []


def test_a_passkey_that_is_not_given_is_said_so(page: Page, alice: Member, said: list[str]) -> None:
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")  # and no device
    for path in ("/accounts/2fa/webauthn/add/", "/accounts/login/"):
        if "login" in path:
            sign_out(page)
        page.goto(path)
        page.evaluate(
            "() => { for (const way of ['get', 'create']) navigator.credentials[way] = async () "
            "=> { throw new DOMException('no', 'NotAllowedError'); }; }"
        )
        page.click("#passkey")
        page.wait_for_selector("text=Your browser gave no passkey.")
    assert said == []


def test_a_recovery_code_lets_in_once(page: Page, tenant: Tenant, alice: Member, said: list[str]) -> None:
    TOTP.activate(alice.user, generate_totp_secret())
    page.goto("/accounts/2fa/recovery-codes/generate/")
    page.click("text=Make new codes")
    page.wait_for_url("**/accounts/2fa/recovery-codes/")
    codes = page.inner_text("#recovery-codes").split()
    assert len(codes) == 10
    with page.expect_download() as saved:
        page.click("text=Save as a file")
    assert Path(str(saved.value.path())).read_text().split()[-10:] == codes

    sign_out(page)
    sign_in(page, alice)
    assert not page.locator("#passkey").count()  # she has none
    page.fill("input[name=code]", codes[3])
    page.click("text=Use the code")
    page.wait_for_url(f"**/tenants/{tenant.pk}/")
    sign_out(page)
    sign_in(page, alice)
    page.fill("input[name=code]", codes[3])
    page.click("text=Use the code")
    page.wait_for_selector("text=or it has been used")
    assert said == []
