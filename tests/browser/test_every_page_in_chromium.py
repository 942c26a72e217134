"""Every page keeps nobody out, fits a phone and leaves the console silent, light and dark,
with names and words of extreme length.

Each page is loaded once. The tables name every page of portal, accounts and back office,
or say why one is not looked at.
"""

# ruff: noqa: F401, F811  fixtures are imported by name

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from browser.test_portal_in_chromium import PASSWORD, chromium, page, pytestmark, said, serious
from conftest import (
    Customer,
    a_former_member,
    a_log_stream,
    a_webhook,
    acting,
    acting_staff,
    an_approval,
    invited,
    passkey_of,
    with_health,
)
from django.contrib.admin import site
from django.contrib.auth.models import Group, User
from django.urls import reverse
from playwright.sync_api import Page
from url_map import addresses, is_page

from byokportal import clock
from keys import services as key_services
from keys.models import (
    Canary,
    CheckResult,
    Closing,
    EncryptionTest,
    Incident,
    KeyRegistration,
    RestoreHold,
    RevocationDrill,
    ServiceRolePolicy,
)
from support import seeding
from support import services as support_services
from support.fleet import counting, projection
from support.models import AffectedTenant, FleetRow, Notice, OnCallMessage, WebhookDelivery, WebhookEndpoint
from tenants import audit, roles, services, tokens
from tenants.models import (
    Approval,
    AuditEvent,
    Directory,
    DirectoryGroup,
    DirectoryToken,
    LogStream,
    Member,
    OwnerRecovery,
    SignOnConnection,
    Tenant,
)
from tenants.services import staff

LONG = "Gesellschaft-mit-sehr-langem-Namen-" * 3
PHONE = 375
SMALLEST = 320
WIDE = 1440
# A colour on its way to another one is neither.
CHANGED = "() => document.getAnimations().filter(one => one instanceof CSSTransition).forEach(one => one.finish())"
# What the page still asks for by itself; "networkidle" would wait half a second more for each page.
UNDER_WAY = "[hx-trigger=load], .htmx-request"
STICKS_OUT = """() => [...document.querySelectorAll("body *")].findLast(
  one => one.getBoundingClientRect().right > innerWidth + 1)?.outerHTML.slice(0, 120)"""

# What Alice reads signed in, in this order: the set-up of an authenticator app goes away once she has one.
HERS = (
    "mfa_index",
    "mfa_activate_totp",
    "mfa_list_webauthn",
    "mfa_deactivate_totp",
    "mfa_add_webauthn",
    "mfa_remove_webauthn",
    "mfa_edit_webauthn",
    "mfa_view_recovery_codes",
    "mfa_generate_recovery_codes",
    "account_reauthenticate",
    "mfa_reauthenticate",
    "mfa_reauthenticate_webauthn",
    "account_change_password",
    "usersessions_list",
    "account_logout",
    "portal:address",
    "portal:confirm-address",
    "portal:overview",
    "portal:tracker",
    "portal:step",
    "portal:log",
    "portal:log-seal",
    "portal:log-streams",
    "portal:log-stream",
    "portal:remove-log-stream",
    "portal:evidence",
    "portal:reconciliation",
    "portal:key-uses",
    "portal:members",
    "portal:remove-member",
    "portal:forget-member",
    "portal:reset-second-factor",
    "portal:sign-on",
    "portal:remove-domain",
    "portal:sign-on-connection",
    "portal:remove-sign-on",
    "portal:sign-on-needed",
    "portal:directory",
    "portal:remove-directory",
    "portal:tokens",
    "portal:approvals",
    "portal:refuse",
    "portal:check-policy",
    "portal:check-output",
    "portal:tenant-guide",
    "portal:links",
    "portal:change-request",
    "portal:facts",
    "portal:tests",
    "portal:test",
    "portal:key",
    "portal:activation",
    "portal:branch-keys",
    "portal:end-horizon",
    "portal:confirm-restore",
    "portal:drills",
    "portal:drill",
    "portal:tickets",
    "portal:ticket",
    "portal:mails",
    "portal:webhooks",
    "portal:webhook",
    "portal:remove-webhook",
)
# What anybody reads without a session.
OPEN = (
    "account_login",
    "account_inactive",
    "account_reset_password",
    "account_reset_password_done",
    "account_reset_password_from_key",
    "account_reset_password_from_key_done",
    "portal:invitation",
    "portal:recovery",
    "portal:recovery-stopped",
    "portal:sign-on-start",
    "portal:guide",
    "portal:setup-link",
    "portal:setup-link-check-policy",
    "portal:setup-link-change-request",
    "api-docs",
    "problems",
)
NOT_LOOKED_AT = {
    "mfa_authenticate": "looked at on the way into the back office, below",
    "mfa_login_webauthn": "JSON for the sign-in page",
    "mfa_download_recovery_codes": "a file",
    "account_signup": "404",
    "account_set_password": "404",
    "account_email": "404",
    "healthz": "for machines",
    "byok-log": "for machines",
    **{one.name: "for a directory" for one in addresses() if one.name.startswith("scim:")},
    "readyz": "for machines",
    "schema": "for machines",
    "portal:home": "leads on to the organisation",
    "portal:invitation-link": "leads on, without the secret",
    "portal:address-link": "the same",
    "portal:recovery-link": "the same",
    "portal:sign-on-go": "looked at on the way to a directory (test_sign_on_in_chromium.py)",
    "portal:sign-on-link": "the same",
    "portal:sign-on-again": "the same",
    "portal:sign-on-callback": "leads on",
    "portal:sign-on-finish": "leads on",
    "portal:sign-on-saml": "looked at in test_saml_in_chromium.py: an organisation has one connection",
    "portal:saml-acs": "leads on",
    "portal:saml-answer": "leads on",
    "portal:saml-metadata": "for machines",
    "portal:document": "a file",
    "portal:log-head-file": "a file",
    "portal:log-verifier": "a file",
    "portal:log-jsonl": "a file",
    "portal:log-csv": "a file",
    "portal:evidence-json": "a file",
    "portal:evidence-pdf": "a file",
    "portal:key-uses-jsonl": "a file",
    "portal:key-uses-csv": "a file",
    "portal:control": "a file",
    "portal:setup-link-enter": "leads on, without the secret",
    "portal:setup-link-document": "a file",
    "portal:setup-link-change-request-file": "a file",
    "portal:change-request-file": "a file",
    "portal:test-progress": "a part of the page of a test",
    "portal:key-live": "a part of the key's page",
    "portal:drill-live": "a part of a drill's page",
    "portal:preparing": "a part of the key's page",
    "admin:fleet_csv": "a file",
    "admin:our_people_export": "a file",
    "admin:fleet_save_view": "a button",
    "admin:answer_explained": "a button",
    "inbound-mail": "a mail gateway's",
    "admin:fleet_remove_view": "a button",
    "admin:login": "leads to the portal's",
    "admin:logout": "a button",
    "admin:autocomplete": "JSON",
    "admin:jsi18n": "a script",
    "admin:view_on_site": "leads on; no row of ours has such an address",
    "admin:None": "404",
    "admin:password_change": "Django's own; nothing links to it",
    "admin:password_change_done": "the same",
    "admin:app_list": "Django's own index of one app; nothing links to it but the bread crumbs",
}
# The answer to a button is one of the pages above: its address takes nothing but a POST.
BUTTONS = {one.name for one in addresses() if one.name.startswith("portal:") and not is_page(one)}
OF_ONE = ("changelist", "change", "operation", "list_operation")  # pages that each model of the back office has


def models() -> list[str]:
    return [f"{model._meta.app_label}_{model._meta.model_name}" for model in site._registry]


def test_every_page_is_in_a_table() -> None:
    tables = {*HERS, *OPEN, *NOT_LOOKED_AT, "admin:index", "admin:explain_aws_error", "admin:fleet"}
    tables |= {"admin:tenants_tenant_drop", "admin:tenants_tenant_explain", "admin:fleet_bulk", "admin:our_people"}
    tables |= {"admin:tickets"}
    tables |= {f"admin:{model}_{page}" for model in models() for page in OF_ONE}
    mounted = {one.name for one in addresses() if not one.name.startswith("api:")}
    assert sorted(mounted - tables - BUTTONS) == []
    assert sorted(tables - mounted) == []


class Look:
    """Loads pages at the width of a phone and keeps what is wrong with them."""

    def __init__(self, page: Page, said: list[str]) -> None:
        self.page, self.said, self.found = page, said, list[str]()
        page.set_viewport_size({"width": PHONE, "height": 800})

    def at(self, path: str, *, status: int = 200) -> None:
        answer = self.page.goto(path)
        assert answer is not None
        if answer.status != status:
            self.found.append(f"{path}: {answer.status}")
        if status != 200:  # the console reports the page of a problem once
            self.said[:] = [one for one in self.said if f"status of {status}" not in one]
        self.page.wait_for_selector(UNDER_WAY, state="detached")
        self.wrong(path)

    def here(self, path: str) -> None:
        """Look at what a click led to."""
        self.page.wait_for_load_state("networkidle")
        self.wrong(path)

    def wrong(self, path: str) -> None:
        found = [f"the console says {one}" for one in self.said] + self.too_wide()
        found += serious(self.page)
        self.picture(path, "phone")
        self.page.set_viewport_size({"width": SMALLEST, "height": 800})
        found += self.too_wide()
        self.page.set_viewport_size({"width": WIDE, "height": 900})
        found += [f"wide: {one}" for one in [*self.too_wide(), *serious(self.page)]]
        self.picture(path, "light")
        self.page.emulate_media(color_scheme="dark")
        self.page.evaluate(CHANGED)
        self.picture(path, "dark")
        self.page.set_viewport_size({"width": PHONE, "height": 800})
        found += [f"dark: {one}" for one in serious(self.page, only=["color-contrast", "link-in-text-block"])]
        self.page.emulate_media(color_scheme="light")
        self.said.clear()  # what axe itself asks for is no fault of the page
        self.found += [f"{path}: {one}" for one in found]

    def too_wide(self) -> list[str]:
        """Return how wide the page is if that is more than the window, and the innermost thing that sticks out."""
        wide, window = self.page.evaluate("[document.scrollingElement.scrollWidth, innerWidth]")
        return [f"{wide} of {window} px wide: {self.page.evaluate(STICKS_OUT)}"] if wide > window else []

    def picture(self, path: str, scheme: str) -> None:
        """Keep a picture where SCREENSHOTS names a folder."""
        if folder := os.environ.get("SCREENSHOTS"):
            name = f"{path.strip('/').replace('/', '-')[:120] or 'start'}-{scheme}.png"
            self.page.screenshot(path=str(Path(folder) / name), full_page=True)

    def sent_empty(self, path: str) -> None:
        """Send each form of the page, one after the other, with nothing in its fields;
        each must say what is missing."""
        self.page.goto(path)
        for number in range(self.page.locator(FORMS).count()):
            if number:
                self.page.goto(path)
            if number >= self.page.locator(FORMS).count():
                break
            form = self.page.locator(FORMS).nth(number)
            if str(form.get_attribute("action")).endswith(("/tests/", "/document-choices/")):
                continue  # the time until which a test is repeated, and every choice, may be left out
            where = f"{path} form {number} ({form.get_attribute('action') or 'here'}) sent empty"
            form.evaluate(EMPTY_AND_SEND)
            self.page.wait_for_load_state("networkidle")
            if not self.page.locator("[role=alert] >> visible=true").count():
                self.found.append(f"{where}: no word of what is missing")
            self.found += [f"{where}: {one}" for one in [*self.too_wide(), *serious(self.page)]]
        self.said.clear()


FORMS = (
    "main form[method=post]:has(:is(input, textarea):not([type=hidden], [type=checkbox], [type=radio], [type=submit]))"
)
EMPTY_AND_SEND = """form => {
  form.noValidate = true;
  for (const field of form.querySelectorAll("input, textarea")) {
    if (["checkbox", "radio"].includes(field.type)) field.checked = false;
    else if (!["hidden", "submit"].includes(field.type)) field.value = "";
  }
  for (const box of document.querySelectorAll("details")) box.open = true;
  form.requestSubmit(form.querySelector("button[type=submit], button:not([type]), input[type=submit]"));
}"""


@pytest.fixture
def look(page: Page, said: list[str]) -> Look:
    return Look(page, said)


@pytest.fixture
def full(tenant: Tenant, alice: Member, sam: User, active: KeyRegistration, settings: Any) -> dict[str, Any]:
    """Acme Bank with something of everything, and long words in all of it."""
    settings.BACKUP_RETENTION_DAYS = 35
    Tenant.objects.filter(pk=tenant.pk).update(name=LONG[:120])
    bob = invited(tenant, f"{'b' * 60}@{'acme' * 10}.example", "auditor")
    services.invite(tenant, email=f"{'i' * 60}@{'acme' * 10}.example", role="auditor", actor=acting(alice))
    services.mint_token(alice, name=LONG, actor=acting(alice))
    ticket = support_services.open_ticket(tenant, topic="question", subject=LONG, text="w" * 4000, actor=acting(alice))
    support_services.answer_ticket(ticket, text="v" * 4000, actor=acting_staff(sam))
    now = clock.now()
    old = KeyRegistration.objects.create(
        tenant=tenant,
        status="retiring",
        last_moved_at=now,
        activated_at=now,
        role_claim="Long",
        role_arn="arn:aws:iam::111122223333:role/" + "Long" * 16,
        key_arn="arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
    )
    with_health(old)
    domain = services.add_domain(tenant, name=f"{'long.' * 20}example", actor=acting(alice))
    stream = a_log_stream(alice)  # before a second person has to approve it
    asked = an_approval(bob)
    Approval.objects.filter(pk=asked.pk).update(sentence=LONG * 2, reason=LONG)
    Tenant.objects.filter(pk=tenant.pk).update(second_person_since=now)
    drill = RevocationDrill.objects.create(
        tenant=tenant,
        registration=active,
        status="done",
        started_by=f"member:{alice.user.email}",
        bound_seconds=300,
        until=now,
        allowed_at=now,
        refused_at=now,
        refused_code="kms_key_disabled",
        suspended_at=now,
        generation=1,
        dropped=2,
        processes={f"web-{LONG}:1": now.isoformat()},
        stopped_at=now,
        answered_at=now,
        served_at=now,
        finished_at=now,
    )
    failed = EncryptionTest.objects.create(
        tenant=tenant, registration=active, requested_by="system", status="finished", verdict="fail", finished_at=now
    )
    CheckResult.objects.create(
        tenant=tenant,
        test=failed,
        position=3,
        code="role.assumable",
        title="Your role lets us in",
        step=2,
        verdict="fail",
        causes=["external_id_mismatch"],
        evidence={"action": "sts:AssumeRole"},
        document="trust-policy",
        remedy="Set the External ID. " * 9,
        inferred='{\n "a": 1\n}',
        corrected='{\n "b": 2\n}',
        decide="aws iam get-role --role-name " + "Long" * 16,
    )
    webhook = a_webhook(alice)
    WebhookEndpoint.objects.update(
        description=LONG[:120], origin=f"https://{'hooks.' * 30}acme.example", failing_since=clock.now()
    )
    WebhookDelivery.objects.update(answer="x" * 500, why=LONG, attempts=3, last_at=clock.now(), answer_status=500)
    LogStream.objects.update(
        description=LONG[:120],
        origin=f"https://{'siem.' * 30}acme.example",
        failing_since=clock.now(),
        answered_at=clock.now(),
        answer_status=500,
        answer="x" * 500,
        rejected=3,
    )
    SignOnConnection.objects.create(
        tenant=tenant,
        mode="offered",
        issuer=f"https://{'login.' * 30}acme.example",
        client_id=LONG,
        sealed_secret="",
        role_claim="groups",
        role_values={LONG: "admin"},
    )
    directory = Directory.objects.create(tenant=tenant, may_make_owners=True)
    DirectoryToken.objects.create(directory=directory, digest="d", made_by=f"member:{alice.user.email}")
    group = DirectoryGroup.objects.create(directory=directory, display_name=LONG, role="admin")
    for number, person in enumerate((bob, None)):
        group.users.create(
            directory=directory,
            user_name=f"{LONG[:60]}{number}@acme.example",
            user_name_key=str(number),
            email=f"{number}@acme.example",
            is_active=number == 0,
            resource={},
            member=person,
            is_given=True,
        )
    return {
        "approval": asked.pk,
        "domain": domain.pk,
        "number": bob.pk,
        "former": a_former_member(alice).pk,
        "ticket": ticket.pk,
        "webhook": webhook.pk,
        "stream": stream.pk,
        "test": failed.pk,
        "registration": old.pk,
        "drill": drill.pk,
    }


@pytest.fixture
def kim(sam: User) -> User:
    """A second support lead."""
    user = User.objects.create_user("kim@kore.example", "kim@kore.example", "kims-password-of-tests", is_staff=True)
    user.groups.add(Group.objects.get(name="Support lead"))
    return user


@pytest.fixture
def recovery(tenant: Tenant, alice: Member, sam: User, kim: User, full: dict[str, Any]) -> OwnerRecovery:
    """A new owner that two leads have announced, the only one being switched off."""
    User.objects.filter(pk=alice.user_id).update(is_active=False)
    asked = services.request_new_owner(tenant, email="dora@acme.example", reason="r" * 200, actor=acting_staff(sam))
    services.approve_recovery(asked, reason=LONG, actor=acting_staff(kim))
    return asked


ROUTES = {one.name: one.route for one in addresses()}


def paths(name: str, tenant: Tenant, known: dict[str, Any]) -> list[str]:
    """Return the addresses of a page of the portal or of an account."""
    takes = {"pk": known["passkey"]} if name in {"mfa_remove_webauthn", "mfa_edit_webauthn"} else {}
    if name.startswith("portal:") and name not in {"portal:address", "portal:confirm-address"}:
        takes = {"tenant": tenant.pk}
    takes |= {part: known[part] for part in re.findall(r"<\w+:(\w+)>", ROUTES[name]) if part in known}
    if name == "portal:step":
        return [reverse(name, kwargs={**takes, "number": number}) for number in range(1, 7)]
    return [reverse(name, kwargs=takes)]


@pytest.mark.slow
@pytest.mark.parametrize("language", ["en", "de"])
def test_every_page_of_a_member(look: Look, tenant: Tenant, alice: Member, full: dict[str, Any], language: str) -> None:
    look.page.set_extra_http_headers({"accept-language": language})
    passkey = passkey_of(alice)
    Authenticator.objects.filter(pk=passkey.pk).update(data={**passkey.data, "name": LONG})
    change = services.request_address_change(alice.user, email="alice.new@acme.example", signed_in_at=clock.now())
    look.page.goto(f"/addresses/{services.new_address_link(change)}/")
    known = {**full, "passkey": passkey.pk}
    for name in HERS:
        for path in paths(name, tenant, known):
            look.at(path)
        if name == "mfa_activate_totp":
            TOTP.activate(alice.user, generate_totp_secret())
            RecoveryCodes.activate(alice.user)
    key_services.suspend(tenant, reason=LONG, actor=acting(alice))
    look.at(f"/tenants/{tenant.pk}/key/")
    RestoreHold.objects.create(tenant=tenant, lost_from=clock.now())
    look.at(f"/tenants/{tenant.pk}/key/")
    look.at(f"/tenants/{tenant.pk}/key/confirm-restore/")
    look.at(f"/tenants/{tenant.pk}/nothing-here/", status=404)
    assert look.page.get_attribute("html", "lang") == language
    assert not look.found, "\n".join(look.found)


@pytest.mark.slow
def test_every_form_of_a_member_sent_empty(look: Look, tenant: Tenant, alice: Member, full: dict[str, Any]) -> None:
    look.sent_empty(reverse("mfa_activate_totp"))
    TOTP.activate(alice.user, generate_totp_secret())
    known = {**full, "passkey": passkey_of(alice).pk}
    for name in HERS:
        if name not in {"mfa_activate_totp", "mfa_add_webauthn", "portal:confirm-address", "portal:test"}:
            for path in paths(name, tenant, known):
                look.sent_empty(path)
    assert not look.found, "\n".join(look.found)


@pytest.mark.slow
@pytest.mark.parametrize("language", ["en", "de"])
def test_every_page_without_a_session(
    look: Look, tenant: Tenant, sam: User, recovery: OwnerRecovery, language: str
) -> None:
    look.page.set_extra_http_headers({"accept-language": language})
    look.page.context.clear_cookies()
    invitation = tenant.invitations.filter(status="pending").first()
    assert invitation is not None
    look.page.goto(f"/invitations/{services.new_link(invitation)}/")
    look.page.goto(f"/recoveries/{services.new_objection_link(recovery, 'bob@acme.example')}/")
    _, raw = key_services.make_link(tenant, name=LONG, actor=audit.COMMAND)
    look.page.goto(f"/setup-links/{raw}/")
    for name in OPEN:
        look.at(staff.password_link(sam) if name == "account_reset_password_from_key" else reverse(name))
    look.at("/accounts/password/reset/key/1-nonsense/")
    for path in (reverse("account_login"), reverse("account_reset_password"), reverse("portal:invitation")):
        look.sent_empty(path)
    assert not look.found, "\n".join(look.found)


@pytest.mark.slow
def test_every_page_of_the_back_office(
    look: Look, sam: User, tenant: Tenant, active: KeyRegistration, recovery: OwnerRecovery
) -> None:
    page = look.page
    page.context.clear_cookies()
    services.create_service_account(LONG[:60], tenants=[tenant], scopes=roles.SCOPES, actor=audit.COMMAND)
    incident = Incident.objects.create(service_role=tenant.service_role, why="AWS refuses " + LONG)
    AffectedTenant.objects.create(incident=incident, tenant=tenant, since=clock.now())
    facts = {"channel": "pagerduty", "action": "trigger", "dedup_key": "d" * 200, "why": "w" * 200}
    OnCallMessage.objects.create(incident=incident, last_at=clock.now(), **facts)
    ours = services.create_canary_tenant(tenant.service_role, region="eu-central-1", actor=audit.COMMAND)
    Canary.objects.create(
        tenant=ours, service_role=tenant.service_role, region="eu-central-1", why="w" * 200, failing_since=clock.now()
    )
    Notice.objects.create(
        template="key-unreachable", recipient=f"{'h' * 60}@acme.example", tenant=tenant, due_at=None, held_for=incident
    )
    policy, _ = ServiceRolePolicy.objects.update_or_create(
        service_role=tenant.service_role,
        slot=0,
        defaults={"found": "another document", "found_document": {"Statement": LONG}, "found_at": clock.now()},
    )
    key_services.request_resolution(policy, choice="take_ours", reason=LONG[:200], actor=acting_staff(sam))
    Notice.objects.create(
        template="invitation", recipient=f"{'n' * 60}@acme.example", tenant=tenant, due_at=clock.now()
    )
    a_webhook(tenant.members.filter(role="owner")[0])
    TOTP.activate(sam, generate_totp_secret())
    code = RecoveryCodes.activate(sam).get_unused_codes()[0]
    page.goto("/admin/")
    page.fill("input[name=login]", sam.email)
    page.fill("input[name=password]", "sam-password-of-tests")
    page.click("main button[type=submit] >> nth=0")
    page.wait_for_url("**/accounts/2fa/authenticate/**")
    look.here("/accounts/2fa/authenticate/")
    page.click("text=Use the code")
    page.wait_for_selector("[role=alert]")
    look.found += serious(page)
    page.fill("input[name=code]", code)
    page.click("text=Use the code")
    page.wait_for_url("**/admin/")
    support_services.open_ticket(tenant, topic="question", subject=LONG, text="w" * 900, actor=audit.SYSTEM)
    seeding.seed(30, uses_each=0)
    projection.follow()
    counting.count()
    for path in (
        reverse("admin:index"),
        reverse("admin:explain_aws_error"),
        reverse("admin:fleet"),
        reverse("admin:tickets"),
    ):
        look.at(path)
    look.at(f"{reverse('admin:fleet')}?q=nobody+is+called+so")
    look.at(f"{reverse('admin:our_people')}?looks={sam.pk}")
    for kind in ("test", "ask", "window", "suspend"):
        look.at(f"{reverse('admin:fleet_bulk')}?kind={kind}&all=1")
    everybody = list(FleetRow.objects.values_list("pk", flat=True))
    Closing.objects.create(tenant=tenant, reason=LONG[:200], requested_by=f"kore:{sam.email}", due_at=None)
    support_services.begin_bulk(kind="suspend", tenants=everybody, facts={}, reason=LONG, actor=acting_staff(sam))
    for state in ("needs_change", "waits_for_tenant"):
        row = FleetRow.objects.filter(state=state).first()
        assert row is not None
        look.at(reverse("admin:tenants_tenant_change", args=[row.pk]))
    look.at(reverse("admin:tenants_tenant_change", args=[tenant.pk]))
    for name in ("drop", "explain"):
        look.at(reverse(f"admin:tenants_tenant_{name}", args=[tenant.pk]))
    RestoreHold.objects.create(tenant=tenant, requested_by="kore:kim@kore.example", request_reason=LONG[:200])
    for model, looks in site._registry.items():
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        look.at(reverse(f"{name}_changelist"))
        row = model._default_manager.first()
        assert row is not None, f"nothing to see of {name}"
        look.at(reverse(f"{name}_change", args=[row.pk]))
        for operation in getattr(looks, "list_operations", ())[:1]:
            look.at(reverse(f"{name}_list_operation", args=[operation.name]))
        for operation in getattr(looks, "operations", ())[:1]:
            look.at(reverse(f"{name}_operation", args=[row.pk, operation.name]))
    page.goto("/admin/tenants/tenant/operations/create/")
    page.click("input[type=submit]")
    look.here("/admin/tenants/tenant/operations/create/ with an error")
    assert not look.found, "\n".join(look.found)
