"""The page of another key: what still needs the old one, the fresh branch key, the withdrawn draft and the way back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from conftest import REGION, acting
from django.test import Client

from byokportal.localaws.testing import LocalAws
from keys import datakeys, services
from keys.models import BranchKey, KeyRegistration
from tenants.models import Member, Tenant

Browser = Callable[[Any], Client]


@pytest.fixture
def url(tenant: Tenant) -> str:
    return f"/tenants/{tenant.pk}/key/branch-keys/"


def deed(browser: Client, tenant: Tenant, name: str, **data: str) -> str:
    where = "registration/withdraw" if name == "withdraw" else f"key/{name}"
    return browser.post(f"/tenants/{tenant.pk}/{where}/", data, follow=True).content.decode()


def test_it_says_that_nothing_needs_another_key(
    url: str, tenant: Tenant, active: KeyRegistration, alice: Member, browser_of: Browser
) -> None:
    assert "no branch key" in browser_of(alice).get(url).content.decode()
    datakeys.generate(tenant, [{}], caller="tests", request_id="r")
    page = browser_of(alice).get(url).content.decode()
    assert "The one branch key opens with" in page and active.key_arn in page
    assert "yes, until" in page  # its rotation


def test_a_fresh_branch_key_is_asked_for_with_a_reason(
    url: str, tenant: Tenant, active: KeyRegistration, alice: Member, bob: Member, browser_of: Browser, work: Callable[[], None]
) -> None:  # fmt: skip
    datakeys.generate(tenant, [{}], caller="tests", request_id="r")
    assert "This field is required" in deed(browser_of(alice), tenant, "rotate", reason="")
    assert "is on its way" in deed(browser_of(alice), tenant, "rotate", reason="an incident")
    work()
    assert BranchKey.objects.of(tenant).count() == 2
    assert "Make a fresh branch key" not in browser_of(bob).get(url).content.decode()
    deed(browser_of(bob), tenant, "rotate", reason="mine")
    work()
    assert BranchKey.objects.of(tenant).count() == 2


def test_leaving_needs_a_tick_an_owner_and_a_key_to_go_back_to(
    url: str, tenant: Tenant, active: KeyRegistration, alice: Member, aws: LocalAws, settings: Any, browser_of: Browser
) -> None:
    browser = browser_of(alice)
    assert "no platform key here" in browser.get(url).content.decode()
    settings.PLATFORM_KEY_ARN = aws.client(settings.AWS_ACCOUNT_ID, "kms", REGION).create_key()["KeyMetadata"]["Arn"]
    datakeys.generate(tenant, [{}], caller="tests", request_id="r")
    assert "This field is required" in deed(browser, tenant, "leave", reason="we outsource it")
    page = deed(browser, tenant, "leave", reason="we outsource it", sure="on")
    assert "yes, until" not in page  # when it is tried next is not when it is rotated
    assert "1 of 1 branch key" in page and "still opens only with" in page and active.key_arn in page
    assert services.key_state(tenant).protected_by == "platform"


def test_a_replacement_in_preparation_is_shown_and_withdrawn(
    url: str, tenant: Tenant, active: KeyRegistration, alice: Member, browser_of: Browser
) -> None:
    services.save_draft(tenant, key_arn=active.key_arn, actor=acting(alice))
    browser = browser_of(alice)
    assert "In preparation" in browser.get(url).content.decode()
    assert "is withdrawn" in deed(browser, tenant, "withdraw", reason="not now")
    assert not KeyRegistration.objects.of(tenant).in_preparation().exists()
