"""Somebody wants to know now what AWS says: a person who corrected something, or a request that was just refused.

The wish is a time on the row, so it outlives whatever happens to a worker:
a probe that began before it does not answer it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Q, QuerySet

from byokportal import clock
from keys.health import timing
from keys.models import CLAIM_LASTS, KeyHealth, KeyRegistration
from tenants import transactions

Status = KeyRegistration.Status
AWS = KeyRegistration.SuspendedBy.AWS
RESUMED = "resumed"  # the reason of a registration that a person has just let go on


@dataclass(frozen=True, slots=True)
class WayBack:
    """How far a stopped key is on its way back to service, which good answers bring about by themselves.

    Args:
        good_answers: in a row so far.
        good_since: the first of them.
        needed: seconds that they have to span; two at least are needed.
        expected_at: when it serves if every answer from now on is good; None while AWS refuses:
            that is the tenant's to correct.
    """

    good_answers: int
    good_since: datetime | None
    needed: int
    expected_at: datetime | None


def way_back(health: KeyHealth) -> WayBack | None:
    """Return how far a stopped key is on its way back; None: it serves, or no good answer brings it back."""
    registration = health.registration
    is_resumed = registration.status == Status.UNREACHABLE and registration.reason == RESUMED
    if not is_resumed and not (registration.status == Status.SUSPENDED and registration.suspended_by == AWS):
        return None
    now = clock.now()
    needed = pace().needed(now, health.denied_since)
    began = health.good_since
    if began is None and is_resumed:
        began = max(now, health.next_probe_at or now)
    expected = None if began is None else max(began + needed, now)
    good_answers = health.good_probes if health.good_since else 0
    return WayBack(good_answers, health.good_since, math.ceil(needed.total_seconds()), expected)


@transactions.atomic
def ask(registration: KeyRegistration, *, is_a_person: bool = False) -> bool:
    """Make the next probe due as soon as the pace allows (`timing.may_ask_at`);
    those who want one at the same time share it.

    Args:
        is_a_person: whoever corrected something waits for the answer. A probe that is under way since before then
            is not waited for (its claim is taken away, so it writes nothing), and a key that is stopped is asked every
            few seconds for a minute.

    Returns:
        Whether to wake a worker: a probe may go out now, and nobody has asked for it a moment ago.
    """
    row = (
        KeyHealth.objects.filter(registration=registration)
        .probed()
        .select_related("registration")
        .select_for_update(no_key=True, of=("self",))
        .first()
    )
    if row is None:
        return False
    now = clock.now()
    claim = row.probe_claimed_at
    if claim is not None and (claim <= now - CLAIM_LASTS or (is_a_person and claim <= now - timing.APART)):
        claim = None
    due = timing.may_ask_at(now, asked_at=row.probe_asked_at, under_way_since=claim)
    facts: dict[str, object] = {
        "probe_asked_at": now,
        "is_probe_awaited": True,
        "probe_claimed_at": claim,
        "next_probe_at": due if row.next_probe_at is None else min(row.next_probe_at, due),
    }
    if is_a_person and row.registration.status in {Status.UNREACHABLE, Status.SUSPENDED}:
        facts["dense_until"] = max(now + timing.ASK_ON, row.dense_until or now)
    KeyHealth.objects.filter(pk=row.pk).update(**facts)
    return due <= now


MOST, A_SECOND = 2_000, 50  # keys that one press asks, and how many of them fall due within a second
PRESSED_AGAIN = timedelta(seconds=10)  # within which a second press asks nothing again


def ask_many(registrations: QuerySet[KeyRegistration]) -> int:
    """Make the next probes of these due from now on, so many a second: AWS and our own policies bear that.

    The sweep takes them, so refusals are judged together. Whoever was asked for a moment ago is left as it is, and a
    probe that is under way answers.

    Returns:
        how many are asked; those beyond `MOST` are not.
    """
    now = clock.now()
    rows = KeyHealth.objects.filter(registration__in=registrations).probed()
    rows = rows.filter(Q(probe_claimed_at=None) | Q(probe_claimed_at__lte=now - CLAIM_LASTS))
    rows = rows.filter(Q(probe_asked_at=None) | Q(probe_asked_at__lte=now - PRESSED_AGAIN))
    ids = list(rows.order_by("pk").values_list("pk", flat=True)[:MOST])
    for number, start in enumerate(range(0, len(ids), A_SECOND)):
        due, some = now + timedelta(seconds=number), KeyHealth.objects.filter(pk__in=ids[start : start + A_SECOND])
        some.filter(next_probe_at__gt=due).update(next_probe_at=due)
        some.update(probe_asked_at=now)
    return len(ids)


def pace() -> timing.Pace:
    """Return how long answers have to be good, as the settings say."""
    return timing.Pace(
        apart=timedelta(seconds=settings.GOOD_ANSWERS_APART),
        span=timedelta(seconds=max(settings.GOOD_ANSWERS_APART, settings.GOOD_ANSWERS_SPAN)),
        window=timedelta(seconds=settings.PROPAGATION_WINDOW),
    )
