"""What a tenant needs to prove something of its log: signed heads with its entry in them, and proofs of lines."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

from django.db.models import F

from byokportal import keyset, merkle
from byokportal.errors import NotFound
from byokportal.keyset import Page
from tenants import log_trees
from tenants.models import AuditEvent, LogHead, LogTree, Tenant, TenantHead


def signed(head: LogHead) -> dict[str, Any]:
    """Return a published head as everybody may read it."""
    public = base64.b64decode(head.public_key)
    return {
        "head": head.facts,
        "signature": head.signature,
        "public_key": head.public_key,
        "key_id": hashlib.sha256(public).hexdigest(),
        "consistency": json.loads(head.consistency),
    }


def newest() -> LogHead | None:
    """Return the newest published head."""
    return LogHead.objects.published().order_by("-number").first()


def entry_in(tenant: Tenant, number: int | None = None) -> tuple[LogHead, TenantHead]:
    """Return a published head, the newest one by default, and the tenant's log as it has it.

    Raises:
        NotFound: there is no such head, or the tenant's log stands in none so far.
    """
    found = newest() if number is None else LogHead.objects.published().filter(number=number).first()
    mine = TenantHead.objects.filter(tenant=tenant)
    entry = None if found is None else mine.filter(head__lte=found.number).order_by("-position").first()
    if found is None or entry is None:
        raise NotFound
    return found, entry


def head(tenant: Tenant, number: int | None = None) -> dict[str, Any]:
    """Return a published head, the newest one by default, with the proof that the tenant's log stands in it.

    Raises:
        NotFound: there is no such head, or the tenant's log stands in none so far.
    """
    found, entry = entry_in(tenant, number)
    over_all, size = LogTree.objects.get(name=LogTree.HEADS, closed_at=None), found.facts["size"]
    proof = merkle.inclusion(entry.position, size, log_trees.Kept(over_all))
    return {**signed(found), "entry": entry.entry, "index": entry.position, "proof": [one.hex() for one in proof]}


def heads(tenant: Tenant, cursor: str) -> Page:
    """Return a page of the tenant's own heads, newest first: each size with which its log was signed.

    Raises:
        InvalidInput: the cursor is none of ours.
    """
    mine = TenantHead.objects.filter(tenant=tenant).exclude(head__published_at=None).select_related("head")
    return keyset.page([mine], cursor)


def inclusion(tenant: Tenant, line: int) -> dict[str, Any]:
    """Return the proof that a line is in the log as it was signed last.

    Raises:
        NotFound: there is no such line, or no signed head covers it yet.
    """
    event = AuditEvent.objects.of(tenant).filter(pk=line).exclude(seal="").first()
    if event is None or event.seal_number is None:
        raise NotFound
    # After a loss that was declared, heads of the old tree may cover rows that are gone: those prove nothing any more.
    covering = TenantHead.objects.filter(tenant=tenant, first__lte=event.seal_number, size__lte=F("tree__size"))
    covering = covering.exclude(head__published_at=None)
    entry = covering.select_related("tree").order_by("-position").first()
    if entry is None or event.seal_number >= entry.first + entry.size:
        raise NotFound
    index = event.seal_number - entry.first
    proof = merkle.inclusion(index, entry.size, log_trees.Kept(entry.tree))
    return {
        "event": event.pk,
        "number": event.seal_number,
        "leaf": event.seal,
        "index": index,
        "entry": entry.entry,
        "head": entry.head_id,
        "proof": [one.hex() for one in proof],
    }
