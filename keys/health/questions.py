"""What a probe has to know of registrations, read for many at once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from django.conf import settings

from byokportal import clock
from keys.health.asking import Question
from keys.models import BranchKey, KeyRegistration

INSECURE = "insecure_trust"  # the reason of a registration whose role lets anybody in


def of(registrations: Sequence[KeyRegistration], *, with_trust: bool = False) -> list[Question]:
    """Return the question about each registration.

    Args:
        registrations: with their tenants and service roles loaded.
        with_trust: look at the trust policy too, where that was not done for a while or it was seen too wide.
    """
    ids = [registration.pk for registration in registrations]
    rows = BranchKey.objects.filter(registration_id__in=ids).order_by("created_at")
    newest = {of: (pk, bytes(wrapped)) for of, pk, wrapped in rows.values_list("registration_id", "pk", "wrapped")}
    return [
        Question(
            registration_id=registration.pk,
            tenant_id=registration.tenant_id,
            service_role_arn=registration.tenant.service_role.arn,
            role_arn=registration.role_arn,
            key_arn=registration.key_arn,
            external_id=registration.tenant.external_id,
            branch_key=newest.get(registration.pk),
            looks_at_trust=with_trust and not registration.is_stopped_by_a_person and _looks_at_trust(registration),
            only_describes=registration.is_stopped_by_a_person,
        )
        for registration in registrations
    ]


def _looks_at_trust(registration: KeyRegistration) -> bool:
    if registration.insecure_since is not None or registration.reason == INSECURE:
        return True
    looked = registration.trust_looked_at or registration.activated_at
    return looked is None or looked < clock.now() - timedelta(seconds=settings.TRUST_PROBE_SECONDS)
