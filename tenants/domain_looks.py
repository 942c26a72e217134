"""Looks at the DNS record of a mail domain, and writes down what follows. The row in the database is the job.

A record that is there verifies the domain, unless another tenant has it. A record that is gone for a day, or that
nobody could look up for a week, ends what it was: the domain lapses, and comes back with the record.
"""

from __future__ import annotations

from datetime import timedelta

from django.db.models import F, Q

from byokportal import clock, resolver
from tenants import audit, transactions
from tenants.audit import SYSTEM
from tenants.models import MailDomain, Tenant

SECONDS = 5.0  # of one look
CLAIM_LASTS = timedelta(seconds=90)
A_DAY, AN_HOUR = timedelta(days=1), timedelta(hours=1)
SOON = timedelta(minutes=1)  # while a person waits for the record
SOON_LASTS = timedelta(hours=1)
GIVEN_UP = timedelta(days=30)  # nobody set the record: looked at again when somebody asks
UNKNOWN_LASTS = timedelta(days=7)
Status = MailDomain.Status


def look(pk: str) -> None:
    """Look once at a domain that is due; of two workers one does."""
    now = clock.now()
    due = MailDomain.objects.present().filter(pk=pk, next_look_at__lte=now)
    if not due.update(next_look_at=now + CLAIM_LASTS):
        return
    domain = MailDomain.objects.select_related("tenant").get(pk=pk)
    try:
        is_there: bool | None = domain.record_value in resolver.texts(domain.record_name, seconds=SECONDS)
    except resolver.NoSuchRecord:
        is_there = False
    except resolver.NoAnswer:
        is_there = None
    _note(domain, is_there)


@transactions.atomic
def _note(domain: MailDomain, is_there: bool | None) -> None:
    """Write down what a look found."""
    tenant = Tenant.objects.select_for_update(no_key=True).get(pk=domain.tenant_id)
    held = MailDomain.objects.present().filter(pk=domain.pk).first()
    if held is None:
        return
    now = clock.now()
    held.looked_at = now
    if is_there:
        _there(held, tenant)
    else:
        _not_there(held, tenant, is_known=is_there is False)
    held.save(update_fields=["status", "problem", "looked_at", "seen_at", "missing_since", "next_look_at"])


def _there(domain: MailDomain, tenant: Tenant) -> None:
    now = clock.now()
    domain.seen_at, domain.missing_since, domain.next_look_at = now, None, now + A_DAY
    if domain.status == Status.VERIFIED:
        domain.problem = ""
        return
    if MailDomain.objects.verified().filter(name=domain.name).exclude(tenant=tenant).exists():
        domain.problem = "taken"
        return
    domain.status, domain.problem = Status.VERIFIED, ""
    audit.record("tenants.domain.verified", tenant=tenant, actor=SYSTEM, target=domain, domain=domain.name)


def _not_there(domain: MailDomain, tenant: Tenant, *, is_known: bool) -> None:
    now = clock.now()
    domain.problem = "missing" if is_known else "unknown"
    if domain.status == Status.VERIFIED:
        domain.next_look_at = now + AN_HOUR
        if is_known:
            domain.missing_since = domain.missing_since or now
        is_gone = domain.missing_since is not None and is_known and now - domain.missing_since >= A_DAY
        is_unseen = domain.seen_at is None or now - domain.seen_at >= UNKNOWN_LASTS
        if is_gone or is_unseen:
            domain.status = Status.LAPSED
            audit.record("tenants.domain.lapsed", tenant=tenant, actor=SYSTEM, target=domain, domain=domain.name)
        return
    age = now - domain.created_at
    domain.next_look_at = now + (SOON if age < SOON_LASTS else AN_HOUR) if age < GIVEN_UP else None


def due() -> list[str]:
    """Return domains whose look is due, the longest waiting first."""
    rows = MailDomain.objects.present().filter(Q(next_look_at__lte=clock.now()))
    return [str(pk) for pk in rows.order_by(F("next_look_at")).values_list("pk", flat=True)[:200]]
