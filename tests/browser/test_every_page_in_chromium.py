"""Every page keeps nobody out and fits a phone: axe and the width at 375 px, with names and words of extreme length."""

# ruff: noqa: F401, F811  fixtures are imported by name

from __future__ import annotations

from collections.abc import Callable

import pytest
from browser.test_portal_in_chromium import PASSWORD, chromium, page, pytestmark, said, serious
from conftest import acting, acting_staff, invited
from django.contrib import admin
from django.contrib.auth.models import User
from playwright.sync_api import Page

from keys import services as key_services
from keys.models import KeyRegistration
from support import services as support_services
from tenants import services
from tenants.models import Member, Tenant

LONG = "Gesellschaft-mit-sehr-langem-Namen-" * 3


def faults(page: Page, path: str, said: list[str]) -> list[str]:
    """Return what is wrong with a page at 375 px, and what the browser's console said of it (`said` is emptied)."""
    answer = page.goto(path)
    page.wait_for_load_state("networkidle")
    if answer and answer.status >= 400:  # the page of a problem, which the console reports once
        said[:] = [one for one in said if f"status of {answer.status}" not in one]
    wide = page.evaluate("document.scrollingElement.scrollWidth")
    found = [f"the console says {one}" for one in said] + ([f"{wide} px wide"] if wide > 375 else [])
    found += serious(page)
    said.clear()  # what axe itself asks for is no fault of the page
    return [f"{path}: {one}" for one in found]


@pytest.fixture
def full(tenant: Tenant, alice: Member, sam: User, active: KeyRegistration) -> dict[str, object]:
    """Acme Bank with something of everything, and long words in all of it."""
    Tenant.objects.filter(pk=tenant.pk).update(name=LONG[:120])
    bob = invited(tenant, f"{'b' * 60}@{'acme' * 10}.example", "auditor")
    services.invite(tenant, email=f"{'i' * 60}@{'acme' * 10}.example", role="auditor", actor=acting(alice))
    services.mint_token(alice, name=LONG, actor=acting(alice))
    ticket = support_services.open_ticket(tenant, topic="question", subject=LONG, text="w" * 4000, actor=acting(alice))
    support_services.answer_ticket(ticket, text="v" * 4000, actor=acting_staff(sam))
    key_services.suspend(tenant, reason=LONG, actor=acting(alice))
    return {"bob": bob.pk, "ticket": ticket.pk, "test": active.tests.get().pk, "registration": active.pk}


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_of_the_portal(
    page: Page, tenant: Tenant, full: dict[str, object], said: list[str], scheme: str
) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.set_viewport_size({"width": 375, "height": 800})
    mine = f"/tenants/{tenant.pk}/"
    below = [
        "", *(f"steps/{number}/" for number in range(1, 7)), "log/", "people/", f"people/{full['bob']}/remove/",
        f"people/{full['bob']}/second-factor/", "automation/", "check-policy/", "check-output/", "tests/", f"tests/{full['test']}/", "key/",
        "key/branch-keys/", "key/drills/", "tickets/", f"tickets/{full['ticket']}/",
    ]  # fmt: skip
    found = [fault for path in below for fault in faults(page, mine + path, said)]
    for path in (
        "/address/",
        "/accounts/password/change/",
        "/accounts/2fa/",
        "/accounts/2fa/totp/activate/",
        "/accounts/sessions/",
        "/docs/problems",
    ):
        found += faults(page, path, said)
    assert not found, "\n".join(found)


@pytest.mark.slow
def test_every_form_with_an_error(page: Page, tenant: Tenant, full: dict[str, object]) -> None:
    page.set_viewport_size({"width": 375, "height": 800})
    mine, found = f"/tenants/{tenant.pk}/", []
    for path, button in (
        ("people/", "Invite"), ("tickets/", "Open"), (f"people/{full['bob']}/remove/", "Remove"), ("automation/", "Make it"),
    ):  # fmt: skip
        page.goto(mine + path)
        page.click(f"main form button:has-text('{button}')")
        page.wait_for_selector("[role=alert]")
        found += [f"{path} with an error: {one}" for one in serious(page)]
    assert not found, "\n".join(found)


@pytest.mark.slow
def test_the_pages_without_a_session(page: Page, said: list[str]) -> None:
    page.context.clear_cookies()
    page.set_viewport_size({"width": 375, "height": 800})
    found = []
    for path in ("/accounts/login/", "/accounts/password/reset/", "/invitation/", "/api/docs"):
        found += faults(page, path, said)
    page.goto("/accounts/login/")
    page.click("main button[type=submit] >> nth=0")
    page.wait_for_selector("[role=alert]")
    found += serious(page)
    assert not found, "\n".join(found)


@pytest.mark.slow
def test_the_back_office(page: Page, sam: User, tenant: Tenant, full: dict[str, object], said: list[str]) -> None:
    page.context.clear_cookies()
    page.goto("/admin/")
    page.fill("input[name=login]", sam.email)
    page.fill("input[name=password]", "sam-password-of-tests")
    page.click("main button[type=submit] >> nth=0")
    page.wait_for_url("**/admin/")
    lists = [f"/admin/{model._meta.app_label}/{model._meta.model_name}/" for model in admin.site._registry]
    ones = [
        f"/admin/tenants/tenant/{tenant.pk}/change/", f"/admin/keys/keyregistration/{full['registration']}/change/",
        f"/admin/keys/encryptiontest/{full['test']}/change/", f"/admin/support/ticket/{full['ticket']}/change/",
        f"/admin/tenants/tenant/{tenant.pk}/deeds/drop-caches/", "/admin/tenants/tenant/deeds/create/", "/admin/auth/user/deeds/create-staff/",
        "/admin/explain-aws-error/",
    ]  # fmt: skip
    found = []
    for path in ["/admin/", *lists, *ones]:
        page.goto(path)
        found += [f"{path}: {one}" for one in [*said, *serious(page)]]
        said.clear()
    page.goto("/admin/tenants/tenant/deeds/create/")
    page.click("input[type=submit]")
    found += serious(page)
    assert not found, "\n".join(found)
