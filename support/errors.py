"""What can go wrong with tickets and the operations of the back office."""

from byokportal.errors import DomainError, Kind


class TicketClosed(DomainError):
    kind, code = Kind.CONFLICT, "ticket_closed"
    title = "The ticket is closed"
    detail = "A closed ticket takes no more messages. Open a new one and mention this one."


class NothingToApprove(DomainError):
    kind, code = Kind.CONFLICT, "nothing_to_approve"
    title = "There is nothing to approve"
    detail = "No configuration of this tenant waits for an approval. Reload the page to see where it stands."
