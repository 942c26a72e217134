"""What a refusal of the test means, narrowed by what else it saw: the set of causes still possible, and the step that mends; pure.

The words are read by `keys.diagnosis`. The labels are a fixed vocabulary that portal, API and support share; a diagnosis names a
set of them, likeliest first, and never guesses one.
"""

from __future__ import annotations

from dataclasses import dataclass

from byokportal.errors import DomainError
from keys import errors
from keys.diagnosis import grammar
from keys.diagnosis.grammar import Denial as Denial

TRUST, PERMISSIONS, KEY_POLICY, KEY = "trust-policy", "permissions-policy", "key-policy-statement", "key"
OURS = 5  # the step that is Kore.ai's

read = grammar.denial_of


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The causes still possible, likeliest first, the step that mends the first, and the document to change there."""

    causes: tuple[str, ...]
    step: int
    document: str = ""


# --- sts:AssumeRole ------------------------------------------------------------------------------------------

# A refusal across accounts has no tail: these read alike. Our own side is not among them, because the canary passed and our
# policy names the role before this set is used.
NOT_ASSUMABLE = (
    "external_id_mismatch", "trust_policy_principal_mismatch", "role_not_found", "trust_policy_condition_failed",
    "trust_policy_missing_action", "trust_policy_explicit_deny", "customer_rcp_deny",
)  # fmt: skip
ASSUME_EXPLICIT = {
    "trust": Diagnosis(("trust_policy_explicit_deny",), 2, TRUST),
    "rcp": Diagnosis(("customer_rcp_deny",), 2),
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
    "rcp": Diagnosis(("customer_rcp_deny",), 2),
}


def of_assume(denial: Denial) -> Diagnosis:
    """Say why STS refused to let our service role become the tenant's role, our own side having been seen to work."""
    table = ASSUME_EXPLICIT if denial.is_explicit else ASSUME_NO_ALLOW
    if denial.layer in table:
        return table[denial.layer]
    if denial.layer == "trust":  # said of a role that exists and whose policy has no Deny for us
        return Diagnosis(NOT_ASSUMABLE[:2] + NOT_ASSUMABLE[3:5], 2, TRUST)
    return Diagnosis(NOT_ASSUMABLE, 2, TRUST)


# --- KMS -----------------------------------------------------------------------------------------------------

LAYER_CAUSES = {
    "boundary": Diagnosis(("role_permissions_boundary",), 2),
    "scp": Diagnosis(("customer_scp_deny",), 2),
    "rcp": Diagnosis(("customer_rcp_deny",), 3),
    "session": Diagnosis(("our_session_policy",), OURS),
    "endpoint": Diagnosis(("our_vpc_endpoint_policy",), OURS),
}


def of_kms(denial: Denial, *, other_uses_work: bool, describe_works: bool) -> Diagnosis:
    """Say why KMS refused the tenant's role, narrowed by what the same session was allowed on the same key.

    Args:
        other_uses_work: another cryptographic call with our encryption context went through.
        describe_works: DescribeKey went through; it carries no encryption context, so a condition on one spares it.
    """
    if denial.layer in LAYER_CAUSES:
        return LAYER_CAUSES[denial.layer]
    if denial.layer == "identity":
        if denial.is_explicit:
            return Diagnosis(("role_permissions_policy_explicit_deny",), 2, PERMISSIONS)
        if other_uses_work or describe_works:  # a Resource that names another key would have refused those too
            return Diagnosis(("role_permissions_policy_missing_action",), 2, PERMISSIONS)
        return Diagnosis(
            ("role_permissions_policy_missing_action", "role_permissions_policy_wrong_key_arn"), 2, PERMISSIONS
        )
    if denial.is_explicit:
        return Diagnosis(("key_policy_explicit_deny",), 3, KEY_POLICY)
    hidden_deny = ("key_policy_explicit_deny",) if denial.is_hidden else ()
    if other_uses_work:  # the key is there, the statement too, its principal and its conditions fit
        return Diagnosis(("key_policy_missing_action", *hidden_deny), 3, KEY_POLICY)
    if describe_works:
        return Diagnosis(("key_policy_missing_action", "key_policy_condition_failed", *hidden_deny), 3, KEY_POLICY)
    all_refused = (
        "key_policy_missing_statement",
        "key_policy_wrong_principal",
        "key_policy_condition_failed",
        "key_policy_missing_action",
    )
    if denial.is_hidden:
        return Diagnosis(
            (*all_refused, *hidden_deny, "key_not_found", "key_wrong_region", "aws_managed_key"), 3, KEY_POLICY
        )
    if denial.layer == "resource":
        return Diagnosis((*all_refused, "aws_managed_key"), 3, KEY_POLICY)
    # Words we cannot read: either side may be it.
    either = ("role_permissions_policy_missing_action", "role_permissions_policy_wrong_key_arn")
    return Diagnosis((*all_refused, *either), 3, KEY_POLICY)


# Errors other than a refusal that say for certain what is wrong with the key.
CERTAIN: dict[type[DomainError], Diagnosis] = {
    errors.KeyDisabled: Diagnosis(("key_disabled",), 1, KEY),
    errors.KeyPendingDeletion: Diagnosis(("key_pending_deletion", "key_pending_replica_deletion"), 1, KEY),
    errors.KeyPendingImport: Diagnosis(("key_pending_import", "key_material_expired_or_deleted"), 1, KEY),
    errors.KeyUnusable: Diagnosis(("key_wrong_usage", "key_wrong_spec", "key_wrong_origin"), 1, KEY),
    errors.WrongKeyAnswered: Diagnosis(("key_arn_changed", "alias_given_instead_of_key"), 1, KEY),
    errors.KeyNotFound: Diagnosis(("key_not_found", "key_wrong_region"), 1, KEY),
}

# DescribeKey's KeyState → what it means; states that pass by themselves are not here (KMS guide, "Key states of KMS keys").
STATES = {
    "Disabled": ("kms_key_disabled", "key_disabled"),
    "PendingDeletion": ("kms_key_pending_deletion", "key_pending_deletion"),
    "PendingReplicaDeletion": ("kms_key_pending_deletion", "key_pending_replica_deletion"),
    "PendingImport": ("kms_key_pending_import", "key_pending_import"),
    "Unavailable": ("kms_key_unusable", "custom_key_store_disconnected"),
}
