"""Our service roles, once they exist in AWS."""

from __future__ import annotations

from django.db import IntegrityError, transaction

from tenants import audit
from tenants.audit import Actor
from tenants.models import ServiceRole


def record_service_role(
    name: str, *, arn: str, unique_id: str, canary_role_arn: str, canary_external_id: str, actor: Actor
) -> ServiceRole:
    """Write down a service role that exists in AWS, so that tenants can be pinned to it;
    the same one twice is one row."""
    try:
        with transaction.atomic():
            service_role = ServiceRole.objects.create(
                name=name,
                arn=arn,
                unique_id=unique_id,
                canary_role_arn=canary_role_arn,
                canary_external_id=canary_external_id,
            )
            audit.record(
                "tenants.service_role.opened", tenant=None, actor=actor, target=service_role, service_role_arn=arn
            )
            return service_role
    except IntegrityError:
        return ServiceRole.objects.get(name=name, arn=arn, unique_id=unique_id)
