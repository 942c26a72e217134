"""The key in service: its page, the kill switch, the latency, the tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client
from django.utils import timezone

from keys.models import CheckResult, EncryptionTest, KeyRegistration, RoleConfiguration
from tenants.models import AuditEvent, Member, Tenant

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
def portal(alice: Member, browser_of: Callable[[Member], Client]) -> Client:
    return browser_of(alice)


def _path(tenant: Tenant, rest: str) -> str:
    return f"/tenants/{tenant.pk}/{rest}"


def test_the_page_shows_the_state_with_and_without_a_key(portal: Client, tenant: Tenant) -> None:
    assert "No key yet" in portal.get(_path(tenant, "key/")).content.decode()


def test_the_owner_suspends_resumes_and_drops_caches_each_with_a_reason(
    portal: Client, tenant: Tenant, serving: KeyRegistration
) -> None:
    assert KEY in portal.get(_path(tenant, "key/")).content.decode()
    for deed in ("suspend", "resume", "drop-caches"):
        page = portal.post(_path(tenant, f"key/{deed}/"), {"reason": "  "})
        assert page.status_code == 200
        assert page.context["pressed"] == deed
        assert page.context["reason_form"].errors["reason"]
    serving.refresh_from_db()
    assert serving.status == "active"
    assert portal.post(_path(tenant, "key/suspend/"), {"reason": "drill"})["Location"] == _path(tenant, "key/")
    serving.refresh_from_db()
    assert (serving.status, serving.suspended_by) == ("suspended", "tenant")
    assert portal.post(_path(tenant, "key/drop-caches/"), {"reason": "drill"}).status_code == 302
    assert portal.post(_path(tenant, "key/resume/"), {"reason": "over"}).status_code == 302
    serving.refresh_from_db()
    assert serving.status == "unreachable"
    tenant.refresh_from_db()
    assert tenant.key_generation == 2


def test_pressing_suspend_without_a_key_is_refused_with_words(portal: Client, tenant: Tenant) -> None:
    page = portal.post(_path(tenant, "key/suspend/"), {"reason": "drill"})
    assert page.status_code == 200
    assert "There is no key in service" in page.content.decode()


def test_the_owner_chooses_the_latency_within_its_bounds(portal: Client, tenant: Tenant) -> None:
    for seconds in ("-1", "901", "x", "", "9" * 400):
        assert (
            portal.post(_path(tenant, "key/latency/"), {"seconds": seconds}).context["latency_form"].errors["seconds"]
        )
    assert portal.post(_path(tenant, "key/latency/"), {"seconds": "0"}).status_code == 302
    tenant.refresh_from_db()
    assert tenant.revocation_latency == 0


def test_an_auditor_presses_nothing(
    bob: Member, tenant: Tenant, serving: KeyRegistration, browser_of: Callable[[Member], Client]
) -> None:
    reader = browser_of(bob)
    assert reader.get(_path(tenant, "key/")).status_code == 200
    for deed, data in (
        ("suspend", {"reason": "x"}),
        ("resume", {"reason": "x"}),
        ("drop-caches", {"reason": "x"}),
        ("latency", {"seconds": "5"}),
    ):
        assert reader.post(_path(tenant, f"key/{deed}/"), data).status_code == 403
    assert reader.post(_path(tenant, "tests/")).status_code == 403
    serving.refresh_from_db()
    assert serving.status == "active"


def test_a_test_is_asked_for_and_shown_check_by_check(portal: Client, tenant: Tenant, serving: KeyRegistration) -> None:
    answer = portal.post(_path(tenant, "tests/"))
    test = EncryptionTest.objects.get()
    assert answer["Location"] == _path(tenant, f"tests/{test.pk}/")
    assert portal.post(_path(tenant, "tests/"))["Location"] == answer["Location"]  # one at a time
    CheckResult.objects.create(
        tenant=tenant,
        test=test,
        position=1,
        code="role.assumable",
        step=2,
        verdict="fail",
        remedy="Add the principal.",
        corrected='{"corrected": 1}',
    )
    EncryptionTest.objects.update(finished_at=timezone.now(), verdict="fail", status="finished")
    page = portal.get(answer["Location"]).content.decode()
    assert "Add the principal." in page
    assert "Add the principal." in portal.get(_path(tenant, "steps/2/")).content.decode()
    assert AuditEvent.objects.filter(name="keys.test.requested").count() == 1


@pytest.mark.parametrize("until", ["yesterday", "2020-01-01T00:00", "9999-12-31T23:59"])
def test_keep_testing_until_is_within_a_week(
    portal: Client, tenant: Tenant, serving: KeyRegistration, until: str
) -> None:
    page = portal.post(_path(tenant, "tests/"), {"keep_until": until})
    assert page.status_code == 200
    assert page.context["test_form"].errors["keep_until"]
    assert not EncryptionTest.objects.exists()


def test_a_test_before_anything_is_shared_is_refused_with_words(portal: Client, tenant: Tenant) -> None:
    assert "There is no key registered yet" in portal.post(_path(tenant, "tests/")).content.decode()


def test_progress_is_a_fragment_while_something_runs_and_then_reloads_the_page(portal: Client, tenant: Tenant) -> None:
    registration = KeyRegistration.objects.create(tenant=tenant, key_arn=KEY, role_arn=ROLE, status="configuring")
    configuration = RoleConfiguration.objects.create(
        tenant=tenant,
        registration=registration,
        service_role=tenant.service_role,
        action="add",
        role_arn=ROLE,
        status="queued",
    )
    htmx = {"HX-Request": "true"}
    running = portal.get(_path(tenant, "tests/progress/"), headers=htmx)
    assert b"<html" not in running.content
    assert "HX-Refresh" not in running
    RoleConfiguration.objects.filter(pk=configuration.pk).update(status="done")
    assert portal.get(_path(tenant, "tests/progress/"), headers=htmx)["HX-Refresh"] == "true"
