"""Seals the uses of keys: a line of a tenant's log holds the root of a Merkle tree over uses that are settled.

Every use would be too many lines. One line for an hour of a tenant, or for fewer uses where there are many, lets each
single use be proved to be in it, and none be taken away, changed or added. A batch, its lines and the cursor change
in one transaction; `keys.usage` says which rows are settled.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from typing import Any

from django.conf import settings

from byokportal import clock, leaves, merkle
from keys import key_uses, usage
from keys.models import KeyUse, KeyUseCursor, KeyUseRollUp
from tenants import audit, transactions
from tenants.models import Tenant

BATCH = 10_000  # uses in one transaction, and so in one line at most
SECONDS = 30.0  # of one run; what is left is for the next


def roll_up() -> int:
    """Roll up what is settled, once the oldest of it has waited for SEAL_USES_SECONDS or a batch is full.

    Returns:
        how many uses that were.
    """
    ends, rolled_up = clock.monotonic() + SECONDS, 0
    KeyUseCursor.objects.get_or_create(pk=1)
    settled = usage.settled() if _is_due() else None
    while settled is not None and clock.monotonic() < ends:
        rows = _roll_up_batch(settled)
        rolled_up += rows
        if rows < BATCH:
            break
    return rolled_up


@dataclass(frozen=True, slots=True)
class Proof:
    """That a use is in a roll-up: its facts as sealed, its place, and the way to the root in a line of the log."""

    roll_up: KeyUseRollUp
    use: dict[str, Any]
    index: int
    path: list[bytes]


def proof(tenant: Tenant, use: int) -> Proof | None:
    """Return the proof for a use by its id; None: there is no such use of this tenant, or it is not sealed yet."""
    roll_up = KeyUseRollUp.objects.filter(tenant=tenant, last__gte=use).select_related("event").order_by("last").first()
    if roll_up is None or roll_up.first > use:
        return None
    mine = KeyUse.objects.filter(tenant=tenant, pk__gte=roll_up.first, pk__lte=roll_up.last)
    facts = key_uses.facts_of(tenant, list(mine.order_by("pk")))
    index = next((place for place, one in enumerate(facts) if one["id"] == use), None)
    if index is None:
        return None
    hashes = [leaves.use_leaf(one, roll_up.salt) for one in facts]
    return Proof(roll_up, facts[index], index, merkle.inclusion(index, len(hashes), merkle.complete_in(hashes)))


def _is_due() -> bool:
    through = KeyUseCursor.objects.get(pk=1).rolled_up_through
    waiting = KeyUse.objects.filter(pk__gt=through).order_by("pk")
    oldest = waiting.values_list("at", flat=True).first()
    if oldest is None:
        return False
    waited_for = timedelta(seconds=settings.SEAL_USES_SECONDS)
    return oldest <= clock.now() - waited_for or waiting[BATCH - 1 : BATCH].exists()


@transactions.atomic
def _roll_up_batch(settled: int) -> int:
    through = KeyUseCursor.objects.select_for_update(no_key=True).get(pk=1).rolled_up_through
    uses = list(KeyUse.objects.filter(pk__gt=through, pk__lte=settled).order_by("pk")[:BATCH])
    if not uses:
        return 0
    by_tenant = groupby(sorted(uses, key=lambda use: (str(use.tenant_id), use.pk)), key=lambda use: use.tenant_id)
    for tenant, its in by_tenant:
        _write(tenant, list(its))
    KeyUseCursor.objects.filter(pk=1).update(rolled_up_through=uses[-1].pk)
    return len(uses)


def _write(tenant_id: uuid.UUID, uses: Sequence[KeyUse]) -> None:
    tenant, salt = Tenant.objects.get(pk=tenant_id), leaves.new_salt()
    root = merkle.root_of([leaves.use_leaf(one, salt) for one in key_uses.facts_of(tenant, uses)]).hex()
    event = audit.record(
        "keys.uses.rolled_up",
        tenant=tenant,
        actor=audit.SYSTEM,
        since=min(use.at for use in uses).isoformat(),
        until=max(use.at for use in uses).isoformat(),
        requests=len(uses),
        keys=sum(use.count for use in uses),
        first=uses[0].pk,
        last=uses[-1].pk,
        root=root,
        salt=salt,
    )
    KeyUseRollUp.objects.create(
        tenant=tenant, first=uses[0].pk, last=uses[-1].pk, count=len(uses), salt=salt, root=root, event=event
    )
