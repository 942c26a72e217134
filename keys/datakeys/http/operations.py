"""What a request for data keys takes and answers, whatever transport it came by: admit, prepare, finish.

`admit` finds out who asks, for which tenant and for what. `take_share` takes the share, once the call has its place.
`prepare` acquires the branch keys and makes the keys. The transport commits the row that `prepare` returns. `finish`
looks at the tenant's generation again and returns the answer. All but `take_share` take `may_wait`: without it nothing
is waited for, and where something is not in memory the answer is None, with nothing taken; the transport then calls it
once more where it may wait.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import orjson

from byokportal import bodies, metrics, problems
from byokportal.errors import DomainError, MethodNotAllowed, NotFound
from keys import datakeys
from keys.datakeys import Context, Engine, NewDataKey, OpenedDataKey, envelope, ledger
from keys.datakeys.engine import Batch
from keys.datakeys.http import items, priority
from keys.models import KeyUse
from tenants import access, authentication, idempotency, limits
from tenants.authentication import Caller
from tenants.models import Tenant

Made = TypeVar("Made")
# Seconds that a request waits for the database in all; then it is a 503, within half a second.
DATABASE = 0.42


class Answer(NamedTuple):
    """What goes back: status, headers by name, body."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Operation:
    """One address.

    Attributes:
        name: its row in `tenants.roles.OPERATIONS`.
        use: what the row of the use says.
        is_bulk: whatever the number of items: nobody waits for one.
        read: body of a request → its items.
        encode: tenant's id, items → what `make` takes.
        make: lets the engine make a batch of them.
        show: a key → what the answer says of it.
        keep: what is kept for a repeat under the same Idempotency-Key; it opens nothing by itself.
        repeat: does it for a repeat: a new row, and a refusal if the key was taken back meanwhile.
    """

    name: str
    use: KeyUse.Operation
    is_bulk: bool
    read: Callable[[dict[str, Any]], Sequence[Any]]
    encode: Callable[[str, Sequence[Any]], Sequence[Any]]
    make: Callable[..., Batch[Any] | None]
    show: Callable[[Any], dict[str, str]]
    keep: Callable[[Batch[Any]], dict[str, Any]]
    repeat: Callable[[Admitted, dict[str, Any]], Prepared]


@dataclass(slots=True)
class Call:
    """One request as it came from the wire."""

    operation: Operation | None
    method: str
    path: str
    tenant_id: str
    authorization: str = field(repr=False)
    content_type: str
    idempotency_key: str | None
    request_id: str
    body: bytes = field(repr=False)
    # Seconds that are left of the time that it may wait for the database.
    seconds_left: float = DATABASE


@dataclass(frozen=True, slots=True)
class Admitted:
    """A call that may be done: whose it is, and its items as they were asked for and encoded."""

    call: Call
    operation: Operation
    caller: Caller
    tenant: Tenant
    is_batch: bool
    asked: Sequence[Any]
    encoded: Sequence[Any]

    @property
    def is_bulk(self) -> bool:
        return priority.is_bulk(len(self.asked), of_bulk=self.operation.is_bulk)

    @property
    def contexts(self) -> list[Context]:
        return [one if isinstance(one, Mapping) else one[1] for one in self.asked]


class Prepared(NamedTuple):
    """What was made, and the row that has to be committed before it leaves; None when nothing leaves."""

    batch: Batch[Any]
    row: ledger.Use | None


def admit(call: Call, *, may_wait: bool = True) -> Admitted | None:
    """Find out who asks for what; None when the request would have to wait for that.

    Raises:
        DomainError: NotAuthenticated, NotFound, NotAllowed, MethodNotAllowed, InvalidInput and its like.
    """
    if call.operation is None:
        raise NotFound
    if call.method != "POST":
        if not may_wait:
            return None
        authentication.caller(call.authorization)
        raise MethodNotAllowed(method=call.method)
    found = access.served(call.authorization, call.tenant_id, may_wait=may_wait)
    if found is None:
        return None
    caller, tenant = found
    access.require_scope(caller, call.operation.name)
    body = bodies.read_json(call.content_type, call.body)
    asked = call.operation.read(body)
    encoded = call.operation.encode(str(tenant.pk), asked)
    return Admitted(call, call.operation, caller, tenant, "items" in body, asked, encoded)


def take_share(admitted: Admitted) -> None:
    """Take the share of an admitted call, which is done next: what is refused first costs its caller nothing.

    Raises:
        RateLimited: the caller's or the tenant's share is used up.
    """
    limits.take(admitted.caller.name, str(admitted.tenant.pk), len(admitted.asked))


def prepare(admitted: Admitted, *, may_wait: bool = True) -> Prepared | None:
    """Make what was asked for; None when something is not in memory and the request must not wait for it.

    Raises:
        DomainError: nothing can be made; of a request for one key, why not.
    """
    operation = admitted.operation
    batch = operation.make(datakeys.here(), admitted.tenant.pk, admitted.encoded, may_wait=may_wait)
    return None if batch is None else _with_row(admitted, batch, operation.use)


def _with_row(admitted: Admitted, batch: Batch[Any], use: KeyUse.Operation) -> Prepared:
    if not admitted.is_batch and isinstance(batch.items[0], DomainError):
        raise batch.items[0]
    done = [c for c, one in zip(admitted.contexts, batch.items, strict=True) if not isinstance(one, DomainError)]
    if not done:
        return Prepared(batch, None)
    who, request_id = admitted.caller.actor.label, admitted.call.request_id
    row = ledger.use(admitted.tenant.pk, use, done, caller=who, request_id=request_id, load=batch.load)
    return Prepared(batch, row)


def finish(admitted: Admitted, prepared: Prepared, *, may_wait: bool = True) -> Answer | None:
    """Return the answer, its row committed;
    None when it is not known whether it may leave and the request must not wait.

    Raises:
        DomainError: the tenant's key was stopped or dropped meanwhile.
    """
    batch, show, call = prepared.batch, admitted.operation.show, admitted.call
    # AWS may have taken longer to answer than a token or a tenant that was taken away counts.
    found = access.served(call.authorization, call.tenant_id, may_wait=may_wait)
    if found is None:
        return None
    access.require_scope(found[0], admitted.operation.name)
    if prepared.row is not None and not datakeys.here().require_unstopped(admitted.tenant.pk, batch, may_wait=may_wait):
        return None
    _count(admitted, batch)
    if not admitted.is_batch:
        return _json(show(batch.items[0]))
    each = [
        {"problem": problems.problem(one, call.request_id)} if isinstance(one, DomainError) else show(one)
        for one in batch.items
    ]
    return _json({"items": each})


def _count(admitted: Admitted, batch: Batch[Any]) -> None:
    name = admitted.operation.name
    if not admitted.is_batch:
        metrics.DATA_KEYS.labels(name, "ok").inc()
        return
    outcomes = Counter(one.code if isinstance(one, DomainError) else "ok" for one in batch.items)
    for outcome, number in outcomes.items():
        metrics.DATA_KEYS.labels(name, outcome).inc(number)


def answer(call: Call) -> Answer:
    """Answer a call in this thread, which may wait, once for each Idempotency-Key; a refusal is an answer too."""
    try:
        admitted = present(admit(call))
        take_share(admitted)
        return present(finish(admitted, _once(admitted)))
    except Exception as error:
        refused = refusal(call, error)
        if refused is None:
            raise
        return refused


def refusal(call: Call, exception: Exception) -> Answer | None:
    """Return the answer to a call that ended like this: refused, or without its database; None for a bug of ours."""
    error = exception if isinstance(exception, DomainError) else problems.of_database(exception)
    if error is None:
        return None
    metrics.DATA_KEYS.labels(call.operation.name if call.operation else "none", error.code).inc()
    headers = problems.headers_of(error) | {"Content-Type": "application/problem+json"}
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = "POST"
    return Answer(problems.STATUS[error.kind], headers, problems.json_text(error, call.request_id).encode())


def present(found: Made | None) -> Made:
    """Return what a step that may wait found: it always finds something or raises."""
    assert found is not None
    return found


# --- Idempotency-Key ----------------------------------------------------------------------------------------------


def _once(admitted: Admitted) -> Prepared:
    """Do an admitted call, its row committed, or what a repeat under the same Idempotency-Key gets."""
    call, operation = admitted.call, admitted.operation
    first: list[Prepared] = []

    def do() -> idempotency.Answer:
        first.append(_committed(present(prepare(admitted))))
        return idempotency.Answer(200, operation.keep(first[0].batch))

    kept = idempotency.once(
        do,
        key=call.idempotency_key,
        caller=admitted.caller.name,
        tenant=admitted.tenant,
        method=call.method,
        path=call.path,
        body=call.body,
        in_one_transaction=False,
    )
    return _committed(operation.repeat(admitted, kept.kept)) if kept.is_repeat else first[0]


def _committed(prepared: Prepared) -> Prepared:
    if prepared.row is not None:
        ledger.record(prepared.row)
    return prepared


def _keep_wrapped(batch: Batch[Any]) -> dict[str, Any]:
    blobs = (None if isinstance(one, DomainError) else getattr(one, "wrapped_key", one) for one in batch.items)
    return {"wrapped": [blob and _text(blob) for blob in blobs]}


def _keep_nothing(_: Batch[Any]) -> dict[str, Any]:
    return {}


def _generated_before(admitted: Admitted, kept: dict[str, Any]) -> Prepared:
    """Open again what the first request made."""
    blobs = iter([base64.b64decode(text) for text in kept["wrapped"] if text])
    sealed = [one if isinstance(one, DomainError) else envelope.sealed(next(blobs), one) for one in admitted.encoded]
    opened = present(datakeys.here().open_wrapped(admitted.tenant.pk, sealed))
    keys = [
        one
        if isinstance(one, DomainError) or isinstance(item, DomainError)
        else NewDataKey(one.plaintext, item.blob, one.cache_until)
        for one, item in zip(opened.items, sealed, strict=True)
    ]
    return _with_row(admitted, Batch(keys, opened.generation, opened.is_new, opened.load), KeyUse.Operation.DECRYPT)


def _opened_before(admitted: Admitted, kept: dict[str, Any]) -> Prepared:
    """Open them again: no plaintext is kept."""
    return present(prepare(admitted))


def _moved_before(admitted: Admitted, kept: dict[str, Any]) -> Prepared:
    """Move what the first request moved once more, and answer as it did; what failed then is tried again."""
    tenant = admitted.tenant.pk
    before = [text and base64.b64decode(text) for text in kept["wrapped"]]
    again = [(blob or given, context) for blob, (given, context) in zip(before, admitted.asked, strict=True)]
    moved = present(datakeys.here().rewrap(tenant, envelope.sealed_each(str(tenant), again)))
    answered = [
        one if isinstance(one, DomainError) else blob or one for blob, one in zip(before, moved.items, strict=True)
    ]
    return _with_row(admitted, Batch(answered, moved.generation, moved.is_new, moved.load), admitted.operation.use)


# --- what the answers say -------------------------------------------------------------------------------------------


def _json(body: dict[str, Any]) -> Answer:
    return Answer(200, {"Content-Type": "application/json", "Cache-Control": "no-store"}, orjson.dumps(body))


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()


@lru_cache(maxsize=1_000)
def _instant(at: datetime) -> str:
    """Return an instant as the API writes it; many keys share theirs with the branch key that wrapped them."""
    return at.isoformat().replace("+00:00", "Z")


def _opened(key: OpenedDataKey | NewDataKey) -> dict[str, str]:
    return {"plaintext": _text(key.plaintext), "cache_until": _instant(key.cache_until)}


def _generated(key: NewDataKey) -> dict[str, str]:
    return {**_opened(key), "wrapped_key": _text(key.wrapped_key)}


def _moved(blob: bytes) -> dict[str, str]:
    return {"wrapped_key": _text(blob)}


GENERATE = Operation(
    name="keys.generate",
    use=KeyUse.Operation.GENERATE,
    is_bulk=False,
    read=items.contexts,
    encode=envelope.encode_each,
    make=Engine.generate,
    show=_generated,
    keep=_keep_wrapped,
    repeat=_generated_before,
)
DECRYPT = Operation(
    name="keys.decrypt",
    use=KeyUse.Operation.DECRYPT,
    is_bulk=False,
    read=items.wrapped,
    encode=envelope.sealed_each,
    make=Engine.open_wrapped,
    show=_opened,
    keep=_keep_nothing,
    repeat=_opened_before,
)
REWRAP = Operation(
    name="keys.rewrap",
    use=KeyUse.Operation.REWRAP,
    is_bulk=True,
    read=items.wrapped,
    encode=envelope.sealed_each,
    make=Engine.rewrap,
    show=_moved,
    keep=_keep_wrapped,
    repeat=_moved_before,
)
# By what follows `…/tenants/<id>` in the address.
BY_ROUTE = {"/data-keys": GENERATE, "/data-keys/decrypt": DECRYPT, "/data-keys/rewrap": REWRAP}
