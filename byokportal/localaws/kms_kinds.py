"""Kinds of KMS keys: which usages and algorithms a key spec has, and which operation takes which (KMS guide, "Key spec
reference"; the API reference of each operation)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moto.kms.models import Key

from byokportal.localaws.errors import AwsError

SYMMETRIC = "SYMMETRIC_DEFAULT"
EDWARDS = "ECC_NIST_EDWARDS25519"
OAEP = ["RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"]
RSA_SIGNING = [f"RSASSA_{padding}_SHA_{bits}" for padding in ("PKCS1_V1_5", "PSS") for bits in (256, 384, 512)]
# What DescribeKey calls the algorithms of a usage.
FIELDS = {
    "ENCRYPT_DECRYPT": "EncryptionAlgorithms",
    "SIGN_VERIFY": "SigningAlgorithms",
    "GENERATE_VERIFY_MAC": "MacAlgorithms",
    "KEY_AGREEMENT": "KeyAgreementAlgorithms",
}
Algorithms = Mapping[str, list[str]]  # of each usage that a key spec can have
RSA: Algorithms = {"ENCRYPT_DECRYPT": OAEP, "SIGN_VERIFY": RSA_SIGNING}
SPECS: dict[str, Algorithms] = {
    SYMMETRIC: {"ENCRYPT_DECRYPT": [SYMMETRIC]},
    **dict.fromkeys(("RSA_2048", "RSA_3072", "RSA_4096"), RSA),
    "ECC_NIST_P256": {"SIGN_VERIFY": ["ECDSA_SHA_256"], "KEY_AGREEMENT": ["ECDH"]},
    "ECC_NIST_P384": {"SIGN_VERIFY": ["ECDSA_SHA_384"], "KEY_AGREEMENT": ["ECDH"]},
    "ECC_NIST_P521": {"SIGN_VERIFY": ["ECDSA_SHA_512"], "KEY_AGREEMENT": ["ECDH"]},
    "ECC_SECG_P256K1": {"SIGN_VERIFY": ["ECDSA_SHA_256"]},
    EDWARDS: {"SIGN_VERIFY": ["ED25519_SHA_512"]},
    **{f"HMAC_{bits}": {"GENERATE_VERIFY_MAC": [f"HMAC_SHA_{bits}"]} for bits in (224, 256, 384, 512)},
}
MOTOS = {EDWARDS: "ECC_NIST_P256"}  # what moto is asked for in place of a spec that it does not know
# Operation → the usage that it needs, and its parameter for the algorithm.
NEEDS = {
    **dict.fromkeys(("Encrypt", "Decrypt", "ReEncrypt"), "ENCRYPT_DECRYPT"),
    **dict.fromkeys((f"GenerateDataKey{kind}" for kind in ("", "WithoutPlaintext")), "ENCRYPT_DECRYPT"),
    **dict.fromkeys((f"GenerateDataKeyPair{kind}" for kind in ("", "WithoutPlaintext")), "ENCRYPT_DECRYPT"),
    **dict.fromkeys(("Sign", "Verify"), "SIGN_VERIFY"),
    **dict.fromkeys(("GenerateMac", "VerifyMac"), "GENERATE_VERIFY_MAC"),
}


def algorithms(key: Key) -> dict[str, list[str]]:
    """Return the algorithms of a key, as DescribeKey tells them."""
    return {FIELDS[key.key_usage]: list(SPECS[key.key_spec][key.key_usage])}


def check(operation: str, key: Key, algorithm: str) -> None:
    """Refuse a key that is not of the kind for the operation.

    Raises:
        AwsError: InvalidKeyUsageException.
    """
    if key.key_usage != NEEDS[operation]:
        words = f"{key.arn} key usage is {key.key_usage} which is not valid for {operation}."
        raise AwsError("InvalidKeyUsageException", words)
    if key.key_spec != SYMMETRIC and operation.startswith("GenerateDataKey"):
        words = f"{key.arn} key spec is {key.key_spec} which is not valid for {operation}."
        raise AwsError("InvalidKeyUsageException", words)
    if algorithm not in SPECS[key.key_spec][key.key_usage]:
        words = f"Algorithm {algorithm} is incompatible with key spec {key.key_spec}."
        raise AwsError("InvalidKeyUsageException", words)


def wanted(given: Mapping[str, Any]) -> dict[str, str]:
    """Return what a key is to be that is asked for, as the condition keys call it."""
    return {
        "KeySpec": given.get("KeySpec") or given.get("CustomerMasterKeySpec") or SYMMETRIC,
        "KeyUsage": given.get("KeyUsage", "ENCRYPT_DECRYPT"),
        "KeyOrigin": given.get("Origin", "AWS_KMS"),
        "MultiRegion": str(bool(given.get("MultiRegion"))).lower(),
    }


def check_new(given: Mapping[str, Any]) -> tuple[str, str]:
    """Refuse a key that cannot exist; return the spec and usage of one that can (API reference, CreateKey).

    Raises:
        AwsError: ValidationException, UnsupportedOperationException or CustomKeyStoreNotFoundException.
    """
    if "KeySpec" in given and "CustomerMasterKeySpec" in given:
        words = "You cannot specify KeySpec and CustomerMasterKeySpec in the same request."
        raise AwsError("ValidationException", f"{words} CustomerMasterKeySpec is deprecated.")
    spec = given.get("KeySpec") or given.get("CustomerMasterKeySpec") or SYMMETRIC
    usage, origin = given.get("KeyUsage"), given.get("Origin", "AWS_KMS")
    if usage is None and spec != SYMMETRIC:
        words = "You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys."
        raise AwsError("ValidationException", words)
    usage = usage or "ENCRYPT_DECRYPT"
    if spec in SPECS and usage not in SPECS[spec]:
        raise AwsError("ValidationException", f"KeyUsage {usage} is not compatible with KeySpec {spec}")
    if origin in ("AWS_CLOUDHSM", "EXTERNAL_KEY_STORE") and (spec != SYMMETRIC or given.get("MultiRegion")):
        words = f"Keys of origin {origin} are symmetric encryption keys of one Region."
        raise AwsError("UnsupportedOperationException", words)
    if ("CustomKeyStoreId" in given) != (origin in ("AWS_CLOUDHSM", "EXTERNAL_KEY_STORE")):
        words = f"Origin {origin} and CustomKeyStoreId do not go together."
        raise AwsError("ValidationException", words)
    if ("XksKeyId" in given) != (origin == "EXTERNAL_KEY_STORE"):
        raise AwsError("ValidationException", f"Origin {origin} and XksKeyId do not go together.")
    if "CustomKeyStoreId" in given:
        raise AwsError("CustomKeyStoreNotFoundException", f"{given['CustomKeyStoreId']} was not found.")
    if spec not in SPECS:
        raise AwsError("UnsupportedOperationException", f"The local AWS makes no keys of spec {spec}.")
    return spec, usage
