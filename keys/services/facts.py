"""What a customer's own controls are made of: who we are, how we call, and ready texts that say it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from django.conf import settings

from byokportal.errors import NotFound
from byokportal.translation import lazy
from keys import errors
from keys.arns import KeyArn
from keys.aws import regions, sessions
from keys.models import KeyRegistration
from keys.policies import controls
from keys.services.documents import access_of, beside_of
from keys.services.registration import shown_registration
from tenants.models import Tenant

# Every call that carries an encryption context has the first; DescribeKey carries none (docs/wrapped-keys.md).
CONTEXT = {
    "tenant": lazy("your organisation's id here, in every call that carries a context"),
    "branch-key": lazy("the id of the key that wraps data keys, in calls for one of these"),
    "purpose": lazy("test or probe, in calls that prove that the key works"),
}


@dataclass(frozen=True, slots=True)
class Control:
    """One ready text; empty while ARNs are missing."""

    name: str
    text: str
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """What is so of our calls.

    Args:
        regions: where we call STS and KMS for this tenant: the Regions of its keys; empty while none is given.
        egress_addresses: the networks that our calls come from; empty where they are not fixed.
        session_names: purpose → the name of the session in the tenant's CloudTrail.
    """

    aws_account_id: str
    canary_account_id: str
    service_role_arn: str
    external_id: str
    session_names: Mapping[str, str]
    encryption_context: Mapping[str, str]
    actions: tuple[str, ...]
    egress_addresses: tuple[str, ...]
    regions: tuple[str, ...]
    accepted_regions: tuple[str, ...]
    controls: tuple[Control, ...]


def facts_of(tenant: Tenant) -> Facts:
    """Return the facts, and every control as far as the tenant's ARNs are known."""
    registration = shown_registration(tenant)
    access = access_of(tenant, registration)
    partition = access.service_role.partition
    with_keys = KeyRegistration.objects.of(tenant).exclude(status=KeyRegistration.Status.RETIRED)
    keys = with_keys.exclude(key_arn="").order_by("created_at").values_list("key_arn", flat=True)
    missing = tuple(name for name, arn in (("key_arn", access.key), ("role_arn", access.role)) if arn is None)
    known = None if missing else controls.Known(access, beside_of(registration), settings.EGRESS_ADDRESSES)
    return Facts(
        aws_account_id=tenant.service_role.account_id,
        canary_account_id=settings.CANARY_ACCOUNT_ID,
        service_role_arn=tenant.service_role.arn,
        external_id=tenant.external_id,
        session_names={purpose: sessions.session_name(purpose, str(tenant.pk)) for purpose in sessions.PURPOSES},
        encryption_context=CONTEXT,
        actions=access.actions,
        egress_addresses=tuple(settings.EGRESS_ADDRESSES),
        regions=tuple(dict.fromkeys(KeyArn.parse(arn).region for arn in keys)),
        accepted_regions=tuple(sorted(regions.of(partition).get(partition, ()))),
        controls=tuple(
            Control(name, make(known) if known else "", missing) for name, make in controls.CONTROLS.items()
        ),
    )


def control(tenant: Tenant, name: str) -> str:
    """Return one ready text.

    Raises:
        NotFound: there is none of that name.
        ArnsMissing: it names an ARN that the tenant has not given yet.
    """
    found = {each.name: each for each in facts_of(tenant).controls}.get(name)
    if found is None:
        raise NotFound
    if found.missing:
        raise errors.ArnsMissing(names=" and ".join(found.missing), missing=list(found.missing))
    return found.text
