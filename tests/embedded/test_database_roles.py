"""`deploy/postgresql/roles.sql` on a server of its own: who serves owns nothing, and can undo no rule."""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from django.db import connection
from wal_server import WalServer, wal_server

ROOT = Path(__file__).resolve().parents[2]
ROWS = """
from keys.models import *
from tenants.models import *
role = ServiceRole.objects.create(name="r", arn="arn:aws:iam::999900001111:role/r", unique_id="AROA1")
tenant = Tenant.objects.create(name="Acme", service_role=role)
KeyUse.objects.create(tenant=tenant, operation="generate", count=1, caller="c", context_digest="d")
branch_key = BranchKey.objects.create(tenant=tenant, key_arn="k", wrapped=b"w")
BranchKeyLoad.objects.create(tenant=tenant, branch_key=branch_key, region="r", aws_request_id="x")
"""
# What a role that serves must not do, whatever was stolen from it.
FORBIDDEN = (
    "DROP TRIGGER keys_keyuse_append_only ON keys_keyuse",
    "ALTER TABLE keys_keyuse DISABLE TRIGGER ALL",
    "ALTER TABLE tenants_auditevent DISABLE TRIGGER ALL",
    "ALTER TABLE keys_keyuse OWNER TO byok_app",
    "TRUNCATE keys_keyuse",
    "TRUNCATE tenants_auditevent CASCADE",
    "DROP TABLE keys_branchkeyload",
    "DELETE FROM keys_keyuse",
    "UPDATE keys_keyuse SET caller = 'x'",
    "DELETE FROM keys_keyuse_first",
    "TRUNCATE keys_keyuse_first",
    "DROP TABLE keys_keyuse_first",
    "ALTER TABLE keys_keyuse DETACH PARTITION keys_keyuse_first",
    "DELETE FROM tenants_auditevent",
    "UPDATE tenants_auditevent SET actor = 'x'",
    "DELETE FROM keys_branchkeyload",
    "DELETE FROM keys_branchkeyload_first",
    "TRUNCATE keys_branchkeyload_first",
    "ALTER TABLE keys_branchkeyload DETACH PARTITION keys_branchkeyload_first",
    "SELECT setval('keys_keyuse_id_seq', 1)",
    "SET session_replication_role = replica",
    "CREATE OR REPLACE FUNCTION keys_use_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN OLD; END $$",
    "DROP FUNCTION tenants_log_append_only() CASCADE",
    "CREATE TRIGGER mine BEFORE INSERT ON keys_keyuse FOR EACH ROW EXECUTE FUNCTION keys_use_append_only()",
    "CREATE TABLE public.mine (id int)",
    "CREATE TEMPORARY TABLE keys_keyuse (id int)",
    "CREATE SCHEMA mine",
    "SET ROLE byok_owner",
    "SET SESSION AUTHORIZATION byok_owner",
    "GRANT byok_owner TO byok_app",
    "ALTER ROLE byok_app SUPERUSER",
    "ALTER DATABASE byok OWNER TO byok_app",
)


def program(name: str) -> Path:
    found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"))
    return Path(found[-1] if found else shutil.which(name) or pytest.skip(f"{name} is not on this machine"))


@pytest.fixture
def server() -> Iterator[WalServer]:
    with wal_server(program("postgres").parent) as started:
        yield started


def roles(server: WalServer) -> None:
    where = ["-h", "127.0.0.1", "-p", str(server.port), "-U", "byok", "-d", "byok"]
    file = ROOT / "deploy" / "postgresql" / "roles.sql"
    passwords = {"OWNER_PASSWORD": "a password of o'tests", "APPLICATION_PASSWORD": "another"}
    done = subprocess.run(
        [program("psql"), *where, "-qf", str(file)],
        env={**os.environ, **passwords},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def manage(server: WalServer, role: str, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": f"postgres://{role}@127.0.0.1:{server.port}/byok"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def connect(server: WalServer, role: str, database: str = "byok") -> psycopg.Connection:
    return psycopg.connect(host="127.0.0.1", port=server.port, user=role, dbname=database, autocommit=True)


@pytest.mark.servers
@pytest.mark.skipif(connection.vendor != "postgresql", reason="roles of PostgreSQL")
def test_whoever_serves_owns_nothing_and_can_undo_no_rule(server: WalServer) -> None:
    with connect(server, "byok", "postgres") as everybody:
        everybody.execute("CREATE DATABASE byok")
    roles(server)
    # An installation from before there were two roles: the superuser made some of the tables.
    manage(server, "byok", "migrate", "tenants", "0002")
    roles(server)
    manage(server, "byok_owner", "migrate")
    manage(server, "byok_owner", "maintain_partitions")
    with connect(server, "byok_app") as ours:
        assert ours.execute("SELECT count(*) FROM pg_class WHERE relowner = 'byok_app'::regrole").fetchone() == (0,)
        assert not ours.execute("SELECT FROM pg_proc WHERE proowner = 'byok_app'::regrole").fetchall()
        manage(server, "byok_app", "create_service_account", "--name", "search", "--scope", "key:read", "--all-tenants")
        manage(server, "byok_app", "shell", "-c", ROWS)
        for table in ("keys_keyuse", "keys_branchkeyload", "tenants_auditevent"):
            assert ours.execute(f"SELECT count(*) FROM {table}").fetchone() != (0,)  # type: ignore[arg-type]
        for statement in FORBIDDEN:
            with pytest.raises(psycopg.Error) as refused:
                ours.execute(statement)  # type: ignore[arg-type]
            assert refused.value.sqlstate in {"42501", "P0001"}, (statement, str(refused.value))
