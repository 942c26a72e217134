"""Secrets and bearer tokens: 256 random bits, known to us by their SHA-256 only."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Literal

from byokportal import clock
from tenants.models import AccessToken, Invitation, ServiceAccount

SCOPES = ("data-keys:generate", "data-keys:decrypt", "data-keys:rewrap", "key:read")
Kind = Literal["at", "st", "cs", "il"]  # automation token, service's token, client secret, link of an invitation
LIFETIME = 900  # seconds of a service account's bearer token


def new_secret(kind: Kind = "at") -> str:
    """Return a fresh secret of 256 random bits, URL-safe; its beginning says what it is, wherever it is found."""
    return f"byok_{kind}_{secrets.token_urlsafe(32)}"


def digest(secret: str) -> str:
    """Return the SHA-256 of a secret, hex. It needs no salt and no slow hash: nobody guesses 256 bits."""
    return hashlib.sha256(secret.encode()).hexdigest()


def issue(account: ServiceAccount, *, scopes: Sequence[str]) -> tuple[AccessToken, str]:
    """Give a service account a bearer token for 15 minutes."""
    raw = new_secret("st")
    token = AccessToken.objects.create(
        service_account=account,
        digest=digest(raw),
        scopes=sorted(scopes),
        expires_at=clock.now() + timedelta(seconds=LIFETIME),
    )
    return token, raw


def verify(raw: str) -> AccessToken | None:
    """Return the valid token of a raw secret, with its holder; None when there is none."""
    token = (
        AccessToken.objects.valid(clock.now())
        .filter(digest=digest(raw))
        .select_related(
            "service_account", "member__user", "member__tenant__service_role", "invitation__tenant__service_role"
        )
        .first()
    )
    return token if token is not None and _holder_may_act(token) else None


def _holder_may_act(token: AccessToken) -> bool:
    """Tell whether whoever the token belongs to is still in: a token never outlives its holder."""
    if token.service_account is not None:
        return token.service_account.disabled_at is None
    if token.member is not None:
        return token.member.removed_at is None and token.member.user.is_active
    assert token.invitation is not None
    return token.invitation.status == Invitation.Status.PENDING and not token.invitation.is_expired


def has_expired(token: AccessToken) -> bool:
    return token.expires_at <= clock.recent()


def client(client_id: str, secret: str) -> ServiceAccount | None:
    """Return the service account of client credentials, None when they are wrong."""
    try:
        account = ServiceAccount.objects.filter(pk=uuid.UUID(client_id), disabled_at=None).first()
    except ValueError:
        return None
    if account is None or not secrets.compare_digest(account.secret_digest, digest(secret)):
        return None
    return account
