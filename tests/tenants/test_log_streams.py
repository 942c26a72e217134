"""Streams of the log: each line arrives, in order, whatever its receiver, its neighbours and our workers do."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import hypothesis
import pytest
from conftest import acting, invited
from django.core import mail
from django.db import connection, transaction
from django.test import Client
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from receiver import Receiver

from byokportal import clock, receiver_runs, receivers
from byokportal.errors import InvalidInput, NotAllowed, NotFound
from support import follow, notices
from tenants import audit, errors, log_trees, sealing, services
from tenants.audit import SYSTEM, Actor
from tenants.errors import FreshSignInNeeded
from tenants.log_streams import batches, sending
from tenants.models import AuditEvent, LogStream, Member, Tenant

pytestmark = pytest.mark.django_db
Made = Callable[..., tuple[Receiver, LogStream]]


@pytest.fixture
def made(alice: Member, settings: Any) -> Iterator[Made]:
    """Return a function that starts a receiver, and streams the log to it from the next line on."""
    found = []

    def start(tenant: Tenant | None = None, format: str = "webhook", **more: Any) -> tuple[Receiver, LogStream]:
        found.append(Receiver(settings))
        log_trees.seal()
        facts = {"address": f"{found[-1].origin}/take?t=sesame", "description": "SIEM", **more}
        facts.setdefault("from_the_beginning", False)
        actor = acting(alice) if tenant is None else audit.COMMAND
        stream, found[-1].secret = services.add_log_stream(tenant or alice.tenant, format=format, **facts, actor=actor)
        log_trees.seal()
        sending.send_due()
        found[-1].took.clear()
        found[-1].heard.clear()
        found[-1].came.clear()
        return found[-1], LogStream.objects.select_related("tenant").get(pk=stream.pk)

    yield start
    for receiver in found:
        receiver.close()


def happens(tenant: Tenant, count: int = 1) -> None:
    for number in range(count):
        audit.record("keys.latency.changed", tenant=tenant, actor=SYSTEM, seconds=number)
    log_trees.seal()


def all_due() -> None:
    """Let every pause be over."""
    LogStream.objects.exclude(due_at=None).update(due_at=clock.now())


def apart(do: Callable[[], Any]) -> int:
    """Do something in the thread of a receiver, and let it answer 200."""
    try:
        do()
    finally:
        connection.close()
    return 200


def numbers(receiver: Receiver) -> list[int]:
    """Return the numbers of the lines that a receiver took, as they came."""
    return [event["metadata"]["sequence"] for _, body in receiver.took for event in body["events"]]


def now(stream: LogStream) -> LogStream:
    return LogStream.objects.select_related("tenant").get(pk=stream.pk)


# --- it works -------------------------------------------------------------------------------------------------------


def test_the_whole_log_arrives_signed_and_in_order(tenant: Tenant, alice: Member, made: Made) -> None:
    happens(tenant, 3)
    first = services.last_number(tenant)
    receiver, stream = made(from_the_beginning=True)
    happens(tenant, 2)
    assert sending.send_due() == 1
    assert (receiver.refused, now(stream).acknowledged) == (0, services.last_number(tenant))
    ((name, body),) = receiver.took
    assert (body["type"], body["after"] + 1, body["count"]) == ("log.batch", body["first"], 2)
    assert [one["metadata"]["sequence"] for one in body["events"]] == [body["first"], body["last"]]
    assert name == f"log_{stream.pk.hex}_0_{body['first']}_{body['last']}"
    assert first < body["first"], "what was there before came first"
    assert sending.send_due() == 0, "once"
    assert now(stream).due_at is None, "beat reads nothing of it"


def test_what_was_there_before_comes_too_or_is_left_out(tenant: Tenant, alice: Member, settings: Any) -> None:
    happens(tenant, 5)
    for begins in (True, False):
        receiver = Receiver(settings)
        facts = {"format": "webhook", "address": receiver.origin, "description": "d", "from_the_beginning": begins}
        last = services.last_number(tenant)
        stream, receiver.secret = services.add_log_stream(tenant, **facts, actor=acting(alice))
        log_trees.seal()
        sending.send_due()
        expected = list(range(1 if begins else last + 1, services.last_number(tenant) + 1))
        assert numbers(receiver) == expected
        services.remove_log_stream(stream, actor=acting(alice))
        receiver.close()


def test_nothing_is_sent_before_its_seal(tenant: Tenant, made: Made) -> None:
    receiver, stream = made()
    audit.record("keys.latency.changed", tenant=tenant, actor=SYSTEM, seconds=1)
    LogStream.objects.update(due_at=clock.now())
    assert (sending.send_due(), receiver.heard) == (0, [])
    assert now(stream).due_at is not None, "a line waits for its seal: the stream looks again"
    log_trees.seal()
    all_due()
    assert (sending.send_due(), len(numbers(receiver))) == (1, 1)


def test_lines_of_others_and_the_external_id_never_arrive(tenant: Tenant, mallory: Member, made: Made) -> None:
    receiver, _ = made()
    audit.record("keys.registration.withdrawn", tenant=tenant, actor=SYSTEM, reason=f"it was {tenant.external_id}")
    happens(mallory.tenant, 3)
    happens(tenant)
    assert sending.send_due() == 1
    text = json.dumps(receiver.took)
    assert tenant.external_id not in text and str(mallory.tenant_id) not in text
    assert len(numbers(receiver)) == 2


def test_a_batch_has_bounds_in_lines_and_in_bytes(tenant: Tenant, made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    receiver, _ = made()
    LogStream.objects.update(most_rows=4)
    happens(tenant, 10)
    assert sending.send_due() == 3
    assert [body["count"] for _, body in receiver.took] == [4, 4, 2]
    monkeypatch.setattr(batches, "LARGEST", 2_500)
    happens(tenant, 4)
    assert sending.send_due() > 1
    monkeypatch.setattr(batches, "LARGEST", 10)
    happens(tenant, 2)
    assert sending.send_due() == 2, "a long line goes alone"
    found = numbers(receiver)
    assert found == list(range(found[0], found[0] + 16))


def test_a_batch_that_is_too_large_for_the_receiver_is_halved(tenant: Tenant, made: Made) -> None:
    receiver, stream = made()
    receiver.status = lambda number: 413 if number < 2 else 200
    happens(tenant, 8)
    for _ in range(3):
        sending.send_due()
        all_due()
    assert [body["count"] for _, body in receiver.took] == [2, 2, 2, 2]
    assert now(stream).most_rows == 2


# --- a receiver that fails ------------------------------------------------------------------------------------------


def test_a_receiver_that_dies_in_the_middle_of_a_thousand_lines(tenant: Tenant, made: Made) -> None:
    """It takes a batch and dies before it answers; it comes back, and dies again between batches."""
    receiver, stream = made()
    LogStream.objects.update(most_rows=100)
    happens(tenant, 1_000)
    last = services.last_number(tenant)
    # Of what it answers by 500 it has taken all the same.
    receiver.status = lambda number: 500 if number in {3, 4, 8} else 200
    while now(stream).acknowledged < last:
        sending.send_due()
        all_due()
    came = [(name, json.loads(body)) for name, body in receiver.came]
    seen = list[tuple[int, int]]()
    for name, body in came:
        span = (body["first"], body["last"])
        if seen and span == seen[-1]:
            assert name == came[len(seen) - 1][0] or name.endswith(f"_{span[0]}_{span[1]}")
            continue
        seen.append(span)
    assert len(came) == 13, "ten batches, and three of them again"
    taken = numbers(receiver)
    assert taken == list(range(last - 999, last + 1)), "nothing lost, nothing out of order"
    bodies = dict[str, bytes]()
    for name, text in receiver.came:
        assert bodies.setdefault(name, text) == text, "what comes again is the same batch, byte by byte"
    assert len(bodies) == 10
    assert all(body["after"] + 1 == body["first"] for _, body in came)


def test_what_is_sent_again_is_the_same_batch_though_the_log_has_grown(tenant: Tenant, made: Made) -> None:
    receiver, stream = made()
    receiver.status = lambda number: 503
    happens(tenant, 3)
    sending.send_due()
    happens(tenant, 5)
    all_due()
    receiver.status = lambda number: 200
    assert sending.send_due() == 2
    assert [body["count"] for _, body in receiver.took] == [3, 5]
    assert [name for name, _ in receiver.came][:2] == [receiver.took[0][0]] * 2
    assert now(stream).failing_since is None


def test_a_receiver_that_fails_rests_longer_each_time(tenant: Tenant, made: Made) -> None:
    receiver, stream = made()
    receiver.status, receiver.text = lambda number: 500, b"<b>boom</b>\x00" + b"x" * 1000
    happens(tenant)
    rests = []
    for _ in range(12):
        began = clock.now()
        assert sending.send_due() == 0
        rests.append(now(stream).due_at - began)
        all_due()
    assert rests[0] < timedelta(seconds=5) < rests[6] < rests[11]
    assert rests[11] < timedelta(minutes=7)
    row = now(stream)
    assert (row.failures, row.answer_status) == (12, 500)
    assert row.answer.startswith("<b>boom</b> x") and len(row.answer) == 500
    happens(tenant)
    assert now(stream).due_at is not None and len(receiver.heard) == 12, "new lines do not end the rest"
    receiver.headers = {"Retry-After": "1800"}
    all_due()
    began = clock.now()
    sending.send_due()
    assert now(stream).due_at > began + timedelta(seconds=1700)


def test_after_a_day_the_owners_hear_of_it_once_and_no_line_is_given_up(tenant: Tenant, made: Made) -> None:
    receiver, stream = made()
    receiver.status = lambda number: 500
    happens(tenant)
    LogStream.objects.update(failing_since=clock.now() - timedelta(hours=25), failures=10)
    for _ in range(3):
        sending.send_due()
        all_due()
    follow.follow()
    notices.send_due()
    assert sum("has failed since" in message.body for message in mail.outbox) == 1
    log_trees.seal()
    receiver.status = lambda number: 200
    all_due()
    while sending.send_due():
        pass
    assert now(stream).acknowledged == services.last_number(tenant)
    assert now(stream).told_at is None


def test_a_stream_whose_turns_break_is_a_failing_one(
    tenant: Tenant, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its headers cannot be unsealed any more: no batch can be built."""
    _, stream = made(format="otlp", headers={"X-Key": "k"})
    whole = stream.sealed_headers
    LogStream.objects.filter(pk=stream.pk).update(sealed_headers="broken")
    happens(tenant)
    sending.send_due()
    row = now(stream)
    assert (row.status, row.failures) == ("on", 1)
    assert row.failing_since is not None
    assert row.due_at is not None and row.due_at > clock.now() + timedelta(minutes=50)
    assert "on our side" in row.why
    LogStream.objects.filter(pk=stream.pk).update(failing_since=clock.now() - timedelta(hours=25))
    for _ in range(2):
        all_due()
        sending.send_due()
    follow.follow()
    notices.send_due()
    assert sum("has failed since" in message.body for message in mail.outbox) == 1
    LogStream.objects.filter(pk=stream.pk).update(failing_since=clock.now() - timedelta(days=4), failures=30)
    all_due()
    sending.send_due()
    assert now(stream).status == "failing"
    LogStream.objects.filter(pk=stream.pk).update(sealed_headers=whole)
    services.switch_log_stream(stream, is_on=True, actor=acting(tenant.members.get(role="owner")))
    log_trees.seal()
    while sending.send_due():
        pass
    assert now(stream).acknowledged == services.last_number(tenant)
    assert now(stream).failures == 0


@pytest.mark.parametrize(
    ("days", "failures", "status", "off"),
    [(4, 30, 500, True), (2, 30, 500, False), (4, 3, 500, False), (0, 0, 410, True)],
)
def test_a_receiver_that_fails_for_days_or_is_gone_is_switched_off_and_goes_on_where_it_was(
    alice: Member, made: Made, days: int, failures: int, status: int, off: bool
) -> None:
    receiver, stream = made()
    receiver.status = lambda number: status
    if days:
        LogStream.objects.update(failing_since=clock.now() - timedelta(days=days), failures=failures)
    happens(alice.tenant, 2)
    sending.send_due()
    assert (now(stream).status == "failing") == off
    if not off:
        return
    follow.follow()
    notices.send_due()
    assert any("was switched off: its receiver" in message.body for message in mail.outbox)
    happens(alice.tenant, 2)
    all_due()
    assert sending.send_due() == 0
    receiver.status = lambda number: 200
    services.switch_log_stream(stream, is_on=True, actor=acting(alice))
    log_trees.seal()
    while sending.send_due():
        pass
    found = numbers(receiver)
    assert found == list(range(found[0], services.last_number(alice.tenant) + 1))
    assert found[0] == receiver.took[0][1]["after"] + 1


# --- several receivers, several workers -----------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_slow_receiver_holds_up_no_other(
    tenant: Tenant, mallory: Member, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "SECONDS", 4.0)
    fast_has_all = threading.Event()
    slow = [made(mallory.tenant)[0] for _ in range(3)]
    fast, stream = made()
    LogStream.objects.update(most_rows=5)
    for receiver in slow:
        # Each holds its answer back until the fast one has all its batches, or the time of the call is over.
        receiver.status = lambda number: 200 if fast_has_all.wait(3.5) else 504
    fast.status = lambda number: fast_has_all.set() or 200 if number == 3 else 200
    happens(mallory.tenant)
    happens(tenant, 20)
    sending.send_due()
    assert fast_has_all.is_set()
    assert now(stream).acknowledged == services.last_number(tenant)
    theirs = LogStream.objects.of(mallory.tenant)
    assert not theirs.exclude(failures=0).exists(), "none of them had to give up: it was served beside them"
    assert set(theirs.values_list("acknowledged", flat=True)) == {services.last_number(mallory.tenant)}


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_send_each_batch_once(tenant: Tenant, made: Made) -> None:
    found = [made() for _ in range(3)]
    LogStream.objects.update(most_rows=3)
    happens(tenant, 30)
    start = threading.Barrier(2)

    def worker() -> None:
        start.wait()
        try:
            sending.send_due()
        finally:
            connection.close()

    workers = [threading.Thread(target=worker) for _ in range(2)]
    for one in workers:
        one.start()
    for one in workers:
        one.join()
    all_due()
    sending.send_due()
    for receiver, stream in found:
        mine = numbers(receiver)
        assert mine == list(range(mine[0], services.last_number(tenant) + 1))
        assert now(stream).claimed_at is None


def test_a_lost_worker_is_followed_after_its_claim_with_the_same_batch(tenant: Tenant, made: Made) -> None:
    receiver, _stream = made()
    happens(tenant, 2)
    last = services.last_number(tenant)
    LogStream.objects.update(claimed_at=clock.now(), attempted=last)
    happens(tenant, 2)
    assert sending.send_due() == 0, "somebody has it"
    LogStream.objects.update(claimed_at=clock.now() - receiver_runs.CLAIM_LASTS - timedelta(seconds=1))
    assert sending.send_due() == 2
    assert [body["last"] for _, body in receiver.took] == [last, last + 2]


@pytest.mark.django_db(transaction=True)
def test_a_worker_that_lost_its_claim_moves_nothing(tenant: Tenant, made: Made) -> None:
    receiver, stream = made()
    happens(tenant, 2)
    before = now(stream).acknowledged
    # While the receiver takes it, another worker has claimed the stream.
    receiver.status = lambda number: apart(lambda: LogStream.objects.update(claimed_at=clock.now()))
    assert sending.send_due() == 0
    assert now(stream).acknowledged == before
    assert now(stream).claimed_at is not None, "the other one's claim stays"


@pytest.mark.django_db(transaction=True)
def test_who_holds_a_stream_holds_up_no_other_log(tenant: Tenant, mallory: Member, made: Made) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer at a time")
    receiver, stream = made()
    for one in (tenant, mallory.tenant):
        audit.record("keys.latency.changed", tenant=one, actor=SYSTEM, seconds=1)
    held, leave = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                LogStream.objects.select_for_update().get(pk=stream.pk)
                held.set()
                leave.wait(20)
        finally:
            connection.close()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(20)
    log_trees.seal()
    assert AuditEvent.objects.of(tenant).not_sealed().count() == 1
    assert not AuditEvent.objects.of(mallory.tenant).not_sealed().exists()
    leave.set()
    holder.join()
    log_trees.seal()
    assert (sending.send_due(), len(numbers(receiver))) == (1, 1)


# --- who may, and what is refused -----------------------------------------------------------------------------------


def test_who_may(alice: Member, bob: Member, mallory: Member, made: Made) -> None:
    _, stream = made()
    carol = invited(alice.tenant, "carol@acme.example", "admin")
    services.test_log_stream(stream, actor=acting(carol))
    stale = Actor.of_member(alice, via="portal", signed_in_at=clock.now() - timedelta(hours=1))
    facts = {"format": "webhook", "address": "https://a.example/", "description": "d"}
    changes: list[Callable[[Actor], Any]] = [
        lambda actor: services.add_log_stream(alice.tenant, **facts, actor=actor),
        lambda actor: services.remove_log_stream(stream, actor=actor),
        lambda actor: services.switch_log_stream(stream, is_on=False, actor=actor),
        lambda actor: services.rotate_log_stream_secret(stream, actor=actor),
        lambda actor: services.change_log_stream(stream, description="d", actor=actor),
    ]
    for actor, error in ((acting(bob), NotAllowed), (acting(mallory), NotFound), (stale, FreshSignInNeeded)):
        for change in changes:
            with pytest.raises(error):
                change(actor)
    for actor, other in ((acting(bob), NotAllowed), (acting(mallory), NotFound)):
        with pytest.raises(other):
            services.replay_log_stream(stream, number=1, actor=actor)
    assert now(stream).status == "on"


def test_where_a_second_person_is_wanted_nothing_goes_out_before(alice: Member, made: Made) -> None:
    _, stream = made(format="otlp")
    carol = invited(alice.tenant, "carol@acme.example", "admin")
    Tenant.objects.filter(pk=alice.tenant_id).update(second_person_since=clock.now())
    secret = "Api-Token of-tests"
    facts = {"format": "otlp", "address": "https://otlp.example/x?key=k1", "description": "d"}
    asks: list[Callable[[], Any]] = [
        lambda: services.add_log_stream(alice.tenant, **facts, headers={"Authorization": secret}, actor=acting(alice)),
        lambda: services.change_log_stream(
            stream, description="d", headers={"Authorization": secret}, actor=acting(alice)
        ),
    ]
    for ask in asks:
        with pytest.raises(errors.SecondPersonNeeded) as told, transaction.atomic():
            ask()
        approval = services.ask_second_person(told.value)
        assert approval is not None
        assert secret not in approval.arguments + approval.sentence and "k1" not in approval.arguments
        decided = {"status": "approved", "decided_by": carol, "decided_at": clock.now()}
        type(approval).objects.filter(pk=approval.pk).update(**decided)
        ask()
    assert LogStream.objects.of(alice.tenant).count() == 2
    services.change_log_stream(stream, description="other name", actor=acting(alice))
    with pytest.raises(errors.SecondPersonNeeded):
        services.add_log_stream(
            alice.tenant, **{**facts, "address": "https://otlp.example/x?key=k2"}, actor=acting(alice)
        )


def test_the_owners_are_mailed_about_a_new_stream(alice: Member) -> None:
    facts = {"format": "webhook", "address": "https://siem.acme.example/x", "description": "SIEM"}
    services.add_log_stream(alice.tenant, **facts, actor=acting(alice))
    follow.follow()
    notices.send_due()
    assert any("siem.acme.example" in message.body for message in mail.outbox)


@pytest.mark.parametrize(
    "address",
    [
        "http://siem.acme.example/",
        "https://127.0.0.1/",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::1]/",
        "https://localhost/v1/logs",
        "https://user:pw@siem.acme.example/",
        "https://siem.acme.example/\r\nX: 1",
        "",
        "x" * 3000,
    ],
)
def test_an_address_that_we_do_not_call_is_refused_with_the_reason(alice: Member, address: str) -> None:
    for format in ("webhook", "otlp"):
        with pytest.raises(InvalidInput) as refused:
            services.add_log_stream(alice.tenant, format=format, address=address, description="d", actor=acting(alice))
        assert list(refused.value.errors) == ["address"]


def test_a_name_that_leads_inside_is_not_called(tenant: Tenant, made: Made, settings: Any, tmp_path: Any) -> None:
    zone = tmp_path / "dns.json"
    zone.write_text(json.dumps({"inside.acme.example": {"A": ["10.0.0.1"]}}))
    settings.DNS_RESOLVER = f"file:{zone}"
    _, stream = made(address="https://inside.acme.example/")
    happens(tenant)
    all_due()
    assert sending.send_due() == 0
    assert "public internet" in now(stream).why


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"format": "syslog"}, "format"),
        ({"description": ""}, "description"),
        ({"description": "a\x00b"}, "description"),
        ({"headers": {"X-Key": "v"}}, "headers"),
        ({"format": "otlp", "headers": {"X Key": "v"}}, "headers"),
        ({"format": "otlp", "headers": {"": "v"}}, "headers"),
        ({"format": "otlp", "headers": {"X-Key": ""}}, "headers"),
        ({"format": "otlp", "headers": {"X-Key": "a\r\nHost: evil"}}, "headers"),
        ({"format": "otlp", "headers": {"X-Key": "é"}}, "headers"),
        ({"format": "otlp", "headers": {"X-Key": "v" * 2001}}, "headers"),
        ({"format": "otlp", "headers": {"Host": "evil"}}, "headers"),
        ({"format": "otlp", "headers": {"content-LENGTH": "1"}}, "headers"),
        ({"format": "otlp", "headers": {"X-Key": "1", "x-key": "2"}}, "headers"),
        ({"format": "otlp", "headers": {f"X-{n}": "v" for n in range(6)}}, "headers"),
    ],
)
def test_what_does_not_fit_is_refused(alice: Member, given: dict[str, Any], field: str) -> None:
    facts = {"format": "webhook", "address": "https://a.example/", "description": "d", **given}
    with pytest.raises(InvalidInput) as refused:
        services.add_log_stream(alice.tenant, **facts, actor=acting(alice))
    assert list(refused.value.errors) == [field]


def test_an_organisation_has_three(alice: Member) -> None:
    facts = {"format": "webhook", "address": "https://a.example/", "description": "d"}
    for _ in range(3):
        services.add_log_stream(alice.tenant, **facts, actor=acting(alice))
    with pytest.raises(errors.TooManyLogStreams):
        services.add_log_stream(alice.tenant, **facts, actor=acting(alice))


# --- secrets, switches, tests, sent again ---------------------------------------------------------------------------


def test_no_row_no_line_and_no_page_holds_the_address_or_a_secret(
    alice: Member, made: Made, browser_of: Callable[..., Client]
) -> None:
    receiver, stream = made()
    _, other = made(format="otlp", headers={"X-Key": "open-sesame"})
    kept = str(list(LogStream.objects.values())) + str(list(AuditEvent.objects.values()))
    assert "sesame" not in kept and receiver.secret not in kept
    assert sealing.unseal(stream.sealed_secret) == receiver.secret
    for page in ("", f"{stream.pk}/", f"{other.pk}/"):
        shown = browser_of(alice).get(f"/tenants/{alice.tenant_id}/log/streams/{page}").content.decode()
        assert receiver.origin in shown or page.startswith(str(other.pk))
        assert "sesame" not in shown and receiver.secret not in shown
    services.remove_log_stream(other, actor=acting(alice))
    row = now(other)
    assert (row.sealed_address, row.sealed_headers, row.sealed_secret, row.sealed_old_secret) == ("",) * 4
    sending.prune()
    assert not LogStream.objects.filter(pk=other.pk).exists()


def test_after_a_rotation_both_secrets_verify_until_the_old_one_ends(alice: Member, made: Made) -> None:
    receiver, stream = made()
    old = receiver.secret
    new = services.rotate_log_stream_secret(stream, hours=24, actor=acting(alice))
    log_trees.seal()
    assert sending.send_due() == 1, "by the old one"
    assert len(receiver.heard[0]["webhook-signature"].split()) == 2
    receiver.secret = new
    happens(alice.tenant)
    assert sending.send_due() == 1, "by the new one"
    LogStream.objects.update(old_secret_until=clock.now())
    receiver.secret = old
    happens(alice.tenant)
    assert (sending.send_due(), receiver.refused) == (0, 1)
    sending.prune()
    assert now(stream).sealed_old_secret == ""
    for hours in (-1, 169):
        with pytest.raises(InvalidInput):
            services.rotate_log_stream_secret(stream, hours=hours, actor=acting(alice))


def test_a_stream_that_is_switched_off_and_on_leaves_nothing_out(alice: Member, made: Made) -> None:
    receiver, stream = made()
    services.switch_log_stream(stream, is_on=False, actor=acting(alice))
    happens(alice.tenant, 3)
    assert (sending.send_due(), receiver.heard) == (0, [])
    services.switch_log_stream(stream, is_on=True, actor=acting(alice))
    log_trees.seal()
    sending.send_due()
    found = numbers(receiver)
    assert found == list(range(stream.acknowledged + 1, services.last_number(alice.tenant) + 1)) and len(found) == 5


def test_a_test_is_tried_once_whatever_the_state_and_says_nothing_to_the_lines(alice: Member, made: Made) -> None:
    receiver, stream = made()
    services.switch_log_stream(stream, is_on=False, actor=acting(alice))
    receiver.status = lambda number: 500
    services.test_log_stream(stream, actor=acting(alice))
    with pytest.raises(errors.LogStreamTestWaits):
        services.test_log_stream(stream, actor=acting(alice))
    sending.send_due()
    row = now(stream)
    assert (row.failures, row.test_due_at, "500" in row.test_why) == (0, None, True)
    with pytest.raises(errors.LogStreamTestWaits):
        services.test_log_stream(stream, actor=acting(alice))
    LogStream.objects.update(tested_at=clock.now() - timedelta(minutes=1))
    receiver.status = lambda number: 200
    services.test_log_stream(stream, actor=acting(alice))
    sending.send_due()
    assert (now(stream).test_why, receiver.took[0][1]["type"]) == ("", "log.test")
    assert now(stream).acknowledged == stream.acknowledged


def test_lines_are_sent_again_from_a_number_or_a_time_under_other_names(alice: Member, made: Made) -> None:
    receiver, stream = made()
    happens(alice.tenant, 5)
    sending.send_due()
    first = numbers(receiver)
    assert services.replay_log_stream(stream, number=first[2], actor=acting(alice)) == first[2]
    log_trees.seal()
    receiver.took.clear()
    while sending.send_due():
        pass
    assert numbers(receiver) == list(range(first[2], services.last_number(alice.tenant) + 1))
    names = [name for name, _ in receiver.came]
    assert len(names) == len(set(names)), "the receiver takes them for new"
    at = AuditEvent.objects.of(alice.tenant).get(seal_number=first[3]).at
    assert services.replay_log_stream(now(stream), since=at, actor=acting(alice)) == first[3]
    for facts in (
        {"number": 0},
        {"number": 2**62},
        {},
        {"number": 1, "since": at},
        {"since": clock.now() + timedelta(days=1)},
        {"since": datetime.max.replace(tzinfo=UTC)},
        {"since": datetime.max.replace(tzinfo=timezone(timedelta(hours=-14)))},
    ):
        with pytest.raises(InvalidInput):
            services.replay_log_stream(now(stream), **facts, actor=acting(alice))
    earliest = datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))
    assert services.replay_log_stream(now(stream), since=earliest, actor=acting(alice)) == 1


@pytest.mark.django_db(transaction=True)
def test_a_batch_under_way_does_not_undo_that_a_stream_is_set_back(alice: Member, made: Made) -> None:
    receiver, stream = made()
    happens(alice.tenant, 3)
    sending.send_due()
    happens(alice.tenant, 3)
    back = stream.acknowledged + 1

    def set_back(number: int) -> int:
        if len(receiver.heard) == 2:
            apart(lambda: LogStream.objects.update(acknowledged=back - 1, attempted=None, replays=1))
        return 200

    receiver.status = set_back
    sending.send_due()
    all_due()
    while sending.send_due():
        pass
    assert numbers(receiver)[-6:] == list(range(back, back + 6))


# --- OTLP -----------------------------------------------------------------------------------------------------------


def test_an_otlp_receiver_parses_what_comes(tenant: Tenant, made: Made) -> None:
    receiver, stream = made(format="otlp", headers={"Authorization": "Api-Token sesame"})
    happens(tenant, 3)
    receiver.text = b'{"partialSuccess":{}}'
    assert sending.send_due() == 1
    assert receiver.heard[0]["authorization"] == "Api-Token sesame"
    assert receiver.heard[0]["content-type"] == "application/json"
    assert "webhook-signature" not in receiver.heard[0]
    request = json_format.Parse(receiver.came[0][1], ExportLogsServiceRequest())
    (of_resource,) = request.resource_logs
    said = {one.key: one.value for one in of_resource.resource.attributes}
    assert said["byok.tenant"].string_value == str(tenant.pk)
    (scope,) = of_resource.scope_logs
    assert len(scope.log_records) == 3
    for record, row in zip(
        scope.log_records, AuditEvent.objects.of(tenant).order_by("-seal_number")[:3][::-1], strict=True
    ):
        event = json.loads(record.body.string_value)
        assert event["metadata"]["sequence"] == row.seal_number
        assert record.time_unix_nano == int(row.at.timestamp() * 1000) * 1_000_000
        assert {one.key: one.value for one in record.attributes}["byok.sequence"].int_value == row.seal_number
        assert record.severity_text and 9 <= record.severity_number <= 21
    assert said["byok.batch.last"].int_value == now(stream).acknowledged == row.seal_number


def test_an_address_of_otlp_without_a_path_gets_its_own(alice: Member, made: Made, settings: Any) -> None:
    receiver = Receiver(settings)
    _, stream = made(format="otlp", address=receiver.origin)
    assert sealing.unseal(stream.sealed_address) == f"{receiver.origin}/v1/logs"
    receiver.close()


def test_what_an_otlp_receiver_says_it_does_not_keep_is_told_once(tenant: Tenant, made: Made) -> None:
    receiver, stream = made(format="otlp")
    receiver.text = b'{"partialSuccess":{"rejectedLogRecords":"2","errorMessage":"too old"}}'
    for _ in range(5):
        happens(tenant)
        all_due()
        sending.send_due()
    row = now(stream)
    assert row.rejected == 2 * len(receiver.heard) and row.acknowledged == services.last_number(tenant)
    assert AuditEvent.objects.filter(name="tenants.log_stream.lines_rejected").count() == 1
    follow.follow()
    notices.send_due()
    assert any("does not keep 2 of its lines" in message.body for message in mail.outbox)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"ok",
        b"[]",
        b"null",
        b'{"partialSuccess":[]}',
        b'{"partialSuccess":{"rejectedLogRecords":"x"}}',
        b'{"partialSuccess":{"rejectedLogRecords":1e999}}',
        b'{"partialSuccess":{"rejectedLogRecords":-Infinity}}',
        b'{"partialSuccess":{"rejectedLogRecords":NaN}}',
    ],
)
def test_a_strange_answer_of_an_otlp_receiver_counts_as_taken(tenant: Tenant, made: Made, answer: bytes) -> None:
    assert batches.rejected_in(answer) == 0
    receiver, stream = made(format="otlp")
    receiver.text = answer
    happens(tenant)
    sending.send_due()
    assert now(stream).acknowledged == services.last_number(tenant)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
JSON_VALUES = SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.text(max_size=5), SCALARS, max_size=2)


@hypothesis.settings(suppress_health_check=[hypothesis.HealthCheck.too_slow])
@given(
    st.binary(max_size=20)
    | st.builds(lambda count: json.dumps({"partialSuccess": {"rejectedLogRecords": count}}).encode(), JSON_VALUES)
    | st.builds(lambda said: json.dumps({"partialSuccess": said}).encode(), JSON_VALUES)
    | st.builds(lambda said: json.dumps(said).encode(), JSON_VALUES)
)
def test_whatever_an_otlp_receiver_answers_it_is_a_count(answer: bytes) -> None:
    assert 0 <= batches.rejected_in(answer) <= 2**31


def test_a_strange_answer_says_a_bounded_count() -> None:
    assert batches.rejected_in(b'{"partialSuccess":{"rejectedLogRecords":"9' + b"9" * 40 + b'"}}') == 2**31


def test_a_pause_is_bounded() -> None:
    outcome = receivers.Outcome(False, retry_after=timedelta(0))
    assert receivers.pause(10**6, outcome) <= receivers.LONGEST_PAUSE * 1.2


# --- pages and API --------------------------------------------------------------------------------------------------


def test_an_owner_adds_tests_sets_back_and_removes_one_on_the_pages(
    alice: Member, settings: Any, browser_of: Callable[..., Client]
) -> None:
    receiver, client = Receiver(settings), browser_of(alice)
    page = f"/tenants/{alice.tenant_id}/log/streams/"
    given = {"format": "webhook", "description": "SIEM", "address": receiver.origin, "from_the_beginning": "yes"}
    bad = client.post(page, {**given, "address": "http://10.0.0.1/"})
    assert bad.status_code == 200 and "It begins with https://." in bad.content.decode()
    shown = client.post(page, given, follow=True).content.decode()
    receiver.secret = "whsec_" + shown.split("whsec_")[1].split("<")[0].split('"')[0]
    stream = LogStream.objects.get()
    own = f"{page}{stream.pk}/"
    assert "whsec_" not in client.get(own).content.decode(), "once"
    client.post(f"{own}test/")
    log_trees.seal()
    sending.send_due()
    assert receiver.refused == 0 and {body["type"] for _, body in receiver.took} == {"log.test", "log.batch"}
    client.post(own, {"description": "Our SIEM"})
    assert LogStream.objects.get().description == "Our SIEM"
    assert "Give the number of a line, or a time." in client.post(f"{own}replay/", {}).content.decode()
    assert "begin with one of them" in client.post(f"{own}replay/", {"number": "99999"}).content.decode()
    assert client.post(f"{own}replay/", {"number": "1"}).status_code == 302
    assert LogStream.objects.get().acknowledged == 0
    new = client.post(f"{own}rotate/", {"hours": "24"}, follow=True).content.decode()
    assert receiver.secret not in new and "whsec_" in new
    client.post(f"{own}switch/", {"to": "off"})
    assert LogStream.objects.get().status == "off"
    client.post(f"{own}switch/", {"to": "on"})
    client.post(f"{own}remove/")
    assert client.get(own).status_code == 404
    names = set(AuditEvent.objects.filter(name__startswith="tenants.log_stream.").values_list("name", flat=True))
    wanted = {"added", "tested", "changed", "replayed", "secret_rotated", "switched_off", "switched_on", "removed"}
    assert names == {f"tenants.log_stream.{one}" for one in wanted}
    otlp = {**given, "format": "otlp", "headers": "X-Key: sesame\n\nX-Other: a:b"}
    client.post(page, otlp)
    made = LogStream.objects.present().get()
    assert made.header_names == ["X-Key", "X-Other"]
    assert json.loads(sealing.unseal(made.sealed_headers)) == {"X-Key": "sesame", "X-Other": "a:b"}
    receiver.close()


def test_what_a_receiver_answers_is_shown_as_text(alice: Member, made: Made, browser_of: Callable[..., Client]) -> None:
    receiver, stream = made()
    receiver.status, receiver.text = lambda number: 500, b"<script>alert(1)</script>"
    happens(alice.tenant)
    sending.send_due()
    page = browser_of(alice).get(f"/tenants/{alice.tenant_id}/log/streams/{stream.pk}/").content.decode()
    assert "<script>alert" not in page and "&lt;script&gt;alert(1)" in page


def test_an_auditor_reads_and_has_no_button(alice: Member, bob: Member, made: Made, browser_of: Any) -> None:
    _, stream = made()
    page = f"/tenants/{alice.tenant_id}/log/streams/{stream.pk}/"
    text = browser_of(bob).get(page).content.decode()
    assert "SIEM" in text and "Send a test" not in text and "Send again" not in text
    assert browser_of(bob).post(f"{page}test/").status_code == 403


def test_a_program_does_the_same_by_the_api(alice: Member, settings: Any, api_of: Callable[..., Client]) -> None:
    receiver, api = Receiver(settings), api_of(alice)
    root = f"/api/v1/tenants/{alice.tenant_id}/log/streams"
    given = {"format": "webhook", "description": "SIEM", "address": receiver.origin}
    once = {"idempotency-key": "k1"}
    made = api.post(root, given, content_type="application/json", headers=once)
    assert made.status_code == 201 and made["Location"].endswith(made.json()["id"])
    receiver.secret = made.json()["secret"]
    again = api.post(root, given, content_type="application/json", headers=once)
    assert (again.json()["id"], again.json()["secret"]) == (made.json()["id"], None)
    own = f"{root}/{made.json()['id']}"
    log_trees.seal()
    sending.send_due()
    row = api.get(own).json()
    assert "secret" not in row and row["acknowledged"] == row["newest"] == services.last_number(alice.tenant)
    assert api.get(root).json()["items"][0]["id"] == row["id"]
    back = api.post(f"{own}/replay", {"number": 1}, content_type="application/json")
    assert (back.status_code, back.json()["acknowledged"]) == (202, 0)
    assert api.post(f"{own}/replay", {}, content_type="application/json").json()["code"] == "invalid_input"
    rotated = api.post(f"{own}/rotate", {"hours": 1}, content_type="application/json").json()
    assert rotated["secret"].startswith("whsec_") and rotated["secret"] != receiver.secret
    assert api.post(f"{own}/switch-off").json()["status"] == "off"
    assert api.post(f"{own}/switch-on").json()["status"] == "on"
    assert api.post(f"{own}/test").status_code == 202
    assert api.post(f"{own}/test").json()["code"] == "log_stream_test_waits"
    assert api.put(own, {"description": "d"}, content_type="application/json").json()["description"] == "d"
    assert api.delete(own).status_code == 204
    assert api.get(own).status_code == 404
    receiver.close()
