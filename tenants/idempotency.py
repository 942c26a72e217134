"""Idempotency-Key on POST operations: one effect for each key, for 24 hours, per caller and tenant (design.md 9)."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import Error, IntegrityError, transaction
from django.db.models import Q

from byokportal import clock, secret_texts
from tenants import transactions
from tenants.errors import IdempotencyKeyInvalid, IdempotencyKeyReused, RequestInProgress
from tenants.models import IdempotentRequest, Tenant

LASTS = timedelta(hours=24)
# A request that runs longer than any may run was killed: one waits 10 s for the database and some 15 s for AWS at most.
# Short, because a caller who got a 503 repeats it: where the database did not even take the row away, it waits so long.
STUCK = timedelta(seconds=30)
KEY = re.compile(r"[\x21-\x2b\x2d-\x7e]{1,255}", re.ASCII)  # no comma: servers join two headers of one name by it


@dataclass(frozen=True, slots=True)
class Answer:
    """What an operation answered: what is kept, and whether it was kept before."""

    status: int
    kept: dict[str, Any]
    is_repeat: bool = False


def once(
    do: Callable[[], Answer],
    *,
    key: str | None,
    caller: str,
    tenant: Tenant,
    method: str,
    path: str,
    body: bytes,
    in_one_transaction: bool,
) -> Answer:
    """Do the operation, or return what it answered before under the same key; without a key just do it.

    Args:
        do: the operation; its `kept` is stored and must open nothing by itself: wrapped keys, never plaintext.
        in_one_transaction: the operation changes rows only, so it and its answer are committed together
            and a process killed in between did nothing. False for data keys: their row is committed before all else,
            and a key that never left is no effect.

    Raises:
        IdempotencyKeyInvalid: the key has another form.
        IdempotencyKeyReused: the key was used for another request.
        RequestInProgress: the first request still runs, or it was killed a moment ago.
    """
    if key is None:
        return do()
    if not KEY.fullmatch(key):
        raise IdempotencyKeyInvalid
    secret_texts.refuse(key)  # it is kept for a day
    request_hash = hashlib.sha256(b"\n".join([method.encode(), path.encode(), body])).hexdigest()
    mine = {"caller": caller, "tenant": tenant, "key": key}
    now = clock.now()
    old = IdempotentRequest.objects.filter(**mine)
    old.filter(Q(created_at__lt=now - LASTS) | Q(status=None, created_at__lt=now - STUCK)).delete()
    try:
        with transaction.atomic():
            row = IdempotentRequest.objects.create(**mine, request_hash=request_hash)
    except IntegrityError:
        first = old.first()
        if first is not None and first.request_hash != request_hash:
            raise IdempotencyKeyReused from None
        if first is None or first.status is None:
            raise RequestInProgress(retry_after=1) from None
        return Answer(first.status, first.answer or {}, is_repeat=True)
    claim = IdempotentRequest.objects.filter(pk=row.pk)

    def answered() -> Answer:
        answer = do()
        if not claim.update(status=answer.status, answer=answer.kept):
            # It took so long that it was taken for killed.
            # What a request in its place does is what counts, and what was done here is undone.
            raise RequestInProgress(retry_after=1)
        return answer

    try:
        return transactions.run(answered) if in_one_transaction else answered()
    except BaseException:
        with contextlib.suppress(Error):  # a database that is gone frees the key after `STUCK`
            # A failed attempt has no effect: the key is free again.
            # Where the answer stands the commit went through, whatever failed after it.
            claim.filter(status=None).delete()
        raise
