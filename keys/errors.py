"""What can go wrong with ARNs, registrations, tests, AWS and data keys."""

from byokportal import errors
from byokportal.errors import DomainError, Kind, Turn
from byokportal.translation import lazy

# --- what the tenant gives us -------------------------------------------------------------------


class ArnRefused(DomainError):
    """An ARN that cannot be used; the reason is a full sentence for the person who typed it."""

    kind, code = Kind.INVALID, "arn_refused"
    title = lazy("This ARN cannot be used")
    detail = "{why}"
    turn = Turn.TENANT


class SecretPasted(errors.SecretPasted, ArnRefused):
    """A secret stands where an ARN belongs: it is not kept, and must not be shown again either."""


class RoleArnTaken(DomainError):
    """Neutral on purpose: it must not tell who else uses the role."""

    kind, code = Kind.CONFLICT, "role_arn_taken"
    title = lazy("This role cannot be registered")
    detail = lazy("Use another IAM role for this organisation, or contact Kore.ai support with this message.")
    turn = Turn.TENANT


class ArnsMissing(DomainError):
    kind, code = Kind.CONFLICT, "arns_missing"
    title = lazy("An ARN is missing")
    detail = lazy("Give {names} first, then come back to this.")
    NAMES = (lazy("key_arn"), lazy("role_arn"), lazy("key_arn and role_arn"))
    turn = Turn.TENANT


class TooManyLinks(DomainError):
    kind, code = Kind.CONFLICT, "too_many_links"
    title = lazy("There are enough links")
    detail = lazy("Your organisation has {limit} links that are open. Revoke one that nobody needs, then make another.")
    turn = Turn.TENANT


class LinkOver(DomainError):
    """Neutral on purpose: it must not tell whether there ever was such a link."""

    kind, code = Kind.NOT_FOUND, "link_over"
    title = lazy("This link leads nowhere any more")
    detail = lazy(
        "It was revoked, has ended, or the key is in service. Ask the person who sent it to you for a new one, if "
        "there is something left to do."
    )
    turn = Turn.NOBODY


class ProposalDecided(DomainError):
    kind, code = Kind.CONFLICT, "proposal_decided"
    title = lazy("This was decided before")
    detail = lazy("The proposed ARNs were taken over, refused or replaced by others. Load the page again.")
    turn = Turn.TENANT


class RegistrationBusy(DomainError):
    kind, code = Kind.CONFLICT, "registration_busy"
    title = lazy("The registration is in another state")
    detail = lazy("The registration is {status}, so it cannot be {wanted} now. Reload to see where it stands.")
    # What stands in the two places, for the catalogs.
    STATUSES = (
        *(lazy("draft"), lazy("shared"), lazy("being configured"), lazy("being tested"), lazy("needs a change")),
        *(lazy("active"), lazy("unreachable"), lazy("suspended"), lazy("retiring"), lazy("retired")),
        *(lazy("suspended by AWS"), lazy("suspended by your organisation"), lazy("suspended by Kore.ai")),
        *(lazy("no longer serving"), lazy("changing")),
    )
    WANTED = (
        *(
            lazy("tested"),
            lazy("changed"),
            lazy("approved"),
            lazy("tried again"),
            lazy("drilled"),
            lazy("given up"),
            lazy("activated"),
        ),
        *(lazy("resumed"), lazy("left"), lazy("used for new data keys"), lazy("suspended"), lazy("retired")),
    )


class IncidentOver(DomainError):
    kind, code = Kind.CONFLICT, "incident_over"
    title = lazy("The incident is over")
    detail = lazy("It was closed already. Reload to see by whom, or that it ended by itself.")


class NoRegistration(DomainError):
    kind, code = Kind.CONFLICT, "no_registration"
    title = lazy("There is no key registered yet")
    detail = lazy("Give your CMK ARN and Role ARN and share them (steps 1, 2 and 6) first.")
    turn = Turn.TENANT


class ServiceRoleFull(DomainError):
    kind, code = Kind.CONFLICT, "service_role_full"
    title = lazy("The Role ARN is too long for the room that is left")
    detail = lazy("Your Role ARN has {length} characters. Use a shorter role name or path, or contact Kore.ai support.")
    turn = Turn.TENANT


class PlatformKeyMissing(DomainError):
    kind, code = Kind.CONFLICT, "platform_key_missing"
    title = lazy("There is no other key to go back to")
    detail = lazy(
        "Nothing would protect your data without your key here. Replace the key instead, or contact Kore.ai support."
    )
    turn = Turn.KORE


# --- what AWS said when we asked it --------------------------------------------------------------


class RoleNotAssumable(DomainError):
    kind, code = Kind.KEY_REFUSED, "role_not_assumable"
    title = lazy("AWS did not let us assume your role")
    detail = lazy("AWS STS answered {aws_code}. Check the role and its trust policy (step 2).")
    turn = Turn.TENANT


class KeyAccessDenied(DomainError):
    kind, code = Kind.KEY_REFUSED, "kms_access_denied"
    title = lazy("AWS refused access to the key")
    detail = lazy(
        "AWS KMS answered {aws_code} for {action}. Check the key policy (step 3) and the permissions policy (step 2)."
    )
    turn = Turn.TENANT


class KeyNotFound(DomainError):
    kind, code = Kind.KEY_REFUSED, "kms_key_not_found"
    title = lazy("AWS does not find the key")
    detail = lazy("AWS KMS answered {aws_code} for {action}. Check the CMK ARN (step 1).")
    turn = Turn.TENANT


class KeyDisabled(DomainError):
    kind, code = Kind.KEY_REFUSED, "kms_key_disabled"
    title = lazy("The key is disabled")
    detail = lazy("The CMK is disabled in AWS KMS. Enable it and it is used again without any further step.")
    turn = Turn.TENANT


class KeyPendingDeletion(DomainError):
    kind, code = Kind.KEY_REFUSED, "kms_key_pending_deletion"
    title = lazy("The key is scheduled for deletion")
    detail = lazy(
        "The CMK waits for its deletion in AWS KMS. Cancel the deletion and enable the key to keep your data."
    )
    turn = Turn.TENANT


class KeyPendingImport(DomainError):
    kind, code = Kind.KEY_REFUSED, "kms_key_pending_import"
    title = lazy("The key has no key material")
    detail = lazy(
        "The CMK is pending import: its key material was never imported, has expired or was deleted. Import it again."
    )
    turn = Turn.TENANT


class KeyUnusable(DomainError):
    kind, code = Kind.KEY_REFUSED, "kms_key_unusable"
    title = lazy("The key cannot be used")
    detail = lazy(
        "AWS KMS answered {aws_code} for {action}: the CMK is of another kind or in a state that does not allow it."
    )
    turn = Turn.TENANT


class WrongKeyAnswered(DomainError):
    kind, code = Kind.KEY_REFUSED, "kms_wrong_key"
    title = lazy("Another key answered")
    detail = lazy("AWS KMS answered with a key that is not the CMK you gave us. Check the CMK ARN (step 1).")
    turn = Turn.TENANT


class CiphertextInvalid(DomainError):
    kind, code = Kind.UNREADABLE, "kms_ciphertext_invalid"
    title = lazy("AWS KMS could not open this ciphertext")
    detail = lazy("The ciphertext is damaged or belongs to another encryption context.")


class AwsThrottled(DomainError):
    kind, code = Kind.UNAVAILABLE, "aws_throttled"
    title = lazy("AWS asks us to slow down")
    detail = lazy("AWS answered {aws_code} for {action}. Nothing is wrong with the key; try again after Retry-After.")
    turn = Turn.NOBODY
    retryable = True


class AwsUnreachable(DomainError):
    kind, code = Kind.UNAVAILABLE, "aws_unreachable"
    title = lazy("We cannot reach AWS")
    detail = lazy(
        "{action} got no usable answer ({aws_code}). Nothing says that the key was taken back; "
        "try again after Retry-After."
    )
    turn = Turn.KORE
    retryable = True


class OwnAccessBroken(DomainError):
    kind, code = Kind.UNAVAILABLE, "own_access_broken"
    title = lazy("Our own access to AWS does not work")
    detail = lazy(
        "AWS answered {aws_code} for {action}. This is on our side: Kore.ai is told and you need not change anything."
    )
    turn = Turn.KORE
    retryable = True


class AwsSurprise(DomainError):
    kind, code = Kind.UPSTREAM, "aws_surprise"
    title = lazy("AWS gave an answer that we do not know")
    detail = lazy("AWS answered {aws_code} for {action}. No key was given out; Kore.ai looks into it.")
    turn = Turn.KORE


# --- our service role in IAM -----------------------------------------------------------------------


class PolicyDrift(DomainError):
    kind, code = Kind.UPSTREAM, "policy_drift"
    title = lazy("Our policy in IAM is not what we last wrote")
    detail = lazy(
        "The policy {policy} was changed by somebody else. It is left as it is until a person has looked at it."
    )
    turn = Turn.KORE


class NoDrift(DomainError):
    kind, code = Kind.CONFLICT, "no_drift"
    title = lazy("IAM holds what we last wrote")
    detail = lazy("The policy {policy} is as we left it when IAM was last looked at, so there is nothing to resolve.")
    turn = Turn.NOBODY


class DriftChanged(DomainError):
    kind, code = Kind.CONFLICT, "drift_changed"
    title = lazy("It is not what was looked at any more")
    detail = lazy("The policy {policy} was changed again, or is decided upon already. Look at it anew.")
    turn = Turn.KORE


class NotOursToTake(DomainError):
    kind, code = Kind.CONFLICT, "not_ours_to_take"
    title = lazy("This document cannot be taken over")
    detail = lazy("What stands in IAM is nothing that we could have written: {why}. Write ours again instead.")
    turn = Turn.KORE


class SecondLeadNeeded(DomainError):
    kind, code = Kind.CONFLICT, "second_lead_needed"
    title = lazy("Another support lead decides")
    detail = lazy(
        "You asked for it yourself, or one of you two made or changed the account of the other. "
        "Another support lead has to look at it and decide."
    )
    turn = Turn.KORE


class StillServes(DomainError):
    kind, code = Kind.CONFLICT, "still_serves"
    title = lazy("Something still needs this organisation")
    detail = lazy("It cannot be closed yet, and nothing was changed: {why}")
    turn = Turn.KORE


class ClosingMoved(DomainError):
    kind, code = Kind.CONFLICT, "closing_moved"
    title = lazy("This closing is decided")
    detail = lazy("It does not wait any more, or another one is under way. Load the page again to see where it stands.")
    turn = Turn.KORE


class ClosingNeedsTwo(DomainError):
    kind, code = Kind.CONFLICT, "closing_needs_two"
    title = lazy("Another support lead approves a closing")
    detail = lazy(
        "Whoever asks for a closing does not approve it, nor does a lead whose account one of the two made or changed "
        "for the other. Ask another support lead."
    )
    turn = Turn.KORE


class ExportNotWritten(DomainError):
    kind, code = Kind.CONFLICT, "export_not_written"
    title = lazy("The export cannot be written")
    detail = lazy("Nothing was destroyed: {why} Name a folder that can be written to, then begin again.")
    turn = Turn.KORE


class ReceiptNotSigned(DomainError):
    kind, code = Kind.CONFLICT, "receipt_not_signed"
    title = lazy("The receipt cannot be signed")
    detail = lazy("Nothing was destroyed: {why} See that a receipt can be signed and published, then begin again.")
    turn = Turn.KORE


class PolicyRefused(DomainError):
    kind, code = Kind.UPSTREAM, "policy_refused"
    title = lazy("IAM does not take our policy")
    detail = lazy(
        "IAM answered {aws_code} to a policy of ours, whichever role it names. Nothing was changed; "
        "Kore.ai looks into it."
    )
    turn = Turn.KORE


class RoleRefusedByIam(DomainError):
    kind, code = Kind.CONFLICT, "role_refused_by_iam"
    title = lazy("AWS IAM does not take your Role ARN")
    detail = lazy(
        "IAM refuses a policy of ours that names your role, so we cannot ask for it. "
        "Create an IAM role with another name or path (step 2), give its ARN and share it again."
    )
    turn = Turn.TENANT


class LeaseTaken(DomainError):
    kind, code = Kind.CONFLICT, "lease_taken"
    title = lazy("Somebody else is changing this service role")
    detail = lazy("Another worker holds the lease of {service_role}. It is tried again by itself.")
    turn = Turn.NOBODY


# --- data keys ---------------------------------------------------------------------------------------


class KeyNotActive(DomainError):
    kind, code = Kind.CONFLICT, "key_not_active"
    title = lazy("There is no key in service")
    detail = lazy("This tenant has no active key and there is no platform key. Finish the six steps first.")
    turn = Turn.TENANT


class KeySuspended(DomainError):
    kind, code = Kind.KEY_REFUSED, "suspended"
    title = lazy("The key is suspended")
    detail = lazy("The key is suspended by {suspended_by}. Purge what you keep; it works again once it is resumed.")
    turn = Turn.TENANT


class KeyUnreachable(DomainError):
    kind, code = Kind.UNAVAILABLE, "key_unreachable"
    title = lazy("We cannot tell whether the key may be used")
    detail = lazy("The key could not be asked. New keys are not given out in doubt; try again after Retry-After.")
    turn = Turn.KORE
    retryable = True


class DatabaseNotAdmitted(DomainError):
    kind, code = Kind.UNAVAILABLE, "database_not_admitted"
    title = lazy("Our database has to be looked at first")
    detail = lazy(
        "Our database was restored or replaced and may not know of every stop. "
        "No key is given out until Kore.ai has looked at it; try again after Retry-After."
    )
    turn = Turn.KORE
    retryable = True


class RestoreNotConfirmed(DomainError):
    kind, code = Kind.KEY_REFUSED, "restore_not_confirmed"
    title = lazy("An owner has to look at this organisation first")
    detail = lazy(
        "Our database came back from a backup, and does not know what this organisation stopped since then. An owner "
        "confirms in the portal who is in and what is suspended; until then no key is given out. Purge what you keep."
    )
    turn = Turn.TENANT


class HoldOver(DomainError):
    kind, code = Kind.CONFLICT, "hold_over"
    title = lazy("It does not wait for you")
    detail = lazy("Nothing of this organisation waits for that any more, or not yet. Reload the page.")


class ReviewChanged(DomainError):
    kind, code = Kind.CONFLICT, "review_changed"
    title = lazy("It is not what you have read")
    detail = lazy("Something of it has changed since you opened the page. Read it again, then confirm.")
    turn = Turn.TENANT


class ReleaseAsked(DomainError):
    kind, code = Kind.CONFLICT, "release_asked"
    title = lazy("Another lead was asked already")
    detail = lazy("Another support lead has to approve or refuse what was asked for.")
    turn = Turn.KORE


class BlobUnreadable(DomainError):
    kind, code = Kind.UNREADABLE, "wrapped_key_unreadable"
    title = lazy("The wrapped key cannot be opened")
    detail = lazy(
        "It is damaged, belongs to another tenant or was made with another context. "
        "Send it with the context it was made with."
    )


class ContextInvalid(DomainError):
    kind, code = Kind.INVALID, "context_invalid"
    title = lazy("The context is not valid")
    detail = "{why}"


class DocumentUnknown(DomainError):
    kind, code = Kind.NOT_FOUND, "document_unknown"
    title = lazy("There is no such document")
    detail = lazy("The documents are {names}.")


# What a suspended registration answers with, by the code that it was suspended for.
REFUSALS: dict[str, type[DomainError]] = {
    error.code: error
    for error in (
        RoleNotAssumable,
        KeyAccessDenied,
        KeyNotFound,
        KeyDisabled,
        KeyPendingDeletion,
        KeyPendingImport,
        KeyUnusable,
        WrongKeyAnswered,
    )
}
