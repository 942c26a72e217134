"""Months of uses in the archive: each as its line in an export, proved by the lines of the log that seal them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import groupby
from typing import Any

from django.db.models import Max, QuerySet

from byokportal import leaves, merkle
from byokportal.errors import InvalidInput
from keys import key_uses
from keys.models import KeyUse, KeyUseCursor, KeyUseRollUp
from tenants.models import ArchivedMonth, Tenant

CHUNK = 1_000


def rows(begins: datetime | None, ends: datetime) -> QuerySet[KeyUse]:
    """Return the uses of a month; `begins` None: with everything before."""
    found = KeyUse.objects.filter(at__lt=ends).order_by()
    return found if begins is None else found.filter(at__gte=begins)


def reasons_to_wait(begins: datetime | None, ends: datetime) -> list[str]:
    """Return why a month cannot be archived yet; empty: it can.

    The lines that seal uses leave first: an export that had a line and not its uses would accuse us of having removed
    them. A use from before midnight is sealed in the month behind.
    """
    found, cursor = [], KeyUseCursor.objects.filter(pk=1).first()
    last = rows(begins, ends).aggregate(last=Max("pk"))["last"] or 0
    if last and (cursor is None or min(cursor.through, cursor.rolled_up_through) < last):
        found.append("uses are not added up and sealed")
    detached = ArchivedMonth.objects.until(ArchivedMonth.Table.LOG)
    if detached is None or detached <= ends:
        found.append("the month of the log behind it, which seals its last uses, is not detached")
    return found


def lines(begins: datetime | None, ends: datetime) -> Iterator[dict[str, Any]]:
    """Yield the uses of a month as a file keeps them: by organisation, in their order."""
    for tenant in Tenant.objects.order_by("pk").iterator(chunk_size=CHUNK):
        mine, after = rows(begins, ends).filter(tenant=tenant).order_by("pk"), 0
        while uses := list(mine.filter(pk__gt=after)[:CHUNK]):
            yield from ({"tenant": str(tenant.pk), "use": one} for one in key_uses.facts_of(tenant, uses))
            after = uses[-1].pk


def check(kept: Iterable[Mapping[str, Any]]) -> None:
    """See that uses that were read back are those that were sealed, as far as a roll-up lies in the month as a whole.

    Raises:
        InvalidInput: they are not; it says which.
    """
    for tenant, its in groupby(kept, key=lambda line: line["tenant"]):
        _check(tenant, (line["use"] for line in its))


def _check(tenant: str, uses: Iterator[dict[str, Any]]) -> None:
    use = next(uses, None)
    first = use["id"] if use else 0
    for roll_up in (
        KeyUseRollUp.objects.filter(tenant_id=tenant, last__gte=first).order_by("last").iterator(chunk_size=CHUNK)
    ):
        hashes = []
        while use is not None and use["id"] <= roll_up.last:
            hashes.append(leaves.use_leaf(use, roll_up.salt))
            use = next(uses, None)
        is_whole = roll_up.first >= first and len(hashes) == roll_up.count
        if is_whole and merkle.root_of(hashes).hex() != roll_up.root:
            why = f"Uses {roll_up.first} to {roll_up.last} of {tenant} are not what was sealed."
            raise InvalidInput(errors={"archive": [why]})
        if use is None:
            return
        if not is_whole and roll_up.first >= first:
            sealed = f"{roll_up.count} were sealed, {len(hashes)} are here"
            why = f"Uses {roll_up.first} to {roll_up.last} of {tenant}: {sealed}."
            raise InvalidInput(errors={"archive": [why]})
    if use is not None:
        raise InvalidInput(errors={"archive": [f"Use {use['id']} of {tenant} is not sealed."]})
