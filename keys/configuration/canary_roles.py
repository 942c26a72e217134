"""Make what a canary needs in our second account: its role, and one key for each Region (docs/deploy.md)."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

import structlog
from django.conf import settings
from django.db import IntegrityError

from byokportal import clock
from byokportal.errors import DomainError
from keys import arns
from keys.aws import canary_account, iam
from keys.configuration import opening
from keys.models import Canary, KeyHealth
from keys.policies import documents, principals
from tenants import audit, services, transactions
from tenants.models import ServiceRole

log = structlog.get_logger(__name__)

AT_ONCE = 3  # canaries that are made in one run: two writes to IAM each, and a key where the Region has none
TRIED_AGAIN = timedelta(minutes=5)
# Where a service role is asked from that has no tenant in service yet.
HOMES = {"aws": "us-east-1", "aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1"}
POLICY = "byok-canary-tenant"  # the one inline policy of a canary tenant's role


def keep() -> int:
    """Make the canaries that are missing: for each service role, one in each Region that its tenants use.

    Without rights in the second account (CANARY_WRITER_ROLE_ARN) nothing is made.

    Returns:
        how many were made.
    """
    if not opening.can_open():
        return 0
    missing = sorted(_wanted() - set(Canary.objects.values_list("service_role", "region")))
    for service_role_id, region in missing[:AT_ONCE]:
        with suppress(IntegrityError):  # another worker was first
            _begin(ServiceRole.objects.get(pk=service_role_id), region)
    unmade = Canary.objects.filter(stage=Canary.Stage.MAKING, due_at__lte=clock.now())
    return sum(_make(canary) for canary in list(unmade.select_related("tenant", "service_role")[:AT_ONCE]))


def _wanted() -> set[tuple[int, str]]:
    used = KeyHealth.objects.probed().filter(tenant__is_canary=False).order_by()
    found = set(used.values_list("tenant__service_role", "region").distinct())
    known = {service_role for service_role, _ in found}
    others = ServiceRole.objects.exclude(canary_role_arn="").exclude(pk__in=known).values_list("pk", "arn")
    return found | {(pk, HOMES.get(arns.partition_of(arn), HOMES["aws"])) for pk, arn in others}


@transactions.atomic
def _begin(service_role: ServiceRole, region: str) -> None:
    tenant = services.create_canary_tenant(service_role, region=region, actor=audit.SYSTEM)
    Canary.objects.create(tenant=tenant, service_role=service_role, region=region)


def _make(canary: Canary) -> bool:
    """Make role and key; twice is once, because both are found by what the row says."""
    mine = Canary.objects.filter(pk=canary.pk, stage=Canary.Stage.MAKING, due_at=canary.due_at)
    if not mine.update(due_at=clock.now() + TRIED_AGAIN):  # another worker is at it
        return False
    try:
        key_arn, role_arn = _made(canary)
    except DomainError as error:
        log.warning("canary_not_made", canary=str(canary), code=error.code, aws_code=error.params.get("aws_code"))
        Canary.objects.filter(pk=canary.pk).update(why=f"{error.code} {error.params.get('aws_code', '')}".strip()[:200])
        Canary.objects.filter(pk=canary.pk, failing_since=None).update(failing_since=clock.now())
        return False
    Canary.objects.filter(pk=canary.pk).update(
        stage=Canary.Stage.JOINING,
        role_arn=role_arn,
        key_arn=key_arn,
        due_at=clock.now(),
        failing_since=None,
        why="",
    )
    return True


def _made(canary: Canary) -> tuple[str, str]:
    account = settings.CANARY_ACCOUNT_ID
    partition = arns.partition_of(canary.service_role.arn)
    if settings.AWS_MODE == "local":
        iam.create_boundary(principals.canary_boundary(account), account=account)
    key_arn = canary.key_arn or _key_of(canary.region)
    Canary.objects.filter(pk=canary.pk).update(key_arn=key_arn)
    name = role_name(canary)
    trust = documents.trust_policy(canary.service_role.arn, canary.tenant.external_id)
    role = iam.create_role(name, trust, account=account, partition=partition)
    iam.put_inline_policy(name, POLICY, documents.permissions_policy(key_arn), account=account)
    return key_arn, role.arn


def _key_of(region: str) -> str:
    """Return the one key of ours in a Region; its own policy leaves everything to that account's IAM."""
    known = Canary.objects.filter(region=region).exclude(key_arn="").values_list("key_arn", flat=True).first()
    return known or canary_account.create_key(region)


def role_name(canary: Canary) -> str:
    """Return the name of its role: of 64 characters at most, and as the writer's rights have it (`byok-canary-*`)."""
    return f"byok-canary-t-{canary.tenant_id.hex[:12]}-{canary.region}"[:64]
