"""The time of the database, counted on between two answers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext

from byokportal import clock


class Here:
    """A monotonic clock that is held."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def here(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Here]:
    settings.CLOCK = "database"
    held = Here()
    monkeypatch.setattr(clock, "monotonic", held)
    clock.forget()
    yield held
    clock.forget()


@pytest.mark.django_db
def test_it_asks_once_and_counts_on(here: Here) -> None:
    with CaptureQueriesContext(connection) as queries:
        first = clock.now()
        here.now += 9
        assert clock.now() - first == timedelta(seconds=9)
        assert len(queries) == 1
        here.now += 2
        clock.now()
        assert len(queries) == 2
        here.now += 10_000
        clock.recent(), clock.seconds()  # the way of a request asks nothing
        assert len(queries) == 2


@pytest.mark.django_db
def test_a_wrong_machine_knows_the_databases_time(here: Here) -> None:
    right = datetime.now(UTC)
    with time_machine.travel(right - timedelta(hours=3)):
        assert abs(clock.now() - right) < timedelta(minutes=1)


def test_the_offset_stays_within_what_each_answer_allows_and_does_not_jump_with_a_slow_one(here: Here) -> None:
    began = here.now
    here.now += 2.0  # an answer that took two seconds: 5000 was read at some time between
    clock.saw(5_000.0, began=began)
    assert clock.seconds() == pytest.approx(5_001.0, abs=0.002)
    began = here.now
    here.now += 0.01
    clock.saw(5_000.6, began=began)  # a quick one: off by at most a hundredth of a second
    assert 5_000.6 <= clock.seconds() <= 5_000.62
    known = clock.seconds() - here.now
    began = here.now
    here.now += 4.0
    clock.saw(5_002.0, began=began)  # slow, and it fits: nothing moves
    assert clock.seconds() - here.now == pytest.approx(known)


def test_two_processes_hours_apart_are_for_tests(tmp_path: Any) -> None:
    told = subprocess.run(
        [sys.executable, "-c", "import byokportal.settings"],
        env={
            "PATH": "",
            "SECRET_KEY": "x",
            "AWS_MODE": "real",
            "CLOCK_SKEW": "3600",
            "DATABASE_URL": "postgres://x@localhost/x",
            "AWS_ACCOUNT_ID": "111122223333",
            "CANARY_ACCOUNT_ID": "444455556666",
            "VAR_DIR": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode != 0
    assert "CLOCK_SKEW" in told.stderr


def test_a_process_whose_machine_is_wrong(tmp_path: Any) -> None:
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            (
                "import time, byokportal.settings; from django.utils import timezone; "
                "print(time.time(), timezone.now().timestamp())"
            ),
        ],
        env={"PATH": "", "SECRET_KEY": "x", "EMBEDDED": "1", "CLOCK_SKEW": "-7200", "VAR_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    right = datetime.now(UTC).timestamp()
    assert all(abs(float(text) + 7200 - right) < 60 for text in told.stdout.split())
