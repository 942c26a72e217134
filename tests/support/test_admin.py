"""The back office: read-only rows, and operations as buttons with a reason."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from conftest import heartbeat, lines_by
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.test import Client
from django.utils import timezone

from keys.models import (
    BranchKey,
    CacheDrop,
    CheckResult,
    EncryptionTest,
    Incident,
    KeyHealth,
    KeyRegistration,
    RoleConfiguration,
    ServingProcess,
)
from support import services
from support.fleet import counting, projection
from support.models import Ticket
from tenants import audit
from tenants import services as tenant_services
from tenants.models import AuditEvent, Member, ServiceAccount, Tenant

KEY = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ROLE = "arn:aws:iam::111122223333:role/AIforWorkByokAccessRole"


@pytest.fixture
def serving(tenant: Tenant) -> KeyRegistration:
    return KeyRegistration.objects.create(
        tenant=tenant,
        key_arn=KEY,
        role_arn=ROLE,
        status="active",
        activated_at=timezone.now(),
        role_claim="111122223333/a",
    )


@pytest.fixture
def ticket(tenant: Tenant) -> Ticket:
    return services.open_ticket(tenant, topic="question", subject="Which Region?", text="Ours?", actor=audit.SYSTEM)


@pytest.fixture
def desk(sam: User, browser_of: Callable[[User], Client]) -> Client:
    """The browser of a support lead."""
    return browser_of(sam)


@pytest.fixture
def proven(desk: Client) -> Client:
    """The same browser, its password given again a moment ago."""
    answer = desk.post("/accounts/reauthenticate/", {"password": "sam-password-of-tests"})
    assert answer.status_code == 302, answer.content
    return desk


def _of(model: str, pk: object, operation: str = "") -> str:
    return f"/admin/{model}/{pk}/operations/{operation}/" if operation else f"/admin/{model}/{pk}/change/"


# --- looking ------------------------------------------------------------------------------------------------


def test_the_first_page_is_a_desk(desk: Client, tenant: Tenant, ticket: Ticket, serving: KeyRegistration) -> None:
    KeyRegistration.objects.filter(pk=serving.pk).update(status="unreachable", reason="own_access_broken")
    assert "has not been counted yet" in desk.get("/admin/").content.decode()
    projection.follow()
    counting.count()
    page = desk.get("/admin/").content.decode()
    for words in (
        "Waits for us",
        "Which Region?",
        "3 h 59 min left",
        "Cannot tell: ",
        "Through the six steps",
        "Machines",
        "Our side works",
    ):
        assert words in page, words


def test_the_page_of_a_tenant_shows_six_steps_and_one_timeline(
    desk: Client, tenant: Tenant, ticket: Ticket, serving: KeyRegistration
) -> None:
    test = EncryptionTest.objects.create(
        tenant=tenant, registration=serving, requested_by="system", verdict="fail", status="finished"
    )
    CheckResult.objects.create(
        tenant=tenant,
        test=test,
        position=1,
        code="role.assumable",
        step=2,
        verdict="fail",
        evidence={"aws_code": "AccessDenied"},
    )
    services.answer_ticket(ticket, text="Only for us", is_internal=True, actor=audit.SYSTEM)
    page = desk.get(_of("tenants/tenant", tenant.pk)).content.decode()
    for title in (
        "Ensure you have a KMS Customer Managed Key",
        "Service-Side Configuration",
        "Share required information",
    ):
        assert title in page
    for words in (
        "Waiting for the tenant",
        "The organisation Acme Bank was created.",
        "Kore.ai support",
        "AccessDenied",
        "Only for us",
        "Encryption test: Failed",
    ):
        assert words in page
    assert "Waiting for you" not in page


def test_support_sees_the_chain_the_evidence_and_the_causes_that_the_tenant_sees(
    desk: Client, tenant: Tenant, serving: KeyRegistration
) -> None:
    test = EncryptionTest.objects.create(
        tenant=tenant, registration=serving, requested_by="alice@acme.example", status="waiting", verdict="unknown"
    )
    CheckResult.objects.create(
        tenant=tenant,
        test=test,
        position=3,
        code="role.assumable",
        title="Your role lets us in",
        step=2,
        verdict="unknown",
        causes=["role_not_found", "propagation_delay"],
        evidence={
            "action": "sts:AssumeRole",
            "aws_code": "AccessDenied",
            "request_id": "req-17",
            "at": "2026-03-04T14:00:00+00:00",
            "final_at": "2026-03-04T14:03:20+00:00",
        },
    )
    page = desk.get(_of("keys/encryptiontest", test.pk)).content.decode()
    for words in (
        "AccessDenied",
        "req-17",
        "Role not found; The change may not have reached all of AWS yet",
        'role="img"',
        "Your role: waiting.",
        "Final at 2026-03-04 14:03:20 UTC",
    ):
        assert words in page
    assert "hx-get" in page
    assert "Your role: waiting." in desk.get(_of("keys/keyregistration", serving.pk)).content.decode()
    CheckResult.objects.update(
        verdict="fail", remedy="Compare the Role ARN.", inferred="a", corrected="b", document="trust-policy"
    )
    EncryptionTest.objects.update(status="finished", verdict="fail", finished_at=timezone.now())
    over = desk.get(_of("keys/encryptiontest", test.pk)).content.decode()
    for words in (
        "Your role: broken here.",
        "Compare the Role ARN.",
        "<del>",
        "The trust policy of your role needs a change (step 2)",
    ):
        assert words in over
    assert "hx-get" not in over


def test_a_look_at_a_tenant_stands_in_its_log_once(desk: Client, tenant: Tenant) -> None:
    desk.get(_of("tenants/tenant", tenant.pk))
    desk.get(_of("tenants/tenant", tenant.pk))
    assert [one.tenant for one in lines_by("kore:sam@kore.example", "tenants.tenant.viewed")] == [tenant]


def test_every_list_and_every_object_can_be_looked_at(
    desk: Client, tenant: Tenant, ticket: Ticket, serving: KeyRegistration, service: ServiceAccount, alice: Member
) -> None:
    test = EncryptionTest.objects.create(tenant=tenant, registration=serving, requested_by="system")
    configuration = RoleConfiguration.objects.create(
        tenant=tenant,
        registration=serving,
        service_role=tenant.service_role,
        action="add",
        role_arn=ROLE,
        status="done",
    )
    shown = [
        tenant,
        tenant.service_role,
        serving,
        test,
        configuration,
        ticket,
        service,
        alice,
        alice.user,
        AuditEvent.objects.last(),
    ]
    for obj in shown:
        assert desk.get(_of(f"{obj._meta.app_label}/{obj._meta.model_name}", obj.pk)).status_code == 200, obj
    for model in admin.site._registry:
        path = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
        assert desk.get(path).status_code == 200, path
        assert desk.get(path, {"q": "acme"}).status_code == 200, path


@pytest.mark.parametrize("step", ["1", "5", "9", "x"])
def test_tenants_are_found_by_the_step_they_wait_at(desk: Client, tenant: Tenant, step: str) -> None:
    projection.follow()
    page = desk.get("/admin/tenants/tenant/", {"step": step})
    assert (b"Acme Bank" in page.content) == (step != "5")


# --- nothing is changed here ------------------------------------------------------------------------------


def test_nothing_is_added_changed_or_deleted_not_even_by_a_superuser(
    tenant: Tenant, browser_of: Callable[[User], Client]
) -> None:
    root = browser_of(User.objects.create_superuser("root@kore.example", "root@kore.example"))
    for model, options in admin.site._registry.items():
        path = f"/admin/{model._meta.app_label}/{model._meta.model_name}"
        for extra in ("/add/", "/1/delete/", "/1/history/"):
            assert root.get(path + extra).status_code == 404, path + extra
        assert options.actions is None
    before = Tenant.objects.values().get(pk=tenant.pk)
    assert root.post(_of("tenants/tenant", tenant.pk), {"name": "Other"}).status_code == 403
    assert Tenant.objects.values().get(pk=tenant.pk) == before


def test_members_and_strangers_stay_outside(
    alice: Member, browser_of: Callable[[Member], Client], tenant: Tenant
) -> None:
    for path in (
        "/admin/",
        "/admin/tenants/tenant/",
        _of("tenants/tenant", tenant.pk),
        _of("tenants/tenant", tenant.pk, "suspend"),
    ):
        assert browser_of(alice).get(path, follow=True).status_code == 403
        answer = Client().get(path, follow=True)
        assert answer.redirect_chain[-1][0].startswith("/accounts/login/")


# --- operations ---------------------------------------------------------------------------------------------------


def test_suspend_asks_for_the_password_again_then_for_a_reason(
    sam: User, browser_of: Callable[..., Client], serving: KeyRegistration
) -> None:
    desk = browser_of(sam, is_fresh=False)
    path = _of("tenants/tenant", serving.tenant_id, "suspend")
    asked = desk.get(path)
    assert asked.status_code == 302
    assert asked["Location"].startswith("/accounts/reauthenticate/")
    assert desk.post(path, {"reason": "in a hurry"}).status_code == 302
    serving.refresh_from_db()
    assert serving.status == "active"


def test_a_support_lead_suspends_and_resumes_a_key(proven: Client, serving: KeyRegistration) -> None:
    page = proven.get(_of("tenants/tenant", serving.tenant_id)).content.decode()
    assert "Suspend the key" in page
    assert "Resume the key" not in page
    path = _of("tenants/tenant", serving.tenant_id, "suspend")
    assert proven.post(path, {"reason": " "}).status_code == 200
    serving.refresh_from_db()
    assert serving.status == "active"
    assert proven.post(path, {"reason": "Asked by telephone"}).status_code == 302
    serving.refresh_from_db()
    assert (serving.status, serving.suspended_by) == ("suspended", "kore")
    event = AuditEvent.objects.get(name="keys.key.suspended")
    assert audit.actor_of(event) == "kore:sam@kore.example"
    assert audit.data_of(event)["reason"] == "Asked by telephone"
    assert (
        proven.post(_of("keys/keyregistration", serving.pk, "resume"), {"reason": "They called again"}).status_code
        == 302
    )
    serving.refresh_from_db()
    assert serving.status == "unreachable"


def test_support_drops_cached_keys_and_sees_each_process_say_so(
    desk: Client, sam: User, tenant: Tenant, serving: KeyRegistration
) -> None:
    sam.groups.set(Group.objects.filter(name="Support"))
    page, path = _of("tenants/tenant", tenant.pk), _of("tenants/tenant", tenant.pk, "drop-caches")
    assert "Drop cached keys now" not in desk.get(page).content.decode()  # there is no branch key yet
    BranchKey.objects.create(tenant=tenant, registration=serving, key_arn=KEY, wrapped=b"wrapped")
    assert "Drop cached keys now" in desk.get(page).content.decode()
    began = timezone.now() - timedelta(minutes=1)
    web, worker = (
        ServingProcess.objects.create(name=name, started_at=began, seen_at=timezone.now())
        for name in ("web-1:17", "web-2:18")
    )
    assert desk.post(path, {"reason": " "}).status_code == 200
    ServingProcess.objects.update(seen_at=timezone.now())  # five seconds of a slow machine would be silence
    assert desk.post(path, {"reason": "A machine was stolen"}).status_code == 302
    tenant.refresh_from_db()
    assert tenant.key_generation > 0
    event = AuditEvent.objects.get(name="keys.key.caches_dropped")
    assert (audit.actor_of(event), audit.data_of(event)["reason"]) == ("kore:sam@kore.example", "A machine was stolen")
    CacheDrop.objects.create(tenant=tenant, process_id=web.pk, generation=tenant.key_generation, count=3)
    drop = f"/admin/tenants/tenant/{tenant.pk}/drop/"
    waiting = desk.get(drop).content.decode()
    assert "1 of 2 processes have stopped" in waiting and "not yet" in waiting and "hx-get" in waiting
    heartbeat(worker)
    over = desk.get(drop).content.decode()
    assert "2 of 2 processes have stopped" in over and "web-2:18" in over and "hx-get" not in over
    serving.refresh_from_db()
    assert serving.status == "active"


def test_a_lead_closes_an_incident_after_the_password(
    sam: User, browser_of: Callable[..., Client], tenant: Tenant
) -> None:
    desk = browser_of(sam, is_fresh=False)
    incident = Incident.objects.create(service_role=tenant.service_role, why="6 organisations refused at once")
    page, path = _of("keys/incident", incident.pk), _of("keys/incident", incident.pk, "close")
    assert "Close the incident" in desk.get(page).content.decode()
    assert desk.post(path, {"reason": "They left"})["Location"].startswith("/accounts/reauthenticate/")
    desk.post("/accounts/reauthenticate/", {"password": "sam-password-of-tests"})
    assert "suspended, and their owners get a mail" in desk.get(path).content.decode()
    assert desk.post(path, {"reason": "They left"}).status_code == 302
    closed = desk.get(page).content.decode()
    assert "Close the incident" not in closed
    assert "They left" in closed and "sam@kore.example (Kore.ai)" in closed
    assert "The incident is over" in desk.post(path, {"reason": "Again"}).content.decode()


def test_a_refusal_is_shown_as_its_sentence(proven: Client, tenant: Tenant) -> None:
    page = proven.post(_of("tenants/tenant", tenant.pk, "suspend"), {"reason": "just in case"})
    assert page.status_code == 200
    assert "There is no key in service" in page.content.decode()


def test_a_support_lead_approves_the_configuration_that_waits(desk: Client, tenant: Tenant, sam: User) -> None:
    registration = KeyRegistration.objects.create(tenant=tenant, key_arn=KEY, role_arn=ROLE, status="submitted")
    configuration = RoleConfiguration.objects.create(
        tenant=tenant,
        registration=registration,
        service_role=tenant.service_role,
        action="add",
        role_arn=ROLE,
        status="waiting_for_approval",
        due_at=None,
    )
    assert desk.post(_of("tenants/tenant", tenant.pk, "approve"), {"reason": "Contract is signed"}).status_code == 302
    configuration.refresh_from_db()
    assert (configuration.status, configuration.approved_by) == ("queued", "kore:sam@kore.example")
    again = desk.post(_of("tenants/tenant", tenant.pk, "approve"), {"reason": "Twice"})
    assert "There is nothing to approve" in again.content.decode()


def test_support_runs_the_test(desk: Client, serving: KeyRegistration) -> None:
    assert (
        desk.post(_of("tenants/tenant", serving.tenant_id, "run-test"), {"reason": "They mended it"}).status_code == 302
    )
    test = EncryptionTest.objects.get()
    assert test.requested_by == "kore:sam@kore.example"
    assert AuditEvent.objects.filter(name="keys.test.requested").count() == 1


def test_support_answers_and_closes_a_ticket(desk: Client, ticket: Ticket) -> None:
    assert desk.post(_of("support/ticket", ticket.pk, "answer"), {"text": "Any Region."}).status_code == 302
    assert (
        desk.post(_of("support/ticket", ticket.pk, "answer"), {"text": "Nice people", "is_internal": "on"}).status_code
        == 302
    )
    ticket.refresh_from_db()
    assert ticket.status == Ticket.Status.WAITING_FOR_TENANT
    assert list(ticket.messages.values_list("text", "is_internal"))[1:] == [
        ("Any Region.", False),
        ("Nice people", True),
    ]
    assert desk.post(_of("support/ticket", ticket.pk, "close"), {"reason": "Answered"}).status_code == 302
    refused = desk.post(_of("support/ticket", ticket.pk, "answer"), {"text": "One more"})
    assert "The ticket is closed" in refused.content.decode()


def test_creating_a_tenant_invites_its_owner(desk: Client, service_role: object) -> None:
    answer = desk.post(
        "/admin/tenants/tenant/operations/create/", {"name": "Borealis", "owner_email": "Olga@Borealis.example"}
    )
    assert answer.status_code == 302
    tenant = Tenant.objects.get(name="Borealis")
    assert tenant.invitations.get().email == "olga@borealis.example"
    assert not tenant.members.exists()
    assert tenant.external_id.startswith("byok-")


def test_an_address_that_is_none_is_refused_on_its_field(desk: Client, service_role: object) -> None:
    answer = desk.post("/admin/tenants/tenant/operations/create/", {"name": "Borealis", "owner_email": "olga"})
    assert answer.status_code == 200
    assert not Tenant.objects.filter(name="Borealis").exists()


def test_inviting_somebody_twice_is_refused(desk: Client, tenant: Tenant) -> None:
    tenant_services.withdraw_invitation(tenant.invitations.get(), reason="Wrong address", actor=audit.COMMAND)
    path = _of("tenants/tenant", tenant.pk, "invite")
    assert desk.post(path, {"email": "carol@acme.example"}).status_code == 302
    assert "already" in desk.post(path, {"email": "carol@acme.example"}).content.decode()


def test_a_client_secret_is_shown_once_and_kept_nowhere(proven: Client, tenant: Tenant) -> None:
    page = proven.post(
        "/admin/tenants/serviceaccount/operations/create/",
        {"name": "search", "scopes": ["key:read"], "tenants": [str(tenant.pk)]},
        follow=True,
    )
    assert page.status_code == 200
    assert "no-store" in page["Cache-Control"]
    account = ServiceAccount.objects.get()
    secret = dict(page.context["values"])["client_secret"]
    assert secret.encode() in page.content
    rotated = proven.post(
        _of("tenants/serviceaccount", account.pk, "rotate-secret"), {"reason": "It leaked"}, follow=True
    )
    new = dict(rotated.context["values"])["client_secret"]
    assert new != secret
    kept = (
        str(list(proven.session.items()))
        + str(list(AuditEvent.objects.values_list("payload", flat=True)))
        + proven.get("/admin/").content.decode()
    )
    assert secret not in kept
    assert new not in kept
    assert new not in proven.get(rotated.redirect_chain[-1][0]).content.decode()  # a reload


@pytest.mark.parametrize("group", ["Support", "Auditor", None])
def test_who_may_not_do_what(
    group: str | None,
    serving: KeyRegistration,
    ticket: Ticket,
    service: ServiceAccount,
    browser_of: Callable[[User], Client],
) -> None:
    user = User.objects.create_user("kim@kore.example", "kim@kore.example", "kims-password-of-tests", is_staff=True)
    if group:
        user.groups.add(Group.objects.get(name=group))
    incident = Incident.objects.create(service_role=serving.tenant.service_role, why="the canary got AccessDenied")
    browser = browser_of(user)
    browser.post("/accounts/reauthenticate/", {"password": "kims-password-of-tests"})
    lead_only = [
        ("tenants/tenant", serving.tenant_id, "suspend"),
        ("tenants/tenant", serving.tenant_id, "resume"),
        ("tenants/tenant", serving.tenant_id, "invite"),
        ("tenants/serviceaccount", service.pk, "rotate-secret"),
        ("keys/incident", incident.pk, "close"),
    ]
    supports = [
        ("tenants/tenant", serving.tenant_id, "approve"),
        ("tenants/tenant", serving.tenant_id, "run-test"),
        ("tenants/tenant", serving.tenant_id, "drop-caches"),
        ("support/ticket", ticket.pk, "answer"),
    ]
    for model, pk, operation in lead_only:
        assert (
            browser.post(
                _of(model, pk, operation), {"reason": "because", "email": "a@b.example", "role": "owner"}
            ).status_code
            == 403
        )
    for model, pk, operation in supports:
        status = browser.get(_of(model, pk, operation)).status_code
        assert status == (200 if group == "Support" else 403), operation
    assert (
        browser.post(
            "/admin/tenants/tenant/operations/create/", {"name": "X", "owner_email": "x@x.example"}
        ).status_code
        == 403
    )
    assert browser.get(_of("tenants/tenant", serving.tenant_id)).status_code == (403 if group is None else 200)
    serving.refresh_from_db()
    assert serving.status == "active"


def test_what_is_not_there_is_a_404(desk: Client, tenant: Tenant) -> None:
    nobody = "5f8c1f0e-0000-4000-8000-000000000000"
    for path in (
        _of("tenants/tenant", nobody),
        _of("tenants/tenant", nobody, "run-test"),
        _of("tenants/tenant", tenant.pk, "delete"),
        _of("tenants/tenant", "x"),
    ):
        assert desk.get(path).status_code == 404, path


def test_the_page_of_a_registration_shows_what_its_probes_found(
    active: KeyRegistration, sam: User, browser_of: Callable[[User], Client]
) -> None:
    KeyHealth.objects.update(
        refused_code="kms_key_disabled", last_probe_at=datetime(2026, 1, 31, 10, tzinfo=UTC), key_facts={"state": "odd"}
    )
    shown = browser_of(sam).get(f"/admin/keys/keyregistration/{active.pk}/change/").content.decode()
    assert "The key is disabled" in shown and "2026-01-31 10:00:00 UTC" in shown
    assert "{&quot;state&quot;: &quot;odd&quot;}" in shown


def test_more_than_one_of_a_record_has_its_word() -> None:
    plurals = {str(model._meta.verbose_name_plural) for model in admin.site._registry}
    assert [one for one in plurals if re.search(r"[^aeiou]ys$", one)] == []
