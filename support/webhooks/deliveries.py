"""Delivers events to webhooks: each receiver has its turn, in the order of the events, and none waits for another.

A delivery is attempted again later and later, for about a day; a receiver that fails has a pause of its own, so that
one that is down is asked now and then and not once for each event. Both times stand in rows.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import structlog
from django.db.models import F

from byokportal import clock, database, receiver_runs, receivers
from byokportal.receivers import Outcome
from byokportal.translation import lazy
from support import kinds
from support.webhooks import formats
from support.webhooks.rows import WebhookDelivery, WebhookDeliveryQuerySet, WebhookEndpoint
from tenants import audit, sealing, transactions
from tenants.audit import SYSTEM
from tenants.models import AuditEvent, Tenant

log = structlog.get_logger(__name__)
Status, Endpoint = WebhookDelivery.Status, WebhookEndpoint.Status

A_TURN = 200  # deliveries at most
SECONDS = 5.0  # of one call
# Until the next attempt of one delivery, each with a fifth more or less: about a day in all.
WAITS = tuple(timedelta(seconds=one) for one in (5, 60, 300, 1800, 3600, 7200, 14_400, 28_800, 28_800))
A_DAY = timedelta(hours=24)
KEPT = timedelta(days=30)
PRUNED = 5_000  # rows of one run
AGENT = "Kore.ai-BYOK-Webhooks/1"


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
    return receiver_runs.serve(WebhookEndpoint.objects.due, _turn, name="webhook")


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
    is_held = Tenant.objects.waiting_for_an_owner().filter(pk=endpoint.tenant_id).exists()
    if endpoint.status != Endpoint.ON or is_paused or is_held:
        due = due.filter(event=None)
    return list(due.order_by(F("event").asc(nulls_first=True))[:A_TURN])


# --- one attempt -----------------------------------------------------------------------------------------------------


def _attempt(endpoint: WebhookEndpoint, delivery: WebhookDelivery) -> Outcome | None:
    """Send one delivery; None: another worker has it, or it is not wanted any more."""
    mine = WebhookDelivery.objects.filter(pk=delivery.pk, status=Status.PENDING)
    now, attempt = clock.now(), delivery.attempts + 1
    # What a lost worker leaves behind is due again after the claim.
    claim = {"attempts": attempt, "due_at": now + receiver_runs.CLAIM_LASTS, "last_at": now}
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
    address, whose = sealing.unseal(endpoint.sealed_address), str(endpoint.tenant_id)
    return receivers.post(address, whose=whose, headers=headers, body=text.encode(), seconds=SECONDS)


def _signed(endpoint: WebhookEndpoint, delivery: WebhookDelivery, text: str, now: datetime) -> dict[str, str]:
    """Return the headers of Standard Webhooks: by each secret that counts now, the newest first."""
    secrets = [endpoint.sealed_secret] if endpoint.sealed_secret else []
    if endpoint.sealed_old_secret and endpoint.old_secret_until and now < endpoint.old_secret_until:
        secrets.append(endpoint.sealed_old_secret)
    return receivers.signed(map(sealing.unseal, secrets), str(delivery), now, text)


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
    wait = max(receivers.about(WAITS[min(attempt, len(WAITS)) - 1]), outcome.retry_after)
    then: dict[str, Any] = {"status": Status.DEAD} if is_last else {"due_at": now + wait}
    mine.update(**facts, **then)
    log.info("webhook_not_delivered", endpoint=str(endpoint.pk), attempts=attempt, why=outcome.why)
    failures, since = endpoint.failures + 1, endpoint.failing_since or now
    pause = receivers.pause(endpoint.failures, outcome)
    its.update(failures=failures, failing_since=since, next_at=now + pause)
    endpoint.failures, endpoint.failing_since, endpoint.next_at = failures, since, now + pause
    if receivers.is_switched_off(outcome, now - since, failures):
        _switch_off(endpoint)
    elif is_last or now - since >= A_DAY:
        _give_up(endpoint, now - A_DAY if now - since >= A_DAY else None)


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
    give_up_waiting(endpoint, why=lazy("The webhook was switched off."))
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
