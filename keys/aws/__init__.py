"""The only package that speaks to AWS: plain values in and out, every fault as one of `keys.errors`."""

from __future__ import annotations

from keys.aws import sessions
from keys.aws.kms import KmsKey


def open_key(
    service_role_arn: str,
    role_arn: str,
    key_arn: str,
    external_id: str,
    *,
    tenant: str,
    purpose: str,
    keep: bool = False,
    hot: bool = False,
    also: str = "",
) -> KmsKey:
    """Return the tenant's key, reached through our service role and the tenant's role.

    Args:
        purpose: stands in the session name that the customer sees in CloudTrail: `data-keys`, `test`, `probe`.
        also: another key of the same Region that the session may use too: kms:ReEncrypt needs both.
        keep: the session is used again, see `sessions.tenant_role`; otherwise STS is asked now and nothing stays.
        hot: for unwrap and sweep: describe, decrypt and generate_wrapped only,
            through the client that all tenants share.

    Raises:
        RoleNotAssumable: STS answered AccessDenied for the tenant's role.
        OwnAccessBroken: our own side does not work.
        AwsThrottled, AwsUnreachable, AwsSurprise: it cannot be told.
    """
    credentials = sessions.tenant_role(
        service_role_arn,
        role_arn,
        external_id,
        [key_arn, also] if also else [key_arn],
        tenant=tenant,
        purpose=purpose,
        keep=keep,
    )
    client = sessions.hot_client if hot else sessions.client
    return KmsKey(key_arn, client("kms", sessions.region_of(key_arn), credentials), credentials)


def key_from_outside(service_role_arn: str, key_arn: str) -> KmsKey:
    """Return a tenant's key as our service role itself reaches it, which is not at all:
    only its key policy could let it."""
    region = sessions.region_of(key_arn)
    credentials = sessions.service_role(service_role_arn, region)
    return KmsKey(key_arn, sessions.client("kms", region, credentials), credentials)


def key_in_session(key_arn: str, credentials: sessions.Credentials) -> KmsKey:
    """Return a key through a session that the caller opened."""
    return KmsKey(key_arn, sessions.client("kms", sessions.region_of(key_arn), credentials), credentials)


def platform_key(key_arn: str) -> KmsKey:
    """Return our own CMK, for tenants without BYOK; the base principal uses it directly."""
    return KmsKey(key_arn, sessions.client("kms", sessions.region_of(key_arn)), None)
