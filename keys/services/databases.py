"""Operations of our own database: say that it may give out keys."""

from __future__ import annotations

from datetime import timedelta

from byokportal import clock, visibility
from keys import lifecycle
from keys.datakeys import admission
from keys.models import DatabaseAdmission, RegistrationMove
from tenants import audit, roles, transactions
from tenants.audit import Actor
from tenants.models import Tenant
from tenants.services import reason_of


@transactions.atomic
def admit_database(*, reason: str, actor: Actor) -> DatabaseAdmission:
    """Say that this database may give out keys, after a restore or a promotion.

    Every tenant's generation grows to more than any that was seen before: each process drops what it holds.
    """
    roles.require(actor, "keys.admit_database")
    reason = reason_of(reason)
    Tenant.objects.update(key_changed_at=clock.stamp(), **lifecycle.stop())
    # Transactions are numbered anew by another database: cursors of services count from here.
    RegistrationMove.objects.update(transaction=visibility.CurrentTransaction())
    last, now = DatabaseAdmission.objects.first(), clock.now()
    made = DatabaseAdmission.objects.create(
        incarnation=admission.incarnation(),
        admitted_by=actor.label,
        is_by_person=True,
        reason=reason,
        # The last one counts: the clock of the machine that the database has come
        # from may have been ahead of this one's.
        admitted_at=max(now, last.admitted_at + timedelta(milliseconds=1)) if last else now,
    )
    audit.record(
        "keys.database.admitted", tenant=None, actor=actor, target=made, incarnation=made.incarnation, reason=reason
    )
    return made
