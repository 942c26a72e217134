"""The key in service: its page, the kill switch, the latency, the tests."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

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
    for operation in ("suspend", "resume", "drop-caches"):
        page = portal.post(_path(tenant, f"key/{operation}/"), {"reason": "  "})
        assert page.status_code == 200
        assert page.context["pressed"] == operation
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
    assert tenant.key_generation > 1


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
    for operation, data in (
        ("suspend", {"reason": "x"}),
        ("resume", {"reason": "x"}),
        ("drop-caches", {"reason": "x"}),
        ("latency", {"seconds": "5"}),
    ):
        assert reader.post(_path(tenant, f"key/{operation}/"), data).status_code == 403
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


def test_progress_asks_again_while_our_side_is_configured_and_stops_when_it_is_over(
    portal: Client, tenant: Tenant
) -> None:
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
    running = portal.get(_path(tenant, "tests/progress/"), headers=htmx).content.decode()
    assert "<html" not in running
    assert f'hx-get="{_path(tenant, "tests/progress/")}"' in running
    RoleConfiguration.objects.filter(pk=configuration.pk).update(status="done")
    assert "hx-get" not in portal.get(_path(tenant, "tests/progress/"), headers=htmx).content.decode()


# --- the encryption test as it is seen ---------------------------------------------------------------------------


def _run_of(
    serving: KeyRegistration, *, verdict: str = "fail", finished: bool = True, **checks: dict[str, object]
) -> EncryptionTest:
    test = EncryptionTest.objects.create(
        tenant=serving.tenant,
        registration=serving,
        requested_by="alice@acme.example",
        verdict=verdict,
        status="finished" if finished else "waiting",
        due_at=None if finished else timezone.now() + timedelta(seconds=12),
        finished_at=timezone.now() if finished else None,
    )
    for position, (code, facts) in enumerate(checks.items()):
        values = {"code": code.replace("_", ".", 1), "title": code, "step": 2, "position": position, **facts}
        CheckResult.objects.create(tenant=serving.tenant, test=test, **values)
    return test


def test_a_failing_test_shows_document_difference_causes_command_and_the_button(
    portal: Client, tenant: Tenant, serving: KeyRegistration
) -> None:
    refused = {
        "verdict": "fail",
        "document": "trust-policy",
        "remedy": "Set the External ID.",
        "causes": ["external_id_mismatch", "role_not_found"],
        "inferred": '{\n  "old": 1\n}',
        "corrected": '{\n  "new": 1\n}',
        "decide": "aws iam get-role --role-name AIforWorkByokAccessRole",
    }
    test = _run_of(
        serving,
        role_assumable=refused,
        key_enabled={"verdict": "fail", "step": 1, "document": "key", "remedy": "Enable the key."},
    )
    page = portal.get(_path(tenant, f"tests/{test.pk}/")).content.decode()
    in_order = [
        "The trust policy of your role needs a change (step 2)",
        'role="img"',
        "Set the External ID.",
        "<del>",
        "<ins>",
        "The whole document as it has to read",
        "Check that the role exists",
        "aws iam get-role",
        "2. Your key needs a change (step 1)",
        "Enable the key.",
        "I changed it: test again",
        "Every check",
    ]
    places = [page.find(words) for words in in_order]
    assert -1 not in places
    assert places == sorted(places)
    on_step_1 = portal.get(_path(tenant, "steps/1/")).content.decode()
    assert "Enable the key." in on_step_1
    assert "first</strong>, then this" in on_step_1  # step 2 is to be mended first
    assert "Set the External ID." in portal.get(_path(tenant, "steps/2/")).content.decode()
    assert "Set the External ID." in portal.get(_path(tenant, "steps/5/")).content.decode()


def test_a_running_test_answers_htmx_with_nothing_while_nothing_is_new(
    portal: Client, tenant: Tenant, serving: KeyRegistration
) -> None:
    test = _run_of(serving, verdict="unknown", finished=False, ours_identity={"verdict": "pass", "step": 5})
    path = _path(tenant, f"tests/{test.pk}/")
    page = portal.get(path)
    seen = page.context["reading"].seen
    assert f'hx-get="{path}?seen={seen}"' in page.content.decode()
    assert "You may close this page" in page.content.decode()
    htmx = {"HX-Request": "true"}
    assert portal.get(path, {"seen": seen}, headers=htmx).status_code == 204
    CheckResult.objects.update(verdict="unknown", causes=["our_explicit_deny"])
    changed = portal.get(path, {"seen": seen}, headers=htmx)
    assert changed.status_code == 200
    assert b"<html" not in changed.content
    assert "This is on Kore.ai’s side. You need not change anything." in changed.content.decode()
    EncryptionTest.objects.update(status="finished", verdict="pass", finished_at=timezone.now())
    over = portal.get(path, {"seen": seen}, headers=htmx)
    assert b"hx-get" not in over.content
    assert "step-changed" in over["HX-Trigger"]


def test_the_runs_are_listed_and_compared_page_by_page(
    portal: Client, tenant: Tenant, serving: KeyRegistration
) -> None:
    assert "There is no test yet" in portal.get(_path(tenant, "tests/")).content.decode()
    for verdict in ("pass", "fail", *["pass"] * 6):  # oldest first: eight runs, six to a page
        _run_of(serving, verdict=verdict, role_assumable={"verdict": verdict})
    first = portal.get(_path(tenant, "tests/"))
    assert len(first.context["comparison"].runs) == 6
    assert "was refused, now passes" in first.content.decode()  # the last column, against a run of the next page
    second = portal.get(_path(tenant, "tests/"), {"page": "2"}).content.decode()
    assert "passed, now fails" in second
    assert "role_assumable" in second
    for page in ("0", "99", "x", "-1", "9" * 40):
        assert portal.get(_path(tenant, "tests/"), {"page": page}).status_code == 200


def test_an_auditor_sees_what_to_change_and_no_button(
    bob: Member, tenant: Tenant, serving: KeyRegistration, browser_of: Callable[[Member], Client]
) -> None:
    test = _run_of(serving, role_assumable={"verdict": "fail", "remedy": "Set the External ID."})
    page = browser_of(bob).get(_path(tenant, f"tests/{test.pk}/")).content.decode()
    assert "Set the External ID." in page
    assert "I changed it" not in page
