"""KMS grants: which one covers a request, and which may be created and retired (KMS guide, "Grants in AWS KMS")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moto.kms.models import Key

from byokportal.localaws import identities
from byokportal.localaws.errors import AwsError
from byokportal.localaws.identities import Caller
from byokportal.localaws.kms_kinds import SYMMETRIC
from byokportal.localaws.state import State
from keys.policies import evaluator

# What carries an encryption context: a constraint on it applies to nothing else (API reference, GrantConstraints).
WITH_CONTEXT = {
    "Encrypt",
    "Decrypt",
    "ReEncryptFrom",
    "ReEncryptTo",
    "GenerateDataKey",
    "GenerateDataKeyWithoutPlaintext",
    "GenerateDataKeyPair",
    "GenerateDataKeyPairWithoutPlaintext",
}
EVERY_KEY = {"CreateGrant", "RetireGrant", "DescribeKey"}
# Usage of a key → the operations of a grant for it that has a key pair, or a secret for codes (API reference,
# "Grant operations"); symmetric encryption keys have no GetPublicKey.
OF_USAGE = {
    "ENCRYPT_DECRYPT": {"Encrypt", "Decrypt", "ReEncryptFrom", "ReEncryptTo", "GetPublicKey"},
    "SIGN_VERIFY": {"Sign", "Verify", "GetPublicKey"},
    "GENERATE_VERIFY_MAC": {"GenerateMac", "VerifyMac"},
    "KEY_AGREEMENT": {"DeriveSharedSecret", "GetPublicKey"},
}


def covering(key: Key, caller: Caller, operation: str, context: Mapping[str, str]) -> str:
    """Return the id of a grant on the key that allows the caller the operation; "" when there is none."""
    for grant in key.grants.values():
        if (
            is_caller(caller, grant.grantee_principal)
            and operation in grant.operations
            and (operation not in WITH_CONTEXT or _fits(grant.constraints, context))
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


def check(state: State, key: Key, given: Mapping[str, Any]) -> None:
    """Refuse a grant that KMS would not create.

    Raises:
        AwsError: an unknown principal, or operations that the key does not take.
    """
    for field in ("GranteePrincipal", "RetiringPrincipal"):
        arn = given.get(field)
        if arn is None and field == "RetiringPrincipal":
            continue
        if arn is None or not (
            identities.unique_id_of(state, arn) or _is_session(arn) or is_account(arn, evaluator.account_of(arn))
        ):
            raise AwsError("InvalidArnException", f"ARN does not refer to a valid principal: {arn}")
    asked = set(given["Operations"])
    if asked == {"CreateGrant"}:
        raise AwsError("ValidationException", "Grants must not contain only the CreateGrant operation.")
    others = sorted(asked - EVERY_KEY - (WITH_CONTEXT if key.key_spec == SYMMETRIC else OF_USAGE[key.key_usage]))
    if others:
        words = f"The key {key.arn} of spec {key.key_spec} does not take the grant operations {', '.join(others)}."
        raise AwsError("ValidationException", words)
    if given.get("Constraints") and key.key_spec != SYMMETRIC:
        raise AwsError("ValidationException", "Grants on keys without an encryption context have no constraints.")


def same(key: Key, given: Mapping[str, Any]) -> Any:
    """Return the grant that a request with a name has made already; None when there is none: a request that comes
    again makes no second one (API reference, CreateGrant, "Name")."""
    if "Name" not in given:
        return None
    wanted = tuple(given.get(name) for name in ("Name", "GranteePrincipal", "RetiringPrincipal"))
    for grant in key.grants.values():
        has = (grant.name, grant.grantee_principal, grant.retiring_principal)
        if (
            has == wanted
            and set(grant.operations) == set(given["Operations"])
            and (grant.constraints or {}) == given.get("Constraints", {})
        ):
            return grant
    return None


def gives_on(key: Key, caller: Caller, given: Mapping[str, Any]) -> bool:
    """Tell whether a grant of the caller's with CreateGrant has all that a new grant would give: no other operation,
    and a constraint that is as strict (API reference, GrantConstraints)."""
    return any(
        is_caller(caller, grant.grantee_principal)
        and "CreateGrant" in grant.operations
        and set(given["Operations"]) <= set(grant.operations)
        and _as_strict(given.get("Constraints") or {}, grant.constraints or {})
        for grant in key.grants.values()
    )


def _as_strict(new: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    if old.get("EncryptionContextEquals") is not None:
        return bool(new.get("EncryptionContextEquals") == old["EncryptionContextEquals"])
    held = {**(new.get("EncryptionContextSubset") or {}), **(new.get("EncryptionContextEquals") or {})}
    return (old.get("EncryptionContextSubset") or {}).items() <= held.items()


def _is_session(arn: str) -> bool:
    return arn.startswith("arn:aws:sts::") and ":assumed-role/" in arn


def is_account(arn: str | None, account: str) -> bool:
    """Tell whether a grant's principal is an account, by its root."""
    return bool(account) and arn == f"arn:aws:iam::{account}:root"


def named(keys: list[Key], given: Mapping[str, Any]) -> tuple[Key, Any]:
    """Return the grant that RetireGrant names, and its key.

    Raises:
        AwsError: it names none, or there is none.
    """
    token, grant_id, key_id = given.get("GrantToken"), given.get("GrantId"), given.get("KeyId")
    if token is None and (grant_id is None or key_id is None):
        raise AwsError("ValidationException", "Grant token OR (grant ID, key ID) must be specified")
    for key in keys:
        for grant in key.grants.values():
            if grant.token == token if token else grant.id == grant_id and key_id in (key.id, key.arn):
                return key, grant
    raise AwsError("InvalidGrantTokenException" if token else "InvalidGrantIdException", "")


def retires(grant: Any, caller: Caller) -> bool:
    """Tell whether the grant itself says that the caller may retire it."""
    return is_caller(caller, grant.retiring_principal) or (
        is_caller(caller, grant.grantee_principal) and "RetireGrant" in grant.operations
    )
