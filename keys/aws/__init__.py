"""The only package that speaks to AWS: plain values in and out, every fault as one of `keys.errors`."""

from __future__ import annotations

from keys.access import Access
from keys.arns import KeyArn
from keys.aws import clients, sessions
from keys.aws.kms import KmsKey


def open_key(
    access: Access,
    *,
    purpose: str,
    keep: bool = False,
    hot: bool = False,
    also: KeyArn | None = None,
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
    _, key = access.both()
    credentials = sessions.tenant_role(access, also=also, purpose=purpose, keep=keep)
    client = clients.hot_client if hot else clients.client
    return KmsKey(str(key), client("kms", key.region, credentials), credentials)


def key_from_outside(access: Access) -> KmsKey:
    """Return a tenant's key as our service role itself reaches it, which is not at all:
    only its key policy could let it."""
    _, key = access.both()
    return key_in_session(key, sessions.service_role(str(access.service_role), key.region))


def key_in_session(key: KeyArn, credentials: clients.Credentials) -> KmsKey:
    """Return a key through a session that the caller opened."""
    return KmsKey(str(key), clients.client("kms", key.region, credentials), credentials)


def platform_key(key: KeyArn) -> KmsKey:
    """Return our own CMK, for tenants without BYOK; the base principal uses it directly."""
    return KmsKey(str(key), clients.client("kms", key.region), None)
