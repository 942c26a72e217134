"""Our broken policy must not tell forty customers that their key said no:
whose doing a refusal is, and the one incident."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from conftest import CUSTOMER, REGION, Customer, acting_staff, with_health
from django.contrib.auth.models import Group, User
from django.utils import timezone

from byokportal.errors import NotAllowed
from byokportal.localaws import sts as local_sts
from byokportal.localaws.errors import AwsError
from byokportal.localaws.testing import LocalAws
from keys import errors, health
from keys import services as key_services
from keys.health import blame
from keys.models import Incident, KeyHealth, KeyRegistration, RegistrationMove, ServiceRolePolicy
from keys.policies import documents
from support import follow
from support.models import Notice
from tenants import audit, services
from tenants.audit import Actor
from tenants.errors import ReasonMissing
from tenants.models import AuditEvent, Member, ServiceRole, Tenant

Status = KeyRegistration.Status
FORTY, SOME = 40, 9


def everybody_due() -> None:
    KeyHealth.objects.probed().update(next_probe_at=timezone.now(), probe_claimed_at=None)


def statuses() -> dict[str, int]:
    found: dict[str, int] = {}
    for status in KeyRegistration.objects.values_list("status", flat=True):
        found[str(status)] = found.get(str(status), 0) + 1
    return found


@pytest.fixture
def customers(service_role: ServiceRole, aws: LocalAws) -> list[KeyRegistration]:
    return in_service(service_role, aws, SOME)


def in_service(service_role: ServiceRole, aws: LocalAws, count: int) -> list[KeyRegistration]:
    """Return so many tenants in service in one AWS account: a role each, one key, their ARNs in one policy of ours."""
    customer = Customer(aws)
    key_arn = customer.create_key()
    made = []
    for number in range(count):
        tenant = services.create_tenant(
            f"Bank {number}", owner_email=f"owner@bank{number}.example", actor=audit.COMMAND
        )
        customer.role_name = f"AIforWork-{number}"
        customer.create_role(
            json.dumps(documents.trust_policy(service_role.arn, tenant.external_id)),
            json.dumps(documents.permissions_policy(key_arn)),
        )
        made.append(
            KeyRegistration.objects.create(
                tenant=tenant,
                key_arn=key_arn,
                role_arn=customer.role_arn,
                status=Status.ACTIVE,
                activated_at=timezone.now(),
                role_claim=f"{CUSTOMER}/{number}",
            )
        )
        with_health(made[-1], next_probe_at=timezone.now())
    policy = our_policy([registration.role_arn for registration in made])
    arn = aws.client(service_role.account_id, "iam", "us-east-1").create_policy(
        PolicyName="byok-tenants", PolicyDocument=policy
    )["Policy"]["Arn"]
    ours(aws, service_role).attach_role_policy(RoleName=service_role.name, PolicyArn=arn)
    ServiceRolePolicy.objects.create(
        service_role=service_role, slot=0, policy_arn=arn, role_arns=[registration.role_arn for registration in made]
    )
    assert health.sweep() == count
    assert statuses() == {"active": count}
    return made


def ours(aws: LocalAws, service_role: ServiceRole) -> Any:
    return aws.client(service_role.account_id, "iam", "us-east-1")


def our_policy(role_arns: list[str]) -> str:
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": role_arns}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def shut(aws: LocalAws, service_role: ServiceRole) -> Callable[[], None]:
    """Take our policy away from the service role; return what gives it back."""
    arn = ServiceRolePolicy.objects.get(service_role=service_role).policy_arn
    ours(aws, service_role).detach_role_policy(RoleName=service_role.name, PolicyArn=arn)
    return lambda: ours(aws, service_role).attach_role_policy(RoleName=service_role.name, PolicyArn=arn)


@pytest.fixture
def mute(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that makes STS refuse roles by a bare AccessDenied, as AWS does across accounts:
    no policy is named."""

    def refuse(wanted: Callable[[str], bool]) -> None:
        real = local_sts.answer

        def answer(state: Any, caller: Any, region: str, form: Any, *rest: Any) -> Any:
            if wanted(form.get("RoleArn", "")):
                raise AwsError("AccessDenied", "Access denied", status=403)
            return real(state, caller, region, form, *rest)

        monkeypatch.setattr(local_sts, "answer", answer)

    return refuse


def nobody_was_blamed() -> None:
    assert not RegistrationMove.objects.filter(new_status=Status.SUSPENDED).exists()
    assert not AuditEvent.objects.filter(name="keys.key.suspended").exists()
    assert not KeyRegistration.objects.filter(tenant__steps__status="failed").exists()
    assert set(Tenant.objects.values_list("key_generation", flat=True)) == {0}
    while follow.follow():
        pass
    assert not Notice.objects.filter(template="key-suspended").exists()


def test_our_policy_lost_forty_tenants_one_incident_nobody_blamed_and_all_come_back(
    service_role: ServiceRole, aws: LocalAws
) -> None:
    customers = in_service(service_role, aws, FORTY)
    give_back = shut(aws, service_role)
    everybody_due()
    assert health.sweep() == FORTY
    assert statuses() == {"unreachable": FORTY}
    assert set(KeyRegistration.objects.values_list("reason", flat=True)) == {blame.HELD}
    nobody_was_blamed()
    everybody_due()
    health.sweep()
    health.close_incidents()
    (incident,) = Incident.objects.all()
    assert incident.refused == FORTY and incident.closed_at is None
    assert AuditEvent.objects.filter(name="keys.incident.opened").count() == 1
    while follow.follow():
        pass
    assert Notice.objects.filter(template="incident-opened").count() == 1
    assert Notice.objects.get(template="incident-opened").tenant is None

    # It lasts: longer than the window, and still nobody is blamed.
    KeyHealth.objects.update(refused_since=timezone.now() - timedelta(hours=1))
    for _ in range(2):
        everybody_due()
        health.sweep()
        health.probe(customers[3].pk)
    everybody_due()
    health.probe(customers[3].pk)
    assert statuses() == {"unreachable": FORTY}
    assert Incident.objects.filter(closed_at=None).count() == 1
    nobody_was_blamed()

    give_back()
    everybody_due()
    health.sweep()
    assert statuses() == {"active": FORTY}
    assert health.close_incidents() == 1
    assert health.close_incidents() == 0
    incident.refresh_from_db()
    assert incident.closed_at is not None
    while follow.follow():
        pass
    assert Notice.objects.filter(template="incident-closed").count() == 1
    nobody_was_blamed()


def test_asked_one_by_one_the_first_refusal_is_not_blamed_on_its_tenant_either(
    customers: list[KeyRegistration], mute: Callable[..., None]
) -> None:
    mute(lambda role_arn: "AIforWork" in role_arn)  # the canary passes, AWS names no policy
    for registration in customers[:5]:
        KeyHealth.objects.filter(registration=registration).update(next_probe_at=timezone.now())
        health.probe(registration.pk)
    assert statuses() == {"unreachable": 5, "active": SOME - 5}
    assert Incident.objects.get().why == "3 of 3 other organisations are refused too"
    nobody_was_blamed()


def test_the_canary_is_refused_too(customers: list[KeyRegistration], mute: Callable[..., None]) -> None:
    mute(lambda role_arn: True)
    everybody_due()
    health.sweep()
    assert statuses() == {"unreachable": SOME}
    assert Incident.objects.count() == 1
    nobody_was_blamed()


def test_one_tenant_among_forty_that_says_no_is_believed_at_once(
    customers: list[KeyRegistration], mute: Callable[..., None]
) -> None:
    mute(lambda role_arn: role_arn.endswith("AIforWork-7"))
    KeyHealth.objects.filter(registration=customers[7]).update(next_probe_at=timezone.now())
    health.probe(customers[7].pk)
    customers[7].refresh_from_db()
    assert (customers[7].status, customers[7].reason) == (Status.SUSPENDED, "role_not_assumable")
    assert not Incident.objects.exists()
    everybody_due()
    health.sweep()
    assert statuses() == {"suspended": 1, "active": SOME - 1}


def test_many_within_minutes_stop_all_moves_and_take_back_the_first_ones(
    customers: list[KeyRegistration], mute: Callable[..., None], settings: Any
) -> None:
    settings.MANY_DENIALS, settings.MANY_DENIALS_SHARE = 5, 0.0
    refused = {registration.role_arn for registration in customers[:6]}
    mute(lambda role_arn: role_arn in refused)
    # the first to be asked
    KeyHealth.objects.exclude(registration__role_arn__in=refused).update(last_probe_at=timezone.now())
    for registration in customers[:4]:
        KeyHealth.objects.filter(registration=registration).update(next_probe_at=timezone.now())
        health.probe(registration.pk)
    assert statuses() == {"suspended": 4, "active": SOME - 4}  # their neighbours get in: it looks like theirs
    KeyHealth.objects.filter(registration=customers[4]).update(next_probe_at=timezone.now())
    health.probe(customers[4].pk)
    assert statuses() == {"unreachable": 5, "active": SOME - 5}
    assert Incident.objects.get().refused == 5
    # It was theirs after all: a window later nothing new has happened, the incident ends and each is believed.
    earlier = timezone.now() - timedelta(seconds=settings.MANY_DENIALS_SECONDS + 1)
    Incident.objects.update(seen_at=earlier)
    KeyHealth.objects.exclude(refused_since=None).update(refused_since=earlier)
    assert health.close_incidents() == 1
    everybody_due()
    health.sweep()
    assert statuses() == {"suspended": 1, "unreachable": 5, "active": SOME - 6}  # what was held is asked once more
    everybody_due()
    health.sweep()
    assert statuses() == {"suspended": 6, "active": SOME - 6}


@pytest.fixture
def close(sam: User) -> Callable[[], None]:
    """Return a function with which a support lead closes the open incident."""

    def by_hand() -> None:
        (incident,) = Incident.objects.filter(closed_at=None)
        key_services.close_incident(incident, reason="They left, one by one", actor=acting_staff(sam))

    return by_hand


@pytest.mark.parametrize("how_many", [6, SOME])
def test_an_incident_closed_by_hand_believes_who_was_refused_until_then(
    customers: list[KeyRegistration],
    mute: Callable[..., None],
    settings: Any,
    close: Callable[[], None],
    how_many: int,
) -> None:
    """Six of nine would end by itself within minutes; that all of them left nobody but a person can tell."""
    settings.MANY_DENIALS, settings.MANY_DENIALS_SHARE = 5, 0.0
    refused = {registration.role_arn for registration in customers[:how_many]}
    mute(lambda role_arn: role_arn in refused)
    everybody_due()
    health.sweep()
    health.close_incidents()
    KeyHealth.objects.update(next_probe_at=timezone.now() + timedelta(minutes=5))
    assert statuses().get("unreachable") == how_many
    close()
    for registration in customers:  # they are due at once, and the first that is asked alone is believed too
        health.probe(registration.pk)
    assert statuses().get("suspended") == how_many
    everybody_due()
    health.sweep()
    assert statuses().get("suspended") == how_many
    incident = Incident.objects.get()
    assert (incident.closed_by, incident.closing_reason) == ("kore:sam@kore.example", "They left, one by one")
    event = AuditEvent.objects.get(name="keys.incident.closed_by_hand")
    assert (event.tenant, audit.data_of(event)["reason"]) == (None, "They left, one by one")
    while follow.follow():
        pass
    assert Notice.objects.filter(template="incident-closed").count() == 1


def test_whoever_is_refused_after_the_closing_is_counted_anew(
    customers: list[KeyRegistration], mute: Callable[..., None], settings: Any, close: Callable[[], None]
) -> None:
    settings.MANY_DENIALS, settings.MANY_DENIALS_SHARE = 3, 0.0
    refused = {registration.role_arn for registration in customers[:5]}
    mute(lambda role_arn: role_arn in refused)
    everybody_due()
    health.sweep()
    close()
    health.sweep()
    assert statuses() == {"suspended": 5, "active": SOME - 5}
    refused.add(customers[5].role_arn)
    everybody_due()
    health.sweep()
    assert statuses() == {"suspended": 6, "active": SOME - 6}  # the five before it make no crowd of it any more
    refused |= {registration.role_arn for registration in customers[6:]}
    everybody_due()
    health.sweep()
    assert statuses() == {"suspended": 5, "unreachable": SOME - 5}
    assert Incident.objects.filter(closed_at=None).count() == 1


def test_no_person_can_overrule_what_shows_us_broken(
    customers: list[KeyRegistration], mute: Callable[..., None], close: Callable[[], None]
) -> None:
    mute(lambda role_arn: True)  # the canary too
    everybody_due()
    health.sweep()
    close()
    health.sweep()
    assert statuses() == {"unreachable": SOME}
    assert Incident.objects.filter(closed_at=None).count() == 1
    nobody_was_blamed()


def test_who_may_not_close_an_incident(service_role: ServiceRole, sam: User, tenant: Tenant, alice: Member) -> None:
    incident = Incident.objects.create(service_role=service_role, why="the canary got AccessDenied")
    sam.groups.set(Group.objects.filter(name="Support"))
    for actor in (acting_staff(sam), Actor.of_member(alice, via="portal")):
        with pytest.raises(NotAllowed):
            key_services.close_incident(incident, reason="because", actor=actor)
    sam.groups.set(Group.objects.filter(name="Support lead"))
    lead = acting_staff(User.objects.get(pk=sam.pk))
    with pytest.raises(ReasonMissing):
        key_services.close_incident(incident, reason=" ", actor=lead)
    key_services.close_incident(incident, reason="because", actor=lead)
    with pytest.raises(errors.IncidentOver):
        key_services.close_incident(incident, reason="twice", actor=lead)


def test_the_share_of_a_large_role_counts_not_five_heads(
    customers: list[KeyRegistration], mute: Callable[..., None], settings: Any
) -> None:
    settings.MANY_DENIALS, settings.MANY_DENIALS_SHARE = 2, 0.5
    refused = {registration.role_arn for registration in customers[:4]}
    mute(lambda role_arn: role_arn in refused)
    everybody_due()
    health.sweep()
    assert statuses() == {"suspended": 4, "active": SOME - 4}


def test_a_canary_that_does_not_answer_is_no_incident_and_no_blame(
    customers: list[KeyRegistration], mute: Callable[..., None], aws: LocalAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    mute(lambda role_arn: role_arn.endswith("AIforWork-7"))
    refusing = local_sts.answer

    def answer(state: Any, caller: Any, region: str, form: Any, *rest: Any) -> Any:
        if "byok-canary" in form.get("RoleArn", ""):
            raise AwsError("Throttling", "Rate exceeded", status=400)
        return refusing(state, caller, region, form, *rest)

    monkeypatch.setattr(local_sts, "answer", answer)
    everybody_due()
    health.sweep()
    assert statuses() == {"unreachable": 1, "active": SOME - 1}
    assert not Incident.objects.exists()


def test_what_kms_says_of_the_key_itself_is_never_ours(
    customers: list[KeyRegistration], aws: LocalAws, mute: Callable[..., None]
) -> None:
    """These tenants share one key; disabling it is one operation of the tenant, however many it stops."""
    aws.client(CUSTOMER, "kms", REGION).disable_key(KeyId=customers[0].key_arn)
    mute(lambda role_arn: "byok-canary" in role_arn)  # nobody asks the canary about a disabled key
    everybody_due()
    health.sweep()
    assert statuses() == {"suspended": SOME}
    assert not Incident.objects.exists()


def test_kms_refusals_of_many_at_once_are_held_too(customers: list[KeyRegistration], aws: LocalAws) -> None:
    kms = aws.client(CUSTOMER, "kms", REGION)
    shut_out = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "Admin",
                "Effect": "Allow",
                "Principal": {"AWS": f"arn:aws:iam::{CUSTOMER}:root"},
                "Action": "kms:PutKeyPolicy",
                "Resource": "*",
            }
        ],
    }
    kms.put_key_policy(KeyId=customers[0].key_arn, PolicyName="default", Policy=json.dumps(shut_out))
    everybody_due()
    health.sweep()
    assert statuses() == {"unreachable": SOME}
    assert set(KeyHealth.objects.values_list("refused_code", flat=True)) == {"kms_access_denied"}
    assert Incident.objects.count() == 1


def test_our_session_policy_is_ours(
    customers: list[KeyRegistration], monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.MANY_DENIALS = 1_000
    other = f"arn:aws:kms:{REGION}:{CUSTOMER}:key/{uuid.uuid4()}"
    right = documents.session_policy
    monkeypatch.setattr(documents, "session_policy", lambda key_arns, allowed: right([other], allowed))
    KeyHealth.objects.filter(registration=customers[0]).update(next_probe_at=timezone.now())
    health.probe(customers[0].pk)
    assert statuses() == {"unreachable": 1, "active": SOME - 1}
    assert "session" in Incident.objects.get().why
