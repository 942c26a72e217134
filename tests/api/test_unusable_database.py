"""A database that is read-only, half migrated, locked or paused is a 503 with Retry-After and one line in the log,
on every page there is.

The URL map is walked. Any other error of the database stays a bug: 500.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import silence
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import DatabaseError, connection, connections
from django.test import Client
from django.urls import reverse
from url_map import addresses

from byokportal import clock, database, health
from keys import datakeys, services
from keys.models import BranchKey, KeyRegistration
from support import services as support_services
from tenants import audit
from tenants.models import Member, ServiceAccount

pytestmark = pytest.mark.django_db(transaction=True)
TABLES = ("django_session", "auth_user", "account_emailaddress", "tenants_tenant", "keys_keyregistration")


@contextlib.contextmanager
def without_table(name: str) -> Iterator[None]:
    """Rename a table, as if its migration had not run."""
    quiet = "PRAGMA legacy_alter_table = {}" if connection.vendor == "sqlite" else "SELECT {}"
    with connection.cursor() as cursor:
        cursor.execute(quiet.format(1))
        cursor.execute(f"ALTER TABLE {name} RENAME TO {name}_gone")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {name}_gone RENAME TO {name}")
            cursor.execute(quiet.format(0))


@contextlib.contextmanager
def read_only() -> Iterator[None]:
    """Let this thread's connection write nothing, as on a standby."""
    says = (
        ("PRAGMA query_only = 1", "PRAGMA query_only = 0")
        if connection.vendor == "sqlite"
        else ("SET default_transaction_read_only = on", "SET default_transaction_read_only = off")
    )
    with connection.cursor() as cursor:
        cursor.execute(says[0])
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(says[1])


@pytest.fixture
def pages(
    active: KeyRegistration, alice: Member, sam: User, browser_of: Callable[..., Client], api_of: Callable[..., Client]
) -> Callable[[], Iterator[tuple[str, Client]]]:
    """Every address that can be filled in, with the client of somebody who may read it."""
    ticket = support_services.open_ticket(alice.tenant, topic="question", subject="s", text="t", actor=audit.SYSTEM)
    names = {
        "tenant": str(alice.tenant.pk),
        "number": "2",
        "name": "trust-policy",
        "test": str(active.tests.get().pk),
        "ticket": str(ticket.pk),
    }
    person, machine, staff = browser_of(alice), api_of(alice), browser_of(sam)
    stranger = Client()

    def every() -> Iterator[tuple[str, Client]]:
        for route in sorted({address.route for address in addresses()}):
            for name, value in names.items():
                for kind in ("uuid", "str", "int", "slug"):
                    route = route.replace(f"<{kind}:{name}>", value)
            route = route.replace("^", "").replace("$", "").replace("\\Z", "")
            if any(sign in route for sign in "<(?*["):
                continue
            path = "/" + route
            for client in (
                (machine,)
                if path.startswith("/api/v1")
                else (staff,)
                if path.startswith("/admin")
                else (person, stranger)
            ):
                yield path, client

    return every


def assert_never_broken(pages: Callable[[], Iterator[tuple[str, Client]]]) -> int:
    """Assert that each page either works or is a 503 that says when to try again; return how many are."""
    unavailable = 0
    for path, client in pages():
        client.raise_request_exception = False
        answer = client.get(path)
        assert answer.status_code != 500, path
        if answer.status_code == 503:
            assert answer["Retry-After"].isdigit(), path
            unavailable += 1
            if path.startswith("/api/v1"):
                assert answer.json()["code"] == "database_unavailable"
    return unavailable


@pytest.mark.parametrize(
    "tables", [TABLES[:1], pytest.param(TABLES[1:], marks=[pytest.mark.slow, pytest.mark.servers])]
)
def test_a_missing_table(tables: tuple[str, ...], pages: Callable[[], Iterator[tuple[str, Client]]]) -> None:
    for table in tables:
        with without_table(table):
            assert assert_never_broken(pages) > 0, table
            assert Client().get("/readyz").status_code == 503
            assert Client().get("/healthz").status_code == 200
    assert Client().get("/readyz").status_code == 200
    assert assert_never_broken(pages) == 0


def test_a_missing_column(pages: Callable[[], Iterator[tuple[str, Client]]]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE tenants_member RENAME COLUMN created_at TO gone")
    try:
        assert assert_never_broken(pages) > 20
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE tenants_member RENAME COLUMN gone TO created_at")


def test_a_database_that_takes_no_writes(
    pages: Callable[[], Iterator[tuple[str, Client]]],
    alice: Member,
    sam: User,
    browser_of: Callable[..., Client],
    api_of: Callable[..., Client],
) -> None:
    person, staff, machine = browser_of(alice), browser_of(sam), api_of(alice)
    for client in (person, staff, machine):
        client.raise_request_exception = False
    at = f"/tenants/{alice.tenant.pk}"
    with read_only():
        assert_never_broken(pages)
        answers = [
            person.post(f"{at}/key/suspend/", {"reason": "x"}, headers={"referer": f"http://testserver{at}/key/"}),
            person.post(reverse("account_logout")),
            machine.post(f"/api/v1{at}/key/suspend", {"reason": "x"}, content_type="application/json"),
            staff.post("/admin/logout/"),
            Client().post(
                reverse("account_login"), {"login": "nobody@acme.example", "password": "wrong-password-of-tests"}
            ),
            Client().get("/readyz"),
        ]
    # a wrong password writes nothing
    assert [answer.status_code for answer in answers] == [
        503,
        503,
        503,
        503,
        200,
        503,
    ]
    assert all("Retry-After" in answer for answer in answers if answer.status_code == 503)


def test_one_line_in_the_log_and_no_traceback(
    alice: Member, browser_of: Callable[..., Client], caplog: pytest.LogCaptureFixture
) -> None:
    person = browser_of(alice)
    with without_table("tenants_onboardingstep"), caplog.at_level(logging.WARNING):
        answer = person.get(f"/tenants/{alice.tenant.pk}/")
    assert answer.status_code == 503
    assert "tenants_onboardingstep" not in answer.content.decode()
    lines = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [record.getMessage().partition(":")[0] for record in lines] == ["the database cannot be used"]
    assert lines[0].exc_info is None


def test_a_paused_server_keeps_no_page_waiting(
    pages: Callable[[], Iterator[tuple[str, Client]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "SECONDS", 0.3)
    connections.close_all()
    some = [page for number, page in enumerate(pages()) if number % 7 == 0]
    with silence.wire_to_the_database() as wire:
        for path, client in some:
            client.get(path)  # the connection is there
        wire.silent.set()
        assert assert_never_broken(lambda: iter(some)) > 3
        assert Client().get("/readyz").status_code == 503


@pytest.mark.parametrize(
    "statement",
    [
        "SELEC 1",
        "SELECT no_such_function_of_ours(1)",
        "INSERT INTO auth_group (id, name) SELECT id, name FROM auth_group",
    ],
)
def test_a_wrong_statement_is_a_bug(statement: str, db: None) -> None:
    with pytest.raises(DatabaseError) as raised, connection.cursor() as cursor:
        cursor.execute(statement)
    assert not database.is_unusable(raised.value)


def test_a_bug_on_a_page_stays_a_500(alice: Member, browser_of: Callable[..., Client]) -> None:
    person = browser_of(alice)
    person.raise_request_exception = False

    def broken(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        return execute(
            "SELEC 1" if "tenants_onboardingstep" in sql else sql,
            params if "tenants_onboardingstep" not in sql else (),
            many,
            context,
        )

    with connection.execute_wrapper(broken):
        assert person.get(f"/tenants/{alice.tenant.pk}/").status_code == 500


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        (sqlite3.SQLITE_FULL, "database or disk is full", True),
        (sqlite3.SQLITE_BUSY, "database is locked", True),
        (sqlite3.SQLITE_READONLY, "attempt to write a readonly database", True),
        (sqlite3.SQLITE_READONLY | (1 << 8), "attempt to write a readonly database", True),
        (sqlite3.SQLITE_IOERR | (2 << 8), "disk I/O error", True),
        (sqlite3.SQLITE_CORRUPT, "database disk image is malformed", True),
        (sqlite3.SQLITE_NOTADB, "file is not a database", True),
        (sqlite3.SQLITE_ERROR, "no such table: x", True),
        (sqlite3.SQLITE_ERROR, "no such column: x.y", True),
        (sqlite3.SQLITE_ERROR, "table x has no column named y", True),
        (sqlite3.SQLITE_ERROR, 'near "SELEC": syntax error', False),
        (sqlite3.SQLITE_ERROR, "too many SQL variables", False),
        (sqlite3.SQLITE_CONSTRAINT, "UNIQUE constraint failed", False),
    ],
)
def test_what_sqlite_says(code: int, text: str, expected: bool) -> None:
    cause = sqlite3.OperationalError(text)
    cause.sqlite_errorcode = code
    error = DatabaseError(text)
    error.__cause__ = cause
    assert database.is_unusable(error) is expected


@pytest.mark.parametrize("host", ["10.0.3.7:8000", "byok_internal", "-", "[::1", "evil.example"])
def test_who_watches_a_process_needs_no_name_of_ours(host: str, settings: Any) -> None:
    settings.ALLOWED_HOSTS, settings.SECURE_SSL_REDIRECT = ["byok.example.com"], True
    for path in ("/healthz", "/readyz"):
        answer = Client().get(path, headers={"host": host})
        assert (answer.status_code, answer.json()["status"]) == (200, "ok")
        assert Client().head(path, headers={"host": host}).status_code == 200
        assert Client().post(path, headers={"host": host}).status_code == 405
    assert Client().get("/accounts/login/", headers={"host": host}, secure=True).status_code == 400


@pytest.mark.django_db
@pytest.mark.parametrize(
    "table", ["keys_databaseadmission", "tenants_tenant", "keys_branchkey", "keys_branchkeyload", "keys_keyuse"]
)
@pytest.mark.parametrize("operation", ["", "/decrypt"])
def test_a_bug_where_keys_are_given_out_stays_a_500_and_gives_out_none(
    table: str, operation: str, active: KeyRegistration, service: ServiceAccount, api_of: Callable[..., Client]
) -> None:
    api, path = api_of(service), f"/api/v1/tenants/{active.tenant_id}/data-keys"
    api.raise_request_exception = False
    old = api.post(path, {}, content_type="application/json").json()["wrapped_key"]
    services.rotate_branch_key(active.tenant, reason="another wraps now", actor=audit.SYSTEM)
    BranchKey.objects.update(is_current=False)
    datakeys.start_anew()
    sent: list[str] = []

    def broken(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if table not in sql:
            return execute(sql, params, many, context)
        sent.append(sql)
        return execute("SELEC 1", [()] if many else (), many, context)

    body = {"wrapped_key": old} if operation else {}
    with connection.execute_wrapper(broken):
        answer = api.post(path + operation, body, content_type="application/json")
    assert sent
    assert answer.status_code == 500
    assert b"plaintext" not in answer.content


def test_readyz_commits_a_write_at_most_once_a_second(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "EVERY", 3_600.0)
    monkeypatch.setattr(health, "_written_at", -3_600.0)
    assert Client().get("/readyz").status_code == 200
    written = Session.objects.get(pk=health.ROW).expire_date
    assert written > clock.now()
    assert Client().get("/readyz").status_code == 200
    assert Session.objects.get(pk=health.ROW).expire_date == written
    browser = Client()
    browser.cookies["sessionid"] = health.ROW  # no session of anybody: too short for Django
    assert browser.get("/accounts/login/").wsgi_request.session.session_key != health.ROW
