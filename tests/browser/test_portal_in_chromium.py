"""What people see: the six steps clicked through in Chromium, without a word from the console,
at desk and phone width."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from conftest import Customer, acting, save_draft
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import Browser, Page, sync_playwright
from pytest_django.live_server_helper import LiveServer

from keys import services
from keys.models import CheckResult, EncryptionTest, KeyRegistration
from tenants.models import Member, Tenant

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
PASSWORD = "a-password-of-tests-only"
# Only what is wrong leaves the browser: whatever is right is many times longer.
VIOLATIONS = """async ([part, options]) => {
  const found = await axe.run(part, {...options, resultTypes: ["violations"]});
  return found.violations.filter(one => ["serious", "critical"].includes(one.impact)).map(
    one => `${one.id}: ${one.nodes[0].html.slice(0, 120)}`);
}"""
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


def serious(page: Page, part: str = "body", only: list[str] | None = None) -> list[str]:
    """Return what axe finds that keeps people out, on the page or in a part of it, by all its rules or by some."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)  # half a megabyte, which stays until the page is left
    options = {"runOnly": {"type": "rule", "values": only}} if only else {}
    found: list[str] = page.evaluate(VIOLATIONS, [part, options])
    return found


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
    page.click("main summary")
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


def test_a_pasted_policy_is_read_line_by_line_with_and_without_scripts(
    page: Page, tenant: Tenant, said: list[str]
) -> None:
    page.goto(f"/tenants/{tenant.pk}/steps/2/")
    right = page.inner_text("#trust-policy")
    box = page.locator("details:has-text('Have your trust policy')")
    box.locator("summary").click()
    box.locator("textarea").fill(right.replace("StringEquals", "StringEqualsIfExists"))
    box.locator("button").click()
    page.wait_for_selector("#reading-trust:has-text('Too wide')")
    assert "sts:ExternalId" in page.inner_text(".lines > .error code")
    assert page.inner_text(".difference pre del").strip().endswith('"StringEqualsIfExists": {')
    assert json.loads(page.inner_text("#corrected-trust")) == json.loads(right)
    assert serious(page) == []
    # Without htmx the same form is a page of its own.
    page.goto(f"/tenants/{tenant.pk}/check-policy/")
    page.fill("textarea", page.evaluate("() => '{\"Statement\": [\\n{,}]}'"))
    page.click("button:has-text('Read it')")
    page.wait_for_selector("#reading-trust:has-text('AWS would not save this')")
    assert page.locator(".lines > .error").count() == 1
    assert serious(page) == []
    assert said == []


def test_the_output_of_a_command_is_read_in_place(
    page: Page, tenant: Tenant, alice: Member, customer: Customer, said: list[str]
) -> None:
    from conftest import acting

    customer.follow_the_guide(tenant, acting(alice))
    page.goto(f"/tenants/{tenant.pk}/steps/4/")
    assert customer.role_arn in page.inner_text("#command-assume-role")
    described = customer.kms.describe_key(KeyId=customer.key_arn)["KeyMetadata"]
    outputs = (
        (json.dumps({"KeyMetadata": described}, default=str), "As it should be"),
        (customer.kms.get_key_policy(KeyId=customer.key_arn, PolicyName="default")["Policy"], "As it should be"),
        (
            json.dumps({"Role": customer.iam.get_role(RoleName=customer.role_name)["Role"]}, default=str),
            "As it should be",
        ),
        ('{"Credentials": {"SessionToken": "x"}, "AssumedRoleUser": {}}', "it should not have"),
    )
    for output, expected in outputs:
        page.fill("textarea", output)
        page.click("button:has-text('Read it')")
        page.wait_for_selector(f"#reading-of-output:has-text('{expected}')")
    assert serious(page) == []
    assert said == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_are_accessible_and_fit_a_phone(
    page: Page, tenant: Tenant, alice: Member, said: list[str], scheme: Any
) -> None:
    save_draft(
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
    page.wait_for_selector("h2:has-text('POST /api/v1/tenants/{tenant}/data-keys')", timeout=15_000)
    assert [url for url in asked if not url.startswith((live_server.url, "data:"))] == []
    assert said == []


# --- the encryption test as people watch it ---------------------------------------------------------------------


def test_the_checks_turn_the_link_breaks_and_the_corrected_document_mends_it(
    page: Page,
    said: list[str],
    tenant: Tenant,
    alice: Member,
    customer: Customer,
    work: Callable[[], None],
    settings: Any,
) -> None:
    settings.PROPAGATION_WINDOW = 0
    loads: list[str] = []
    customer.follow_the_guide(tenant, acting(alice))
    customer.set_trust(services.document(tenant, "trust-policy").replace(tenant.external_id, "byok-of-somebody-else"))
    services.submit_registration(tenant, actor=acting(alice))
    page.goto(f"/tenants/{tenant.pk}/steps/5/")
    page.on("framenavigated", lambda frame: loads.append(frame.url))
    assert "setting up our side" in page.inner_text("#outcome")
    work()
    page.wait_for_selector(".link.broken", timeout=10_000)
    page.wait_for_selector("#step-state .waiting_for_tenant")  # the step's own status came along
    assert loads == []
    assert page.locator(".link.broken").count() == 1
    assert "Broken here" in page.inner_text(".link.broken")
    assert "broken here" in str(page.get_attribute(".chain", "aria-label"))
    assert "The trust policy of your role needs a change (step 2)" in page.inner_text(
        "#announcement", timeout=2_000
    ) + page.inner_text("#outcome")

    customer.set_trust(page.inner_text(".remedy .copy pre >> nth=0"))  # the person pastes what the page gives
    page.click("text=I changed it: test again")
    page.wait_for_url("**/tests/*/")
    loads.clear()
    work()
    page.wait_for_selector(".outcome.ok", timeout=10_000)
    assert loads == []
    assert page.locator(".link.works").count() == 4
    assert KeyRegistration.objects.get(tenant=tenant).status == "active"

    page.click("text=All tests")
    assert "was refused, now passes" in page.inner_text("table.comparison")
    assert said == []


def test_what_is_likely_is_there_before_it_counts_and_mends_it(
    page: Page,
    said: list[str],
    tenant: Tenant,
    alice: Member,
    customer: Customer,
    work: Callable[[], None],
    settings: Any,
) -> None:
    settings.PROPAGATION_WINDOW = 300
    customer.follow_the_guide(tenant, acting(alice))
    customer.set_trust(services.document(tenant, "trust-policy").replace(tenant.external_id, "byok-of-somebody-else"))
    services.submit_registration(tenant, actor=acting(alice))
    page.goto(f"/tenants/{tenant.pk}/steps/5/")
    work()
    page.wait_for_selector(".remedies.likely", timeout=10_000)
    assert "If it is still so at" in page.inner_text(".outcome")
    assert "change the trust policy of your role" in page.inner_text(".link.waiting")
    assert page.locator(".link.broken").count() == 0
    page.wait_for_selector("#step-state >> text=If it is still so at")  # the step's own sentence came along
    customer.set_trust(page.inner_text(".likely .copy pre >> nth=0"))
    page.goto(f"/tenants/{tenant.pk}/")
    assert "If it is still so at" in page.inner_text("#steps")
    assert "Nothing to do" not in page.inner_text("#steps")
    page.goto(f"/tenants/{tenant.pk}/steps/5/")
    page.click("text=I changed it: ask again now")
    page.wait_for_url("**/tests/*/")
    work()
    page.wait_for_selector(".outcome.ok", timeout=10_000)
    assert page.locator(".remedies").count() == 0
    assert said == []


@pytest.fixture
def waiting(tenant: Tenant) -> EncryptionTest:
    registration = KeyRegistration.objects.create(
        tenant=tenant,
        status="testing",
        key_arn="arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
        role_arn="arn:aws:iam::111122223333:role/" + "Long" * 16,
    )
    test = EncryptionTest.objects.create(
        tenant=tenant,
        registration=registration,
        requested_by="system",
        status="waiting",
        verdict="unknown",
        due_at=timezone.now() + timedelta(seconds=40),
    )
    final_at = (timezone.now() + timedelta(minutes=4)).isoformat(timespec="seconds")
    CheckResult.objects.create(
        tenant=tenant,
        test=test,
        position=3,
        code="role.assumable",
        title="Your role lets us in",
        step=2,
        verdict="unknown",
        causes=["external_id_mismatch", "propagation_delay"],
        evidence={"action": "sts:AssumeRole", "final_at": final_at},
    )
    return test


def test_a_wait_counts_down_and_keeps_what_the_reader_opened(
    page: Page, waiting: EncryptionTest, said: list[str]
) -> None:
    page.goto(f"/tenants/{waiting.tenant_id}/tests/{waiting.pk}/")
    first = page.inner_text("[data-countdown]")
    assert first.startswith("in ")
    page.wait_for_function("text => document.querySelector('[data-countdown]').textContent !== text", arg=first)
    assert "We count a refusal as final at" in page.inner_text(".waits")
    page.click("#evidence-role\\.assumable summary")
    CheckResult.objects.filter(test=waiting).update(causes=["role_not_found", "propagation_delay"])
    page.wait_for_selector("text=Role not found", timeout=10_000)  # the part was replaced, and is still open
    assert said == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible_and_fits_a_phone_for_tenants_and_for_support(
    page: Page,
    waiting: EncryptionTest,
    sam: User,
    said: list[str],
    scheme: Any,
) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 360, "height": 740})
    of_tenant = [
        f"/tenants/{waiting.tenant_id}/{path}" for path in (f"tests/{waiting.pk}/", "tests/", "steps/2/", "steps/5/")
    ]
    failed = {
        "verdict": "fail",
        "document": "trust-policy",
        "remedy": "Set the External ID. " * 9,
        "inferred": '{\n "a": 1\n}',
        "corrected": '{\n "b": 2\n}',
        "decide": "aws iam get-role --role-name " + "Long" * 16,
    }
    for over in (False, True):
        if over:
            CheckResult.objects.update(**failed)
            EncryptionTest.objects.update(status="finished", verdict="fail", finished_at=timezone.now(), due_at=None)
        for path in of_tenant:
            page.goto(path)
            assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
            assert serious(page) == [], path
    page.context.clear_cookies()
    page.set_viewport_size({"width": 1280, "height": 900})
    page.goto("/admin/")
    page.fill("input[name=login]", sam.email)
    page.fill("input[name=password]", "sam-password-of-tests")
    page.click("main button[type=submit] >> nth=0")
    page.goto(f"/admin/keys/encryptiontest/{waiting.pk}/change/")
    assert page.locator(".chain .link.broken").count() == 1
    assert said == []  # before axe, which asks for a stylesheet of Django's that Django names wrongly
    assert serious(page, "#live-test") == []


# --- support --------------------------------------------------------------------------------------------------

REFUSED = (
    "An error occurred (AccessDenied) when calling the AssumeRole operation: User: "
    "arn:aws:sts::999900001111:assumed-role/kore/byok is not authorized to perform: sts:AssumeRole on resource: "
    "arn:aws:iam::111122223333:role/AIforWorkByokAccessRole, key AKIAIOSFODNN7EXAMPLE"
)


def test_support_pastes_an_error_and_copies_the_answer(
    chromium: Browser, live_server: LiveServer, sam: User, said: list[str]
) -> None:
    context = chromium.new_context(
        base_url=live_server.url, permissions=["clipboard-read", "clipboard-write"], color_scheme="dark"
    )
    page = context.new_page()
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto("/accounts/login/?next=/admin/")
    page.fill("input[name=login]", sam.email)
    page.fill("input[name=password]", "sam-password-of-tests")
    page.click("main button[type=submit] >> nth=0")
    page.click("text=Explain an AWS error")
    page.fill("textarea", REFUSED)
    page.click("input[value=Explain]")
    assert page.locator("text=Ours first.").is_visible()
    assert page.locator("[role=alert]").inner_text().startswith("The text held an AWS access key ID.")
    assert "AKIA" not in page.content()
    page.click("text=Copy")
    page.wait_for_selector("text=Copied")
    assert page.evaluate("navigator.clipboard.readText()").startswith("AWS refused sts:AssumeRole.")
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert not serious(page)
    assert not said
    context.close()
