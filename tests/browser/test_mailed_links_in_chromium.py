"""The pages behind mailed links, in a real browser: it sends the headers that a test client does not."""

# ruff: noqa: F401, F811  fixtures are imported by name

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from browser.test_portal_in_chromium import chromium, pytestmark, serious
from conftest import PASSWORD, acting
from playwright.sync_api import Browser, BrowserContext, Page
from pytest_django.live_server_helper import LiveServer

from tenants import services
from tenants.models import Member, Tenant


@pytest.fixture
def opened(chromium: Browser, live_server: LiveServer) -> Iterator[Callable[..., Page]]:
    contexts: list[BrowserContext] = []

    def page(**options: object) -> Page:
        contexts.append(chromium.new_context(base_url=live_server.url, **options))  # type: ignore[arg-type]
        return contexts[-1].new_page()

    yield page
    for context in contexts:
        context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_invitation_ends_signed_in(tenant: Tenant, alice: Member, opened: Callable[..., Page], scheme: str) -> None:
    invitation = services.invite(tenant, email="carol@acme.example", role="auditor", actor=acting(alice))
    page = opened(viewport={"width": 375, "height": 800}, color_scheme=scheme)
    page.goto(f"/invitations/{services.new_link(invitation)}/")
    assert page.url.endswith("/invitation/")
    assert serious(page) == []
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 375
    page.fill("input[name=password]", "short")
    page.click("text=Accept the invitation")
    page.wait_for_selector("[role=alert]")
    assert serious(page) == []
    page.fill("input[name=password]", PASSWORD)
    page.click("text=Accept the invitation")
    page.wait_for_url(f"**/tenants/{tenant.pk}/")
    assert "Welcome to Acme Bank" in page.inner_text("main")


def test_an_address_changes(tenant: Tenant, alice: Member, opened: Callable[..., Page]) -> None:
    page = opened(viewport={"width": 375, "height": 800})
    page.goto("/address/")
    page.fill("input[name=login]", alice.user.email)
    page.fill("input[name=password]", PASSWORD)
    page.click("main button[type=submit] >> nth=0")
    page.wait_for_url("**/address/")
    page.fill("input[name=email]", "alice.new@acme.example")
    page.click("text=Send the link")
    assert "goes to alice.new@acme.example" in page.inner_text("main")
    assert serious(page) == []
    page.goto(f"/addresses/{services.new_address_link(alice.user.address_changes.get())}/")
    assert serious(page) == []
    page.click("text=Use the new address")
    page.wait_for_url("**/address/")
    alice.user.refresh_from_db()
    assert alice.user.email == "alice.new@acme.example"


def test_the_people_page_fits_a_phone(tenant: Tenant, alice: Member, bob: Member, opened: Callable[..., Page]) -> None:
    services.invite(tenant, email="somebody-with-a-long-name@acme.example", role="auditor", actor=acting(alice))
    page = opened(viewport={"width": 375, "height": 800})
    page.goto(f"/tenants/{tenant.pk}/people/")
    page.fill("input[name=login]", alice.user.email)
    page.fill("input[name=password]", PASSWORD)
    page.click("main button[type=submit] >> nth=0")
    page.wait_for_url("**/people/")
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 375
    assert serious(page) == []
    page.click(f"a[href$='/people/{bob.pk}/remove/']")
    page.fill("input[name=reason]", "Left the bank")
    page.click("button.danger")
    page.wait_for_url("**/people/")
    assert "bob@acme.example is out" in page.inner_text("main")


def test_the_sessions_page_says_where_one_is_signed_in_and_ends_the_others(
    alice: Member, opened: Callable[..., Page]
) -> None:
    pages = [opened(viewport={"width": 375, "height": 800}) for _ in range(2)]
    for page in pages:
        page.goto("/accounts/sessions/")
        page.fill("input[name=login]", alice.user.email)
        page.fill("input[name=password]", PASSWORD)
        page.click("main button[type=submit] >> nth=0")
        page.wait_for_url("**/accounts/sessions/")
    page = pages[1]
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 375
    assert serious(page) == []
    assert page.locator("main ul.list > li").count() == 2
    page.click("text=Sign out all other browsers")
    page.wait_for_load_state()
    pages[0].goto("/accounts/sessions/")
    assert "/accounts/login/" in pages[0].url
