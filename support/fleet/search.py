"""Finds tenants by what somebody has in hand: a name, an id, an ARN, an account, a mail address, a request id.

What a text looks like decides where it is looked for, and each place is one look into an index: an id is compared as a
whole and never searched for inside a column.
"""

from __future__ import annotations

import re
import uuid
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Model, Q, QuerySet, Value
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Upper
from django.db.models.lookups import Exact

from keys.models import BranchKeyLoad, CheckResult, EncryptionTest, KeyRegistration, RoleConfiguration
from support.models import FleetRow, Ticket
from tenants.models import AuditEvent, Invitation, Member, Tenant

LONGEST = 2_048
# Tenants that one text may lead to by an id or address; a name may lead to more, page by page.
AT_MOST = 200
ACCOUNT = re.compile(r"[0-9]{12}", re.ASCII)
KEY_ID = re.compile(r"mrk-[0-9a-f]{32}", re.ASCII)
# Ours are 32 hexadecimal digits or a UUID, AWS's are a UUID or 52 capitals and digits.
BY_ID: tuple[type[Model], ...] = (KeyRegistration, EncryptionTest, RoleConfiguration, Ticket)
REQUEST_ID = re.compile(r"[0-9a-f]{32}|[A-Z0-9]{50,54}|req-[\w-]{1,60}", re.ASCII)


def clean(text: str) -> str:
    """Return what somebody typed, trimmed and bounded; what no database takes is left out."""
    kept = "".join(
        sign for sign in text[:LONGEST] if sign >= " " and sign != "\x7f" and not "\ud800" <= sign <= "\udfff"
    )
    return " ".join(kept.split())


def rows(text: str) -> QuerySet[FleetRow]:
    """Return the rows of the fleet that a text means; none for a text that means nothing."""
    text = clean(text)
    if not text:
        return FleetRow.objects.none()
    if ACCOUNT.fullmatch(text):
        return FleetRow.objects.filter(account=text) | FleetRow.objects.filter(key_account=text)
    exact = _exact(text)
    if exact is not None:
        return FleetRow.objects.filter(pk__in=exact)
    return FleetRow.objects.filter(name__icontains=text[:120])


def _exact(text: str) -> set[uuid.UUID] | None:
    """Return the tenants that an id, ARN or address leads to; None: the text is none of these."""
    if text.startswith("arn:"):
        registrations = KeyRegistration.objects
        return _tenants(registrations.filter(key_arn=text), registrations.filter(role_arn=text))
    if "@" in text and " " not in text:
        users = User.objects.annotate(address=Upper("email")).filter(address=text.upper()).values("pk")
        return _tenants(Member.everybody.filter(user__in=users), Invitation.objects.filter(email=text.lower()))
    parsed = _uuid(text)
    if parsed is not None:
        named = [model._default_manager.filter(pk=parsed) for model in BY_ID]
        by_key = FleetRow.objects.filter(key_id=str(parsed))
        tenant = Tenant.objects.filter(pk=parsed)
        return _tenants(tenant, by_key, *named, *_of_request(text), *_of_request(str(parsed)))
    if KEY_ID.fullmatch(text):
        return _tenants(FleetRow.objects.filter(key_id=text))
    if REQUEST_ID.fullmatch(text):
        return _tenants(*_of_request(text))
    return None


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text) if len(text) in {32, 36} else None
    except ValueError:
        return None


def _of_request(text: str) -> list[QuerySet[Any]]:
    """Ours stands in the log; AWS's with what a check, a configuration or an unwrap got for an answer."""
    asked = Exact(KeyTextTransform("request_id", "evidence"), Value(text))  # as its index has it
    return [
        AuditEvent.objects.filter(request_id=text).exclude(Q(request_id="") | Q(tenant=None)),
        CheckResult.objects.filter(asked),
        RoleConfiguration.objects.filter(asked),
        BranchKeyLoad.objects.filter(aws_request_id=text),
    ]


def _tenants(*found: QuerySet[Any]) -> set[uuid.UUID]:
    """Return the tenants of all these rows, by one question to the database."""
    each = [rows.order_by().values_list("pk" if rows.model is Tenant else "tenant", flat=True) for rows in found]
    return set(each[0].union(*each[1:])[:AT_MOST])
