"""The actor of an operation on people, as the database says at the moment of the change."""

from __future__ import annotations

from dataclasses import replace

from byokportal import clock
from byokportal.errors import NotAuthenticated, NotFound
from tenants.audit import Actor
from tenants.models import AccessToken, Member


def as_now(actor: Actor) -> Actor:
    """Return the actor with the membership as it stands; the caller holds the tenant's row.

    A process remembers a token for some seconds, and a request may have waited for the lock since it loaded its member.
    Without this, somebody who was just shown out could leave behind what ends with nobody: an invitation,
    another role, a token.

    Raises:
        NotFound: the member is not in any more.
        NotAuthenticated: the token was revoked, or has ended.
    """
    if actor.token is not None and not AccessToken.objects.valid(clock.now()).filter(pk=actor.token.pk).exists():
        raise NotAuthenticated
    if actor.member is None:
        return actor
    present = Member.objects.filter(pk=actor.member.pk, user__is_active=True).select_related("user").first()
    if present is None:
        raise NotFound
    return replace(actor, member=present)
