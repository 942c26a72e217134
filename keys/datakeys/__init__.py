"""Give out, open and rewrap data keys: the one way in, and the engine of this process behind it."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence

from byokportal.errors import DomainError
from keys import errors
from keys.datakeys.engine import Context, Engine, NewDataKey, OpenedDataKey
from tenants.models import Tenant

__all__ = [
    "Context",
    "Engine",
    "NewDataKey",
    "OpenedDataKey",
    "generate",
    "here",
    "open_wrapped",
    "require_unstopped",
    "rewrap",
    "start_anew",
]

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


def generate(tenant: Tenant, contexts: Sequence[Context], *, caller: str, request_id: str) -> list[NewDataKey]:
    """Make a data key for each context.

    Args:
        tenant: its id is all that is looked at.

    Raises:
        KeyNotActive, KeySuspended, KeyUnreachable: the registration does not serve new keys now.
        DatabaseUnavailable: the row could not be committed, or it is not known where the tenant stands.
        DomainError: of kind KEY_REFUSED or UNAVAILABLE, what AWS answered.
    """
    return here().generate(tenant, contexts, caller=caller, request_id=request_id)


def open_wrapped(
    tenant: Tenant, items: Sequence[tuple[bytes, Context]], *, caller: str, request_id: str
) -> list[OpenedDataKey | DomainError]:
    """Open wrapped data keys; each item's own failure stands in its place."""
    return here().open_wrapped(tenant, items, caller=caller, request_id=request_id)


def rewrap(
    tenant: Tenant, items: Sequence[tuple[bytes, Context]], *, caller: str, request_id: str
) -> list[bytes | DomainError]:
    """Move wrapped data keys to the current branch key without showing them;
    each item's own failure stands in its place."""
    return here().rewrap(tenant, items, caller=caller, request_id=request_id)


def require_unstopped(tenant: Tenant, keys: Sequence[NewDataKey]) -> None:
    """Raise when the tenant's key was stopped or dropped since these keys were made:
    between making and answering was a wait.

    Raises:
        DomainError: what `generate` raises now, or KeyUnreachable after a drop: ask again.
    """
    for generation in {key.generation for key in keys}:
        if not here().is_still(tenant.pk, generation, new=True):
            raise errors.KeyUnreachable(retry_after=1)
