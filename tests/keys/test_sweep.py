"""A sweep: one statement for what is as it was, compare-and-set for everything, what was not asked is given back."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from conftest import Customer, acting, health_of, with_health
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from byokportal import clock
from byokportal.localaws.testing import LocalAws
from keys import errors, health, services
from keys.health import asking, sweeping
from keys.health.asking import Answer, Question
from keys.models import KeyHealth, KeyRegistration
from tenants import audit
from tenants import services as tenant_services
from tenants.models import Member, ServiceRole, Tenant

Status = KeyRegistration.Status
KEY_ARN = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"


@pytest.fixture
def many(service_role: ServiceRole) -> list[KeyRegistration]:
    """Thirty registrations in service, all due; their probes are answered by `said`, not by AWS."""
    now = timezone.now()
    made = []
    for number in range(30):
        tenant = tenant_services.create_tenant(f"T{number}", owner_email=f"o@t{number}.example", actor=audit.COMMAND)
        made.append(
            KeyRegistration(
                tenant=tenant,
                key_arn=KEY_ARN,
                role_arn=f"arn:aws:iam::111122223333:role/r{number}",
                status=Status.ACTIVE,
                activated_at=now,
                role_claim=f"c{number}",
            )
        )
    KeyRegistration.objects.bulk_create(made)
    return [with_health(one, next_probe_at=now, trust_looked_at=now) for one in made]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Question], Answer]], None]:
    return lambda answer: monkeypatch.setattr(asking, "ask", answer)


def yes(_: Question) -> Answer:
    return Answer(timezone.now())


def test_what_is_as_it_was_is_written_in_one_statement_however_many_there_are(
    many: list[KeyRegistration], said: Callable[..., None], settings: Any
) -> None:
    said(yes)
    settings.PROBE_SECONDS = 300
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert health.sweep() == 30
    # the claim, and all the answers; the registrations, which people read and change, are not written
    assert not [sql for sql in (query["sql"] for query in queries) if re.match(r"\s*UPDATE .keys_keyregistration", sql)]
    assert len([query for query in queries if re.search(r"UPDATE \"?keys_", query["sql"])]) == 2
    rows = KeyRegistration.objects.all()
    assert {(health_of(row).good_probes, health_of(row).probe_claimed_at, row.status) for row in rows} == {
        (1, None, "active")
    }
    pauses = {
        round((health_of(row).next_probe_at - health_of(row).last_probe_at).total_seconds(), 2)
        for row in rows
        if health_of(row).next_probe_at and health_of(row).last_probe_at
    }
    # jittered: they are not asked together for ever
    assert min(pauses) >= 269 and max(pauses) <= 331 and len(pauses) > 20


def test_a_claim_that_was_lost_writes_nothing(many: list[KeyRegistration], said: Callable[..., None]) -> None:
    """The worker was so slow that another one took the row: only that one's answer counts."""
    later = timezone.now() + timedelta(seconds=5)

    def taken(question: Question) -> Answer:
        KeyHealth.objects.filter(registration=many[3]).update(probe_claimed_at=later)
        return yes(question)

    said(taken)
    sweeping.THREADS, threads = 1, sweeping.THREADS
    try:
        health.probe(many[3].pk)
    finally:
        sweeping.THREADS = threads
    many[3].refresh_from_db()
    assert (health_of(many[3]).good_probes, health_of(many[3]).probe_claimed_at) == (0, later)


@pytest.mark.parametrize("answer", ["yes", "no"])
def test_a_button_pressed_while_the_probe_is_under_way_is_left_alone(
    tenant: Tenant, alice: Member, active: KeyRegistration, said: Callable[..., None], answer: str
) -> None:
    KeyHealth.objects.update(next_probe_at=timezone.now(), key_facts={})

    def pressed(question: Question) -> Answer:
        services.suspend(tenant, reason="now", actor=acting(alice))
        return Answer(timezone.now(), None if answer == "yes" else errors.KeyDisabled())

    said(pressed)
    health.probe(active.pk)
    active.refresh_from_db()
    assert (active.status, active.suspended_by, active.reason) == (Status.SUSPENDED, "tenant", "now")
    assert (health_of(active).good_probes, health_of(active).denied_probes, health_of(active).refused_since) == (
        0,
        0,
        None,
    )


def test_a_refusal_met_by_a_request_meanwhile_is_not_undone_by_an_older_yes(
    active: KeyRegistration, said: Callable[..., None]
) -> None:
    KeyHealth.objects.update(next_probe_at=timezone.now(), key_facts={"state": "Enabled"})

    def refused_meanwhile(question: Question) -> Answer:
        health.denied(KeyRegistration.objects.get(pk=active.pk), errors.KeyDisabled())
        return yes(question)

    said(refused_meanwhile)
    health.probe(active.pk)
    active.refresh_from_db()
    assert (active.status, active.reason, health_of(active).good_probes) == (Status.SUSPENDED, "kms_key_disabled", 0)
    assert health_of(active).probe_claimed_at is None  # the next probe need not wait until the claim is stale


def test_what_there_was_no_time_for_is_due_as_before(
    many: list[KeyRegistration], said: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    said(yes)
    monkeypatch.setattr(sweeping, "BUDGET", -1.0)
    assert health.sweep() == 0
    assert KeyHealth.objects.due_for_probe(timezone.now()).count() == 30


def test_a_bug_with_one_registration_costs_the_others_nothing(
    many: list[KeyRegistration], said: Callable[..., None]
) -> None:
    def answer(question: Question) -> Answer:
        if question.registration_id == many[7].pk:
            raise ZeroDivisionError
        return yes(question)

    said(answer)
    assert health.sweep() == 29
    assert KeyHealth.objects.filter(good_probes=1).count() == 29
    broken = KeyRegistration.objects.get(pk=many[7].pk)
    assert (health_of(broken).probe_claimed_at, health_of(broken).probe_failures) == (None, 1)
    assert (
        health_of(broken).next_probe_at is not None and health_of(broken).next_probe_at > clock.now()
    )  # later, and counted: not in a loop


def test_two_workers_share_what_is_due(many: list[KeyRegistration], said: Callable[..., None]) -> None:
    said(yes)
    assert [health.sweep(limit=20), health.sweep(limit=20), health.sweep(limit=20)] == [20, 10, 0]


def test_the_real_thing_keeps_what_describe_key_said(
    customer: Customer, active: KeyRegistration, aws: LocalAws
) -> None:
    KeyHealth.objects.update(next_probe_at=timezone.now())
    health.sweep()
    active.refresh_from_db()
    assert health_of(active).key_facts == {"state": "Enabled", "origin": "AWS_KMS"}


def test_a_change_that_commits_late_is_not_missed_by_who_follows_key_states(
    tenant: Tenant, active: KeyRegistration, api_of: Callable[..., Any]
) -> None:
    """Two keys move at once; the one that moved first commits last, after the services have asked."""
    account, _ = tenant_services.create_service_account(
        "all", tenants=[], has_all_tenants=True, scopes=["key:read"], actor=audit.COMMAND
    )
    api = api_of(account)
    first = api.get("/api/v1/key-states").json()
    assert [change["status"] for change in first["items"]] == ["active"]
    active.moves.create(
        tenant=tenant,
        old_status="active",
        new_status="suspended",
        actor="system",
        at=timezone.now() - timedelta(seconds=2),
    )
    second = api.get("/api/v1/key-states", {"since": first["next"]}).json()
    assert "suspended" in [change["status"] for change in second["items"]]
