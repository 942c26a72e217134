"""Temporary credentials: a session token is sealed and holds all there is to know of its session,
so nothing has to be kept."""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


@dataclass(frozen=True, slots=True)
class Session:
    """What AssumeRole gave out; `tags` and `source_identity` go on to the sessions that are made from it."""

    access_key_id: str
    secret: str = field(repr=False)
    account: str
    role_unique_id: str
    name: str
    expires_at: datetime
    policy: dict[str, Any] | None = None
    tags: dict[str, str] = field(default_factory=dict)
    transitive: tuple[str, ...] = ()
    source_identity: str = ""


def seal(session: Session, key: bytes) -> str:
    """Return the token of a session.

    Args:
        key: 32 bytes, of this local AWS alone.
    """
    content = {
        "k": session.access_key_id,
        "s": session.secret,
        "a": session.account,
        "r": session.role_unique_id,
        "n": session.name,
        "e": int(session.expires_at.timestamp()),
        "p": session.policy,
        "t": session.tags,
        "v": session.transitive,
        "i": session.source_identity,
    }
    nonce = secrets.token_bytes(12)
    return base64.b64encode(nonce + AESGCM(key).encrypt(nonce, json.dumps(content).encode(), b"")).decode()


def unseal(token: str, key: bytes) -> Session | None:
    """Return the session of a token; None when it is none of this local AWS's."""
    try:
        sealed = base64.b64decode(token, validate=True)
        content = json.loads(AESGCM(key).decrypt(sealed[:12], sealed[12:], b""))
    except (binascii.Error, ValueError, InvalidTag):
        return None
    return Session(
        content["k"],
        content["s"],
        content["a"],
        content["r"],
        content["n"],
        datetime.fromtimestamp(content["e"], UTC),
        content["p"],
        content["t"],
        tuple(content["v"]),
        content["i"],
    )
