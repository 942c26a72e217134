"""One tenant whose AWS hangs: how many threads it holds, who is told to come back, and when it is asked again."""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from byokportal.errors import DomainError
from keys import errors
from keys.datakeys import bulkhead
from keys.datakeys.bulkhead import Bulkhead

SICK, WELL = uuid.UUID(int=1), uuid.UUID(int=2)


class Aws:
    """An AWS that answers when it is let; it counts who waits in it."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.calls = 0
        self._lock = threading.Lock()

    def __call__(self) -> str:
        with self._lock:
            self.calls += 1
        assert self.answers.wait(20)
        return "opened"


def throttled() -> None:
    raise errors.AwsThrottled(aws_code="Throttling", action="kms:Decrypt", aws_request_id="")


def outcome(call: Callable[[], Any]) -> str:
    try:
        call()
    except DomainError as error:
        return error.code
    return "served"


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60  # only so that a failure ends
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_hanging_tenant_holds_a_tenth_and_the_others_nothing_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulkhead, "WAIT_AT_MOST", 0.2)
    walls, aws = Bulkhead(40), Aws()
    told: Counter[str] = Counter()
    inside = threading.Semaphore(0)

    def ask(number: int) -> None:
        told[outcome(lambda: walls.call(SICK, number, aws))] += 1
        inside.release()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for _ in range(36):  # all but a tenth have been told, while AWS is still silent
        assert inside.acquire(timeout=10)
    assert aws.calls == 4
    assert told == {"aws_unreachable": 36}
    with pytest.raises(errors.AwsUnreachable) as at_once:  # AWS is still silent: who waited for it would wait for ever
        walls.call(SICK, "late", aws)
    assert aws.calls == 4
    assert at_once.value.retryable
    assert at_once.value.retry_after
    assert walls.call(WELL, "x", lambda: "opened") == "opened"
    aws.answers.set()
    for thread in threads:
        thread.join()
    assert told == {"aws_unreachable": 36, "served": 4}
    assert walls.call(SICK, "again", aws) == "opened"
    assert not walls._of  # nobody waits, nobody failed: nothing is remembered


def test_a_thousand_who_want_the_same_wait_for_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulkhead, "WAIT_AT_MOST", 10)
    walls, aws = Bulkhead(40), Aws()
    with ThreadPoolExecutor(200) as pool:
        asked = [pool.submit(outcome, lambda: walls.call(SICK, "same", aws)) for _ in range(200)]
        until(lambda: aws.calls == 1)
        time.sleep(0.05)
        aws.answers.set()
        assert Counter(one.result() for one in asked) == {"served": 200}
    assert aws.calls == 1


def test_what_nobody_may_share_goes_one_after_the_other_through_the_seats() -> None:
    walls, lock, most, now = Bulkhead(20), threading.Lock(), [0], [0]

    def ask() -> str:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.002)
        with lock:
            now[0] -= 1
        return "opened"

    with ThreadPoolExecutor(16) as pool:
        asked = [pool.submit(outcome, lambda: walls.call(SICK, None, ask)) for _ in range(64)]
        assert Counter(one.result() for one in asked) == {"served": 64}
    assert most[0] == 2


def test_the_circuit_opens_after_three_failures_and_one_call_tries_again() -> None:
    now = [0.0]
    walls, asked = Bulkhead(40, monotonic=lambda: now[0]), [0]

    def fails() -> None:
        asked[0] += 1
        throttled()

    assert [outcome(lambda: walls.call(SICK, "x", fails)) for _ in range(5)] == ["aws_throttled"] * 3 + [
        "aws_unreachable"
    ] * 2
    assert asked[0] == 3
    assert walls.is_open(SICK)
    assert not walls.is_open(WELL)
    now[0] += bulkhead.PAUSE
    assert outcome(lambda: walls.call(SICK, "x", fails)) == "aws_throttled"  # one tries …
    assert outcome(lambda: walls.call(SICK, "x", fails)) == "aws_unreachable"  # … and the circuit is open again
    now[0] += bulkhead.PAUSE
    assert outcome(lambda: walls.call(SICK, "x", lambda: None)) == "served"
    assert [outcome(lambda: walls.call(SICK, "x", fails)) for _ in range(2)] == ["aws_throttled"] * 2  # counted anew
    assert not walls.is_open(SICK)


def test_while_one_call_tries_again_nobody_waits() -> None:
    now = [0.0]
    walls, aws = Bulkhead(40, monotonic=lambda: now[0]), Aws()
    for _ in range(bulkhead.FAILURES):
        assert outcome(lambda: walls.call(SICK, "x", throttled)) == "aws_throttled"
    now[0] += bulkhead.PAUSE
    trying = threading.Thread(target=lambda: walls.call(SICK, "x", aws))
    trying.start()
    until(lambda: aws.calls == 1)
    for name in ("x", "y", None):
        assert outcome(lambda name=name: walls.call(SICK, name, aws)) == "aws_unreachable"
    aws.answers.set()
    trying.join()
    assert walls.call(SICK, "y", aws) == "opened"


def test_one_time_out_is_enough() -> None:
    now = [0.0]
    walls = Bulkhead(40, monotonic=lambda: now[0])

    def hangs() -> None:
        now[0] += 3
        raise errors.AwsUnreachable(aws_code="ReadTimeoutError", action="kms:Decrypt", aws_request_id="")

    assert outcome(lambda: walls.call(SICK, "x", hangs)) == "aws_unreachable"
    assert walls.is_open(SICK)


def test_a_refusal_is_an_answer() -> None:
    walls = Bulkhead(40)

    def refuses() -> None:
        raise errors.KeyDisabled(aws_code="DisabledException", action="kms:Decrypt", aws_request_id="")

    assert {outcome(lambda: walls.call(SICK, "x", refuses)) for _ in range(10)} == {"kms_key_disabled"}
    assert not walls.is_open(SICK)
