"""What a probe has to know of registrations, read for many at once."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import timedelta

from django.conf import settings

from byokportal import clock
from keys.access import Access
from keys.errors import ArnRefused
from keys.health.asking import Question
from keys.models import BranchKey, KeyHealth, KeyRegistration

INSECURE = "insecure_trust"  # the reason of a registration whose role lets anybody in


def of(rows: Sequence[KeyHealth], *, with_trust: bool = False) -> list[Question]:
    """Return the question about each key.

    Args:
        rows: with their registrations, tenants and service roles loaded.
        with_trust: look at the trust policy too, where that was not done for a while or it was seen too wide.
    """
    ids = [row.registration_id for row in rows]
    branch_keys = BranchKey.objects.filter(registration_id__in=ids).order_by("created_at")
    newest = {
        of: (pk, bytes(wrapped)) for of, pk, wrapped in branch_keys.values_list("registration_id", "pk", "wrapped")
    }
    return [_question(row, newest.get(row.registration_id), with_trust=with_trust) for row in rows]


def _question(row: KeyHealth, branch_key: tuple[uuid.UUID, bytes] | None, *, with_trust: bool) -> Question:
    registration = row.registration
    return Question(
        registration_id=registration.pk,
        tenant_id=registration.tenant_id,
        access=_access(registration),
        branch_key=branch_key,
        looks_at_trust=with_trust and not registration.is_stopped_by_a_person and _looks_at_trust(row),
        only_describes=registration.is_stopped_by_a_person,
    )


def _access(registration: KeyRegistration) -> Access | None:
    try:
        return registration.access(registration.tenant)
    except ArnRefused:
        return None


def _looks_at_trust(health: KeyHealth) -> bool:
    if health.insecure_since is not None or health.registration.reason == INSECURE:
        return True
    looked = health.trust_looked_at or health.registration.activated_at
    return looked is None or looked < clock.now() - timedelta(seconds=settings.TRUST_PROBE_SECONDS)
