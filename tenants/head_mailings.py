"""Has the newest signed head mailed once a day to whom a tenant names: writes the line that leads to the mails."""

from __future__ import annotations

from datetime import datetime, timedelta

from byokportal import clock
from tenants import audit, log_proofs, transactions
from tenants.models import HeadMailing, HeadRecipient, TenantHead

DAY = timedelta(days=1)
CHUNK = 200  # tenants a run; the rest is due at the next one


def write_due() -> int:
    """Write the lines for which it is time; return how many. A tenant whose log stands in no head yet waits."""
    now, written = clock.now(), 0
    for pk in list(HeadMailing.objects.due(now).order_by("due_at").values_list("pk", flat=True)[:CHUNK]):
        written += transactions.run(lambda pk=pk: _write(pk, now))  # type: ignore[misc]
    return written


def _write(pk: int, now: datetime) -> bool:
    mailing = HeadMailing.objects.select_related("tenant").filter(pk=pk).first()
    if mailing is None:
        return False
    tenant, head = mailing.tenant, log_proofs.newest()
    recipients = list(HeadRecipient.objects.filter(tenant=tenant).values_list("email", flat=True))
    entry = TenantHead.objects.filter(tenant=tenant).exclude(head__published_at=None).order_by("-position").first()
    is_ready = head is not None and entry is not None
    # The compare-and-set: of two workers one mails.
    next_at = now + (DAY if is_ready else timedelta(minutes=10))
    if not HeadMailing.objects.filter(pk=pk, due_at=mailing.due_at).update(due_at=next_at):
        return False
    if head is None or entry is None or not recipients:
        return False
    audit.record(
        "keys.log_head.mailed",
        tenant=tenant,
        actor=audit.SYSTEM,
        number=head.number,
        size=entry.size,
        recipients=recipients,
    )
    return True
