"""When a session last proved who sits in front of it, and what refuses a proof that is too old."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.http import HttpRequest

from byokportal import clock
from tenants.errors import FreshSignInNeeded

KEY = "signed_in_at"  # in the session: whose proof it was, and when, on the clock that all processes share


def note(*, request: HttpRequest, user: AbstractBaseUser, **_: Any) -> None:
    """Write down that the person has just given a password or a second factor;
    allauth calls it after each such step."""
    request.session[KEY] = {"user": str(user.pk), "at": clock.now().timestamp()}


def signed_in_at(request: HttpRequest) -> datetime | None:
    """Return when the person of this session last proved who they are; None when the session does not know."""
    kept = request.session.get(KEY)
    if not request.user.is_authenticated or not isinstance(kept, dict) or kept.get("user") != str(request.user.pk):
        return None
    return datetime.fromtimestamp(kept["at"], UTC)


def is_fresh(at: datetime | None) -> bool:
    """Tell whether a proof at that time still counts."""
    return at is not None and clock.now() - at <= timedelta(seconds=settings.FRESH_SIGN_IN_SECONDS)


def require(request: HttpRequest) -> None:
    """Raise unless this session has a proof that counts.

    Raises:
        FreshSignInNeeded: it has none; on a page `tenants.middleware` leads to the sign-in and back.
    """
    require_at(signed_in_at(request))


def require_at(at: datetime | None) -> None:
    """Raise unless a proof at that time still counts.

    Raises:
        FreshSignInNeeded: it does not.
    """
    if not is_fresh(at):
        raise FreshSignInNeeded(minutes=settings.FRESH_SIGN_IN_SECONDS // 60)
