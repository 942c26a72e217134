"""A tenant's CloudTrail is compared with the calls that we made: what either side lacks, and by whom."""

from __future__ import annotations

import gzip
import io
import json
import uuid
import zlib
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import REGION, Customer
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from byokportal.localaws.testing import LocalAws
from keys import datakeys, services
from keys.models import BranchKeyLoad, KeyRegistration
from keys.reconciling import cloudtrail, matching
from keys.reconciling.cloudtrail import Unreadable
from keys.services import reconciliation
from tenants import audit
from tenants.models import ArchivedMonth, Member, ServiceAccount, Tenant

STRANGER = "arn:aws:iam::999999999999:user/mallory"


@pytest.fixture
def events(
    db: None, tenant: Tenant, active: KeyRegistration, customer: Customer, aws: LocalAws
) -> list[dict[str, Any]]:
    """What the customer's CloudTrail shows after data keys were made and the branch key was unwrapped twice."""
    for _ in range(2):
        datakeys.generate(tenant, [{"a": "b"}], caller="tests", request_id="r")
        datakeys.start_anew()
    answer = aws.client(customer.account, "cloudtrail", REGION).lookup_events()["Events"]
    return [json.loads(event["CloudTrailEvent"]) for event in answer]


def packed(events: list[dict[str, Any]]) -> bytes:
    return gzip.compress(json.dumps({"Records": events}).encode())


def unwrap_of(events: list[dict[str, Any]]) -> dict[str, Any]:
    kept = set(BranchKeyLoad.objects.values_list("aws_request_id", flat=True))
    return next(event for event in events if event["requestID"] in kept)


def test_each_call_of_ours_is_found(tenant: Tenant, events: list[dict[str, Any]]) -> None:
    found = services.reconcile(tenant, [packed(events)], actor=audit.COMMAND)
    assert found.counts[matching.MATCHED] >= 2
    assert (list(found.unknown), found.lacking_counts.get(matching.ABSENT, 0)) == ([], 0)
    assert [call for call, why in found.lacking if why != matching.NOT_COVERED] == []
    ours = {*reconciliation._ours(tenant).sessions}
    assert not [one for one in found.not_ours if one.session in ours]


def test_a_call_by_somebody_else_names_who(tenant: Tenant, events: list[dict[str, Any]]) -> None:
    alien = unwrap_of(events) | {
        "userIdentity": {"type": "IAMUser", "arn": STRANGER},
        "requestID": "alien",
        "eventID": "alien",
    }
    found = services.reconcile(tenant, [packed([*events, alien])], actor=audit.COMMAND)
    assert found.callers[STRANGER] == 1
    assert "alien" in [record.request_id for record in found.not_ours]


def test_a_call_by_our_role_that_we_never_made_is_unknown(tenant: Tenant, events: list[dict[str, Any]]) -> None:
    stolen = unwrap_of(events) | {"requestID": "stolen", "eventID": "stolen"}
    other = json.loads(json.dumps(stolen).replace("byok-data-keys-", "other-")) | {"requestID": "other", "eventID": "o"}
    found = services.reconcile(tenant, [packed([*events, stolen, other])], actor=audit.COMMAND)
    assert {record.request_id for record in found.unknown} == {"stolen", "other"}


@pytest.mark.parametrize(
    ("ends", "is_detached", "archived"),
    [
        (timedelta(days=1), True, 1),
        (timedelta(minutes=-4), True, 1),  # the row may have an earlier time than the record: two clocks
        (timedelta(minutes=-6), True, 0),
        (timedelta(days=1), False, 0),  # declared, and still here
    ],
)
def test_a_call_of_a_time_that_is_in_the_archive_accuses_nobody(
    tenant: Tenant,
    alice: Member,
    events: list[dict[str, Any]],
    browser_of: Callable[..., Client],
    ends: timedelta,
    is_detached: bool,
    archived: int,
) -> None:
    gone = unwrap_of(events) | {"requestID": "gone", "eventID": "gone"}
    made_at = datetime.fromisoformat(gone["eventTime"])
    other = json.loads(json.dumps(gone).replace("byok-data-keys-", "other-")) | {"requestID": "other", "eventID": "o"}
    ArchivedMonth.objects.create(
        table=ArchivedMonth.Table.LOADS, ends=made_at + ends, rows=1, detached_at=made_at if is_detached else None
    )
    found = services.reconcile(tenant, [packed([gone, other])], actor=audit.COMMAND)
    assert found.counts.get(matching.ARCHIVED, 0) == archived
    assert [one.request_id for one in found.unknown] == ["other"] if archived else ["gone", "other"]
    facts = services.facts_of_reconciliation(found)
    assert facts["archived_until"] == ((made_at + ends).isoformat() if archived else None)
    assert facts["complete"] is not bool(archived)
    page = browser_of(alice).post(f"/tenants/{tenant.pk}/log/cloudtrail/", upload(packed([gone]))).content.decode()
    assert ("could not all be compared" in page, "is not explained" in page) == (bool(archived), not archived)
    assert services.reconcile(tenant, [b"[]"], actor=audit.COMMAND).archived_until is None


def test_a_call_of_ours_that_cloudtrail_lacks_is_named(tenant: Tenant, events: list[dict[str, Any]]) -> None:
    cut = unwrap_of(events)
    left = [event for event in events if event is not cut]
    later = left[0] | {"eventTime": "2099-01-01T00:00:00Z", "requestID": "later", "eventID": "later"}
    earlier = left[0] | {"eventTime": "2000-01-01T00:00:00Z", "requestID": "earlier", "eventID": "earlier"}
    found = services.reconcile(tenant, [packed([earlier, *left, later])], actor=audit.COMMAND)
    (lacking,) = [(call.request_id, why) for call, why in found.lacking]
    assert lacking == (cut["requestID"], matching.ABSENT)


def test_a_copy_in_another_account_is_the_same_call(tenant: Tenant, events: list[dict[str, Any]]) -> None:
    copy = unwrap_of(events) | {"eventID": "copy", "userIdentity": {"type": "AWSAccount", "accountId": "1"}}
    once, twice = (
        services.reconcile(tenant, [packed(all_)], actor=audit.COMMAND) for all_ in (events, [*events, copy])
    )
    assert (once.read, once.counts) == (twice.read, twice.counts)


def test_the_command_reads_what_lookup_events_prints(
    tenant: Tenant, events: list[dict[str, Any]], tmp_path: Path
) -> None:
    looked_up = tmp_path / "events.json"
    looked_up.write_text(json.dumps({"Events": [{"CloudTrailEvent": json.dumps(event)} for event in events]}))
    lines = tmp_path / "lines.jsonl"
    lines.write_text("\n".join(json.dumps(event) for event in events))
    answers = []
    for files in ([looked_up], [lines], [looked_up, lines]):
        out = io.StringIO()
        call_command("reconcile_cloudtrail", *map(str, files), tenant=str(tenant.pk), stdout=out)
        answers.append(json.loads(out.getvalue()))
    assert answers[0] == answers[1] == answers[2]
    assert answers[0]["counts"]["matched"] >= 2
    with pytest.raises(CommandError, match="no such tenant"):
        call_command("reconcile_cloudtrail", str(lines), tenant="x")
    lines.write_text("no JSON")
    with pytest.raises(CommandError, match="File 1: it is not JSON"):
        call_command("reconcile_cloudtrail", str(lines), tenant=str(tenant.pk))


AT = '"eventTime": "2026-01-01T00:00:00Z"'


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "empty"),
        (b"\xff", "UTF-8"),
        (b"{", "not JSON"),
        (b"7", "no list"),
        (b'{"Records": {}}', "no list"),
        (b'{"Records": [7]}', "no JSON object"),
        (b'{"Records": [], "Records": []}', "twice"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": 1' + b"0" * 5_000 + b"}", "not JSON"),
        (b"{}", "eventTime"),
        (b'{"eventTime": "2026-13-01T00:00:00Z"}', "no time"),
        (b"{" + AT.encode() + b', "eventSource": []}', "eventSource"),
        (b'[{"CloudTrailEvent": "{"}]', "not JSON"),
        (b"\x1f\x8b no gzip", "cannot be unpacked"),
        (gzip.compress(b"[]")[:-4], "cut off"),
        (gzip.compress(b"") * 101, "gzip members"),
        (
            b"[" + b",".join([b"{%s}" % (AT + ', "eventSource": "a", "eventName": "b"').encode()] * 50_001) + b"]",
            "50000",
        ),
    ],
)
def test_a_file_that_is_none_is_refused_with_the_reason(data: bytes, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        cloudtrail.read([data])


def test_a_file_that_unpacks_without_end_is_refused() -> None:
    packer = zlib.compressobj(wbits=31)
    bomb = b"".join(packer.compress(bytes(1024 * 1024)) for _ in range(40)) + packer.flush()
    assert len(bomb) < 64 * 1024
    with pytest.raises(Unreadable, match="unpacked"):
        cloudtrail.read([bomb])


def test_members_of_a_wrong_type_are_read_as_missing() -> None:
    record = {"eventTime": "2026-01-01T00:00:00Z", "eventSource": "kms.amazonaws.com", "eventName": "Decrypt"}
    wrong = {
        "userIdentity": 7,
        "resources": [7, {"ARN": {}}],
        "requestParameters": [],
        "requestID": 7,
        "awsRegion": None,
    }
    (found,) = cloudtrail.read([json.dumps([record | wrong]).encode()])
    assert (found.principal, found.resources, found.request_id) == ("unknown", frozenset(), "")


def test_a_session_without_its_issuer_is_known_by_its_arn(tenant: Tenant, events: list[dict[str, Any]]) -> None:
    def bare(session_of: str) -> dict[str, Any]:
        arn = unwrap_of(events)["userIdentity"]["arn"].replace("assumed-role/", f"assumed-role/{session_of}")
        return unwrap_of(events) | {
            "userIdentity": {"type": "AssumedRole", "arn": arn},
            "requestID": session_of or "same",
        }

    found = services.reconcile(tenant, [packed([bare(""), bare("Other")])], actor=audit.COMMAND)
    assert [record.request_id for record in found.unknown] == ["same"]
    assert [record.request_id for record in found.not_ours] == ["Other"]


def test_the_api_answers_the_same_and_keeps_nothing(
    tenant: Tenant,
    alice: Member,
    events: list[dict[str, Any]],
    api_of: Callable[[Member | ServiceAccount], Client],
    service: ServiceAccount,
) -> None:
    address = f"/api/v1/tenants/{tenant.pk}/reconciliations"
    clients = {caller: api_of(caller) for caller in (alice, service)}

    def sent(data: bytes, caller: Member | ServiceAccount = alice, to: str = address) -> Any:
        return clients[caller].post(to, data, content_type="application/octet-stream")

    answer = sent(packed(events))
    assert answer.status_code == 200
    assert answer.json() == services.facts_of_reconciliation(
        services.reconcile(tenant, [packed(events)], actor=audit.COMMAND)
    )
    bomb = gzip.compress(b'{"Records": []' + b" " * 5 * 1024 * 1024 + b"}")  # within the command's bound
    for data, status in ((b"", 400), (b"{", 400), (b"[" * 200_000, 400), (bomb, 400), (bytes(256 * 1024 + 1), 413)):
        assert sent(data).status_code == status
    assert sent(packed(events), service).status_code in {403, 404}
    assert sent(packed(events), to=address.replace(str(tenant.pk), str(uuid.uuid4()))).status_code == 404


def upload(*files: bytes) -> dict[str, Any]:
    return {"exported": [SimpleUploadedFile(f"{number}.json.gz", data) for number, data in enumerate(files)]}


def test_the_page_says_what_is_not_explained_and_the_file_says_all(
    tenant: Tenant, alice: Member, events: list[dict[str, Any]], browser_of: Callable[..., Client]
) -> None:
    browser, page = browser_of(alice), f"/tenants/{tenant.pk}/log/cloudtrail/"
    assert "Give us an export" in browser.get(page).content.decode()

    good = browser.post(page, upload(packed(events))).content.decode()
    assert "Nothing in your role is unexplained" in good

    stolen = unwrap_of(events) | {"requestID": "stolen-7", "eventID": "stolen"}
    alien = stolen | {"userIdentity": {"type": "IAMUser", "arn": STRANGER}, "requestID": "alien", "eventID": "alien"}
    two = upload(packed([*events, stolen]), packed([alien]))
    bad = browser.post(page, two).content.decode()
    assert "1 call in your role is not explained" in bad
    assert "stolen-7" in bad
    assert STRANGER in bad

    file = browser.post(page, {**upload(packed([*events, stolen, alien])), "as": "json"})
    assert file["Content-Disposition"] == 'attachment; filename="byok-cloudtrail-compared.json"'
    found = services.reconcile(tenant, [packed([*events, stolen, alien])], actor=audit.COMMAND)
    assert file.json() == services.facts_of_reconciliation(found)


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ([], "Choose a file of your CloudTrail."),
        ([b""], "File 1: it is empty."),
        ([b"[]", b"{"], "File 2: it is not JSON."),
        ([b"[]"] * 21, "Choose at most 20 files at a time."),
        ([bytes(200_000), bytes(100_000)], "Together they are longer than 256 KiB."),
        ([gzip.compress(b'{"Records": []' + b" " * 5 * 1024 * 1024 + b"}")], "choose a shorter period"),
    ],
)
def test_what_cannot_be_compared_is_said_beside_the_field(
    tenant: Tenant, alice: Member, browser_of: Callable[..., Client], files: list[bytes], why: str
) -> None:
    answer = browser_of(alice).post(f"/tenants/{tenant.pk}/log/cloudtrail/", upload(*files))
    assert answer.status_code == 200
    assert why in answer.content.decode()


def test_no_record_about_the_key_is_said_and_a_german_reader_reads_german(
    tenant: Tenant, alice: Member, browser_of: Callable[..., Client]
) -> None:
    browser, page = browser_of(alice), f"/tenants/{tenant.pk}/log/cloudtrail/"
    assert "No call on your key or your role" in browser.post(page, upload(b"[]")).content.decode()
    browser.cookies["language"] = "de"
    german = browser.post(page, upload(b"{"), headers={"accept-language": "de"}).content.decode()
    assert "Datei 1: " in german


def test_a_stranger_gets_no_page(tenant: Tenant, mallory: Member, browser_of: Callable[..., Client]) -> None:
    page = f"/tenants/{tenant.pk}/log/cloudtrail/"
    assert browser_of(mallory).post(page, upload(b"[]")).status_code == 404


# --- what a file may hold: it is the organisation's ------------------------------------------------------------------

ODD = st.one_of(
    st.text(st.characters(), max_size=3), st.sampled_from(["", "\x00", "\ud800", "a\udfff", 7, None, [], {}])
)
FACTS = ("requestID", "eventID", "errorCode", "awsRegion", "eventName", "eventSource")
WHO = ("arn", "principalId", "type", "invokedBy")
YEARS = st.sampled_from(["0000", "0001", "1999", "2026", "2999", "9999"])


def of_the_key(registration: KeyRegistration, year: str, facts: dict[str, Any], who: dict[str, Any]) -> dict[str, Any]:
    return {
        "eventSource": "kms.amazonaws.com",
        "eventName": "Decrypt",
        "requestParameters": {"keyId": registration.key_arn},
        "userIdentity": {"arn": STRANGER, **who},
        "requestID": "r",
        **facts,
        "eventTime": f"{year}-12-31T23:59:59Z",
    }


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(year=YEARS, facts=st.dictionaries(st.sampled_from(FACTS), ODD), who=st.dictionaries(st.sampled_from(WHO), ODD))
def test_whatever_a_record_holds_it_is_compared_and_said_or_refused(
    tenant: Tenant, active: KeyRegistration, year: str, facts: dict[str, Any], who: dict[str, Any]
) -> None:
    with suppress(Unreadable):
        found = services.reconcile(tenant, [packed([of_the_key(active, year, facts, who)])], actor=audit.COMMAND)
        json.dumps(services.facts_of_reconciliation(found), ensure_ascii=False).encode()


def test_a_record_that_cannot_be_kept_breaks_no_page_and_no_answer(
    tenant: Tenant,
    alice: Member,
    active: KeyRegistration,
    browser_of: Callable[..., Client],
    api_of: Callable[[Member | ServiceAccount], Client],
) -> None:
    page, api = f"/tenants/{tenant.pk}/log/cloudtrail/", f"/api/v1/tenants/{tenant.pk}/reconciliations"
    browser, token = browser_of(alice), api_of(alice)
    for year, facts, who in (
        ("2026", {"requestID": "\x00"}, {}),
        ("2026", {"requestID": "\ud800"}, {}),
        ("2026", {}, {"arn": "\ud800"}),
        ("9999", {}, {}),
    ):
        data = packed([of_the_key(active, year, facts, who)])
        assert "File 1: " in browser.post(page, upload(data)).content.decode()
        assert browser.post(page, {**upload(data), "as": "json"}).status_code == 200
        assert token.post(api, data, content_type="application/octet-stream").status_code == 400


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"requestID": "\x00"}, "a character"),
        ({"userIdentity": {"arn": "\ud800"}}, "a character"),
        ({"errorCode": "x\udfff"}, "a character"),
        ({"eventTime": "9999-12-31T23:59:59Z"}, "no time"),
        ({"eventTime": "0001-01-01T00:00:00Z"}, "no time"),
    ],
)
def test_a_record_that_cannot_be_one_is_refused_with_the_reason(change: dict[str, Any], why: str) -> None:
    record = {"eventTime": "2026-01-31T12:00:00Z", "eventSource": "kms.amazonaws.com", "eventName": "Decrypt"}
    with pytest.raises(Unreadable, match=why):
        cloudtrail.read([packed([record | change])])
