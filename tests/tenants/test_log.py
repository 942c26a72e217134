"""The log in the portal and by API: filters, pages, files, and that it stays one index look-up however long it is."""

from __future__ import annotations

import csv
import io
import json
import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from conftest import acting
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from byokportal import exports, keyset
from tenants import audit, audit_events, log, services
from tenants.models import AuditEvent, Member, Tenant

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


def event(tenant: Tenant, name: str = "keys.key.asked_again", *, at: datetime = NOON, **facts: Any) -> AuditEvent:
    """Write a line as `audit.record` does, at another time."""
    actor, request_id = facts.pop("actor", "member:alice@acme.example"), facts.pop("request_id", "")
    payload = audit.canonical({"name": name, "tenant": str(tenant.pk), "actor": actor, "at": "", "data": facts})
    return AuditEvent.objects.create(
        tenant=tenant, name=name, actor=actor, payload=payload, at=at, request_id=request_id, followed_at=timezone.now()
    )


@pytest.fixture
def api(alice: Member, api_of: Callable[[Member], Client]) -> Callable[..., Any]:
    client = api_of(alice)

    def ask(**query: str) -> Any:
        return client.get(f"/api/v1/tenants/{alice.tenant_id}/events", query)

    return ask


def ids(answer: Any) -> list[int]:
    assert answer.status_code == 200, answer.content
    return [one["id"] for one in answer.json()["items"]]


# --- filters ---------------------------------------------------------------------------------------------------------


def test_each_filter_finds_what_it_says(tenant: Tenant, api: Callable[..., Any]) -> None:
    looked = event(tenant, "tenants.tenant.viewed", actor="kore:sam@kore.example", at=NOON)
    asked = event(tenant, request_id="r-1", at=NOON + timedelta(hours=1))
    left = event(tenant, "tenants.member.left", email="Björn@acme.example", actor="system", at=NOON + timedelta(days=1))
    theirs = {"from": "2026-03-04", "to": "2026-03-05"}
    assert ids(api(**theirs)) == [left.pk, asked.pk, looked.pk]
    assert ids(api(**theirs, kind="kore")) == [looked.pk]
    assert ids(api(**theirs, kind="people")) == [left.pk]
    assert ids(api(**theirs, who="alice@acme.example")) == [asked.pk]
    assert ids(api(**theirs, who="member:alice@acme.example")) == [asked.pk]
    assert ids(api(**theirs, who="kore")) == [looked.pk]
    assert ids(api(**theirs, who="system")) == [left.pk]
    assert ids(api(request_id="r-1")) == [asked.pk]
    assert ids(api(request_id="r-1", who="system")) == []
    assert ids(api(**theirs, q="LEFT björn")) == [left.pk]
    assert ids(api(**theirs, q="r-1")) == [asked.pk]
    assert ids(api(**theirs, q="left by hand")) == []
    assert ids(api(**theirs, kind="key", who="alice@acme.example", q="hand")) == [asked.pk]
    assert ids(api(**{"from": "2026-03-04T13:00Z", "to": "2026-03-05T12:00Z"})) == [asked.pk]
    assert ids(api(to="2026-03-04T12:00:00Z")) == []


def test_every_event_has_a_kind_that_people_can_choose() -> None:
    assert {log.kind_of(name) for name in audit_events.EVENTS} == set(log.KINDS)
    assert log.kind_of("keys.test.finished") == "tests"
    assert log.kind_of("tenants.tenant.viewed") == "kore"
    assert log.kind_of("another.app") == ""


def test_what_is_found_by_several_labels_comes_in_one_order(tenant: Tenant, api: Callable[..., Any]) -> None:
    rows = [
        event(tenant, at=NOON + timedelta(minutes=number), actor=f"{kind}:zoe@acme.example")
        for number, kind in enumerate(("invited", "member", "member", "link", "invited"))
    ]
    assert ids(api(who="zoe@acme.example")) == [row.pk for row in reversed(rows)]


# --- pages -----------------------------------------------------------------------------------------------------------


def pages(ask: Callable[..., Any], **query: str) -> list[int]:
    found: list[int] = []
    cursor = ""
    while True:
        answer = ask(**query, cursor=cursor).json()
        assert len(answer["items"]) <= keyset.SIZE
        found += [one["id"] for one in answer["items"]]
        cursor = answer["next"]
        if cursor is None:
            return found


def test_pages_hold_each_line_once_also_those_of_one_moment(tenant: Tenant, api: Callable[..., Any]) -> None:
    rows = [event(tenant, at=NOON + timedelta(seconds=number // 7)) for number in range(120)]
    assert pages(api, to="2026-03-04") == [row.pk for row in reversed(rows)]
    assert pages(api, to="2026-03-04", kind="key") == [row.pk for row in reversed(rows)]
    assert pages(api, to="2026-03-04", q="asked") == [row.pk for row in reversed(rows)]


def test_a_search_reads_a_bounded_piece_and_says_how_far_it_looked(
    tenant: Tenant, api: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyset, "WINDOW", 10)
    needle = event(tenant, "keys.key.suspended", suspended_by="tenant", reason="needle", at=NOON - timedelta(hours=1))
    for number in range(25):
        event(tenant, at=NOON + timedelta(minutes=number))
    first = api(to="2026-03-04", q="needle").json()
    assert (first["items"], first["looked_back_to"]) == ([], "2026-03-04T12:15:00+00:00")
    assert pages(api, to="2026-03-04", q="needle") == [needle.pk]


def test_a_cursor_of_another_tenant_shows_only_ones_own(
    tenant: Tenant, mallory: Member, api: Callable[..., Any], api_of: Callable[[Member], Client]
) -> None:
    for number in range(keyset.SIZE + 1):
        event(mallory.tenant, at=NOON + timedelta(seconds=number))
    theirs = api_of(mallory).get(f"/api/v1/tenants/{mallory.tenant_id}/events", {"to": "2026-03-04"}).json()
    assert theirs["next"]
    mine = event(tenant, at=NOON - timedelta(hours=1))
    assert ids(api(cursor=theirs["next"])) == [mine.pk]
    assert ids(api(who=theirs["items"][0]["actor"], to="2026-03-04")) == [mine.pk]


@pytest.mark.parametrize(
    "query",
    [
        {"cursor": "nonsense"},
        {"cursor": "7"},
        {"cursor": "1-99999999999999999999"},
        {"cursor": "\x00"},
        {"from": "2026-02-30"},
        {"to": "9999-12-31"},
        {"from": "2026-03-05", "to": "2026-03-04"},
        {"kind": "everything"},
        {"q": "a\x00b"},
        {"q": "x" * 201},
        {"who": "\x00"},
        {"request_id": "x" * 65},
    ],
)
def test_hostile_parameters_are_refused_with_the_field(
    query: dict[str, str], api: Callable[..., Any], alice: Member, browser_of: Callable[[Member], Client]
) -> None:
    answer = api(**query)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_input")
    assert answer.json()["errors"].keys() <= query.keys()
    there = f"/tenants/{alice.tenant_id}/log/"
    assert browser_of(alice).get(there, query).status_code in {200, 400}
    assert browser_of(alice).get(f"{there}export.csv", query).status_code == 400


def test_words_that_are_no_pattern_are_taken_as_they_are(tenant: Tenant, api: Callable[..., Any]) -> None:
    event(tenant)
    for text in ("%", "_", "\\", "[" * 200, "'; DROP TABLE x; --", "🔑", "(?:", "{reason}"):
        assert ids(api(to="2026-03-04", q=text)) in ([], [AuditEvent.objects.get(at=NOON).pk])


# --- files -----------------------------------------------------------------------------------------------------------


def body(answer: Any) -> str:
    return b"".join(answer.streaming_content).decode("utf-8-sig")


def test_a_file_holds_what_the_pages_hold(
    tenant: Tenant,
    alice: Member,
    api: Callable[..., Any],
    browser_of: Callable[[Member], Client],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exports, "BATCH", 7)
    for number in range(30):
        event(tenant, at=NOON + timedelta(seconds=number), actor="system" if number % 3 else "member:z@acme.example")
        event(tenant, "tenants.member.left", email=f"=1+{number}", at=NOON + timedelta(seconds=number))
    there = f"/tenants/{tenant.pk}/log/export"
    for query in ({}, {"to": "2026-03-04"}, {"q": "left", "to": "2026-03-04"}, {"who": "system", "kind": "key"}):
        on_pages = pages(api, **query)[::-1]
        lines = [json.loads(line) for line in body(browser_of(alice).get(f"{there}.jsonl", query)).splitlines()]
        assert [one["id"] for one in lines[:-1]] == on_pages
        assert lines[-1] == {"complete": True, "count": len(on_pages)}
        rows = list(csv.reader(io.StringIO(body(browser_of(alice).get(f"{there}.csv", query)))))
        assert [row[0] for row in rows[1:]] == [*map(str, on_pages), "#complete"]
        assert rows[-1][1] == str(len(on_pages))
        assert not [cell for row in rows for cell in row if cell.startswith("=")]


def test_the_api_exports_the_same_with_the_payload_of_each_event(
    tenant: Tenant, alice: Member, api_of: Callable[[Member], Client]
) -> None:
    row = event(tenant)
    client, there = api_of(alice), f"/api/v1/tenants/{tenant.pk}/events/export"
    answer = client.get(there, {"to": "2026-03-04"})
    assert answer["Content-Type"] == "application/x-ndjson"
    line, last = [json.loads(one) for one in body(answer).splitlines()]
    assert (line["id"], line["payload"], last["complete"]) == (row.pk, row.payload, True)
    table = body(client.get(f"{there}.csv", {"to": "2026-03-04"}))
    assert table.splitlines()[-1].startswith('"#complete","1"')


def test_a_large_file_ends_with_where_the_next_one_begins(
    tenant: Tenant, alice: Member, api_of: Callable[[Member], Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "BATCH", 5)
    monkeypatch.setattr(exports, "AT_MOST", 10)
    rows = [event(tenant, at=NOON + timedelta(seconds=number)) for number in range(12)]
    client, there = api_of(alice), f"/api/v1/tenants/{tenant.pk}/events/export"
    *some, last = [json.loads(one) for one in body(client.get(there, {"to": "2026-03-04"})).splitlines()]
    assert (last["complete"], last["count"]) == (False, 10)
    more = body(client.get(there, {"to": "2026-03-04", "cursor": last["next"]})).splitlines()
    *others, end = [json.loads(one) for one in more]
    assert [one["id"] for one in some + others] == [row.pk for row in rows]
    assert end == {"complete": True, "count": 2}


def test_a_database_that_fails_in_the_middle_leaves_a_file_that_says_so(
    tenant: Tenant, alice: Member, api_of: Callable[[Member], Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "BATCH", 5)
    rows = [event(tenant, at=NOON + timedelta(seconds=number)) for number in range(12)]
    client, there = api_of(alice), f"/api/v1/tenants/{tenant.pk}/events/export"
    answer = client.get(there, {"to": "2026-03-04"})
    stream = iter(answer.streaming_content)
    sent = next(stream) + next(stream)

    def fails(execute: Any, *args: Any) -> Any:
        raise OperationalError("server closed the connection unexpectedly")

    with connection.execute_wrapper(fails):
        sent += b"".join(stream)
    *some, last = [json.loads(one) for one in sent.decode().splitlines()]
    assert [one["id"] for one in some] == [row.pk for row in rows[:5]]
    assert {**last, "next": ""} == {"complete": False, "count": 5, "code": "database_unavailable", "next": ""}
    rest = body(client.get(there, {"to": "2026-03-04", "cursor": last["next"]})).splitlines()
    assert [json.loads(one).get("id") for one in rest] == [*[row.pk for row in rows[5:]], None]


def test_a_database_that_fails_at_once_is_a_503(
    tenant: Tenant, alice: Member, api_of: Callable[[Member], Client]
) -> None:
    client, there = api_of(alice), f"/api/v1/tenants/{tenant.pk}/events/export"

    def fails(execute: Any, sql: str, *args: Any) -> Any:
        if "tenants_auditevent" in sql:
            raise OperationalError("server closed the connection unexpectedly")
        return execute(sql, *args)

    with connection.execute_wrapper(fails):
        assert client.get(there).status_code == 503


# --- who, and the page -----------------------------------------------------------------------------------------------


def test_an_auditor_reads_and_exports_all_of_it(
    tenant: Tenant, bob: Member, browser_of: Callable[[Member], Client], api_of: Callable[[Member], Client]
) -> None:
    there = f"/tenants/{tenant.pk}/log/"
    assert "joined as" in browser_of(bob).get(there).content.decode()
    for path in (f"{there}export.csv", f"{there}export.jsonl"):
        assert "joined as" in body(browser_of(bob).get(path))
    assert api_of(bob).get(f"/api/v1/tenants/{tenant.pk}/events/export.csv").status_code == 200


def test_another_tenants_log_is_not_there(
    tenant: Tenant, mallory: Member, browser_of: Callable[[Member], Client], api_of: Callable[[Member], Client]
) -> None:
    for path in ("log/", "log/export.csv", "log/export.jsonl"):
        assert browser_of(mallory).get(f"/tenants/{tenant.pk}/{path}").status_code == 404
    for path in ("events", "events/export", "events/export.csv"):
        assert api_of(mallory).get(f"/api/v1/tenants/{tenant.pk}/{path}").status_code == 404


def test_the_page_says_what_it_shows_by_day_and_where_nothing_fits_what_is_nearest(
    tenant: Tenant, alice: Member, browser_of: Callable[[Member], Client]
) -> None:
    for number in range(keyset.SIZE + 5):
        event(tenant, at=NOON + timedelta(hours=number), request_id=f"r-{number}")
    there = f"/tenants/{tenant.pk}/log/"
    browser = browser_of(alice)
    page = browser.get(there, {"to": "2026-03-07", "kind": "key"}).content.decode()
    assert "Thursday, 5 March 2026" in page
    assert "AWS was asked about the key at once, by hand." in page
    assert 'rel="next"' in page
    assert "to=2026-03-07&amp;kind=key&amp;cursor=" in page
    assert f"{there}export.csv?to=2026-03-07&amp;kind=key" in page
    nothing = browser.get(there, {"from": "2025-01-01", "to": "2025-01-02", "kind": "key"}).content.decode()
    assert "No line fits the filter" in nothing
    assert "6 March 2026, 18:00 UTC" in nothing
    refused = browser.get(there, {"from": "soon"}).content.decode()
    assert "Write a day like 2026-11-28" in refused
    assert "The filter cannot be read" in refused


# --- a long log ------------------------------------------------------------------------------------------------------


def many(tenant: Tenant, count: int) -> None:
    """Write so many lines: nine in ten of one kind by the system, and one of a rare person."""
    actors = ["system"] * 9 + ["member:alice@acme.example"]
    rows = [
        AuditEvent(
            tenant=tenant,
            name="keys.key.asked_again" if number % 10 else "tenants.member.left",
            actor=actors[number % 10] if number != 5 else "member:rare@acme.example",
            payload='{"data":{"email":"e"}}',
            at=NOON + timedelta(seconds=number),
            request_id=str(uuid.UUID(int=number)),
            followed_at=NOON,
        )
        for number in range(count)
    ]
    AuditEvent.objects.bulk_create(rows, batch_size=5_000)


QUERIES = [
    {},
    {"who": "rare@acme.example"},
    {"who": "system"},
    {"kind": "people"},
    {"kind": "tickets"},
    {"request_id": str(uuid.UUID(int=77))},
    {"from": "2026-03-04", "to": "2026-03-04"},
    {"q": "nowhere"},
    {"kind": "key", "q": "nowhere"},
]


def test_a_hundred_thousand_lines_take_no_more_queries_and_an_index_for_each_filter(
    tenant: Tenant, alice: Member, browser_of: Callable[[Member], Client]
) -> None:
    browser, there = browser_of(alice), f"/tenants/{tenant.pk}/log/"

    def count(query: dict[str, str]) -> int:
        browser.get(there, query)
        with CaptureQueriesContext(connection) as queries:
            assert browser.get(there, query).status_code == 200
        return len(queries)

    few = [count(query) for query in QUERIES]
    many(tenant, 100_000 if connection.vendor == "postgresql" else 20_000)  # SQLite takes a minute for the former
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    # Where nothing was found in a period, one more had looked for the nearest.
    assert all(many <= before for many, before in zip([count(query) for query in QUERIES], few, strict=True))
    assert max(few) <= 8
    for query in QUERIES:
        with CaptureQueriesContext(connection) as queries:
            browser.get(there, query)
        sql = next(one["sql"] for one in queries if "payload" in one["sql"])
        with connection.cursor() as cursor:
            explain = "EXPLAIN " if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN "
            cursor.execute(explain + sql)
            plan = "\n".join(str(row) for row in cursor.fetchall())
        # The planner reads the partitions of months ahead as they are: empty.
        ahead = len(re.findall(r"Seq Scan on tenants_auditevent_\d{4}_\d\d", plan))
        assert plan.count("Seq Scan") == ahead, (query, plan)
        assert "SCAN tenants_auditevent" not in plan.replace("SCAN tenants_auditevent USING", ""), (query, plan)
        if not query.keys() & {"kind", "who"}:
            assert len(re.findall(r"\bSort  \(", plan)) <= ahead, (query, plan)
            assert "TEMP B-TREE" not in plan, (query, plan)


def test_a_member_that_is_named_in_the_log_can_be_chosen(
    tenant: Tenant, alice: Member, bob: Member, browser_of: Callable[[Member], Client]
) -> None:
    services.mint_token(alice, name="terraform", actor=acting(alice))
    page = browser_of(alice).get(f"/tenants/{tenant.pk}/log/", {"who": "alice@acme.example"}).content.decode()
    assert "The automation token terraform was made." in page
    assert '<option value="bob@acme.example">' in page
