"""An AWS error → the causes consistent with it, the steps of their remedies, what decides between them,
and what to do; pure.

Derived from the policy that decided, the action and the code (aws-error-causes.md, sections 1 to 3); only what no
policy is in play for is known by its sentence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from keys import arns
from keys.proof.diagnosis import advice, callers, causes, codes, saving, sentences
from keys.proof.diagnosis.error_grammar import AwsError, bare, parse

# --- what a refusal means: layer × action ----------------------------------------------------------------------

# Across accounts AWS says nothing but "no" to AssumeRole: all of these read alike.
NOT_ASSUMABLE = (
    "trust_policy_principal_mismatch",
    "external_id_mismatch",
    "role_not_found",
    "trust_policy_condition_failed",
    "trust_policy_missing_action",
    "trust_policy_explicit_deny",
    "our_identity_policy_missing_assume_role",
    "our_explicit_deny",
    "customer_rcp_deny",
    "propagation_delay",
)
NOT_TRUSTED = (
    "trust_policy_principal_mismatch",
    "external_id_mismatch",
    "trust_policy_condition_failed",
    "trust_policy_missing_action",
)
# In AssumeRole the caller is our service role, so the caller's layers are ours.
ASSUME_EXPLICIT = {
    "trust": ("trust_policy_explicit_deny",),
    "resource": ("trust_policy_explicit_deny",),
    "rcp": ("customer_rcp_deny",),
    "identity": ("our_explicit_deny",),
    "scp": ("our_explicit_deny",),
    "boundary": ("our_explicit_deny",),
    "session": ("our_session_policy",),
    "endpoint": ("our_vpc_endpoint_policy",),
    "": ("trust_policy_explicit_deny", "our_explicit_deny", "customer_rcp_deny"),
}
ASSUME_NO_ALLOW = {
    "trust": NOT_TRUSTED,
    "resource": NOT_TRUSTED,
    "rcp": ("customer_rcp_deny",),
    "identity": ("our_identity_policy_missing_assume_role",),
    "scp": ("our_explicit_deny",),
    "boundary": ("our_identity_policy_missing_assume_role",),
    "session": ("our_session_policy",),
    "endpoint": ("our_vpc_endpoint_policy",),
    "": NOT_ASSUMABLE,
}
EITHER = {
    "boundary": ("role_permissions_boundary",),
    "scp": ("customer_scp_deny",),
    "rcp": ("customer_rcp_deny",),
    "session": ("our_session_policy",),
    "endpoint": ("our_vpc_endpoint_policy",),
}
EXPLICIT = EITHER | {
    "identity": ("role_permissions_policy_explicit_deny",),
    "resource": ("key_policy_explicit_deny",),
    "trust": ("trust_policy_explicit_deny",),
    "": ("role_permissions_policy_explicit_deny", "key_policy_explicit_deny", "customer_scp_deny"),
}
IN_KEY_POLICY = (
    "key_policy_missing_statement",
    "key_policy_wrong_principal",
    "key_policy_missing_action",
    "key_policy_condition_failed",
)
IN_PERMISSIONS = ("role_permissions_policy_missing_action", "role_permissions_policy_wrong_key_arn")
NO_ALLOW = EITHER | {
    # A direct allow in the key policy would have done too.
    "identity": (*IN_PERMISSIONS, "key_policy_missing_statement", "propagation_delay"),
    # An allow in the permissions policy would have done too, where the key policy lets the account decide.
    "resource": (*IN_KEY_POLICY, IN_PERMISSIONS[0], "grant_missing", "aws_managed_key", "propagation_delay"),
    "trust": NOT_TRUSTED,
}
HIDDEN = (
    *IN_KEY_POLICY,
    "key_policy_explicit_deny",
    "key_not_found",
    "key_wrong_region",
    "grant_missing",
    "aws_managed_key",
    "propagation_delay",
)
# No tail at all (before 2021, and where a service swallows it): any policy of either side.
BARE = (
    *IN_PERMISSIONS,
    *IN_KEY_POLICY,
    "role_permissions_policy_explicit_deny",
    "key_policy_explicit_deny",
    "customer_scp_deny",
    "role_permissions_boundary",
    "grant_missing",
    "propagation_delay",
)
OLD = re.compile(r"you are not allowed to access", re.IGNORECASE)  # before 2021 the permissions policy hid here too
# Actions on no key of their own: nothing but the permissions policy can allow them.
KEYLESS = {
    "createkey",
    "createcustomkeystore",
    "describecustomkeystores",
    "generaterandom",
    "listkeys",
    "listaliases",
    "listretirablegrants",
}
# IAM is called by those who set things up, STS and KMS by us.
THROTTLED = {"sts": ("sts_throttled",), "iam": ("iam_throttled",)}
SESSION_EXTRAS = {
    "tagsession": ("trust_policy_missing_tag_session", "our_identity_policy_missing_tag_session"),
    "setsourceidentity": (
        "trust_policy_missing_set_source_identity",
        "our_identity_policy_missing_set_source_identity",
    ),
}


@dataclass(frozen=True, slots=True)
class ParsedError:
    """What an error means.

    Args:
        error: what AWS said, taken apart.
        causes: labels of `causes.CAUSES`, likeliest first; empty when the words say nothing that we know.
        steps: the steps of the guide in which the remedies lie, in the order of the causes.
        probe: what tells the causes apart; None when there is nothing to tell apart.
        text: what to do, in plain words.
        answer: the same for the customer, ready to be sent.
    """

    error: AwsError
    causes: tuple[str, ...]
    steps: tuple[int, ...]
    probe: advice.Probe | None
    text: str
    answer: str


def read(message: str, *, operation: str = "", code: str = "") -> ParsedError:
    """Read an AWS error in any SDK's wrapping; see `error_grammar.parse` for the arguments."""
    error = parse(message, operation=operation, code=code)
    found = causes_of(error)
    probe = advice.probe_of(error, found)
    steps = causes.steps(found, error)
    texts = advice.text_of(error, found, steps, probe), advice.answer_of(error, found, steps, probe)
    return ParsedError(error, found, steps, probe, *texts)


def known_codes(error: AwsError) -> tuple[str, ...]:
    """Return the codes in an error that mean something to us; other words in camel case are not shown as codes."""
    return tuple(code for code in error.codes if bare(code) in codes.KNOWN)


def is_assuming(error: AwsError) -> bool:
    """Say whether the error answers the attempt to become the customer's role."""
    return error.operation.lower() in {"sts:assumerole", "sts:tagsession", "sts:setsourceidentity"}


def causes_of(error: AwsError) -> tuple[str, ...]:
    """Return the labels of the causes that are consistent with an error, likeliest first."""
    if error.is_refusal:
        return _refused(error)
    if (unsaved := saving.of(error)) is not None:
        return unsaved.causes
    text = error.words.lower()
    return (
        _of_sentence(text)
        or _of_parameters(error, text)
        or _of_silence(text)
        or _of_code(error)
        or _of_denial(error, text)
    )


# --- refusals ---------------------------------------------------------------------------------------------------


def _refused(error: AwsError) -> tuple[str, ...]:
    return tuple(dict.fromkeys(callers.causes_of(error, _of_refusal(error))))


def _of_refusal(error: AwsError) -> tuple[str, ...]:
    """Return the causes if it was the role for us that was refused, or our service role."""
    denial = error.denial
    service, _, action = error.operation.lower().partition(":")
    if denial.is_hidden:
        return (
            (*HIDDEN, *IN_PERMISSIONS, "role_permissions_policy_explicit_deny") if OLD.search(error.words) else HIDDEN
        )
    through = EXPLICIT[error.via] if error.via else ()
    if service == "sts":
        return through + _of_sts(error, action)
    if denial.is_explicit:
        return through + EXPLICIT[denial.layer]
    if denial.layer == "identity" and (service != "kms" or action in KEYLESS or error.resource == "*"):
        return IN_PERMISSIONS[:1]
    if denial.layer == "resource":
        if service != "kms":
            return IN_KEY_POLICY
        return ("aws_managed_key", *NO_ALLOW["resource"]) if action == "creategrant" else NO_ALLOW["resource"]
    if denial.layer:
        return NO_ALLOW[denial.layer]
    if action in KEYLESS and service == "kms":
        return IN_PERMISSIONS[:1]
    # CreateGrant is what AWS's own keys refuse across accounts.
    return ("aws_managed_key", *IN_KEY_POLICY, *BARE) if action == "creategrant" else BARE


def _of_sts(error: AwsError, action: str) -> tuple[str, ...]:
    denial = error.denial
    if action in SESSION_EXTRAS:
        theirs, ours = SESSION_EXTRAS[action]
        if denial.is_explicit:
            return ASSUME_EXPLICIT[denial.layer]
        return (
            {"identity": (ours,), "trust": (theirs,), "resource": (theirs,)}.get(denial.layer)
            or EITHER.get(denial.layer)
            or (theirs, ours)
        )
    if action not in {"assumerole", ""}:  # how our own service gets its credentials
        return ("our_credentials_invalid", "our_explicit_deny")
    if not denial.layer and not denial.is_explicit and error.resource:
        if error.resource.startswith("arn:") and not _names_a_role(error.resource):
            return ("role_arn_is_not_a_role",)
        ours = arns.partition_of(error.principal)
        if ours and arns.partition_of(error.resource) not in {"", ours}:
            return ("wrong_partition",)
    return (ASSUME_EXPLICIT if denial.is_explicit else ASSUME_NO_ALLOW)[denial.layer]


def _names_a_role(arn: str) -> bool:
    found = arns.parts(arn)
    return found is None or (
        found.service == "iam" and (found.resource.startswith("role/") or not found.resource.strip("*<."))
    )


def _of_denial(error: AwsError, text: str) -> tuple[str, ...]:
    """Return the causes of a denial that is told in somebody else's words; nothing when it is none."""
    if not (codes.DENIED.intersection(error.bare_codes) or sentences.DENIAL.search(text)):
        return ()
    if not error.service and sentences.ASSUMING.search(text):
        return NOT_ASSUMABLE
    return _refused(error)


# --- everything else ---------------------------------------------------------------------------------------------


def _of_sentence(text: str) -> tuple[str, ...]:
    return next((found for pattern, found in sentences.PATTERNS if pattern.search(text)), ())


def _of_parameters(error: AwsError, text: str) -> tuple[str, ...]:
    """Return what is wrong with the parameters that AWS or the SDK names."""
    is_validation = bool(codes.VALIDATION.intersection(error.bare_codes))
    if (
        (is_validation or error.words.startswith("arn:"))
        and error.service in {"sts", ""}
        and text.rstrip(". ").endswith("is invalid")
    ):
        return _of_role_arn(error.words)
    if not (is_validation or codes.INVALID.search(text)):
        return ()
    choices = codes.CHOICES.search(text)
    told = text[: choices.start()] if choices else text
    named = [word.replace("_", "") for word in codes.PARAMETER.findall(told)]
    found = tuple(dict.fromkeys(label for word in named for label in codes.PARAMETERS.get(word, ())))
    if "plaintext_too_large" in found and not any(sign in text for sign in ("less than", "max", "too l", "4096")):
        found = tuple(label for label in found if label != "plaintext_too_large") or ("our_invalid_request_parameter",)
    # the value of one parameter may hold the name of another; "policy" and "tags" are also plain words
    if len(found) > 1:
        found = tuple(label for label in found if label != "our_invalid_request_parameter")
    if not found and is_validation:
        return ("our_invalid_request_parameter",)
    return found


def _of_role_arn(words: str) -> tuple[str, ...]:
    arn = next((word for word in words.split(" ") if word.startswith("arn:")), "")
    partition = arns.partition_of(arn)
    if not partition or arns.parts(arn) is None:
        return ("role_arn_malformed",)
    if not _names_a_role(arn):
        return ("role_arn_malformed", "role_arn_is_not_a_role")
    return ("role_arn_malformed", "wrong_partition") if partition != "aws" else ("role_arn_malformed",)


def _of_silence(text: str) -> tuple[str, ...]:
    if not sentences.SILENCE.search(text):
        return ()
    host = sentences.HOST.search(text)
    if host and not arns.REGION.fullmatch(host[1]):
        return ("key_arn_malformed",)
    return ("our_network_unreachable",)


def _of_code(error: AwsError) -> tuple[str, ...]:
    """Return what the first code that is known means: the structured one, then those in the text."""
    for code in error.bare_codes:
        if code in codes.EXPIRED:
            if error.operation.lower() in {"sts:assumerolewithwebidentity", "sts:assumerolewithsaml"}:
                return ("our_web_identity_token_expired",)
            if error.service == "sts":
                return ("our_credentials_expired",)
            return ("assumed_session_expired", "our_credentials_expired")
        if code in codes.THROTTLED:
            return THROTTLED.get(error.service, ("kms_throttled",))
        if code == codes.MALFORMED_POLICY and error.service == "sts":
            return codes.SESSION_POLICY
        if code == "nosuchentity" and error.service == "iam" and "role" in error.operation.lower():
            return codes.NO_ROLE
        if found := codes.CODES.get(code):
            # Another partition's STS does not know our credentials;
            # only who names a role can be in the wrong partition.
            is_foreign = found is codes.TOKEN and (
                is_assuming(error) or "aws-cn" in error.words or "aws-us-gov" in error.words
            )
            return (*found, "wrong_partition") if is_foreign else found
    text = error.words.lower()
    if "security token included in the request is invalid" in text:
        return (*codes.TOKEN, "wrong_partition") if is_assuming(error) else codes.TOKEN
    if "security token" in text and "expired" in text:
        return (
            ("our_credentials_expired",)
            if error.service == "sts"
            else ("assumed_session_expired", "our_credentials_expired")
        )
    if any(sign in text for sign in ("rate exceeded", "too many requests", "throttl")):
        return THROTTLED.get(error.service, ("kms_throttled",))
    return ()
