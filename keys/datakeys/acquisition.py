"""Acquire branch keys: what is known of the tenant, then its branch key, out of memory or through AWS.

What makes it fast is that a request reads no row and asks no AWS: `keys.datakeys.snapshots` knows the tenant,
`keys.datakeys.cache` holds its branch key. What makes it safe is that both end by themselves,
and that every doubt ends in an error.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import structlog
from django.conf import settings
from django.db import connection

from byokportal import clock, database, deadline, metrics
from byokportal.errors import DomainError, Kind
from keys import aws, branchkeys, errors, health
from keys.access import Access
from keys.arns import KeyArn
from keys.aws.kms import KmsKey
from keys.datakeys import envelope
from keys.datakeys.bulkhead import Bulkhead
from keys.datakeys.cache import BranchKeys, Unwrapped
from keys.datakeys.snapshots import WAIT, Snapshots
from keys.datakeys.tenant_snapshot import Snapshot, WrappedBranchKey, why_not
from keys.models import BranchKey, KeyRegistration
from tenants.models import Tenant

log = structlog.get_logger(__name__)
Job = Callable[[], None]
HIT, MISS = metrics.BRANCH_KEYS.labels("hit"), metrics.BRANCH_KEYS.labels("miss")
Told = TypeVar("Told")

REFRESHERS = 8  # threads that fetch new copies in the background
# a copy may be dropped between its load and its use; more often than that in one request, something is wrong
ATTEMPTS = 3


class Acquisition:
    """The branch keys of one process, and what it knows of the tenants that they belong to.

    With `may_wait=False` nothing is waited for, neither the database nor AWS: what is not in memory makes the answer
    None, with nothing taken, and the caller comes again in a thread where it may wait.
    """

    def __init__(
        self,
        *,
        now: Callable[[], float] = clock.seconds,
        monotonic: Callable[[], float] = clock.monotonic,
        in_background: Callable[[Job], object] | None = None,
    ) -> None:
        """
        Args:
            now, monotonic: the clocks of `keys.datakeys.cache` and `keys.datakeys.snapshots`.
            in_background: runs a job some time soon; a small pool of threads when None.
        """
        self.keys = BranchKeys(now=now, monotonic=monotonic)
        self.snapshots = Snapshots(self.keys, monotonic=monotonic)
        self.bulkhead = Bulkhead(settings.WEB_THREADS, monotonic=monotonic)
        self._in_background = in_background or (_Pool().submit if settings.DATA_KEY_THREADS else _in_this_thread)
        if settings.DATA_KEY_THREADS:
            self.snapshots.watch()

    # --- which branch key --------------------------------------------------------------------------------------

    def _snapshot(self, tenant: uuid.UUID, *, new: bool, may_wait: bool) -> Snapshot | None:
        """Return what is known of a tenant whose key may be used; None when it is not known and must not be waited for.

        Raises:
            KeyNotActive, KeySuspended, KeyUnreachable: nothing serves, or nothing that may wrap new keys; a refusal of
                AWS's that some process met.
            DatabaseUnavailable: it is not known.
        """
        look = self.snapshots.of if may_wait else self.snapshots.known
        found = look(tenant)
        if found is None and not may_wait:
            return None
        if why_not(found, new=new) is not None:
            # What just ended must not be refused for another second.
            found = look(tenant, fresh=True)
            if found is None and not may_wait:
                return None
            error = why_not(found, new=new)
            if error is not None:
                raise error
        return found

    def _may_be_used(self, taken: Unwrapped, *, new: bool) -> bool:
        """Tell whether nothing was stopped or dropped since a branch key was taken, and it has not come to its end.

        Asked before it is used, when something was waited for since.
        """
        snapshot = self._snapshot(taken.tenant, new=new, may_wait=True)
        return snapshot is not None and snapshot.generation == taken.generation and not self.keys.outlived(taken)

    def _take_current(self, tenant: uuid.UUID, *, uses: int, may_wait: bool) -> Unwrapped | None:
        """Return the branch key that wraps new data keys, counted in; the first request makes it."""
        for _ in range(ATTEMPTS):
            snapshot = self._snapshot(tenant, new=True, may_wait=may_wait)
            if snapshot is None:
                return None
            if snapshot.current is None:
                if not may_wait:
                    return None
                self._make(tenant, snapshot)
                continue
            if not may_wait:
                return self._find(snapshot, snapshot.current.id, uses=uses)
            taken = self._take(snapshot, snapshot.current, uses=uses)
            if taken is not None and self._is_kept(taken):
                return taken
        raise errors.KeyUnreachable(retry_after=1)

    def _is_kept(self, taken: Unwrapped) -> bool:
        """Tell whether a branch key that was taken may wrap new keys; it is given back when it may not."""
        may_be_used = False
        try:
            may_be_used = self._may_be_used(taken, new=True)
        finally:
            if not may_be_used:
                taken.release()
        return may_be_used

    def _make(self, tenant: uuid.UUID, snapshot: Snapshot) -> None:
        """Make the tenant's branch key; those who want one at the same time wait for it."""

        def make() -> None:
            registration = KeyRegistration.objects.get(pk=snapshot.registration) if snapshot.registration else None
            try:
                branchkeys.make(Tenant.objects.select_related("service_role").get(pk=tenant), registration)
            except errors.RegistrationBusy:
                # It stopped serving at this moment: the next look says what it is now.
                return
            except DomainError as error:
                raise self._judged(tenant, snapshot.registration, error) from error
            finally:
                self.snapshots.forget(tenant)

        self.bulkhead.call(tenant, (tenant, "make"), make)

    def _take_each(
        self,
        snapshot: Snapshot,
        wanted: Mapping[uuid.UUID, int],
        taken: dict[uuid.UUID, Unwrapped | DomainError],
        *,
        may_wait: bool,
    ) -> bool:
        """Take the branch keys that blobs name, counted in, or why one cannot be had.

        Args:
            wanted: id → how many data keys are to be opened with it.
            taken: where they go; the caller releases what is there, also when this ends in an error.

        Returns:
            Whether each one is there; False only when the request must not wait.
        """
        for key_id, uses in wanted.items():
            found = self._find(snapshot, key_id, uses=uses)
            if found is not None:
                taken[key_id] = found
        missing = wanted.keys() - taken.keys()
        if missing and not may_wait:
            return False
        rows = self._rows(snapshot, missing) if missing else {}
        for key_id in missing:
            row = rows.get(key_id)
            taken[key_id] = self._take_old(snapshot, row, uses=wanted[key_id]) if row else errors.BlobUnreadable()
        return True

    def _take_old(self, snapshot: Snapshot, row: WrappedBranchKey, *, uses: int) -> Unwrapped | DomainError:
        """Return one branch key that is not in memory, counted in, or why it cannot be had."""
        try:
            for _ in range(ATTEMPTS):
                taken = self._take(snapshot, row, uses=uses)
                if taken is not None:
                    return taken
                again = self._snapshot(snapshot.tenant, new=False, may_wait=True)
                if again is not None:
                    snapshot = again
        except DomainError as error:
            return error
        return errors.KeyUnreachable(retry_after=1)

    def _rows(self, snapshot: Snapshot, key_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, WrappedBranchKey]:
        """Return those branch keys of the tenant as the database holds them; of another tenant's there is none."""
        current = snapshot.current
        if current is not None and set(key_ids) == {current.id}:
            return {current.id: current}
        with database.needed(), deadline.at_most(WAIT):
            found = list(
                BranchKey.objects.filter(tenant=snapshot.tenant, pk__in=key_ids).select_related("registration")
            )
        return {
            row.pk: WrappedBranchKey(
                row.pk,
                bytes(row.wrapped),
                row.key_arn,
                row.registration_id,
                row.registration.role_arn if row.registration else "",
            )
            for row in found
        }

    # --- out of memory or through AWS --------------------------------------------------------------------------

    def _take(self, snapshot: Snapshot, row: WrappedBranchKey, *, uses: int) -> Unwrapped | None:
        """Return a branch key, counted in; None when it was loaded but is gone again,
        or somebody else loaded it: look again.

        Raises:
            DomainError: of kind KEY_REFUSED or UNAVAILABLE, what AWS answered.
        """
        found = self._find(snapshot, row.id, uses=uses)
        if found is not None:
            return found
        if snapshot.latency == 0:  # the CMK is asked every time, and what it opens serves this request alone
            return self.bulkhead.call(snapshot.tenant, None, lambda: self._load(snapshot, row, uses=uses))
        self.bulkhead.call(snapshot.tenant, (row.id, snapshot.generation), lambda: self._load(snapshot, row))
        return self._find(snapshot, row.id, uses=uses)

    def _find(self, snapshot: Snapshot, key_id: uuid.UUID, *, uses: int) -> Unwrapped | None:
        """Return a branch key out of memory, counted in; one that is due is fetched anew meanwhile."""
        found = self.keys.take(key_id, snapshot.tenant, snapshot.generation, uses=uses)
        (MISS if found is None else HIT).inc()
        if found is not None and found.is_due(self.keys.monotonic()):
            try:
                self._refresh(snapshot, key_id)
            except BaseException:
                found.release()
                raise
        return found

    def _load(self, snapshot: Snapshot, row: WrappedBranchKey, *, uses: int = 0) -> Unwrapped | None:
        """Let the CMK open a branch key, and keep it; None when the tenant's keys were dropped meanwhile."""
        began = self.keys.start()
        try:
            key = self._kms_key(snapshot, row)
            with deadline.at_most(WAIT):
                load = branchkeys.unwrap(
                    key, row.wrapped, tenant=snapshot.tenant, branch_key=row.id, process=self.snapshots.process
                )
        except DomainError as error:
            raise self._judged(snapshot.tenant, row.registration, error) from error
        return self.keys.put(
            row.id,
            snapshot.tenant,
            snapshot.generation,
            envelope.Secret(load.plaintext),
            began=began,
            lasts=snapshot.latency,
            uses=uses,
            session_ends=key.session_expires_at.timestamp() if key.session_expires_at else None,
            load=load.id,
        )

    def _kms_key(self, snapshot: Snapshot, row: WrappedBranchKey) -> KmsKey:
        if row.registration is None:
            return aws.platform_key(KeyArn.parse(row.key_arn))
        access = Access.of_texts(
            tenant=str(snapshot.tenant),
            service_role_arn=snapshot.service_role_arn,
            external_id=snapshot.external_id,
            role_arn=row.role_arn,
            key_arn=row.key_arn,
        )
        return aws.open_key(access, purpose="data-keys", keep=True, hot=True)

    def _refresh(self, snapshot: Snapshot, key_id: uuid.UUID) -> None:
        """Fetch a new copy in the background while the old one serves; a failure leaves the old one to its own end."""
        if self.bulkhead.is_open(snapshot.tenant):
            return

        def refresh() -> None:
            try:
                for row in self._rows(snapshot, [key_id]).values():
                    self.bulkhead.call(
                        snapshot.tenant, (key_id, snapshot.generation), partial(self._load, snapshot, row)
                    )
            except DomainError as error:
                log.warning("branch_key_not_refreshed", tenant=str(snapshot.tenant), code=error.code)

        self._in_background(refresh)

    def _judged(self, tenant: uuid.UUID, registration: uuid.UUID | None, error: DomainError) -> DomainError:
        """Let health judge what AWS said, and return what the caller is told; a refusal purges what is held here.

        A refusal that turns out to be our own doing is a silence: what is cached runs out (design.md 8).
        """
        if registration is None or error.kind not in {Kind.KEY_REFUSED, Kind.UPSTREAM}:
            return error
        if error.kind is Kind.UPSTREAM:  # an answer that nobody knows: no new keys until a probe has looked
            self._judge(registration, lambda row: health.unreachable(row, error))
            self.snapshots.forget(tenant)
            return error
        try:
            told = self._judge(registration, lambda row: health.denied(row, error))
        except BaseException:
            self.snapshots.purge(tenant)  # nobody could tell whose doing it is
            raise
        if told.kind is Kind.KEY_REFUSED:
            self.snapshots.purge(tenant)
        self.snapshots.forget(tenant)
        return told

    def _judge(self, registration: uuid.UUID, judge: Callable[[KeyRegistration], Told]) -> Told:
        with database.needed(), deadline.at_most(WAIT):
            return judge(KeyRegistration.objects.select_related("tenant__service_role").get(pk=registration))


class _Pool:
    """The threads that fetch new copies; what comes when they are all busy for long is left out,
    and asked for again later."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(REFRESHERS, thread_name_prefix="refresh")
        self._room = threading.BoundedSemaphore(REFRESHERS * 32)

    def submit(self, job: Job) -> None:
        if self._room.acquire(blocking=False):
            self._threads.submit(self._run, job)

    def _run(self, job: Job) -> None:
        try:
            job()
        except Exception as error:
            log.error("refreshing_failed", exc_info=error)
        finally:
            connection.close()
            self._room.release()


def _in_this_thread(job: Job) -> None:
    job()
