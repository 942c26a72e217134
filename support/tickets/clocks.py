"""The clocks of a ticket: first answer and resolution, by priority; the second rests while we wait for the tenant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from support.tickets.ticket_rows import Ticket

# The order in which the settings name the minutes.
ORDER = (Ticket.Priority.URGENT, Ticket.Priority.HIGH, Ticket.Priority.NORMAL, Ticket.Priority.LOW)
# A reminder comes before half of a clock has passed at the earliest.
SHARE = 2
FIRST_ANSWER, RESOLUTION = "first answer", "resolution"


@dataclass(frozen=True, slots=True)
class Running:
    """A clock that runs: what is due when, and when a person is reminded before."""

    what: str
    due_at: datetime
    remind_at: datetime


def first_answer(priority: str) -> timedelta:
    """Return the time until somebody of ours answers, day and night."""
    return timedelta(minutes=settings.TICKET_FIRST_ANSWER_MINUTES[ORDER.index(Ticket.Priority(priority))])


def resolution(priority: str) -> timedelta:
    """Return the time until it is settled, day and night, without the time for which we wait for the tenant."""
    return timedelta(minutes=settings.TICKET_RESOLUTION_MINUTES[ORDER.index(Ticket.Priority(priority))])


def running(ticket: Ticket) -> list[Running]:
    """Return the clocks that run now, the nearer one first."""
    if not ticket.is_open:
        return []
    found = []
    if ticket.first_answer_due_at and not ticket.first_answered_at and ticket.whose_turn == "kore":
        found.append((FIRST_ANSWER, ticket.first_answer_due_at, first_answer(ticket.priority)))
    if ticket.resolution_due_at:
        found.append((RESOLUTION, ticket.resolution_due_at, resolution(ticket.priority)))
    before = timedelta(minutes=settings.TICKET_REMIND_MINUTES)
    clocks = [Running(what, due, due - min(before, lasts / SHARE)) for what, due, lasts in found]
    return sorted(clocks, key=lambda one: one.due_at)


def start(ticket: Ticket, now: datetime) -> None:
    """Set the clocks of a new ticket, or of one that is opened again: to settle it, and to answer first where the
    tenant's people wrote and nobody of ours has."""
    if ticket.asked_at is not None and ticket.first_answered_at is None:
        ticket.asked_at, ticket.first_answer_due_at = now, now + first_answer(ticket.priority)
    ticket.resolution_left = resolution(ticket.priority)
    ticket.resolution_due_at = None
    follow(ticket, now)


def ask(ticket: Ticket, now: datetime) -> None:
    """Note that the tenant's people wrote: the first time, the clock of the first answer begins."""
    if ticket.asked_at is None:
        ticket.asked_at = now
        ticket.first_answer_due_at = now + first_answer(ticket.priority)


def answer(ticket: Ticket, now: datetime) -> None:
    """Note that one of our people answered."""
    if ticket.asked_at is not None and ticket.first_answered_at is None:
        ticket.first_answered_at = now


def follow(ticket: Ticket, now: datetime) -> None:
    """Let the clocks run or rest as the status says, and find what is next."""
    runs = ticket.whose_turn == "kore"
    if runs and ticket.resolution_due_at is None:
        left = resolution(ticket.priority) if ticket.resolution_left is None else ticket.resolution_left
        ticket.resolution_due_at, ticket.resolution_left = now + left, None
    elif not runs and ticket.resolution_due_at is not None:
        ticket.resolution_left, ticket.resolution_due_at = ticket.resolution_due_at - now, None
    clocks = running(ticket)
    ticket.due_at = clocks[0].due_at if clocks else None
    ticket.remind_at = min((at for at in _instants(clocks) if at > now), default=None)


def change_priority(ticket: Ticket, priority: str, now: datetime) -> None:
    """Move both clocks by as much as the new priority gives more or less time."""
    more = resolution(priority) - resolution(ticket.priority)
    ticket.priority = priority
    if ticket.asked_at is not None:
        ticket.first_answer_due_at = ticket.asked_at + first_answer(priority)
    if ticket.resolution_due_at is not None:
        ticket.resolution_due_at += more
    elif ticket.resolution_left is not None:
        ticket.resolution_left += more
    follow(ticket, now)


def _instants(clocks: Iterable[Running]) -> Iterator[datetime]:
    for one in clocks:
        yield from (one.remind_at, one.due_at)


FIELDS = (
    "priority",
    "asked_at",
    "first_answer_due_at",
    "first_answered_at",
    "resolution_due_at",
    "resolution_left",
    "due_at",
    "remind_at",
)


def facts(ticket: Ticket) -> dict[str, Any]:
    """Return the columns of the clocks as the ticket has them."""
    return {name: getattr(ticket, name) for name in FIELDS}
