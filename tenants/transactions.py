"""The one way into a transaction that changes a tenant's rows:
the tenant is locked first, and what the database ends for another's sake is begun again.

The lock order is: Tenant (several of them by id), then KeyRegistration, then the rest. Whoever has the tenant has
everything of it, so no two operations on one tenant can each hold what the other one wants. Where that happens all the
same (a bulk statement over many tenants, somebody else's session), PostgreSQL ends one of the two with a deadlock or
serialization failure: it is tried once more, and then it is a 503.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import structlog
from django.db import Error, connection, models, transaction

from byokportal import database
from tenants.models import AccessToken, Tenant

log = structlog.get_logger(__name__)
Given = ParamSpec("Given")
Result = TypeVar("Result")


def atomic(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """Run a function in one transaction that begins with the lock of the tenant whose object its first argument is.

    Inside another such function it is a part of that one's transaction. A function that is tried again finds the
    objects that it was given as they were: what it changes in them, and nothing else outside the database, is undone.
    """

    @wraps(function)
    def inside(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        tenant = _tenant_of(args[0]) if args else None
        objects = _Objects([*args, *kwargs.values()])
        return _run(lambda: function(*args, **kwargs), tenant, objects)

    return inside


def run(do: Callable[[], Result]) -> Result:
    """Call `do` in one transaction, and once more if the database ended it for another's sake.

    Args:
        do: calls functions that are `atomic`; they see to the objects that they change.
    """
    return _run(do, None, _Objects(()))


def hold(*tenants: uuid.UUID) -> None:
    """Lock these tenants, always in the same order, until the transaction ends; locked already is locked."""
    held: dict[uuid.UUID, bool] | None = getattr(connection, "held_tenants", None)
    wanted = sorted(set(tenants) - (held or {}).keys())
    if not wanted or not connection.features.has_select_for_update:  # SQLite has one writer at a time
        return
    rows = Tenant.objects.select_for_update(no_key=True).filter(pk__in=wanted).order_by("pk")
    found = {pk: closed_at is not None for pk, closed_at in rows.values_list("pk", "closed_at")}
    if held is not None:
        held.update(found)


def is_closed(tenant: Tenant) -> bool:
    """Tell whether an organisation is closed, as its row said when this transaction locked it; where none did, as the
    object in hand has it."""
    held: dict[uuid.UUID, bool] = getattr(connection, "held_tenants", None) or {}
    return tenant.closed_at is not None or held.get(tenant.pk, False)


def _run(do: Callable[[], Result], tenant: uuid.UUID | None, objects: _Objects) -> Result:
    if connection.in_atomic_block:
        try:
            return _attempt(do, tenant)
        except Error as error:
            if database.is_conflict(error):  # it is for the outermost to try again
                objects.restore()
            raise
    try:
        return _outermost(do, tenant)
    except Error as error:
        if not database.is_conflict(error):
            raise
        log.warning("transaction_tried_again", why=database.why(error))
    objects.restore()
    return _outermost(do, tenant)


def _outermost(do: Callable[[], Result], tenant: uuid.UUID | None) -> Result:
    connection.held_tenants = {}  # type: ignore[attr-defined]
    try:
        return _attempt(do, tenant)
    finally:
        connection.held_tenants = None  # type: ignore[attr-defined]


def _attempt(do: Callable[[], Result], tenant: uuid.UUID | None) -> Result:
    with transaction.atomic():
        if tenant is not None:
            hold(tenant)
        return do()


def _tenant_of(subject: object) -> uuid.UUID | None:
    if isinstance(subject, Tenant):
        return subject.pk
    if isinstance(subject, AccessToken):
        holder = subject.member or subject.invitation
        return holder.tenant_id if holder else None
    found: uuid.UUID | None = getattr(subject, "tenant_id", None)
    return found


class _Objects:
    """Rows in memory as they were before a function changed them: fields, and what was loaded with them."""

    def __init__(self, values: Iterable[object]) -> None:
        self._seen: dict[int, tuple[models.Model, dict[str, Any], dict[str, Any]]] = {}
        for value in values:
            self._visit(value)

    def _visit(self, value: object) -> None:
        if not isinstance(value, models.Model) or id(value) in self._seen:
            return
        loaded = dict(value._state.fields_cache)
        self._seen[id(value)] = (value, dict(value.__dict__), loaded)
        for related in loaded.values():
            self._visit(related)

    def restore(self) -> None:
        for value, fields, loaded in self._seen.values():
            value.__dict__.clear()
            value.__dict__.update(fields)
            value._state.fields_cache.clear()
            value._state.fields_cache.update(loaded)
