"""Calls whoever is on call: messages are written as rows, sent soon, and again later and later until one is taken.

Where they go stands in settings alone (`ON_CALL_…`). Neither the address, which may be a secret, nor the key that signs
or routes stands in a row, in the log or in an answer.
"""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass
from datetime import timedelta

import structlog
from django.conf import settings
from django.db.models import F
from standardwebhooks import Webhook

from byokportal import clock, outbound
from byokportal.errors import AddressRefused, AddressUnreachable
from keys.models import Incident
from support.oncall import shapes
from support.oncall.records import OnCallMessage

log = structlog.get_logger(__name__)
Channel, Action, Status = OnCallMessage.Channel, OnCallMessage.Action, OnCallMessage.Status

BATCH = 20  # messages of one run
SECONDS, LARGEST = 5.0, 16 * 1024  # of one call; bytes of an answer
CLAIM_LASTS = timedelta(seconds=60)  # longer than a run: older means its worker was lost
# Until the next attempt, each with a fifth more or less; the last one holds until it is given up, after two days.
WAITS = tuple(timedelta(seconds=one) for one in (5, 10, 20, 40, 60, 120, 300, 600))
GIVEN_UP = timedelta(days=2)
LATE = 3  # attempts that failed: from then on it is said that nobody is reached
AGENT = "Kore.ai-BYOK-On-Call/1"


def channels() -> list[str]:
    """Return by which ways somebody is called; none where the settings name nobody."""
    found = [Channel.WEBHOOK.value] if settings.ON_CALL_WEBHOOK_URL else []
    return found + ([Channel.PAGERDUTY.value] if settings.ON_CALL_PAGERDUTY_ROUTING_KEY else [])


def write(incident: Incident, action: str) -> None:
    """Write down that whoever is on call is told; each action of an incident once, whoever calls this how often.

    A page that nobody has taken yet is not sent any more once the incident is over.
    """
    of_it = OnCallMessage.objects.filter(incident=incident)
    if action == Action.RESOLVE:
        of_it.pending().exclude(action=Action.RESOLVE).update(
            status=Status.NOT_NEEDED, why="The incident was over before this was delivered."
        )
        # Who was never called needs no end; who may have been called, whatever was answered, does.
        called = of_it.filter(action=Action.TRIGGER, attempts__gt=0).values_list("channel", flat=True)
        ways = sorted(set(called))
    else:
        ways = channels()
    rows = [OnCallMessage(incident=incident, channel=way, action=action, dedup_key=_key(incident)) for way in ways]
    OnCallMessage.objects.bulk_create(rows, ignore_conflicts=True)


def _key(incident: Incident) -> str:
    return f"byok {settings.BASE_URL} incident {incident.pk}"[:200]


def write_test() -> list[OnCallMessage]:
    """Write a test for each way; PagerDuty's is closed again by a second message."""
    key = f"byok {settings.BASE_URL} test {uuid.uuid4()}"[:200]
    rows = [OnCallMessage(channel=way, action=Action.TRIGGER, dedup_key=key) for way in channels()]
    rows += [
        OnCallMessage(channel=way, action=Action.RESOLVE, dedup_key=key)
        for way in channels()
        if way == Channel.PAGERDUTY
    ]
    return OnCallMessage.objects.bulk_create(rows)


def send_due() -> int:
    """Send what is due, an incident's messages in their order; safe to run by several workers at once.

    Returns:
        how many were taken.
    """
    sent = 0
    for pk in list(OnCallMessage.objects.due(clock.now()).order_by("id").values_list("pk", flat=True)[:BATCH]):
        sent += _attempt(pk)
    return sent


def _attempt(pk: int) -> bool:
    now = clock.now()
    message = OnCallMessage.objects.select_related("incident__service_role").filter(pk=pk).first()
    if message is None or message.status != Status.PENDING or message.due_at > now or _waits_for_another(message):
        return False
    mine = OnCallMessage.objects.pending().filter(pk=pk)
    # What a lost worker leaves behind is due again after the claim.
    claimed = mine.filter(due_at=message.due_at, attempts=message.attempts).update(
        attempts=F("attempts") + 1, due_at=now + CLAIM_LASTS, last_at=now
    )
    if not claimed:
        return False
    attempt = message.attempts + 1
    try:
        outcome = _send(message)
    except Exception as error:  # noqa: BLE001  a bug in one must not keep the others; its text may hold the address
        log.error("on_call_broke", message=str(message), error=type(error).__name__)
        outcome = Outcome(False, None, "An error of ours: see the log.")
    _note(message, attempt, outcome)
    return outcome.is_taken


def _waits_for_another(message: OnCallMessage) -> bool:
    """Tell whether an earlier message of the same page has not been taken: they mean nothing in another order."""
    earlier = OnCallMessage.objects.pending().filter(dedup_key=message.dedup_key, channel=message.channel)
    if not earlier.filter(pk__lt=message.pk).exists():
        return False
    OnCallMessage.objects.pending().filter(pk=message.pk).update(due_at=clock.now() + WAITS[0])
    return True


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one attempt; nothing in it is secret."""

    is_taken: bool
    status: int | None
    why: str


def _send(message: OnCallMessage) -> Outcome:
    is_pagerduty = message.channel == Channel.PAGERDUTY
    address = settings.ON_CALL_PAGERDUTY_URL if is_pagerduty else settings.ON_CALL_WEBHOOK_URL
    routing_key = settings.ON_CALL_PAGERDUTY_ROUTING_KEY if is_pagerduty else ""
    if not address or (is_pagerduty and not routing_key):
        return Outcome(False, None, "The settings name nobody any more.")
    text = shapes.body(message, routing_key=routing_key)
    headers = {"Content-Type": "application/json", "User-Agent": AGENT}
    if not is_pagerduty:
        now = clock.now()
        headers |= {
            "webhook-id": str(message),
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(settings.ON_CALL_WEBHOOK_SECRET).sign(str(message), now, text),
        }
    try:
        answer = outbound.request(
            address,
            whose="on-call",
            method="POST",
            headers=headers,
            body=text.encode(),
            seconds=SECONDS,
            largest=LARGEST,
            at_once=BATCH,
        )
    except (AddressRefused, AddressUnreachable) as error:
        return Outcome(False, None, str(error)[:200])
    if 200 <= answer.status < 300:
        return Outcome(True, answer.status, "")
    return Outcome(False, answer.status, f"It answered {answer.status}, and we wait for 200 to 299.")


def _note(message: OnCallMessage, attempt: int, outcome: Outcome) -> None:
    mine = OnCallMessage.objects.pending().filter(pk=message.pk, attempts=attempt)
    facts = {"answer_status": outcome.status, "why": outcome.why}
    if outcome.is_taken:
        mine.update(status=Status.DELIVERED, **facts)
        return
    now = clock.now()
    if message.incident_id is None or now - message.created_at > GIVEN_UP:  # a test is tried once
        mine.update(status=Status.DEAD, **facts)
    else:
        wait = WAITS[min(attempt, len(WAITS)) - 1] * random.uniform(0.8, 1.2)  # noqa: S311  no secret
        mine.update(due_at=now + wait, **facts)
    say = log.error if attempt >= LATE else log.warning
    say("on_call_not_reached", message=str(message), channel=message.channel, attempts=attempt, status=outcome.status)
