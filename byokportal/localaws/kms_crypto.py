"""KMS cryptography: the operations that the guide's five patterns name, with an exact encryption context."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable
from typing import Any

from moto.kms.models import Key

from byokportal.localaws import ciphertexts, denials
from byokportal.localaws.errors import AwsError
from byokportal.localaws.kms_call import Call

PLAINTEXT, CIPHERTEXT = 4_096, 6_144  # bytes
DATA_KEY = {"AES_256": 32, "AES_128": 16}  # bytes
ALGORITHM = "SYMMETRIC_DEFAULT"


def check_kind(call: Call, key: Key) -> None:
    """Refuse a key that is not of the kind for the operation.

    Raises:
        AwsError: InvalidKeyUsageException.
    """
    if key.key_usage != "ENCRYPT_DECRYPT":
        words = f"{key.arn} key usage is {key.key_usage} which is not valid for {call.operation}."
        raise AwsError("InvalidKeyUsageException", words)
    if key.key_spec != ALGORITHM and call.operation.startswith("GenerateDataKey"):
        words = f"{key.arn} key spec is {key.key_spec} which is not valid for {call.operation}."
        raise AwsError("InvalidKeyUsageException", words)
    algorithm = call.given.get("EncryptionAlgorithm", ALGORITHM)
    if (key.key_spec == ALGORITHM) != (algorithm == ALGORITHM):
        words = f"Algorithm {algorithm} is incompatible with key spec {key.key_spec}."
        raise AwsError("InvalidKeyUsageException", words)
    if key.key_spec != ALGORITHM:
        raise AwsError("UnsupportedOperationException", "The local AWS encrypts with symmetric keys only.")


def encrypt(call: Call) -> dict[str, Any]:
    context = ciphertexts.context_of(call.given, "EncryptionContext")
    plaintext = ciphertexts.bytes_of(call.given, "Plaintext", PLAINTEXT)
    key = call.begin(call.given.get("KeyId"), context=context)
    check_kind(call, key)
    call.end()
    return {
        "CiphertextBlob": _b64(ciphertexts.seal(key, plaintext, context)),
        "KeyId": key.arn,
        "EncryptionAlgorithm": ALGORITHM,
    }


def generate_data_key(call: Call) -> dict[str, Any]:
    context = ciphertexts.context_of(call.given, "EncryptionContext")
    spec, size = call.given.get("KeySpec"), call.given.get("NumberOfBytes")
    if (spec is None) == (size is None):
        raise AwsError("ValidationException", "Please specify either number of bytes or key spec.")
    size = DATA_KEY.get(str(spec)) if spec is not None else size
    if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= 1024:
        words = (
            "Value at 'numberOfBytes' failed to satisfy constraint: Member must have value less than or equal to 1024"
        )
        raise AwsError("ValidationException", f"1 validation error detected: {words}")
    key = call.begin(call.given.get("KeyId"), context=context)
    check_kind(call, key)
    plaintext = secrets.token_bytes(size)
    call.end()
    return {
        "Plaintext": _b64(plaintext),
        "CiphertextBlob": _b64(ciphertexts.seal(key, plaintext, context)),
        "KeyId": key.arn,
    }


def generate_data_key_without_plaintext(call: Call) -> dict[str, Any]:
    made = generate_data_key(call)
    del made["Plaintext"]
    return made


def decrypt(call: Call) -> dict[str, Any]:
    context = ciphertexts.context_of(call.given, "EncryptionContext")
    key, plaintext = _opened(call, call.given.get("KeyId"), context, "Decrypt")
    call.end()
    return {"Plaintext": _b64(plaintext), "KeyId": key.arn, "EncryptionAlgorithm": ALGORITHM}


def re_encrypt(call: Call) -> dict[str, Any]:
    old = ciphertexts.context_of(call.given, "SourceEncryptionContext")
    new = ciphertexts.context_of(call.given, "DestinationEncryptionContext")
    source, plaintext = _opened(call, call.given.get("SourceKeyId"), old, "ReEncryptFrom")
    destination = call.begin(call.given.get("DestinationKeyId"), "ReEncryptTo", context=new)
    check_kind(call, destination)
    call.end()
    return {
        "CiphertextBlob": _b64(ciphertexts.seal(destination, plaintext, new)),
        "SourceKeyId": source.arn,
        "KeyId": destination.arn,
        "SourceEncryptionAlgorithm": ALGORITHM,
        "DestinationEncryptionAlgorithm": ALGORITHM,
    }


def _opened(call: Call, wanted: str | None, context: dict[str, str], action: str) -> tuple[Key, bytes]:
    """Open the ciphertext of a call with the key that made it, or that the caller says made it."""
    blob = ciphertexts.bytes_of(call.given, "CiphertextBlob", CIPHERTEXT)
    made_by = ciphertexts.maker(blob)
    if wanted is None and made_by is None:
        raise AwsError("InvalidCiphertextException", "")
    key = call.key(wanted if wanted is not None else _here(call, str(made_by), action))
    call.authorise(action, key, context=context, by_ciphertext=wanted is None)
    call.usable(key)
    check_kind(call, key)
    if made_by is None:
        raise AwsError("InvalidCiphertextException", "")
    if not ciphertexts.is_of(key, made_by):
        words = "The key ID in the request does not identify a CMK that can perform this operation."
        raise AwsError("IncorrectKeyException", words)
    return key, ciphertexts.unseal(key, blob, context)


def _here(call: Call, made_by: str, action: str) -> str:
    """Return the key that may open a ciphertext in this Region: related multi-Region keys stand in for each other."""
    parts = made_by.split(":")
    if parts[3] == call.region:
        return made_by
    if parts[5].startswith("key/mrk-"):
        return ":".join([*parts[:3], call.region, *parts[4:]])
    raise denials.hidden(call.caller, f"kms:{action}", by_ciphertext=True)


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


OPERATIONS: dict[str, Callable[[Call], dict[str, Any]]] = {
    "Encrypt": encrypt,
    "Decrypt": decrypt,
    "ReEncrypt": re_encrypt,
    "GenerateDataKey": generate_data_key,
    "GenerateDataKeyWithoutPlaintext": generate_data_key_without_plaintext,
}
