"""What a leaf of a sealed log is made of: each field of a row as a salted digest, so that one can be shown alone. Pure.

The entry of a row is the version byte and the canonical JSON of its number and of the digests of its fields. The salt
of a field comes from the salt of its row; who knows the row's salt can check every field. People stand in fields by
reference (tenants.persons). docs/seal.md says it to the letter, and docs/examples/verify_log.py does it by itself.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from typing import Any

from byokportal import merkle

ROW, HEAD, USE = b"\x01", b"\x02", b"\x03"  # version bytes: a row, the head of one log among all, one use of a key
CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def canonical(value: object) -> str:
    """Return the one JSON text of a value: sorted keys, no white space, non-ASCII escaped."""
    return CANONICAL.encode(value)


def new_salt() -> str:
    """Return a salt of 128 bits in hex."""
    return secrets.token_hex(16)


def fields_of(payload: str, *, row: int, request_id: str) -> dict[str, Any]:
    """Return the fields of a row of the log.

    Args:
        payload: the canonical text of the row; each of its data is a field of its own.
        row: the id of the row.
    """
    found: dict[str, Any] = json.loads(payload)
    data = found.pop("data", {})
    return {"id": row, "request_id": request_id, **found, **{f"data.{name}": value for name, value in data.items()}}


def digests(fields: Mapping[str, Any], salt: str) -> dict[str, str]:
    """Return the salted digest of each field."""
    return {name: _digest(salt_of(salt, name), value) for name, value in fields.items()}


def salt_of(salt: str, name: str) -> bytes:
    """Return the salt of one field of a row: HMAC-SHA-256 of its name under the row's salt."""
    return hmac.digest(bytes.fromhex(salt), name.encode(), "sha256")


def leaf(number: int, digested: Mapping[str, str]) -> bytes:
    """Return the leaf of a row from the digests of its fields."""
    return merkle.leaf(ROW + canonical({"fields": dict(digested), "number": number}).encode())


def head_leaf(entry: Mapping[str, Any]) -> bytes:
    """Return the leaf of one log's head in the tree over the heads of all."""
    return merkle.leaf(HEAD + canonical(dict(entry)).encode())


def use_leaf(use: Mapping[str, Any], salt: str) -> bytes:
    """Return the leaf of one use of a key in the tree of a roll-up; all of a roll-up have one salt."""
    return merkle.leaf(USE + bytes.fromhex(salt) + canonical(dict(use)).encode())


def _digest(salt: bytes, value: object) -> str:
    return hmac.new(salt, canonical(value).encode(), hashlib.sha256).hexdigest()
