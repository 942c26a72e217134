"""What a POST answers and a page after the redirect shows exactly once: a new token, a client secret.

The values are sealed by a key that only the browser has: a cookie of five minutes that no script reads. The database
keeps the ciphertext, the address of the page names the row, and neither opens anything alone. The first look of the
person who posted takes the row away in one statement; a reload, a second tab and a restored database show nothing.
"""

from __future__ import annotations

import base64
import json
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from byokportal import clock
from tenants.models import SealedValues

LASTS = timedelta(minutes=5)
AT_MOST = 20  # of one person's; the oldest make room
NAME = "shown"  # of the parameter in the address


@dataclass(frozen=True, slots=True)
class Shown:
    """What a page shows once.

    Attributes:
        values: name → value; empty when they were shown already, ran out, or belong to another browser.
    """

    values: Mapping[str, str] = field(repr=False)


def redirect(request: HttpRequest, page: str, values: Mapping[str, str]) -> HttpResponse:
    """Send the signed-in person to a page that shows the values once, by `take`.

    Args:
        page: a path of ours without a query.
    """
    assert not isinstance(request.user, AnonymousUser)
    key, number, nonce = AESGCM.generate_key(256), uuid.uuid4(), secrets.token_bytes(12)
    sealed = nonce + AESGCM(key).encrypt(nonce, json.dumps(dict(values)).encode(), _bound_to(request, page, number))
    mine = SealedValues.objects.filter(user_id=request.user.pk)
    too_many = mine.order_by("-made_at").values_list("pk", flat=True)[AT_MOST - 1 :]
    mine.filter(pk__in=list(too_many)).delete()
    SealedValues.objects.create(pk=number, user_id=request.user.pk, sealed=sealed, expires_at=clock.now() + LASTS)
    answer = HttpResponseRedirect(f"{page}?{NAME}={number}")
    answer.set_cookie(
        _cookie(number),
        base64.urlsafe_b64encode(key).decode(),
        max_age=LASTS,
        path="/",
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Strict",
    )
    answer["Cache-Control"] = "no-store"
    return answer


def take(request: HttpRequest) -> Shown | None:
    """Return what the address of this page names, and forget it; None when it names nothing.
    The caller's answer is never cached."""
    number = _uuid(request.GET.get(NAME, ""))
    if number is None or request.method != "GET" or isinstance(request.user, AnonymousUser):
        return None
    mine = SealedValues.objects.filter(pk=number, user_id=request.user.pk, expires_at__gt=clock.now())
    row = mine.first()
    values = _opened(request, row) if row is not None else None
    if values is None or not mine.delete()[0]:  # of two looks at the same moment one deletes the row
        return Shown({})
    return Shown(values)


def _opened(request: HttpRequest, row: SealedValues) -> dict[str, str] | None:
    sealed = bytes(row.sealed)
    try:
        key = base64.urlsafe_b64decode(request.COOKIES.get(_cookie(row.pk), ""))
        text = AESGCM(key).decrypt(sealed[:12], sealed[12:], _bound_to(request, request.path, row.pk))
    except (ValueError, InvalidTag):  # no cookie, or another one
        return None
    return {str(name): str(value) for name, value in json.loads(text).items()}


def _bound_to(request: HttpRequest, page: str, number: uuid.UUID) -> bytes:
    return f"{request.user.pk}\n{page}\n{number}".encode()


def _cookie(number: uuid.UUID) -> str:
    """Return a name of its own for each, so that two tabs do not take each other's; browsers bind `__Host-`
    to this host and https."""
    return f"{'__Host-' if settings.SESSION_COOKIE_SECURE else ''}shown-{number.hex}"


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
