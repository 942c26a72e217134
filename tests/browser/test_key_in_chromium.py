"""The key page and a revocation drill in Chromium:
live without a reload, accessible, at desk and phone width, light and dark."""

# ruff: noqa: F401, F811  fixtures are imported by name

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from browser.test_portal_in_chromium import chromium, page, pytestmark, said, serious  # one way to sign in
from conftest import Customer
from django.utils import timezone
from playwright.sync_api import Page

from keys import health
from keys.models import CacheDrop, KeyHealth, KeyRegistration, ServingProcess
from tenants.models import Tenant


def shot(page: Page, name: str) -> None:
    """Keep a picture where SCREENSHOTS names a folder."""
    folder = os.environ.get("SCREENSHOTS")
    if not folder:
        return
    for scheme in ("light", "dark"):
        for width in (1280, 390):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            page.set_viewport_size({"width": width, "height": 900})
            page.screenshot(path=str(Path(folder) / f"{name}-{scheme}-{width}.png"), full_page=True)
    page.set_viewport_size({"width": 1280, "height": 900})


def fits_and_is_accessible(page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        assert serious(page) == []
    page.set_viewport_size({"width": 1280, "height": 900})


def test_a_drill_from_its_start_to_its_report(
    page: Page,
    tenant: Tenant,
    active: KeyRegistration,
    customer: Customer,
    probe_now: Callable[..., Any],
    said: list[str],
) -> None:
    process = ServingProcess.objects.create(name="web-1:4711", started_at=timezone.now() - timedelta(minutes=1))
    page.goto(f"/tenants/{tenant.pk}/key/")
    fits_and_is_accessible(page)
    shot(page, "key-active")
    page.click("text=See how fast your kill switch is")
    fits_and_is_accessible(page)
    shot(page, "drills")
    page.click("button:has-text('Start a drill')")
    page.wait_for_selector("text=Disable the key now")
    assert customer.key_arn in page.inner_text("#disable")
    fits_and_is_accessible(page)
    shot(page, "drill-disable")

    customer.kms.disable_key(KeyId=customer.key_arn)
    ServingProcess.objects.filter(pk=process.pk).update(seen_at=timezone.now())  # it lives, and has not heard of it yet
    probe_now(active)
    health.follow_drills()
    page.wait_for_selector("text=Our processes drop your keys")  # nobody reloads
    tenant.refresh_from_db()
    CacheDrop.objects.create(tenant=tenant, process=process, generation=tenant.key_generation, count=2)
    health.follow_drills()
    page.wait_for_selector("text=Enable the key again")
    fits_and_is_accessible(page)
    shot(page, "drill-enable")

    customer.kms.enable_key(KeyId=customer.key_arn)
    probe_now(active)
    probe_now(active)
    health.follow_drills()
    page.wait_for_selector("text=Your kill switch works")
    assert page.locator(".timeline > .done").count() == 5
    fits_and_is_accessible(page)
    shot(page, "drill-done")
    page.emulate_media(media="print")
    assert not page.locator(".top").is_visible()
    if os.environ.get("SCREENSHOTS"):
        page.screenshot(path=str(Path(os.environ["SCREENSHOTS"]) / "drill-print.png"), full_page=True)
    page.emulate_media(media="screen")
    assert said == []


def test_a_mended_key_comes_back_before_the_eyes_of_who_asked(
    page: Page,
    tenant: Tenant,
    active: KeyRegistration,
    customer: Customer,
    probe_now: Callable[..., Any],
    said: list[str],
    settings: Any,
) -> None:
    settings.GOOD_ANSWERS_APART = 2
    customer.kms.disable_key(KeyId=customer.key_arn)
    probe_now(active)
    page.goto(f"/tenants/{tenant.pk}/key/")
    assert "press Ask again now" in page.inner_text("#key-state")
    fits_and_is_accessible(page)
    shot(page, "key-refused")
    customer.kms.enable_key(KeyId=customer.key_arn)
    page.click("button:has-text('Ask again now')")
    page.wait_for_selector("text=AWS is being asked now")
    probe_now(active)
    page.wait_for_selector("text=answered well 1 time in a row")  # nobody reloads
    fits_and_is_accessible(page)
    shot(page, "key-on-its-way-back")
    KeyHealth.objects.update(good_since=timezone.now() - timedelta(seconds=3))
    probe_now(active)
    page.wait_for_selector(".big-state:has-text('Active')")
    assert said == []


@pytest.mark.parametrize("operation", ["deletion", "ours", "suspended"])
def test_the_key_page_in_trouble(
    page: Page,
    tenant: Tenant,
    active: KeyRegistration,
    customer: Customer,
    probe_now: Callable[..., Any],
    said: list[str],
    operation: str,
) -> None:
    page.goto(f"/tenants/{tenant.pk}/key/")
    assert "Active" in page.inner_text(".big-state")
    if operation == "deletion":
        customer.kms.schedule_key_deletion(KeyId=customer.key_arn, PendingWindowInDays=9)
        probe_now(active)
        page.wait_for_selector("text=cancel-key-deletion", timeout=10_000)  # the page looks every five seconds
    elif operation == "ours":
        KeyRegistration.objects.update(status="unreachable", reason="own_access_broken")
        KeyHealth.objects.update(refused_since=timezone.now(), refused_code="role_not_assumable")
        page.wait_for_selector("text=You need not change anything", timeout=10_000)
    else:
        page.fill("#suspend-reason", "drill")
        page.click("text=Suspend the key")
        page.wait_for_selector("text=Resume")
    fits_and_is_accessible(page)
    shot(page, f"key-{operation}")
    assert said == []
