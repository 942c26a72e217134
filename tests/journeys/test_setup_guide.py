"""The customer's six steps, start to active, and a data key that opens again."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from conftest import Customer, acting, acting_staff
from django.test import Client

from keys import services
from keys.models import KeyRegistration, KeyUse, RoleConfiguration
from support.models import Ticket
from tenants import onboarding
from tenants.models import AuditEvent, Member, ServiceAccount, Tenant

Status = KeyRegistration.Status
pytestmark = pytest.mark.django_db


def statuses(tenant: Tenant) -> dict[int, str]:
    return {step.number: step.status for step in onboarding.overview(tenant)}


def test_the_six_steps_lead_to_an_active_key(
    tenant: Tenant,
    alice: Member,
    customer: Customer,
    service: ServiceAccount,
    api_of: Callable[[Member | ServiceAccount], Client],
    work: Callable[[], None],
) -> None:
    api = api_of(alice)
    base = f"/api/v1/tenants/{tenant.pk}"

    # guide: prerequisites
    setup = api.get(f"{base}/setup").json()
    assert setup["external_id"] == tenant.external_id
    assert statuses(tenant) == {
        1: "waiting_for_tenant",
        2: "not_started",
        3: "not_started",
        4: "not_started",
        5: "not_started",
        6: "not_started",
    }

    # guide: step 1
    answer = api.put(f"{base}/registration", {"key_arn": customer.create_key()}, content_type="application/json")
    assert (answer.status_code, answer.json()["status"]) == (200, "draft"), answer.content
    assert statuses(tenant)[1] == "done"
    assert statuses(tenant)[2] == "waiting_for_tenant"

    # guide: step 2
    trust, permissions = (
        api.get(f"{base}/documents/{name}").content.decode() for name in ("trust-policy", "permissions-policy")
    )
    assert setup["service_role_arn"] in trust
    assert tenant.external_id in trust
    customer.create_role(trust, permissions)
    assert (
        api.put(f"{base}/registration", {"role_arn": customer.role_arn}, content_type="application/json").status_code
        == 200
    )

    # guide: step 3
    customer.add_key_statement(json.loads(api.get(f"{base}/documents/key-policy-statement").content))

    # guide: steps 6 and 5
    answer = api.post(f"{base}/registration/submit", {}, content_type="application/json")
    assert (answer.status_code, answer.json()["status"]) == (202, "configuring"), answer.content
    assert statuses(tenant)[6] == "done"
    work()

    registration = KeyRegistration.objects.get(tenant=tenant)
    test = registration.tests.get()
    assert {
        check.code: check.verdict
        for check in test.checks.all()
        if check.verdict != "pass" and not check.code.startswith("hygiene.")
    } == {}
    assert registration.status == Status.ACTIVE
    assert statuses(tenant) == {1: "done", 2: "done", 3: "done", 4: "skipped", 5: "done", 6: "done"}
    assert RoleConfiguration.objects.get(tenant=tenant).status == RoleConfiguration.Status.DONE
    assert Ticket.objects.get(tenant=tenant).status == Ticket.Status.CLOSED
    assert [move.new_status for move in registration.moves.all()] == ["submitted", "configuring", "testing", "active"]
    names = set(AuditEvent.objects.of(tenant).values_list("name", flat=True))
    assert {
        "keys.registration.submitted",
        "keys.configuration.written",
        "keys.registration.activated",
        "support.ticket.closed",
    } <= names

    # a platform service
    platform = api_of(service)
    made = platform.post(f"{base}/data-keys", {"context": {"object": "17"}}, content_type="application/json")
    assert made.status_code == 200, made.content
    opened = platform.post(
        f"{base}/data-keys/decrypt",
        {"wrapped_key": made.json()["wrapped_key"], "context": {"object": "17"}},
        content_type="application/json",
    )
    assert opened.json()["plaintext"] == made.json()["plaintext"]
    assert [(use.operation, use.count) for use in KeyUse.objects.all()] == [("generate", 1), ("decrypt", 1)]


def test_with_support_approval_nothing_starts_before_a_person_approves(
    tenant: Tenant,
    alice: Member,
    customer: Customer,
    work: Callable[[], None],
    settings: pytest.FixtureRequest,
    sam: object,
) -> None:
    settings.SERVICE_SIDE_APPROVAL = "support"  # type: ignore[attr-defined]

    customer.follow_the_guide(tenant, acting(alice))
    registration = services.submit_registration(tenant, actor=acting(alice))
    work()
    registration.refresh_from_db()
    assert registration.status == Status.SUBMITTED
    assert statuses(tenant)[5] == "waiting_for_kore"

    services.approve_configuration(registration.configurations.get(), reason="ticket read", actor=acting_staff(sam))
    work()
    registration.refresh_from_db()
    assert registration.status == Status.ACTIVE


def test_a_trust_policy_without_the_external_id_is_rejected_naming_step_2(
    tenant: Tenant, alice: Member, customer: Customer, work: Callable[[], None]
) -> None:
    trust = json.loads(services.document(tenant, "trust-policy"))
    del trust["Statement"][0]["Condition"]
    customer.follow_the_guide(tenant, acting(alice), trust=json.dumps(trust))
    services.submit_registration(tenant, actor=acting(alice))
    work()
    registration = KeyRegistration.objects.get(tenant=tenant)
    assert (registration.status, registration.reason) == (Status.REJECTED, "insecure_trust")
    assert registration.role_claim is None
    assert statuses(tenant)[2] == "failed"
    assert statuses(tenant)[5] == "waiting_for_tenant"
    failed = registration.tests.get().checks.filter(verdict="fail").first()
    assert failed is not None
    assert (failed.step, failed.document) == (2, "trust-policy")
    assert tenant.external_id in failed.corrected

    # mended, it goes on
    customer.set_trust(services.document(tenant, "trust-policy"))
    services.start_test(tenant, actor=acting(alice))
    work()
    registration.refresh_from_db()
    assert registration.status == Status.ACTIVE
    assert statuses(tenant)[2] == "done"
