"""What the database keeps as it is: no UPDATE, DELETE or REPLACE by anybody who has a connection,
whatever migrations did to the tables since."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, connection, transaction

from keys.models import BranchKey, BranchKeyLoad, KeyUse
from tenants import audit
from tenants.models import AuditEvent, ServiceRole, Tenant

FREE = {
    "tenants_auditevent": {"followed_at", "attempts", "next_at", "seal", "seal_number", "previous_seal", "seal_salt"}
}
FIXED = {"tenants_tenant": {"external_id", "service_role_id"}}  # the others are facts that change


@pytest.fixture
def rows(db: None) -> dict[str, int | str]:
    role = ServiceRole.objects.create(name="r", arn="arn:aws:iam::999900001111:role/r", unique_id="AROA1")
    tenant = Tenant.objects.create(name="Acme", service_role=role)
    event = audit.record("tenants.tenant.viewed", tenant=tenant, actor=audit.SYSTEM)
    use = KeyUse.objects.create(tenant=tenant, operation="generate", count=1, caller="c", context_digest="d")
    pk = tenant.pk.hex if connection.vendor == "sqlite" else str(tenant.pk)
    branch_key = BranchKey.objects.create(tenant=tenant, key_arn="k", wrapped=b"w")
    load = BranchKeyLoad.objects.create(tenant=tenant, branch_key=branch_key, region="r", aws_request_id="x").pk
    return {
        "tenants_auditevent": event.pk,
        "keys_keyuse": use.pk,
        "keys_branchkeyload": load.hex if connection.vendor == "sqlite" else str(load),
        "tenants_tenant": pk,
    }


def columns(table: str) -> list[str]:
    with connection.cursor() as cursor:
        return [column.name for column in connection.introspection.get_table_description(cursor, table)]


def is_refused(statement: str, *values: object) -> bool:
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement, values)
    except DatabaseError:
        return True
    return False


def other(column: str) -> str:
    return (
        "'2031-01-01'"
        if column.endswith("_at") or column == "at"
        else "77"
        if column in {"count", "attempts", "seal_number", "tenant_id"}
        else "'x'"
    )


@pytest.mark.parametrize("table", ["tenants_auditevent", "keys_keyuse", "keys_branchkeyload"])
def test_exactly_the_bookkeeping_changes(table: str, rows: dict[str, int]) -> None:
    changing = {
        column
        for column in columns(table)
        if column != "id"
        and not is_refused(f"UPDATE {table} SET {column} = {other(column)} WHERE id = %s", rows[table])
    }
    assert changing == FREE.get(table, set())


def test_a_tenant_keeps_its_fixed_facts(rows: dict[str, int]) -> None:
    for column in FIXED["tenants_tenant"]:
        assert is_refused(f"UPDATE tenants_tenant SET {column} = {other(column)} WHERE id = %s", rows["tenants_tenant"])


@pytest.mark.parametrize("table", ["tenants_auditevent", "keys_keyuse", "keys_branchkeyload"])
def test_nothing_is_removed(table: str, rows: dict[str, int]) -> None:
    assert is_refused(f"DELETE FROM {table} WHERE id = %s", rows[table])


@pytest.mark.sqlite
@pytest.mark.parametrize("table", ["tenants_auditevent", "keys_keyuse", "keys_branchkeyload", "tenants_tenant"])
@pytest.mark.parametrize("recursive", ["ON", "OFF"])
def test_nothing_is_replaced(table: str, recursive: str, rows: dict[str, int]) -> None:
    """SQLite's REPLACE removes the old row; without `recursive_triggers`, which somebody else's connection has not,
    no trigger sees that."""
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL's upsert is an UPDATE")
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA recursive_triggers")
        assert cursor.fetchone() == (1,)
        cursor.execute(f"PRAGMA recursive_triggers = {recursive}")
    try:
        names = ", ".join(f'"{name}"' for name in columns(table))
        assert is_refused(
            f"INSERT OR REPLACE INTO {table} ({names}) SELECT {names} FROM {table} WHERE id = %s", rows[table]
        )
        assert is_refused(f"REPLACE INTO {table} ({names}) SELECT {names} FROM {table} WHERE id = %s", rows[table])
    finally:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA recursive_triggers = ON")
    assert AuditEvent.objects.filter(pk=rows["tenants_auditevent"]).exists()
