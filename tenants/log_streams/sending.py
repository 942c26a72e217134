"""Sends the log to its receivers: each batch once the one before it was taken, at least once, in the order of the log.

A stream says how far its receiver has the log (`acknowledged`). That moves by compare-and-set after a 2xx, and by the
worker that holds the claim alone, so a batch is lost with no worker and overtaken by none. The sealer wakes a stream
in the transaction in which its log grows (`LogStreamQuerySet.wake`). A receiver that fails rests, as one of a webhook
does (ADR 0019); nothing is given up: the lines stay in the log, and the stream goes on where it was.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.db.models import F

from byokportal import clock, database, metrics, receiver_runs, receivers
from byokportal.receivers import Outcome
from tenants import audit, sealing, transactions
from tenants.audit import SYSTEM
from tenants.log_streams import batches
from tenants.log_streams.batches import Batch
from tenants.models import AuditEvent, LogStream, LogStreamQuerySet

log = structlog.get_logger(__name__)
Status, Format = LogStream.Status, LogStream.Format

SECONDS = 10.0  # of one call
TOLD_AFTER = timedelta(hours=24)  # of failing: then the owners hear of it
SOON = timedelta(seconds=1)  # until lines that are committed are looked for again: they are being sealed
REST = timedelta(hours=1)  # after a turn that broke
BROKE = "It failed on our side. We try again within the hour; open a ticket if it stays so."
TOO_LARGE = 413
AGENT = "Kore.ai-BYOK-Log/1"


def send_due() -> int:
    """Send what is due, until nothing is or the time of a run is over; safe to run by several workers at once.

    Returns:
        how many batches were taken.
    """
    return receiver_runs.serve(LogStream.objects.due, _turn, name="log-stream")


def _turn(stream: LogStream, claim: datetime, until: float) -> int:
    """Send batches to one receiver until it has all, fails, or its turn is over."""
    sent, mine = 0, LogStream.objects.filter(pk=stream.pk, claimed_at=claim)
    try:
        if stream.test_due_at is not None:
            _test(stream, mine)
        while clock.monotonic() < until and _send_next(mine):
            sent += 1
    except Exception as error:  # it must not cost other receivers their turn
        log.exception("log_stream_turn_broke", stream=str(stream.pk))
        if not database.is_unusable(error):
            _broke(mine)
    mine.update(claimed_at=None)
    return sent


def _send_next(mine: LogStreamQuerySet) -> bool:
    """Send the next batch; False: there is none, it was not taken, or the stream is not ours any more."""
    now = clock.now()
    stream = mine.sending().filter(due_at__lte=now).select_related("tenant").first()
    if stream is None:
        return False
    # Looked at before the sealed lines are read: what is sealed in between is found by that read.
    is_sealing = AuditEvent.objects.filter(tenant=stream.tenant_id).not_sealed().exists()
    batch = batches.next_of(stream)
    here = mine.filter(status=Status.ON, acknowledged=stream.acknowledged, replays=stream.replays)
    if batch is None:
        rest = {"due_at": now + SOON} if is_sealing else {"due_at": None, "behind_since": None}
        # Woken since: it stays due.
        here.filter(woken_at=stream.woken_at).update(attempted=None, **rest)
        return False
    if not here.update(attempted=batch.last):
        return False
    outcome = _post(stream, batch)
    metrics.LOG_STREAM_BATCHES.labels(stream.format, "taken" if outcome.is_delivered else "failed").inc()
    if not outcome.is_delivered:
        _failed(stream, here.filter(attempted=batch.last), batch, outcome)
        return False
    return _taken(stream, here.filter(attempted=batch.last), batch, outcome)


def _post(stream: LogStream, batch: Batch) -> Outcome:
    text, now = batches.body(stream, batch), clock.now()
    headers = {"Content-Type": "application/json", "User-Agent": AGENT}
    if stream.sealed_headers:
        headers |= json.loads(sealing.unseal(stream.sealed_headers))
    secrets = [stream.sealed_secret] if stream.sealed_secret else []
    if stream.sealed_old_secret and stream.old_secret_until and now < stream.old_secret_until:
        secrets.append(stream.sealed_old_secret)
    headers |= receivers.signed(map(sealing.unseal, secrets), batch.name, now, text)
    address, whose = sealing.unseal(stream.sealed_address), str(stream.tenant_id)
    return receivers.post(address, whose=whose, headers=headers, body=text.encode(), seconds=SECONDS)


def _test(stream: LogStream, mine: LogStreamQuerySet) -> None:
    """Try a test once; it says nothing to the lines."""
    now = clock.now()
    if stream.status == Status.REMOVED or not mine.filter(test_due_at=stream.test_due_at).update(test_due_at=None):
        return
    outcome = _post(stream, batches.test_of(stream, now))
    mine.update(tested_at=now, test_why=outcome.why, **_answer(outcome))


def _answer(outcome: Outcome) -> dict[str, Any]:
    return {
        "answered_at": clock.now(),
        "answer_status": outcome.status,
        "answer": outcome.answer,
    }


def _taken(stream: LogStream, mine: LogStreamQuerySet, batch: Batch, outcome: Outcome) -> bool:
    rejected = batches.rejected_in(outcome.body) if stream.format == Format.OTLP else 0
    well: dict[str, Any] = {"failures": 0, "failing_since": None, "why": ""}
    if not rejected:
        well["told_at"] = None
    moved = mine.update(
        acknowledged=batch.last,
        attempted=None,
        delivered_at=clock.now(),
        behind_since=max(stream.behind_since or batch.last_at, batch.last_at),
        rejected=F("rejected") + rejected,
        **well,
        **_answer(outcome),
    )
    if moved and rejected:
        log.warning("log_stream_lines_rejected", stream=str(stream.pk), count=rejected)
        _tell(stream, "tenants.log_stream.lines_rejected", count=rejected)
    return bool(moved)


def _failed(stream: LogStream, mine: LogStreamQuerySet, batch: Batch, outcome: Outcome) -> None:
    log.info("log_stream_not_taken", stream=str(stream.pk), first=batch.first, last=batch.last, why=outcome.why)
    facts: dict[str, Any] = {"due_at": clock.now() + receivers.pause(stream.failures, outcome), **_answer(outcome)}
    if outcome.status == TOO_LARGE and len(batch.events) > 1:
        # It took nothing of it: the next one is half as large, and so are those that follow.
        facts |= {"most_rows": max(1, len(batch.events) // 2), "attempted": None}
    _count(stream, mine, outcome, **facts)


def _broke(mine: LogStreamQuerySet) -> None:
    """Put off a stream whose turn broke, so that it costs the others nothing.

    For its receiver that is a failure like another: what breaks each turn would else go on unseen, and no line leave.
    """
    mine.update(due_at=clock.now() + REST, test_due_at=None)
    stream = mine.on().select_related("tenant").first()
    if stream is not None:
        _count(stream, mine.on(), Outcome(False, why=BROKE))


def _count(stream: LogStream, mine: LogStreamQuerySet, outcome: Outcome, **facts: Any) -> None:
    """Count a failure, and do what follows from how long they go on."""
    now = clock.now()
    failures, since = stream.failures + 1, stream.failing_since or now
    if not mine.update(failures=failures, failing_since=since, why=outcome.why[:200], **facts):
        return
    if receivers.is_switched_off(outcome, now - since, failures):
        _switch_off(stream, since)
    elif now - since >= TOLD_AFTER:
        _tell(stream, "tenants.log_stream.behind", since=since)


@transactions.atomic
def _tell(stream: LogStream, name: str, **facts: Any) -> None:
    """Write down, once for each outage, what the owners are to hear."""
    if LogStream.objects.filter(pk=stream.pk, told_at=None).update(told_at=clock.now()):
        _record(stream, name, **facts)


@transactions.atomic
def _switch_off(stream: LogStream, since: datetime) -> None:
    """Switch off a receiver that failed for days, or said that it is gone for good; what it lacks waits for it."""
    if LogStream.objects.filter(pk=stream.pk, status=Status.ON).update(status=Status.FAILING):
        _record(stream, "tenants.log_stream.failed_for_days", since=since)


def _record(stream: LogStream, name: str, **facts: Any) -> None:
    of_it = {"origin": stream.origin, "description": stream.description}
    audit.record(name, tenant=stream.tenant, actor=SYSTEM, target=stream, **of_it, **facts)


def prune() -> int:
    """Forget old secrets that have ended, and streams that were removed.

    Returns:
        how many streams went.
    """
    now = clock.now()
    LogStream.objects.filter(old_secret_until__lt=now).update(sealed_old_secret="", old_secret_until=None)
    gone, _ = LogStream.objects.filter(status=Status.REMOVED).filter(claimed_at=None).delete()
    return gone
