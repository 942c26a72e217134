"""Make, open and rewrap data keys: the one way in for Python, and the engine of this process behind it."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence

from byokportal.errors import DomainError
from keys.datakeys import envelope, ledger
from keys.datakeys.engine import Batch, Engine, Key, NewDataKey, OpenedDataKey
from keys.models import KeyUse
from tenants.models import Tenant

__all__ = [
    "Context",
    "Engine",
    "NewDataKey",
    "OpenedDataKey",
    "generate",
    "here",
    "open_wrapped",
    "rewrap",
    "start_anew",
]

Context = Mapping[str, str]
_engine: Engine | None = None
_starting = threading.Lock()


def here() -> Engine:
    """Return the engine of this process, started by the first who needs it."""
    global _engine
    if _engine is None:
        with _starting:
            if _engine is None:
                _engine = Engine()
    return _engine


def start_anew() -> None:
    """Forget the engine: a forked process shares nothing with its parent, and a test nothing with the one before."""
    global _engine, _starting
    _engine, _starting = None, threading.Lock()


os.register_at_fork(after_in_child=start_anew)


def generate(
    tenant: Tenant, contexts: Sequence[Context], *, caller: str, request_id: str, engine: Engine | None = None
) -> list[NewDataKey]:
    """Make a data key for each context; its row is committed before this returns.

    Args:
        tenant: its id is all that is looked at.
        engine: of another process, in tests; None: of this one.

    Raises:
        KeyNotActive, KeySuspended, KeyUnreachable: the registration does not serve new keys now.
        ContextInvalid: one of the contexts cannot be used.
        DatabaseUnavailable: the row could not be committed, or it is not known whether the tenant's key serves.
        DomainError: of kind KEY_REFUSED or UNAVAILABLE, what AWS answered.
    """
    engine = engine or here()
    encode = envelope.encoder(str(tenant.pk))
    batch = engine.generate(tenant.pk, [encode(context) for context in contexts])
    made = _recorded(engine, tenant, KeyUse.Operation.GENERATE, contexts, batch, caller=caller, request_id=request_id)
    return [key for key in made if isinstance(key, NewDataKey)]


def open_wrapped(
    tenant: Tenant,
    items: Sequence[tuple[bytes, Context]],
    *,
    caller: str,
    request_id: str,
    engine: Engine | None = None,
) -> list[OpenedDataKey | DomainError]:
    """Open wrapped data keys; each item's own failure stands in its place."""
    engine = engine or here()
    batch = engine.open_wrapped(tenant.pk, envelope.sealed_each(str(tenant.pk), items))
    contexts = [context for _, context in items]
    return _recorded(engine, tenant, KeyUse.Operation.DECRYPT, contexts, batch, caller=caller, request_id=request_id)


def rewrap(
    tenant: Tenant,
    items: Sequence[tuple[bytes, Context]],
    *,
    caller: str,
    request_id: str,
    engine: Engine | None = None,
) -> list[bytes | DomainError]:
    """Move wrapped data keys to the current branch key; each item's own failure stands in its place."""
    engine = engine or here()
    batch = engine.rewrap(tenant.pk, envelope.sealed_each(str(tenant.pk), items))
    contexts = [context for _, context in items]
    return _recorded(engine, tenant, KeyUse.Operation.REWRAP, contexts, batch, caller=caller, request_id=request_id)


def _recorded(
    engine: Engine,
    tenant: Tenant,
    operation: KeyUse.Operation,
    contexts: Sequence[Context],
    batch: Batch[Key] | None,
    *,
    caller: str,
    request_id: str,
) -> list[Key | DomainError]:
    """Commit the row of what was done, and return it if the tenant's key was not stopped meanwhile."""
    assert batch is not None
    done = [c for c, one in zip(contexts, batch.items, strict=True) if not isinstance(one, DomainError)]
    if done:
        row = ledger.use(tenant.pk, operation, done, caller=caller, request_id=request_id, load=batch.load)
        ledger.record(row)
        engine.require_unstopped(tenant.pk, batch)
    return list(batch.items)
