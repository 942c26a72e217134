"""What IAM lets our account have: read from GetAccountSummary and kept, so that we stay below it."""

from __future__ import annotations

from datetime import timedelta

from byokportal import clock
from keys.aws import iam
from keys.configuration import packing
from keys.models import AccountQuotas

GOOD_FOR = timedelta(hours=1)


def read(*, anew: bool = False) -> AccountQuotas:
    """Return what IAM lets the account have; IAM is asked when what is known is an hour old.

    Args:
        anew: ask in any case: a worker starts, or roles were made since.

    Raises:
        DomainError: what IAM answered.
    """
    known = AccountQuotas.objects.filter(pk=1).first()
    if known is not None and not anew and known.read_at > clock.now() - GOOD_FOR:
        return known
    summary = iam.account_summary()
    facts = {
        "policy_size": summary["PolicySizeQuota"],
        "attached": summary["AttachedPoliciesPerRoleQuota"],
        "roles": summary["Roles"],
        "roles_quota": summary["RolesQuota"],
        "policies": summary["Policies"],
        "policies_quota": summary["PoliciesQuota"],
        "read_at": clock.now(),
    }
    AccountQuotas.objects.bulk_create(
        [AccountQuotas(pk=1, **facts)], update_conflicts=True, unique_fields=["id"], update_fields=list(facts)
    )
    return AccountQuotas.objects.get(pk=1)


def limits() -> tuple[int, int]:
    """Return the characters of a policy and the policies of a role that are allowed: IAM's own numbers, less where the
    account has less."""
    known = AccountQuotas.objects.filter(pk=1).first()
    if known is None:
        return packing.LIMIT, packing.SLOTS
    return min(known.policy_size, packing.LIMIT), min(known.attached, packing.SLOTS)


def more_service_roles(known: AccountQuotas) -> int:
    """Return how many service roles the account still takes, each with its ten policies."""
    roles = known.roles_quota - known.roles
    return max(0, min(roles, (known.policies_quota - known.policies) // packing.SLOTS))
