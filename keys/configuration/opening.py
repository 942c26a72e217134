"""Open a service role: the role in IAM, its canary in our second account, then the row that tenants are pinned to."""

from __future__ import annotations

import re
from typing import Any

from django.conf import settings

from byokportal.errors import InvalidInput
from keys import arns
from keys.aws import iam
from keys.configuration import packing
from keys.policies import documents, principals
from tenants import audit, services
from tenants.models import ServiceRole, new_external_id

NAME = re.compile(r"byok-service-[a-z0-9-]{1,40}")


def open_service_role(name: str | None = None, *, with_canary_tenant: bool = False) -> ServiceRole:
    """Open a service role, or finish opening the one of that name; the same name twice is one role.

    Args:
        name: `byok-service-…`; default: the next free number.
        with_canary_tenant: make the tenant of our own too, whose role and key are in the canary account.

    Raises:
        InvalidInput: the name cannot be used.
        OwnAccessBroken: our principal may not do this.
    """
    name = name or _next_name()
    if not NAME.fullmatch(name):
        raise InvalidInput(
            errors={"name": ["A service role is named byok-service- and small letters, digits or hyphens."]}
        )
    known = ServiceRole.objects.filter(name=name).first()
    if known is not None:
        return _with_canary_tenant(known) if with_canary_tenant else known
    if settings.AWS_MODE == "local":
        iam.create_boundary(principals.boundary(settings.AWS_ACCOUNT_ID))
    trust = principals.trust_of_service_role(iam.base_principal())
    role = iam.create_role(name, trust, partition=_partition())
    if role.trust != trust:
        words = "IAM has a role of this name that does not trust our base principal alone. Choose another name."
        raise InvalidInput(errors={"name": [words]})
    external_id = new_external_id()
    canary_arn = (
        f"arn:{arns.partition_of(role.arn)}:iam::{settings.CANARY_ACCOUNT_ID}:role{principals.PATH}byok-canary-{name}"
    )
    iam.put_inline_policy(name, principals.PROBES, principals.probes_of_service_role(canary_arn))
    if can_open():
        _create_canary(name, canary_trust(role.arn, external_id))
    made = services.record_service_role(
        name,
        arn=role.arn,
        unique_id=role.unique_id,
        canary_role_arn=canary_arn,
        canary_external_id=external_id,
        places=packing.places(
            {},
            given=(),
            silent=0,
            each=packing.GUIDE_SHAPED,
            our_account=settings.AWS_ACCOUNT_ID,
            share=settings.SERVICE_ROLE_SHARE,
        ),
        actor=audit.COMMAND,
    )
    return _with_canary_tenant(made) if with_canary_tenant else made


def can_open() -> bool:
    """Tell whether we may make the canary too: without one a service role is opened by hand."""
    return settings.AWS_MODE == "local" or bool(settings.CANARY_WRITER_ROLE_ARN)


def _with_canary_tenant(service_role: ServiceRole) -> ServiceRole:
    services.create_canary_tenant(service_role, actor=audit.COMMAND)
    return service_role


def _create_canary(name: str, trust: dict[str, Any]) -> None:
    """Create the canary role; one that an attempt before this one left behind gets the External ID that we keep."""
    canary = f"byok-canary-{name}"
    if settings.AWS_MODE == "local":
        iam.create_boundary(principals.canary_boundary(settings.CANARY_ACCOUNT_ID), account=settings.CANARY_ACCOUNT_ID)
    made = iam.create_role(canary, trust, account=settings.CANARY_ACCOUNT_ID, partition=_partition())
    if made.trust != trust:
        iam.set_trust(canary, trust, account=settings.CANARY_ACCOUNT_ID)
    iam.put_inline_policy(canary, "byok-outsider", canary_permission(), account=settings.CANARY_ACCOUNT_ID)


def _partition() -> str:
    """Return the partition of our account: the base principal's, where it is named, else of who asks."""
    return arns.partition_of(settings.BASE_PRINCIPAL_ARN) if settings.BASE_PRINCIPAL_ARN else iam.partition()


def canary_trust(service_role_arn: str, external_id: str) -> dict[str, Any]:
    """Return the trust policy of a canary role: the form that we ask of customers."""
    return documents.trust_policy(service_role_arn, external_id)


def canary_permission() -> dict[str, Any]:
    """Return what a canary role may do: probe any role.
    It is the outsider of the encryption test, whom no tenant trusts."""
    return {
        "Version": "2012-10-17",
        "Statement": [{"Sid": "Knock", "Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}],
    }


def _next_name() -> str:
    numbers = [
        int(name.rsplit("-", 1)[1])
        for name in ServiceRole.objects.values_list("name", flat=True)
        if name.rsplit("-", 1)[1].isdigit()
    ]
    return f"byok-service-{max(numbers, default=0) + 1}"
