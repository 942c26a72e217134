"""Where most scenarios begin, made once in a process and put back before each test: rows and the local AWS together.

Making a service role takes 150 ms and bringing a tenant into service half a second; putting them back takes a few
milliseconds. What is put back is as if it had been made a moment ago: times are moved on, and the tenant has an id of
its own, so that nothing that the process remembers of another test is about it.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from django.apps import apps
from django.db import connection, transaction

from byokportal.localaws.testing import LocalAws
from keys.datakeys import admission
from keys.models import DatabaseAdmission
from tenants.models import Tenant

TIME = re.compile(r"\d{4}-\d\d-\d\d([ T])\d\d:\d\d:\d\d(\.\d{1,6})?")
Table = tuple[str, list[str], list[Any]]  # its name, its columns, its rows as the database gave them


@dataclass(frozen=True)
class World:
    """Rows of each table as text that can be changed, and the state of the local AWS."""

    made_at: datetime
    tenant: str
    tables: list[Table]
    aws: bytes

    def put_back(self, aws: LocalAws) -> None:
        """Write the rows into the empty database, and give the local AWS its state."""
        age = datetime.now(UTC) - self.made_at
        fresh = uuid.uuid4()
        ids = {self.tenant: str(fresh), self.tenant.replace("-", ""): fresh.hex} if self.tenant else {}
        with transaction.atomic():
            for table in self.tables:
                write(table, age, ids)
            be_admitted()
        aws.put_back(self.aws)


_made: dict[str, World] = {}


def put_back(name: str, make: Callable[[], Any], aws: LocalAws) -> None:
    """Put a world back, made by `make` the first time in this process; the local AWS was reset."""
    if name not in _made:
        with transaction.atomic():
            before = {table: set(rows) for table, _, rows in map(read, tables())}
            make()
            tenant = Tenant.objects.values_list("pk", flat=True).first()
            found = [
                (table, names, [row for row in rows if row not in before[table]])
                for table, names, rows in map(read, tables())
            ]
            _made[name] = World(datetime.now(UTC), str(tenant or ""), [one for one in found if one[2]], aws.kept())
            transaction.set_rollback(True)
        aws.reset()
    _made[name].put_back(aws)


def be_admitted() -> bool:
    """Let this database be the one that was admitted, where one was; tell whether it was another.

    A test may have made the tables anew, and rows that are put back are from before.
    """
    here = admission.incarnation()
    return bool(DatabaseAdmission.objects.exclude(incarnation=here).update(incarnation=here))


def tables() -> list[str]:
    return [model._meta.db_table for model in apps.get_models(include_auto_created=True) if model._meta.managed]


def read(table: str) -> Table:
    with connection.cursor() as cursor:
        cursor.execute(f'SELECT * FROM "{table}" LIMIT 0')
        names = [column[0] for column in cursor.description]
        return table, names, WAYS[connection.vendor].read(cursor, table)


def write(rows: Table, age: timedelta, ids: dict[str, str] | None = None) -> None:
    """Write rows into their table, so much later than they were and with other ids."""
    WAYS[connection.vendor].write(*rows, age, lambda text: _as_now(text, age, ids or {}))


def _as_now(text: str, age: timedelta, ids: dict[str, str]) -> str:
    def moved(found: re.Match[str]) -> str:
        at = datetime.fromisoformat(found[0]) + age
        return at.strftime(f"%Y-%m-%d{found[1]}%H:%M:%S") + (f".{at.microsecond:06d}" if found[2] else "")

    text = TIME.sub(moved, text)
    for old, new in ids.items():
        text = text.replace(old, new)
    return text


class _Sqlite:
    def read(self, cursor: Any, table: str) -> list[Any]:
        cursor.execute(f'SELECT * FROM "{table}"')
        return [tuple(row) for row in cursor.fetchall()]

    def write(self, table: str, names: list[str], rows: list[Any], age: timedelta, now: Callable[[str], str]) -> None:
        def moved(cell: Any) -> Any:
            return cell + age if isinstance(cell, datetime) else now(cell) if isinstance(cell, str) else cell

        columns, places = ", ".join(f'"{name}"' for name in names), ", ".join("?" for _ in names)
        connection.ensure_connection()
        connection.connection.executemany(
            f'INSERT INTO "{table}" ({columns}) VALUES ({places})', [tuple(map(moved, row)) for row in rows]
        )


class _PostgreSQL:
    def read(self, cursor: Any, table: str) -> list[Any]:
        with cursor.copy(f'COPY (SELECT * FROM "{table}") TO STDOUT') as copied:
            return b"".join(bytes(part) for part in copied).decode().splitlines(keepends=True)

    def write(self, table: str, names: list[str], rows: list[Any], age: timedelta, now: Callable[[str], str]) -> None:
        columns = ", ".join(f'"{name}"' for name in names)
        with connection.cursor() as cursor:
            with cursor.copy(f'COPY "{table}" ({columns}) FROM STDIN') as copied:
                copied.write(now("".join(rows)))
            if "id" in names and (sequence := _sequence_of(table)):
                cursor.execute(f'SELECT setval(%s, (SELECT max(id) FROM "{table}"))', [sequence])


@cache
def _sequence_of(table: str) -> str | None:
    """Return what gives out the ids of a table of PostgreSQL; asked once, for this is done before each test."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_get_serial_sequence(%s, 'id')", [f'"{table}"'])
        (sequence,) = cursor.fetchone()
    return None if sequence is None else str(sequence)


WAYS: dict[str, Any] = {"sqlite": _Sqlite(), "postgresql": _PostgreSQL()}
