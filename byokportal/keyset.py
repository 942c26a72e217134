"""Pages of long tables by time: a cursor is a position (time, id), and a page reads a bounded number of rows.

No row is counted and none is skipped over: the next page begins where an index says. What an index finds (a tenant, and
one more column at most) is asked of the database; everything else is looked at row by row, in a window of bounded
length. A page may therefore hold few rows or none, and still have a next one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypeAlias

from django.db import connection
from django.db.models import Q, QuerySet

from byokportal.errors import InvalidInput

SIZE = 50  # rows on a page
WINDOW = 2_000  # rows that one page looks at, where not every one of them fits
LARGEST = 2**63 - 1  # of a BigAutoField
CURSOR = re.compile(r"(\d{1,17})-(\d{1,19})", re.ASCII)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Rows: TypeAlias = "Sequence[QuerySet[Any]]"
Fits: TypeAlias = Callable[[Any], bool]


class Position(NamedTuple):
    """Where a page ends: of a row, the time and the id."""

    at: datetime
    pk: int

    def __str__(self) -> str:
        return f"{(self.at - EPOCH) // timedelta(microseconds=1)}-{self.pk}"

    @classmethod
    def parse(cls, text: str) -> Position | None:
        """Return the position that a cursor names, None for an empty one.

        Raises:
            InvalidInput: the cursor is none of ours.
        """
        if not text:
            return None
        found = CURSOR.fullmatch(text)
        if found is None or int(found[2]) > LARGEST:
            raise InvalidInput(errors={"cursor": ["Use the `next` of an answer, or leave it out."]})
        return cls(EPOCH + timedelta(microseconds=int(found[1])), int(found[2]))


@dataclass(frozen=True, slots=True)
class Page:
    """One page, newest first.

    Attributes:
        next: where the next one begins; None at the end.
        looked_back_to: where the window ended before the page was full, the time of the last row that was looked at.
    """

    items: list[Any]
    next: Position | None
    looked_back_to: datetime | None = None


def page(rows: Rows, cursor: str, *, fits: Fits | None = None, by: str = "at") -> Page:
    """Return the rows before a cursor.

    Args:
        rows: of one model; each has an index that begins with what it is filtered by and goes on with `by` and the id.
            Several are merged, newest first; no row is in two of them.
        fits: what a row has to be besides; None: all of them are.
        by: the column of the time.

    Raises:
        InvalidInput: the cursor is none of ours.
    """
    limit = SIZE + 1 if fits is None else WINDOW
    read = before(rows, Position.parse(cursor), limit=limit, by=by)
    items: list[Any] = []
    for row in read:
        if fits is None or fits(row):
            if len(items) == SIZE:
                return Page(items, position(items[-1], by))
            items.append(row)
    if len(read) < limit:
        return Page(items, None)
    return Page(items, position(read[-1], by), getattr(read[-1], by))


def position(row: Any, by: str = "at") -> Position:
    """Return the position of a row."""
    return Position(getattr(row, by), row.pk)


def before(rows: Rows, place: Position | None, *, limit: int, by: str = "at") -> list[Any]:
    """Return at most so many rows before a position, newest first."""
    # The bound of the time alone comes first: it is what the index begins with.
    limits = (
        Q() if place is None else Q(**{f"{by}__lte": place.at}) & (Q(**{f"{by}__lt": place.at}) | Q(pk__lt=place.pk))
    )
    return _merged([one.filter(limits).order_by(f"-{by}", "-id") for one in rows], limit, f"-{by}", "-id")


def after(rows: Rows, place: Position | None, *, limit: int, by: str = "at") -> list[Any]:
    """Return at most so many rows after a position, oldest first."""
    limits = (
        Q() if place is None else Q(**{f"{by}__gte": place.at}) & (Q(**{f"{by}__gt": place.at}) | Q(pk__gt=place.pk))
    )
    return _merged([one.filter(limits).order_by(by, "id") for one in rows], limit, by, "id")


def _merged(rows: Rows, limit: int, *order: str) -> list[Any]:
    first, *others = rows
    if not others:
        return list(first[:limit])
    if connection.features.supports_slicing_ordering_in_compound:
        parts = [one[:limit] for one in rows]
    else:  # SQLite takes no LIMIT in a part of a union, but takes it in a part of a part
        parts = [first.model._default_manager.filter(pk__in=one[:limit].values("pk")).order_by() for one in rows]
    return list(parts[0].union(*parts[1:], all=True).order_by(*order)[:limit])
