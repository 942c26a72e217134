"""Doors for the worker: what has run out is cleared away."""

from __future__ import annotations

from celery import shared_task

from byokportal import clock
from tenants import idempotency
from tenants.models import ADDRESS_CHANGE_LASTS, AccessToken, AddressChange, IdempotentRequest, SealedValues


@shared_task(queue="bulk", soft_time_limit=50, time_limit=60)
def clear_expired() -> None:
    now = clock.now()
    AccessToken.objects.filter(expires_at__lt=now).delete()
    IdempotentRequest.objects.filter(created_at__lt=now - idempotency.LASTS).delete()
    AddressChange.objects.filter(expires_at__lt=now - ADDRESS_CHANGE_LASTS).delete()
    SealedValues.objects.filter(expires_at__lt=now).delete()
