"""Wrap and open data keys under a branch key: the byte layout of docs/wrapped-keys.md; pure.

A wrapped data key is header and ciphertext:

    version 1 byte | branch key id 16 | salt 32 | commitment 32 | ciphertext 32 | tag 16        = 129 bytes

HKDF-SHA-512 (RFC 5869) turns branch key, salt and context into a wrapping key and a commitment, AES-256-GCM (NIST SP
800-38D) wraps the data key. The salt is random, so every wrapping key is used once and the nonce can be zero.
The commitment is compared before decrypting: one GCM ciphertext can be made to open under two keys otherwise
(Albertini et al., "How to Abuse and Fix Authenticated Encryption Without Key Commitment", 2022).
"""

from __future__ import annotations

import hmac
import secrets
import struct
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, NoReturn, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from byokportal.errors import DomainError
from keys.errors import BlobUnreadable, ContextInvalid

Given = TypeVar("Given")
Made = TypeVar("Made")

VERSION = 1
KEY_BYTES = 32
HEADER = struct.Struct(">B16s32s32s")
BLOB_BYTES = HEADER.size + KEY_BYTES + 16
MAX_PAIRS = 16
MAX_CONTEXT_BYTES = 1024
NONCE = bytes(12)  # never repeats under one wrapping key: each wrapping key is used once
LABEL = b"byok data key v1"


class Secret:
    """Key bytes that stand in no repr, no traceback with locals, no pickle and no copy; `wipe` overwrites them.

    It is our own buffer that is overwritten.
    Copies that Python and the libraries below made are theirs (docs/THREAT_MODEL.md).
    """

    __slots__ = ("_material",)

    def __init__(self, material: bytes | bytearray) -> None:
        self._material = bytearray(material)

    def __repr__(self) -> str:
        return "<secret>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not copied and leaves this process in no form")

    def reveal(self) -> bytearray:
        """Return the bytes themselves, for the argument of one call;
        a local variable of them would show in a traceback."""
        return self._material

    def wipe(self) -> None:
        self._material[:] = bytes(len(self._material))


@dataclass(frozen=True, slots=True)
class DataKey:
    """A fresh data key and its wrapped form."""

    plaintext: bytes = field(repr=False)
    wrapped: bytes


@dataclass(slots=True)  # frozen, making one would take a third as long as deriving it
class _Derived:
    wrapping_key: bytes = field(repr=False)
    commitment: bytes = field(repr=False)


def encode_context(tenant: str, context: Mapping[str, str]) -> bytes:
    """Return the one encoding of the tenant and the caller's context: sorted, length-prefixed UTF-8 pairs.

    Args:
        tenant: the tenant's id; it is always part of the context under the name `tenant`.
        context: at most 16 pairs of at most 1,024 bytes together.

    Raises:
        ContextInvalid: too many or too long, an empty name, or another tenant's id.
    """
    if len(context) > MAX_PAIRS:
        raise ContextInvalid(why=f"A context has at most {MAX_PAIRS} pairs.")
    if context.get("tenant", tenant) != tenant:
        raise ContextInvalid(why="The name tenant is ours: it always holds the id of the tenant in the address.")
    pairs = {name.encode(): value.encode() for name, value in context.items()}
    if b"" in pairs:
        raise ContextInvalid(why="A name in the context is empty.")
    if sum(map(len, pairs)) + sum(map(len, pairs.values())) > MAX_CONTEXT_BYTES:
        raise ContextInvalid(why=f"Names and values of a context have at most {MAX_CONTEXT_BYTES} bytes together.")
    pairs[b"tenant"] = tenant.encode()
    encoded = [len(pairs).to_bytes(2)]
    for name in sorted(pairs):
        value = pairs[name]
        encoded += (len(name).to_bytes(2), name, len(value).to_bytes(2), value)
    return b"".join(encoded)


def encoder(tenant: str) -> Callable[[Mapping[str, str]], bytes]:
    """Return `encode_context` for one tenant, which remembers the last context:
    the items of a batch often share theirs."""
    last: Mapping[str, str] | None = None
    encoded = b""

    def encode(context: Mapping[str, str]) -> bytes:
        nonlocal last, encoded
        if context != last:
            encoded = encode_context(tenant, context)
            last = context
        return encoded

    return encode


class Sealed(NamedTuple):
    """A wrapped data key that is to be opened: the branch key that it names, its bytes, its context encoded."""

    branch_key: uuid.UUID
    blob: bytes
    context: bytes


def sealed(blob: bytes, context: bytes) -> Sealed:
    """Return a wrapped data key ready to be opened.

    Args:
        context: what `encode_context` returned.

    Raises:
        BlobUnreadable: it is no blob of ours.
    """
    return Sealed(branch_key_id(blob), blob, context)


def branch_key_id(blob: bytes) -> uuid.UUID:
    """Return the id of the branch key that a blob names.

    Raises:
        BlobUnreadable: it is no blob of ours.
    """
    _check_form(blob)
    return uuid.UUID(bytes=blob[1:17])


def encode_each(tenant: str, contexts: Iterable[Mapping[str, str]]) -> list[bytes | DomainError]:
    """Return the encoding of each context, or why it cannot be used."""
    encode = encoder(tenant)
    return [_or_error(encode, context) for context in contexts]


def sealed_each(tenant: str, items: Iterable[tuple[bytes, Mapping[str, str]]]) -> list[Sealed | DomainError]:
    """Return each wrapped data key with its context ready to be opened, or why it cannot be."""
    encode = encoder(tenant)
    return [_or_error(lambda one: sealed(one[0], encode(one[1])), item) for item in items]


def _or_error(make: Callable[[Given], Made], given: Given) -> Made | DomainError:
    try:
        return make(given)
    except DomainError as error:
        return error


def _check_form(blob: bytes) -> None:
    if len(blob) != BLOB_BYTES or blob[0] != VERSION:
        raise BlobUnreadable


def generate(branch_key: Secret, key_id: uuid.UUID, context: bytes) -> DataKey:
    """Make a fresh 256-bit data key and wrap it."""
    plaintext = secrets.token_bytes(KEY_BYTES)
    return DataKey(plaintext, wrap(branch_key, key_id, context, plaintext))


def wrap(
    branch_key: Secret, key_id: uuid.UUID, context: bytes, plaintext: bytes, *, salt: bytes | None = None
) -> bytes:
    """Wrap a data key.

    Args:
        branch_key: 32 bytes.
        context: what `encode_context` returned.
        plaintext: the data key, 32 bytes.
        salt: 32 random bytes; given only by the known-answer tests.
    """
    salt = secrets.token_bytes(32) if salt is None else salt
    derived = _derive(branch_key, salt, context)
    header = HEADER.pack(VERSION, key_id.bytes, salt, derived.commitment)
    return header + AESGCM(derived.wrapping_key).encrypt(NONCE, plaintext, header + context)


def unwrap(branch_key: Secret, context: bytes, blob: bytes) -> bytes:
    """Open a wrapped data key.

    Args:
        context: what `encode_context` returned.

    Raises:
        BlobUnreadable: damaged, of another tenant or branch key, or made with another context; which, nobody can tell.
    """
    _check_form(blob)
    header = blob[: HEADER.size]
    _, _, salt, stored = HEADER.unpack(header)
    derived = _derive(branch_key, salt, context)
    if not hmac.compare_digest(derived.commitment, stored):
        raise BlobUnreadable
    try:
        return AESGCM(derived.wrapping_key).decrypt(NONCE, blob[HEADER.size :], header + context)
    except InvalidTag:
        raise BlobUnreadable from None


def _derive(branch_key: Secret, salt: bytes, context: bytes) -> _Derived:
    derived = HKDF(hashes.SHA512(), 64, salt, LABEL + context).derive(branch_key.reveal())
    return _Derived(derived[:32], derived[32:])
