"""Our service roles, once they exist in AWS."""

from __future__ import annotations

from django.db import IntegrityError, transaction
from django.db.models import F

from byokportal import clock
from tenants import audit
from tenants.audit import Actor
from tenants.errors import NoOpenServiceRole
from tenants.models import ServiceRole


def record_service_role(
    name: str, *, arn: str, unique_id: str, canary_role_arn: str, canary_external_id: str, places: int, actor: Actor
) -> ServiceRole:
    """Write down a service role that exists in AWS, so that tenants can be pinned to it;
    the same one twice is one row.

    Args:
        places: how many new tenants it takes, until it is counted.
    """
    try:
        with transaction.atomic():
            service_role = ServiceRole.objects.create(
                name=name,
                arn=arn,
                unique_id=unique_id,
                canary_role_arn=canary_role_arn,
                canary_external_id=canary_external_id,
                places=places,
            )
            audit.record(
                "tenants.service_role.opened", tenant=None, actor=actor, target=service_role, service_role_arn=arn
            )
            return service_role
    except IntegrityError:
        return ServiceRole.objects.get(name=name, arn=arn, unique_id=unique_id)


def take_place() -> ServiceRole:
    """Take a place for a new tenant on the oldest service role that has one; it is part of an operation.

    The row stays locked until the operation ends, so that no count (`keys.configuration.room`) misses the tenant, and
    no two operations take the same place. The count that becomes due also opens the next service role in time.

    Raises:
        NoOpenServiceRole: none has a place.
    """
    free = ServiceRole.objects.filter(is_open=True, places__gt=0)
    for pk in list(free.order_by("created_at", "pk").values_list("pk", flat=True)):
        if free.filter(pk=pk).update(places=F("places") - 1, count_due_at=clock.now()):
            return ServiceRole.objects.get(pk=pk)
    raise NoOpenServiceRole
