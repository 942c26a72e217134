"""The row of a key's health: locked with its registration, and written after a probe."""

from __future__ import annotations

from datetime import datetime, timedelta

from byokportal import clock
from keys.health import pauses, timing
from keys.health.asking import Answer
from keys.models import KeyHealth, KeyRegistration


def lock(health: KeyHealth, claim: datetime | None) -> bool:
    """Lock the registration, then its health, and load both anew; False when the probe's claim on it is gone,
    or it moved since the probe was asked."""
    registration, known = health.registration, health.registration.moved_at
    rows = KeyHealth.objects.select_for_update(no_key=True)
    if claim is not None:
        rows = rows.filter(probe_claimed_at=claim)
    try:
        registration.refresh_from_db(from_queryset=KeyRegistration.objects.select_for_update(no_key=True))
        health.refresh_from_db(from_queryset=rows)
    except (KeyRegistration.DoesNotExist, KeyHealth.DoesNotExist):
        return False
    finally:
        health.registration = registration
    if claim is not None and registration.moved_at != known:
        write(health, probe_claimed_at=None)
        return False
    return True


def write(health: KeyHealth, **facts: object) -> None:
    """Write these columns, and no others, into a row that the caller has locked."""
    KeyHealth.objects.filter(pk=health.pk).update(**facts)
    for name, value in facts.items():
        setattr(health, name, value)


def note(health: KeyHealth, pause: float, answer: Answer | None, *, is_exact: bool = False, **facts: object) -> None:
    """Give the claim back, count, and say when the next probe is:
    soon, where somebody asked for one while this one was under way."""
    claim, asked = health.probe_claimed_at, health.probe_asked_at
    is_awaited = health.is_probe_awaited and asked is not None and claim is not None and asked > claim
    soon = clock.now() + min(timing.APART, timedelta(seconds=pause))
    facts |= {
        "probe_claimed_at": None,
        "probe_failures": 0,
        "last_probe_at": answer.at if answer else clock.now(),
        "next_probe_at": soon if is_awaited else pauses.next_at(pause, is_exact=is_exact),
    }
    if not is_awaited and claim is not None:
        facts["is_probe_awaited"] = False
    if answer is not None and answer.facts is not None:
        facts["key_facts"] = facts_of(answer)
    write(health, **facts)


def facts_of(answer: Answer) -> dict[str, str]:
    """Return what people have to know of DescribeKey's answer, as the row keeps it."""
    found = answer.facts
    if found is None:
        return {}
    facts = {"state": found.state, "origin": found.origin}
    if found.deletion_at is not None:
        facts["deletion_at"] = found.deletion_at.isoformat()
    return facts
