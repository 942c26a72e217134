"""KMS cryptography: the operations that the guide's five patterns name, with an exact encryption context."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable
from typing import Any

from moto.kms.models import Key

from byokportal.localaws import ciphertexts, denials, kms_kinds, kms_pairs
from byokportal.localaws.errors import AwsError
from byokportal.localaws.kms_call import Call

DATA_KEY = {"AES_256": 32, "AES_128": 16}  # bytes
INCORRECT = "The key ID in the request does not identify a CMK that can perform this operation."


def encrypt(call: Call) -> dict[str, Any]:
    context, algorithm = ciphertexts.context_of(call.given, "EncryptionContext"), _algorithm(call)
    key = call.begin(call.given["KeyId"], context=context)
    kms_kinds.check(call.operation, key, algorithm)
    sealed = _sealed(key, algorithm, ciphertexts.bytes_of(call.given, "Plaintext"), context)
    call.end()
    return {"CiphertextBlob": _b64(sealed), "KeyId": key.arn, "EncryptionAlgorithm": algorithm}


def _algorithm(call: Call, side: str = "") -> str:
    return str(call.given.get(f"{side}EncryptionAlgorithm", kms_kinds.SYMMETRIC))


def _sealed(key: Key, algorithm: str, plaintext: bytes, context: dict[str, str]) -> bytes:
    if algorithm == kms_kinds.SYMMETRIC:
        return ciphertexts.seal(key, plaintext, context)
    if context:
        raise AwsError("ValidationException", f"Algorithm {algorithm} takes no encryption context.")
    return kms_pairs.encrypt(key, algorithm, plaintext)


def generate_data_key(call: Call) -> dict[str, Any]:
    context = ciphertexts.context_of(call.given, "EncryptionContext")
    spec, size = call.given.get("KeySpec"), call.given.get("NumberOfBytes")
    if (spec is None) == (size is None):
        raise AwsError("ValidationException", "Please specify either number of bytes or key spec.")
    key = call.begin(call.given["KeyId"], context=context)
    kms_kinds.check(call.operation, key, kms_kinds.SYMMETRIC)
    plaintext = secrets.token_bytes(DATA_KEY[spec] if spec is not None else size)
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
    key, plaintext = _opened(call, call.given.get("KeyId"), context, "Decrypt", _algorithm(call))
    call.end()
    return {"Plaintext": _b64(plaintext), "KeyId": key.arn, "EncryptionAlgorithm": _algorithm(call)}


def re_encrypt(call: Call) -> dict[str, Any]:
    old = ciphertexts.context_of(call.given, "SourceEncryptionContext")
    new = ciphertexts.context_of(call.given, "DestinationEncryptionContext")
    algorithms = _algorithm(call, "Source"), _algorithm(call, "Destination")
    source, plaintext = _opened(call, call.given.get("SourceKeyId"), old, "ReEncryptFrom", algorithms[0])
    destination = call.begin(call.given["DestinationKeyId"], "ReEncryptTo", context=new)
    kms_kinds.check(call.operation, destination, algorithms[1])
    sealed = _sealed(destination, algorithms[1], plaintext, new)
    call.end()
    return {
        "CiphertextBlob": _b64(sealed),
        "SourceKeyId": source.arn,
        "KeyId": destination.arn,
        "SourceEncryptionAlgorithm": algorithms[0],
        "DestinationEncryptionAlgorithm": algorithms[1],
    }


def _opened(call: Call, wanted: str | None, context: dict[str, str], action: str, algorithm: str) -> tuple[Key, bytes]:
    """Open the ciphertext of a call with the key that made it, or that the caller says made it."""
    blob = ciphertexts.bytes_of(call.given, "CiphertextBlob")
    made_by = ciphertexts.maker(blob)
    if wanted is None and made_by is None:
        raise AwsError("InvalidCiphertextException", "")
    key = call.key(wanted if wanted is not None else _here(call, str(made_by), action))
    call.authorise(action, key, context=context, by_ciphertext=wanted is None)
    call.usable(key)
    if key.key_usage != kms_kinds.NEEDS[call.operation]:
        raise AwsError("IncorrectKeyException", INCORRECT)
    kms_kinds.check(call.operation, key, algorithm)
    if algorithm != kms_kinds.SYMMETRIC:
        return key, kms_pairs.decrypt(key, algorithm, blob)
    if made_by is None:
        raise AwsError("InvalidCiphertextException", "")
    if not ciphertexts.is_of(key, made_by):
        raise AwsError("IncorrectKeyException", INCORRECT)
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
