"""Fair shares: a caller and a tenant get what is theirs in a second, bulk waits for those who wait for one key."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import time_machine
from django.core.cache import cache
from django.test import Client
from redis.exceptions import ConnectionError as CacheGone

from byokportal.errors import RateLimited
from keys.datakeys.http import priority
from keys.models import KeyRegistration
from tenants import limits
from tenants.models import ServiceAccount, Tenant

JSON = "application/json"
NOON = "2026-06-01T12:00:00+00:00"


@pytest.fixture(autouse=True)
def _fresh(settings: Any) -> Iterator[None]:
    settings.DATA_KEYS_PER_CALLER, settings.DATA_KEYS_PER_TENANT = 100, 150
    cache.clear()
    limits.forget_all()
    yield
    cache.clear()
    limits.forget_all()


def granted(caller: str, tenant: str, weight: int = 1, tries: int = 500) -> int:
    """Try so many times in one held second, and return how many were given; what was asked for in the background arrives."""
    count = 0
    for _ in range(tries):
        try:
            limits.take(caller, tenant, weight)
        except RateLimited:
            limits._asking.submit(int).result()  # one thread, in order: no lease is under way behind this
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


def test_many_threads_and_processes_together_get_no_more_than_the_share() -> None:
    with time_machine.travel(NOON, tick=False):
        with ThreadPoolExecutor(16) as pool:
            threads = sum(pool.map(lambda _: granted("a", "t", tries=100), range(16)))
        limits._leases.clear()  # another process: it has no lease, and the same shared cache
        assert threads == 100
        assert granted("a", "t") == 0


def test_a_process_asks_the_shared_cache_seldom_once_it_is_busy(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    settings.DATA_KEYS_PER_CALLER = settings.DATA_KEYS_PER_TENANT = 10_000
    asked: list[str] = []
    real = cache.incr
    monkeypatch.setattr(cache, "incr", lambda key, delta: asked.append(key) or real(key, delta))
    with time_machine.travel(NOON, tick=False):
        granted("a", "t", tries=2000)
    asked.clear()
    with time_machine.travel("2026-06-01T12:00:01+00:00", tick=False):
        assert granted("a", "t", tries=2000) == 2000
    assert len(asked) <= 2 * 5


def test_without_the_shared_cache_a_process_goes_on_with_the_share_counted_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def gone(*_: Any, **__: Any) -> None:
        raise CacheGone("gone")

    monkeypatch.setattr(cache, "add", gone)
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


def test_bulk_takes_an_eighth_of_the_threads_and_three_times_as_many_wait() -> None:
    lane, leave, inside = priority.Lane(8), threading.Event(), threading.Semaphore(0)
    outcomes: list[str] = []

    def work() -> None:
        try:
            with lane.bulk():
                inside.release()
                leave.wait(5)
            outcomes.append("done")
        except RateLimited:
            outcomes.append("refused")

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    assert inside.acquire(timeout=5)
    assert not inside.acquire(timeout=0.1)  # the second waits
    leave.set()
    for worker in workers:
        worker.join()
    assert outcomes.count("done") == 4
    assert outcomes.count("refused") == 4


def test_few_items_go_past_the_bulk_lane() -> None:
    with priority.lane(priority.FEW) as nothing:
        assert nothing is None
