"""What `aws kms describe-key` says of the key; pure. Source:
KMS API reference, "KeyMetadata"; KMS guide, "Key states"."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from byokportal.errors import DomainError
from keys import arns
from keys.arns import KeyArn
from keys.proof.pasted.findings import Values, shown
from keys.proof.pasted.outputs.points import Point

NEW_KEY = (
    "Create a customer managed key for encryption (SYMMETRIC_DEFAULT, ENCRYPT_DECRYPT) and give its ARN in step 1: "
    "this cannot be changed on a key."
)
STATES = {
    "Disabled": ("The key is disabled.", "Enable it: aws kms enable-key{at}"),
    "PendingDeletion": (
        "The key waits to be deleted{when}.",
        "Cancel that, then enable the key: aws kms cancel-key-deletion{at} and aws kms enable-key{at}",
    ),
    "PendingReplicaDeletion": (
        "The key waits to be deleted, once its replicas are gone.",
        "Cancel that, then enable the key: aws kms cancel-key-deletion{at} and aws kms enable-key{at}",
    ),
    "PendingImport": (
        "The key has no key material: it was never imported, has expired or was deleted.",
        "Import it (again).",
    ),
    "Unavailable": (
        "The custom key store of the key is disconnected.",
        "Connect it again, then run the command again.",
    ),
    "Creating": ("AWS is still creating the key.", "Run the command again in a minute."),
    "Updating": ("AWS is updating the key.", "Run the command again in a minute."),
}


def points(described: Mapping[str, Any], values: Values) -> Iterator[Point]:
    """Yield what the description of a key shows."""
    yield from _arn(described.get("Arn"), values)
    yield from _state(described)
    yield from _kind(described)
    yield from _material(described)


def _arn(arn: object, values: Values) -> Iterator[Point]:
    if not isinstance(arn, str):
        return
    quoted = shown(arn, most=160)
    key = values.access.key
    if key is None:
        yield Point(
            "unclear", "key_arn", f"The key is {quoted}; you have not given a CMK ARN yet.", f"Give {quoted} in step 1."
        )
        return
    if arn == str(key):
        yield Point("good", "key_arn", "The ARN is the CMK ARN that you gave, Region included.")
        return
    theirs = arns.parts(arn)
    pairs = (
        (
            ("Region", theirs.region, key.region),
            ("account", theirs.account, key.account),
            ("key id", theirs.resource, f"key/{key.key_id}"),
        )
        if theirs
        else ()
    )
    differs = [what for what, their, given in pairs if their != given]
    yield Point(
        "bad",
        "key_arn",
        (f"This is {quoted}; the CMK ARN that you gave has another {' and another '.join(differs) or 'form'}: {key}."),
        (
            f"If this is the key you mean, give {quoted} in step 1 and set it in the permissions policy of step 2. "
            "If not, run the command for your key."
        ),
    )


def _state(described: Mapping[str, Any]) -> Iterator[Point]:
    state = described.get("KeyState")
    if state == "Enabled":
        yield Point("good", "key_state", "The key is enabled.")
        return
    if not isinstance(state, str):
        return
    text, fix = STATES.get(
        state,
        (f"The key is in the state {shown(state, most=40)}, in which it cannot be used.", "Bring it back to Enabled."),
    )
    when = described.get("DeletionDate")
    at = _at(described.get("Arn"))
    date = f", at {shown(when, most=40)}" if isinstance(when, str | int | float) and when else ""
    verdict: Any = "unclear" if state in {"Creating", "Updating"} else "bad"
    filled = fix.replace("{at}", at)
    yield Point(verdict, "key_state", text.replace("{when}", date), filled if filled.endswith(".") else filled + ".")


def _at(arn: object) -> str:
    """Return the options that name the key in a command; only what parses as an ARN goes into a shell."""
    try:
        key = KeyArn.parse(arn if isinstance(arn, str) else "")
    except DomainError:
        return ""
    return f" --key-id {key} --region {key.region}"


def _kind(described: Mapping[str, Any]) -> Iterator[Point]:
    manager = described.get("KeyManager")
    if manager == "AWS":
        yield Point(
            "bad",
            "key_manager",
            "This is a key that AWS manages (aws/…): its policy cannot be edited, so it can never let our role in.",
            NEW_KEY,
        )
    elif manager == "CUSTOMER":
        yield Point("good", "key_manager", "It is a customer managed key.")
    spec = described.get("KeySpec") or described.get("CustomerMasterKeySpec")
    if spec == "SYMMETRIC_DEFAULT":
        yield Point("good", "key_spec", "It is symmetric.")
    elif isinstance(spec, str):
        yield Point(
            "bad", "key_spec", f"Its KeySpec is {shown(spec, most=40)}, and has to be SYMMETRIC_DEFAULT.", NEW_KEY
        )
    usage = described.get("KeyUsage")
    if usage == "ENCRYPT_DECRYPT":
        yield Point("good", "key_usage", "It encrypts and decrypts.")
    elif isinstance(usage, str):
        yield Point(
            "bad", "key_usage", f"Its KeyUsage is {shown(usage, most=40)}, and has to be ENCRYPT_DECRYPT.", NEW_KEY
        )


def _material(described: Mapping[str, Any]) -> Iterator[Point]:
    ends = described.get("ValidTo")
    if isinstance(ends, str | int | float) and ends:
        yield Point(
            "unclear",
            "key_material",
            (
                f"Its imported key material expires at {shown(ends, most=40)}. "
                "From then on nothing that it protects opens."
            ),
            "Import it again before that, or import it without an end.",
        )
    elif described.get("Origin") in ("EXTERNAL_KEY_STORE", "AWS_CLOUDHSM"):
        yield Point(
            "good",
            "key_origin",
            (
                "Its material lies in your own key store: while the store is disconnected, "
                "nothing that the key protects opens."
            ),
        )
    if described.get("MultiRegion") is True:
        yield Point(
            "good", "multi_region", "It is a multi-Region key. We use the one in the Region that your CMK ARN names."
        )
