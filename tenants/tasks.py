"""Entry points for the worker: mail domains are looked at, what has run out is cleared away."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from celery import shared_task
from django.conf import settings
from django.db import transaction
from django.db.models import Q

from byokportal import clock
from tenants import domain_looks, idempotency
from tenants.models import (
    ADDRESS_CHANGE_LASTS,
    AccessToken,
    AddressChange,
    ClientSecret,
    IdempotentRequest,
    SealedValues,
    SignOnAttempt,
    SignOnSession,
)

EXPIRES = 60.0  # seconds after which a message that nobody took is worth nothing: beat looks again
ENDED_STAY = timedelta(days=14)  # for which people see a token that ended, and when it was used last


def enqueue(task: Any, **ids: str) -> None:
    """Send the message for a row as soon as it is committed; beat does where the broker does not answer."""
    transaction.on_commit(lambda: task.apply_async(kwargs=ids, expires=EXPIRES), robust=True)


@shared_task(soft_time_limit=20, time_limit=30)
def look_at_domain(*, domain_id: str) -> None:
    domain_looks.look(domain_id)


@shared_task(queue="bulk", soft_time_limit=50, time_limit=60)
def look_at_due_domains() -> None:
    for domain_id in domain_looks.due():
        look_at_domain.apply_async(kwargs={"domain_id": domain_id}, expires=EXPIRES)


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
    SignOnAttempt.objects.filter(expires_at__lt=now).delete()
    SignOnSession.objects.filter(created_at__lt=now - 2 * timedelta(seconds=settings.SESSION_COOKIE_AGE)).delete()
