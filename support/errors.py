"""What can go wrong with tickets and the operations of the back office."""

from byokportal.errors import DomainError, Kind, Turn
from byokportal.translation import lazy


class TicketClosed(DomainError):
    kind, code = Kind.CONFLICT, "ticket_closed"
    title = lazy("The ticket is closed")
    detail = lazy("A closed ticket takes no more messages. Open a new one and mention this one.")


class TicketsNotMerged(DomainError):
    kind, code = Kind.CONFLICT, "tickets_not_merged"
    title = lazy("These tickets cannot be merged")
    detail = "{why}"
    turn = Turn.KORE


class InboundMailOff(DomainError):
    kind, code = Kind.NOT_FOUND, "inbound_mail_off"
    title = lazy("No mails are taken here")
    detail = lazy("Answers by mail are switched off: INBOUND_MAIL_SECRETS and INBOUND_MAIL_ADDRESS are not set.")
    turn = Turn.KORE


class MailNotSigned(DomainError):
    kind, code = Kind.UNAUTHENTICATED, "mail_not_signed"
    title = lazy("The mail is not signed by the gateway")
    detail = lazy("{why} docs/tickets.md says how a gateway signs.")


class MailReplayed(DomainError):
    kind, code = Kind.CONFLICT, "mail_replayed"
    title = lazy("This delivery was taken before")
    detail = lazy("A delivery with this webhook-id was taken. Nothing was done now; do not send it again.")


class NothingToApprove(DomainError):
    kind, code = Kind.CONFLICT, "nothing_to_approve"
    title = lazy("There is nothing to approve")
    detail = lazy("No configuration of this tenant waits for an approval. Reload the page to see where it stands.")


class TooManyWebhooks(DomainError):
    kind, code = Kind.CONFLICT, "too_many_webhooks"
    title = lazy("That is too many webhooks")
    detail = lazy("The limit is {limit}. Remove one that you do not need, then try again.")
    turn = Turn.TENANT


class WebhookNotOn(DomainError):
    kind, code = Kind.CONFLICT, "webhook_not_on"
    title = lazy("The webhook is switched off")
    detail = lazy("Switch it on first, then send again what was given up.")
    turn = Turn.TENANT


class WebhookTestWaits(DomainError):
    kind, code = Kind.LIMITED, "webhook_test_waits"
    title = lazy("A test is under way, or there were many")
    detail = lazy("One test at a time, and {limit} an hour. The deliveries show what became of the last one.")
    turn = Turn.CALLER
    retryable = True


class NobodyOnCall(DomainError):
    kind, code = Kind.CONFLICT, "nobody_on_call"
    title = lazy("The settings name nobody on call")
    detail = lazy("Set ON_CALL_WEBHOOK_URL with its secret, or ON_CALL_PAGERDUTY_ROUTING_KEY (docs/deploy.md).")


class NobodyToTell(DomainError):
    kind, code = Kind.CONFLICT, "nobody_to_tell"
    title = lazy("There is nobody left to tell")
    detail = lazy("Every organisation that this incident concerns has been told already, or there is none yet.")


class SecondLeadForBulk(DomainError):
    kind, code = Kind.CONFLICT, "second_lead_for_bulk"
    title = lazy("Another support lead decides")
    detail = lazy(
        "You asked for it yourself, or one of you two made or changed the account of the other. "
        "Another support lead has to look at the list and decide; who asked can stop it."
    )
    turn = Turn.KORE


class TooManySuspensions(DomainError):
    kind, code = Kind.CONFLICT, "too_many_suspensions"
    title = lazy("Another support lead decides about more")
    detail = lazy(
        "You have suspended {limit} keys within a day. Mark this organisation in the fleet and press “Suspend these”: "
        "another support lead approves it on the page of that bulk operation."
    )
    turn = Turn.KORE


class BulkOperationMoved(DomainError):
    kind, code = Kind.CONFLICT, "bulk_operation_moved"
    title = lazy("The bulk operation has moved on")
    detail = lazy("Somebody decided about it, or it is over. Reload its page to see where it stands.")
    turn = Turn.KORE


class NothingToResume(DomainError):
    kind, code = Kind.CONFLICT, "nothing_to_resume"
    title = lazy("There is nothing to resume")
    detail = lazy("It suspended no key that is left to resume, it still runs, or its resumption is under way already.")
    turn = Turn.KORE


class SuspendedAlready(DomainError):
    kind, code = Kind.CONFLICT, "suspended_already"
    title = lazy("We have suspended it already")
    detail = lazy("Somebody of ours suspended this key before. It stays so, and resuming this batch leaves it alone.")
    turn = Turn.KORE


class TouchedSince(DomainError):
    kind, code = Kind.CONFLICT, "touched_since"
    title = lazy("Somebody touched it since")
    detail = lazy(
        "The key was suspended or resumed again after this batch. Look at the tenant's page and decide there."
    )
    turn = Turn.KORE


class NoTestWaits(DomainError):
    kind, code = Kind.CONFLICT, "no_test_waits"
    title = lazy("No test waits")
    detail = lazy("No encryption test of this tenant is open, so there is no end to move. Test it to begin one.")
    turn = Turn.KORE
