"""KMS grants: which one covers a request, and who may retire it (KMS guide, "Grants in AWS KMS")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moto.kms.models import Key

from byokportal.localaws import identities
from byokportal.localaws.errors import AwsError
from byokportal.localaws.identities import Caller
from byokportal.localaws.state import State

OPERATIONS = {
    "Decrypt",
    "Encrypt",
    "GenerateDataKey",
    "GenerateDataKeyWithoutPlaintext",
    "ReEncryptFrom",
    "ReEncryptTo",
    "Sign",
    "Verify",
    "GetPublicKey",
    "CreateGrant",
    "RetireGrant",
    "DescribeKey",
    "GenerateDataKeyPair",
    "GenerateDataKeyPairWithoutPlaintext",
    "GenerateMac",
    "VerifyMac",
    "DeriveSharedSecret",
}
CONSTRAINTS = {"EncryptionContextEquals", "EncryptionContextSubset"}


def covering(key: Key, caller: Caller, operation: str, context: Mapping[str, str]) -> str:
    """Return the id of a grant on the key that allows the caller the operation; "" when there is none."""
    for grant in key.grants.values():
        if (
            is_caller(caller, grant.grantee_principal)
            and operation in grant.operations
            and _fits(grant.constraints, context)
        ):
            return str(grant.id)
    return ""


def is_caller(caller: Caller, arn: str | None) -> bool:
    """Tell whether a grant's principal is the caller, its role or its user."""
    return bool(arn) and arn in {caller.principal.arn, caller.principal.role_arn}


def _fits(constraints: Mapping[str, Any] | None, context: Mapping[str, str]) -> bool:
    if not constraints:
        return True
    exact, subset = constraints.get("EncryptionContextEquals"), constraints.get("EncryptionContextSubset")
    if exact is not None and dict(exact) != dict(context):
        return False
    return subset is None or all(context.get(name) == value for name, value in subset.items())


def check(state: State, given: Mapping[str, Any]) -> None:
    """Refuse a grant that KMS would not create.

    Raises:
        AwsError: an unknown principal, operation or constraint.
    """
    for field in ("GranteePrincipal", "RetiringPrincipal"):
        arn = given.get(field)
        if arn is None and field == "RetiringPrincipal":
            continue
        if not isinstance(arn, str) or (identities.unique_id_of(state, arn) is None and not _is_session(arn)):
            raise AwsError("InvalidArnException", f"ARN does not refer to a valid principal: {arn}")
    operations = given.get("Operations")
    if not isinstance(operations, list) or not operations or not set(map(str, operations)) <= OPERATIONS:
        raise AwsError(
            "ValidationException",
            (
                "1 validation error detected: Value at 'operations' failed to satisfy constraint: "
                "Member must satisfy enum value set"
            ),
        )
    constraints = given.get("Constraints") or {}
    if not isinstance(constraints, dict) or not set(constraints) <= CONSTRAINTS:
        raise AwsError(
            "ValidationException", "Grant constraints are EncryptionContextEquals and EncryptionContextSubset."
        )


def _is_session(arn: str) -> bool:
    return arn.startswith("arn:aws:sts::") and ":assumed-role/" in arn


def retirable(keys: list[Key], caller: Caller, given: Mapping[str, Any]) -> tuple[Key, Any]:
    """Find the grant that RetireGrant names, if the caller may retire it: as retiring principal, as grantee with the
    operation, or as the account of the key.

    Raises:
        AwsError: there is none, or it is not the caller's to retire.
    """
    token, grant_id = given.get("GrantToken"), given.get("GrantId")
    for key in keys:
        for grant in key.grants.values():
            if grant.token == token if token else grant.id == grant_id:
                mine = is_caller(caller, grant.retiring_principal) or (
                    is_caller(caller, grant.grantee_principal) and "RetireGrant" in grant.operations
                )
                if mine or (caller.account == key.account_id and caller.principal.is_root):
                    return key, grant
                raise AwsError(
                    "AccessDeniedException",
                    (
                        f"User: {caller.principal.arn} is not authorized to perform: "
                        f"kms:RetireGrant on resource: {key.arn}"
                    ),
                )
    raise AwsError("NotFoundException" if grant_id else "InvalidGrantTokenException", "The grant does not exist.")
