"""Our second account's KMS: the keys of canaries are made there, by the role that may write there."""

from __future__ import annotations

from django.conf import settings

from keys import errors
from keys.aws import clients, faults, sessions


def create_key(region: str) -> str:
    """Create a symmetric key in the canary account and return its ARN; its policy is KMS's default (KMS guide,
    "Default key policy"): that account's IAM decides who uses it.

    Raises:
        DomainError: what KMS answered.
    """
    account = settings.CANARY_ACCOUNT_ID
    if settings.AWS_MODE == "real":
        client = clients.client("kms", region, sessions.service_role(settings.CANARY_WRITER_ROLE_ARN, region))
    else:
        client = clients.client("kms", region, account=account)
    try:
        answer = client.create_key(Description="Used by the canaries of bring your own key, and by nothing else")
    except faults.RAISED as error:
        raise faults.translate(error, "kms:CreateKey", denied=errors.OwnAccessBroken) from error
    return str(answer["KeyMetadata"]["Arn"])
