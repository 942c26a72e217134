"""How many keys one of our people stops or resumes without another one, and the button of one tenant's key."""

from __future__ import annotations

from datetime import timedelta

from django.contrib.auth.models import User
from django.db.models import Q

from byokportal import clock
from keys import services as key_services
from keys.models import KeyRegistration, RegistrationMove
from support import errors
from support.models import BulkItem, BulkOperation
from tenants import roles, transactions
from tenants.audit import Actor
from tenants.models import Tenant
from tenants.services import acting_person

Kind, Status = BulkOperation.Kind, BulkOperation.Status

# Keys that a lead stops or resumes alone, in all within this time.
ALONE, WITHIN = 10, timedelta(hours=24)


@transactions.atomic
def suspend_key(tenant: Tenant, *, reason: str, actor: Actor) -> None:
    """Stop every use of one tenant's key, as one of our people who needs nobody for it.

    Raises:
        TooManySuspensions: this person has stopped so many lately that another lead has to approve the next one.
        KeyNotActive, RegistrationBusy: as `keys.services.suspend`.
    """
    roles.require(actor, "keys.suspend", tenant)
    person = acting_person(actor, "keys.suspend")
    if alone(Kind.SUSPEND, person) + 1 > ALONE:
        raise errors.TooManySuspensions(limit=ALONE)
    key_services.suspend(tenant, reason=reason, actor=actor)


def alone(kind: str, person: User) -> int:
    """Return of how many tenants a person has begun the same alone lately, by bulk or, to stop a key, by its button.

    Ten and ten are twenty: the row of the person is locked, so that what one begins twice at the same moment is counted
    one after the other. Call it in the transaction that begins the next one.
    """
    User.objects.select_for_update(no_key=True).filter(pk=person.pk).first()
    since = clock.now() - WITHIN
    mine = BulkOperation.objects.filter(requested_by=person, kind=kind)
    begun = mine.filter(created_at__gt=since, decided_by=None).exclude(status=Status.WAITING)
    # Of one that was stopped, or taken back before it began, only what was done counts.
    counts = Q(status=BulkItem.Status.DONE) | Q(status=BulkItem.Status.PENDING, operation__status=Status.QUEUED)
    count = BulkItem.objects.filter(counts, operation__in=begun).count()
    if kind != Kind.SUSPEND:
        return count
    stopped = RegistrationMove.objects.filter(
        at__gt=since, actor=Actor.staff(person).label, new_status=KeyRegistration.Status.SUSPENDED
    )
    by_bulk = BulkItem.objects.filter(operation__in=mine, status=BulkItem.Status.DONE, ended_at__gt=since)
    return count + stopped.exclude(tenant__in=by_bulk.values("tenant")).count()
