"""A database as it was before people came by invitation, brought up to date:
by `manage.py migrate`, as whoever runs us does it.

The rows are as the old code, a shell or an attacker left them. What the code of today may rely on is asserted, and that
triggers, constraints and indexes are those of a database that is new.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.db import DatabaseError, connection, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.db.utils import load_backend

from support.groups import permissions_of
from tenants import roles

ALIAS = "old"
# The last states before addresses, invitations and ends of tokens.
BEFORE = {
    "tenants": "0005_what_is_shown_once",
    "keys": "0011_drops_wait_for_no_tenant",
    "support": "0004_drop_caches_and_close_incidents",
}
MIGRATE = """
import sys, django
django.setup()
from django.core.management import call_command
for target in sys.argv[1:]:
    call_command("migrate", *target.split(":"), verbosity=0)
"""
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
KEY = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ROLE = "arn:aws:iam::111122223333:role/r"
FACTS = {"state": "Disabled", "origin": "AWS_KMS"}


def migrate(url: str, var: Path, *targets: str) -> None:
    environment = {
        **os.environ,
        "DATABASE_URL": url,
        "VAR_DIR": str(var),
        "DJANGO_SETTINGS_MODULE": "byokportal.settings",
    }
    done = subprocess.run(
        [sys.executable, "-c", MIGRATE, *targets],
        env=environment,
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[:2000] + done.stderr[-2000:]


@pytest.fixture
def old(db: None, tmp_path: Path) -> Iterator[tuple[str, BaseDatabaseWrapper]]:
    """An empty database of its own, on the server of the suite: its URL and a connection."""
    facts = dict(connection.settings_dict)
    name = f"old_{secrets.token_hex(4)}"
    if connection.vendor == "sqlite":
        facts["NAME"] = str(tmp_path / name)
        url = f"sqlite:///{facts['NAME']}"
    else:
        facts["NAME"] = name
        where = f"{facts['HOST'] or '127.0.0.1'}:{facts['PORT'] or 5432}"
        url = f"postgres://{facts['USER']}{':' + facts['PASSWORD'] if facts['PASSWORD'] else ''}@{where}/{name}"
        with connection._nodb_cursor() as cursor:  # type: ignore[attr-defined]
            cursor.execute(f"CREATE DATABASE {name}")
    # Not among the databases of the suite, which the test would have to name before this one exists.
    connections[ALIAS] = load_backend(facts["ENGINE"]).DatabaseWrapper(facts, ALIAS)
    try:
        yield url, connections[ALIAS]
    finally:
        connections[ALIAS].close()
        del connections[ALIAS]
        if connection.vendor == "postgresql":
            with connection._nodb_cursor() as cursor:  # type: ignore[attr-defined]
                cursor.execute(f"DROP DATABASE {name}")


class Rows:
    """The tables as one state of the migrations knows them."""

    def __init__(self, old: BaseDatabaseWrapper, before: bool) -> None:
        executor = MigrationExecutor(old)
        nodes = [node for node in executor.loader.graph.leaf_nodes() if not before or node[0] not in BEFORE]
        nodes += list(BEFORE.items()) if before else []
        self._apps = executor.loader.project_state(nodes).apps

    def __call__(self, model: str) -> Any:
        return self._apps.get_model(model).objects.using(ALIAS)


def write_old_rows(of: Rows) -> dict[str, Any]:
    role = of("tenants.ServiceRole").create(name="r", arn="arn:aws:iam::999900001111:role/r", unique_id="AROA1")
    acme, other = (of("tenants.Tenant").create(name=name, service_role=role) for name in ("Acme", "Other"))

    def person(username: str, email: str | None = None, *, has_password: bool = False, **facts: Any) -> Any:
        password = make_password("x" * 20 if has_password else None)
        return of("auth.User").create(
            username=username, email=username if email is None else email, password=password, **facts
        )

    def member(user: Any, role: str, tenant: Any = acme) -> Any:
        return of("tenants.Member").create(tenant=tenant, user=user, role=role)

    def token(**facts: Any) -> Any:
        return of("tenants.AccessToken").create(digest=secrets.token_hex(32), **facts)

    alice, ina = person("alice@acme.example", has_password=True), person("Ina@Acme.example")
    owner, invited = member(alice, "owner"), member(ina, "admin")
    member(ina, "auditor", other)
    # The attack that was seen: an address typed in and made the primary one.
    bob = person("bob@acme.example", "ciso@other.example", has_password=True)
    member(bob, "auditor")
    of("account.EmailAddress").create(user=bob, email="ciso@other.example", primary=True)
    # Whatever a shell or a race left: one address twice, no address, one that is too long,
    # one with a password beside one without.
    twins = [
        member(person(name), role) for name, role in (("eve@acme.example", "auditor"), ("Eve@acme.example", "owner"))
    ]
    twin_token = token(member=twins[1], name="of the second twin")
    member(person("nobody", ""), "auditor")
    member(person("long", f"{'a' * 60}@{'b' * 60}.{'c' * 60}.example"), "auditor")
    member(person("Alice@acme.example"), "auditor")
    staff = person("sam", "Sam@kore.example", has_password=True, is_staff=True)
    account = of("tenants.ServiceAccount").create(name="search", secret_digest="5" * 64, scopes=["key:read"])
    tokens = {
        "endless": token(member=owner, name="endless"),
        "ending": token(member=owner, name="ending", expires_at=LONG_AGO),
        "revoked": token(member=owner, name="revoked", revoked_at=LONG_AGO),
        "of the invited": token(member=invited, name="of the invited"),
        "of a service": token(service_account=account, scopes=["key:read"], expires_at=LONG_AGO),
        "of a service, endless": token(service_account=account, scopes=["key:read"]),
    }
    of("auth.Group").get(name="Support").permissions.add(of("auth.Permission").get(codename="suspend_key"))
    event = of("tenants.AuditEvent").create(
        tenant=acme, name="tenants.tenant.created", actor="system", payload="{}", at=LONG_AGO
    )
    serving = {"key_arn": KEY, "role_arn": ROLE, "status": "suspended", "suspended_by": "aws", "activated_at": LONG_AGO}
    probed = {"good_probes": 2, "refused_since": LONG_AGO, "refused_code": "kms_key_disabled", "key_facts": FACTS}
    served = of("keys.KeyRegistration").create(
        tenant=acme, role_claim="1/r", next_probe_at=LONG_AGO, **serving, **probed
    )
    of("keys.KeyRegistration").create(tenant=other)  # a draft
    use = of("keys.KeyUse").create(tenant=acme, operation="generate", count=1, caller="c", context_digest="d")
    return {
        "acme": acme,
        "other": other,
        "alice": alice,
        "bob": bob,
        "ina": ina,
        "staff": staff,
        "account": account,
        "tokens": tokens,
        "event": event,
        "use": use,
        "served": served,
        "twin": twin_token,
    }


def shape(of: BaseDatabaseWrapper) -> dict[str, Any]:
    """Return what the database holds its rows to: triggers, and the constraints and indexes of each table."""
    question = {
        "sqlite": "SELECT tbl_name, name, sql FROM sqlite_master WHERE type = 'trigger'",
        "postgresql": (
            "SELECT tgrelid::regclass::text, tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal"
        ),
    }[of.vendor]
    found: dict[str, Any] = {}
    with of.cursor() as cursor:
        cursor.execute(question)
        found["triggers"] = sorted(cursor.fetchall())
        for table in of.introspection.table_names(cursor):
            if not table.startswith(("tenants_", "keys_", "support_")):
                continue
            constraints = of.introspection.get_constraints(cursor, table).values()
            found[table] = sorted(
                str(sorted((k, str(v)) for k, v in one.items() if k != "definition")) for one in constraints
            )
    return found


@pytest.mark.slow
@pytest.mark.servers
def test_an_old_database_is_brought_up_to_date(old: tuple[str, BaseDatabaseWrapper], tmp_path: Path) -> None:
    url, there = old
    migrate(
        url, tmp_path, *(f"{app}:{name}" for app, name in BEFORE.items()), "account", "mfa", "sessions", "usersessions"
    )
    was = write_old_rows(Rows(there, before=True))
    there.close()
    began = datetime.now(UTC)
    migrate(url, tmp_path, "")
    of = Rows(there, before=False)

    # people
    def members(tenant: Any) -> list[tuple[str, str]]:
        return sorted(of("tenants.Member").filter(tenant_id=tenant.pk).values_list("user__email", "role"))

    assert members(was["acme"]) == [("alice@acme.example", "owner"), ("bob@acme.example", "auditor")]
    assert members(was["other"]) == []
    proved = of("account.EmailAddress").values_list("user_id", "email", "verified", "primary")
    assert sorted(proved) == sorted(
        (was[who].pk, email, True, True)
        for who, email in (("alice", "alice@acme.example"), ("bob", "bob@acme.example"), ("staff", "sam@kore.example"))
    )
    invitations = of("tenants.Invitation").order_by("email")
    assert {
        (one.tenant_id, one.email, one.role, one.status) for one in invitations if one.email.startswith(("ina", "eve"))
    } == {
        (was["acme"].pk, "ina@acme.example", "admin", "pending"),
        (was["other"].pk, "ina@acme.example", "auditor", "pending"),
        (was["acme"].pk, "eve@acme.example", "auditor", "pending"),
    }
    assert all(
        timedelta(days=6, hours=23) < one.expires_at - began <= timedelta(days=7, minutes=10) for one in invitations
    )
    # nobody is invited at no address
    assert {one.email for one in invitations} == {
        "ina@acme.example",
        "eve@acme.example",
    }

    # tokens
    def token(name: str) -> Any:
        return of("tenants.AccessToken").get(pk=was["tokens"][name].pk)

    every = ["operate", "people", "read", "setup"]
    assert sorted(token("endless").permissions) == every
    assert timedelta(days=89) < token("endless").expires_at - began <= timedelta(days=90, minutes=10)
    assert (token("ending").expires_at, token("revoked").revoked_at) == (LONG_AGO, LONG_AGO)
    assert not of("tenants.AccessToken").filter(may_change_serving_key=True).exists()
    assert (token("of the invited").member_id, token("of the invited").invitation.email) == (None, "ina@acme.example")
    assert of("tenants.AccessToken").get(pk=was["twin"].pk).invitation.email == "eve@acme.example"
    secret = of("tenants.ClientSecret").get(service_account_id=was["account"].pk)
    assert (secret.digest, secret.expires_at, secret.revoked_at) == ("5" * 64, None, None)
    assert {token("of a service").secret_id, token("of a service, endless").secret_id} == {secret.pk}
    assert token("of a service, endless").expires_at <= datetime.now(UTC) + timedelta(minutes=10)

    # what probes had found stands in a row of its own, of what ever served
    health = of("keys.KeyHealth").get()
    assert (health.registration_id, health.tenant_id) == (was["served"].pk, was["acme"].pk)
    assert (health.data_scope, health.region, health.next_probe_at) == ("default", "eu-central-1", LONG_AGO)
    assert (health.good_probes, health.refused_since, health.refused_code) == (2, LONG_AGO, "kms_key_disabled")
    assert health.key_facts == FACTS

    # the groups of staff: an older version left a support engineer with a lead's permission
    assert {
        group.name: {f"{one.content_type.app_label}.{one.codename}" for one in group.permissions.all()}
        for group in of("auth.Group")
    } == {name: permissions_of(name) for name in roles.GROUPS}

    # uses: the rows of before are where they were, and ids go on behind them
    assert list(of("keys.KeyUse").values_list("pk", flat=True)) == [was["use"].pk]
    more = {"tenant_id": was["acme"].pk, "operation": "generate", "count": 1, "caller": "c", "context_digest": "d"}
    assert of("keys.KeyUse").create(**more).pk == was["use"].pk + 1

    # what the database holds
    assert shape(there) == shape(connection)
    pk = was["acme"].pk.hex if there.vendor == "sqlite" else str(was["acme"].pk)
    for statement, value in (
        ("UPDATE tenants_tenant SET external_id = 'x' WHERE id = %s", pk),
        ("DELETE FROM tenants_auditevent WHERE id = %s", was["event"].pk),
        ("UPDATE tenants_auditevent SET actor = 'x' WHERE id = %s", was["event"].pk),
        ("DELETE FROM keys_keyuse WHERE id = %s", was["use"].pk),
    ):
        with pytest.raises(DatabaseError), transaction.atomic(using=ALIAS), there.cursor() as cursor:
            cursor.execute(statement, [value])
    assert of("tenants.Tenant").get(pk=was["acme"].pk).external_id == was["acme"].external_id
    assert isinstance(was["acme"].pk, uuid.UUID)


@pytest.mark.slow
@pytest.mark.servers
def test_what_probes_found_goes_back_to_the_registration_and_forward_again(
    old: tuple[str, BaseDatabaseWrapper], tmp_path: Path
) -> None:
    url, there = old
    migrate(url, tmp_path, "")
    of = Rows(there, before=False)
    role = of("tenants.ServiceRole").create(name="r", arn="arn:aws:iam::999900001111:role/r", unique_id="AROA1")
    acme = of("tenants.Tenant").create(name="Acme", service_role=role)
    facts = {"status": "active", "key_arn": KEY, "role_arn": ROLE, "role_claim": "1/r", "activated_at": LONG_AGO}
    registration = of("keys.KeyRegistration").create(tenant=acme, **facts)
    found = {"next_probe_at": LONG_AGO, "good_probes": 7, "key_facts": FACTS, "is_probe_awaited": True}
    of("keys.KeyHealth").create(tenant=acme, registration=registration, region="eu-central-1", **found)
    there.close()
    migrate(url, tmp_path, "keys:0022_what_a_process_has_seen")
    state = MigrationExecutor(there).loader.project_state([("keys", "0022_what_a_process_has_seen")])
    before = state.apps.get_model("keys.KeyRegistration").objects.using(ALIAS).get()
    assert {name: getattr(before, name) for name in found} == found
    there.close()
    migrate(url, tmp_path, "")
    after = Rows(there, before=False)("keys.KeyHealth").get()
    assert {name: getattr(after, name) for name in found} == found
    assert (after.registration_id, after.region) == (registration.pk, "eu-central-1")
    assert shape(there) == shape(connection)


@pytest.mark.slow
@pytest.mark.servers
def test_unwraps_of_before_there_were_months_are_where_they_were(
    old: tuple[str, BaseDatabaseWrapper], tmp_path: Path
) -> None:
    url, there = old
    migrate(url, tmp_path, "")
    migrate(url, tmp_path, "keys:0046_lines_without_a_constraint")
    of = Rows(there, before=False)
    role = of("tenants.ServiceRole").create(name="r", arn="arn:aws:iam::999900001111:role/r", unique_id="AROA1")
    acme = of("tenants.Tenant").create(name="Acme", service_role=role)
    facts = {"tenant_id": acme.pk, "branch_key_id": uuid.uuid4(), "region": "eu-central-1", "session_name": "s"}
    rows = [of("keys.BranchKeyLoad").create(**facts, aws_request_id=name, at=LONG_AGO).pk for name in "ab"]
    there.close()
    for _ in range(2):  # and back again, with rows in several months
        migrate(url, tmp_path, "")
        rows.append(of("keys.BranchKeyLoad").create(**facts, aws_request_id="c").pk)
        assert set(of("keys.BranchKeyLoad").values_list("pk", flat=True)) == set(rows)
        assert shape(there) == shape(connection)
        for statement in ("DELETE FROM keys_branchkeyload", "UPDATE keys_branchkeyload SET region = 'x'"):
            with pytest.raises(DatabaseError), transaction.atomic(using=ALIAS), there.cursor() as cursor:
                cursor.execute(statement)
        there.close()
        migrate(url, tmp_path, "keys:0046_lines_without_a_constraint")
        with pytest.raises(DatabaseError), transaction.atomic(using=ALIAS), there.cursor() as cursor:
            cursor.execute("DELETE FROM keys_branchkeyload")
        assert set(of("keys.BranchKeyLoad").values_list("pk", flat=True)) == set(rows)
        there.close()
