"""Make, open and rewrap data keys with the branch keys that `keys.datakeys.acquisition` has."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from byokportal.errors import DomainError
from keys import errors
from keys.datakeys import envelope
from keys.datakeys.acquisition import ATTEMPTS, Acquisition
from keys.datakeys.cache import Unwrapped
from keys.datakeys.envelope import Sealed


@dataclass(frozen=True, slots=True)
class NewDataKey:
    """A data key as it leaves: the caller keeps the plaintext no longer than `cache_until`."""

    plaintext: bytes = field(repr=False)
    wrapped_key: bytes
    cache_until: datetime


@dataclass(frozen=True, slots=True)
class OpenedDataKey:
    """An opened data key; see `NewDataKey`."""

    plaintext: bytes = field(repr=False)
    cache_until: datetime


Key = TypeVar("Key", NewDataKey, OpenedDataKey, bytes)


@dataclass(frozen=True, slots=True)
class Batch(Generic[Key]):
    """What was made of the items of one request, each in its place; the error of a failed one.

    Attributes:
        generation: of the tenant when it was made; None when nothing was, and nothing can have been stopped.
        is_new: the keys may only leave while the tenant may make new ones.
        load: the `BranchKeyLoad` of the branch key that was used, of the first one where there were several.
    """

    items: Sequence[Key | DomainError]
    generation: int | None
    is_new: bool
    load: uuid.UUID | None = None


class Engine(Acquisition):
    """The data keys of one process: what it knows of tenants, the branch keys that it holds, and its way to AWS.

    With `may_wait=False` nothing is waited for, neither the database nor AWS: what is not in memory makes the answer
    None, with nothing taken, and the caller comes again in a thread where it may wait.
    """

    def generate(
        self, tenant: uuid.UUID, contexts: Sequence[bytes | DomainError], *, may_wait: bool = True
    ) -> Batch[NewDataKey] | None:
        """Make a data key for each context.

        Args:
            contexts: what `envelope.encode_context` returned or raised.
        """
        good = sum(isinstance(context, bytes) for context in contexts)
        if not good:
            return Batch([context for context in contexts if isinstance(context, DomainError)], None, True)
        current = self._take_current(tenant, uses=good, may_wait=may_wait)
        if current is None:
            return None
        with current:
            return Batch([_made(current, context) for context in contexts], current.generation, True, current.load)

    def open_wrapped(
        self, tenant: uuid.UUID, items: Sequence[Sealed | DomainError], *, may_wait: bool = True
    ) -> Batch[OpenedDataKey] | None:
        """Open each wrapped data key with its branch key; each of those is taken once."""
        for _ in range(ATTEMPTS):
            snapshot = self._snapshot(tenant, new=False, may_wait=may_wait)
            if snapshot is None:
                return None
            taken: dict[uuid.UUID, Unwrapped | DomainError] = {}
            try:
                wanted = Counter(item.branch_key for item in items if isinstance(item, Sealed))
                if not self._take_each(snapshot, wanted, taken, may_wait=may_wait):
                    return None
                branches = [branch for branch in taken.values() if isinstance(branch, Unwrapped)]
                # Loading one may have taken so long that another has ended.
                if may_wait and not all(self._may_be_used(branch, new=False) for branch in branches):
                    continue
                generation = max((branch.generation for branch in branches), default=snapshot.generation)
                opened = [_opened(taken, item) for item in items]
                return Batch(opened, generation, False, _first_load(taken, items, opened))
            finally:
                for branch in taken.values():
                    if isinstance(branch, Unwrapped):
                        branch.release()
        raise errors.KeyUnreachable(retry_after=1)

    def rewrap(
        self, tenant: uuid.UUID, items: Sequence[Sealed | DomainError], *, may_wait: bool = True
    ) -> Batch[bytes] | None:
        """Move each wrapped data key to the current branch key without showing it."""
        for _ in range(ATTEMPTS):
            current = self._take_current(tenant, uses=len(items), may_wait=may_wait)
            if current is None:
                return None
            with current:
                opened = self.open_wrapped(tenant, items, may_wait=may_wait)
                if opened is None:
                    return None
                # Opening may have taken long.
                if may_wait and not self._may_be_used(current, new=True):
                    continue
                moved = [_moved(current, one, item) for one, item in zip(opened.items, items, strict=True)]
                return Batch(moved, current.generation, True, opened.load)
        raise errors.KeyUnreachable(retry_after=1)

    def require_unstopped(self, tenant: uuid.UUID, batch: Batch[Any], *, may_wait: bool = True) -> bool:
        """Raise when the tenant's key was stopped or dropped since: between making and answering was a wait.

        Returns:
            Whether it could be told; False only when the request must not wait.

        Raises:
            DomainError: as `_snapshot` does, or KeyUnreachable after a drop: ask again.
        """
        if batch.generation is None:
            return True
        snapshot = self._snapshot(tenant, new=batch.is_new, may_wait=may_wait)
        if snapshot is None:
            return False
        if snapshot.generation != batch.generation:
            raise errors.KeyUnreachable(retry_after=1)
        return True


def _made(branch: Unwrapped, context: bytes | DomainError) -> NewDataKey | DomainError:
    if isinstance(context, DomainError):
        return context
    made = envelope.generate(branch.secret, branch.id, context)
    return NewDataKey(made.plaintext, made.wrapped, branch.until)


def _opened(
    taken: Mapping[uuid.UUID, Unwrapped | DomainError], item: Sealed | DomainError
) -> OpenedDataKey | DomainError:
    if isinstance(item, DomainError):
        return item
    branch = taken[item.branch_key]
    if isinstance(branch, DomainError):
        return branch.again()
    try:
        return OpenedDataKey(envelope.unwrap(branch.secret, item.context, item.blob), branch.until)
    except DomainError as error:
        return error


def _first_load(
    taken: Mapping[uuid.UUID, Unwrapped | DomainError],
    items: Sequence[Sealed | DomainError],
    opened: Sequence[OpenedDataKey | DomainError],
) -> uuid.UUID | None:
    for item, one in zip(items, opened, strict=True):
        if isinstance(item, Sealed) and isinstance(one, OpenedDataKey):
            branch = taken[item.branch_key]
            return branch.load if isinstance(branch, Unwrapped) else None
    return None


def _moved(branch: Unwrapped, opened: OpenedDataKey | DomainError, item: Sealed | DomainError) -> bytes | DomainError:
    if isinstance(opened, DomainError) or isinstance(item, DomainError):
        return opened if isinstance(opened, DomainError) else errors.BlobUnreadable()
    if item.branch_key == branch.id:
        return item.blob
    return envelope.wrap(branch.secret, branch.id, item.context, opened.plaintext)
