"""What people see: the six steps clicked through in Chromium, without a word from the console, at desk and phone width."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import Customer
from playwright.sync_api import Browser, Page, sync_playwright
from pytest_django.live_server_helper import LiveServer

from keys import services
from keys.models import KeyRegistration
from tenants.models import Member, Tenant

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync"
PASSWORD = "a-password-of-tests-only"
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        yield browser
        browser.close()


@pytest.fixture
def said() -> list[str]:
    """What the browser's console said: violations of the policy, errors of scripts."""
    return []


@pytest.fixture
def page(chromium: Browser, live_server: LiveServer, alice: Member, said: list[str]) -> Iterator[Page]:
    """Alice's browser, signed in through the sign-in page."""
    alice.user.set_password(PASSWORD)
    alice.user.save()
    context = chromium.new_context(base_url=live_server.url, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.on("console", lambda message: said.append(message.text) if message.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto("/")
    page.fill("input[name=login]", alice.user.email)
    page.fill("input[name=password]", PASSWORD)
    page.click("main button[type=submit] >> nth=0")
    page.wait_for_url("**/tenants/**")
    yield page
    context.close()


def serious(page: Page) -> list[str]:
    """Return what axe finds that keeps people out."""
    found = Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {one['nodes'][0]['html'][:120]}" for one in found if one["impact"] in {"serious", "critical"}
    ]


def test_the_six_steps_in_the_browser(
    page: Page, tenant: Tenant, customer: Customer, work: Callable[[], None], said: list[str]
) -> None:
    tenant_page = f"/tenants/{tenant.pk}/"
    assert page.inner_text("#external-id") == tenant.external_id

    page.click("text=Ensure you have a KMS Customer Managed Key")
    page.fill("input[name=key_arn]", "arn:aws:kms:eu-central-1:111122223333:alias/byok")
    page.click("text=Save and go on")
    assert "This is an alias" in page.inner_text(".errors")
    assert page.get_attribute("input[name=key_arn]", "aria-invalid") == "true"
    page.fill("input[name=key_arn]", customer.create_key())
    page.click("text=Save and go on")

    page.wait_for_url("**/steps/2/")
    customer.create_role(page.inner_text("#trust-policy"), page.inner_text("#permissions-policy"))
    page.fill("input[name=role_arn]", customer.role_arn)
    page.click("text=Save and go on")

    page.wait_for_url("**/steps/3/")
    customer.add_key_statement(json.loads(page.inner_text("#key-policy-statement")))
    page.click("summary")
    page.fill("textarea", "{}")
    page.click("button:has-text('Read it')")
    page.wait_for_selector("text=What we read")

    page.goto(f"{tenant_page}steps/6/")
    page.click("button:has-text('Share both ARNs')")
    page.wait_for_url(f"**{tenant_page}")
    work()
    page.wait_for_selector(".steps > .done:nth-child(5)", timeout=10_000)  # htmx brings the new state, nobody reloads
    assert page.locator(".steps > .done").count() == 5

    page.goto(f"{tenant_page}key/")
    assert "Active" in page.inner_text(".big-state")
    page.fill("#suspend-reason", "drill")
    page.click("text=Suspend the key")
    assert "Suspended" in page.inner_text(".big-state")
    assert KeyRegistration.objects.get(tenant=tenant).suspended_by == "tenant"
    assert said == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_are_accessible_and_fit_a_phone(
    page: Page, tenant: Tenant, alice: Member, said: list[str], scheme: Any
) -> None:
    from conftest import acting

    services.save_draft(
        tenant,
        key_arn="arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
        role_arn="arn:aws:iam::111122223333:role/" + "Long" * 16,
        actor=acting(alice),
    )
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 360, "height": 740})
    paths = ["", *(f"steps/{number}/" for number in range(1, 7)), "key/", "log/", "tickets/", "people/", "automation/"]
    for path in paths:
        page.goto(f"/tenants/{tenant.pk}/{path}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
        assert serious(page) == [], path
    assert said == []


def test_the_api_page_asks_nobody_else_and_breaks_no_policy(
    page: Page, live_server: LiveServer, said: list[str]
) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto("/api/docs")
    page.wait_for_selector("[data-path='/api/v1/tenants/{tenant}/data-keys']", timeout=15_000)
    assert [url for url in asked if not url.startswith((live_server.url, "data:"))] == []
    assert said == []
