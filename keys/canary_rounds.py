"""Let each canary go its round: a data key made and opened through our whole path, and once an hour its whole test.

It goes by the modules that serve customers (`branchkeys`, `datakeys.envelope`), with a real unwrap by the key each
time: no copy in memory hides that AWS refuses us. Nothing that is made here leaves the process.
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

import structlog
from django.conf import settings

from byokportal import clock, database
from byokportal.errors import DomainError, Kind
from keys import branchkeys, health
from keys.datakeys import envelope
from keys.models import BranchKey, Canary, EncryptionTest, KeyRegistration
from tenants.audit import SYSTEM

log = structlog.get_logger(__name__)
Status, Stage = KeyRegistration.Status, Canary.Stage

AT_ONCE = 20  # canaries a run
TESTED_EVERY = timedelta(hours=1)
ON_ITS_WAY = timedelta(seconds=15)  # between two looks at one that is not in service yet
LOST = timedelta(minutes=5)  # after which a round whose worker was lost is taken up again


def go() -> int:
    """Let the canaries that are due go their round.

    Returns:
        how many came through.
    """
    due = Canary.objects.filter(stage__in=[Stage.JOINING, Stage.SERVING], due_at__lte=clock.now())
    through = 0
    for canary in list(due.select_related("tenant__service_role").order_by("due_at")[:AT_ONCE]):
        mine = Canary.objects.filter(pk=canary.pk, due_at=canary.due_at)
        if mine.update(due_at=clock.now() + LOST):  # else another worker has it
            through += _look(canary)
    return through


def every() -> timedelta:
    """Return how long it is between two rounds: as with probes, and often enough for `STALE`."""
    return timedelta(seconds=min(settings.PROBE_SECONDS, 300.0))


def _look(canary: Canary) -> bool:
    registration = KeyRegistration.objects.of(canary.tenant).serving().select_related("tenant__service_role").first()
    why = ""
    if registration is None:
        stopped = KeyRegistration.objects.of(canary.tenant).filter(status=Status.REJECTED).first()
        why = f"the test found: {stopped.reason}" if stopped else ""
        passed = None
    else:
        passed = _round(canary, registration)
        why = passed or ""
        _test(canary, registration)
    _note(canary, is_through=passed == "", why=why, is_serving=registration is not None)
    return passed == ""


def _round(canary: Canary, registration: KeyRegistration) -> str:
    """Make a data key and open it again; returns what failed, "" when nothing did."""
    try:
        _make_and_open(canary, registration)
    except DomainError as error:
        if error.kind is Kind.KEY_REFUSED:  # whose doing that is: ours, whatever AWS says
            health.denied(registration, error)
        return f"{error.code} {error.params.get('aws_code', '')}".strip()
    except Exception as error:
        if database.is_unusable(error):
            raise
        log.exception("canary_broke", canary=str(canary))
        return "an error of ours: see the log"
    stopped = registration.status in {Status.SUSPENDED, Status.UNREACHABLE}
    return registration.reason or registration.status if stopped else ""


def _make_and_open(canary: Canary, registration: KeyRegistration) -> None:
    tenant = canary.tenant
    row = BranchKey.objects.of(tenant).filter(is_current=True, registration=registration).first()
    row = row or branchkeys.make(tenant, registration)
    key = branchkeys.kms_key(tenant, registration, row.key_arn, purpose="data-keys")
    load = branchkeys.unwrap(key, bytes(row.wrapped), tenant=tenant.pk, branch_key=row.pk)
    secret = envelope.Secret(load.plaintext)
    context = envelope.encode_context(str(tenant.pk), {"purpose": "canary", "round": secrets.token_hex(8)})
    made = envelope.generate(secret, row.pk, context)
    if envelope.unwrap(secret, context, made.wrapped) != made.plaintext:
        raise AssertionError("a data key did not open as it was made")


def _test(canary: Canary, registration: KeyRegistration) -> None:
    """Ask for the whole test once an hour, as a tenant's button does."""
    now = clock.now()
    if canary.tested_at is not None and canary.tested_at > now - TESTED_EVERY:
        return
    Canary.objects.filter(pk=canary.pk).update(tested_at=now)
    if not EncryptionTest.objects.filter(registration=registration).open().exists():
        EncryptionTest.objects.create(
            tenant=canary.tenant, registration=registration, requested_by=SYSTEM.label, due_at=now
        )


def _note(canary: Canary, *, is_through: bool, why: str, is_serving: bool) -> None:
    now = clock.now()
    failed = _failed_test(canary) if is_through else ""
    pause = every() if is_serving else min(every(), ON_ITS_WAY)
    facts: dict[str, datetime | str | None] = {"due_at": now + pause, "why": (why or failed)[:200]}
    facts["stage"] = Stage.SERVING if is_serving else Stage.JOINING
    if is_through:
        facts |= {"passed_at": now, "heard_at": now}
    if is_through and not failed:
        facts["failing_since"] = None
    Canary.objects.filter(pk=canary.pk).update(**facts)
    if (why or failed) and Canary.objects.filter(pk=canary.pk, failing_since=None).update(failing_since=now):
        log.error("canary_fails", canary=str(canary), why=why or failed)


def _failed_test(canary: Canary) -> str:
    """Return what the newest test that ended found, "" when it passed or could not tell."""
    ended = EncryptionTest.objects.of(canary.tenant).exclude(finished_at=None).order_by("-finished_at").first()
    return "its encryption test failed" if ended is not None and ended.verdict == "fail" else ""
