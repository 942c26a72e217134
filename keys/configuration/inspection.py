"""Does our policy stand in IAM as we left it? What a worker left behind that was killed is ours; all else is drift."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings

from byokportal import clock
from byokportal.errors import DomainError
from keys import errors
from keys.aws import iam
from keys.configuration import packing
from keys.models import RoleConfiguration, ServiceRolePolicy
from tenants.models import ServiceRole

Status = RoleConfiguration.Status


def document(role_arns: set[str], partition: str) -> dict[str, Any]:
    """Return the policy that names these roles, in our account."""
    return packing.document(sorted(role_arns), our_account=settings.AWS_ACCOUNT_ID, partition=partition)


def present(row: ServiceRolePolicy, there: iam.Written | None, service_role: ServiceRole, partition: str) -> set[str]:
    """Return the role ARNs that stand in our policy in IAM, if it is what we wrote.

    That is what the row says, or what a worker wrote that was killed before it could say so: then it differs
    by the one ARN of a configuration that was begun and did not come to its end.

    Raises:
        PolicyDrift: somebody else wrote it.
    """
    known = set(row.role_arns)
    if there is None:
        if row.policy_arn:
            raise drift(row, row.policy_arn, "not there")
        return set()
    found = packing.digest(there.document)
    if found == row.written_hash:
        return known
    begun = (
        RoleConfiguration.objects.filter(service_role=service_role, attempts__gt=0)
        .exclude(status__in=[Status.PROPAGATING, Status.DONE])
        .values_list("role_arn", flat=True)
        .distinct()
    )
    for some in (known, *(known ^ {arn} for arn in begun)):
        if found == packing.digest(document(some, partition)):
            return some
    raise drift(row, there.policy_arn, "another document")


def drift(row: ServiceRolePolicy, policy_arn: str, what: str) -> DomainError:
    """Return the error for a policy that is not as we left it:
    right after our own write IAM may still show the old one."""
    window = timedelta(seconds=settings.PROPAGATION_WINDOW)
    if row.written_at is not None and clock.now() - row.written_at < window:
        return errors.AwsUnreachable(retry_after=5, aws_code=what, action="iam:GetPolicyVersion")
    return errors.PolicyDrift(policy=policy_arn, found=what)
