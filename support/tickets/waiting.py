"""MOVES and move(): the one way a ticket changes on whom it waits."""

from __future__ import annotations

from django.db.models import F

from byokportal import clock
from support.errors import TicketClosed
from support.tickets import clocks
from support.tickets.ticket_rows import Ticket, TicketMove
from tenants import transactions
from tenants.audit import Actor

S = Ticket.Status

MOVES: dict[str, frozenset[str]] = {
    S.WAITING_FOR_KORE: frozenset({S.IN_PROGRESS, S.WAITING_FOR_TENANT, S.CLOSED}),
    S.IN_PROGRESS: frozenset({S.WAITING_FOR_KORE, S.WAITING_FOR_TENANT, S.CLOSED}),
    S.WAITING_FOR_TENANT: frozenset({S.WAITING_FOR_KORE, S.IN_PROGRESS, S.CLOSED}),
    # Opened again, by the system or a person of ours; a merged one stays closed.
    S.CLOSED: frozenset({S.WAITING_FOR_KORE, S.IN_PROGRESS, S.WAITING_FOR_TENANT}),
}


@transactions.atomic
def begin(ticket: Ticket, *, is_asked: bool, actor: Actor) -> None:
    """Save a new ticket with its first move and its clocks.

    Args:
        is_asked: the tenant's people wrote it, so the clock of the first answer runs.
    """
    now = clock.now()
    ticket.since = ticket.created_at = now
    if is_asked:
        clocks.ask(ticket, now)
    clocks.start(ticket, now)
    ticket.save(force_insert=True)
    _note(ticket, "", "", actor)


@transactions.atomic
def move(
    ticket: Ticket, to: str, *, reason: str = "", actor: Actor, is_asked: bool = False, is_answered: bool = False
) -> None:
    """Move the ticket as it stands in the database; without a change its `since` stays and no row is left.

    Args:
        is_asked: the tenant's people wrote.
        is_answered: one of our people answered.

    Raises:
        TicketClosed: it is closed, and is not to be opened again; or somebody else moved it first.
    """
    ticket.refresh_from_db(fields=["status", "since", "closed_at", "merged_into", "reopened", *clocks.FIELDS])
    old, now = ticket.status, clock.now()
    if to != old and to not in MOVES[old]:
        raise TicketClosed
    if is_asked:
        clocks.ask(ticket, now)
    if is_answered:
        clocks.answer(ticket, now)
    if to != old:
        ticket.status, ticket.since = to, now
        ticket.closed_at = now if to == S.CLOSED else None
    if old == S.CLOSED and to != old:
        clocks.start(ticket, now)
    clocks.follow(ticket, now)
    facts = {"status": ticket.status, "since": ticket.since, "closed_at": ticket.closed_at, **clocks.facts(ticket)}
    if old == S.CLOSED and to != old:
        facts["reopened"] = F("reopened") + 1
    if not Ticket.objects.filter(pk=ticket.pk, status=old, merged_into=None).update(**facts):
        raise TicketClosed
    if to != old:
        _note(ticket, old, reason, actor)


def _note(ticket: Ticket, old: str, reason: str, actor: Actor) -> None:
    TicketMove.objects.create(
        tenant_id=ticket.tenant_id,
        ticket=ticket,
        old_status=old,
        new_status=ticket.status,
        reason=reason[:200],
        actor=actor.label[:200],
        at=ticket.since,
    )
