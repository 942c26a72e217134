"""Which ARNs a tenant may give: what `keys.arns.Rules` says for its service role and this installation."""

from __future__ import annotations

from django.conf import settings

from byokportal.translation import lazy
from keys import arns
from keys.arns import Rules
from keys.aws import regions
from tenants.models import Tenant


def rules_of(tenant: Tenant) -> Rules:
    """Return what is taken from this tenant, wherever it gives an ARN; `Rules.judge` says what is refused."""
    role = tenant.service_role
    partition = arns.partition_of(role.arn)
    closed = dict.fromkeys([settings.AWS_ACCOUNT_ID, role.account_id], lazy("Kore.ai's own account"))
    if settings.PLATFORM_KEY_ARN:
        closed[_account(settings.PLATFORM_KEY_ARN)] = lazy("Kore.ai's own account")
    canary = () if tenant.is_canary else (settings.CANARY_ACCOUNT_ID, _account(role.canary_role_arn))
    for account in canary:
        closed.setdefault(account, lazy("an account of Kore.ai's that only our own checks use"))
    return Rules(partition, closed, regions.of(partition))


def _account(arn: str) -> str:
    found = arns.parts(arn)
    return found.account if found else ""
