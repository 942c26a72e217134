"""Bearer token → caller: for every address of the API; a session cookie counts for nothing there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from django.db.models import Q
from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from byokportal import clock
from byokportal.errors import NotAuthenticated
from byokportal.lru import Lru
from tenants import tokens
from tenants.audit import Actor
from tenants.memory import Memory
from tenants.models import AccessToken, Member, ServiceAccount

BEARER = re.compile(r"Bearer ([A-Za-z0-9_-]{20,200})", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: a service account, or an automation token."""

    token: AccessToken
    actor: Actor
    # What shares and idempotency keys belong to. Of an automation token it is the token itself: an answer that is
    # kept for one is not shown to another, which may do less.
    name: str

    is_authenticated = True  # what DRF asks a user

    @classmethod
    def by(cls, token: AccessToken) -> Caller:
        if token.member is not None:
            return cls(token, Actor.of_member(token.member, via="api", token=token), f"token:{token.pk}")
        if token.invitation is not None:
            return cls(token, Actor.of_invitation(token.invitation, token=token), f"token:{token.pk}")
        assert token.service_account is not None
        return cls(token, Actor.of_service(token.service_account), f"serviceaccount:{token.service_account.pk}")

    @property
    def member(self) -> Member | None:
        return self.token.member

    @property
    def service_account(self) -> ServiceAccount | None:
        return self.token.service_account


NOTED_EVERY = timedelta(minutes=1)
REFUSED = 3.0  # seconds for which a token that nobody has is refused unseen
_known: Memory[Caller] = Memory()
# A memory of its own: whoever sends made-up tokens pushes out only what strangers sent. Nobody guesses 256 bits, so a
# token that is made a moment later is not among them, and works at once.
_unknown: Lru[str, float] = Lru(10_000)  # digest → until when, monotonic


class BearerAuthentication(BaseAuthentication):
    """Reads `Authorization: Bearer …`."""

    def authenticate(self, request: Request) -> tuple[Caller, AccessToken]:
        caller = caller_of(request._request)
        return caller, caller.token

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


def caller_of(request: HttpRequest) -> Caller:
    """Return who calls; see `caller`."""
    return caller(request.META.get("HTTP_AUTHORIZATION", ""))


def caller(authorization: str) -> Caller:
    """Return who sends such a header; a yes is remembered for 5 seconds, a no for 3.

    A revoked token ends in every process within that time, and one that expires ends at once.

    Raises:
        NotAuthenticated: there is no token, or none that is valid.
    """
    key, ask = _digest(authorization), partial(verified, authorization)
    found = _known.get(key, ask)
    if found is not None and not tokens.has_expired(found.token):
        return found
    refuse_unseen(authorization)
    return _known.look_up(key, ask)


def refuse_unseen(authorization: str) -> None:
    """Raise when such a header holds no token, or one that was refused a moment ago.

    Raises:
        NotAuthenticated: it does.
    """
    if (_unknown.get(_digest(authorization)) or 0.0) > clock.monotonic():
        raise NotAuthenticated


def verified(authorization: str) -> Caller:
    """Return who sends such a header, as the database says now.

    Raises:
        NotAuthenticated: there is no token, or none that is valid; that is remembered.
    """
    refuse_unseen(authorization)
    asked_at, match = clock.monotonic(), BEARER.fullmatch(authorization)
    token = tokens.verify(match[1]) if match else None
    if token is None:
        _unknown.put(_digest(authorization), asked_at + REFUSED)
        raise NotAuthenticated
    if token.service_account is None:
        _note_use(token)
    return Caller.by(token)


def _digest(authorization: str) -> str:
    match = BEARER.fullmatch(authorization)
    if match is None:
        raise NotAuthenticated
    return tokens.digest(match[1])


def _note_use(token: AccessToken) -> None:
    """Write down that an automation token was used: once in a minute, whatever the number of processes and requests.

    Tokens of service accounts are not written: they last minutes, and requests for data keys wait for nothing.
    """
    now = clock.now()
    if token.last_used_at is not None and token.last_used_at > now - NOTED_EVERY:
        return
    unnoted = Q(last_used_at=None) | Q(last_used_at__lte=now - NOTED_EVERY)
    AccessToken.objects.filter(unnoted, pk=token.pk).update(last_used_at=now)


def forget_all() -> None:
    """Forget every remembered caller (tests start anew)."""
    _known.clear()
    _unknown.clear()
