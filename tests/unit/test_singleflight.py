"""A call that many wait for: what it ends with is everybody's, an error too, whatever its type."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import InterfaceError, OperationalError

from byokportal import deadline
from byokportal.errors import DatabaseUnavailable, own
from byokportal.singleflight import Singleflight, StillUnderWay
from keys import errors
from keys.datakeys.bulkhead import Bulkhead

FOLLOWERS = 7


class Odd(Exception):
    """An error whose constructor does not take its `args`, like many of other people's."""

    def __init__(self, *, status: int) -> None:
        super().__init__(f"status {status}", status)
        self.status = status


class Slotted(Exception):
    __slots__ = ("code",)

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def caused() -> OperationalError:
    """Return an error as Django raises it: what the database driver said is its cause."""
    error = OperationalError("deadlock detected")
    error.__cause__ = ValueError("40P01")
    return error


FAILURES = [
    errors.KeyAccessDenied(aws_code="AccessDeniedException", action="kms:Decrypt", aws_request_id="r-1"),
    DatabaseUnavailable(retry_after=2),
    caused(),
    InterfaceError("connection already closed"),
    RuntimeError("a bug"),
    KeyError("name"),
    OSError(104, "Connection reset by peer"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    ConnectionResetError(104, "Connection reset by peer"),
    Odd(status=500),
    Slotted("x"),
    SystemExit(3),
]


def together(call: Callable[[Callable[[], None]], object], error: BaseException) -> list[BaseException | None]:
    """Let one lead and the others follow; return what each of them got."""
    begun, go = threading.Event(), threading.Event()

    def fail() -> None:
        begun.set()
        assert go.wait(10)
        raise error

    def one(_: int) -> BaseException | None:
        try:
            call(fail)
        except BaseException as got:  # the point of it
            return got
        return None

    with ThreadPoolExecutor(FOLLOWERS + 1) as pool:
        first = pool.submit(one, 0)
        assert begun.wait(10)
        others = [pool.submit(one, number) for number in range(FOLLOWERS)]
        while pool._work_queue.qsize():  # all of them have begun; a moment later they wait
            threading.Event().wait(0.01)
        threading.Event().wait(0.1)
        go.set()
        return [first.result(10), *(other.result(10) for other in others)]


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
def test_every_follower_gets_the_error_of_the_leader_as_its_own(error: BaseException) -> None:
    singleflight: Singleflight[None] = Singleflight()
    got = together(lambda fail: singleflight.do("name", fail), error)
    assert got[0] is error
    assert {type(one) for one in got} == {type(error)}
    assert {str(one) for one in got} == {str(error)}
    assert {one.__cause__ for one in got if one} == {error.__cause__}
    assert all(vars(one) == vars(error) for one in got if not isinstance(one, errors.DomainError))
    assert len({id(one) for one in got}) == FOLLOWERS + 1, "a raised error collects the tracebacks of all who raise it"


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
def test_whoever_waits_for_a_seat_gets_it_too(error: BaseException) -> None:
    """The bulkhead joins a call under way when the tenant's seats are all taken."""
    walls = Bulkhead(4)
    got = together(lambda fail: walls.call("tenant", "name", fail), error)  # type: ignore[arg-type]
    assert {type(one) for one in got} == {type(error)}
    assert {str(one) for one in got} == {str(error)}


def test_an_error_of_ones_own_is_raised_without_the_traceback_of_others() -> None:
    try:
        raise OSError(2, "No such file", "name")
    except OSError as raised:
        made = own(raised)
    assert made.__traceback__ is None
    assert (made.errno, made.filename) == (2, "name")  # type: ignore[attr-defined]


def test_a_call_that_takes_too_long_for_one_goes_on_for_the_others() -> None:
    singleflight: Singleflight[int] = Singleflight()
    begun, go = threading.Event(), threading.Event()

    def slow() -> int:
        begun.set()
        assert go.wait(10)
        return 7

    with ThreadPoolExecutor(1) as pool:
        leader = pool.submit(singleflight.do, "name", slow)
        assert begun.wait(10)
        with pytest.raises(StillUnderWay):
            singleflight.join("name", 0.01)
        go.set()
        assert leader.result(10) == 7
    assert singleflight.join("name", 0.01) is None


def test_who_waits_for_anothers_question_to_the_database_waits_no_longer_than_its_own_budget() -> None:
    flight: Singleflight[int] = Singleflight()
    asked, go = threading.Event(), threading.Event()

    def silent() -> int:
        asked.set()
        go.wait(10)
        return 1

    leader = threading.Thread(target=lambda: flight.do("tenant", silent, asks_database=True))
    leader.start()
    assert asked.wait(5)
    try:
        with deadline.at_most(0.05), pytest.raises(DatabaseUnavailable):
            flight.do("tenant", silent, asks_database=True)
    finally:
        go.set()
        leader.join()
