"""Entry points for the worker: what has run out is cleared away."""

from __future__ import annotations

from datetime import timedelta

from celery import shared_task
from django.db.models import Q

from byokportal import clock
from tenants import idempotency
from tenants.models import (
    ADDRESS_CHANGE_LASTS,
    AccessToken,
    AddressChange,
    ClientSecret,
    IdempotentRequest,
    SealedValues,
)

ENDED_STAY = timedelta(days=14)  # for which people see a token that ended, and when it was used last


@shared_task(queue="bulk", soft_time_limit=50, time_limit=60)
def clear_expired() -> None:
    now = clock.now()
    automation = AccessToken.objects.filter(service_account=None)
    automation.filter(Q(expires_at__lt=now - ENDED_STAY) | Q(revoked_at__lt=now - ENDED_STAY)).delete()
    AccessToken.objects.exclude(service_account=None).filter(expires_at__lt=now).delete()
    ClientSecret.objects.filter(Q(expires_at__lt=now - ENDED_STAY) | Q(revoked_at__lt=now - ENDED_STAY)).delete()
    IdempotentRequest.objects.filter(created_at__lt=now - idempotency.LASTS).delete()
    AddressChange.objects.filter(expires_at__lt=now - ADDRESS_CHANGE_LASTS).delete()
    SealedValues.objects.filter(expires_at__lt=now).delete()
