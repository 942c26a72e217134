"""What this process knows of each tenant's key, at most a second old:
its status, whose it is, and which branch key wraps.

A request for a data key reads no row: it looks at a copy. So that a stop counts everywhere within seconds,
every process asks the database one question twice a second, whatever the number of tenants: *which tenants' keys have
changed?* Every change leaves the time at which it happened on the tenant's row (`lifecycle.changed`), so the answer is
an index scan that is nearly always empty, and the question is the same for ten tenants or a hundred thousand. What has
changed is marked, and read again by the next request that needs it. The other way, each request reading its tenant
again once a second, was not taken: ten thousand busy tenants would be ten thousand queries a second in each process.

Transactions commit out of order, so the question reaches `OVERLAP` further back than the last one did, and compares
the time on the row with the time on the copy instead of trusting a cursor. That is longer than any transaction of ours
may take (`CLAIM_LASTS`). A copy is read anew after `COPY_LASTS` in any case. All these times are the database's. With
each question comes another: is this still the database that may give out keys (`keys.datakeys.admission`)?

Everything fails closed: when the question has not been answered for 4 seconds (database gone, thread dead,
process stopped and continued), no copy counts and no key is given out. A generation that has grown drops the tenant's
branch keys at once, and the process writes down that it did. `ServingProcess.seen_snapshot` is written after that and
says *every stop in this snapshot is dropped here*: a process whose snapshot has seen a stop and that has no `CacheDrop`
for it held nothing of that tenant.
"""

from __future__ import annotations

import math
import os
import socket
import threading
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import connection, transaction
from django.utils.asyncio import async_unsafe

from byokportal import clock, database, deadline
from byokportal.errors import DatabaseUnavailable
from byokportal.lru import Lru
from byokportal.singleflight import Singleflight
from keys import errors
from keys.datakeys import admission, tenant_snapshot
from keys.datakeys.cache import BranchKeys
from keys.datakeys.tenant_snapshot import Snapshot
from keys.models import CacheDrop, ServingProcess
from tenants import limits
from tenants.models import Tenant

log = structlog.get_logger(__name__)

# seconds after which no copy counts: with the row and the way out a key leaves within the 5 of design.md 8
TOO_OLD = 4.0
WAIT = 0.4  # seconds that a request waits for the database here: 503 within half a second
OVERLAP = timedelta(seconds=120)
COPY_LASTS = 300.0  # seconds
A_MOMENT = 0.1  # seconds: a tenant that is refused is not read more often
CAPACITY = 20_000  # tenants
HEARTBEAT = 2.0  # seconds
# A process that has not been seen for so long gives out nothing: its part of the fair shares goes to the others.
LIVE = timedelta(seconds=TOO_OLD + 2 * HEARTBEAT)
FORGOTTEN = timedelta(days=30)  # processes that were not seen for so long, and what they dropped


class Snapshots:
    """The copies of one process, and what it has dropped."""

    def __init__(self, keys: BranchKeys, *, monotonic: Callable[[], float] = clock.monotonic) -> None:
        """
        Args:
            keys: what is dropped from when a generation grows.
        """
        self.process = uuid.uuid4()
        self._keys, self._monotonic = keys, monotonic
        self._copies: Lru[uuid.UUID, Snapshot] = Lru(CAPACITY)
        self._generations: dict[uuid.UUID, int] = {}  # the last one seen, of tenants that were ever asked for here
        self._watched = admission.Watch()  # whether it is the database that may give out keys
        self._epoch = 0  # grows when all copies go
        self._is_blind = False  # the last question was not answered to its end
        self._looked_at = -math.inf  # monotonic, when the last answered question was put …
        self._looked_from: datetime | None = None  # … and on the database's clock
        self._reads: Singleflight[Snapshot | None] = Singleflight()
        self._drops: list[CacheDrop] = []
        # tenant → branch keys dropped ahead of a stop, and when (monotonic)
        self._purged: dict[uuid.UUID, tuple[int, float]] = {}
        self._seen_at = -math.inf
        self._is_written = False
        self._started_with = ""  # the snapshot of the first look: no key was held before
        self._looking, self._counting = threading.Lock(), threading.Lock()
        self._news = threading.Condition()
        self._watch: threading.Thread | None = None
        self._ended = threading.Event()

    def known(self, tenant: uuid.UUID, *, fresh: bool = False) -> Snapshot | None:
        """Return what is known of a tenant's key without asking the database; None when it has to be asked.

        Args:
            fresh: what was read a moment ago counts, nothing older.

        Raises:
            DatabaseNotAdmitted: it is not the database that may give out keys.
        """
        lasts = 2 * settings.SNAPSHOT_SECONDS if self._watch is None else TOO_OLD
        if self._monotonic() - self._looked_at > lasts:
            return None
        return self._copy(tenant, fresh=fresh)

    def _copy(self, tenant: uuid.UUID, *, fresh: bool) -> Snapshot | None:
        if self._watched.why:
            raise errors.DatabaseNotAdmitted(retry_after=30)
        copy = self._copies.get(tenant)
        if copy is None or self._monotonic() - copy.read_at > (A_MOMENT if fresh else COPY_LASTS):
            return None
        return copy

    def of(self, tenant: uuid.UUID, *, fresh: bool = False) -> Snapshot | None:
        """Return what is known of a tenant's key, asking the database where needed; None: there is no such tenant.

        Args:
            fresh: read it now, unless that was done a moment ago.

        Raises:
            DatabaseUnavailable: what is known is too old, and the database did not answer in time.
            DatabaseNotAdmitted: it is not the database that may give out keys.
        """
        if self._monotonic() - self._looked_at > 2 * settings.SNAPSHOT_SECONDS:
            self._catch_up()
        copy = self._copy(tenant, fresh=fresh)
        if copy is None:
            # A thousand first requests: one query.
            copy = self._reads.do(tenant, lambda: self._read(tenant), asks_database=True)
            if self._watched.why:
                raise errors.DatabaseNotAdmitted(retry_after=30)
        return copy

    def forget(self, tenant: uuid.UUID) -> None:
        """Read the tenant again at the next request: something was just learnt about it here."""
        self._copies.pop(tenant)

    def watch(self) -> None:
        """Start the thread that looks; once it runs no request does."""
        with self._news:
            if self._watch is None:
                self._watch = threading.Thread(target=self._run, daemon=True, name="snapshots")
                self._watch.start()

    def stop(self) -> None:
        """End that thread."""
        self._ended.set()
        if self._watch is not None:
            self._watch.join(WAIT)

    # --- looking ------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Ask what has changed, drop what was stopped, and write down what was dropped.

        Raises:
            DatabaseError, InterfaceError: nothing was learnt; the copies grow older.
        """
        began, asked_at = self._monotonic(), clock.monotonic()
        seen = admission.ask()
        at = clock.saw(seen.seconds, began=asked_at)
        if not self._is_admitted(seen):
            self._end_of_look(began, None)
            return
        if self._is_blind:  # while it could not be seen it may have been restored without anything else to show for it
            self._compare_generations()
        self._is_blind = True
        since = min(self._looked_from or at, at) - OVERLAP
        changed = Tenant.objects.filter(key_changed_at__gt=since).values_list("pk", "key_changed_at", "key_generation")
        for tenant, changed_at, generation in changed:
            copy = self._copies.peek(tenant)
            if copy is not None and (copy.changed_at, copy.generation) != (changed_at, generation):
                self._copies.pop(tenant)
            self._note_generation(tenant, generation)
        self._keys.sweep()
        if self._purged:
            self._forget_purged(began)
        self._is_blind = False
        self._end_of_look(began, at)
        self._started_with = self._started_with or seen.snapshot
        if self._drops or (self._watch is not None and began - self._seen_at >= HEARTBEAT):
            self._write(at, seen.snapshot)
            self._seen_at = began
            if self._watch is not None:
                limits.set_processes(ServingProcess.objects.filter(seen_at__gt=at - LIVE).count())

    def purge(self, tenant: uuid.UUID) -> None:
        """Drop the branch keys of a tenant that AWS has just refused, ahead of the stop that follows:
        they count among what that one dropped."""
        with self._counting:
            dropped = self._keys.drop(tenant)
            if dropped:
                self._purged[tenant] = (self._purged.get(tenant, (0, 0.0))[0] + dropped, self._monotonic())

    def _forget_purged(self, now: float) -> None:
        """Forget what was purged long ago: no stop has followed."""
        with self._counting:
            for tenant in [tenant for tenant, (_, at) in self._purged.items() if now - at > TOO_OLD]:
                del self._purged[tenant]

    def _end_of_look(self, began: float, at: datetime | None) -> None:
        with self._news:
            self._looked_at, self._looked_from = began, at
            self._news.notify_all()

    def _is_admitted(self, seen: admission.Seen) -> bool:
        """Tell whether this database may give out keys;
        everything that is held goes when it may not, and when it is another one."""
        if self._watched.admits_itself(seen):
            admission.admit_fresh()
            seen = admission.ask()
        before = self._watched.why
        if self._watched.judge(seen, descends=admission.once_was):
            self._drop_everything()
        if self._watched.why and not before:
            log.error("database_not_admitted", why=self._watched.why, incarnation=seen.incarnation)
        return not self._watched.why

    def _drop_everything(self) -> None:
        self._epoch += 1
        self._copies.clear()
        self._keys.drop_all()

    def _refuse_earlier(self, tenant: uuid.UUID) -> None:
        self._watched.refuse(admission.EARLIER)
        self._drop_everything()
        log.error("database_not_admitted", why=self._watched.why, tenant=str(tenant))

    def _compare_generations(self) -> None:
        """Compare the generation of each tenant that was asked for here with the one that was seen last."""
        with self._counting:
            known = dict(self._generations)
        present = dict(Tenant.objects.filter(key_generation__gt=0).values_list("pk", "key_generation"))
        for tenant, generation in known.items():
            if present.get(tenant, 0) < generation:
                self._refuse_earlier(tenant)
                return
            self._note_generation(tenant, present.get(tenant, 0))

    def _note_generation(self, tenant: uuid.UUID, generation: int) -> None:
        """Drop a tenant's branch keys when its generation has grown since it was seen last;
        what is not known here is not held.

        Whoever finds the generation noted finds the drop counted and in `_drops` too: `_write` says so to all.
        """
        at = clock.recent()
        with self._counting:
            known = self._generations.get(tenant)
            if known is None or known >= generation:
                return
            self._generations[tenant] = generation
            purged, _ = self._purged.pop(tenant, (0, 0.0))
            dropped = self._keys.drop(tenant, generation) + purged
            self._drops.append(
                CacheDrop(tenant_id=tenant, process_id=self.process, generation=generation, count=dropped, at=at)
            )

    def _write(self, at: datetime, snapshot: str) -> None:
        """Write what was dropped, then that this process was seen: whoever reads the second must find the first."""
        drops = self._drops[:]
        with transaction.atomic():
            if not self._is_written:
                name = f"{socket.gethostname()}:{os.getpid()}"
                ServingProcess.objects.create(
                    pk=self.process, name=name, started_at=at, seen_at=at, started_snapshot=self._started_with
                )
                ServingProcess.objects.filter(seen_at__lt=at - FORGOTTEN).delete()
            CacheDrop.objects.bulk_create(drops, ignore_conflicts=True)
            ServingProcess.objects.filter(pk=self.process).update(seen_at=at, seen_snapshot=snapshot)
        self._is_written = True
        del self._drops[: len(drops)]

    def _run(self) -> None:
        failed = False
        while not self._ended.is_set():
            try:
                with deadline.at_most(TOO_OLD):
                    self.look()
                failed = False
            except Exception as error:
                if not failed:
                    log.error("snapshots_are_not_known", exc_info=error)
                failed = True
                connection.close()
            self._ended.wait(settings.SNAPSHOT_SECONDS)
        connection.close()

    def _catch_up(self) -> None:
        """Look here where no thread does; wait for the thread where one does and what is known is too old."""
        if self._watch is None:
            with self._looking:
                if self._monotonic() - self._looked_at > 2 * settings.SNAPSHOT_SECONDS:
                    try:
                        with database.needed(), deadline.at_most(WAIT):
                            self.look()
                    except DatabaseUnavailable:
                        if self._is_too_old():
                            raise
            return
        if self._is_too_old():
            self._wait_for_news()

    @async_unsafe
    def _wait_for_news(self) -> None:
        with deadline.waiting() as left, self._news:
            if not self._news.wait_for(lambda: not self._is_too_old(), WAIT if left is None else min(WAIT, left)):
                raise DatabaseUnavailable(retry_after=2)

    def _is_too_old(self) -> bool:
        return self._monotonic() - self._looked_at > TOO_OLD

    # --- reading one tenant ------------------------------------------------------------------------------------

    def _read(self, tenant: uuid.UUID) -> Snapshot | None:
        """Read a tenant, keep the copy, and see to a generation that has grown.

        A change that commits while we read is not lost: its time differs from the one that we read first.
        """
        began, epoch = self._monotonic(), self._epoch
        with database.needed(), deadline.at_most(WAIT):
            # What was known before a read is what it is judged by: a look may learn of a newer one meanwhile.
            least = self._generations.get(tenant, 0)
            copy = tenant_snapshot.read(tenant, began)
            if copy is not None and copy.generation < least:
                copy = tenant_snapshot.read(tenant, began)
        if copy is None:
            return None
        if copy.generation < least:
            self._refuse_earlier(tenant)
            return None
        self._generations.setdefault(tenant, copy.generation)
        self._note_generation(tenant, copy.generation)
        if copy.generation >= self._generations.get(tenant, 0):
            self._copies.put(tenant, copy)
        if epoch != self._epoch:  # everything had to go meanwhile, and this was read before
            self._copies.pop(tenant)
        return copy
