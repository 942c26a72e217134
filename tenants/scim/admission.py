"""Who asks by SCIM: the directory of the tenant in the address, by its own token, and how often.

Nothing is remembered: a token that is revoked ends with the next request.
"""

from __future__ import annotations

import uuid
from datetime import timedelta

from django.db.models import Q
from django.http import HttpRequest

from byokportal import clock
from byokportal.errors import NotAuthenticated, NotFound, RateLimited
from tenants import attempts, tokens
from tenants.attempts import Limit
from tenants.authentication import BEARER
from tenants.models import Directory, DirectoryToken

NOTED_EVERY = timedelta(minutes=1)
REQUESTS = Limit("scim", 3_000, 60)  # of one directory
WRONG = Limit("scim-wrong-token", 60, 60)  # from one address


def directory_for(request: HttpRequest, tenant: str) -> Directory:
    """Return the directory that asks, for the tenant of the address.

    Raises:
        NotAuthenticated: there is no token, or none that is valid.
        NotFound: it is another tenant's.
        RateLimited: it asks too often.
    """
    match = BEARER.fullmatch(request.META.get("HTTP_AUTHORIZATION", ""))
    now = clock.now()
    valid = DirectoryToken.objects.valid(now).select_related("directory__tenant")
    token = valid.filter(digest=tokens.digest(match[1])).first() if match else None
    if token is None:
        if attempts.count(WRONG, request.META.get("REMOTE_ADDR", "")) > WRONG.count:
            raise RateLimited(retry_after=WRONG.seconds)
        raise NotAuthenticated
    if str(token.directory.tenant_id) != _canonical(tenant):
        raise NotFound
    if attempts.count(REQUESTS, str(token.directory_id)) > REQUESTS.count:
        raise RateLimited(retry_after=REQUESTS.seconds)
    if token.last_used_at is None or token.last_used_at <= now - NOTED_EVERY:
        unnoted = Q(last_used_at=None) | Q(last_used_at__lte=now - NOTED_EVERY)
        DirectoryToken.objects.filter(unnoted, pk=token.pk).update(last_used_at=now)
    return token.directory


def _canonical(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return ""
