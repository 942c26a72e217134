"""The moves of registrations → the times in which a key did not serve, whose doing each was, and a state for each day;
pure."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Protocol

from keys.errors import OwnAccessBroken

SERVES = "active"
DOWN = frozenset({"unreachable", "suspended"})
SYSTEM = frozenset({"", "system"})


class Whose(StrEnum):
    """Whose doing an outage was; in the order in which it colours a day."""

    OURS = "ours"
    THEIRS = "theirs"  # AWS said no, by what stands in the tenant's account
    PERSON = "person"  # somebody pressed Suspend
    UNCLEAR = "unclear"  # no answer, or none that says whose doing it is


class Move(Protocol):
    """What is read of a `RegistrationMove`."""

    registration_id: uuid.UUID
    old_status: str
    new_status: str
    reason: str
    actor: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Outage:
    """One time in which the key did not serve.

    Args:
        ended_at: None while it goes on.
        reason: the code or the words that stand for it: of the suspension, where there was one.
        by: who pressed Suspend, the label of an actor; "" where nobody did.
        resumed_by: who pressed Resume; "" where it ended without a person here.
    """

    began_at: datetime
    ended_at: datetime | None
    whose: Whose
    reason: str
    by: str = ""
    resumed_by: str = ""

    def seconds(self, now: datetime) -> float:
        return ((self.ended_at or now) - self.began_at).total_seconds()


@dataclass(frozen=True, slots=True)
class Day:
    """One day: the gravest outage in it; None: the key served all of it, or was not in service yet."""

    on: date
    whose: Whose | None
    is_before: bool


def of(moves: Iterable[Move], *, since: datetime) -> list[Outage]:
    """Return the outages, the newest first.

    Args:
        moves: of one tenant's registrations, the oldest first, from `since` on.
    """
    open_ones: dict[uuid.UUID, Outage] = {}
    over: list[Outage] = []
    for move in moves:
        if move.new_status in DOWN:
            before = open_ones.get(move.registration_id)
            if before is None and move.old_status in DOWN:  # it began before the first move that we see
                before = Outage(since, None, Whose.UNCLEAR, "")
            open_ones[move.registration_id] = _after(before, move)
        elif move.old_status in DOWN:
            before = open_ones.pop(move.registration_id, None) or Outage(since, None, Whose.UNCLEAR, "")
            over.append(replace(before, ended_at=move.at))
    return sorted([*over, *open_ones.values()], key=lambda outage: outage.began_at, reverse=True)


def _after(before: Outage | None, move: Move) -> Outage:
    is_person = move.actor not in SYSTEM
    if move.new_status == "unreachable" and before is not None and is_person:
        return replace(before, resumed_by=move.actor)  # Resume: AWS is asked whether it may serve
    if move.new_status == "suspended":
        whose = Whose.PERSON if is_person else Whose.THEIRS
        by = move.actor if is_person else ""
        began = before.began_at if before else move.at
        return Outage(began, None, whose, move.reason, by)
    whose = Whose.OURS if move.reason == OwnAccessBroken.code else Whose.UNCLEAR
    if before is None:
        return Outage(move.at, None, whose, move.reason)
    return replace(before, whose=whose, reason=move.reason) if before.whose == Whose.UNCLEAR else before


def days(outages: Sequence[Outage], *, first_served: datetime, now: datetime, count: int) -> list[Day]:
    """Return the last days, today last, in UTC."""
    today = now.astimezone(UTC).date()
    found = []
    for on in (today - timedelta(days=back) for back in reversed(range(count))):
        begin = datetime(on.year, on.month, on.day, tzinfo=UTC)
        end = begin + timedelta(days=1)
        whose = {one.whose for one in outages if one.began_at < end and (one.ended_at or now) >= begin}
        gravest = next((one for one in Whose if one in whose), None)
        found.append(Day(on, gravest, is_before=end <= first_served))
    return found
