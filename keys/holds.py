"""Holds after a restore: begin one, move it, and end those that an owner confirmed once a probe has been good."""

from __future__ import annotations

from datetime import datetime

import structlog
from django.db import Error
from django.db.models import Exists, OuterRef, Subquery

from byokportal import clock
from byokportal.errors import DomainError
from keys import errors, lifecycle
from keys.models import DatabaseAdmission, KeyHealth, KeyRegistration, RestoreHold, RestoreHoldQuerySet
from tenants import audit, transactions
from tenants.audit import SYSTEM, Actor
from tenants.models import Tenant

log = structlog.get_logger(__name__)
Status, End = RestoreHold.Status, RestoreHold.End
CHUNK = 500  # holds that one run ends


@transactions.atomic
def begin(tenant: Tenant, *, lost_from: datetime | None, reason: str, actor: Actor) -> RestoreHold | None:
    """Give an organisation no data keys until its hold is ended; None: it waits for an owner already.

    One that an owner has confirmed begins anew: they confirmed what another database knew.

    Part of an operation, which asks who may and holds the transaction.

    Args:
        lost_from: the newest that the restored database knows; None: it knows nothing of the organisation.
    """
    hold = RestoreHold.objects.of(tenant).open().first()
    if hold is None:
        hold = RestoreHold.objects.create(tenant=tenant, lost_from=lost_from)
    elif hold.status == Status.CONFIRMED:
        move(hold, Status.HELD, lost_from=lost_from, held_at=clock.now(), confirmed_by="", confirmed_at=None)
        hold.refresh_from_db()
    else:
        return None
    lifecycle.changed(tenant.pk, drop=True)
    facts = {"lost_from": minute(lost_from) if lost_from else "the beginning", "lost_to": minute(hold.held_at)}
    audit.record("keys.restore.held", tenant=tenant, actor=actor, target=hold, reason=reason, **facts)
    return hold


def minute(at: datetime) -> str:
    """Return an instant as the log and mails write it."""
    return at.strftime("%Y-%m-%d %H:%M UTC")


def move(hold: RestoreHold, to: RestoreHold.Status, **facts: object) -> None:
    """Move a hold; the UPDATE names the status that we expect, so two movers cannot both win.

    Raises:
        HoldOver: it has ended, or somebody moved it first.
    """
    was = Status(hold.status)
    if (was, to) not in RestoreHold.MOVES:
        raise errors.HoldOver
    if not RestoreHold.objects.filter(pk=hold.pk, status=was).update(status=to, **facts):
        raise errors.HoldOver


@transactions.atomic
def end(hold: RestoreHold, how: RestoreHold.End, *, by: str, reason: str, actor: Actor) -> None:
    """Let the organisation have data keys again; part of an operation.

    Raises:
        HoldOver: it has ended.
    """
    move(hold, Status.ENDED, ended_as=how, ended_by=by[:200], ended_at=clock.now())
    lifecycle.changed(hold.tenant_id)
    audit.record("keys.restore.ended", tenant=hold.tenant, actor=actor, target=hold, how=how.value, reason=reason)


def is_proven(hold: RestoreHold) -> bool:
    """Tell whether AWS still lets us use the key: a probe has been good since a person admitted the restored database.

    Where nothing serves there is nothing to ask; a key that a person suspended is asked once it is resumed.
    """
    return _proven(RestoreHold.objects.filter(pk=hold.pk)).exists()


def _proven(wanted: RestoreHoldQuerySet) -> RestoreHoldQuerySet:
    admissions = DatabaseAdmission.objects.filter(is_by_person=True, admitted_at__gt=OuterRef("held_at"))
    good = KeyHealth.objects.filter(
        registration=OuterRef("pk"),
        good_probes__gt=0,
        refused_since=None,
        last_probe_at__gt=OuterRef(OuterRef("newest_admission")),
    )
    unproven = KeyRegistration.objects.filter(tenant=OuterRef("tenant")).serving().filter(~Exists(good))
    known = wanted.annotate(newest_admission=Subquery(admissions.values("admitted_at")[:1]))
    return known.filter(~Exists(unproven), newest_admission__isnull=False)


def confirmed(hold: RestoreHold) -> str:
    """Return what the log says of the end of a confirmed hold."""
    return f"{hold.confirmed_by.partition(':')[2] or hold.confirmed_by} confirmed, and AWS answered well since"


def end_proven() -> int:
    """End the confirmed holds whose key a probe has found good since; returns how many."""
    ended = 0
    proven = _proven(RestoreHold.objects.confirmed()).select_related("tenant")
    for hold in proven.order_by("confirmed_at")[:CHUNK]:
        try:
            ended += _end_if_proven(hold)
        except (DomainError, Error) as error:  # one that cannot be ended must not keep the others
            log.warning("hold_not_ended", hold=str(hold.pk), why=type(error).__name__)
    return ended


@transactions.atomic
def _end_if_proven(hold: RestoreHold) -> bool:
    if not is_proven(hold):
        return False
    end(hold, End.OWNER, by=hold.confirmed_by, reason=confirmed(hold), actor=SYSTEM)
    return True
