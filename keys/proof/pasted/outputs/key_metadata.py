"""What `aws kms describe-key` says of the key; pure. Source:
KMS API reference, "KeyMetadata"; KMS guide, "Key states"."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from byokportal.errors import DomainError
from byokportal.translation import lazy
from byokportal.translation import translate as _
from keys import arns
from keys.arns import KeyArn
from keys.proof.pasted.findings import Values, shown
from keys.proof.pasted.outputs.points import Point

NEW_KEY = lazy(
    "Create a customer managed key for encryption (SYMMETRIC_DEFAULT, ENCRYPT_DECRYPT) and give "
    "its ARN in step 1: this cannot be changed on a key."
)
STATES = {
    "Disabled": (lazy("The key is disabled."), lazy("Enable it: aws kms enable-key%(at)s")),
    "PendingDeletion": (
        lazy("The key waits to be deleted%(when)s."),
        lazy("Cancel that, then enable the key: aws kms cancel-key-deletion%(at)s and aws kms enable-key%(at)s"),
    ),
    "PendingReplicaDeletion": (
        lazy("The key waits to be deleted, once its replicas are gone."),
        lazy("Cancel that, then enable the key: aws kms cancel-key-deletion%(at)s and aws kms enable-key%(at)s"),
    ),
    "PendingImport": (
        lazy("The key has no key material: it was never imported, has expired or was deleted."),
        lazy("Import it (again)."),
    ),
    "Unavailable": (
        lazy("The custom key store of the key is disconnected."),
        lazy("Connect it again, then run the command again."),
    ),
    "Creating": (lazy("AWS is still creating the key."), lazy("Run the command again in a minute.")),
    "Updating": (lazy("AWS is updating the key."), lazy("Run the command again in a minute.")),
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
            "unclear",
            "key_arn",
            _("The key is %(quoted)s; you have not given a CMK ARN yet.", quoted=quoted),
            _("Give %(quoted)s in step 1.", quoted=quoted),
        )
        return
    if arn == str(key):
        yield Point("good", "key_arn", _("The ARN is the CMK ARN that you gave, Region included."))
        return
    theirs = arns.parts(arn)
    pairs = (
        (
            (lazy("Region"), theirs.region, key.region),
            (lazy("account"), theirs.account, key.account),
            (lazy("key id"), theirs.resource, f"key/{key.key_id}"),
        )
        if theirs
        else ()
    )
    differs = [_(what) for what, their, given in pairs if their != given]
    what = _(" and another ").join(differs) or _("form")
    yield Point(
        "bad",
        "key_arn",
        _(
            "This is %(quoted)s; the CMK ARN that you gave has another %(what)s: %(key)s.",
            quoted=quoted,
            what=what,
            key=key,
        ),
        _(
            "If this is the key you mean, give %(quoted)s in step 1 and set it in the permissions policy "
            "of step 2. If not, run the command for your key.",
            quoted=quoted,
        ),
    )


def _state(described: Mapping[str, Any]) -> Iterator[Point]:
    state = described.get("KeyState")
    if state == "Enabled":
        yield Point("good", "key_state", _("The key is enabled."))
        return
    if not isinstance(state, str):
        return
    when = described.get("DeletionDate")
    at = _at(described.get("Arn"))
    date = _(", at %(when)s", when=shown(when, most=40)) if isinstance(when, str | int | float) and when else ""
    verdict: Any = "unclear" if state in {"Creating", "Updating"} else "bad"
    if state in STATES:
        text, fix = STATES[state]
        text, fix = _(text, when=date), _(fix, at=at)
    else:
        text = _("The key is in the state %(state)s, in which it cannot be used.", state=shown(state, most=40))
        fix = _("Bring it back to Enabled.")
    yield Point(verdict, "key_state", text, fix if fix.endswith(".") else fix + ".")


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
            _("This is a key that AWS manages (aws/…): its policy cannot be edited, so it can never let our role in."),
            _(NEW_KEY),
        )
    elif manager == "CUSTOMER":
        yield Point("good", "key_manager", _("It is a customer managed key."))
    spec = described.get("KeySpec") or described.get("CustomerMasterKeySpec")
    if spec == "SYMMETRIC_DEFAULT":
        yield Point("good", "key_spec", _("It is symmetric."))
    elif isinstance(spec, str):
        yield Point(
            "bad",
            "key_spec",
            _("Its KeySpec is %(spec)s, and has to be SYMMETRIC_DEFAULT.", spec=shown(spec, most=40)),
            _(NEW_KEY),
        )
    usage = described.get("KeyUsage")
    if usage == "ENCRYPT_DECRYPT":
        yield Point("good", "key_usage", _("It encrypts and decrypts."))
    elif isinstance(usage, str):
        yield Point(
            "bad",
            "key_usage",
            _("Its KeyUsage is %(usage)s, and has to be ENCRYPT_DECRYPT.", usage=shown(usage, most=40)),
            _(NEW_KEY),
        )


def _material(described: Mapping[str, Any]) -> Iterator[Point]:
    ends = described.get("ValidTo")
    if isinstance(ends, str | int | float) and ends:
        yield Point(
            "unclear",
            "key_material",
            _(
                "Its imported key material expires at %(ends)s. From then on nothing that it protects opens.",
                ends=shown(ends, most=40),
            ),
            _("Import it again before that, or import it without an end."),
        )
    elif described.get("Origin") in ("EXTERNAL_KEY_STORE", "AWS_CLOUDHSM"):
        yield Point(
            "good",
            "key_origin",
            _(
                "Its material lies in your own key store: while the store is disconnected, nothing that the "
                "key protects opens."
            ),
        )
    if described.get("MultiRegion") is True:
        yield Point(
            "good", "multi_region", _("It is a multi-Region key. We use the one in the Region that your CMK ARN names.")
        )
