"""A policy of ours that somebody else changed: found within the hour, shown exactly, resolved by two people."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from conftest import acting, acting_staff, let_in, owner_of, save_draft
from django.contrib.auth.models import Group, User
from django.core import mail
from django.test import Client
from django.utils import timezone

from byokportal.errors import NotAllowed
from byokportal.localaws.testing import LocalAws
from keys import errors, services
from keys.aws import iam
from keys.configuration import apply, drift, packing
from keys.models import DriftResolution, RoleConfiguration, ServiceRolePolicy
from support import follow, notices
from tenants import audit
from tenants import services as tenant_services
from tenants.models import AuditEvent, ServiceRole

KEY = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ROLE = "arn:aws:iam::111122223333:role/AIforWorkByokAccessRole"
OURS = "999900001111"
WIDE = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}]}


def share(number: int) -> RoleConfiguration:
    tenant = tenant_services.create_tenant(f"T{number}", owner_email=f"t{number}@x.example", actor=audit.COMMAND)
    owner = acting(owner_of(tenant))
    save_draft(tenant, key_arn=KEY, role_arn=f"{ROLE}{number}", actor=owner)
    services.submit_registration(tenant, actor=owner)
    return RoleConfiguration.objects.get(tenant=tenant)


@pytest.fixture
def policy(service_role: ServiceRole) -> ServiceRolePolicy:
    """One policy that names two tenants' roles."""
    for number in range(2):
        apply.apply(str(share(number).pk))
    return service_role.policies.get()


@pytest.fixture
def our_iam(aws: LocalAws) -> Any:
    return aws.client(OURS, "iam", "us-east-1")


@pytest.fixture
def lena(db: None) -> User:
    """Another support lead."""
    user = User.objects.create_user("lena@kore.example", "lena@kore.example", "lena-password-of-tests", is_staff=True)
    user.groups.add(Group.objects.get(name="Support lead"))
    return user


def put(our_iam: Any, policy: ServiceRolePolicy, document: dict[str, Any]) -> None:
    our_iam.create_policy_version(PolicyArn=policy.policy_arn, PolicyDocument=json.dumps(document), SetAsDefault=True)


def looked(policy: ServiceRolePolicy) -> ServiceRolePolicy:
    ServiceRolePolicy.objects.update(look_due_at=timezone.now())
    drift.look()
    policy.refresh_from_db()
    return policy


def in_iam(policy: ServiceRolePolicy) -> dict[str, Any]:
    written = iam.read_policy(policy.policy_arn)
    assert written is not None
    return written.document


def done(resolution: DriftResolution) -> DriftResolution:
    drift.resolve(resolution.pk)
    resolution.refresh_from_db()
    return resolution


def events(name: str) -> int:
    return AuditEvent.objects.filter(name=name).count()


def test_what_is_as_we_left_it_is_no_drift_and_is_looked_at_again_in_an_hour(policy: ServiceRolePolicy) -> None:
    assert looked(policy).found == ""
    assert policy.looked_at is not None
    assert policy.look_due_at > timezone.now() + timedelta(minutes=55)
    assert drift.look() == 0


@pytest.mark.parametrize("what", ["another document", "not attached", "not there"])
def test_drift_is_found_told_once_and_left_as_it_is(
    policy: ServiceRolePolicy, our_iam: Any, aws: LocalAws, settings: Any, what: str
) -> None:
    if what == "another document":
        put(our_iam, policy, WIDE)
    else:
        our_iam.detach_role_policy(RoleName=policy.service_role.name, PolicyArn=policy.policy_arn)
    if what == "not there":
        for version in our_iam.list_policy_versions(PolicyArn=policy.policy_arn)["Versions"]:
            if not version["IsDefaultVersion"]:
                our_iam.delete_policy_version(PolicyArn=policy.policy_arn, VersionId=version["VersionId"])
        our_iam.delete_policy(PolicyArn=policy.policy_arn)
    aws.calls.clear()
    for _ in range(2):
        assert looked(policy).found == what
    assert not [call for _, call, _ in aws.calls if not call.startswith(("Get", "List"))]
    assert events("keys.policy.drifted") == 1
    follow.follow()
    notices.send_due()
    assert [message.to for message in mail.outbox if "was changed" in message.subject] == [[settings.SUPPORT_EMAIL]]


def test_two_leads_take_ours_and_what_had_stopped_goes_on(
    policy: ServiceRolePolicy, our_iam: Any, sam: User, lena: User
) -> None:
    put(our_iam, policy, WIDE)
    stopped = share(7)
    apply.apply(str(stopped.pk))
    stopped.refresh_from_db()
    assert stopped.reason == "policy_drift"
    looked(policy)
    asked = services.request_resolution(policy, choice="take_ours", reason="not ours", actor=acting_staff(sam))
    assert ["added", '      "Resource": "*"'] in [list(line) for line in asked.difference]
    assert done(asked).status == "waiting", "nothing is written before a second lead has approved it"
    with pytest.raises(errors.SecondLeadNeeded):
        services.approve_resolution(asked, reason="mine", actor=acting_staff(sam))
    let_in(lena, by=acting_staff(sam))
    with pytest.raises(errors.SecondLeadNeeded):
        services.approve_resolution(asked, reason="whom I made", actor=acting_staff(lena))
    let_in(lena, by=audit.COMMAND)
    services.approve_resolution(asked, reason="looked at it", actor=acting_staff(lena))
    assert done(asked).status == "done"
    assert in_iam(policy) == drift.ours(policy)
    policy.refresh_from_db()
    assert policy.found == ""
    stopped.refresh_from_db()
    assert stopped.status == "queued"
    apply.apply(str(stopped.pk))
    stopped.refresh_from_db()
    assert stopped.status == "propagating"
    assert [events(f"keys.policy.{name}") for name in ("resolution_requested", "resolution_approved", "resolved")] == [
        1,
        1,
        1,
    ]


def test_theirs_is_taken_into_the_row_where_we_could_have_written_it(
    policy: ServiceRolePolicy, our_iam: Any, sam: User, lena: User
) -> None:
    theirs = packing.document([f"{ROLE}0"], our_account=OURS)
    put(our_iam, policy, theirs)
    looked(policy)
    asked = services.request_resolution(policy, choice="take_theirs", reason="by hand", actor=acting_staff(sam))
    services.approve_resolution(asked, reason="right", actor=acting_staff(lena))
    assert done(asked).status == "done"
    policy.refresh_from_db()
    assert policy.role_arns == [f"{ROLE}0"]
    assert in_iam(policy) == theirs
    assert looked(policy).found == ""


@pytest.mark.parametrize(
    "document",
    [
        WIDE,
        {"Version": "2012-10-17", "Statement": [packing.document([f"{ROLE}0"], our_account=OURS)["Statement"][1]]},
        packing.document([f"{ROLE}0", "arn:aws:iam::444455556666:role/Stranger"], our_account=OURS),
    ],
    ids=["a wildcard", "no Deny on our own account", "a role that no tenant gave"],
)
def test_theirs_is_refused_where_we_could_not_have_written_it(
    policy: ServiceRolePolicy, our_iam: Any, sam: User, document: dict[str, Any]
) -> None:
    put(our_iam, policy, document)
    looked(policy)
    with pytest.raises(errors.NotOursToTake):
        services.request_resolution(policy, choice="take_theirs", reason="r", actor=acting_staff(sam))
    assert not DriftResolution.objects.exists()


def test_what_was_changed_again_since_is_not_what_was_approved(
    policy: ServiceRolePolicy, our_iam: Any, sam: User, lena: User
) -> None:
    put(our_iam, policy, WIDE)
    looked(policy)
    asked = services.request_resolution(policy, choice="take_ours", reason="r", actor=acting_staff(sam))
    services.approve_resolution(asked, reason="r", actor=acting_staff(lena))
    put(our_iam, policy, packing.document([], our_account=OURS))
    assert (done(asked).status, asked.outcome) == ("failed", "drift_changed")
    assert in_iam(policy) == packing.document([], our_account=OURS)
    looked(policy)
    again = services.request_resolution(policy, choice="take_ours", reason="r", actor=acting_staff(sam))
    with pytest.raises(errors.DriftChanged):  # one at a time
        services.request_resolution(policy, choice="take_ours", reason="r", actor=acting_staff(lena))
    services.refuse_resolution(again, reason="not now", actor=acting_staff(lena))
    with pytest.raises(errors.DriftChanged):
        services.approve_resolution(again, reason="r", actor=acting_staff(lena))


def test_the_last_good_version_is_restored_at_once_and_looked_at_the_next_day(
    policy: ServiceRolePolicy, our_iam: Any, sam: User, lena: User
) -> None:
    good = in_iam(policy)
    put(our_iam, policy, WIDE)
    looked(policy)
    made = services.restore_last_good(policy, reason="all are shut out", actor=acting_staff(sam))
    assert done(made).status == "done"
    assert in_iam(policy) == good
    default = [
        v["VersionId"]
        for v in our_iam.list_policy_versions(PolicyArn=policy.policy_arn)["Versions"]
        if v["IsDefaultVersion"]
    ]
    assert default == ["v2"], "the version itself, none that says the same"
    DriftResolution.objects.update(review_due_at=timezone.now())
    drift.look()
    drift.look()
    assert events("keys.policy.review_overdue") == 1
    with pytest.raises(errors.SecondLeadNeeded):
        services.review_restoration(made, reason="mine", actor=acting_staff(sam))
    let_in(lena, by=acting_staff(sam))
    with pytest.raises(errors.SecondLeadNeeded):
        services.review_restoration(made, reason="whom I made", actor=acting_staff(lena))
    let_in(lena, by=audit.COMMAND)
    services.review_restoration(made, reason="right", actor=acting_staff(lena))
    with pytest.raises(errors.DriftChanged):
        services.review_restoration(made, reason="again", actor=acting_staff(lena))
    assert events("keys.policy.restoration_reviewed") == 1


def test_only_leads_decide_and_only_about_what_is_drift(policy: ServiceRolePolicy, our_iam: Any, sam: User) -> None:
    with pytest.raises(errors.NoDrift):
        services.request_resolution(policy, choice="take_ours", reason="r", actor=acting_staff(sam))
    with pytest.raises(errors.NoDrift):
        services.restore_last_good(policy, reason="r", actor=acting_staff(sam))
    put(our_iam, policy, WIDE)
    looked(policy)
    sam.groups.set([Group.objects.get(name="Support")])
    support = acting_staff(User.objects.get(pk=sam.pk))
    with pytest.raises(NotAllowed):
        services.request_resolution(policy, choice="take_ours", reason="r", actor=support)
    with pytest.raises(NotAllowed):
        services.restore_last_good(policy, reason="r", actor=support)


def test_the_page_of_a_service_role_shows_the_difference_and_takes_the_decision(
    policy: ServiceRolePolicy, our_iam: Any, sam: User, lena: User, browser_of: Callable[..., Client]
) -> None:
    put(our_iam, policy, WIDE)
    looked(policy)
    desk, page = browser_of(sam), f"/admin/tenants/servicerole/{policy.service_role_id}/"
    shown = desk.get(f"{page}change/").content.decode()
    assert "another document" in shown
    assert "<td>v3</td>" in shown, "the version that stands in IAM"
    assert "<ins>" in shown
    asked = desk.post(f"{page}operations/resolve-drift/", {"slot": 0, "choice": "take_ours", "reason": "not ours"})
    assert asked.status_code == 302, asked.content.decode()
    resolution = DriftResolution.objects.get()
    other, its = browser_of(lena), f"/admin/keys/driftresolution/{resolution.pk}/"
    assert "<ins>" in other.get(f"{its}change/").content.decode()
    own = desk.post(f"{its}operations/approve-resolution/", {"reason": "x"}).content.decode()
    assert "Another support lead decides" in own
    assert other.post(f"{its}operations/approve-resolution/", {"reason": "looked at it"}).status_code == 302
    assert done(resolution).status == "done"
    assert "as we left it" in desk.get(f"{page}change/").content.decode()


def test_what_waits_for_approval_shows_what_it_changes_in_our_policy(
    policy: ServiceRolePolicy, sam: User, browser_of: Callable[..., Client], settings: Any
) -> None:
    settings.SERVICE_SIDE_APPROVAL = "support"
    waiting = share(7)
    assert waiting.status == "waiting_for_approval"
    page = browser_of(sam).get(f"/admin/keys/roleconfiguration/{waiting.pk}/change/").content.decode()
    assert f"<ins>+         &quot;{ROLE}7&quot;" in page
    assert f"  &quot;{ROLE}0&quot;" in page, "what stands there already is shown beside it"
    services.approve_configuration(waiting, reason="read it", actor=acting_staff(sam))
    apply.apply(str(waiting.pk))
    waiting.refresh_from_db()
    assert services.change_of(waiting) == [], "it is done"
