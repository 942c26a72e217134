"""What preflight asks of AWS: who we are there, and what that principal is for.

Service roles trust the base principal alone, and the configuration worker's alone may ask IAM: each is asked what it is
for, because a refusal of the rest is as it should be.
"""

from __future__ import annotations

from collections.abc import Iterator

from django.conf import settings

from byokportal.errors import DomainError
from keys.aws import iam, sessions
from keys.configuration import quotas as known_quotas
from keys.health import blame
from keys.models import AccountQuotas
from support.preflight import findings
from support.preflight.findings import Finding, kind
from tenants.models import ServiceRole

HOME = "us-east-1"  # the STS that is asked
ROLES = 200  # service roles at most that are asked, the oldest first


def identity(part: str) -> Iterator[Finding]:
    who = sessions.identity(None, HOME)
    if who.account != settings.AWS_ACCOUNT_ID:
        text = f"We are {who.arn}, and AWS_ACCOUNT_ID is {settings.AWS_ACCOUNT_ID}."
        yield Finding(part, "fail", text, "Give this process credentials of that account, or correct the setting.")
    elif who.arn.endswith(":root"):
        yield Finding(
            part, "fail", "We are the account's root, which AWS lets assume no role.", findings.REMEDIES[part]
        )
    elif iam.is_base_principal(who.arn):
        yield Finding(part, "ok", f"We are {who.arn}.")
    else:
        text = f"We are {who.arn}, not BASE_PRINCIPAL_ARN: right for the worker of the queue configuration alone."
        yield Finding(part, "ok", text)


def service_roles(part: str) -> Iterator[Finding]:
    roles = list(ServiceRole.objects.order_by("created_at")[:ROLES])
    if not roles:
        yield Finding(part, "fail", "There is none: no tenant can be made.", "Run manage.py open_service_role.")
    elif not asks_as_base_principal():
        yield Finding(part, "ok", "The base principal becomes them: asked in the container of another worker.")
        return
    for role in roles:
        try:
            unique_id = sessions.service_role(role.arn, HOME, fresh=True).role_unique_id
        except DomainError as error:
            text = f"{role.name} does not let us in ({kind(error)})."
            yield Finding(part, "fail", text, findings.REMEDIES[part])
            continue
        yield _same(part, role, unique_id, "lets us in and")


def _same(part: str, role: ServiceRole, unique_id: str, also: str) -> Finding:
    if unique_id == role.unique_id:
        return Finding(part, "ok", f"{role.name} {also} is the role that tenants trust.")
    text = f"{role.name} was made anew: tenants trust {role.unique_id}, and it is {unique_id} now."
    return Finding(part, "fail", text, "Never recreate a service role; see docs/runbook.md for who is cut off.")


def canaries(part: str) -> Iterator[Finding]:
    if not asks_as_base_principal():
        yield Finding(part, "ok", "They are asked through the service roles, by the base principal.")
        return
    for role in ServiceRole.objects.order_by("created_at")[:ROLES]:
        if not role.canary_role_arn:
            text = f"{role.name} has none: a fault of ours would look like its tenants'."
            yield Finding(part, "warn", text, "Make its canary as manage.py open_service_role prints it.")
            continue
        outcome = blame.canary(role, HOME)
        if outcome.allowed:
            yield Finding(part, "ok", f"That of {role.name} lets us in.")
        else:
            yield Finding(
                part, "fail", f"That of {role.name} does not let us in ({outcome.aws_code}).", findings.REMEDIES[part]
            )


def configuration(part: str) -> Iterator[Finding]:
    """Ask IAM, and the writer of the canary's account, as the configuration worker does."""
    if asks_as_base_principal():
        yield Finding(part, "ok", "IAM is for the worker of the queue configuration: asked in its container.")
        return
    try:
        iam.account_summary()
        for role in ServiceRole.objects.order_by("created_at")[:ROLES]:
            yield _same(part, role, iam.role(role.name).unique_id, "is read, and")
        yield Finding(part, "ok", "IAM tells us the quotas of our account.")
    except DomainError as error:
        yield Finding(part, "fail", f"IAM does not let us read ({kind(error)}).", findings.REMEDIES[part])
    if not settings.CANARY_WRITER_ROLE_ARN:
        yield Finding(part, "ok", "Canaries are made by hand (CANARY_WRITER_ROLE_ARN is not set).")
        return
    try:
        sessions.service_role(settings.CANARY_WRITER_ROLE_ARN, HOME, fresh=True)
    except DomainError as error:
        text = f"CANARY_WRITER_ROLE_ARN does not let us in ({kind(error)}): no canary is made."
        remedy = "See that the role exists and trusts this principal: manage.py our_principals prints both."
        yield Finding(part, "fail", text, remedy)
    else:
        yield Finding(part, "ok", "CANARY_WRITER_ROLE_ARN lets us in.")


def asks_as_base_principal() -> bool:
    """Tell whether this process has the credentials that service roles trust.

    Raises:
        DomainError: AWS does not say who we are.
    """
    return iam.is_base_principal(sessions.identity(None, HOME).arn)


def quotas(part: str) -> Iterator[Finding]:
    known = AccountQuotas.objects.filter(pk=1).first()
    if known is None:
        text = "They were never read."
        yield Finding(part, "warn", text, "Start the configuration worker, which reads them each hour.")
    elif not known_quotas.more_service_roles(known):
        yield Finding(part, "fail", f"No service role fits any more ({known}).", findings.REMEDIES[part])
    else:
        yield Finding(part, "ok", f"{known}.")
