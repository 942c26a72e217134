"""Which attempts to sign in count against whom, and which devices are known.

Failures are counted by account and address together, and by address. So nobody keeps another person out from elsewhere.
A device that signed in to an account within 90 days is counted by itself: not even somebody at the same address gets in
its way. A passkey holds nothing to guess, so it is not counted at all.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.core import signing
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare, salted_hmac

from byokportal import addresses, clock
from tenants import attempts
from tenants.attempts import Limit

log = structlog.get_logger(__name__)

BY_ACCOUNT_AND_ADDRESS = Limit("account-address", 5, 300)
BY_ADDRESS = Limit("address", 10, 60)
BY_DEVICE = Limit("device", 10, 300)
# Six digits can be guessed by many addresses together, so codes are counted for the account too;
# whoever gets there has its password.
CODES = Limit("codes", 30, 3600)
# Mails with a link for a new password, wherever they were asked for: nobody fills somebody's inbox.
RESETS = Limit("resets", 10, 3600)

SALT = "tenants.sign_in"
KNOWN_FOR = timedelta(days=90)
ACCOUNTS = 5  # that one device is remembered for


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt, counted as a failure until it is taken back."""

    counted: tuple[tuple[Limit, str], ...]

    def succeeded(self) -> None:
        for limit, who in self.counted:
            attempts.take_back(limit, who)


def attempt(request: HttpRequest, account: str, *, what: str = "sign-in", also: Limit | None = None) -> Attempt | None:
    """Count an attempt before it is looked at; None when there were too many.

    Args:
        account: the mail address that was given, whether there is such an account or not.
        what: what is tried; each is counted apart.
        also: a limit for the account from all addresses; a known device is not held to it.
    """
    account = account.strip().lower()
    address = addresses.group(request.META.get("REMOTE_ADDR", addresses.UNKNOWN))
    device = _device(request, account)
    if device:
        counted = [(BY_DEVICE, f"{what} {account} {device}")]
    else:
        counted = [(BY_ACCOUNT_AND_ADDRESS, f"{what} {account} {address}"), (BY_ADDRESS, f"{what} {address}")]
        counted += [(also, account)] if also else []
    for limit, who in counted:
        number = attempts.count(limit, who)
        if number == limit.count + 1:
            log.warning("too many attempts to sign in", counted_by=limit.name)
        if number > limit.count:
            return None
    return Attempt(tuple(counted))


def remember_device(request: HttpRequest, response: HttpResponse, user: AbstractBaseUser) -> None:
    """Let the browser of a person who has just signed in be known for 90 days, until the password changes."""
    others = [entry for entry in _entries(request) if entry[0] != user.pk][: ACCOUNTS - 1]
    mine = [user.pk, secrets.token_hex(8), int(clock.now().timestamp()), _stamp(user)]
    response.set_cookie(
        settings.DEVICE_COOKIE_NAME,
        signing.dumps([mine, *others], salt=SALT),
        max_age=KNOWN_FOR,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def _device(request: HttpRequest, account: str) -> str:
    """Return the id of the device if it signed in to the account and may still say so, else ""."""
    entries = {entry[0]: entry for entry in _entries(request)}
    if not entries:
        return ""
    for user in get_user_model().objects.filter(pk__in=entries, email__iexact=account, is_active=True):
        _, device, at, stamp = entries[user.pk]
        if clock.now().timestamp() - at <= KNOWN_FOR.total_seconds() and constant_time_compare(stamp, _stamp(user)):
            return str(device)
    return ""


def _entries(request: HttpRequest) -> list[list[Any]]:
    """Return what the cookie says: of each account its id, an id of the device, when, and the stamp of its password."""
    try:
        found = signing.loads(request.COOKIES.get(settings.DEVICE_COOKIE_NAME, ""), salt=SALT)
    except signing.BadSignature:
        return []
    return [entry for entry in found if isinstance(entry, list) and len(entry) == 4]


def _stamp(user: AbstractBaseUser) -> str:
    return salted_hmac(SALT, user.password).hexdigest()[:16]
