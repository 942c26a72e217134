"""Do our policies in IAM let us ask for a tenant's role?
They are read back before a refusal counts as the tenant's (design.md 8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from byokportal import clock
from byokportal.errors import DomainError
from keys.aws import iam
from keys.models import ServiceRolePolicy
from keys.policies import evaluator
from tenants.models import ServiceRole

log = structlog.get_logger(__name__)

BUDGET = 5.0  # seconds in which IAM is asked: others wait for their judgement meanwhile
WILLING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}]}


def lost(named: Mapping[ServiceRole, Sequence[str]]) -> dict[str, str]:
    """Return which role ARNs our policies in IAM do not let us ask for, and why;
    IAM is read, so only the worker may call it.

    A policy that somebody changed counts for those alone whom the change shuts out. What IAM does not tell,
    in time or at all, counts as right: a tenant that says no is heard also while IAM is silent.

    Args:
        named: service role → role ARNs of its tenants.
    """
    until = clock.monotonic() + BUDGET
    found: dict[str, str] = {}
    try:
        for service_role, role_arns in named.items():
            attached = iam.attached(service_role.name)
            for row in ServiceRolePolicy.objects.filter(service_role=service_role):
                of_row = [role_arn for role_arn in role_arns if role_arn in row.role_arns]
                if of_row and clock.monotonic() < until:
                    found |= _lost_by(row, service_role, of_row, is_attached=row.policy_arn in attached)
    except DomainError as error:
        log.info("policies_not_read_back", code=error.code, aws_code=error.params.get("aws_code"))
    return found


def _lost_by(
    row: ServiceRolePolicy, service_role: ServiceRole, role_arns: Sequence[str], *, is_attached: bool
) -> dict[str, str]:
    written = iam.read_policy(row.policy_arn) if is_attached else None
    if written is None:
        return dict.fromkeys(role_arns, f"{row.policy_arn} is not attached")
    shut_out = [role_arn for role_arn in role_arns if not _allows(written.document, service_role, role_arn)]
    return {role_arn: f"{row.policy_arn} shuts out {role_arn}" for role_arn in shut_out}


def _allows(document: dict[str, Any], service_role: ServiceRole, role_arn: str) -> bool:
    """Tell whether the document lets the service role assume the role, if that one is willing."""
    who = evaluator.Principal(service_role.arn, service_role.account_id, role_arn=service_role.arn)
    request = evaluator.Request("sts:AssumeRole", role_arn, who, {})
    return evaluator.evaluate(request, identity=[document], resource=WILLING).allowed
