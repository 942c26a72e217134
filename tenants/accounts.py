"""How people get an account: by invitation only (allauth's adapter)."""

from __future__ import annotations

from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest


class InvitedOnlyAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth has no types
    """Nobody signs up: `tenants.services.invite` makes the account, its mail lets the person choose a password."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False
