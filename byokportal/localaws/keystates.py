"""The key-state table: which operation a KMS key takes in which state (KMS guide, "Key states
of AWS KMS keys"); pure."""

from __future__ import annotations

from byokportal.localaws.errors import AwsError

CRYPTO = {
    "Encrypt",
    "Decrypt",
    "GenerateDataKey",
    "GenerateDataKeyWithoutPlaintext",
    "GenerateDataKeyPair",
    "GenerateDataKeyPairWithoutPlaintext",
    "ReEncrypt",
    "Sign",
    "Verify",
    "GenerateMac",
    "VerifyMac",
    "GetPublicKey",
}
ROTATION = {"EnableKeyRotation", "DisableKeyRotation", "RotateKeyOnDemand"}
SWITCHES = {"EnableKey", "DisableKey"}
# State → the operations that fail in it, and the words of the refusal.
REFUSED: dict[str, tuple[set[str], str]] = {
    "Enabled": (set(), ""),
    "Disabled": (CRYPTO | ROTATION | {"CreateGrant", "ReplicateKey"}, "is disabled."),
    "PendingDeletion": (
        CRYPTO
        | ROTATION
        | SWITCHES
        | {
            "CreateAlias",
            "UpdateAlias",
            "CreateGrant",
            "ReplicateKey",
            "ScheduleKeyDeletion",
            "TagResource",
            "UntagResource",
            "UpdateKeyDescription",
        },
        "is pending deletion.",
    ),
    "PendingReplicaDeletion": (
        CRYPTO
        | ROTATION
        | SWITCHES
        | {
            "CreateAlias",
            "UpdateAlias",
            "CreateGrant",
            "ReplicateKey",
            "ScheduleKeyDeletion",
            "TagResource",
            "UntagResource",
            "UpdateKeyDescription",
        },
        "is pending replica deletion.",
    ),
    "PendingImport": (
        CRYPTO | SWITCHES | {"CreateGrant", "ReplicateKey", "RotateKeyOnDemand"},
        "is pending import.",
    ),
    "Unavailable": (CRYPTO | {"ReplicateKey"}, "is unavailable."),
    "Creating": (CRYPTO | ROTATION | SWITCHES | {"CreateGrant", "ReplicateKey", "ScheduleKeyDeletion"}, "is creating."),
    "Updating": (ROTATION | SWITCHES | {"ReplicateKey", "ScheduleKeyDeletion"}, "is updating."),
}
STATES = tuple(REFUSED)
DELETED = {"PendingDeletion", "PendingReplicaDeletion"}


def check(operation: str, state: str, arn: str, *, origin: str = "AWS_KMS") -> None:
    """Refuse an operation that the key does not take in its state.

    Raises:
        AwsError: DisabledException, KMSInvalidStateException or UnsupportedOperationException, as the table has it.
    """
    if operation == "CancelKeyDeletion" and state not in DELETED:
        raise AwsError("KMSInvalidStateException", f"{arn} is not pending deletion.")
    refused, words = REFUSED[state]
    if operation in refused:
        raise AwsError("DisabledException" if state == "Disabled" else "KMSInvalidStateException", f"{arn} {words}")
    if operation in ROTATION - {"RotateKeyOnDemand"} | {"GetKeyRotationStatus"} and origin != "AWS_KMS":
        raise AwsError(
            "UnsupportedOperationException", f"{arn} origin is {origin} which is not valid for this operation."
        )


def check_material(arn: str, origin: str) -> None:
    """Refuse to rotate a key on demand whose material is imported: none is ever imported here.

    Raises:
        AwsError: KMSInvalidStateException.
    """
    if origin != "AWS_KMS":
        words = f"No available key material pending rotation for the key: {arn}."
        raise AwsError("KMSInvalidStateException", words)
