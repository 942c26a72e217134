"""Unwrapped branch keys in the memory of this process: how long, how often and how many;
pure, with clocks that can be held.

A copy lives until the earlier of (start of its load + the tenant's revocation latency) and the end of the
session that loaded it: absolute, whatever it is used for, and a little less at random, so that keys that were loaded
together are not all loaded again together. Two clocks have to agree that it lives: the database's (`byokportal.clock`),
since others are told when it ends, and this machine's monotonic one. What is dropped is overwritten, once nobody is
wrapping with it any more.
"""

from __future__ import annotations

import random
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import NamedTuple, NoReturn, Self

from byokportal import clock, metrics
from byokportal.lru import Lru
from keys.datakeys.envelope import Secret

MAX_USES = 2**32  # data keys wrapped or opened with one copy
CAPACITY = 20_000  # branch keys; beyond it the one that has been idle longest makes room
JITTER = (0.9, 1.0)  # of the lifetime: it only ever shortens
REFRESH = (0.6, 0.8)  # of the lifetime: from then on the next use asks for a new copy in the background
AGAIN = 0.25  # of what is left of the lifetime: until the next attempt after a refresh that failed
REMEMBER_DROPS = 60.0  # seconds, longer than any load


class Start(NamedTuple):
    """The instant before AWS is asked: what it refuses from then on has to be noticed in time."""

    wall: float
    monotonic: float
    drops: int  # that there had been by then: a load that began before a drop must not bring the key back


class Unwrapped:
    """One branch key, unwrapped. Use it inside `with`: it is not overwritten before the last user is done."""

    __slots__ = (
        "_began",
        "_deadline",
        "_ends",
        "_is_dropped",
        "_lock",
        "_refresh_at",
        "_users",
        "generation",
        "id",
        "is_for_one",
        "load",
        "secret",
        "tenant",
        "until",
        "uses",
    )

    def __init__(
        self,
        key_id: uuid.UUID,
        tenant: uuid.UUID,
        generation: int,
        secret: Secret,
        *,
        ends: float,
        began: float,
        deadline: float,
        refresh_at: float,
        load: uuid.UUID | None = None,
        is_for_one: bool = False,
    ) -> None:
        """See `BranchKeys.put`.

        Args:
            is_for_one: it was loaded for one request, which may end it.
            load: the `BranchKeyLoad` that says how the key came here.
            began: when its load began, on the monotonic clock.
            ends: on the database's clock, seconds since the epoch.
            deadline: the same instant on the monotonic clock; so is `refresh_at`.
        """
        self.id, self.tenant, self.generation, self.secret = key_id, tenant, generation, secret
        self.load, self.is_for_one = load, is_for_one
        self.until = datetime.fromtimestamp(ends, UTC)
        self._ends = self.until.timestamp()  # to the microsecond what the caller is told
        self._began, self._deadline, self._refresh_at = began, deadline, refresh_at
        self.uses = 0
        self._users, self._is_dropped, self._lock = 0, False, threading.Lock()

    def __repr__(self) -> str:
        return f"<branch key {self.id} until {self.until:%H:%M:%S}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an unwrapped branch key leaves this process in no form")

    def __enter__(self) -> Self:
        """Nothing to do: `BranchKeys.take` counted this user in, under the same lock that a drop takes."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        """Count a user out; the last one out of a dropped copy overwrites it."""
        with self._lock:
            self._users -= 1
            if self._is_dropped and not self._users:
                self.secret.wipe()

    def take(self, uses: int) -> bool:
        """Count a user in; False when the copy is dropped or used up."""
        with self._lock:
            if self._is_dropped or self.uses + uses > MAX_USES:
                return False
            self._users += 1
            self.uses += uses
            return True

    def drop(self) -> None:
        """Let nobody else in, and overwrite the key as soon as the last user is out."""
        with self._lock:
            self._is_dropped = True
            if not self._users:
                self.secret.wipe()

    def age(self, monotonic: float) -> float:
        return monotonic - self._began

    def lives(self, now: float, monotonic: float) -> bool:
        return now < self._ends and monotonic < self._deadline

    def is_due(self, monotonic: float) -> bool:
        """Tell, once for each time it is due, that a new copy is to be fetched in the background."""
        if monotonic < self._refresh_at:
            return False
        with self._lock:
            if monotonic < self._refresh_at:
                return False
            self._refresh_at = monotonic + (self._deadline - monotonic) * AGAIN
            return True


class BranchKeys:
    """The unwrapped branch keys of one process; safe for many threads."""

    def __init__(
        self,
        *,
        now: Callable[[], float] = clock.seconds,
        monotonic: Callable[[], float] = clock.monotonic,
        capacity: int = CAPACITY,
    ) -> None:
        """
        Args:
            now: the database's clock, seconds since the epoch.
            monotonic: a clock that is never set.
        """
        self.now, self.monotonic = now, monotonic
        self._lock = threading.Lock()
        self._kept: Lru[uuid.UUID, Unwrapped] = Lru(capacity)
        self._of: dict[uuid.UUID, set[uuid.UUID]] = {}  # tenant → its branch keys here
        self._drops = 0  # counts them
        self._all_dropped = 0  # the number of the last drop that was everybody's
        # tenant → least generation, number and time of its last drop
        self._dropped: dict[uuid.UUID, tuple[int, int, float]] = {}

    def __repr__(self) -> str:
        return f"<{len(self._kept)} branch keys>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("unwrapped branch keys leave this process in no form")

    def __len__(self) -> int:
        return len(self._kept)

    def start(self) -> Start:
        """Return the start of a load, for `put`."""
        return Start(self.now(), self.monotonic(), self._drops)

    def take(self, key_id: uuid.UUID, tenant: uuid.UUID, generation: int, *, uses: int = 1) -> Unwrapped | None:
        """Return the copy of a branch key, counted in as in use; None when it has to be loaded.

        Args:
            tenant: whose it has to be.
            generation: the tenant's present one; a copy of another is dropped.
            uses: data keys that are to be wrapped or opened with it.
        """
        found = self._kept.get(key_id)
        if found is None or found.tenant != tenant:
            return None
        if found.generation == generation and found.lives(self.now(), self.monotonic()) and found.take(uses):
            return found
        self._forget(found)
        return None

    def outlived(self, copy: Unwrapped) -> bool:
        """Tell whether a copy that was taken has come to its end since."""
        return not copy.is_for_one and not copy.lives(self.now(), self.monotonic())

    def put(
        self,
        key_id: uuid.UUID,
        tenant: uuid.UUID,
        generation: int,
        secret: Secret,
        *,
        began: Start,
        lasts: float,
        session_ends: float | None,
        uses: int = 0,
        load: uuid.UUID | None = None,
    ) -> Unwrapped | None:
        """Keep a branch key that was just unwrapped, in place of the copy that was there.

        Args:
            generation: the tenant's when the load began.
            lasts: the tenant's revocation latency, seconds; 0 keeps nothing.
            session_ends: on the clock of `now`; None for our own CMK, which needs no session.
            uses: of the caller, who is counted in at once when it is not 0.
            load: see `Unwrapped`.

        Returns:
            The copy; it is already dropped, but usable by the caller who was counted in, when it ends at once. None
            when the tenant's keys were dropped since the load began: then it serves nobody.
        """
        wall, monotonic, drops = began
        longest = lasts if session_ends is None else max(0.0, min(lasts, session_ends - wall))
        life = longest * random.uniform(*JITTER)  # noqa: S311  spreading loads needs no secret
        made = Unwrapped(
            key_id,
            tenant,
            generation,
            secret,
            ends=wall + life,
            began=monotonic,
            deadline=monotonic + life,
            refresh_at=monotonic + life * random.uniform(*REFRESH),  # noqa: S311
            load=load,
            is_for_one=lasts == 0,
        )
        if uses:
            made.take(uses)
        may_be_kept = True
        with self._lock:
            least, last_drop, _ = self._dropped.get(tenant, (0, 0, 0.0))
            may_be_kept = generation >= least and max(last_drop, self._all_dropped) <= drops
            old = self._kept.pop(key_id)
            if old is not None:
                self._removed(old)
            if may_be_kept and made.lives(self.now(), self.monotonic()):
                for idle in self._kept.put(key_id, made):
                    self._removed(idle)
                self._of.setdefault(tenant, set()).add(key_id)
            else:
                made.drop()
        if may_be_kept:
            return made
        if uses:
            made.release()
        return None

    def drop(self, tenant: uuid.UUID, generation: int = 0) -> int:
        """Drop the branch keys of a tenant, and let no load bring one back that began before
        or under an older generation.

        Returns:
            How many were dropped.
        """
        with self._lock:
            self._drops += 1
            least = max(generation, self._dropped.get(tenant, (0, 0, 0.0))[0])
            self._dropped[tenant] = (least, self._drops, self.monotonic())
            mine = [copy for key_id in tuple(self._of.get(tenant, ())) if (copy := self._kept.pop(key_id)) is not None]
            for copy in mine:
                self._removed(copy)
        return len(mine)

    def drop_all(self) -> int:
        """Drop everything, and let no load that began before bring anything back; return how many were dropped."""
        with self._lock:
            self._drops += 1
            self._all_dropped = self._drops
            copies = self._kept.values()
            for copy in copies:
                self._kept.pop(copy.id)
                self._removed(copy)
        return len(copies)

    def sweep(self) -> int:
        """Drop what has expired without being asked for again; return how many that were."""
        now, monotonic = self.now(), self.monotonic()
        dead = [copy for copy in self._kept.values() if not copy.lives(now, monotonic)]
        for copy in dead:
            self._forget(copy)
        with self._lock:
            for tenant in [t for t, (_, _, told) in self._dropped.items() if monotonic - told > REMEMBER_DROPS]:
                del self._dropped[tenant]
        return len(dead)

    def _forget(self, copy: Unwrapped) -> None:
        with self._lock:
            if self._kept.peek(copy.id) is copy:
                self._kept.pop(copy.id)
                self._removed(copy)
        copy.drop()

    def _removed(self, copy: Unwrapped) -> None:
        """Overwrite a copy that was taken out; the lock is held."""
        mine = self._of[copy.tenant]
        mine.discard(copy.id)
        if not mine:
            del self._of[copy.tenant]
        copy.drop()
        metrics.BRANCH_KEY_AGE.observe(copy.age(self.monotonic()))
