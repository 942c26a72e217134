"""Fair shares: a caller and a tenant get what is theirs in a second, bulk waits for those who wait for one key."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.test import Client

from byokportal import clock
from byokportal.errors import RateLimited
from keys.datakeys import snapshots
from keys.datakeys.cache import BranchKeys
from keys.models import CacheDrop, KeyRegistration, ServingProcess
from tenants import limits
from tenants.models import ServiceAccount, Tenant

JSON = "application/json"
NOON = "2026-06-01T12:00:00+00:00"
NOON_SECONDS = datetime.fromisoformat(NOON).timestamp()


@pytest.fixture(autouse=True)
def _fresh(settings: Any) -> Iterator[None]:
    settings.DATA_KEYS_PER_CALLER, settings.DATA_KEYS_PER_TENANT = 100, 150
    limits.forget_all()
    yield
    limits.forget_all()


def granted(caller: str, tenant: str, weight: int = 1, tries: int = 500) -> int:
    """Try so many times in one held second, and return how many keys were given."""
    count = 0
    for _ in range(tries):
        try:
            limits.take(caller, tenant, weight)
        except RateLimited:
            continue
        count += weight
    return count


def test_a_caller_gets_its_share_and_the_tenant_its_own() -> None:
    with time_machine.travel(NOON, tick=False):
        assert granted("a", "t") == 100
        assert granted("b", "t") == 50  # what is left of the tenant's
        assert granted("b", "u") <= 50
    with time_machine.travel("2026-06-01T12:00:01+00:00", tick=False):
        assert granted("a", "t") == 100


def test_items_weigh_and_a_batch_above_the_whole_share_takes_all_of_it() -> None:
    with time_machine.travel(NOON, tick=False):
        assert granted("a", "t", weight=30) == 90
        limits.take("c", "u", 1000)
        with pytest.raises(RateLimited):
            limits.take("c", "u", 1)


def test_a_batch_above_the_share_is_paid_from_the_next_seconds() -> None:
    with time_machine.travel(NOON, tick=False):
        limits.take("c", "u", 250)
        with pytest.raises(RateLimited) as refused:
            limits.take("c", "v", 1)
        assert refused.value.retry_after == 2
    with time_machine.travel("2026-06-01T12:00:01+00:00", tick=False):
        assert granted("c", "v") == 0
    with time_machine.travel("2026-06-01T12:00:02+00:00", tick=False):
        assert granted("c", "v") == 50


def test_who_is_refused_for_the_tenant_pays_nothing_of_its_own() -> None:
    with time_machine.travel(NOON, tick=False):
        limits.take("a", "t", 100)
        limits.take("b", "t", 50)
        assert granted("c", "t") == 0
        assert granted("c", "u") == 100


def test_many_threads_together_get_no_more_than_the_share() -> None:
    with time_machine.travel(NOON, tick=False):
        with ThreadPoolExecutor(16) as pool:
            threads = sum(pool.map(lambda _: granted("a", "t", tries=100), range(16)))
        assert threads == 100
        assert granted("a", "t") == 0


@pytest.mark.parametrize("weight", [1, 30, 100])
def test_busy_processes_together_give_out_the_share_and_no_more_than_rounding_on_top(weight: int) -> None:
    """Each turn is one process: it knows how many there are, and nothing of the others."""
    processes, seconds, given = 7, 60, 0
    for _ in range(processes):
        limits.forget_all()
        limits.set_processes(processes)
        for second in range(seconds):
            with time_machine.travel(NOON_SECONDS + second, tick=False):
                given += granted("a", f"t{second}", weight=weight, tries=30)
    # What a process may owe at the end is one batch.
    assert 100 * seconds - processes * weight <= given <= (100 + processes) * seconds + processes * weight


def test_a_share_is_divided_by_the_processes_that_are_alive(db: None) -> None:
    known = snapshots.Snapshots(BranchKeys())
    now = clock.now()
    for age in (0, 1, 3, 20):  # the last one has ended
        ServingProcess.objects.create(name="web", started_at=now, seen_at=now - timedelta(seconds=age))
    known._watch = threading.current_thread()  # as if it were the one that looks
    known.look()
    with time_machine.travel(NOON, tick=False):
        assert granted("a", "t") == 25


def test_where_no_thread_watches_a_process_counts_as_the_only_one(db: None) -> None:
    for _ in range(3):
        ServingProcess.objects.create(name="web")
    known = snapshots.Snapshots(BranchKeys())
    known._drops.append(CacheDrop(tenant_id=uuid4(), process_id=known.process, generation=1, count=0, at=clock.now()))
    known.look()
    assert ServingProcess.objects.filter(pk=known.process).exists()  # it has written its heartbeat
    with time_machine.travel(NOON, tick=False):
        assert granted("a", "t") == 100


def test_a_used_up_share_is_a_429_that_says_when_to_come_again(
    tenant: Tenant, active: KeyRegistration, service: ServiceAccount, api_of: Callable[..., Client], settings: Any
) -> None:
    settings.DATA_KEYS_PER_TENANT = 3
    api, path = api_of(service), f"/api/v1/tenants/{tenant.pk}/data-keys"
    with time_machine.travel(time.time() + 1, tick=False):
        assert api.post(path, {"items": [{}] * 3}, content_type=JSON).status_code == 200
        refused = api.post(path, {}, content_type=JSON)
    problem = refused.json()
    assert (refused.status_code, refused["Retry-After"], problem["code"]) == (429, "1", "rate_limited")
    assert (problem["retryable"], problem["retry_after"], problem["whose_turn"]) == (True, 1, "caller")
