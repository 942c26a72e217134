"""Why an organisation cannot be closed yet: something serves it, or is under way for it."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings

from byokportal import clock
from keys import escrow, head_signing
from keys.models import BranchKey, KeyRegistration, KeyUse, RevocationDrill
from tenants.models import Tenant

Status = KeyRegistration.Status
# What gives out keys, or is about to: a person of the organisation ends it.
OPEN = {
    Status.ACTIVE: "The key {key} serves. Its owner gives it up first, or it is suspended.",
    Status.UNREACHABLE: "The key {key} serves, though AWS does not answer. It is given up first, or suspended.",
    Status.SUBMITTED: "The registration of {key} is being set up. It is withdrawn first.",
    Status.CONFIGURING: "The registration of {key} is being set up. It is withdrawn first.",
    Status.TESTING: "The registration of {key} is being set up. It is withdrawn first.",
}


def of(tenant: Tenant) -> list[str]:
    """Return why the organisation cannot be closed now, in sentences; empty: it can.

    A key that is suspended gives out nothing: a customer who took it back in AWS can be closed, and could not move its
    branch keys to another key any more. What was given up and only backups need is no reason either: the keys go.
    """
    found = []
    if tenant.is_canary:
        found.append("It is a canary of ours.")
    for registration in KeyRegistration.objects.of(tenant).filter(status__in=OPEN).order_by("created_at"):
        found.append(OPEN[Status(registration.status)].format(key=registration.key_arn or "no CMK"))
    if RevocationDrill.objects.open().filter(tenant=tenant).exists():
        found.append("A revocation drill runs. It ends, or is ended, first.")
    since = clock.now() - timedelta(hours=settings.CLOSING_QUIET_HOURS)
    last = KeyUse.objects.filter(tenant=tenant, at__gt=since).order_by("-at").first()
    if last is not None:
        hours = f"{settings.CLOSING_QUIET_HOURS:g}"
        found.append(
            f"{last.caller} used one of its keys at {last.at:%Y-%m-%d %H:%M} UTC. "
            f"No service may have done that for {hours} hours."
        )
    has_copies = escrow.is_on() or BranchKey.objects.of(tenant).exclude(escrowed_at=None).exists()
    if has_copies and settings.ESCROW_RETENTION_DAYS is None:
        found.append("ESCROW_RETENTION_DAYS is not set, and its receipt would name until when a bucket keeps copies.")
    if not head_signing.is_there():
        found.append("No key is set that signs receipts: SEAL_KMS_KEY_ARN or SEAL_KEY.")
    return found
