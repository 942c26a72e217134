"""Cursor pages: `{items, next}`, newest first, by row id."""

from __future__ import annotations

from typing import Any, TypedDict

from django.db.models import QuerySet

from byokportal.errors import InvalidInput

SIZE = 50
LARGEST = 2**63 - 1
DIGITS = len(str(LARGEST))  # Python refuses to read a number of thousands


class Page(TypedDict):
    """One page; `next` is the cursor of the following one, None at the end."""

    items: list[Any]
    next: str | None


def page(rows: QuerySet[Any], cursor: str) -> Page:
    """Return the rows before the cursor.

    Raises:
        InvalidInput: the cursor is none of ours.
    """
    if cursor and not (cursor.isascii() and cursor.isdigit() and len(cursor) <= DIGITS and int(cursor) <= LARGEST):
        raise InvalidInput(errors={"cursor": ["Use the `next` of an answer, or leave it out."]})
    found = list(rows.filter(pk__lt=int(cursor) if cursor else LARGEST).order_by("-pk")[: SIZE + 1])
    return {"items": found[:SIZE], "next": str(found[SIZE - 1].pk) if len(found) > SIZE else None}


def numbered(rows: QuerySet[Any], cursor: str) -> Page:
    """Return a page of short lists whose ids have no order: the cursor counts the rows before it.

    Raises:
        InvalidInput: the cursor is none of ours.
    """
    if cursor and not (cursor.isascii() and cursor.isdigit() and len(cursor) < 7):
        raise InvalidInput(errors={"cursor": ["Use the `next` of an answer, or leave it out."]})
    start = int(cursor or 0)
    found = list(rows[start : start + SIZE + 1])
    return {"items": found[:SIZE], "next": str(start + SIZE) if len(found) > SIZE else None}
