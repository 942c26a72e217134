"""What a refusal of the test means, narrowed by what else it saw:
the set of causes still possible, and the step of the remedy; pure.

The words are read by `keys.proof.diagnosis`. The labels are a fixed vocabulary that portal, API and support share; a
diagnosis names a set of them, likeliest first, and never guesses one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from byokportal.errors import DomainError
from keys import errors
from keys.proof.diagnosis import error_grammar
from keys.proof.diagnosis.error_grammar import Denial as Denial

TRUST, PERMISSIONS, KEY_POLICY, KEY = "trust-policy", "permissions-policy", "key-policy-statement", "key"
BOUNDARY, SCP, RCP = "permissions-boundary", "service-control-policy", "resource-control-policy"
OURS = 5  # the step that is Kore.ai's

# Words beside AWS's own: these are no refusals but the lack of one.
NOT_REQUIRED, NOT_EXACT = "external_id_not_required", "external_id_not_exact"
EVERYBODY = "trust_policy_allows_everybody"

read = error_grammar.denial_of


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The causes still possible, likeliest first, the step of the first one's remedy, and the document to change.

    Args:
        remedy: the name in `remedies.REMEDIES` where more is known than the first cause says.
    """

    causes: tuple[str, ...]
    step: int
    document: str = ""
    remedy: str = ""


# --- sts:AssumeRole ------------------------------------------------------------------------------------------

# A refusal across accounts has no tail: these read alike. Our own side is not among them, because the
# canary passed and our policy names the role before this set is used.
NOT_ASSUMABLE = (
    "external_id_mismatch",
    "trust_policy_principal_mismatch",
    "role_not_found",
    "trust_policy_condition_failed",
    "trust_policy_missing_action",
    "trust_policy_explicit_deny",
    "customer_rcp_deny",
)
ASSUME_EXPLICIT = {
    "trust": Diagnosis(("trust_policy_explicit_deny",), 2, TRUST),
    "rcp": Diagnosis(("customer_rcp_deny",), 2, RCP, "customer_rcp_deny_explicit"),
    # These layers stand on the caller's side, and the caller is our service role.
    "identity": Diagnosis(("our_explicit_deny",), OURS),
    "scp": Diagnosis(("our_explicit_deny",), OURS),
    "boundary": Diagnosis(("our_explicit_deny",), OURS),
    "session": Diagnosis(("our_session_policy",), OURS),
    "endpoint": Diagnosis(("our_vpc_endpoint_policy",), OURS),
}
ASSUME_NO_ALLOW = {
    "identity": Diagnosis(("our_identity_policy_missing_assume_role",), OURS),
    "scp": Diagnosis(("our_explicit_deny",), OURS),
    "boundary": Diagnosis(("our_identity_policy_missing_assume_role",), OURS),
    "session": Diagnosis(("our_session_policy",), OURS),
    "endpoint": Diagnosis(("our_vpc_endpoint_policy",), OURS),
    "rcp": Diagnosis(("customer_rcp_deny",), 2, RCP),
}


def of_assume(denial: Denial, *, base_is_let_in: bool = False, near_is_let_in: bool = False) -> Diagnosis:
    """Say why STS refused to let our service role become the tenant's role, our own side having been seen to work.

    Args:
        base_is_let_in: another principal of our account got in with the same External ID: only the principal is wrong.
        near_is_let_in: our service role got in with an External ID easily mistaken for the tenant's.
    """
    table = ASSUME_EXPLICIT if denial.is_explicit else ASSUME_NO_ALLOW
    if denial.layer in table:
        return table[denial.layer]
    if base_is_let_in:
        return Diagnosis(("trust_policy_principal_mismatch",), 2, TRUST)
    if near_is_let_in:
        return Diagnosis(("external_id_mismatch",), 2, TRUST)
    if denial.layer == "trust":  # said of a role that exists and whose policy has no Deny for us
        return Diagnosis(NOT_ASSUMABLE[:2] + NOT_ASSUMABLE[3:5], 2, TRUST)
    return Diagnosis(NOT_ASSUMABLE, 2, TRUST)


# --- KMS -----------------------------------------------------------------------------------------------------

LAYER_CAUSES = {
    "boundary": Diagnosis(("role_permissions_boundary",), 2, BOUNDARY),
    "scp": Diagnosis(("customer_scp_deny",), 2, SCP),
    "rcp": Diagnosis(("customer_rcp_deny",), 3, RCP),
    "session": Diagnosis(("our_session_policy",), OURS),
    "endpoint": Diagnosis(("our_vpc_endpoint_policy",), OURS),
}
# The same layers where a Deny decided, and not a missing Allow: it stays, and spares the role.
DENIED_BY = {
    layer: replace(LAYER_CAUSES[layer], remedy=f"{LAYER_CAUSES[layer].causes[0]}_explicit")
    for layer in ("boundary", "scp", "rcp")
}


@dataclass(frozen=True, slots=True)
class Beside:
    """What else the same session and others were allowed on the same key, beside the call that was refused.

    Args:
        others_work: another cryptographic call with our encryption context went through.
        describe_works: DescribeKey went through; it carries no encryption context, so a condition on one spares it.
            It is no proof that our statement is there: a statement for the account root may leave Describe* alone
            to the IAM policies of roles.
        all_refused: every one of the guide's patterns was refused, so none of them was merely forgotten.
        bare_works: a call without any encryption context went through, or not; None when it was not tried.
        is_describe: the refused call is DescribeKey itself.
        other_context_refused: the wrong encryption context was refused by a policy, not found wrong by the key.
        from_outside_works: our service role itself may describe the key, so its key policy names us,
            not the tenant's role.
    """

    others_work: bool = False
    describe_works: bool = False
    all_refused: bool = False
    bare_works: bool | None = None
    is_describe: bool = False
    other_context_refused: bool = False
    from_outside_works: bool = False

    @property
    def context_decides(self) -> bool:
        """Whether a condition on the encryption context is seen at work:
        the same call fares otherwise without, or with another."""
        if self.is_describe:
            return self.others_work and self.bare_works is False
        return (not self.others_work and self.bare_works is True) or (self.others_work and self.other_context_refused)


def of_kms(denial: Denial, beside: Beside) -> Diagnosis:
    """Say why KMS refused the tenant's role."""
    if denial.layer in LAYER_CAUSES:
        return (DENIED_BY if denial.is_explicit else LAYER_CAUSES).get(denial.layer) or LAYER_CAUSES[denial.layer]
    if denial.layer == "identity":
        if denial.is_explicit:
            return Diagnosis(("role_permissions_policy_explicit_deny",), 2, PERMISSIONS)
        if beside.context_decides:  # the vocabulary has no cause of its own for a Condition of an identity policy
            return Diagnosis(EITHER[:1], 2, PERMISSIONS, "role_permissions_policy_condition")
        # A Resource that names another key would have refused those too. DescribeKey proves less: it is often
        # allowed for all keys by a second policy, one that only reads.
        if beside.others_work or not (beside.describe_works or beside.all_refused):
            return Diagnosis(EITHER[:1], 2, PERMISSIONS)
        return Diagnosis(EITHER, 2, PERMISSIONS)
    if denial.is_explicit:
        return Diagnosis(("key_policy_explicit_deny",), 3, KEY_POLICY)
    return Diagnosis(_by_key_policy(denial, beside), 3, KEY_POLICY)


EITHER = ("role_permissions_policy_missing_action", "role_permissions_policy_wrong_key_arn")


def _by_key_policy(denial: Denial, beside: Beside) -> tuple[str, ...]:
    hidden_deny = ("key_policy_explicit_deny",) if denial.is_hidden else ()
    if beside.context_decides:
        return ("key_policy_condition_failed", *hidden_deny)
    if beside.others_work:  # the key is there, and a statement lets the role use it
        unsure = ("key_policy_condition_failed",) if beside.is_describe and beside.bare_works is None else ()
        return ("key_policy_missing_action", *unsure, *hidden_deny)
    if beside.describe_works:
        first, second = "key_policy_missing_statement", "key_policy_wrong_principal"
        if beside.from_outside_works:  # it names us, or everybody
            first, second = second, first
        return (first, second, "key_policy_condition_failed", "key_policy_missing_action", *hidden_deny)
    if beside.from_outside_works:
        return ("key_policy_wrong_principal",)
    found: tuple[str, ...] = (
        "key_policy_missing_statement",
        "key_policy_wrong_principal",
        "key_policy_condition_failed",
    )
    if not beside.all_refused:
        found += ("key_policy_missing_action",)
    if denial.is_hidden:
        return (*found, *hidden_deny, "key_not_found", "key_wrong_region", "aws_managed_key")
    if denial.layer == "resource":
        return found
    return (*found, *EITHER)  # words that we cannot read: either side may be it


# Errors other than a refusal that say for certain what is wrong with the key.
CERTAIN: dict[type[DomainError], Diagnosis] = {
    errors.KeyDisabled: Diagnosis(("key_disabled",), 1, KEY),
    errors.KeyPendingDeletion: Diagnosis(("key_pending_deletion", "key_pending_replica_deletion"), 1, KEY),
    errors.KeyPendingImport: Diagnosis(("key_pending_import", "key_material_expired_or_deleted"), 1, KEY),
    errors.KeyUnusable: Diagnosis(("key_wrong_usage", "key_wrong_spec", "key_wrong_origin"), 1, KEY),
    errors.WrongKeyAnswered: Diagnosis(("key_arn_changed", "alias_given_instead_of_key"), 1, KEY),
    errors.KeyNotFound: Diagnosis(("key_not_found", "key_wrong_region"), 1, KEY),
}

# A key id of this form is the same in every Region that has a replica (KMS guide, "Multi-Region keys").
REPLICA_MISSING = Diagnosis(("mrk_replica_missing", "key_not_found"), 1, KEY)

# --- our own side: what AWS's code says is wrong with it ------------------------------------------------------------

# STS and KMS: "Signature expired: … is now earlier than …", "Signature not yet current: … is still later than …".
LATE = re.compile(r"signature\s+(expired|not\s+yet\s+current)", re.IGNORECASE)
OUR_LAYERS = {"trust": ("our_service_role_trust",), "identity": ("our_identity_policy_missing_assume_role",)}
OUR_CODES = {
    "InvalidClientTokenId": ("our_credentials_invalid",),
    "UnrecognizedClientException": ("our_credentials_invalid",),
    "ExpiredToken": ("our_credentials_expired",),
    "ExpiredTokenException": ("our_credentials_expired",),
    "NoCredentialsError": ("our_credentials_missing",),
    "SignatureDoesNotMatch": ("our_clock_skew", "our_signature_mismatch"),
    "InvalidSignatureException": ("our_clock_skew", "our_signature_mismatch"),
    "RequestExpired": ("our_clock_skew",),
    "PackedPolicyTooLarge": ("our_session_policy_too_large",),
    "AccessDenied": ("our_identity_policy_missing_assume_role", "our_explicit_deny"),
}

# DescribeKey's KeyState → what it means;
# states that pass by themselves are not here (KMS guide, "Key states of KMS keys").
STATES = {
    "Disabled": ("kms_key_disabled", "key_disabled"),
    "PendingDeletion": ("kms_key_pending_deletion", "key_pending_deletion"),
    "PendingReplicaDeletion": ("kms_key_pending_deletion", "key_pending_replica_deletion"),
    "PendingImport": ("kms_key_pending_import", "key_pending_import"),
    "Unavailable": ("kms_key_unusable", "custom_key_store_disconnected"),
}
