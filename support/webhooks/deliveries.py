"""Delivers events to webhooks: each receiver has its turn, in the order of the events, and none waits for another.

A delivery is attempted again later and later, for about a day; a receiver that fails has a pause of its own, so that
one that is down is asked now and then and not once for each event. Both times stand in rows.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from django.db import connection
from django.db.models import F, Q
from standardwebhooks import Webhook

from byokportal import clock, database, outbound
from byokportal.errors import AddressRefused, AddressUnreachable
from support import kinds
from support.webhooks import formats
from support.webhooks.rows import WebhookDelivery, WebhookDeliveryQuerySet, WebhookEndpoint
from tenants import audit, sealing, transactions
from tenants.audit import SYSTEM
from tenants.models import AuditEvent, Tenant

log = structlog.get_logger(__name__)
Status, Endpoint = WebhookDelivery.Status, WebhookEndpoint.Status

# Receivers that one process serves at once, and how many of those may be one organisation's.
THREADS, OF_ONE_TENANT = 16, outbound.AT_ONCE_FOR_ONE
# Seconds of one run; the turn of one receiver, after which the others come, and how many deliveries it has at most.
BUDGET, TURN, A_TURN = 30.0, 15.0, 200
SECONDS, LARGEST, SHOWN = 5.0, 16 * 1024, 500  # of one call; bytes of an answer; characters of it that are kept
CLAIM_LASTS = timedelta(seconds=90)  # longer than a run: older means its worker was lost
# Until the next attempt of one delivery, each with a fifth more or less: about a day in all.
WAITS = tuple(timedelta(seconds=one) for one in (5, 60, 300, 1800, 3600, 7200, 14_400, 28_800, 28_800))
A_DAY = timedelta(hours=24)
LONGEST_PAUSE, LONGEST_WAIT_ASKED = timedelta(minutes=5), timedelta(hours=1)
OFF_AFTER, OFF_FAILURES = timedelta(days=3), 20  # both: then the receiver is switched off
KEPT = timedelta(days=30)
PRUNED = 5_000  # rows of one run
GONE = 410
AGENT = "Kore.ai-BYOK-Webhooks/1"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one attempt."""

    is_delivered: bool
    why: str = ""
    status: int | None = None
    answer: str = ""
    retry_after: timedelta = timedelta(0)


# --- written from the log -------------------------------------------------------------------------------------------


def write(event: AuditEvent, tenant: Tenant) -> None:
    """Write down what is to be delivered because of an event; each endpoint once."""
    if event.name in kinds.NOT_SENT:
        return
    found = [one for one in WebhookEndpoint.objects.of(tenant).on() if formats.takes(one, event)]
    rows = [WebhookDelivery(tenant=tenant, endpoint=one, event=event) for one in found]
    WebhookDelivery.objects.bulk_create(rows, ignore_conflicts=True)


# --- whose turn it is ------------------------------------------------------------------------------------------------


def deliver_due() -> int:
    """Deliver what is due, until nothing is or the time of a run is over; safe to run by several workers at once.

    Returns:
        how many were delivered.
    """
    until, busy = clock.monotonic() + BUDGET, _Busy()
    count = WebhookEndpoint.objects.due(clock.now()).count()
    if count <= 1:
        return _serve(until, busy)

    def serve() -> int:
        try:
            return _serve(until, busy)
        finally:
            connection.close()

    threads = min(THREADS, count)
    with ThreadPoolExecutor(threads, thread_name_prefix="webhook") as pool:
        return sum(pool.map(lambda _: serve(), range(threads)))


class _Busy:
    """How many receivers of each organisation this run serves at the moment."""

    def __init__(self) -> None:
        self._lock, self._served = threading.Lock(), Counter[UUID]()

    def full(self) -> list[UUID]:
        with self._lock:
            return [tenant for tenant, count in self._served.items() if count >= OF_ONE_TENANT]

    @contextmanager
    def one_of(self, tenant: UUID) -> Iterator[bool]:
        with self._lock:
            has_room = self._served[tenant] < OF_ONE_TENANT
            self._served[tenant] += has_room
        try:
            yield has_room
        finally:
            with self._lock:
                self._served[tenant] -= has_room


def _serve(until: float, busy: _Busy) -> int:
    delivered = 0
    while clock.monotonic() < until:
        now = clock.now()
        free = WebhookEndpoint.objects.filter(Q(claimed_at=None) | Q(claimed_at__lt=now - CLAIM_LASTS))
        due = free.due(now).exclude(tenant__in=busy.full()).order_by(F("turn_at").asc(nulls_first=True))  # type: ignore[attr-defined]
        found = list(due[:THREADS])
        if not found:
            break
        for endpoint in found:
            with busy.one_of(endpoint.tenant_id) as has_room:
                if has_room and free.filter(pk=endpoint.pk).update(claimed_at=now, turn_at=now):
                    delivered += _turn(endpoint, now, min(until, clock.monotonic() + TURN))
                    break
    return delivered


def _turn(endpoint: WebhookEndpoint, claim: datetime, until: float) -> int:
    """Deliver what is due to one receiver, the oldest first, until it fails or its turn is over."""
    delivered = 0
    try:
        for delivery in _due_to(endpoint, claim):
            if clock.monotonic() >= until:
                break
            outcome = _attempt(endpoint, delivery)
            if outcome is None:
                continue
            delivered += outcome.is_delivered
            if not outcome.is_delivered and delivery.event_id is not None:
                break
    except Exception as error:  # it must not cost other receivers their turn
        log.exception("webhook_turn_broke", endpoint=str(endpoint.pk))
        if not database.is_unusable(error):
            WebhookEndpoint.objects.filter(pk=endpoint.pk).update(next_at=clock.now() + timedelta(hours=1))
    facts = {"delivered_at": clock.now()} if delivered else {}
    WebhookEndpoint.objects.filter(pk=endpoint.pk, claimed_at=claim).update(claimed_at=None, **facts)
    return delivered


def _due_to(endpoint: WebhookEndpoint, now: datetime) -> list[WebhookDelivery]:
    due = WebhookDelivery.objects.due(now).filter(endpoint=endpoint).select_related("event", "tenant")
    is_paused = endpoint.next_at is not None and endpoint.next_at > now
    if endpoint.status != Endpoint.ON or is_paused:
        due = due.filter(event=None)
    return list(due.order_by(F("event").asc(nulls_first=True))[:A_TURN])


# --- one attempt -----------------------------------------------------------------------------------------------------


def _attempt(endpoint: WebhookEndpoint, delivery: WebhookDelivery) -> Outcome | None:
    """Send one delivery; None: another worker has it, or it is not wanted any more."""
    mine = WebhookDelivery.objects.filter(pk=delivery.pk, status=Status.PENDING)
    now, attempt = clock.now(), delivery.attempts + 1
    # What a lost worker leaves behind is due again after the claim.
    claim = {"attempts": attempt, "due_at": now + CLAIM_LASTS, "last_at": now}
    if not mine.filter(attempts=delivery.attempts, due_at=delivery.due_at).update(**claim):
        return None
    outcome = _send(endpoint, delivery)
    _note(endpoint, delivery, mine.filter(attempts=attempt), attempt, outcome)
    return outcome


def _send(endpoint: WebhookEndpoint, delivery: WebhookDelivery) -> Outcome:
    now = clock.now()
    if delivery.event is None:
        message = formats.test_of(delivery.tenant, delivery.created_at)
    else:
        message = formats.message_of(delivery.event, delivery.tenant)
    routing_key = sealing.unseal(endpoint.sealed_routing_key) if endpoint.sealed_routing_key else ""
    text = formats.body(endpoint.format, message, routing_key=routing_key)
    headers = {"Content-Type": "application/json", "User-Agent": AGENT} | _signed(endpoint, delivery, text, now)
    try:
        answer = outbound.request(
            sealing.unseal(endpoint.sealed_address),
            whose=str(endpoint.tenant_id),
            method="POST",
            headers=headers,
            body=text.encode(),
            seconds=SECONDS,
            largest=LARGEST,
            at_once=THREADS,
        )
    except (AddressRefused, AddressUnreachable) as error:
        return Outcome(False, why=str(error))
    shown = "".join(one if one.isprintable() else " " for one in answer.body.decode("utf-8", "replace"))[:SHOWN]
    if 200 <= answer.status < 300:
        return Outcome(True, status=answer.status, answer=shown)
    asked = answer.headers.get("retry-after", "")
    seconds = int(asked) if asked.isascii() and asked.isdecimal() and len(asked) < 7 else 0
    wait = min(timedelta(seconds=seconds), LONGEST_WAIT_ASKED)
    return Outcome(False, f"It answered {answer.status}, and we wait for 200 to 299.", answer.status, shown, wait)


def _signed(endpoint: WebhookEndpoint, delivery: WebhookDelivery, text: str, now: datetime) -> dict[str, str]:
    """Return the headers of Standard Webhooks: by each secret that counts now, the newest first."""
    secrets = [endpoint.sealed_secret] if endpoint.sealed_secret else []
    if endpoint.sealed_old_secret and endpoint.old_secret_until and now < endpoint.old_secret_until:
        secrets.append(endpoint.sealed_old_secret)
    if not secrets:
        return {}
    signatures = [Webhook(sealing.unseal(one)).sign(str(delivery), now, text) for one in secrets]
    return {
        "webhook-id": str(delivery),
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


# --- what becomes of it ----------------------------------------------------------------------------------------------


def _note(
    endpoint: WebhookEndpoint, delivery: WebhookDelivery, mine: WebhookDeliveryQuerySet, attempt: int, outcome: Outcome
) -> None:
    now = clock.now()
    facts = {"answer_status": outcome.status, "answer": outcome.answer, "why": outcome.why}
    its = WebhookEndpoint.objects.filter(pk=endpoint.pk)
    if outcome.is_delivered:
        mine.update(status=Status.DELIVERED, **facts)
        well = {"failures": 0, "failing_since": None, "next_at": None, "told_at": None}
        if endpoint.failures or endpoint.failing_since or endpoint.next_at or endpoint.told_at:
            its.update(**well)
            for name, value in well.items():
                setattr(endpoint, name, value)
        return
    if delivery.event_id is None:  # a test is tried once, and says nothing to the others
        mine.update(status=Status.DEAD, **facts)
        return
    is_last = attempt > len(WAITS)
    wait = max(_about(WAITS[min(attempt, len(WAITS)) - 1]), outcome.retry_after)
    then: dict[str, Any] = {"status": Status.DEAD} if is_last else {"due_at": now + wait}
    mine.update(**facts, **then)
    log.info("webhook_not_delivered", endpoint=str(endpoint.pk), attempts=attempt, why=outcome.why)
    failures, since = endpoint.failures + 1, endpoint.failing_since or now
    pause = max(_about(min(timedelta(seconds=2 ** min(endpoint.failures, 20)), LONGEST_PAUSE)), outcome.retry_after)
    its.update(failures=failures, failing_since=since, next_at=now + pause)
    endpoint.failures, endpoint.failing_since, endpoint.next_at = failures, since, now + pause
    if outcome.status == GONE or (now - since >= OFF_AFTER and failures >= OFF_FAILURES):
        _switch_off(endpoint)
    elif is_last or now - since >= A_DAY:
        _give_up(endpoint, now - A_DAY if now - since >= A_DAY else None)


def _about(wait: timedelta) -> timedelta:
    """Return the time with a fifth more or less: what failed together is not tried again together."""
    return wait * random.uniform(0.8, 1.2)  # noqa: S311  no secret


@transactions.atomic
def _give_up(endpoint: WebhookEndpoint, older_than: datetime | None) -> None:
    """Give up what has waited for a day for a receiver that took nothing in it; the owners hear of it once."""
    if older_than is not None:
        old = WebhookDelivery.objects.filter(endpoint=endpoint, status=Status.PENDING, queued_at__lt=older_than)
        if not old.update(status=Status.DEAD) and endpoint.told_at is not None:
            return
    dead = WebhookDelivery.objects.filter(endpoint=endpoint, status=Status.DEAD).exclude(event=None)
    if not dead.exists() or not WebhookEndpoint.objects.filter(pk=endpoint.pk, told_at=None).update(
        told_at=clock.now()
    ):
        return
    facts = {"origin": endpoint.origin, "description": endpoint.description}
    audit.record("support.webhook.given_up", tenant=endpoint.tenant, actor=SYSTEM, target=endpoint, **facts)


@transactions.atomic
def _switch_off(endpoint: WebhookEndpoint) -> None:
    """Switch off a receiver that failed for days, or said that it is gone for good; the owners hear of it."""
    if not WebhookEndpoint.objects.filter(pk=endpoint.pk, status=Endpoint.ON).update(status=Endpoint.FAILING):
        return
    endpoint.status = Endpoint.FAILING
    give_up_waiting(endpoint, why="The webhook was switched off.")
    facts = {"origin": endpoint.origin, "description": endpoint.description, "since": endpoint.failing_since}
    audit.record("support.webhook.failed_for_days", tenant=endpoint.tenant, actor=SYSTEM, target=endpoint, **facts)


def give_up_waiting(endpoint: WebhookEndpoint, *, why: str) -> None:
    """Mark all that waits for an endpoint as given up; it can be asked for again."""
    waiting = WebhookDelivery.objects.filter(endpoint=endpoint, status=Status.PENDING)
    waiting.filter(why="").update(status=Status.DEAD, why=why)
    waiting.update(status=Status.DEAD)


# --- what is cleared away --------------------------------------------------------------------------------------------


def prune() -> int:
    """Delete deliveries after thirty days, old secrets that ended, and endpoints that were removed once nothing names
    them.

    Returns:
        how many deliveries went.
    """
    now = clock.now()
    ids = list(WebhookDelivery.objects.filter(created_at__lt=now - KEPT).values_list("pk", flat=True)[:PRUNED])
    gone, _ = WebhookDelivery.objects.filter(pk__in=ids).delete()
    WebhookEndpoint.objects.filter(old_secret_until__lt=now).update(sealed_old_secret="", old_secret_until=None)
    WebhookEndpoint.objects.filter(status=Endpoint.REMOVED, deliveries=None).delete()
    return gone
