"""Entry points for the worker: mail domains and directories are looked at, the log is sealed, what has run out is
cleared away."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from allauth.usersessions.models import UserSession
from celery import shared_task
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models import Q, QuerySet

from byokportal import clock
from tenants import connection_looks, domain_looks, head_mailings, idempotency, log_trees
from tenants.log_streams import sending
from tenants.models import (
    ADDRESS_CHANGE_LASTS,
    AccessToken,
    AddressChange,
    ClientSecret,
    DirectoryToken,
    IdempotentRequest,
    SealedValues,
    SignOnAssertion,
    SignOnAttempt,
    SignOnSession,
)

EXPIRES = 60.0  # seconds after which a message that nobody took is worth nothing: beat looks again
CHUNK, CHUNKS = 1_000, 50  # rows that are cleared in one statement, and such statements an hour for each table
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


@shared_task(soft_time_limit=20, time_limit=30)
def look_at_connection(*, connection_id: str) -> None:
    connection_looks.look(connection_id)


@shared_task(queue="bulk", soft_time_limit=50, time_limit=60)
def look_at_due_connections() -> None:
    for connection_id in connection_looks.due():
        look_at_connection.apply_async(kwargs={"connection_id": connection_id}, expires=EXPIRES)


@shared_task(soft_time_limit=20, time_limit=30)
def seal_log() -> None:
    log_trees.seal()


# A queue of its own: receivers may be slow, and neither webhooks nor people wait for them.
@shared_task(queue="streams", soft_time_limit=45, time_limit=60)
def send_log_streams() -> None:
    sending.send_due()


@shared_task(queue="bulk", soft_time_limit=50, time_limit=60)
def mail_log_heads() -> None:
    head_mailings.write_due()


@shared_task(queue="bulk", soft_time_limit=50, time_limit=60)
def clear_expired() -> None:
    now, lasts = clock.now(), timedelta(seconds=settings.SESSION_COOKIE_AGE)
    automation = AccessToken.objects.filter(service_account=None)
    ended = Q(expires_at__lt=now - ENDED_STAY) | Q(revoked_at__lt=now - ENDED_STAY)
    for rows in (
        automation.filter(ended),
        AccessToken.objects.exclude(service_account=None).filter(expires_at__lt=now),
        ClientSecret.objects.filter(ended),
        DirectoryToken.objects.filter(ended),
        IdempotentRequest.objects.filter(created_at__lt=now - idempotency.LASTS),
        AddressChange.objects.filter(expires_at__lt=now - ADDRESS_CHANGE_LASTS),
        SealedValues.objects.filter(expires_at__lt=now),
        SignOnAttempt.objects.filter(expires_at__lt=now),
        SignOnAssertion.objects.filter(expires_at__lt=now),
        SignOnSession.objects.filter(created_at__lt=now - 2 * lasts),
        # Django writes this end by the web's own clock: a day is more than any of those is wrong.
        Session.objects.filter(expire_date__lt=now - timedelta(days=1)),
        UserSession.objects.filter(created_at__lt=now - 2 * lasts),
    ):
        _clear(rows)
    sending.prune()


def _clear(rows: QuerySet[Any]) -> None:
    """Delete rows in chunks, each a statement of its own: none holds many locks or runs for long.
    What is left after so many waits for the next hour."""
    for _ in range(CHUNKS):
        pks = list(rows.order_by("pk").values_list("pk", flat=True)[:CHUNK])
        if not pks:
            return
        rows.model._default_manager.filter(pk__in=pks).delete()
