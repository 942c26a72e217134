"""What can go wrong with tenants, people, tokens and steps."""

from byokportal.errors import DomainError, Kind, Turn


class NoOpenServiceRole(DomainError):
    kind, code = Kind.UNAVAILABLE, "no_open_service_role"
    title = "No service role is open for new tenants"
    detail = "Every service role is full or closed. Open one with manage.py open_service_role, then try again."
    turn = Turn.KORE


class LastOwner(DomainError):
    kind, code = Kind.CONFLICT, "last_owner"
    title = "This is the last owner"
    detail = "An organisation keeps at least one owner. Make somebody else an owner first."


class AlreadyMember(DomainError):
    kind, code = Kind.CONFLICT, "already_member"
    title = "This person is already in the organisation"
    detail = "{email} is already a member. Change the role instead."


class ReasonMissing(DomainError):
    kind, code = Kind.INVALID, "reason_missing"
    title = "A reason is needed"
    detail = "Say in a sentence why you do this; it stands in the log."


class StepNotOpen(DomainError):
    kind, code = Kind.CONFLICT, "step_not_open"
    title = "This step cannot change like that now"
    detail = "Step {step} is {status}. Open the setup page to see what comes next."


class IdempotencyKeyReused(DomainError):
    kind, code = Kind.UNREADABLE, "idempotency_key_reused"
    title = "This Idempotency-Key belongs to another request"
    detail = "The key was used with another body within 24 hours. Use a new key for a new request."


class IdempotencyKeyInvalid(DomainError):
    kind, code = Kind.INVALID, "idempotency_key_invalid"
    title = "The Idempotency-Key is not valid"
    detail = "An Idempotency-Key has 1 to 255 visible ASCII characters."


class RequestInProgress(DomainError):
    kind, code = Kind.CONFLICT, "request_in_progress"
    title = "The first request with this Idempotency-Key is still running"
    detail = "Wait for its answer, then repeat the request to get the same result."
    retryable = True


class FreshSignInNeeded(DomainError):
    kind, code = Kind.FORBIDDEN, "fresh_sign_in_needed"
    title = "Sign in again first"
    detail = "This needs a sign-in that is at most {minutes} minutes old. Give your password or second factor again in the portal, then repeat it."
