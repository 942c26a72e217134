"""Who used the key: rows, hours and files, each use with the call to AWS that served it."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import subprocess
import sys
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import Customer
from django.conf import settings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from byokportal import exports, keyset
from byokportal.localaws.testing import LocalAws
from keys import key_uses, usage
from keys.datakeys import ledger
from keys.models import BranchKey, BranchKeyLoad, KeyRegistration, KeyUse
from tenants.models import ArchivedMonth, Member, ServiceAccount, Tenant

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


def use(tenant: Tenant, *, at: datetime = NOON, **facts: Any) -> KeyUse:
    given = {"operation": "generate", "count": 1, "caller": "service:search (1)", "context_digest": "0" * 64, **facts}
    return KeyUse.objects.create(tenant=tenant, at=at, **given)


def load(tenant: Tenant, request_id: str, *, at: datetime = NOON) -> BranchKeyLoad:
    key = BranchKey.objects.create(tenant=tenant, key_arn="k", wrapped=b"w", is_current=False)
    return BranchKeyLoad.objects.create(
        tenant=tenant, branch_key=key, region="eu-central-1", session_name="byok-x", aws_request_id=request_id, at=at
    )


@pytest.fixture
def api(alice: Member, api_of: Callable[[Member], Client]) -> Callable[..., Any]:
    client = api_of(alice)

    def ask(end: str = "", **query: str) -> Any:
        return client.get(f"/api/v1/tenants/{alice.tenant_id}/key-uses{end}", query)

    return ask


def ids(answer: Any) -> list[int]:
    assert answer.status_code == 200, answer.content
    return [one["id"] for one in answer.json()["items"]]


def body(answer: Any) -> str:
    return b"".join(answer.streaming_content).decode("utf-8-sig")


def test_a_service_that_uses_the_key_is_found_by_context_and_by_the_call_in_cloudtrail(
    tenant: Tenant,
    active: KeyRegistration,
    customer: Customer,
    aws: LocalAws,
    service: ServiceAccount,
    api: Callable[..., Any],
    api_of: Callable[[ServiceAccount], Client],
) -> None:
    """docs/log.md, from both ends: the digest is made there as this test makes it."""
    context = {"object": "invoice-17", "größe": "XL"}
    path = f"/api/v1/tenants/{tenant.pk}/data-keys"
    made = api_of(service).post(path, {"context": context}, content_type="application/json")
    assert made.status_code == 200, made.content
    (found,) = api(context_digest=digest(context)).json()["items"]
    assert found["service"].startswith("service:search (")
    assert (found["operation"], found["keys"], found["data_scope"]) == ("generate", 1, "default")
    assert found["request_id"] == made["X-Request-ID"]
    events = aws.client(customer.account, "cloudtrail", "eu-central-1").lookup_events()["Events"]
    said = [json.loads(one["CloudTrailEvent"]) for one in events if one["EventName"] == "Decrypt"]
    (event,) = [one for one in said if one["requestID"] == found["unwrap"]["aws_request_id"]]
    assert event["userIdentity"]["arn"].endswith(f"/{found['unwrap']['session_name']}")
    assert event["awsRegion"] == found["unwrap"]["region"]
    assert found["id"] in ids(api(aws_request_id=event["requestID"]))
    assert ids(api(aws_request_id="another")) == []


def digest(*contexts: dict[str, str]) -> str:
    text = json.dumps(list(contexts), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("contexts", [[{}], [{"b": "1", "a": "ü🔑\n"}], [{"a": "1"}, {"a": "2"}]])
def test_the_program_of_the_docs_makes_the_digest_of_the_row(contexts: list[dict[str, str]]) -> None:
    text = Path(settings.BASE_DIR, "docs/log.md").read_text()
    (program,) = re.findall(r"```python\n(import hashlib.*?)```", text, re.DOTALL)
    program = re.sub(r"(?m)^contexts = .*$", lambda _: f"contexts = {contexts!r}", program)
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    row = ledger.use(uuid.uuid4(), KeyUse.Operation.GENERATE, contexts, caller="c", request_id="r")
    assert printed.strip() == row.context_digest == digest(*contexts)


def test_each_filter_finds_what_it_says(tenant: Tenant, api: Callable[..., Any]) -> None:
    one, other = load(tenant, "aws-1"), load(tenant, "aws-2")
    first = use(tenant, request_id="r-1", load=one.pk)
    second = use(tenant, caller="service:mail (2)", operation="decrypt", load=one.pk, at=NOON + timedelta(minutes=1))
    third = use(tenant, context_digest="ab" * 32, load=other.pk, at=NOON + timedelta(days=1))
    assert ids(api()) == [third.pk, second.pk, first.pk]
    assert ids(api(service="service:mail (2)")) == [second.pk]
    assert ids(api(operation="generate")) == [third.pk, first.pk]
    assert ids(api(operation="rewrap")) == []
    assert ids(api(request_id="r-1")) == [first.pk]
    assert ids(api(context_digest="AB" * 32)) == [third.pk]
    assert ids(api(aws_request_id="aws-1")) == [second.pk, first.pk]
    assert ids(api(aws_request_id="aws-1", operation="decrypt")) == [second.pk]
    assert ids(api(aws_request_id="aws-1", request_id="r-1")) == [first.pk]
    assert ids(api(aws_request_id="aws-2", request_id="r-1")) == []
    assert ids(api(**{"from": "2026-03-05", "to": "2026-03-05"})) == [third.pk]


def test_a_use_from_before_loads_were_written_has_no_call(tenant: Tenant, api: Callable[..., Any]) -> None:
    use(tenant)
    assert api().json()["items"][0]["unwrap"] is None
    assert body(api("/export.csv")).splitlines()[1].endswith('"","","",""')


def test_the_hours_are_those_of_the_roll_up(tenant: Tenant, mallory: Member, api: Callable[..., Any]) -> None:
    use(tenant, count=3)
    use(tenant, count=4, at=NOON + timedelta(minutes=59))
    use(tenant, count=5, at=NOON + timedelta(hours=1), operation="decrypt")
    use(mallory.tenant, count=100)
    usage.roll_up()
    items = api("/hours").json()["items"]
    assert [(one["hour"][:13], one["operation"], one["requests"], one["keys"]) for one in items] == [
        ("2026-03-04T13", "decrypt", 1, 5),
        ("2026-03-04T12", "generate", 2, 7),
    ]
    assert len(api("/hours", to="2026-03-04T12:30Z").json()["items"]) == 1
    assert len(api("/hours", operation="decrypt").json()["items"]) == 1
    plot = key_uses.plot(tenant, key_uses.Wanted(since=NOON, until=NOON + timedelta(hours=3)))
    assert plot.hours == [(NOON, 7), (NOON + timedelta(hours=1), 5), (NOON + timedelta(hours=2), 0)]
    assert plot.services == {"service:search (1)": {"generate": 7, "decrypt": 5}}
    assert (plot.total, plot.most) == (12, (NOON, 7))


@pytest.mark.parametrize("since", [datetime(1, 1, 1, tzinfo=UTC), datetime(9998, 1, 1, tzinfo=UTC), NOON, None])
@pytest.mark.parametrize("until", [datetime(1, 1, 2, tzinfo=UTC), datetime(9998, 1, 2, tzinfo=UTC), None])
def test_a_plot_is_bounded_whatever_the_period(tenant: Tenant, since: datetime | None, until: datetime | None) -> None:
    plot = key_uses.plot(tenant, key_uses.Wanted(since=since, until=until))
    assert 1 <= len(plot.hours) <= key_uses.PLOTTED


def pages(ask: Callable[..., Any], **query: str) -> list[int]:
    found: list[int] = []
    cursor = ""
    while True:
        answer = ask(**query, cursor=cursor).json()
        found += [one["id"] for one in answer["items"]]
        cursor = answer["next"]
        if cursor is None:
            return found


def test_a_file_holds_what_the_pages_hold(
    tenant: Tenant,
    api: Callable[..., Any],
    alice: Member,
    browser_of: Callable[[Member], Client],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exports, "BATCH", 7)
    one = load(tenant, "aws-1")
    for number in range(120):
        use(
            tenant,
            at=NOON + timedelta(seconds=number // 3),
            operation=("generate", "decrypt")[number % 2],
            caller="=cmd" if number % 5 else "service:mail (2)",
            load=one.pk if number % 3 else None,
        )
    for query in ({}, {"operation": "decrypt"}, {"service": "=cmd"}, {"aws_request_id": "aws-1"}):
        on_pages = pages(api, **query)[::-1]
        assert on_pages
        lines = [json.loads(line) for line in body(api("/export", **query)).splitlines()]
        assert [line["id"] for line in lines[:-1]] == on_pages
        assert lines[-1] == {"complete": True, "count": len(on_pages)}
        there = f"/tenants/{tenant.pk}/log/uses/export.csv"
        rows = list(csv.reader(io.StringIO(body(browser_of(alice).get(there, query)))))
        assert rows[0][0] == "id"
        assert [row[0] for row in rows[1:]] == [*map(str, on_pages), "#complete"]
        assert not [cell for row in rows for cell in row if cell.startswith("=")]


def test_a_file_that_cannot_be_gone_on_with_says_so(
    tenant: Tenant, api: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A month leaves for the archive between two pieces of a file, or between two files."""
    monkeypatch.setattr(exports, "BATCH", 2)
    monkeypatch.setattr(exports, "AT_MOST", 4)
    for hour in range(10):
        use(tenant, at=NOON + timedelta(hours=hour))
    cut = json.loads(body(api("/export")).splitlines()[-1])
    under_way = api("/export")
    pieces = iter(under_way.streaming_content)
    begun = [next(pieces), next(pieces)]
    facts = {"table": ArchivedMonth.Table.USES, "rows": 1, "sha256": "0" * 64}
    ArchivedMonth.objects.create(ends=NOON + timedelta(hours=9), file="declared", **facts)
    assert api("/export", cursor=cut["next"]).status_code == 200, "it has not left yet"
    ArchivedMonth.objects.create(ends=NOON + timedelta(hours=6), file="gone", detached_at=NOON, **facts)

    last = json.loads(b"".join([*begun, *pieces]).splitlines()[-1])
    assert last == {"complete": False, "count": 2, "code": "moved_to_archive"}
    for end in ("/export", "/export.csv"):
        refused = api(end, cursor=cut["next"])
        assert (refused.status_code, refused.json()["code"]) == (409, "moved_to_archive")
    anew = [json.loads(line) for line in body(api("/export")).splitlines()]
    assert [line["at"][11:13] for line in anew[:-1]] == ["18", "19", "20", "21"], "without what is about to leave"
    assert json.loads(body(api("/export", cursor=anew[-1]["next"]))) == {"complete": True, "count": 0}
    behind = keyset.Position(NOON + timedelta(hours=6), 2**62)
    assert json.loads(body(api("/export", cursor=str(behind))).splitlines()[-1])["complete"]


HOSTILE = [
    {"cursor": "nonsense"},
    {"cursor": "1-99999999999999999999"},
    {"from": "2026-02-30"},
    {"to": "\x00"},
    {"operation": "steal"},
    {"context_digest": "abc"},
    {"context_digest": "٣" * 64},
    {"context_digest": "a" * 64 + "\x00"},
    {"request_id": "x" * 65},
    {"aws_request_id": "\x00"},
    {"service": "x" * 201},
]


@pytest.mark.parametrize("query", HOSTILE)
def test_hostile_parameters_are_refused_with_the_field(
    query: dict[str, str], api: Callable[..., Any], alice: Member, browser_of: Callable[[Member], Client]
) -> None:
    for end in ("", "/hours", "/export", "/export.csv"):
        answer = api(end, **query)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_input"), end
        assert answer.json()["errors"].keys() <= query.keys()
    there = f"/tenants/{alice.tenant_id}/log/uses/"
    assert browser_of(alice).get(there, query).status_code in {200, 400}
    assert browser_of(alice).get(f"{there}export.jsonl", query).status_code == 400


def test_another_tenants_uses_are_not_there_by_whatever_they_are_asked_for(
    tenant: Tenant,
    mallory: Member,
    alice: Member,
    api: Callable[..., Any],
    api_of: Callable[[Member | ServiceAccount], Client],
    browser_of: Callable[[Member], Client],
    service: ServiceAccount,
) -> None:
    theirs = load(mallory.tenant, "aws-theirs")
    for number in range(keyset.SIZE + 1):
        at = NOON + timedelta(seconds=number)
        use(mallory.tenant, context_digest="cd" * 32, request_id="r", load=theirs.pk, at=at)
    for query in ({}, {"context_digest": "cd" * 32}, {"request_id": "r"}, {"aws_request_id": "aws-theirs"}):
        assert ids(api(**query)) == []
        assert body(api("/export", **query)) == '{"complete": true, "count": 0}\n'
    next_of_theirs = api_of(mallory).get(f"/api/v1/tenants/{mallory.tenant_id}/key-uses").json()["next"]
    assert ids(api(cursor=next_of_theirs)) == []
    # A row of one's own that names a load of somebody else's shows nothing of it.
    use(tenant, load=theirs.pk)
    assert api().json()["items"][0]["unwrap"] is None
    for end in ("", "/hours", "/export", "/export.csv"):
        assert api_of(mallory).get(f"/api/v1/tenants/{tenant.pk}/key-uses{end}").status_code == 404
        assert api_of(service).get(f"/api/v1/tenants/{tenant.pk}/key-uses{end}").status_code == 403
    assert browser_of(mallory).get(f"/tenants/{tenant.pk}/log/uses/").status_code == 404


def test_an_auditor_reads_and_exports_all_of_it(
    tenant: Tenant, bob: Member, browser_of: Callable[[Member], Client], api_of: Callable[[Member], Client]
) -> None:
    row = use(tenant, request_id="r-1", load=load(tenant, "aws-1").pk)
    page = browser_of(bob).get(f"/tenants/{tenant.pk}/log/uses/").content.decode()
    assert "aws-1" in page
    assert "byok-x" in page
    assert ids(api_of(bob).get(f"/api/v1/tenants/{tenant.pk}/key-uses")) == [row.pk]
    for extension in ("csv", "jsonl"):
        assert "aws-1" in body(browser_of(bob).get(f"/tenants/{tenant.pk}/log/uses/export.{extension}"))


def test_the_page_says_what_would_be_here_and_what_is_nearest(
    tenant: Tenant, alice: Member, browser_of: Callable[[Member], Client]
) -> None:
    browser, there = browser_of(alice), f"/tenants/{tenant.pk}/log/uses/"
    assert "No service has asked for a data key yet" in browser.get(there).content.decode()
    use(tenant)
    usage.roll_up()
    nothing = browser.get(there, {"from": "2025-01-01", "to": "2025-01-02"}).content.decode()
    assert "No use fits the filter" in nothing
    assert "2026-03-04 12:00:00 UTC" in nothing
    hour = browser.get(there, {"from": "2026-03-04T12:00Z", "to": "2026-03-04T13:00Z"}).content.decode()
    assert "<rect" in hour
    assert "search (1)" in hour
    assert "64 characters" in browser.get(there, {"context_digest": "abc"}).content.decode()


def test_a_hundred_thousand_uses_take_no_more_queries_and_an_index_for_each_look_up(
    tenant: Tenant, alice: Member, browser_of: Callable[[Member], Client]
) -> None:
    browser, there = browser_of(alice), f"/tenants/{tenant.pk}/log/uses/"
    loads = [load(tenant, f"aws-{number}") for number in range(20)]
    queries = [
        {},
        {"from": "2026-03-04", "to": "2026-03-04"},
        {"context_digest": f"{7:064x}"},
        {"request_id": "r-7"},
        {"aws_request_id": "aws-3"},
        {"operation": "rewrap"},
    ]

    def rows(begin: int, count: int) -> None:
        made = [
            KeyUse(
                tenant=tenant,
                operation="generate",
                count=1,
                caller="service:search (1)",
                context_digest=f"{number:064x}",
                request_id=f"r-{number}",
                load=loads[number % 20].pk,
                at=NOON + timedelta(seconds=number),
            )
            for number in range(begin, begin + count)
        ]
        KeyUse.objects.bulk_create(made, batch_size=5_000)

    def count(query: dict[str, str]) -> int:
        browser.get(there, query)
        with CaptureQueriesContext(connection) as captured:
            assert browser.get(there, query).status_code == 200
        return len(captured)

    rows(0, 100)
    few = [count(query) for query in queries]
    rows(100, 100_000 if connection.vendor == "postgresql" else 20_000)  # SQLite takes a minute for the former
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    # Where nothing was found in a period, one more had looked for the nearest.
    assert all(many <= before for many, before in zip([count(query) for query in queries], few, strict=True))
    assert max(few) <= 8
    for query in queries:
        with CaptureQueriesContext(connection) as captured:
            browser.get(there, query)
        (sql,) = [one["sql"] for one in captured if 'FROM "keys_keyuse"' in one["sql"]][:1]
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":  # else it reads the partitions of the months ahead, which are empty
                cursor.execute("SET LOCAL enable_seqscan = off")
            cursor.execute(("EXPLAIN " if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN ") + sql)
            plan = "\n".join(str(row) for row in cursor.fetchall())
        assert "Seq Scan" not in plan.replace("Seq Scan on keys_branchkeyload", ""), (query, plan)
        assert "SCAN keys_keyuse" not in plan.replace("SCAN keys_keyuse USING", ""), (query, plan)
        assert "Sort" not in plan, (query, plan)
        assert "TEMP B-TREE" not in plan, (query, plan)
