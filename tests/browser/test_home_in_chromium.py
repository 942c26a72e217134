"""The home page and the page of the key in their states: in service with use and outages, suspended, refused, ours."""

# ruff: noqa: F401, F811  fixtures are imported by name

from __future__ import annotations

from datetime import UTC, timedelta

import pytest
from browser.test_every_page_in_chromium import Look, look
from browser.test_portal_in_chromium import chromium, page, pytestmark, said
from conftest import with_health

from byokportal import clock
from keys.models import (
    BranchKey,
    BranchKeyLoad,
    Incident,
    KeyRegistration,
    KeyUseHour,
    RegistrationMove,
    RevocationDrill,
)
from tenants.models import Member, Tenant

KEY = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ROLE = "arn:aws:iam::111122223333:role/AIforWorkByokAccessRole"
SERVICES = {"service:conversations-api": 214_600, "service:search-indexer": 61_300, "service:file-store": 38_900}


@pytest.fixture
def used(tenant: Tenant) -> KeyRegistration:
    """A key that served for 100 days, with three services and three outages."""
    now = clock.now().replace(minute=0, second=0, microsecond=0)
    registration = KeyRegistration.objects.create(
        tenant=tenant,
        key_arn=KEY,
        role_arn=ROLE,
        status="active",
        activated_at=now - timedelta(days=100),
        role_claim="111122223333/a",
    )
    with_health(registration, last_probe_at=clock.now(), next_probe_at=clock.now() + timedelta(minutes=5))
    for days, status, reason in (
        (14, "suspended", "kms_key_disabled"),
        (37, "unreachable", "aws_throttled"),
        (78, "unreachable", "own_access_broken"),
    ):
        for old, new, at in (("active", status, 0), (status, "active", 9)):
            RegistrationMove.objects.create(
                tenant=tenant,
                registration=registration,
                old_status=old,
                new_status=new,
                reason=reason,
                actor="system",
                at=now - timedelta(days=days) + timedelta(minutes=at),
            )
    KeyUseHour.objects.bulk_create(
        KeyUseHour(
            tenant=tenant,
            hour=(now - timedelta(days=back)).astimezone(UTC),
            service=service,
            operation="decrypt",
            requests=keys // 10,
            keys=keys * (3 if (now - timedelta(days=back)).weekday() > 4 else 8 + back * len(service) % 3) // 10,
        )
        for service, keys in SERVICES.items()
        for back in range(30)
    )
    key = BranchKey.objects.create(tenant=tenant, registration=registration, key_arn=KEY, wrapped=b"w")
    BranchKeyLoad.objects.bulk_create(
        BranchKeyLoad(
            tenant=tenant,
            branch_key=key,
            process=f"00000000-0000-0000-0000-{number % 4:012d}",
            region="eu-central-1",
            session_name="byok-use",
            aws_request_id="r",
            at=now - timedelta(minutes=20 * number),
        )
        for number in range(2_000)
    )
    RevocationDrill.objects.create(
        tenant=tenant,
        registration=registration,
        status="done",
        started_by="member:alice@acme.example",
        bound_seconds=300,
        started_at=now - timedelta(days=14),
        until=now,
        refused_at=now,
        stopped_at=now + timedelta(seconds=41),
        dropped=4,
        finished_at=now,
    )
    return registration


@pytest.mark.slow
def test_home_and_key_in_their_states(look: Look, tenant: Tenant, alice: Member, used: KeyRegistration) -> None:
    def both(state: str, **facts: str) -> None:
        KeyRegistration.objects.update(**facts)
        for path in (f"/tenants/{tenant.pk}/home/", f"/tenants/{tenant.pk}/key/"):
            look.page.goto(path)
            look.here(f"{path}{state}")

    both("serves")
    for path in ("", "steps/2/", "log/", "people/"):  # with names of an ordinary length
        look.at(f"/tenants/{tenant.pk}/{path}")
    both("suspended-by-you", status="suspended", suspended_by="tenant", reason="Review before the audit")
    both("refused", status="suspended", suspended_by="aws", reason="kms_key_disabled")
    Incident.objects.create(service_role=tenant.service_role, why="AWS refuses us")
    both("ours", status="unreachable", suspended_by="", reason="own_access_broken")
    both("unclear", reason="aws_unreachable")
    assert not look.found, "\n".join(look.found)
