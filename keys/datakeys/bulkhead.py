"""How much of this process one tenant's AWS may hold up: a tenth of the threads, and nothing while it does not answer.

A tenant whose KMS hangs keeps every thread that asks it until the time-out. So a tenant has a tenth of the
threads as its seats. Whoever finds them taken waits only as long as the oldest of those calls is young: a thousand
first requests at once are served by one call that answers in a tenth of a second, but a call that has been silent for
`WAIT_AT_MOST` is hanging; all beyond the seats are told at once to come back later. After `FAILURES` calls in a
row without an answer the circuit opens: for `PAUSE` seconds nobody waits at all, then one call tries, and
nobody waits for it.

Cached keys do not come by here: what this bounds is who waits for AWS, not who is served.
"""

from __future__ import annotations

import math
import threading
import uuid
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from django.utils.asyncio import async_unsafe

from byokportal import clock, metrics
from byokportal.errors import DomainError
from byokportal.singleflight import Singleflight, StillUnderWay
from keys import errors

Result = TypeVar("Result")

WAIT_AT_MOST = 0.5  # seconds; STS and KMS together answer in a fifth of that
FAILURES = 3  # calls in a row
SILENT = 1.0  # seconds; a call that failed after that counts for all three
PAUSE = 5.0  # seconds


class _Compartment:
    """One tenant's seats and what its last calls said."""

    __slots__ = ("failures", "inside", "open_until", "seats", "taken")

    def __init__(self, seats: int) -> None:
        self.seats = threading.Semaphore(seats)
        self.taken: dict[int, float] = {}  # thread → since when it sits
        self.inside = 0  # threads that sit or wait for a seat
        self.failures = 0
        self.open_until = 0.0


class Bulkhead:
    """The calls to AWS that requests of this process wait for, tenant by tenant."""

    def __init__(self, threads: int, *, monotonic: Callable[[], float] = clock.monotonic) -> None:
        """
        Args:
            threads: of the process that answer requests.
        """
        self._seats, self._monotonic = max(1, threads // 10), monotonic
        self._singleflight: Singleflight[Any] = Singleflight()
        self._lock = threading.Lock()
        self._of: dict[uuid.UUID, _Compartment] = {}  # only tenants that wait for AWS, or whose last calls failed

    @async_unsafe
    def call(self, tenant: uuid.UUID, name: Hashable | None, ask: Callable[[], Result]) -> Result | None:
        """Make a call to a tenant's AWS, or wait for the one of that name that is under way.

        Args:
            name: None for a call that nobody else may share.

        Returns:
            What the call returned; None when it was waited for, and its result is in the cache.

        Raises:
            AwsUnreachable: the tenant's share is used up by calls that get no answer, or its circuit is open.
            DomainError: what the call raised.
        """
        compartment = self._enter(tenant)
        try:
            left = compartment.open_until - self._monotonic()
            if left > 0:
                raise refused("the last calls got no answer", left)
            if compartment.failures >= FAILURES and compartment.taken:
                raise refused("one call tries whether there is an answer again", PAUSE)
            if not compartment.seats.acquire(blocking=False) and self._served_without_a_seat(compartment, name):
                return None
            return self._seated(compartment, name, ask)
        finally:
            self._leave(tenant, compartment)

    def _served_without_a_seat(self, compartment: _Compartment, name: Hashable | None) -> bool:
        """Wait for the call of that name, or else for a seat; return whether it was the call.

        Raises:
            AwsUnreachable: it took longer than one may wait without a seat.
        """
        left = self._wait_left(compartment)
        try:
            if left > 0 and name is not None and self._singleflight.join(name, left):
                return True
        except StillUnderWay:
            left = 0.0
        if left <= 0 or not compartment.seats.acquire(timeout=left):
            raise refused("too many calls of this tenant wait", PAUSE)
        return False

    def _seated(self, compartment: _Compartment, name: Hashable | None, ask: Callable[[], Result]) -> Result:
        me = threading.get_ident()
        with self._lock:
            compartment.taken[me] = self._monotonic()
        try:
            if name is None:
                return self._judged(compartment, ask)
            result: Result = self._singleflight.do(name, lambda: self._judged(compartment, ask))
            return result
        finally:
            with self._lock:
                del compartment.taken[me]
            compartment.seats.release()

    def is_open(self, tenant: uuid.UUID) -> bool:
        """Tell whether nothing is asked for the tenant now."""
        compartment = self._of.get(tenant)
        return compartment is not None and self._monotonic() < compartment.open_until

    def _enter(self, tenant: uuid.UUID) -> _Compartment:
        with self._lock:
            compartment = self._of.get(tenant)
            if compartment is None:
                compartment = self._of[tenant] = _Compartment(self._seats)
            compartment.inside += 1
            return compartment

    def _leave(self, tenant: uuid.UUID, compartment: _Compartment) -> None:
        """Forget a tenant that nobody waits for and whose last call was answered."""
        with self._lock:
            compartment.inside -= 1
            if not compartment.inside and not compartment.failures:
                del self._of[tenant]

    def _wait_left(self, compartment: _Compartment) -> float:
        """Return how long somebody without a seat may wait: until the oldest call has been silent for too long."""
        with self._lock:
            oldest = min(compartment.taken.values(), default=self._monotonic())
        return WAIT_AT_MOST - (self._monotonic() - oldest)

    def _judged(self, compartment: _Compartment, ask: Callable[[], Result]) -> Result:
        began = self._monotonic()
        try:
            result = ask()
        except (errors.AwsUnreachable, errors.AwsThrottled):
            took = self._monotonic() - began
            compartment.failures += FAILURES if took > SILENT else 1
            if compartment.failures >= FAILURES:
                compartment.open_until = self._monotonic() + PAUSE
            raise
        except DomainError:  # an answer, if not the one that was hoped for
            compartment.failures = 0
            raise
        compartment.failures = 0
        return result


def refused(why: str, seconds: float) -> errors.AwsUnreachable:
    """Return what a caller is told who is not allowed to wait."""
    metrics.BULKHEAD_REFUSALS.inc()
    return errors.AwsUnreachable(
        retry_after=max(1, math.ceil(seconds)), aws_code=why, action="kms:Decrypt", aws_request_id=""
    )
