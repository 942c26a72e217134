"""Copies of wrapped branch keys outside the database, so that a lost database loses no data: a signed line each, in a
bucket that speaks S3. Off unless `ESCROW_BUCKET` is set.

The row in the database is the job: `escrow_due_at` is set in the transaction that wraps a branch key, and taken away
when the copy of just that wrapping is there. A line holds ciphertext alone; whoever reads the bucket needs the tenant's
CMK to open it. Its name says what is in it (tenant, branch key, digest of the wrapping), so writing it twice is
harmless, and an object that is there is never replaced.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db.models import F

from byokportal import clock
from byokportal.errors import DomainError
from keys import head_signing
from keys.aws import escrow_store
from keys.models import BranchKey
from tenants import audit

log = structlog.get_logger(__name__)

WHAT = "byok branch key, wrapped, v1"  # stands in what is signed, so that no other signature of the key fits
CHUNK = 100  # branch keys of one run
CLAIM = timedelta(seconds=45)  # after which a copy whose worker was killed is due again
LONGEST = timedelta(minutes=10)
NAME = re.compile(r"[0-9a-f-]{36}/[0-9a-f-]{36}/[0-9a-f]{64}\.json", re.ASCII)


class LineRefused(Exception):
    """An object is no line of ours; the message says why."""


@dataclass(frozen=True, slots=True)
class Line:
    """What a copy says, its signature checked."""

    tenant: uuid.UUID
    branch_key: uuid.UUID
    registration: uuid.UUID | None
    data_scope: str
    key_arn: str
    role_arn: str
    wrapped: bytes = field(repr=False)
    is_current: bool
    created_at: datetime
    wrapped_at: datetime


def is_on() -> bool:
    return bool(settings.ESCROW_BUCKET)


def wanted_at() -> datetime | None:
    """Return when the copy of a branch key that is wrapped now is due; None where none is wanted."""
    return clock.now() if is_on() else None


def of_another_wrapping() -> dict[str, Any]:
    """Return what changes on a row whose branch key is wrapped anew."""
    return {"wrapped_at": clock.now(), "escrowed_at": None, "escrow_due_at": wanted_at(), "escrow_attempts": 0}


def want_all() -> int:
    """Ask for a copy of each branch key that has none, after the bucket was named; returns how many those are."""
    if not is_on():
        return 0
    return BranchKey.objects.filter(escrowed_at=None, escrow_due_at=None).update(escrow_due_at=clock.now())


def write_due() -> int:
    """Write the copies that are due, at most `CHUNK`; safe to run by several workers.

    Returns:
        how many were written.
    """
    signer = head_signing.signer() if is_on() else None
    if signer is None:
        return 0
    due = BranchKey.objects.filter(escrow_due_at__lte=clock.now()).order_by("escrow_due_at")
    return sum(_write(pk, signer) for pk in list(due.values_list("pk", flat=True)[:CHUNK]))


def _write(pk: uuid.UUID, signer: head_signing.Signer) -> bool:
    now = clock.now()
    claimed = BranchKey.objects.filter(pk=pk, escrow_due_at__lte=now).update(
        escrow_due_at=now + CLAIM, escrow_attempts=F("escrow_attempts") + 1
    )
    if not claimed:
        return False
    row = BranchKey.objects.select_related("registration").get(pk=pk)
    try:
        escrow_store.put(settings.ESCROW_PREFIX + _name(row.tenant_id, row.pk, bytes(row.wrapped)), _text(row, signer))
    except DomainError as error:
        wait = min(timedelta(seconds=5 * 2 ** min(row.escrow_attempts, 10)), LONGEST)
        BranchKey.objects.filter(pk=pk, wrapped=row.wrapped).update(escrow_due_at=clock.now() + wait)
        log.warning("branch_key_not_escrowed", branch_key=str(pk), code=error.code, attempts=row.escrow_attempts)
        return False
    # One that was wrapped anew meanwhile stays due: this copy is of the wrapping before.
    mine = BranchKey.objects.filter(pk=pk, wrapped=row.wrapped)
    return bool(mine.update(escrowed_at=clock.now(), escrow_due_at=None, escrow_attempts=0))


def _name(tenant: uuid.UUID, branch_key: uuid.UUID, wrapped: bytes) -> str:
    return f"{tenant}/{branch_key}/{hashlib.sha256(wrapped).hexdigest()}.json"


def _text(row: BranchKey, signer: head_signing.Signer) -> bytes:
    body = {
        "what": WHAT,
        "origin": settings.BASE_URL,
        "tenant": str(row.tenant_id),
        "branch_key": str(row.pk),
        "registration": str(row.registration_id) if row.registration_id else None,
        "data_scope": row.data_scope,
        "key_arn": row.key_arn,
        "role_arn": row.registration.role_arn if row.registration else "",
        "wrapped": base64.b64encode(bytes(row.wrapped)).decode(),
        "is_current": row.is_current,
        "created_at": row.created_at.astimezone(UTC).isoformat(),
        "wrapped_at": (row.wrapped_at or row.created_at).astimezone(UTC).isoformat(),
    }
    signature = signer.sign(audit.canonical(body).encode())
    signed = {"key_id": head_signing.key_id(signer.public), "signature": base64.b64encode(signature).decode()}
    return audit.canonical({"body": body, **signed}).encode()


def names() -> Iterator[str]:
    """Yield the names of all copies, without the prefix; what has another form is none of ours."""
    for name in escrow_store.names(settings.ESCROW_PREFIX):
        short = name.removeprefix(settings.ESCROW_PREFIX)
        if NAME.fullmatch(short):
            yield short


def read(name: str, *, public: bytes) -> Line:
    """Return what a copy says.

    Args:
        name: as `names` yields it.
        public: the key that signed it, 32 bytes.

    Raises:
        LineRefused: it is not what we wrote there.
        DomainError: the bucket cannot be read.
    """
    text = escrow_store.read(settings.ESCROW_PREFIX + name)
    if len(text) > escrow_store.LARGEST:
        raise LineRefused("it is longer than any of ours")
    try:
        found = json.loads(text)
        body, signature = found["body"], base64.b64decode(found["signature"], validate=True)
        if not head_signing.verifies(public, signature, audit.canonical(body).encode()):
            raise LineRefused("its signature is not of that key")
        if (body["what"], body["origin"]) != (WHAT, settings.BASE_URL):
            raise LineRefused(f"it is of another system: {str(body['origin'])[:100]}")
        line = Line(
            tenant=uuid.UUID(body["tenant"]),
            branch_key=uuid.UUID(body["branch_key"]),
            registration=uuid.UUID(body["registration"]) if body["registration"] else None,
            data_scope=str(body["data_scope"]),
            key_arn=str(body["key_arn"]),
            role_arn=str(body["role_arn"]),
            wrapped=base64.b64decode(body["wrapped"], validate=True),
            is_current=bool(body["is_current"]),
            created_at=datetime.fromisoformat(body["created_at"]),
            wrapped_at=datetime.fromisoformat(body["wrapped_at"]),
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise LineRefused("it is no line of ours in form") from error
    if name != _name(line.tenant, line.branch_key, line.wrapped):
        raise LineRefused("it stands under the name of another one")
    return line
