"""The uses of keys by month: partitions are made ahead, and what is said and done when one is missing."""

from __future__ import annotations

import asyncio
import io
import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import loop
import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client

from byokportal import database
from byokportal.errors import DatabaseUnavailable
from byokportal.postgresql import partitions
from keys.datakeys import ledger
from keys.models import BranchKeyLoad, KeyUse
from support import figures, preflight
from tenants import audit, log_trees
from tenants.models import ServiceRole, Tenant

TABLE, LOADS = "keys_keyuse", "keys_branchkeyload"
# of a line; `id` is another one, so what is refused is its number
COPIED = "tenant_id, name, actor, payload, at, request_id, attempts, seal_number, previous_seal, seal, seal_salt"
on_postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="partitions of PostgreSQL")


def run(statement: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def maintain() -> Any:
    out = io.StringIO()
    call_command("maintain_partitions", stdout=out)
    return {TABLE: json.loads(out.getvalue())[TABLE]}


def months(*first: str) -> list[str]:
    return [f"{TABLE}_{one}" for one in first]


@pytest.fixture
def acme(db: None) -> Tenant:
    role = ServiceRole.objects.create(name="r", arn="arn:aws:iam::999900001111:role/r", unique_id="AROA1")
    return Tenant.objects.create(name="Acme", service_role=role)


@contextmanager
def at(moment: datetime) -> Iterator[None]:
    with time_machine.travel(moment, tick=False):
        yield


@on_postgresql
def test_the_month_and_three_more_are_made_and_rows_go_to_theirs(acme: Tenant) -> None:
    with at(datetime(2031, 11, 30, 23, 59, 59, tzinfo=UTC)):
        assert maintain() == {
            TABLE: {"made": months("2031_11", "2031_12", "2032_01", "2032_02"), "until": "2032-03-01T00:00:00+00:00"}
        }
        assert maintain()[TABLE]["made"] == []
        last = KeyUse.objects.create(tenant=acme, operation="generate", count=1, caller="c", context_digest="d")
    with at(datetime(2031, 12, 1, tzinfo=UTC)):
        assert maintain()[TABLE]["made"] == months("2032_03")
        first = KeyUse.objects.create(tenant=acme, operation="generate", count=1, caller="c", context_digest="d")
    assert run("SELECT id FROM keys_keyuse_2031_11") == [(last.pk,)]
    assert run("SELECT id FROM keys_keyuse_2031_12") == [(first.pk,)]
    assert list(KeyUse.objects.filter(tenant=acme).order_by("-at", "-id")) == [first, last]


@on_postgresql
@pytest.mark.django_db
def test_a_gap_counts_as_the_end_and_is_filled() -> None:
    with at(datetime(2031, 11, 15, tzinfo=UTC)):
        maintain()
        run("DROP TABLE keys_keyuse_2032_01")
        assert partitions.until(TABLE) == datetime(2032, 1, 1, tzinfo=UTC)
        assert maintain() == {TABLE: {"made": months("2032_01"), "until": "2032-03-01T00:00:00+00:00"}}


@on_postgresql
@pytest.mark.django_db
@pytest.mark.parametrize("bounds", ["DEFAULT", "FOR VALUES FROM ('2032-01-01') TO (MAXVALUE)"])
def test_a_partition_of_somebody_s_own_that_takes_every_row_counts(bounds: str) -> None:
    with at(datetime(2031, 11, 15, tzinfo=UTC)):
        maintain()
        run("DROP TABLE keys_keyuse_2032_01, keys_keyuse_2032_02")
        run(f"CREATE TABLE mine PARTITION OF keys_keyuse {bounds}")
        assert Client().get("/readyz").status_code == 200
        assert maintain()[TABLE]["made"] == []


@on_postgresql
@pytest.mark.django_db
@pytest.mark.parametrize(("table", "column"), [(TABLE, "caller"), (LOADS, "region")])
def test_each_partition_has_the_rules_of_the_table(acme: Tenant, table: str, column: str) -> None:
    with at(datetime(2031, 11, 15, tzinfo=UTC)):
        maintain()
        KeyUse.objects.create(tenant=acme, operation="generate", count=1, caller="c", context_digest="d")
        BranchKeyLoad.objects.create(tenant=acme, branch_key_id=uuid.uuid4(), region="r", aws_request_id="a")
    assert run(f"SELECT count(*) FROM {table}_2031_11") == [(1,)]
    for part in (table, f"{table}_2031_11"):
        for change in (f"UPDATE {{}} SET {column} = 'x'", "DELETE FROM {}"):
            run("SAVEPOINT before")
            with pytest.raises(Exception, match="append-only"):
                run(change.format(part))
            run("ROLLBACK TO before")
    wanted = {(tuple(one["columns"]), one["primary_key"], bool(one["foreign_key"])) for one in shape(table)}
    there = shape(f"{table}_2032_01")
    assert {(tuple(one["columns"]), one["primary_key"], bool(one["foreign_key"])) for one in there} == wanted


def shape(table: str) -> list[Any]:
    with connection.cursor() as cursor:
        return list(connection.introspection.get_constraints(cursor, table).values())


@on_postgresql
@pytest.mark.django_db
def test_a_month_of_the_log_has_the_rules_of_the_log(acme: Tenant) -> None:
    with at(datetime(2031, 11, 15, tzinfo=UTC)):
        maintain()
        lines = [audit.record("tenants.tenant.created", tenant=acme, actor=audit.SYSTEM, name="n") for _ in range(2)]
        log_trees.seal()
    assert run("SELECT id FROM tenants_auditevent_2031_11 ORDER BY id") == [(one.pk,) for one in lines]
    for part in ("tenants_auditevent", "tenants_auditevent_2031_11"):
        for change in (
            "UPDATE {} SET actor = 'x'",
            "DELETE FROM {}",
            f"INSERT INTO {{}} (id, {COPIED}) SELECT id + 1000, {COPIED} FROM {{}} LIMIT 1",
        ):
            run("SAVEPOINT before")
            with pytest.raises(Exception, match=r"append-only|duplicate key"):
                run(change.format(part, part))
            run("ROLLBACK TO before")


@on_postgresql
@pytest.mark.django_db
def test_less_than_a_month_ahead_is_said_before_it_hurts() -> None:
    with at(datetime(2031, 11, 15, tzinfo=UTC)):
        maintain()
    for day, level in ((datetime(2032, 1, 30, tzinfo=UTC), "ok"), (datetime(2032, 2, 1, tzinfo=UTC), "fail")):
        with at(day):
            (said,) = preflight._partitions("partitions")
            assert said.level == level, said
            (sample,) = figures._partitions().samples
            assert sample.value == (datetime(2032, 3, 1, tzinfo=UTC) - day).total_seconds()
            assert Client().get("/readyz").status_code == 200
    with at(datetime(2032, 3, 1, tzinfo=UTC)):
        assert preflight._partitions("partitions").__next__().level == "fail"
        answer = Client().get("/readyz")
        assert (answer.status_code, answer.json()["database"]) == (503, False)
        maintain()
        assert Client().get("/readyz").status_code == 200


@on_postgresql
@pytest.mark.django_db
def test_whoever_does_not_own_the_table_is_told_so() -> None:
    run("CREATE ROLE byok_of_tests")
    run("GRANT SELECT ON keys_keyuse TO byok_of_tests")
    run("GRANT CREATE, USAGE ON SCHEMA public TO byok_of_tests")
    run("SET LOCAL ROLE byok_of_tests")
    with at(datetime(2031, 11, 15, tzinfo=UTC)), pytest.raises(CommandError, match="must be owner"):
        call_command("maintain_partitions")


@on_postgresql
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("way", ["on the loop", "in a thread"])
def test_without_a_partition_the_request_is_told_to_come_again(transactional_db: None, way: str) -> None:
    role = ServiceRole.objects.create(name="r", arn="arn:aws:iam::999900001111:role/r", unique_id="AROA1")
    acme = Tenant.objects.create(name="Acme", service_role=role)
    now = ledger.use(acme.pk, KeyUse.Operation.GENERATE, [{}], caller="tests", request_id="r")
    later = now._replace(at=now.at + timedelta(days=800))
    with loop.running() as running:

        def commit(*rows: ledger.Use) -> None:
            if way == "in a thread":
                for row in rows:
                    ledger.record(row)
            else:  # at the same moment, so that they share a statement
                answers = [asyncio.run_coroutine_threadsafe(ledger.commit(row, 20.0), running) for row in rows]
                for answer in answers:
                    answer.result()

        with pytest.raises(DatabaseUnavailable):
            commit(later)
        commit(now)
    assert list(KeyUse.objects.values_list("at", flat=True)) == [now.at]


@on_postgresql
def test_without_a_partition_an_unwrap_says_so_too(acme: Tenant) -> None:
    with at(datetime(2099, 1, 1, tzinfo=UTC)), pytest.raises(DatabaseUnavailable), database.needed():
        BranchKeyLoad.objects.create(tenant=acme, branch_key_id=uuid.uuid4(), region="r", aws_request_id="a")


@on_postgresql
@pytest.mark.django_db
@pytest.mark.parametrize("table", ["keys_keyuse", "keys_branchkeyload", "tenants_auditevent"])
def test_each_table_counts(table: str) -> None:
    with at(datetime(2031, 11, 15, tzinfo=UTC)):
        maintain()
        run(f"DROP TABLE {table}_2031_12")
        assert partitions.left() == timedelta(days=16)


@pytest.mark.django_db
@pytest.mark.sqlite
def test_sqlite_keeps_one_table() -> None:
    if connection.vendor != "sqlite":
        pytest.skip("of SQLite")
    assert maintain() == {TABLE: {"made": [], "until": None}}
    assert (partitions.left(), figures._partitions().samples) == (None, [])
    (said,) = preflight._partitions("partitions")
    assert said.level == "ok"
