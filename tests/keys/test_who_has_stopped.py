"""Which processes have stopped: what each one has read counts, and no time,
because a stop is committed later than it says."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from conftest import acting, acting_staff, heartbeat
from django.contrib.auth.models import User
from django.db import connection, transaction
from silence import in_a_thread_of_its_own

from byokportal import clock
from keys import datakeys, services
from keys.datakeys import Engine, admission
from keys.models import KeyRegistration, ServingProcess
from tenants.models import Member, Tenant

pytestmark = pytest.mark.django_db(transaction=True)

STOPS: dict[str, Callable[[Tenant, Member, User], Any]] = {
    "suspend": lambda tenant, alice, sam: services.suspend(tenant, reason="x", actor=acting(alice)),
    "ours": lambda tenant, alice, sam: services.suspend(tenant, reason="x", actor=acting_staff(sam)),
    "drop": lambda tenant, alice, sam: services.drop_caches(tenant, reason="x", actor=acting(alice)),
    "latency": lambda tenant, alice, sam: services.set_latency(tenant, seconds=0, actor=acting(alice)),
}


def process(name: str, **facts: Any) -> ServingProcess:
    return ServingProcess.objects.create(name=name, started_at=clock.now() - timedelta(hours=1), **facts)


def stopped(tenant: Tenant) -> dict[str, bool]:
    drop = services.last_drop(tenant)
    assert drop is not None
    return {one.name: one.at is not None for one in drop.processes}


@pytest.mark.parametrize("stop", STOPS)
def test_who_looked_between_the_time_of_a_stop_and_its_commit_has_not_stopped(
    stop: str, tenant: Tenant, alice: Member, sam: User, active: KeyRegistration
) -> None:
    looked, before = process("web-1:1"), admission.ask().snapshot
    STOPS[stop](tenant, alice, sam)
    ServingProcess.objects.filter(pk=looked.pk).update(seen_at=clock.now(), seen_snapshot=before)
    assert stopped(tenant) == {"web-1:1": False}
    heartbeat(looked)
    assert stopped(tenant) == {"web-1:1": True}


def test_the_same_with_two_connections(tenant: Tenant, alice: Member, active: KeyRegistration) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer at a time")
    looked = process("web-1:1")
    with transaction.atomic():
        services.drop_caches(tenant, reason="x", actor=acting(alice))
        in_a_thread_of_its_own(lambda: heartbeat(looked))
    assert stopped(tenant) == {"web-1:1": False}
    heartbeat(looked)
    assert stopped(tenant) == {"web-1:1": True}


def test_a_process_that_began_before_the_commit_counts_and_one_that_began_after_it_does_not(
    tenant: Tenant, alice: Member, active: KeyRegistration
) -> None:
    before = admission.ask().snapshot
    services.drop_caches(tenant, reason="x", actor=acting(alice))
    later = {"started_at": clock.now() + timedelta(seconds=1), "seen_snapshot": before}
    ServingProcess.objects.create(name="web-1:1", started_snapshot=before, **later)
    ServingProcess.objects.create(name="web-2:1", started_snapshot=admission.ask().snapshot, **later)
    assert stopped(tenant) == {"web-1:1": False}


def test_a_process_writes_what_it_has_read(tenant: Tenant, alice: Member, active: KeyRegistration) -> None:
    datakeys.start_anew()
    engine = Engine()
    datakeys.generate(tenant, [{"object": "1"}], caller="tests", request_id="r", engine=engine)
    services.drop_caches(tenant, reason="x", actor=acting(alice))
    engine.snapshots.look()  # it held a key, so it writes
    row = ServingProcess.objects.get(pk=engine.snapshots.process)
    assert row.started_snapshot and row.seen_snapshot and row.started_snapshot != row.seen_snapshot
    other = KeyRegistration.objects.get(pk=active.pk)
    services.suspend(other.tenant, reason="x", actor=acting(alice))
    assert stopped(tenant) == {row.name: False}
    engine.snapshots.look()
    assert stopped(tenant) == {row.name: True}


def test_what_was_purged_is_counted_whoever_notes_the_stop_meanwhile(
    tenant: Tenant, alice: Member, active: KeyRegistration, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A denial purges in one thread while another reads that the tenant was stopped."""
    engine = Engine()
    datakeys.generate(tenant, [{"object": "1"}], caller="tests", request_id="r", engine=engine)
    generation = Tenant.objects.get(pk=tenant.pk).key_generation + 1
    noting = threading.Thread(target=engine.snapshots._note_generation, args=(tenant.pk, generation))
    drop = engine.keys.drop

    def dropped_while_another_notes(*args: Any) -> int:
        count = drop(*args)
        if not noting.ident:
            noting.start()
            noting.join(0.2)
        return count

    monkeypatch.setattr(engine.keys, "drop", dropped_while_another_notes)
    engine.snapshots.purge(tenant.pk)
    noting.join()
    assert [one.count for one in engine.snapshots._drops] == [1]


def test_who_finds_a_generation_noted_finds_its_drop_too(
    tenant: Tenant, active: KeyRegistration, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look writes *every stop that I have read is dropped here*, also of what a request has just noted."""
    engine, found = Engine(), []
    datakeys.generate(tenant, [{"object": "1"}], caller="tests", request_id="r", engine=engine)
    generation = Tenant.objects.get(pk=tenant.pk).key_generation + 1

    def look() -> None:
        engine.snapshots._note_generation(tenant.pk, generation)
        found.extend(engine.snapshots._drops)

    looking, drop = threading.Thread(target=look), engine.keys.drop

    def dropped_while_another_looks(*args: Any) -> int:
        looking.start()
        looking.join(0.2)
        return drop(*args)

    monkeypatch.setattr(engine.keys, "drop", dropped_while_another_looks)
    engine.snapshots._note_generation(tenant.pk, generation)
    looking.join()
    assert [one.generation for one in found] == [generation]
