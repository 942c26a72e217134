"""Ciphertext blobs of the local KMS: made under a key and an encryption context, opened under exactly the same."""

from __future__ import annotations

import base64
import json
import secrets
import struct
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from moto.kms.models import Key

from byokportal.localaws.errors import AwsError

BLOB = struct.Struct(">5sH")
MAGIC = b"LAWS1"
MAX_CONTEXT = 8_192  # characters of an encryption context (KMS guide, "Resource quotas" of cryptographic operations)


def seal(key: Key, plaintext: bytes, context: dict[str, str]) -> bytes:
    """Encrypt under a key."""
    arn, nonce = key.arn.encode(), secrets.token_bytes(12)
    header: bytes = BLOB.pack(MAGIC, len(arn)) + arn
    return header + nonce + AESGCM(material(key)).encrypt(nonce, plaintext, header + _canonical(context))


def maker(blob: bytes) -> str | None:
    """Return the ARN of the key that made a ciphertext, None when it is none of ours."""
    if len(blob) < BLOB.size:
        return None
    magic, length = BLOB.unpack_from(blob)
    arn = blob[BLOB.size : BLOB.size + length]
    return arn.decode("ascii", "replace") if magic == MAGIC and len(blob) >= BLOB.size + length + 28 else None


def is_of(key: Key, made_by: str) -> bool:
    """Tell whether a key made a ciphertext; related multi-Region keys open each other's."""
    if made_by == key.arn:
        return True
    mine, other = key.arn.split(":"), made_by.split(":")
    return bool(key.multi_region) and len(other) == 6 and (mine[4], mine[5]) == (other[4], other[5])


def unseal(key: Key, blob: bytes, context: dict[str, str]) -> bytes:
    """Decrypt with a key that `is_of` the blob.

    Raises:
        AwsError: InvalidCiphertextException with an empty message: another context, or damaged.
    """
    start = BLOB.size + BLOB.unpack_from(blob)[1]
    header, nonce, sealed = blob[:start], blob[start : start + 12], blob[start + 12 :]
    try:
        return AESGCM(material(key)).decrypt(nonce, sealed, header + _canonical(context))
    except InvalidTag:
        raise AwsError("InvalidCiphertextException", "") from None


def material(key: Key) -> bytes:
    material = key.key_material
    return material if isinstance(material, bytes) else str(material).encode()


def _canonical(context: dict[str, str]) -> bytes:
    return json.dumps(context, sort_keys=True).encode()


# --- parameters -----------------------------------------------------------------------------------------------------


def context_of(given: dict[str, Any], field: str) -> dict[str, str]:
    """Return an encryption context.

    Raises:
        AwsError: it is too long.
    """
    context: dict[str, str] = given.get(field) or {}
    if sum(len(name) + len(value) for name, value in context.items()) > MAX_CONTEXT:
        raise AwsError("ValidationException", "Encryption context is too long.")
    return context


def bytes_of(given: dict[str, Any], field: str) -> bytes:
    """Return a blob parameter; its length is the model's to say (`constraints`).

    Raises:
        AwsError: it is missing, which the model of Decrypt and ReEncrypt allows.
    """
    if field not in given:
        name = field[0].lower() + field[1:]
        words = f"Value null at '{name}' failed to satisfy constraint: Member must not be null"
        raise AwsError("ValidationException", f"1 validation error detected: {words}")
    return base64.b64decode(given[field])
