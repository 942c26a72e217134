"""Give out and open data keys: where the tenant stands, its branch key out of memory or through AWS,
the row, then the answer.

What makes it fast is that a request reads no row and asks no AWS: `keys.datakeys.snapshots` knows the tenant,
`keys.datakeys.cache` holds its branch key. What makes it safe is that both end by themselves,
and that every doubt ends in an error.
"""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TypeVar

import structlog
from django.conf import settings
from django.db import connection

from byokportal import clock, database, deadline
from byokportal.errors import DomainError, Kind
from keys import aws, branchkeys, errors, health
from keys.access import Access
from keys.arns import KeyArn
from keys.aws.kms import KmsKey
from keys.datakeys import envelope, ledger
from keys.datakeys.bulkhead import Bulkhead
from keys.datakeys.cache import BranchKeys, Unwrapped
from keys.datakeys.snapshots import WAIT, Snapshot, Snapshots, WrappedBranchKey, why_not
from keys.models import BranchKey, KeyRegistration, KeyUse
from tenants.models import Tenant

log = structlog.get_logger(__name__)
Context = dict[str, str]
Job = Callable[[], None]
Told = TypeVar("Told")

REFRESHERS = 8  # threads that fetch new copies in the background
# a copy may be dropped between its load and its use; more often than that in one request, something is wrong
ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class NewDataKey:
    """A data key as it leaves: the caller keeps the plaintext no longer than `cache_until`."""

    plaintext: bytes = field(repr=False)
    wrapped_key: bytes
    cache_until: datetime
    generation: int = 0  # of the tenant when it was made


@dataclass(frozen=True, slots=True)
class OpenedDataKey:
    """An opened data key; see `NewDataKey`."""

    plaintext: bytes = field(repr=False)
    cache_until: datetime


class Engine:
    """The data keys of one process: what it knows of tenants, the branch keys that it holds, and its way to AWS."""

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
        self._in_background = in_background or (_Pool().submit if settings.DATA_KEY_THREADS else _at_once)
        if settings.DATA_KEY_THREADS:
            self.snapshots.watch()

    def generate(
        self, tenant: Tenant, contexts: Sequence[Context], *, caller: str, request_id: str
    ) -> list[NewDataKey]:
        encoded = list(map(envelope.encoder(str(tenant.pk)), contexts))
        with self._take_current(tenant, uses=len(contexts)) as branch:
            made = [envelope.generate(branch.secret, branch.id, context) for context in encoded]
        ledger.record(tenant, KeyUse.Operation.GENERATE, contexts, caller=caller, request_id=request_id)
        return [NewDataKey(key.plaintext, key.wrapped, branch.until, branch.generation) for key in made]

    def open_wrapped(
        self, tenant: Tenant, items: Sequence[tuple[bytes, Context]], *, caller: str, request_id: str
    ) -> list[OpenedDataKey | DomainError]:
        results = self._open_each(tenant, items)
        contexts = [
            context for (_, context), result in zip(items, results, strict=True) if isinstance(result, OpenedDataKey)
        ]
        if contexts:
            ledger.record(tenant, KeyUse.Operation.DECRYPT, contexts, caller=caller, request_id=request_id)
        return results

    def rewrap(
        self, tenant: Tenant, items: Sequence[tuple[bytes, Context]], *, caller: str, request_id: str
    ) -> list[bytes | DomainError]:
        results = self._rewrap_each(tenant, items)
        contexts = [context for (_, context), result in zip(items, results, strict=True) if isinstance(result, bytes)]
        if contexts:
            ledger.record(tenant, KeyUse.Operation.REWRAP, contexts, caller=caller, request_id=request_id)
        return results

    def _rewrap_each(self, tenant: Tenant, items: Sequence[tuple[bytes, Context]]) -> list[bytes | DomainError]:
        encode = envelope.encoder(str(tenant.pk))
        for _ in range(ATTEMPTS):
            with self._take_current(tenant, uses=len(items)) as current:
                opened_each = self._open_each(tenant, items)
                if not self.is_still(tenant.pk, current.generation, new=True):  # opening may have taken long
                    continue
                results: list[bytes | DomainError] = []
                for opened, (blob, context) in zip(opened_each, items, strict=True):
                    if isinstance(opened, DomainError):
                        results.append(opened)
                    elif envelope.branch_key_id(blob) == current.id:
                        results.append(blob)
                    else:
                        results.append(envelope.wrap(current.secret, current.id, encode(context), opened.plaintext))
                return results
        raise errors.KeyUnreachable(retry_after=1)

    def is_still(self, tenant: uuid.UUID, generation: int, *, new: bool) -> bool:
        """Tell whether nothing was stopped or dropped since a branch key was loaded;
        asked after every load, before it is used.

        Args:
            generation: of the tenant when the load began.

        Raises:
            KeyNotActive, KeySuspended, KeyUnreachable: nothing is given out any more;
            a refusal of AWS's that some process met.
            DatabaseUnavailable: it is not known.
        """
        return self._snapshot(tenant, new=new).generation == generation

    # --- which branch key --------------------------------------------------------------------------------------

    def _snapshot(self, tenant: uuid.UUID, *, new: bool) -> Snapshot:
        """Return where the tenant stands.

        Raises:
            KeyNotActive, KeySuspended, KeyUnreachable: nothing serves, or nothing that may wrap new keys;
            a refusal of AWS's.
            DatabaseUnavailable: it is not known.
        """
        snapshot = self.snapshots.of(tenant)
        if why_not(snapshot, new=new) is not None:
            snapshot = self.snapshots.of(tenant, fresh=True)  # what just ended must not be refused for another second
            error = why_not(snapshot, new=new)
            if error is not None:
                raise error
        assert snapshot is not None
        return snapshot

    def _take_current(self, tenant: Tenant, *, uses: int) -> Unwrapped:
        """Return the branch key that wraps new data keys, counted in;
        the first request after an activation makes it."""
        for _ in range(ATTEMPTS):
            snapshot = self._snapshot(tenant.pk, new=True)
            if snapshot.current is None:
                self._make(tenant.pk, snapshot)
                continue
            taken = self._take(snapshot, snapshot.current, uses=uses)
            if taken is not None and self._may_be_used(taken, new=True):
                return taken
        raise errors.KeyUnreachable(retry_after=1)

    def _may_be_used(self, taken: Unwrapped, *, new: bool) -> bool:
        """Tell whether a branch key that was taken may be used; it is given back when it may not."""
        is_still = False
        try:
            is_still = self.is_still(taken.tenant, taken.generation, new=new)
        finally:
            if not is_still:
                taken.release()
        return is_still

    def _make(self, tenant: uuid.UUID, snapshot: Snapshot) -> None:
        """Make the tenant's branch key; those who want one at the same time wait for it."""

        def make() -> None:
            registration = KeyRegistration.objects.get(pk=snapshot.registration) if snapshot.registration else None
            try:
                branchkeys.make(Tenant.objects.select_related("service_role").get(pk=tenant), registration)
            except errors.RegistrationBusy:  # it stopped serving at this moment: the next look says what it is now
                return
            except DomainError as error:
                raise self._judged(tenant, snapshot.registration, error) from error
            finally:
                self.snapshots.forget(tenant)

        self.bulkhead.call(tenant, (tenant, "make"), make)

    def _open_each(self, tenant: Tenant, items: Sequence[tuple[bytes, Context]]) -> list[OpenedDataKey | DomainError]:
        """Open each blob with its branch key; each of those is taken once."""
        for _ in range(ATTEMPTS):
            results = self._open_each_once(tenant, items)
            if results is not None:
                return results
        raise errors.KeyUnreachable(retry_after=1)

    def _open_each_once(
        self, tenant: Tenant, items: Sequence[tuple[bytes, Context]]
    ) -> list[OpenedDataKey | DomainError] | None:
        """Open each blob; None when the branch keys were told to go while one of them was loaded."""
        named = [_branch_key_id(blob) for blob, _ in items]
        snapshot = self._snapshot(tenant.pk, new=False)
        encode = envelope.encoder(str(tenant.pk))
        taken: dict[uuid.UUID, Unwrapped | DomainError] = {}
        results: list[OpenedDataKey | DomainError] = []
        try:
            self._take_each(snapshot, Counter(key_id for key_id in named if key_id), taken)
            loaded = {branch.generation for branch in taken.values() if isinstance(branch, Unwrapped)}
            if not all(self.is_still(tenant.pk, generation, new=False) for generation in loaded):
                return None
            for (blob, context), key_id in zip(items, named, strict=True):
                branch = taken[key_id] if key_id else errors.BlobUnreadable()
                try:
                    if isinstance(branch, DomainError):
                        raise branch.again()
                    results.append(OpenedDataKey(envelope.unwrap(branch.secret, encode(context), blob), branch.until))
                except DomainError as error:
                    results.append(error)
        finally:
            for branch in taken.values():
                if isinstance(branch, Unwrapped):
                    branch.release()
        return results

    def _take_each(
        self, snapshot: Snapshot, wanted: Mapping[uuid.UUID, int], taken: dict[uuid.UUID, Unwrapped | DomainError]
    ) -> None:
        """Take the branch keys that blobs name, counted in, or why one cannot be had.

        Args:
            wanted: id → how many data keys are to be opened with it.
            taken: where they go; the caller releases what is there, also when this ends in an error.
        """
        for key_id, uses in wanted.items():
            found = self._find(snapshot, key_id, uses=uses)
            if found is not None:
                taken[key_id] = found
        missing = wanted.keys() - taken.keys()
        rows = self._rows(snapshot, missing) if missing else {}
        for key_id in missing:
            taken[key_id] = (
                self._take_old(snapshot, rows[key_id], uses=wanted[key_id])
                if key_id in rows
                else errors.BlobUnreadable()
            )

    def _take_old(self, snapshot: Snapshot, row: WrappedBranchKey, *, uses: int) -> Unwrapped | DomainError:
        """Return one branch key that is not in memory, counted in, or why it cannot be had."""
        try:
            for _ in range(ATTEMPTS):
                taken = self._take(snapshot, row, uses=uses)
                if taken is not None:
                    return taken
                snapshot = self._snapshot(snapshot.tenant, new=False)
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
            opened = key.decrypt(row.wrapped, branchkeys.context_of(snapshot.tenant, row.id))
        except DomainError as error:
            raise self._judged(snapshot.tenant, row.registration, error) from error
        return self.keys.put(
            row.id,
            snapshot.tenant,
            snapshot.generation,
            envelope.Secret(opened.plaintext),
            began=began,
            lasts=snapshot.latency,
            uses=uses,
            session_ends=key.session_expires_at.timestamp() if key.session_expires_at else None,
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
        with database.needed():
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


def _at_once(job: Job) -> None:
    job()


def _branch_key_id(blob: bytes) -> uuid.UUID | None:
    try:
        return envelope.branch_key_id(blob)
    except errors.BlobUnreadable:
        return None
