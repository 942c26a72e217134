"""A worker whose claim ran out while it waited for AWS: what it would write is another worker's to write."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from conftest import Customer, acting
from django.db import connection
from django.utils import timezone

from byokportal.localaws.testing import LocalAws
from keys import services
from keys.models import EncryptionTest, KeyRegistration
from tenants.models import Member, Tenant


def test_a_worker_that_lost_its_claim_writes_nothing_more(
    transactional_db: None, aws: LocalAws, tenant: Tenant, alice: Member, customer: Customer, work: Callable[[], None]
) -> None:
    customer.follow_the_guide(tenant, acting(alice))
    registration = services.submit_registration(tenant, actor=acting(alice))
    taken_over = timezone.now() + timedelta(seconds=1)
    calm = aws._server.app

    def somebody_else_takes_it(environ: dict[str, str], start_response: object) -> object:
        if environ.get("HTTP_X_AMZ_TARGET", "").endswith("DescribeKey"):
            EncryptionTest.objects.filter(finished_at=None).update(claimed_at=taken_over)
            connection.close()
        return calm(environ, start_response)

    aws._server.app = somebody_else_takes_it
    try:
        work()
    finally:
        aws._server.app = calm
    test = EncryptionTest.objects.get(registration=registration)
    assert (test.status, test.claimed_at, test.finished_at) == ("running", taken_over, None)
    verdicts = {check.code: check.verdict for check in test.checks.all()}
    assert verdicts["account.identity"] == "pass"
    assert "key.exists" not in verdicts
    registration.refresh_from_db()
    assert registration.status == KeyRegistration.Status.TESTING
