"""What a process remembers: for five seconds, and looked up again in the background before they are over."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from byokportal.errors import NotAuthenticated
from tenants import memory
from tenants.memory import Memory


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(memory, "clock", clock)
    return clock


@pytest.fixture
def renewals(monkeypatch: pytest.MonkeyPatch, settings: Any) -> list[Any]:
    """What would be looked up in the background; a test does it when it likes."""
    settings.DATA_KEY_THREADS = True
    waiting: list[Any] = []
    pool = SimpleNamespace(submit=lambda renew, *arguments: waiting.append(lambda: renew(*arguments)))
    monkeypatch.setattr(memory, "_renewals", pool)
    monkeypatch.setattr(memory, "connection", SimpleNamespace(close=lambda: None))
    return waiting


def never() -> str:
    raise AssertionError("it is remembered")


def test_an_answer_is_remembered_until_its_end(at: Clock, settings: Any) -> None:
    found: Memory[str] = Memory()
    assert found.get("key", never) is None
    assert found.look_up("key", lambda: "value") == "value"
    at.now += memory.AGAIN - 0.1
    assert found.get("key", never) == "value"
    at.now += memory.SECONDS
    assert found.get("key", never) is None


def test_it_counts_from_before_it_was_looked_up(at: Clock) -> None:
    def slow() -> str:
        at.now += memory.SECONDS - 0.1
        return "value"

    found: Memory[str] = Memory()
    found.look_up("key", slow)
    at.now += 0.2
    assert found.get("key", never) is None


def test_it_is_looked_up_again_once_and_nobody_waits_for_that(at: Clock, renewals: list[Any]) -> None:
    found: Memory[str] = Memory()
    found.look_up("key", lambda: "old")
    at.now += memory.AGAIN + 0.1
    assert [found.get("key", lambda: "new") for _ in range(4)] == ["old"] * 4
    (renew,) = renewals
    renew()
    assert found.get("key", never) == "new"
    at.now += memory.SECONDS - 0.1
    assert found.get("key", lambda: "newer") == "new"
    assert len(renewals) == 2


def test_a_no_ends_it_at_once(at: Clock, renewals: list[Any]) -> None:
    def refuse() -> str:
        raise NotAuthenticated

    found: Memory[str] = Memory()
    found.look_up("key", lambda: "value")
    at.now += memory.AGAIN + 0.1
    assert found.get("key", refuse) == "value"
    renewals[0]()
    assert found.get("key", never) is None


def test_nothing_is_remembered_beyond_its_end_when_looking_again_failed(at: Clock, renewals: list[Any]) -> None:
    def broken() -> str:
        raise RuntimeError("no database")

    found: Memory[str] = Memory()
    found.look_up("key", lambda: "value")
    at.now += memory.AGAIN + 0.1
    assert found.get("key", broken) == "value"
    renewals[0]()
    at.now += memory.SECONDS - memory.AGAIN - 0.2
    assert found.get("key", never) == "value"
    at.now += 0.2
    assert found.get("key", never) is None
    assert len(renewals) == 1


def test_many_who_miss_it_at_once_look_it_up_once() -> None:
    found: Memory[int] = Memory()
    asked, go, ready = [], threading.Event(), threading.Barrier(9)

    def ask() -> int:
        asked.append(1)
        go.wait(5)
        return 1

    def one() -> None:
        ready.wait(5)
        found.look_up("key", ask)

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    ready.wait(5)
    # Those who come while it is asked wait for its answer; one that comes late asks once more.
    threading.Event().wait(0.2)
    go.set()
    for thread in threads:
        thread.join()
    assert len(asked) == 1
