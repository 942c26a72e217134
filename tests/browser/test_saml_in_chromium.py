"""Sign-on by SAML in a real browser: the directory is another site, so its post brings none of our cookies."""

# ruff: noqa: F401, F811  fixtures are imported by name

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import browsing
import pytest
import saml_directory as dir
from browser.test_mailed_links_in_chromium import opened
from browser.test_portal_in_chromium import chromium, pytestmark
from browser.test_sign_on_in_chromium import fine
from conftest import PASSWORD
from directory import verified_domain
from playwright.sync_api import Page
from pytest_django.live_server_helper import LiveServer
from saml_directory import SamlDirectory

from tenants import services
from tenants.models import Member, Tenant

PHONE = 375


@pytest.fixture
def directory(live_server: LiveServer, settings: Any, tenant: Tenant, tmp_path: Path) -> Iterator[SamlDirectory]:
    settings.BASE_URL = live_server.url
    with dir.running(tmp_path, "acme") as running:
        settings.OUTBOUND_ALLOW = [running.base]
        verified_domain(tenant)
        running.sp = dir.our_metadata(tenant.pk)
        yield running


def there(page: Page, directory: SamlDirectory, subject: str) -> None:
    """Arrive at the directory by itself, and sign in there; it posts the answer from its own page."""
    page.wait_for_url(f"{directory.base}/sso**")
    page.fill("input[name=sub]", subject)
    page.locator("input[name=sub]").press("Enter")


@pytest.mark.parametrize(("scheme", "width"), [("light", PHONE), ("dark", 1440)])
def test_an_owner_connects_the_directory_and_comes_in_by_it(
    tenant: Tenant, alice: Member, directory: SamlDirectory, opened: Callable[..., Page], scheme: str, width: int
) -> None:
    page = opened(viewport={"width": width, "height": 800}, color_scheme=scheme)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    own = f"/tenants/{tenant.pk}/sign-on/"
    page.goto(f"{own}saml/")
    page.fill("input[name=login]", alice.user.email)
    page.fill("input[name=password]", PASSWORD)
    page.click("main button[type=submit] >> nth=0")
    page.wait_for_url(f"**{own}saml/")
    fine(page)
    page.fill("input[name=metadata_url]", f"{directory.base}/metadata")
    page.select_option("select[name=default_role]", "auditor")
    page.click("main form.card button[type=submit]")
    page.wait_for_url(f"**{own}")
    fine(page)
    # her own account, which tries it
    directory.person("alice")
    page.click("text=Link my account")
    there(page, directory, "alice")
    page.wait_for_url("**/sign-on/link/")
    fine(page)
    page.click("text=Link them")
    page.wait_for_url(f"**/tenants/{tenant.pk}/")
    page.goto(own)
    page.check("input[value=offered]")
    page.click("section[aria-labelledby=mode] button[type=submit]")
    page.wait_for_selector("text=Saved.")
    browsing.sign_out(page)
    # a colleague comes in by the directory
    directory.person("dora")
    page.goto("/sign-on/")
    page.fill("input[name=email]", "dora@acme.example")
    page.click("main button[type=submit]")
    there(page, directory, "dora")
    page.wait_for_url(f"**/tenants/{tenant.pk}/")
    fine(page)
    assert Member.objects.of(tenant).get(user__email="dora@acme.example").role == "auditor"
    # what needs a fresh sign-in leads over and back
    Member.objects.filter(user__email="dora@acme.example").update(role="owner")
    page.goto(f"{own}remove/")
    page.wait_for_url("**/sign-on/again/**")
    page.click("main button[type=submit]")
    there(page, directory, "dora")
    page.wait_for_url(f"**{own}remove/")
    assert directory.asked[-1].force_authn == "true"
    assert services.connection_of(tenant).mode == "offered"
    assert [one for one in said if "Content Security Policy" in one] == []
