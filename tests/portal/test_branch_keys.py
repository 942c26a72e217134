"""The page of another key: what still needs the old one, the fresh branch key, the withdrawn draft and the way back."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from conftest import REGION, Customer, acting, save_draft
from django.test import Client

from byokportal.localaws.testing import LocalAws
from keys import datakeys, services
from keys.models import BranchKey, KeyRegistration, ServiceRolePolicy
from keys.policies import documents
from support import follow
from support.models import Ticket
from tenants.models import Member, Tenant

Browser = Callable[[Any], Client]


@pytest.fixture
def url(tenant: Tenant) -> str:
    return f"/tenants/{tenant.pk}/key/branch-keys/"


def operation(browser: Client, tenant: Tenant, name: str, **data: str) -> str:
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
    url: str,
    tenant: Tenant,
    active: KeyRegistration,
    alice: Member,
    bob: Member,
    browser_of: Browser,
    work: Callable[[], None],
) -> None:
    datakeys.generate(tenant, [{}], caller="tests", request_id="r")
    assert "Say why" in operation(browser_of(alice), tenant, "rotate", reason="")
    assert "yes, a fresh one is on its way" in operation(browser_of(alice), tenant, "rotate", reason="an incident")
    work()
    assert BranchKey.objects.of(tenant).count() == 2
    assert "Make a fresh branch key" not in browser_of(bob).get(url).content.decode()
    operation(browser_of(bob), tenant, "rotate", reason="mine")
    work()
    assert BranchKey.objects.of(tenant).count() == 2


def test_leaving_needs_a_tick_an_owner_and_a_key_to_go_back_to(
    url: str, tenant: Tenant, active: KeyRegistration, alice: Member, aws: LocalAws, settings: Any, browser_of: Browser
) -> None:
    browser = browser_of(alice)
    assert "no platform key here" in browser.get(url).content.decode()
    settings.PLATFORM_KEY_ARN = aws.client(settings.AWS_ACCOUNT_ID, "kms", REGION).create_key()["KeyMetadata"]["Arn"]
    datakeys.generate(tenant, [{}], caller="tests", request_id="r")
    assert "Tick this" in operation(browser, tenant, "leave", reason="we outsource it")
    page = operation(browser, tenant, "leave", reason="we outsource it", sure="on")
    assert "yes, until" not in page  # when it is tried next is not when it is rotated
    assert "1 of 1 branch key" in page and "still opens only with" in page and active.key_arn in page
    assert services.key_state(tenant).protected_by == "platform"


def test_whoever_leaves_gives_up_the_replacement_in_preparation_too(
    url: str,
    tenant: Tenant,
    active: KeyRegistration,
    alice: Member,
    customer: Customer,
    settings: Any,
    browser_of: Browser,
    api_of: Browser,
    work: Callable[[], None],
) -> None:
    """Its test would pass minutes later and put a key of theirs in service again, against what they just said."""
    platform = customer.aws.client(settings.AWS_ACCOUNT_ID, "kms", REGION).create_key()
    settings.PLATFORM_KEY_ARN = platform["KeyMetadata"]["Arn"]
    datakeys.generate(tenant, [{}], caller="tests", request_id="r")
    old_key, browser, base = customer.key_arn, browser_of(alice), f"/tenants/{tenant.pk}"
    browser.post(f"{base}/steps/1/", {"key_arn": customer.create_key()})
    customer.add_key_statement(documents.key_policy_statement(customer.role_arn))
    customer.iam.create_policy_version(
        PolicyArn=f"arn:aws:iam::{customer.account}:policy/AIforWorkKMSPolicy-{customer.role_name}",
        PolicyDocument=json.dumps(documents.permissions_policy(customer.key_arn)).replace(
            f'"{customer.key_arn}"', json.dumps([old_key, customer.key_arn])
        ),
        SetAsDefault=True,
    )
    assert browser.post(f"{base}/steps/6/", {}).status_code == 302  # shared: only the worker has not come to it yet
    follow.follow()
    assert "withdrawn with it" in browser.get(url).content.decode()
    operation(browser, tenant, "leave", reason="we outsource it", sure="on")
    work()
    assert set(KeyRegistration.objects.of(tenant).values_list("status", flat=True)) == {"retired"}
    assert not [arn for policy in ServiceRolePolicy.objects.all() for arn in policy.role_arns]
    state = services.key_state(tenant)
    assert (state.protected_by, state.key_arn) == ("platform", old_key)  # the replacement never served
    assert "platform key protects your data" in browser.get(f"{base}/key/").content.decode()
    steps = api_of(alice).get(f"/api/v1{base}/onboarding").json()["steps"]
    assert [step["status"] for step in steps] == ["waiting_for_tenant", *["not_started"] * 5]
    page = browser.get(f"{base}/").content.decode()
    assert "Give the CMK ARN." in page
    assert set(Ticket.objects.of(tenant).values_list("status", flat=True)) == {"closed"}
    assert "In preparation" not in browser.get(url).content.decode()
    # … and the way back stands open.
    browser.post(f"{base}/steps/1/", {"key_arn": customer.key_arn})
    browser.post(f"{base}/steps/2/", {"role_arn": customer.role_arn})
    browser.post(f"{base}/steps/6/", {})
    work()
    assert services.key_state(tenant).key_arn == customer.key_arn
    assert services.key_state(tenant).protected_by == "tenant"


def test_the_six_steps_say_what_a_replacement_still_needs(
    tenant: Tenant,
    active: KeyRegistration,
    alice: Member,
    customer: Customer,
    browser_of: Browser,
    work: Callable[[], None],
) -> None:
    """They stand as done for the key that serves: on their own they would say that nothing is to do."""
    browser, base = browser_of(alice), f"/tenants/{tenant.pk}"

    def preparing() -> str:
        return browser.get(f"{base}/registration/preparing/").content.decode()

    assert f'hx-get="{base}/registration/preparing/"' in browser.get(f"{base}/").content.decode()
    assert preparing().strip() == ""
    assert "Nothing to do" in browser.get(f"{base}/steps/2/").content.decode()
    old_key = customer.key_arn
    browser.post(f"{base}/steps/1/", {"key_arn": customer.create_key()})
    assert "in preparation: draft" in preparing() and "Let your role reach both keys" in preparing()
    step = browser.get(f"{base}/steps/2/").content.decode()
    assert "Share both ARNs (step 6)" in step and "Nothing to do" not in step
    assert old_key in step and customer.key_arn in step  # the policy to paste names both
    shared = browser.post(f"{base}/steps/6/", {})
    assert shared["Location"] == f"{base}/steps/5/"  # the tracker would show nothing of it
    assert "See how it goes (step 5)" in preparing() and "every 5s" in preparing()
    work()
    assert "needs a change" in preparing() and "See what (step 5)" in preparing()
    operation(browser, tenant, "withdraw", reason="not now")
    assert preparing().strip() == ""
    browser.post(f"{base}/steps/2/", {"role_arn": "arn:aws:iam::111122223333:role/Second"})
    assert "Give the new role" in preparing() and "policy name both roles" in preparing()
    step = browser.get(f"{base}/steps/3/").content.decode()
    assert customer.role_arn in step and "role/Second" in step  # the statement to paste names both …
    assert "both have to stand there until the move is over and no backup needs" in step  # … and it is said why


def test_a_replacement_in_preparation_is_shown_and_withdrawn(
    url: str, tenant: Tenant, active: KeyRegistration, alice: Member, browser_of: Browser
) -> None:
    save_draft(tenant, key_arn=active.key_arn, actor=acting(alice))
    browser = browser_of(alice)
    assert "In preparation" in browser.get(url).content.decode()
    assert "is withdrawn" in operation(browser, tenant, "withdraw", reason="not now")
    assert not KeyRegistration.objects.of(tenant).in_preparation().exists()
