"""The filters of the fleet: what an address asks for → rows in the order of their names, page by page."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import urlencode

from django.db.models import Q, QuerySet

from byokportal import clock
from support.fleet import search
from support.models import FleetRow

PAGE = 50
# Rows of one export, and how many are read at once.
EXPORTED, CHUNK = 200_000, 2_000
AGES = {"1h": timedelta(hours=1), "1d": timedelta(days=1), "1w": timedelta(weeks=1), "30d": timedelta(days=30)}
NAMES = ("q", "step", "turn", "state", "cause", "age", "region", "account", "role", "test", "deleted")
NOT_YET = "none"


@dataclass(frozen=True, slots=True)
class Filters:
    """What is asked for; a value that there is not counts as not asked.

    Attributes:
        values: name of a filter → its value, only those that are asked.
        after: the last tenant of the page before.
    """

    values: Mapping[str, str] = field(default_factory=dict)
    after: uuid.UUID | None = None

    @classmethod
    def of(cls, asked: Mapping[str, str]) -> Filters:
        """Read the parameters of an address, whatever stands in them."""
        values = {name: search.clean(asked.get(name, "")) for name in NAMES}
        allowed = {
            "step": {str(number) for number in range(7)},
            "turn": set(FleetRow.Turn.values),
            "state": set(FleetRow.State.values),
            "age": set(AGES),
            "test": {*FleetRow.LastTest.values, NOT_YET},
            "deleted": {"1"},
        }
        kept = {name: value for name, value in values.items() if value and value in allowed.get(name, {value})}
        try:
            after = uuid.UUID(asked["after"][:40]) if asked.get("after") else None
        except ValueError:
            after = None
        return cls(kept, after)

    @property
    def query(self) -> str:
        """The same as the end of an address, without the place in it."""
        return urlencode(self.values)

    def rows(self) -> QuerySet[FleetRow]:
        """Return all rows that are asked for, in the order of their names."""
        found = search.rows(self.values["q"]) if "q" in self.values else FleetRow.objects.all()
        columns = {
            "step": "step",
            "turn": "waits_for",
            "state": "state",
            "cause": "cause",
            "region": "region",
            "role": "service_role__name",
        }
        for name, column in columns.items():
            if name in self.values:
                found = found.filter(**{column: self.values[name]})
        if "account" in self.values:
            account = self.values["account"]
            found = found.filter(Q(account=account) | Q(key_account=account))
        if "test" in self.values:
            test = self.values["test"]
            found = found.filter(last_test="" if test == NOT_YET else test)
        if "age" in self.values:
            found = found.filter(since__lt=clock.now() - AGES[self.values["age"]])
        if "deleted" in self.values:
            found = found.filter(deletes_at__isnull=False)
        return found.order_by("name", "pk")

    def page(self) -> tuple[list[FleetRow], bool]:
        """Return the rows of the page, and whether there are more."""
        rows = self.rows().select_related("service_role")
        if self.after is not None:
            rows = _after(rows, FleetRow.objects.filter(pk=self.after).first())
        found = list(rows[: PAGE + 1])
        return found[:PAGE], len(found) > PAGE

    def every(self) -> Iterator[FleetRow]:
        """Yield all rows that are asked for, at most `EXPORTED`, a chunk at a time."""
        rows = self.rows().select_related("service_role")
        last: FleetRow | None = None
        for _ in range(EXPORTED // CHUNK):
            chunk = list(_after(rows, last)[:CHUNK])
            yield from chunk
            if len(chunk) < CHUNK:
                return
            last = chunk[-1]


def _after(rows: QuerySet[FleetRow], last: FleetRow | None) -> QuerySet[FleetRow]:
    """Return the rows behind one; the first condition is what the index begins with."""
    if last is None:
        return rows
    return rows.filter(name__gte=last.name).filter(Q(name__gt=last.name) | Q(pk__gt=last.pk))
