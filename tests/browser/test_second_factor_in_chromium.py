"""Second factors as people set them up and use them, in a browser that can have a passkey."""

# ruff: noqa: F401, F811  fixtures are imported by name

from __future__ import annotations

import base64
import time
from typing import Any, cast

import pytest
import qrcode
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value, yield_hotp_counters_from_time
from browser.test_portal_in_chromium import PASSWORD, chromium, page, pytestmark, said
from playwright.sync_api import Page

from tenants import second_factor
from tenants.models import Member

# Reads a picture of a QR code module by module: true where it is dark.
READ = """async ([png, size]) => {
  const bytes = Uint8Array.from(atob(png), one => one.charCodeAt(0));
  const picture = await createImageBitmap(new Blob([bytes], {type: "image/png"}));
  const paper = new OffscreenCanvas(picture.width, picture.height).getContext("2d");
  paper.drawImage(picture, 0, 0);
  const step = picture.width / size;
  const dark = (x, y) => paper.getImageData(Math.floor((x + 0.5) * step), Math.floor((y + 0.5) * step), 1, 1).data[0] < 128;
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
