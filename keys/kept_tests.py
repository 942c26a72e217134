"""How long encryption tests are kept: the newest of each registration for ever, the others for TEST_RETENTION_DAYS.

Those of our own tenants run each hour and stay for CANARY_TEST_RETENTION_DAYS.
"""

from __future__ import annotations

import uuid
from datetime import timedelta

from django.conf import settings
from django.db.models import Exists, OuterRef

from byokportal import clock
from keys.models import CheckResult, EncryptionTest
from tenants import transactions
from tenants.models import Tenant

CHUNK, CHUNKS = 200, 25  # tests in one transaction, each with some 24 checks, and such transactions in a run


def clear() -> int:
    """Delete tests that are old enough, with their checks; returns how many."""
    gone = 0
    for _round in range(CHUNKS):
        gone += (some := _clear())
        if some < CHUNK:
            break
    return gone


@transactions.atomic
def _clear() -> int:
    now, finished = clock.now(), EncryptionTest.objects.exclude(finished_at=None)
    ours = Tenant.objects.filter(is_canary=True).values("pk")
    of_ours = finished.filter(tenant__in=ours, created_at__lt=now - timedelta(days=settings.CANARY_TEST_RETENTION_DAYS))
    of_theirs = finished.filter(created_at__lt=now - timedelta(days=settings.TEST_RETENTION_DAYS))
    newer = EncryptionTest.objects.filter(registration=OuterRef("registration"), created_at__gt=OuterRef("created_at"))
    pks: list[uuid.UUID] = []
    for old in (of_ours, of_theirs):
        left = CHUNK - len(pks)
        pks += old.filter(Exists(newer)).exclude(pk__in=pks).order_by("created_at").values_list("pk", flat=True)[:left]
    if pks:
        CheckResult.objects.filter(test__in=pks).delete()
        EncryptionTest.objects.filter(pk__in=pks).delete()
    return len(pks)
