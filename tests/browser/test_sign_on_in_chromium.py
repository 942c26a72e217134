"""Sign-on by a directory in a real browser, which keeps our policy about forms and sends cookies as browsers do."""

# ruff: noqa: F401, F811  fixtures are imported by name

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import browsing
import directory as dir
import pytest
from browser.test_mailed_links_in_chromium import opened
from browser.test_portal_in_chromium import chromium, pytestmark, serious
from conftest import PASSWORD
from directory import Directory, verified_domain
from playwright.sync_api import Browser, Page
from pytest_django.live_server_helper import LiveServer

from tenants import services
from tenants.models import Member, Tenant

PHONE = 375


@pytest.fixture
def directory(live_server: LiveServer, settings: Any, tenant: Tenant) -> Iterator[Directory]:
    settings.BASE_URL = live_server.url
    with dir.running() as running:
        settings.OUTBOUND_ALLOW = [running.issuer]
        verified_domain(tenant)
        yield running


def fine(page: Page) -> None:
    assert serious(page) == []
    assert page.evaluate("document.scrollingElement.scrollWidth") <= page.viewport_size["width"]  # type: ignore[index]


def there(page: Page, directory: Directory, subject: str) -> None:
    """Arrive at the directory by itself, and sign in there."""
    page.wait_for_url(f"{directory.issuer}/**")
    page.fill("input[name=sub]", subject)
    page.locator("input[name=sub]").press("Enter")


@pytest.mark.parametrize(("scheme", "width"), [("light", PHONE), ("dark", 1440)])
def test_an_owner_connects_the_directory_and_comes_in_by_it(
    tenant: Tenant, alice: Member, directory: Directory, opened: Callable[..., Page], scheme: str, width: int
) -> None:
    page = opened(viewport={"width": width, "height": 800}, color_scheme=scheme)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    own = f"/tenants/{tenant.pk}/sign-on/"
    page.goto(f"{own}connection/")
    page.fill("input[name=login]", alice.user.email)
    page.fill("input[name=password]", PASSWORD)
    page.click("main button[type=submit] >> nth=0")
    page.wait_for_url(f"**{own}connection/")
    fine(page)
    page.fill("input[name=issuer]", directory.issuer)
    page.fill("input[name=client_id]", "byok")
    page.fill("input[name=client_secret]", "a secret of tests")
    page.select_option("select[name=default_role]", "auditor")
    page.click("main button[type=submit]")
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
    page.check("input[value=required]")
    page.select_option("select[name=break_glass]", str(alice.pk))
    page.click("section[aria-labelledby=mode] button[type=submit]")
    page.wait_for_selector("text=still signs in without it >> nth=0")
    fine(page)
    browsing.sign_out(page)
    # a colleague comes in by the directory
    directory.person("dora")
    page.goto("/accounts/login/")
    fine(page)
    page.click("text=Sign in with your organisation")
    fine(page)
    page.fill("input[name=email]", "dora@acme.example")
    page.click("main button[type=submit]")
    there(page, directory, "dora")
    page.wait_for_url(f"**/tenants/{tenant.pk}/")
    fine(page)
    assert services.connection_of(tenant).mode == "required"
    assert Member.objects.of(tenant).get(user__email="dora@acme.example").role == "auditor"
    assert [one for one in said if "Content Security Policy" in one] == []


def test_what_needs_a_fresh_sign_in_leads_over_and_back(
    tenant: Tenant, alice: Member, directory: Directory, opened: Callable[..., Page]
) -> None:
    dir.offered(alice, directory)
    page = opened(viewport={"width": PHONE, "height": 800})
    page.goto("/sign-on/")
    page.fill("input[name=email]", alice.user.email)
    page.click("main button[type=submit]")
    there(page, directory, "alice")
    page.wait_for_url(f"**/tenants/{tenant.pk}/")
    own = f"/tenants/{tenant.pk}/sign-on/"
    page.goto(f"{own}remove/")
    page.wait_for_url("**/sign-on/again/**")
    fine(page)
    directory.person("alice", auth_time=int(time.time()))
    page.click("main button[type=submit]")
    there(page, directory, "alice")
    page.wait_for_url(f"**{own}remove/")
    page.goto(own)
    page.fill("input[name=name]", "more.example")
    page.click("main button:text-is('Add')")
    page.wait_for_selector("text=more.example is in the list")


def test_the_page_that_leads_over_works_without_the_header(
    tenant: Tenant, alice: Member, directory: Directory, opened: Callable[..., Page]
) -> None:
    dir.offered(alice, directory)
    page = opened(viewport={"width": PHONE, "height": 800})
    page.route("**/oauth2/authorize**", lambda route: route.fulfill(status=204))
    page.goto("/sign-on/")
    page.fill("input[name=email]", alice.user.email)
    page.click("main button[type=submit]", no_wait_after=True)
    page.wait_for_url("**/sign-on/go/")
    assert directory.issuer.removeprefix("http://") in page.inner_text("main")
    fine(page)
