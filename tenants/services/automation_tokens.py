"""Automation tokens: made, shown once, revoked."""

from __future__ import annotations

from django.db import transaction

from byokportal import clock
from byokportal.errors import InvalidInput, NotFound
from tenants import audit, roles, tokens
from tenants.audit import Actor
from tenants.models import AccessToken, Member
from tenants.services.words import name_of

AUTOMATION_TOKENS = 20  # a member's valid tokens at most


@transaction.atomic
def mint_token(member: Member, *, name: str, actor: Actor) -> tuple[AccessToken, str]:
    """Make an automation token that acts as the member, only for its tenant; the raw token is shown once."""
    roles.require(actor, "tenants.mint_token", member.tenant)
    if actor.member is not None and actor.member.pk != member.pk:
        raise NotFound  # nobody makes tokens that act as somebody else
    now = clock.now()
    if AccessToken.objects.filter(member=member).valid(now).count() >= AUTOMATION_TOKENS:
        raise InvalidInput(errors={"name": [f"You have {AUTOMATION_TOKENS} valid tokens. Revoke one first."]})
    raw = tokens.new_secret()
    token = AccessToken.objects.create(member=member, digest=tokens.digest(raw), name=name_of(name))
    audit.record("tenants.token.minted", tenant=member.tenant, actor=actor, target=token, name=token.name)
    return token, raw


@transaction.atomic
def revoke_token(token: AccessToken, *, actor: Actor) -> None:
    """Revoke an automation token; every process has noticed after at most 5 s."""
    if token.member is None:
        raise NotFound
    roles.require(actor, "tenants.mint_token", token.member.tenant)
    if AccessToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=clock.now()):
        audit.record("tenants.token.revoked", tenant=token.member.tenant, actor=actor, target=token, name=token.name)
