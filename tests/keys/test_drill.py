"""The revocation drill: the tenant takes its key back in AWS and gives it again;
every time is measured, in the log, and kept."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from conftest import Customer, acting, health_of, heartbeat
from django.test import Client
from django.utils import timezone

from byokportal import clock, words
from byokportal.errors import NotAllowed
from keys import datakeys, errors, health, services
from keys.datakeys import admission, snapshots
from keys.health import measuring, stops
from keys.models import CacheDrop, KeyHealth, KeyRegistration, RevocationDrill, ServingProcess
from tenants.models import AuditEvent, Member, ServiceAccount, Tenant

Status = RevocationDrill.Status
Probe = Callable[[KeyRegistration], KeyRegistration]


@pytest.fixture
def drill(tenant: Tenant, alice: Member, active: KeyRegistration, probe_now: Probe) -> RevocationDrill:
    probe_now(active)
    return services.start_drill(tenant, actor=acting(alice))


@pytest.fixture
def processes(db: None) -> list[ServingProcess]:
    """Three web processes that look once a second."""
    earlier = timezone.now() - timedelta(minutes=5)
    return [ServingProcess.objects.create(name=f"web-{number}:1", started_at=earlier) for number in range(3)]


def look(drill: RevocationDrill) -> RevocationDrill:
    health.follow_drills()
    drill.refresh_from_db()
    return drill


def test_a_drill_measures_the_stop_in_every_process_and_the_way_back(
    tenant: Tenant,
    customer: Customer,
    active: KeyRegistration,
    drill: RevocationDrill,
    processes: list[ServingProcess],
    probe_now: Probe,
) -> None:
    assert (drill.status, drill.bound_seconds) == (Status.WAITING_FOR_REFUSAL, tenant.revocation_latency)
    assert look(drill).status == Status.WAITING_FOR_REFUSAL
    last_yes = health_of(probe_now(active)).last_probe_at
    customer.kms.disable_key(KeyId=customer.key_arn)
    ServingProcess.objects.update(seen_at=clock.now())  # they live, and have not heard of it
    probe_now(active)
    assert look(drill).status == Status.STOPPING
    assert drill.refused_code == "kms_key_disabled"
    assert drill.allowed_at == last_yes
    assert drill.refused_at is not None and drill.allowed_at is not None and drill.suspended_at is not None
    assert drill.allowed_at < drill.refused_at < drill.suspended_at
    assert set(drill.processes.values()) == {None}

    at = drill.suspended_at + timedelta(milliseconds=800)
    tenant.refresh_from_db()
    CacheDrop.objects.create(tenant=tenant, process=processes[0], generation=tenant.key_generation, count=2, at=at)
    heartbeat(processes[1])  # it has looked since, and held nothing
    assert look(drill).status == Status.STOPPING  # the third has not said anything
    CacheDrop.objects.create(tenant=tenant, process=processes[2], generation=tenant.key_generation, count=1, at=at)
    assert look(drill).status == Status.WAITING_FOR_KEY
    assert drill.stopped_at is not None and drill.stopped_at >= at
    assert (drill.dropped, drill.is_within_bound) == (3, True)

    customer.kms.enable_key(KeyId=customer.key_arn)
    first_yes = health_of(probe_now(active)).last_probe_at
    assert look(drill).status == Status.RECOVERING
    assert drill.answered_at == first_yes
    probe_now(active)
    assert look(drill).status == Status.DONE
    assert drill.served_at == KeyRegistration.objects.get(pk=active.pk).moved_at
    assert health_of(active).dense_until is None
    assert list(
        AuditEvent.objects.filter(name__startswith="keys.drill.").order_by("id").values_list("name", flat=True)
    ) == ["keys.drill.started", "keys.drill.finished"]
    look(drill)
    assert AuditEvent.objects.filter(name="keys.drill.finished").count() == 1


def test_what_a_process_drops_because_its_own_request_was_refused_counts_as_held(
    tenant: Tenant,
    alice: Member,
    customer: Customer,
    active: KeyRegistration,
    drill: RevocationDrill,
    work: Callable[[], None],
) -> None:
    """It drops its keys before it has heard of the stop, which it has brought about itself."""
    (old,) = datakeys.generate(tenant, [{}], caller="tests", request_id="r")
    services.rotate_branch_key(tenant, reason="now", actor=acting(alice))
    work()
    datakeys.start_anew()
    datakeys.generate(tenant, [{}], caller="tests", request_id="r")  # the new branch key is held, the old one is not
    customer.kms.disable_key(KeyId=customer.key_arn)
    (refused,) = datakeys.open_wrapped(tenant, [(old.wrapped_key, {})], caller="tests", request_id="r")
    assert isinstance(refused, errors.KeyDisabled)
    with pytest.raises(errors.KeyDisabled):
        datakeys.generate(tenant, [{}], caller="tests", request_id="r")
    ServingProcess.objects.update(started_at=clock.now() - timedelta(minutes=1))
    datakeys.here().snapshots.look()
    assert [drop.count for drop in CacheDrop.objects.filter(tenant=tenant).order_by("generation")][-1] == 1
    assert look(drill).dropped == 1


def test_while_it_is_on_the_key_is_asked_every_few_seconds(
    customer: Customer, active: KeyRegistration, drill: RevocationDrill, probe_now: Probe, settings: Any
) -> None:
    settings.DRILL_PROBE_SECONDS, settings.PROBE_SECONDS, settings.DENIED_PROBE_SECONDS = 3, 300, [60, 120, 300]

    def pause() -> float:
        before = timezone.now()
        probe_now(active)
        assert health_of(active).next_probe_at is not None
        return (health_of(active).next_probe_at - before).total_seconds()

    assert pause() < 8
    customer.kms.disable_key(KeyId=customer.key_arn)
    assert [pause() < 8 for _ in range(3)] == [True, True, True]
    customer.kms.enable_key(KeyId=customer.key_arn)
    assert pause() < 8  # the second good answer is not waited for longer than the first
    KeyHealth.objects.update(dense_until=timezone.now())
    assert pause() > 200


def test_a_look_that_comes_late_finds_the_same_times(
    tenant: Tenant, customer: Customer, active: KeyRegistration, drill: RevocationDrill, probe_now: Probe
) -> None:
    """The worker was down: everything has happened before the first look. Nothing is lost and nothing is twice."""
    customer.kms.disable_key(KeyId=customer.key_arn)
    probe_now(active)
    customer.kms.enable_key(KeyId=customer.key_arn)
    probe_now(active)
    first_yes = health_of(active).last_probe_at
    assert look(drill).status == Status.RECOVERING  # no process lives here: there is nothing to wait for
    assert drill.answered_at == first_yes
    probe_now(active)
    assert look(drill).status == Status.INCONCLUSIVE


def test_a_drill_in_which_no_process_held_a_key_has_no_result_and_says_so(
    tenant: Tenant,
    alice: Member,
    customer: Customer,
    active: KeyRegistration,
    drill: RevocationDrill,
    processes: list[ServingProcess],
    probe_now: Probe,
    browser_of: Callable[..., Client],
    api_of: Callable[..., Client],
) -> None:
    """All have stopped at once, because there was nothing to stop: that proves nothing about the kill switch."""
    portal, url = browser_of(alice), f"/tenants/{tenant.pk}/key/drills/{drill.pk}/"
    assert "there is nothing to stop" in portal.get(f"/tenants/{tenant.pk}/key/drills/").content.decode()
    customer.kms.disable_key(KeyId=customer.key_arn)
    probe_now(active)
    heartbeat(*processes)
    assert look(drill).status == Status.WAITING_FOR_KEY
    told = portal.get(url).content.decode()
    assert "nothing to stop" in told and "enable-key" in told  # the tenant has to give the key back all the same
    customer.kms.enable_key(KeyId=customer.key_arn)
    probe_now(active)
    probe_now(active)
    assert look(drill).status == Status.INCONCLUSIVE
    shown = portal.get(url).content.decode()
    assert "this drill has no result" in shown
    assert "nothing to stop: no process held a key" in shown  # where the seconds would stand
    for claim in ("kill switch works", "hx-get"):
        assert claim not in shown
    body = api_of(alice).get(f"/api/v1/tenants/{tenant.pk}/key/drills/{drill.pk}").json()
    assert (body["status"], body["dropped"], body["stopped_after"], body["is_within_bound"]) == (
        "inconclusive",
        0,
        None,
        None,
    )
    assert "nothing held" in portal.get(f"/tenants/{tenant.pk}/key/drills/").content.decode()
    assert not AuditEvent.objects.filter(name="keys.drill.finished").exists()
    assert AuditEvent.objects.filter(name="keys.drill.without_result").count() == 1
    assert health_of(active).dense_until is None
    services.set_latency(tenant, seconds=0, actor=acting(alice))
    assert "each use asks AWS" in portal.get(url).content.decode()


def test_a_process_that_dies_counts_when_it_can_give_out_nothing_any_more(
    tenant: Tenant, alice: Member, active: KeyRegistration, processes: list[ServingProcess]
) -> None:
    now = clock.now()
    dying, long_dead, later = processes
    ServingProcess.objects.filter(pk=dying.pk).update(seen_at=now - timedelta(seconds=1))
    ServingProcess.objects.filter(pk=long_dead.pk).update(seen_at=now - timedelta(hours=1))
    services.suspend(tenant, reason="x", actor=acting(alice))
    tenant.refresh_from_db()
    heartbeat(later)
    ServingProcess.objects.filter(pk=later.pk).update(started_snapshot=admission.ask().snapshot)
    (waiting,) = stops.of(tenant, generation=tenant.key_generation, since=now)
    assert (waiting.name, waiting.at) == (dying.name, None)
    with time_machine.travel(now + timedelta(seconds=9)):
        (dead,) = stops.of(tenant, generation=tenant.key_generation, since=now)
    assert dead.at == now + timedelta(seconds=7)


def test_a_dead_process_counts_no_earlier_than_its_copies_do() -> None:
    assert stops.SILENT.total_seconds() >= snapshots.TOO_OLD + snapshots.HEARTBEAT + 2 * 0.5 + 1


def test_it_ends_by_itself_and_when_somebody_presses_suspend(
    tenant: Tenant, alice: Member, active: KeyRegistration, drill: RevocationDrill
) -> None:
    RevocationDrill.objects.update(until=timezone.now() - timedelta(seconds=1))
    assert look(drill).status == Status.EXPIRED
    assert health_of(active).dense_until is None
    second = services.start_drill(tenant, actor=acting(alice))
    assert second.pk != drill.pk
    services.suspend(tenant, reason="really", actor=acting(alice))
    assert look(second).status == Status.CANCELLED
    assert second.reason == "the key was suspended by your organisation"
    assert AuditEvent.objects.filter(name="keys.drill.ended").count() == 2


def test_one_drill_at_a_time_for_those_who_may_on_a_key_that_serves(
    tenant: Tenant, alice: Member, bob: Member, active: KeyRegistration, drill: RevocationDrill
) -> None:
    assert services.start_drill(tenant, actor=acting(alice)).pk == drill.pk
    with pytest.raises(NotAllowed):
        services.cancel_drill(drill, actor=acting(bob))
    assert services.cancel_drill(drill, actor=acting(alice)).status == Status.CANCELLED
    assert services.cancel_drill(drill, actor=acting(alice)).reason == "cancelled"
    assert AuditEvent.objects.filter(name="keys.drill.ended").count() == 1
    with pytest.raises(NotAllowed):
        services.start_drill(tenant, actor=acting(bob))
    services.suspend(tenant, reason="incident", actor=acting(alice))
    with pytest.raises(errors.RegistrationBusy):
        services.start_drill(tenant, actor=acting(alice))


def test_a_tenant_without_a_key_has_nothing_to_rehearse(tenant: Tenant, alice: Member) -> None:
    with pytest.raises(errors.KeyNotActive):
        services.start_drill(tenant, actor=acting(alice))


def test_a_request_may_meet_the_refusal_before_any_probe(
    tenant: Tenant, customer: Customer, active: KeyRegistration, drill: RevocationDrill
) -> None:
    customer.kms.disable_key(KeyId=customer.key_arn)
    active.refresh_from_db()
    health.denied(active, errors.KeyDisabled(aws_code="DisabledException", action="kms:Decrypt"))
    measuring.follow(drill.pk)
    drill.refresh_from_db()
    assert drill.status == Status.WAITING_FOR_KEY
    assert drill.refused_code == "kms_key_disabled"


# --- entry points ---------------------------------------------------------------------------------------------------


def test_the_api_starts_shows_and_cancels(
    tenant: Tenant,
    alice: Member,
    mallory: Member,
    service: ServiceAccount,
    active: KeyRegistration,
    api_of: Callable[..., Client],
) -> None:
    api, base = api_of(alice), f"/api/v1/tenants/{tenant.pk}/key"
    made = api.post(f"{base}/drills", {}, content_type="application/json", headers={"Idempotency-Key": "d-1"})
    assert made.status_code == 201
    assert made["Location"].endswith(f"/key/drills/{made.json()['id']}")
    again = api.post(f"{base}/drills", {}, content_type="application/json", headers={"Idempotency-Key": "d-1"})
    assert again.json() == made.json()
    found = api.get(made["Location"]).json()
    assert (found["status"], found["bound_seconds"], found["stopped_after"]) == ("waiting_for_refusal", 300, None)
    assert [one["id"] for one in api.get(f"{base}/drills").json()["items"]] == [found["id"]]
    assert api_of(mallory).get(made["Location"]).status_code == 404
    assert api_of(service).get(made["Location"]).status_code == 403
    assert api.post(f"{made['Location']}/cancel", {}, content_type="application/json").json()["status"] == "cancelled"
    assert api.get(f"{base}/drills/nonsense").status_code == 404


def test_the_api_says_who_has_dropped_what(
    tenant: Tenant,
    alice: Member,
    active: KeyRegistration,
    processes: list[ServingProcess],
    api_of: Callable[..., Client],
) -> None:
    api, base = api_of(alice), f"/api/v1/tenants/{tenant.pk}/key"
    assert api.get(f"{base}/cache-drop").status_code == 404
    assert api.post(f"{base}/drop-caches", {"reason": "r"}, content_type="application/json").status_code == 200
    waiting = api.get(f"{base}/cache-drop").json()
    assert (waiting["is_over"], len(waiting["processes"])) == (False, 3)
    heartbeat(*processes)
    done = api.get(f"{base}/cache-drop").json()
    assert done["is_over"] is True


def test_the_portal_leads_through_a_drill(
    tenant: Tenant,
    alice: Member,
    bob: Member,
    customer: Customer,
    active: KeyRegistration,
    probe_now: Probe,
    browser_of: Callable[..., Client],
) -> None:
    portal, base = browser_of(alice), f"/tenants/{tenant.pk}/key/drills/"
    assert "Start a drill" in portal.get(base).content.decode()
    page = portal.post(base)["Location"]
    assert f"aws kms disable-key --region eu-central-1 --key-id {customer.key_arn}" in portal.get(page).content.decode()
    customer.kms.disable_key(KeyId=customer.key_arn)
    probe_now(active)
    health.follow_drills()
    live = portal.get(f"{page}live/").content.decode()
    assert "aws kms enable-key" in live and "<html" not in live
    assert words.of("kms_key_disabled") in live
    assert browser_of(bob).get(page).status_code == 200
    assert browser_of(bob).post(f"{page}cancel/").status_code == 403
    assert browser_of(bob).post(base).status_code == 403
    assert portal.post(f"{page}cancel/").status_code == 302
    over = portal.get(page).content.decode()
    assert "enable it again" in over and "hx-get" not in over
    assert "Start a drill" in portal.get(base).content.decode()
    assert "suspended" in portal.post(base).content.decode()  # refused with words: AWS refuses the key at this moment
