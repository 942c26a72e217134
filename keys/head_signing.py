"""Who signs the heads of the logs: an Ed25519 key that is not in the database, from the settings or in AWS KMS."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from keys.arns import KeyArn
from keys.aws import signing

OWN_KEY = "seal_key.pem"  # of the embedded run, in VAR_DIR


@dataclass(frozen=True, slots=True)
class Signer:
    """A key that signs.

    Attributes:
        public: its public half, 32 bytes.
        sign: takes a message, returns its signature of 64 bytes.
    """

    public: bytes
    sign: Callable[[bytes], bytes] = field(repr=False)


def key_id(public: bytes) -> str:
    """Return by what people name a public key: SHA-256 of its 32 bytes, hex."""
    return hashlib.sha256(public).hexdigest()


def verifies(public: bytes, signature: bytes, message: bytes) -> bool:
    """Tell whether a signature is this key's for this message."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def signer() -> Signer | None:
    """Return who signs; None where no key is set, and so nothing is signed.

    Raises:
        ImproperlyConfigured: what is set is no Ed25519 key.
        DomainError: AWS does not answer as it should (keys.aws.faults).
    """
    if settings.SEAL_KMS_KEY_ARN:
        arn = KeyArn.parse(settings.SEAL_KMS_KEY_ARN)
        public = serialization.load_der_public_key(signing.public_key(arn))
        if not isinstance(public, Ed25519PublicKey):
            raise ImproperlyConfigured("SEAL_KMS_KEY_ARN is a key of the spec ECC_NIST_EDWARDS25519.")
        return Signer(public.public_bytes_raw(), partial(signing.sign, arn))
    text = settings.SEAL_KEY or (_own() if settings.EMBEDDED else "")
    if not text:
        return None
    try:
        private = serialization.load_pem_private_key(text.encode(), password=None)
    except (ValueError, TypeError) as error:
        raise ImproperlyConfigured("SEAL_KEY is no private key in PEM.") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise ImproperlyConfigured("SEAL_KEY is an Ed25519 key: openssl genpkey -algorithm ed25519")
    return Signer(private.public_key().public_bytes_raw(), private.sign)


def is_there() -> bool:
    """Tell whether a key that signs is set; whether it can be used, `signer` finds."""
    return bool(settings.SEAL_KMS_KEY_ARN or settings.SEAL_KEY or settings.EMBEDDED)


def _own() -> str:
    """Return the key of this directory, which the first process that needs it makes."""
    path = Path(settings.VAR_DIR) / OWN_KEY
    if not path.exists():
        fresh = Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        whole = path.with_name(f"{OWN_KEY}.{os.getpid()}")
        with open(whole, "xb", opener=partial(os.open, mode=0o600)) as file:
            file.write(fresh)
        with contextlib.suppress(FileExistsError):
            os.link(whole, path)
        whole.unlink()
    return path.read_text()
