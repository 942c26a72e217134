"""What a process remembers: for five seconds, and one request looks it up again before they are over."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from tenants import memory
from tenants.memory import Memory


def test_an_answer_is_remembered_until_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "AGAIN", 99)
    found: Memory[str] = Memory()
    found.put("key", "value", asked_at=time.monotonic())
    assert found.get("key") == "value"
    found.put("key", "value", asked_at=time.monotonic() - memory.SECONDS)
    assert found.get("key") is None


def test_one_is_sent_to_look_again_while_the_others_use_what_is_remembered() -> None:
    found: Memory[str] = Memory()
    found.put("key", "value", asked_at=time.monotonic() - memory.AGAIN)
    assert [found.get("key") for _ in range(4)] == [None, "value", "value", "value"]


def test_nothing_is_remembered_beyond_its_end_when_looking_again_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(memory, "time", SimpleNamespace(monotonic=lambda: now[0]))
    found: Memory[str] = Memory()
    found.put("key", "value", asked_at=now[0] - memory.SECONDS + 0.05)
    assert [found.get("key"), found.get("key")] == [None, "value"]
    now[0] += 0.06
    assert found.get("key") is None
