"""What a process remembers is bounded, the idle makes room for the busy, and many threads may use it."""

from __future__ import annotations

import sys
import threading
import time
import uuid
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import settings

from byokportal.lru import Lru
from keys.aws import clients, sessions
from keys.datakeys.cache import BranchKeys
from keys.datakeys.envelope import Secret
from keys.datakeys.snapshots import Snapshots
from tenants import limits
from tenants.memory import Memory


@pytest.fixture
def many_switches() -> Iterator[None]:
    """Let threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_the_idle_makes_room_and_a_look_is_no_use() -> None:
    kept: Lru[str, int] = Lru(3)
    for number, name in enumerate("abc"):
        assert kept.put(name, number) == []
    assert kept.get("a") == 0
    assert kept.peek("b") == 1
    assert kept.put("d", 3) == [1]
    assert kept.put("a", 9) == []
    assert kept.items() == [("c", 2), ("d", 3), ("a", 9)]
    assert (kept.pop("c"), kept.pop("c"), len(kept)) == (2, None, 2)
    kept.trim(lambda value: value == 3)
    assert kept.items() == [("a", 9)]


# --- every cache of the system ---------------------------------------------------------------------------------------


@dataclass
class Cache:
    """One cache as the test uses it: what puts an entry, what uses one, whether one is there."""

    lru: Lru[Any, Any]
    put: Callable[[int], object]
    use: Callable[[int], object]
    key: Callable[[int], Hashable] = lambda number: number


def _callers() -> Cache:
    memory: Memory[int] = Memory()
    return Cache(memory._found, lambda n: memory.look_up(n, lambda: n), lambda n: memory.get(n, lambda: n))


def _shares() -> Cache:
    limits.forget_all()
    count = lambda n: limits._count(f"caller:{n}", int(time.time()), 100)  # noqa: E731
    return Cache(limits._counts, count, count, lambda n: f"caller:{n}")


def _sessions() -> Cache:
    def session(number: int) -> clients.Credentials:
        def assume() -> clients.Credentials:
            return clients.Credentials("a", "s", "t", datetime(2999, 1, 1, tzinfo=UTC), "AROA")

        return sessions._cached(("tenant", str(number)), assume, fresh=False)

    return Cache(sessions._cache, session, session, lambda n: ("tenant", str(n)))


def _branch_keys() -> Cache:
    keys = BranchKeys()

    def put(number: int) -> None:
        keys.put(uuid.UUID(int=number), TENANT, 0, Secret(b"k" * 32), began=keys.start(), lasts=300, session_ends=None)

    return Cache(keys._kept, put, lambda n: keys.take(uuid.UUID(int=n), TENANT, 0), lambda n: uuid.UUID(int=n))


def _standings() -> Cache:
    snapshots = Snapshots(BranchKeys())
    snapshots._looked_at = snapshots._monotonic() + 3600  # nothing is looked up

    def put(number: int) -> None:
        snapshots._copies.put(uuid.UUID(int=number), SimpleNamespace(read_at=snapshots._monotonic()))

    return Cache(snapshots._copies, put, lambda n: snapshots.of(uuid.UUID(int=n)), lambda n: uuid.UUID(int=n))


TENANT = uuid.UUID(int=7)
CACHES = {
    "callers and tenants": _callers,
    "shares": _shares,
    "sessions": _sessions,
    "branch keys": _branch_keys,
    "where tenants stand": _standings,
}


@pytest.fixture
def in_local_mode(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(settings, "AWS_MODE", "real")  # else localaws.json would be looked for
    yield
    sessions.forget_all()
    limits.forget_all()


@pytest.mark.parametrize("name", CACHES)
@pytest.mark.usefixtures("in_local_mode")
def test_a_cache_evicts_the_idle_one(name: str) -> None:
    cache = CACHES[name]()
    cache.lru._at_most = 10
    for number in range(10):
        cache.put(number)
    cache.use(0)  # put in first, and in use
    cache.put(10)
    assert len(cache.lru) == 10
    assert cache.lru.peek(cache.key(0)) is not None
    assert cache.lru.peek(cache.key(1)) is None


def test_an_evicted_branch_key_is_overwritten() -> None:
    keys = BranchKeys(capacity=2)
    made = [
        keys.put(uuid.UUID(int=n), TENANT, 0, Secret(b"k" * 32), began=keys.start(), lasts=300, session_ends=None)
        for n in range(3)
    ]
    assert made[0].secret.reveal() == bytes(32)
    assert keys.drop(TENANT) == 2
    assert [one.secret.reveal() for one in made] == [bytes(32)] * 3


# --- many threads ----------------------------------------------------------------------------------------------------


def _at_once(*works: Callable[[], object], rounds: int = 2000) -> list[BaseException]:
    """Do the works over and over in a thread each; return what was raised."""
    failed: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        try:
            for _ in range(rounds):
                if failed:
                    return
                work()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=[work]) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failed


class Name:
    """A key whose hash is computed in Python, as a UUID's is: another thread may run meanwhile."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __hash__(self) -> int:
        return hash(self.number)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Name) and other.number == self.number


@pytest.mark.usefixtures("many_switches")
def test_many_threads_may_use_it() -> None:
    kept: Lru[Name, int] = Lru(20)
    numbers = iter(range(10**9))
    works = [
        lambda: kept.put(Name(next(numbers) % 40), 1),
        lambda: kept.get(Name(next(numbers) % 40)),
        lambda: kept.pop(Name(next(numbers) % 40)),
        lambda: [key for key, _ in kept.items()],
        kept.values,
    ]
    assert _at_once(*works, *works) == []
    assert len(kept) <= 20


@pytest.mark.usefixtures("many_switches")
def test_standings_are_read_evicted_and_forgotten_at_once() -> None:
    snapshots = Snapshots(BranchKeys())
    snapshots._copies = Lru(5)
    numbers = iter(range(10**9))
    tenant = lambda: uuid.UUID(int=next(numbers) % 12)  # noqa: E731
    works = [
        lambda: snapshots._copies.put(tenant(), SimpleNamespace(read_at=0.0)),
        lambda: snapshots._copies.get(tenant()),  # type: ignore[arg-type]
        lambda: snapshots.forget(tenant()),
    ]
    assert _at_once(*works, *works) == []
    assert len(snapshots._copies) <= 5


@pytest.mark.usefixtures("many_switches")
def test_branch_keys_are_put_dropped_and_swept_at_once() -> None:
    keys = BranchKeys(capacity=6)
    numbers = iter(range(10**9))

    def put() -> None:
        number = next(numbers)
        keys.put(
            uuid.UUID(int=number % 30),
            uuid.UUID(int=number % 3),
            0,
            Secret(b"k" * 32),
            began=keys.start(),
            lasts=300,
            session_ends=None,
        )

    def take() -> None:
        number = next(numbers)
        found = keys.take(uuid.UUID(int=number % 30), uuid.UUID(int=number % 3), 0)
        if found is not None:
            found.release()

    def drop() -> None:
        keys.drop(uuid.UUID(int=next(numbers) % 3))

    assert _at_once(put, put, take, take, drop, keys.sweep, rounds=600) == []
    assert len(keys) <= 6
    assert sum(len(mine) for mine in keys._of.values()) == len(keys)
