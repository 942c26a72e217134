"""From the mailed invitation to a replaced key, as two people, a colleague and their directory go through it.

Nothing on the pages is found by its words, so that the same journey runs in every language.
"""

# ruff: noqa: F401, F811  fixtures are imported by name

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from browser.test_portal_in_chromium import chromium, pytestmark, serious
from browser.test_second_factor_in_chromium import code_of, forget_that_it_is_fresh
from conftest import Customer, acting
from directory import verified_domain
from django.conf import LazySettings
from django.test import Client
from django.utils import timezone
from invitation_mails import mailed
from playwright.sync_api import Browser, Page
from pytest_django.live_server_helper import LiveServer
from scim_directory import Scim

from keys import health
from keys.models import CacheDrop, KeyRegistration, ServingProcess
from keys.policies import documents
from tenants import services
from tenants.models import Member, Tenant

PASSWORD = "a long enough passphrase"
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 375, "height": 740}


@dataclass
class Person:
    """Somebody at a browser of their own, and what its console said."""

    email: str
    page: Page
    tenant: Tenant
    said: list[str]

    @property
    def home(self) -> str:
        return f"/tenants/{self.tenant.pk}"

    def press(self, action: str, **fields: str) -> None:
        """Fill in the form that posts to an address below the tenant's, and send it."""
        form = self.page.locator(f"main form[action$='{action}']")
        for name, value in fields.items():
            form.locator(f"[name={name}]").fill(value)
        form.locator("button[type=submit]").first.click()
        self.page.wait_for_load_state()

    def comes_in(self) -> None:
        """Follow the mailed invitation, and choose a password."""
        self.page.goto(mailed(self.email))
        self.page.fill("input[name=password]", PASSWORD)
        self.page.click("main button[type=submit]")

    def adds_a_passkey(self) -> None:
        session = self.page.context.new_cdp_session(self.page)
        session.send("WebAuthn.enable")
        options = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True}
        options |= {"isUserVerified": True, "automaticPresenceSimulation": True}
        session.send("WebAuthn.addVirtualAuthenticator", {"options": options})
        self.page.click("main a[href*='/2fa/webauthn/add/']")
        self.page.fill("input[name=name]", "Laptop")
        self.page.click("#passkey")
        self.page.wait_for_url("**/2fa/recovery-codes/")

    def adds_an_app(self) -> str:
        """Set up an authenticator app, and return its secret."""
        self.page.goto("/accounts/2fa/totp/activate/")
        secret = self.page.inner_text("#totp-secret").replace(" ", "")
        self.page.fill("input[name=code]", code_of(secret))
        self.page.click("main button[type=submit]")
        self.page.wait_for_selector("#totp-secret", state="detached")
        return secret

    def shows_the_passkey(self) -> None:
        """Sign in freshly, where a page asks for it; it leads back to what was asked for."""
        self.page.wait_for_url("**/reauthenticate/**")
        if "webauthn" not in self.page.url:
            self.page.click("main a[href*='webauthn/reauthenticate']")
            self.page.wait_for_url("**/webauthn/reauthenticate/**")
        self.page.click("#passkey")

    def looks(self) -> None:
        """Nothing keeps anybody out, and nothing has to be moved sideways."""
        assert serious(self.page) == []
        width = self.page.viewport_size["width"]  # type: ignore[index]
        assert self.page.evaluate("document.scrollingElement.scrollWidth") <= width


@pytest.fixture
def person(
    chromium: Browser, live_server: LiveServer, tenant: Tenant, settings: LazySettings
) -> Iterator[Callable[..., Person]]:
    settings.MFA_REQUIRED = True
    made = []

    def at_a_browser(name: str, **options: Any) -> Person:
        context = chromium.new_context(base_url=live_server.url, **{"viewport": DESK, **options})
        page, said = context.new_page(), []
        page.on("console", lambda message: said.append(message.text) if message.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        made.append(context)
        return Person(f"{name}@acme.example", page, tenant, said)

    yield at_a_browser
    for context in made:
        context.close()


def sets_up(alice: Person, customer: Customer) -> None:
    """Steps 1 to 6, as far as the person goes."""
    page = alice.page
    page.goto(f"{alice.home}/steps/1/")
    page.fill("input[name=key_arn]", customer.create_key())
    page.locator("main form:has(input[name=key_arn]) button[type=submit]").click()
    page.wait_for_url("**/steps/2/")
    customer.create_role(page.inner_text("#trust-policy"), page.inner_text("#permissions-policy"))
    page.fill("input[name=role_arn]", customer.role_arn)
    page.locator("main form:has(input[name=role_arn]) button[type=submit]").click()
    page.wait_for_url("**/steps/3/")
    customer.add_key_statement(json.loads(page.inner_text("#key-policy-statement")))
    shares(alice)


def shares(alice: Person) -> None:
    alice.page.goto(f"{alice.home}/steps/6/")
    alice.page.locator("main form[method=post] button[type=submit]").first.click()


def drills(alice: Person, customer: Customer, active: KeyRegistration, probe_now: Callable[..., Any]) -> None:
    process = ServingProcess.objects.create(name="web-1:4711", started_at=timezone.now() - timedelta(minutes=1))
    alice.page.goto(f"{alice.home}/key/")
    alice.page.click("main a.button[href$='/drills/']")
    alice.page.wait_for_url("**/drills/")
    alice.page.locator("main form[method=post] button[type=submit]").click()
    alice.page.wait_for_selector("#disable")
    customer.kms.disable_key(KeyId=customer.key_arn)
    ServingProcess.objects.filter(pk=process.pk).update(seen_at=timezone.now())
    probe_now(active)
    health.follow_drills()
    alice.tenant.refresh_from_db()
    CacheDrop.objects.create(tenant=alice.tenant, process=process, generation=alice.tenant.key_generation, count=1)
    health.follow_drills()
    customer.kms.enable_key(KeyId=customer.key_arn)
    probe_now(active)
    probe_now(active)
    health.follow_drills()
    alice.page.wait_for_selector(".timeline > .done:nth-child(5)")
    alice.looks()
    process.delete()


@pytest.mark.parametrize("options", [{}, {"viewport": PHONE, "locale": "de-DE"}], ids=["desk", "German on a phone"])
def test_from_the_invitation_to_a_key_replaced_with_four_eyes(
    person: Callable[..., Person],
    tenant: Tenant,
    customer: Customer,
    work: Callable[[], None],
    probe_now: Callable[..., Any],
    options: dict[str, Any],
) -> None:
    alice = person("alice", **options)
    alice.comes_in()
    alice.page.wait_for_url("**/accounts/2fa/")  # nobody works here without a second factor
    alice.looks()
    alice.adds_a_passkey()
    alice.adds_an_app()

    sets_up(alice, customer)
    alice.page.wait_for_url(f"**{alice.home}/")
    work()
    alice.page.wait_for_selector(".steps > .done:nth-child(5)")
    active = KeyRegistration.objects.get(tenant=tenant)
    assert active.status == "active"
    alice.looks()
    drills(alice, customer, active, probe_now)

    # Bob is let in as an admin, and is one for a week when Alice asks for a second person.
    alice.page.goto(f"{alice.home}/people/")
    invite = alice.page.locator("main form:has(input[name=email])")
    invite.locator("input[name=email]").fill("bob@acme.example")
    invite.locator("[name=role]").select_option("admin")
    invite.locator("button[type=submit]").click()
    alice.page.wait_for_load_state()
    bob = person("bob", **options)
    bob.comes_in()
    bob.page.wait_for_url("**/accounts/2fa/")
    bob.adds_a_passkey()
    Member.objects.of(tenant).update(
        created_at=timezone.now() - timedelta(days=7), role_since=timezone.now() - timedelta(days=7)
    )
    alice.page.goto(f"{alice.home}/approvals/")
    alice.press("/approvals/require/")
    tenant.refresh_from_db()
    assert tenant.second_person_since is not None

    # Suspending waits for nobody, and asks for nothing; resuming asks who she is, and waits for Bob.
    forget_that_it_is_fresh(Member.objects.of(tenant).get(user__email=alice.email))
    alice.page.goto(f"{alice.home}/key/")
    alice.press("/key/suspend/", reason="a drill of the bank's")
    active.refresh_from_db()
    assert (active.status, active.suspended_by) == ("suspended", "tenant")
    alice.looks()
    alice.press("/key/resume/", reason="the drill is over")
    alice.shows_the_passkey()
    alice.page.wait_for_url("**/key/**")
    alice.press("/key/resume/", reason="the drill is over")
    active.refresh_from_db()
    assert active.status == "suspended"
    approve(bob)
    probe_now(active)
    probe_now(active)
    assert active.status == "active"

    # Another key, with the same role: Alice shares it, Bob approves, and it takes over.
    old = customer.key_arn
    new = customer.create_key()
    policy = json.loads(customer.kms.get_key_policy(KeyId=old, PolicyName="default")["Policy"])
    customer.kms.put_key_policy(KeyId=new, PolicyName="default", Policy=json.dumps(policy))
    customer.iam.put_role_policy(
        RoleName=active.role_arn.rpartition("/")[2],
        PolicyName="both",
        PolicyDocument=json.dumps(documents.permissions_policy(new, [old])),
    )
    alice.page.goto(f"{alice.home}/steps/1/")
    alice.page.fill("input[name=key_arn]", new)
    alice.page.locator("main form:has(input[name=key_arn]) button[type=submit]").click()
    alice.page.wait_for_load_state()
    shares(alice)
    alice.page.wait_for_load_state()
    approve(bob)
    work()
    # The old key wrapped nothing, so nothing waits for it.
    assert {one.key_arn: one.status for one in KeyRegistration.objects.of(tenant)} == {old: "retired", new: "active"}
    alice.page.goto(f"{alice.home}/key/")
    assert new in alice.page.inner_text("main")
    alice.looks()
    assert alice.said == [] and bob.said == []


def approve(bob: Person) -> None:
    """Bob approves what waits."""
    bob.page.goto(f"{bob.home}/approvals/")
    bob.looks()
    bob.page.locator("main form[action$='/approve/'] button").first.click()
    bob.page.wait_for_load_state()
    if "reauthenticate" in bob.page.url:
        bob.shows_the_passkey()
        bob.page.wait_for_url("**/approvals/**")
        bob.page.locator("main form[action$='/approve/'] button").first.click()
    bob.page.wait_for_selector("main form[action$='/approve/']", state="detached")


def test_by_a_colleagues_link(
    person: Callable[..., Person],
    tenant: Tenant,
    customer: Customer,
    work: Callable[[], None],
    settings: LazySettings,
) -> None:
    settings.MFA_REQUIRED = False
    alice = person("alice")
    alice.comes_in()
    alice.page.wait_for_url(f"**{alice.home}/")
    alice.page.goto(f"{alice.home}/links/")
    make = alice.page.locator("main form:has(input[name=name])")
    make.locator("input[name=name]").fill("Cloud team")
    make.locator("button[type=submit]").click()
    link = alice.page.inner_text("#raw-link")

    colleague = person("nobody", viewport=PHONE)
    colleague.page.goto(link)
    colleague.looks()
    key = customer.create_key()
    customer.create_role(colleague.page.inner_text("#trust-policy"))
    propose(colleague, {"KeyArn": key, "RoleArn": customer.role_arn})
    alice.page.goto(f"{alice.home}/links/")
    alice.press("/confirm/")
    colleague.page.goto(link)
    customer.iam.put_role_policy(
        RoleName=customer.role_name, PolicyName="byok", PolicyDocument=colleague.page.inner_text("#permissions-policy")
    )
    customer.add_key_statement(json.loads(colleague.page.inner_text("#key-policy-statement")))
    shares(alice)
    alice.page.wait_for_url(f"**{alice.home}/")
    work()
    assert KeyRegistration.objects.get(tenant=tenant).status == "active"
    colleague.page.goto(link)
    assert key not in colleague.page.inner_text("main")  # the key is in service: the link has ended
    assert colleague.said == [] or all("410" in one or "404" in one for one in colleague.said)
    assert alice.said == []


def propose(colleague: Person, outputs: dict[str, str]) -> None:
    printed = [{"OutputKey": name, "OutputValue": value} for name, value in outputs.items()]
    form = colleague.page.locator("main form:has(textarea)")
    form.locator("textarea").fill(json.dumps(printed))
    form.locator("button[type=submit]").click()
    colleague.page.wait_for_selector(".notice.success")


def test_who_leaves_the_directory_is_out_in_the_browser_and_by_token(
    person: Callable[..., Person], tenant: Tenant, settings: LazySettings, live_server: LiveServer
) -> None:
    settings.MFA_REQUIRED = False
    alice = person("alice")
    alice.comes_in()
    alice.page.wait_for_url(f"**{alice.home}/")
    owner = Member.objects.of(tenant).get(user__email=alice.email)
    verified_domain(tenant)
    scim = Scim(owner)
    services.invite(tenant, email="dora@acme.example", role="admin", actor=acting(owner))
    named = scim.user("dora@acme.example")
    dora = person("dora")
    dora.comes_in()
    dora.page.wait_for_url(f"**{dora.home}/")
    dora.page.goto(f"{dora.home}/automation/")
    form = dora.page.locator("main form:has(input[name=name])")
    form.locator("input[name=name]").fill("pipeline")
    form.locator("button[type=submit]").click()
    raw = dora.page.inner_text("#raw-token")
    headers = {"authorization": f"Bearer {raw}"}
    setup = f"/api/v1/tenants/{tenant.pk}/setup"
    assert Client().get(setup, headers=headers).status_code == 200

    scim.switch(named, False)
    # a process remembers a token for a few seconds
    for _ in range(60):
        if Client().get(setup, headers=headers).status_code == 401:
            break
        dora.page.wait_for_timeout(500)
    else:
        raise AssertionError("the token goes on answering")
    dora.page.goto(f"{dora.home}/automation/")
    dora.page.wait_for_url("**/accounts/login/**")
