"""The tickets that a page of the back office lists: filters, order by clock, pages by position."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from django.db.models import Q, QuerySet

from support.tickets.ticket_rows import Ticket

PAGE = 50
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CURSOR = re.compile(r"(\d{1,17})-([0-9a-f]{32})", re.ASCII)
# What is shown → the column by which it is ordered, and whether the newest comes first.
ORDER = {
    Ticket.Status.WAITING_FOR_KORE: ("due_at", False),
    Ticket.Status.IN_PROGRESS: ("due_at", False),
    Ticket.Status.WAITING_FOR_TENANT: ("since", False),
    Ticket.Status.CLOSED: ("closed_at", True),
}
NOBODY, ME = "nobody", "me"


@dataclass(frozen=True, slots=True)
class Listed:
    """What is asked for; a value that there is not counts as not asked.

    Attributes:
        status: on whom the tickets wait; one at a time, so that one index gives them in their order.
        values: priority, topic, who.
        user: the id of the account that looks: `who=me`.
        after: where the page before ended.
    """

    status: str = Ticket.Status.WAITING_FOR_KORE
    values: Mapping[str, str] = field(default_factory=dict)
    user: int | None = None
    after: tuple[datetime, uuid.UUID] | None = None

    @classmethod
    def of(cls, asked: Mapping[str, str], *, user: int | None) -> Listed:
        """Read the parameters of an address, whatever stands in them."""
        status = asked.get("status", "")
        allowed = {
            "priority": set(Ticket.Priority.values),
            "topic": set(Ticket.Topic.values),
            "who": {NOBODY, ME},
        }
        values = {name: asked[name] for name, known in allowed.items() if asked.get(name) in known}
        known = status if status in Ticket.Status.values else str(Ticket.Status.WAITING_FOR_KORE)
        return cls(known, values, user, _position(asked.get("after", "")))

    @property
    def query(self) -> str:
        """The same as the end of an address, without the place in it."""
        return urlencode({"status": self.status, **self.values})

    def page(self) -> tuple[list[Ticket], str]:
        """Return the tickets of the page, and where the next one begins; "": nowhere."""
        column, is_newest_first = ORDER[Ticket.Status(self.status)]
        rows = self._rows().exclude(**{column: None})
        if self.after is not None:
            at, pk = self.after
            sign = "lt" if is_newest_first else "gt"
            # The bound of the time alone comes first: it is what the index begins with.
            rows = rows.filter(**{f"{column}__{sign}e": at})
            rows = rows.filter(Q(**{f"{column}__{sign}": at}) | Q(**{f"pk__{sign}": pk}))
        order = (f"-{column}", "-pk") if is_newest_first else (column, "pk")
        found = list(rows.select_related("tenant", "assignee").order_by(*order)[: PAGE + 1])
        if len(found) <= PAGE:
            return found, ""
        last = found[PAGE - 1]
        return found[:PAGE], f"{(getattr(last, column) - EPOCH) // timedelta(microseconds=1)}-{last.pk.hex}"

    def _rows(self) -> QuerySet[Ticket]:
        rows = Ticket.objects.filter(status=self.status)
        for name in ("priority", "topic"):
            if name in self.values:
                rows = rows.filter(**{name: self.values[name]})
        who = self.values.get("who")
        if who:
            rows = rows.filter(assignee=self.user if who == ME else None)
        return rows


def _position(text: str) -> tuple[datetime, uuid.UUID] | None:
    found = CURSOR.fullmatch(text)
    if found is None:
        return None
    try:
        return EPOCH + timedelta(microseconds=int(found[1])), uuid.UUID(found[2])
    except OverflowError:
        return None
