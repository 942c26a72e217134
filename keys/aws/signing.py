"""Signatures by an Ed25519 key of our own in AWS KMS: the private half is in no process and no file of ours.

KMS has such keys as key spec `ECC_NIST_EDWARDS25519`; `ED25519_SHA_512` with the message type RAW is the signature of
RFC 8032 itself, which every library checks (AWS KMS API Reference, Sign). A message has at most 4,096 bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keys import errors
from keys.arns import KeyArn
from keys.aws import clients, faults

ALGORITHM = "ED25519_SHA_512"
LONGEST = 4_096  # bytes of a message


def sign(key: KeyArn, message: bytes) -> bytes:
    """Return the signature of a message, 64 bytes; the base principal signs.

    Raises:
        WrongKeyAnswered: another key than the one asked for answered.
        and what `keys.aws.faults` makes of AWS's answer.
    """
    client = clients.client("kms", key.region)
    answer = _call(
        key,
        "kms:Sign",
        lambda: client.sign(KeyId=str(key), Message=message, MessageType="RAW", SigningAlgorithm=ALGORITHM),
    )
    signature: bytes = answer["Signature"]
    return signature


def public_key(key: KeyArn) -> bytes:
    """Return the public half as DER (SubjectPublicKeyInfo)."""
    client = clients.client("kms", key.region)
    answer = _call(key, "kms:GetPublicKey", lambda: client.get_public_key(KeyId=str(key)))
    public: bytes = answer["PublicKey"]
    return public


def _call(key: KeyArn, action: str, call: Callable[[], Any]) -> Any:
    try:
        answer = call()
    except faults.RAISED as error:
        raise faults.translate(error, action) from error
    if answer["KeyId"] != str(key):
        raise errors.WrongKeyAnswered(aws_code="OK", action=action, aws_request_id=faults.request_id_in(answer))
    return answer
