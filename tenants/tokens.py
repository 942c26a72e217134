"""Secrets and bearer tokens: 256 random bits, known to us by their SHA-256 only."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Literal

from byokportal import clock
from tenants.models import (
    AccessToken,
    ClientSecret,
    Invitation,
    MailDomain,
    Member,
    ServiceAccount,
    SignOnConnection,
    SignOnIdentity,
)

# Automation token, service's token, client secret, link of an invitation, link of the set-up, directory's token.
Kind = Literal["at", "st", "cs", "il", "sl", "dt"]
LIFETIME = 900  # seconds of a service account's bearer token


def new_secret(kind: Kind = "at") -> str:
    """Return a fresh secret of 256 random bits, URL-safe; its beginning says what it is, wherever it is found."""
    return f"byok_{kind}_{secrets.token_urlsafe(32)}"


def digest(secret: str) -> str:
    """Return the SHA-256 of a secret, hex. It needs no salt and no slow hash: nobody guesses 256 bits."""
    return hashlib.sha256(secret.encode()).hexdigest()


def issue(
    account: ServiceAccount, *, scopes: Sequence[str], secret: ClientSecret | None = None
) -> tuple[AccessToken, str]:
    """Give a service account a bearer token for 15 minutes, or until the secret ends that makes it.

    Args:
        secret: the one that the account proved itself by; None: the present one.
    """
    secret = secret or account.secrets.get(expires_at=None, revoked_at=None)
    raw, now = new_secret("st"), clock.now()
    ends = now + timedelta(seconds=LIFETIME)
    token = AccessToken.objects.create(
        service_account=account,
        secret=secret,
        digest=digest(raw),
        scopes=sorted(scopes),
        created_at=now,
        expires_at=min(ends, secret.expires_at) if secret.expires_at else ends,
    )
    return token, raw


def verify(raw: str) -> AccessToken | None:
    """Return the valid token of a raw secret, with its holder; None when there is none."""
    token = (
        AccessToken.objects.valid(clock.now())
        .filter(digest=digest(raw))
        .select_related(
            "service_account",
            "secret",
            "member__user",
            "member__tenant__service_role",
            "invitation__tenant__service_role",
        )
        .first()
    )
    return token if token is not None and _holder_may_act(token) else None


def _directory_stands(member: Member) -> bool:
    """Tell whether the directory that brought a member in may still do so; no other way in is left for that person."""
    identity = SignOnIdentity.objects.filter(member=member, made_account=True).select_related("connection").first()
    if identity is None:
        return True
    connection, domain = identity.connection, identity.email.rpartition("@")[2]
    is_present = connection.removed_at is None and connection.mode != SignOnConnection.Mode.DRAFT
    return is_present and MailDomain.objects.verified().filter(tenant=member.tenant_id, name=domain).exists()


def _holder_may_act(token: AccessToken) -> bool:
    """Tell whether whoever the token belongs to is still in:
    a token never outlives its holder, nor the secret that made it.

    The secret is looked at, not only what its revocation wrote into the tokens:
    one that was issued at that moment has no such mark.
    """
    if token.service_account is not None:
        assert token.secret is not None
        return token.service_account.disabled_at is None and token.secret.counts(clock.now())
    if token.member is not None:
        is_in = token.member.removed_at is None and token.member.user.is_active
        return is_in and _directory_stands(token.member)
    assert token.invitation is not None
    return token.invitation.status == Invitation.Status.PENDING and not token.invitation.is_expired


def has_expired(token: AccessToken) -> bool:
    return token.expires_at <= clock.recent()


def client(client_id: str, secret: str) -> ClientSecret | None:
    """Return the client secret, with its service account, that client credentials name; None when they are wrong."""
    try:
        account_id = uuid.UUID(client_id)
    except ValueError:
        return None
    valid = ClientSecret.objects.valid(clock.now()).filter(
        service_account=account_id, service_account__disabled_at=None
    )
    given, found = digest(secret), None
    for one in valid.select_related("service_account"):  # two at most
        if secrets.compare_digest(one.digest, given):
            found = one
    return found
