"""What can go wrong with tenants, people, tokens and steps."""

from typing import Any, Self

from byokportal.errors import DomainError, Kind, Turn
from byokportal.translation import lazy


class NoOpenServiceRole(DomainError):
    kind, code = Kind.UNAVAILABLE, "no_open_service_role"
    title = lazy("No service role is open for new tenants")
    detail = lazy("Every service role is full or closed. Open one with manage.py open_service_role, then try again.")
    turn = Turn.KORE


class OrganisationClosed(DomainError):
    """What our own people meet; for everybody else a closed organisation is not there."""

    kind, code = Kind.CONFLICT, "organisation_closed"
    title = lazy("This organisation is closed")
    detail = lazy(
        "It was closed for good: its keys are destroyed and nobody is in it any more. Look at its receipts; a customer "
        "who comes back is a new organisation."
    )
    turn = Turn.NOBODY


class LastOwner(DomainError):
    kind, code = Kind.CONFLICT, "last_owner"
    title = lazy("This is the last owner")
    detail = lazy("An organisation keeps at least one owner. Make somebody else an owner first.")


class SecondPersonNeeded(DomainError):
    """What was asked for is in `asked`, for `services.ask_second_person`; the words and the API do not show that."""

    kind, code = Kind.CONFLICT, "second_person_needed"
    title = lazy("A second person has to approve this")
    detail = lazy(
        "Nothing is done yet. Another owner or admin of your organisation approves or refuses it "
        "within 24 hours; they have a mail, and the request is on the Approvals page."
    )
    turn = Turn.TENANT

    def __init__(self, *, approval: str = "", **asked: Any) -> None:
        super().__init__(approval=approval)
        self.asked = asked

    def was_not_asked(self) -> None:
        """Say so where nobody was asked: too much was asked for, or by somebody who is no member."""
        self.template = lazy(
            "Nothing is done, and nobody was asked: you have asked for too much at once, or nobody may ask for you. "
            "Withdraw on the Approvals page what you no longer need, or ask tomorrow."
        )
        self.args = (self.template,)

    def again(self) -> Self:
        return type(self)(approval=str(self.params["approval"]), **self.asked)


class TooFewApprovers(DomainError):
    kind, code = Kind.CONFLICT, "too_few_approvers"
    title = lazy("There would be nobody to approve")
    detail = lazy(
        "Where a second person is needed, at least two owners or admins who joined 72 hours ago have to be there. "
        "Let somebody else in first."
    )
    turn = Turn.TENANT


class NotSecondPerson(DomainError):
    kind, code = Kind.CONFLICT, "not_second_person"
    title = lazy("Somebody else has to decide")
    detail = "{why}"
    turn = Turn.TENANT


class ApprovalOver(DomainError):
    kind, code = Kind.CONFLICT, "approval_over"
    title = lazy("There is nothing to decide any more")
    detail = lazy("It was decided, withdrawn, or has expired. Ask for it again if it is still wanted.")
    turn = Turn.NOBODY


class AlreadyMember(DomainError):
    kind, code = Kind.CONFLICT, "already_member"
    title = lazy("This person is already in the organisation")
    detail = lazy("{email} is already a member. Change the role instead.")


class AlreadyInvited(DomainError):
    kind, code = Kind.CONFLICT, "already_invited"
    title = lazy("This person is already invited")
    detail = lazy("{email} has an invitation that can still be used. Send it again, or withdraw it first.")


class TooManyInvitations(DomainError):
    kind, code = Kind.CONFLICT, "too_many_invitations"
    title = lazy("That is too many invitations")
    detail = lazy("The limit is {limit}. Withdraw an invitation that nobody uses, then try again.")


class InvitationOver(DomainError):
    kind, code = Kind.NOT_FOUND, "invitation_over"
    title = lazy("This invitation cannot be used")
    detail = lazy("It was used, withdrawn or has expired. Ask the person who invited you to send it again.")
    turn = Turn.NOBODY


class NotFirstOwner(DomainError):
    kind, code = Kind.CONFLICT, "not_first_owner"
    title = lazy("Only the organisation's owners invite here")
    detail = lazy(
        "Kore.ai invites the first owner of an organisation that never had one. "
        "Every other person is invited by an owner."
    )
    turn = Turn.TENANT


class StaffAddress(DomainError):
    kind, code = Kind.CONFLICT, "staff_address"
    title = lazy("This address belongs to Kore.ai")
    detail = lazy("People who work for Kore.ai are never members of an organisation. Use another address.")


class SignInForInvitation(DomainError):
    kind, code = Kind.CONFLICT, "sign_in_for_invitation"
    title = lazy("Sign in first")
    detail = lazy("There is an account for {email} already. Sign in with it, then accept the invitation.")


class WrongAccountForInvitation(DomainError):
    kind, code = Kind.CONFLICT, "wrong_account_for_invitation"
    title = lazy("This invitation is for another account")
    detail = lazy(
        "It was sent to {email}, which is not an address of the account that you are signed in with. "
        "Sign out, then open the link again."
    )


class AccountSwitchedOff(DomainError):
    kind, code = Kind.CONFLICT, "account_switched_off"
    title = lazy("This account is switched off")
    detail = lazy("The account for this address was switched off. Contact Kore.ai support.")
    turn = Turn.KORE


class ReasonMissing(DomainError):
    kind, code = Kind.INVALID, "reason_missing"
    title = lazy("A reason is needed")
    detail = lazy("Say in a sentence why you do this; it stands in the log.")


class IdempotencyKeyReused(DomainError):
    kind, code = Kind.UNREADABLE, "idempotency_key_reused"
    title = lazy("This Idempotency-Key belongs to another request")
    detail = lazy("The key was used with another body within 24 hours. Use a new key for a new request.")


class IdempotencyKeyInvalid(DomainError):
    kind, code = Kind.INVALID, "idempotency_key_invalid"
    title = lazy("The Idempotency-Key is not valid")
    detail = lazy("Send one Idempotency-Key of 1 to 255 visible ASCII characters without a comma.")


class RequestInProgress(DomainError):
    kind, code = Kind.CONFLICT, "request_in_progress"
    title = lazy("The first request with this Idempotency-Key is still running")
    detail = lazy("Wait for its answer, then repeat the request to get the same result.")
    retryable = True


class TokenNotMarked(DomainError):
    kind, code = Kind.FORBIDDEN, "token_not_marked"
    title = lazy("This token may not touch a key in service")
    detail = lazy(
        "Replacing, leaving and resuming need a token that was marked for it when it was made. "
        "Make such a token in the portal, or do it there."
    )


class RotationRunning(DomainError):
    kind, code = Kind.CONFLICT, "rotation_running"
    title = lazy("A rotation of this secret is not over")
    detail = lazy("The secret before the present one counts until {until}. Wait, or end it now.")
    turn = Turn.KORE


class NothingToRevoke(DomainError):
    kind, code = Kind.CONFLICT, "nothing_to_revoke"
    title = lazy("There is no old secret")
    detail = lazy("Only the present secret counts. Rotate it first; to shut the account out now, disable it.")
    turn = Turn.KORE


class ServiceAccountStands(DomainError):
    kind, code = Kind.CONFLICT, "service_account_stands"
    title = lazy("The service account stands like that already")
    detail = lazy("It is {status} already.")
    turn = Turn.NOBODY


class FreshSignInNeeded(DomainError):
    kind, code = Kind.FORBIDDEN, "fresh_sign_in_needed"
    title = lazy("Sign in again first")
    detail = lazy(
        "This needs a sign-in that is at most {minutes} minutes old. "
        "Give your password or second factor again in the portal, then repeat it."
    )


class OwnSecondFactor(DomainError):
    kind, code = Kind.CONFLICT, "own_second_factor"
    title = lazy("Nobody resets their own second factor")
    detail = lazy("Ask another owner of your organisation. If there is none, contact Kore.ai support.")
    turn = Turn.TENANT


class SharedAccount(DomainError):
    kind, code = Kind.CONFLICT, "shared_account"
    title = lazy("This account belongs to another organisation too")
    detail = lazy(
        "Its second factor protects the other organisation as well, so it cannot be reset from here. "
        "Contact Kore.ai support."
    )
    turn = Turn.KORE


class MemberAddress(DomainError):
    kind, code = Kind.CONFLICT, "member_address"
    title = lazy("This account is a customer's")
    detail = lazy(
        "It belongs to a member of an organisation, or to somebody who is invited to one. "
        "A member is never staff, and staff never act on an owner."
    )
    turn = Turn.KORE


class AlreadyStaff(DomainError):
    kind, code = Kind.CONFLICT, "already_staff"
    title = lazy("There is such an account")
    detail = lazy("{email} is one of Kore.ai's people already. Change the groups instead.")
    turn = Turn.KORE


class NotOneself(DomainError):
    kind, code = Kind.CONFLICT, "not_oneself"
    title = lazy("Nobody does this to their own account")
    detail = lazy("Ask a colleague who may manage staff.")
    turn = Turn.KORE


class HasOwner(DomainError):
    kind, code = Kind.CONFLICT, "has_owner"
    title = lazy("This is nothing for a recovery")
    detail = lazy(
        "Recovery is for an organisation whose owners can no longer act. An owner who can act does this alone; "
        "the first owner of a new organisation is simply invited."
    )
    turn = Turn.KORE


class RecoveryNeedsTwo(DomainError):
    kind, code = Kind.CONFLICT, "recovery_needs_two"
    title = lazy("A second lead has to approve")
    detail = lazy(
        "Whoever asks for a recovery does not approve it, nor does a lead whose account one of the two made or changed "
        "for the other. Ask another support lead."
    )
    turn = Turn.KORE


class RecoveryOver(DomainError):
    kind, code = Kind.CONFLICT, "recovery_over"
    title = lazy("This recovery has ended")
    detail = lazy("It was done, withdrawn, or somebody objected. The log of the organisation says what happened.")
    turn = Turn.NOBODY


class RecoveryUnderWay(DomainError):
    kind, code = Kind.CONFLICT, "recovery_under_way"
    title = lazy("A recovery is under way")
    detail = lazy("Only one at a time. Withdraw the open one first.")
    turn = Turn.KORE


class AddressChangeOver(DomainError):
    kind, code = Kind.NOT_FOUND, "address_change_over"
    title = lazy("This link cannot be used")
    detail = lazy(
        "It was used, replaced by a newer one, or has expired, or another person asked for it. "
        "Ask for the change again."
    )


class AddressTaken(DomainError):
    kind, code = Kind.CONFLICT, "address_taken"
    title = lazy("This address cannot be yours")
    detail = lazy("Another account proved that it is theirs. Use another address.")


class DomainNotYours(DomainError):
    kind, code = Kind.CONFLICT, "domain_not_yours"
    title = lazy("This domain cannot be an organisation's")
    detail = lazy("It belongs to Kore.ai, or everybody can have an address there. Use a domain of your own.")
    turn = Turn.TENANT


class TooManyDomains(DomainError):
    kind, code = Kind.CONFLICT, "too_many_domains"
    title = lazy("That is too many domains")
    detail = lazy("The limit is {limit}. Remove one that nobody uses, then try again.")
    turn = Turn.TENANT


class DirectoryUnfit(DomainError):
    kind, code = Kind.INVALID, "directory_unfit"
    title = lazy("This sign-on cannot be used")
    detail = "{why}"
    turn = Turn.TENANT


class SignOnNotReady(DomainError):
    kind, code = Kind.CONFLICT, "sign_on_not_ready"
    title = lazy("The sign-on is not ready for this")
    detail = "{why}"
    turn = Turn.TENANT


class BreakGlassOwner(DomainError):
    kind, code = Kind.CONFLICT, "break_glass_owner"
    title = lazy("This is the owner who signs in without the directory")
    detail = lazy("While the sign-on is required, one owner keeps their own sign-in. Choose another one first.")
    turn = Turn.TENANT


class SignOnOver(DomainError):
    kind, code = Kind.NOT_FOUND, "sign_on_over"
    title = lazy("This sign-in is over")
    detail = lazy("It was not begun in this browser, was used, or took more than ten minutes. Begin again.")


class SignOnRefused(DomainError):
    kind, code = Kind.CONFLICT, "sign_on_refused"
    title = lazy("You cannot come in by this sign-on")
    detail = "{why}"
    turn = Turn.TENANT


class SignOnNeeded(DomainError):
    kind, code = Kind.FORBIDDEN, "sign_on_needed"
    title = lazy("Sign in with your organisation")
    detail = lazy("The organisation {tenant} is entered by its own sign-on alone.")
    turn = Turn.CALLER


class SignOnSessionBound(DomainError):
    kind, code = Kind.FORBIDDEN, "sign_on_session_bound"
    title = lazy("This page is not part of your sign-in")
    detail = lazy(
        "You signed in by {organisation}, and that reaches its pages only. "
        "To change your own account, sign out and sign in to it with its password or passkey."
    )


class NameTaken(DomainError):
    kind, code = Kind.CONFLICT, "directory_name_taken"
    title = lazy("Another person has this already")
    detail = lazy("Your directory names another person by the same {what}.")
    turn = Turn.TENANT


class DirectoryFull(DomainError):
    kind, code = Kind.CONFLICT, "directory_full"
    title = lazy("That is too much for one directory")
    detail = lazy("The limit is {limit} {what}. Assign fewer people or groups to this application.")
    turn = Turn.TENANT


class NotByDirectory(DomainError):
    kind, code = Kind.CONFLICT, "not_by_directory"
    title = lazy("You cannot join by the directory")
    detail = "{why}"
    turn = Turn.TENANT


class TooManyLogStreams(DomainError):
    kind, code = Kind.CONFLICT, "too_many_log_streams"
    title = lazy("That is too many streams of the log")
    detail = lazy("The limit is {limit}. Remove one that you do not need, then try again.")
    turn = Turn.TENANT


class LogStreamTestWaits(DomainError):
    kind, code = Kind.LIMITED, "log_stream_test_waits"
    title = lazy("A test is under way")
    detail = lazy("One test at a time, and one in {seconds} seconds. The page of the stream shows what became of it.")
    turn = Turn.CALLER
    retryable = True
