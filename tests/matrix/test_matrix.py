"""Every misconfiguration for real against the local AWS:
step, document and cause are named, and what is named mends it."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from conftest import CUSTOMER, OTHER_CUSTOMER, acting, save_draft
from django.utils import timezone
from matrix.misconfigurations import ROWS, Row, Scene

from byokportal.localaws.engineer import Engineer, spared
from byokportal.localaws.mistakes import MISTAKES
from byokportal.localaws.testing import LocalAws
from keys import services
from keys.configuration import apply
from keys.models import CheckResult, EncryptionTest, KeyRegistration, RoleConfiguration
from keys.proof.encryption_test.runner import CHECKS
from tenants import onboarding
from tenants.models import AuditEvent, Member, Tenant

pytestmark = pytest.mark.django_db
Status = KeyRegistration.Status
Work = Callable[[], None]
ROUNDS = 4  # of mending what the last test named, until nothing is left
OF_OURS = {check.code for check in CHECKS if check.code.startswith("ours.")}


def every_fifteenth() -> list[object]:
    """The fixed fifteenth that the quick suite runs; the rest is slow."""
    return [
        pytest.param(row, id=row.name, marks=[] if at % 15 == 0 else [pytest.mark.slow]) for at, row in enumerate(ROWS)
    ]


@pytest.fixture
def scene(aws: LocalAws, tenant: Tenant) -> Scene:
    return Scene(aws, tenant, _engineer(aws, CUSTOMER), _engineer(aws, CUSTOMER))


def _engineer(aws: LocalAws, account: str) -> Engineer:
    return Engineer(aws.session(account), aws.endpoint, account)


# --- the guide's steps, with mistakes ---------------------------------------------------------------------------------


def broken_at(row: Row, step: int) -> str:
    return next((name for name in row.mistakes if MISTAKES[name].step == step), "")


def follow_the_guide(scene: Scene, row: Row, alice: Member) -> None:
    step_1(scene, alice, broken_at(row, 1))
    step_2(scene, alice, broken_at(row, 2))
    step_3(scene, broken_at(row, 3))


def step_1(scene: Scene, alice: Member, broken: str = "") -> None:
    scene.key_arn = scene.keeper.create_key(broken=broken)
    save_draft(scene.tenant, key_arn=scene.key_arn, actor=acting(alice))


def step_2(scene: Scene, alice: Member, broken: str = "") -> None:
    scene.role_arn = scene.engineer.create_role(
        trust=services.document(scene.tenant, "trust-policy"),
        permissions=services.document(scene.tenant, "permissions-policy"),
        external_id=scene.tenant.external_id,
        broken=broken,
    )
    save_draft(scene.tenant, role_arn=scene.role_arn, actor=acting(alice))


def step_3(scene: Scene, broken: str = "") -> None:
    """A key that there is not, or a role, has no statement: there the engineer has nothing to do yet."""
    kms, iam = scene.keeper.client("kms"), scene.engineer.client("iam")
    try:
        scene.keeper.grant(
            key_arn=scene.key_arn,
            statement=services.document(scene.tenant, "key-policy-statement"),
            trust=services.document(scene.tenant, "trust-policy"),
            broken=broken,
        )
    except (
        kms.exceptions.NotFoundException,
        kms.exceptions.MalformedPolicyDocumentException,
        iam.exceptions.ClientError,
    ):
        assert broken == ""


def shared(scene: Scene, row: Row, alice: Member, work: Work) -> EncryptionTest:
    """Share both ARNs, let our side be configured, let the rest of the row happen, and test."""
    registration = services.submit_registration(scene.tenant, actor=acting(alice))
    for configuration in RoleConfiguration.objects.due(timezone.now()):
        apply.apply(str(configuration.pk))
    if row.late:
        row.late(scene)
    work()
    return settled(registration, work)


def newest(registration: KeyRegistration) -> EncryptionTest:
    return registration.tests.order_by("-created_at")[0]


def settled(registration: KeyRegistration, work: Work) -> EncryptionTest:
    """Return the newest test; one that waits because a call timed out, on a busy machine, looks again first."""
    for _ in range(3):
        if newest(registration).status == "waiting":
            registration.tests.filter(status="waiting").update(due_at=timezone.now())
            work()
    return newest(registration)


def failed(test: EncryptionTest) -> list[CheckResult]:
    return list(test.checks.filter(verdict="fail"))


# --- mending ----------------------------------------------------------------------------------------------------------


def apply_documents(scene: Scene, rows: list[CheckResult]) -> None:
    """Do what the page says: put the corrected document in the place of the one that is there, or the condition
    into the Deny statements."""
    texts = {(row.document, row.corrected) for row in rows if row.corrected}
    for document, text in sorted(texts):
        if set(json.loads(text)) == {"Condition"}:
            spare(scene, document, json.loads(text)["Condition"])
        elif document == "trust-policy":
            scene.engineer.set_trust(scene.role_arn, text)
        elif document == "permissions-policy":
            scene.engineer.set_permissions(scene.role_arn, text)
        elif document == "permissions-boundary":
            scene.engineer.set_boundary(scene.role_arn, text)
        else:
            statement = json.loads(text)
            kms = scene.keeper.client("kms", scene.key_arn.split(":")[3])
            policy = json.loads(kms.get_key_policy(KeyId=scene.key_arn, PolicyName="default")["Policy"])
            others = [found for found in policy["Statement"] if found.get("Sid") != statement["Sid"]]
            policy["Statement"] = [*others, statement]
            kms.put_key_policy(KeyId=scene.key_arn, PolicyName="default", Policy=json.dumps(policy))


def spare(scene: Scene, document: str, condition: dict[str, Any]) -> None:
    if document == "key-policy-statement":
        scene.keeper.spare_in_key_policy(scene.key_arn, condition)
    elif document in {"service-control-policy", "resource-control-policy"}:
        account, scps, rcps = copy.deepcopy(scene.kept["organization"])
        for policy in (*scps, *rcps):
            spared(policy, condition)
        scene.aws.organization(account, scps=scps, rcps=rcps)
    else:
        scene.engineer.spare(scene.role_arn, condition)


def mend(scene: Scene, row: Row, test: EncryptionTest, alice: Member, work: Work) -> EncryptionTest:
    if row.mend == "arn":  # another key or role, or the ARN as it is: given anew, it goes the whole way again
        if broken_at(row, 1):
            step_1(scene, alice)
        step_2(scene, alice)
        step_3(scene)
        services.submit_registration(scene.tenant, actor=acting(alice))
        work()
        return settled(test.registration, work)
    if row.undo and row.mend == "ours":
        row.undo(scene)
        EncryptionTest.objects.filter(pk=test.pk).update(due_at=timezone.now())
        work()
        return settled(test.registration, work)
    for _ in range(ROUNDS):
        if (
            row.undo
            and row.mend == "operation"
            and not scene.kept.get("is_done")
            and not _is_about_a_document(row, test)
        ):
            row.undo(scene)
            scene.kept["is_done"] = True
        else:
            apply_documents(scene, failed(test))
        services.start_test(scene.tenant, actor=acting(alice))
        work()
        test = settled(test.registration, work)
        if test.verdict == "pass":
            break
    return test


def _is_about_a_document(row: Row, test: EncryptionTest) -> bool:
    """Several at once: documents are mended as they are named, the operation is done when its turn comes."""
    return len(row.mistakes) > 1 and bool(failed(test)) and all(found.corrected for found in failed(test))


# --- the matrix -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", every_fifteenth())
def test_a_misconfiguration_is_named_and_what_is_named_mends_it(
    row: Row, scene: Scene, alice: Member, work: Work, aws: LocalAws
) -> None:
    if row.across:
        scene.keeper = _engineer(aws, OTHER_CUSTOMER)
    follow_the_guide(scene, row, alice)
    test = shared(scene, row, alice, work)
    registration = test.registration
    registration.refresh_from_db()
    if row.mend == "warning":
        assert registration.status == Status.ACTIVE, _said(test)
        warned = [check for check in test.checks.all() if "warning" in check.evidence]
        assert {check.step for check in warned} >= row.steps, _said(test)
        return
    found = failed(test)
    if row.mend == "ours":
        _assert_ours(row, test)
    else:
        assert registration.status == Status.REJECTED, _said(test)
        assert {check.step for check in found} == row.steps, _said(test)
        assert {check.document for check in found} == row.documents, _said(test)
        assert row.causes <= {cause for check in found for cause in check.causes}, _said(test)
        assert all(len(check.causes) == 1 for check in found) is row.is_single, _said(test)
        for check in found:
            _assert_complete(check, scene.tenant)
    mended = mend(scene, row, test, alice, work) if row.mend != "ours" or row.undo else None
    if mended is not None:
        registration.refresh_from_db()
        assert (mended.verdict, registration.status) == ("pass", Status.ACTIVE), _said(mended)
        assert all(step.status in {"done", "skipped"} for step in onboarding.overview(scene.tenant))


def _assert_ours(row: Row, test: EncryptionTest) -> None:
    """Our fault blames nobody: nothing fails, nothing of the tenant's is touched, and it waits for us."""
    assert (test.status, test.verdict, test.registration.status) == ("waiting_for_kore", "unknown", Status.TESTING), (
        _said(test)
    )
    assert not failed(test)
    broken = [check for check in test.checks.all() if check.code in OF_OURS and check.verdict == "unknown"]
    assert row.causes <= {cause for check in broken for cause in check.causes}, _said(test)
    assert all(len(check.causes) == 1 for check in broken) is row.is_single, _said(test)
    assert AuditEvent.objects.of(test.tenant).filter(name="keys.test.waits_for_kore").count() == 1
    assert {step.number: step.status for step in onboarding.overview(test.tenant)}[5] == "waiting_for_kore"


def _assert_complete(check: CheckResult, tenant: Tenant) -> None:
    """Whatever fails says the change in words, in the tenant's own values,
    and what would decide where it is not decided."""
    assert check.remedy.endswith(".") and not re.search(r"\{\w+\}", check.remedy)
    assert bool(check.decide) == (len(check.causes) > 1)
    is_organizations = check.document in {"service-control-policy", "resource-control-policy"}
    assert bool(check.corrected) == ("spares" in check.evidence or not (is_organizations or check.document == "key"))
    if check.inferred:
        assert check.inferred != check.corrected
        json.loads(check.inferred)
    for text in (check.remedy, check.corrected, check.inferred, check.decide):
        assert "<" not in text  # no placeholder of the guide's


def _said(test: EncryptionTest) -> str:
    lines = [f"{test.registration.status} {test.registration.reason}; test {test.status} {test.verdict}"]
    for check in test.checks.all():
        if check.verdict != "pass" or "warning" in check.evidence:
            lines.append(
                f"{check.code}: {check.verdict} step {check.step} {check.document} {check.causes} {check.evidence}"
            )
    return "\n".join(lines)


# --- the table itself -------------------------------------------------------------------------------------------------


def test_the_matrix_is_large_and_mostly_certain() -> None:
    faults = [row for row in ROWS if row.mend != "warning"]
    assert len(faults) >= 60
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert sum(row.is_single for row in faults) / len(faults) >= 0.85


def test_every_mistake_that_the_engineer_can_make_has_its_row() -> None:
    assert set(MISTAKES) == {name for row in ROWS for name in row.mistakes}


# --- what the test cannot see, and says so ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "condition",
    [
        {"StringEquals": ["right", "byok-of-somebody-else"]},
        {"ForAnyValue:StringEquals": "right"},
        {"StringEqualsIgnoreCase": "right"},
    ],
    ids=["a list with another id", "ForAnyValue", "letter case ignored"],
)
def test_a_list_with_other_ids_refuses_what_we_can_try_and_is_left_to_the_paste_box(
    condition: dict[str, object], scene: Scene, alice: Member, work: Work
) -> None:
    """The test proves that a missing and a random External ID are refused; ids that nobody knows, nobody can try."""
    follow_the_guide(scene, Row("", frozenset(), frozenset(), frozenset(), "warning"), alice)
    ((operator, value),) = condition.items()
    text = json.dumps(value).replace("right", scene.tenant.external_id)
    policy = json.loads(services.document(scene.tenant, "trust-policy"))
    policy["Statement"][0]["Condition"] = {operator: {"sts:ExternalId": json.loads(text)}}
    scene.engineer.set_trust(scene.role_arn, json.dumps(policy))
    services.submit_registration(scene.tenant, actor=acting(alice))
    work()
    assert KeyRegistration.objects.get(tenant=scene.tenant).status == Status.ACTIVE
    reading = services.check_policy(scene.tenant, kind="trust", text=json.dumps(policy))
    if operator == "StringEquals":
        assert reading.verdict == "unsafe"
