"""Months of unwraps of branch keys in the archive: they leave behind the uses that name them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import zip_longest
from typing import Any

from django.db.models import QuerySet

from byokportal.errors import InvalidInput
from byokportal.postgresql import partitions
from keys.models import BranchKeyLoad, KeyUse

CHUNK = 2_000


def rows(begins: datetime | None, ends: datetime) -> QuerySet[BranchKeyLoad]:
    """Return the unwraps of a month; `begins` None: with everything before."""
    found = BranchKeyLoad.objects.filter(at__lt=ends).order_by()
    return found if begins is None else found.filter(at__gte=begins)


def reasons_to_wait(begins: datetime | None, ends: datetime) -> list[str]:
    """Return why a month cannot be archived yet; empty: it can.

    A use is shown and sealed with what its unwrap says, so it leaves first. A branch key that was unwrapped before
    midnight serves uses of the month behind, for the latency of its organisation (15 minutes at most).
    """
    if KeyUse.objects.filter(at__lt=partitions.next_month(ends)).exists():
        return ["uses of this month or of the one behind it, which may name its unwraps, are not detached"]
    return []


def lines(begins: datetime | None, ends: datetime) -> Iterator[dict[str, Any]]:
    """Yield the unwraps of a month as a file keeps them: by organisation, in their order."""
    for load in rows(begins, ends).order_by("tenant_id", "at", "id").iterator(chunk_size=CHUNK):
        yield {
            "tenant": str(load.tenant_id),
            "load": {
                "id": str(load.pk),
                "at": load.at.isoformat(),
                "branch_key": str(load.branch_key_id),
                "data_scope": load.data_scope,
                "process": str(load.process) if load.process else None,
                "region": load.region,
                "session_name": load.session_name,
                "aws_request_id": load.aws_request_id,
            },
        }


def check(kept: Iterable[Mapping[str, Any]], begins: datetime | None, ends: datetime) -> None:
    """See that unwraps that were read back are those of the month, which no line of the log seals: they are compared
    with the table.

    Raises:
        InvalidInput: they are not; it says where.
    """
    for number, (line, row) in enumerate(zip_longest(kept, lines(begins, ends)), 1):
        if line != row:
            why = f"Unwrap {number} of the month before {ends} is not what the database has."
            raise InvalidInput(errors={"archive": [why]})
