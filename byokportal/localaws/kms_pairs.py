"""Key pairs and secrets of KMS: RSA encryption, signatures, codes of authenticity, data key pairs (KMS API reference,
Encrypt, Sign, Verify, GenerateMac, VerifyMac, GenerateDataKeyPair)."""

from __future__ import annotations

import base64
import hmac
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from moto.kms.models import Key

from byokportal.localaws import ciphertexts, kms_kinds
from byokportal.localaws.errors import AwsError
from byokportal.localaws.kms_call import Call

HASHES: dict[str, type[hashes.HashAlgorithm]] = {
    "1": hashes.SHA1,
    "256": hashes.SHA256,
    "384": hashes.SHA384,
    "512": hashes.SHA512,
}
CURVES: dict[str, type[ec.EllipticCurve]] = {
    "ECC_NIST_P256": ec.SECP256R1,
    "ECC_NIST_P384": ec.SECP384R1,
    "ECC_NIST_P521": ec.SECP521R1,
    "ECC_SECG_P256K1": ec.SECP256K1,
}


def _hash_of(algorithm: str) -> hashes.HashAlgorithm:
    return HASHES[algorithm.rpartition("_")[2]]()


# --- encryption ---------------------------------------------------------------------------------------------------


def encrypt(key: Key, algorithm: str, plaintext: bytes) -> bytes:
    """Encrypt under the public half of a key.

    Raises:
        AwsError: the plaintext is longer than the algorithm takes (recorded words: localstack/localstack, test_kms).
    """
    private, longest = _private(key), key.private_key.key_size // 8 - 2 * _hash_of(algorithm).digest_size - 2
    if len(plaintext) > longest:
        words = f"Algorithm {algorithm} and key spec {key.key_spec} cannot encrypt data larger than {longest} bytes."
        raise AwsError("ValidationException", words)
    sealed: bytes = private.public_key().encrypt(plaintext, _oaep(algorithm))
    return sealed


def decrypt(key: Key, algorithm: str, blob: bytes) -> bytes:
    """Decrypt what was encrypted under the public half of a key.

    Raises:
        AwsError: InvalidCiphertextException.
    """
    try:
        plaintext: bytes = _private(key).decrypt(blob, _oaep(algorithm))
    except ValueError:
        raise AwsError("InvalidCiphertextException", "") from None
    return plaintext


def _private(key: Key) -> Any:
    return key.private_key.private_key


def _oaep(algorithm: str) -> padding.OAEP:
    return padding.OAEP(padding.MGF1(_hash_of(algorithm)), _hash_of(algorithm), None)


# --- signatures ---------------------------------------------------------------------------------------------------


def sign(call: Call) -> dict[str, Any]:
    key, algorithm, message, scheme = _to_sign(call)
    call.end()
    signature = _private(key).sign(message, *scheme)
    return {"KeyId": key.arn, "Signature": _b64(signature), "SigningAlgorithm": algorithm}


def verify(call: Call) -> dict[str, Any]:
    key, algorithm, message, scheme = _to_sign(call)
    call.end()
    try:
        _private(key).public_key().verify(ciphertexts.bytes_of(call.given, "Signature"), message, *scheme)
    except InvalidSignature:
        raise AwsError("KMSInvalidSignatureException", "") from None
    return {"KeyId": key.arn, "SignatureValid": True, "SigningAlgorithm": algorithm}


def _to_sign(call: Call) -> tuple[Key, str, bytes, tuple[Any, ...]]:
    """Return the key, the algorithm, the message, and how the library is told of the algorithm."""
    algorithm, message = call.given["SigningAlgorithm"], ciphertexts.bytes_of(call.given, "Message")
    key = call.begin(call.given["KeyId"])
    kms_kinds.check(call.operation, key, algorithm)
    if algorithm == "ED25519_SHA_512":  # RFC 8032: the message itself is signed
        if call.given.get("MessageType", "RAW") != "RAW":
            raise AwsError("ValidationException", f"Algorithm {algorithm} takes MessageType RAW.")
        return key, algorithm, message, ()
    digest: Any = _hash_of(algorithm)
    if call.given.get("MessageType") == "DIGEST":
        if len(message) != digest.digest_size:
            raise AwsError("ValidationException", f"Digest is invalid length for algorithm {algorithm}.")
        digest = Prehashed(digest)
    if algorithm.startswith("ECDSA"):
        return key, algorithm, message, (ec.ECDSA(digest),)
    if "PSS" in algorithm:
        size = _hash_of(algorithm).digest_size
        return key, algorithm, message, (padding.PSS(padding.MGF1(_hash_of(algorithm)), size), digest)
    return key, algorithm, message, (padding.PKCS1v15(), digest)


def make_edwards(key: Key) -> None:
    """Make a new key one of the spec that moto does not know."""
    key.key_spec = kms_kinds.EDWARDS
    key.private_key.private_key = ed25519.Ed25519PrivateKey.generate()


def get_public_key(call: Call) -> dict[str, Any]:
    key = call.begin(call.given["KeyId"])
    if key.private_key is None:
        raise AwsError("UnsupportedOperationException", "")
    described = {"KeySpec": key.key_spec, "CustomerMasterKeySpec": key.key_spec, "KeyUsage": key.key_usage}
    return {
        "KeyId": key.arn,
        "PublicKey": _b64(_public_der(_private(key))),
        **described,
        **kms_kinds.algorithms(key),
    }


# --- codes of authenticity ----------------------------------------------------------------------------------------


def generate_mac(call: Call) -> dict[str, Any]:
    key, algorithm, code = _code(call)
    return {"KeyId": key.arn, "Mac": _b64(code), "MacAlgorithm": algorithm}


def verify_mac(call: Call) -> dict[str, Any]:
    key, algorithm, code = _code(call)
    if not hmac.compare_digest(code, ciphertexts.bytes_of(call.given, "Mac")):
        raise AwsError("KMSInvalidMacException", "")
    return {"KeyId": key.arn, "MacAlgorithm": algorithm, "MacValid": True}


def _code(call: Call) -> tuple[Key, str, bytes]:
    algorithm = call.given["MacAlgorithm"]
    key = call.begin(call.given["KeyId"])
    kms_kinds.check(call.operation, key, algorithm)
    call.end()
    message = ciphertexts.bytes_of(call.given, "Message")
    return key, algorithm, hmac.digest(ciphertexts.material(key), message, f"sha{algorithm.rpartition('_')[2]}")


# --- data key pairs -----------------------------------------------------------------------------------------------


def generate_data_key_pair(call: Call) -> dict[str, Any]:
    context, spec = ciphertexts.context_of(call.given, "EncryptionContext"), call.given["KeyPairSpec"]
    key = call.begin(call.given["KeyId"], context=context)
    kms_kinds.check(call.operation, key, kms_kinds.SYMMETRIC)
    if spec not in kms_kinds.SPECS:
        raise AwsError("UnsupportedOperationException", f"The local AWS makes no key pairs of spec {spec}.")
    call.end()
    made: Any = (
        ec.generate_private_key(CURVES[spec]())
        if spec in CURVES
        else rsa.generate_private_key(public_exponent=65537, key_size=int(spec.removeprefix("RSA_")))
    )
    plain = made.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "KeyId": key.arn,
        "KeyPairSpec": spec,
        "PrivateKeyCiphertextBlob": _b64(ciphertexts.seal(key, plain, context)),
        "PrivateKeyPlaintext": _b64(plain),
        "PublicKey": _b64(_public_der(made)),
    }


def generate_data_key_pair_without_plaintext(call: Call) -> dict[str, Any]:
    made = generate_data_key_pair(call)
    del made["PrivateKeyPlaintext"]
    return made


def _public_der(private: Any) -> bytes:
    der: bytes = private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return der


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


OPERATIONS = {
    "Sign": sign,
    "Verify": verify,
    "GetPublicKey": get_public_key,
    "GenerateMac": generate_mac,
    "VerifyMac": verify_mac,
    "GenerateDataKeyPair": generate_data_key_pair,
    "GenerateDataKeyPairWithoutPlaintext": generate_data_key_pair_without_plaintext,
}
