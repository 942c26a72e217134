"""Bearer token → caller: for every address of the API; a session cookie counts for nothing there."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from byokportal.errors import NotAuthenticated
from tenants import tokens
from tenants.audit import Actor
from tenants.models import AccessToken, Member, ServiceAccount

BEARER = re.compile(r"Bearer ([A-Za-z0-9_-]{20,200})", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: a service account, or a member by an automation token."""

    token: AccessToken
    actor: Actor

    is_authenticated = True  # what DRF asks a user

    @property
    def member(self) -> Member | None:
        return self.token.member

    @property
    def service_account(self) -> ServiceAccount | None:
        return self.token.service_account

    @property
    def name(self) -> str:
        """What idempotency keys belong to."""
        holder = self.token.member or self.token.service_account
        return f"{type(holder).__name__.lower()}:{holder.pk if holder else ''}"


class BearerAuthentication(BaseAuthentication):
    """Reads `Authorization: Bearer …`."""

    def authenticate(self, request: Request) -> tuple[Caller, AccessToken]:
        match = BEARER.fullmatch(request.META.get("HTTP_AUTHORIZATION", ""))
        token = tokens.verify(match[1]) if match else None
        if token is None:
            raise NotAuthenticated
        actor = Actor.of_member(token.member, via="api") if token.member else Actor.of_service(token.service_account)  # type: ignore[arg-type]
        return Caller(token, actor), token

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"
