"""A browser shows the language of the person who has just signed in to it."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.http import HttpRequest

from byokportal import languages
from tenants import services


def bring(*, request: HttpRequest, user: AbstractBaseUser, **_: Any) -> None:
    """Let the answer to a sign-in set the cookie of the language that the person chose; without a choice it stays."""
    chosen = services.chosen_language(user.pk)
    if chosen is not None:
        languages.remember(request, chosen)
