"""How people get an account: by invitation only (allauth's adapter)."""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest

from tenants import fresh


class InvitedOnlyAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth has no types
    """Nobody signs up: `tenants.services.invite` makes the account, its mail lets the person choose a password."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def is_reauthentication_required(self, *, app: str, **_: Any) -> bool:
        """Let `tenants.fresh` decide for allauth's own pages too: allauth compares the clocks of two web machines.

        Raises:
            FreshSignInNeeded: allauth would keep what was posted, in the session, to repeat it; we lead back to the page.
        """
        fresh.require(self.request)
        return False
