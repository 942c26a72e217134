"""CloudTrail: what is noted of a call, for whom, and LookupEvents (CloudTrail guide, "Record contents")."""

from __future__ import annotations

import json
import uuid
from datetime import datetime
from typing import Any

from byokportal.localaws import denials, identities, moto_adapter, trail
from byokportal.localaws.errors import AwsError
from byokportal.localaws.identities import Caller
from byokportal.localaws.state import State
from byokportal.localaws.wire import Asked
from keys.policies import evaluator
from keys.policies.evaluator import Request

# What a record may repeat of a request: names and contexts, never a plaintext, a ciphertext or a secret.
KMS_FIELDS = (
    "KeyId",
    "EncryptionContext",
    "SourceEncryptionContext",
    "DestinationEncryptionContext",
    "SourceKeyId",
    "DestinationKeyId",
    "KeySpec",
    "NumberOfBytes",
    "EncryptionAlgorithm",
    "AliasName",
    "TargetKeyId",
    "GranteePrincipal",
    "Operations",
    "Constraints",
    "DryRun",
    "PendingWindowInDays",
    "PolicyName",
    "Policy",
    "BypassPolicyLockoutSafetyCheck",
    "ReplicaRegion",
)
STS_FIELDS = ("RoleArn", "RoleSessionName", "ExternalId", "DurationSeconds", "Policy", "SourceIdentity")
IAM_FIELDS = (
    "RoleName",
    "UserName",
    "PolicyName",
    "PolicyArn",
    "PolicyDocument",
    "AssumeRolePolicyDocument",
    "PermissionsBoundary",
)
UNKNOWN = ("AccessDeniedException", "AccessDenied", "NotFoundException")  # the owner of what was asked for is not told


def answer(
    state: State, caller: Caller, region: str, operation: str, given: dict[str, Any], now: datetime
) -> moto_adapter.Answer:
    """Do one call; there is LookupEvents and nothing else."""
    if operation != "LookupEvents":
        raise AwsError("UnknownOperationException", "")
    action = f"cloudtrail:{operation}"
    request = Request(action, "*", caller.principal, identities.context_of(caller, region, now), caller.account)
    evaluation = evaluator.evaluate(request, **caller.layers(state, caller.account))
    if not evaluation.allowed:
        raise denials.plain(caller, action, "*", evaluation, code="AccessDeniedException", status=400)
    return moto_adapter.json_answer(state.trail.lookup(caller.account, region, given))


def note(
    state: State,
    asked: Asked,
    caller: Caller,
    answered: moto_adapter.Answer | None,
    refused: AwsError | None,
    request_id: str,
    now: datetime,
) -> None:
    """Write a call into the trail of the caller's account, and of the account whose role or key it was about."""
    if asked.service == "cloudtrail":
        return
    resources = _resources(asked, answered)
    event = trail.event_of(
        service=asked.service,
        operation=asked.operation,
        region=asked.region,
        caller=_identity(caller),
        parameters=_parameters(asked),
        resources=resources,
        request_id=request_id,
        now=now,
        error=refused,
    )
    owners = {each["accountId"] for each in resources} & set(state.admins) - {caller.account}
    if refused is not None and refused.code in UNKNOWN:
        owners = set()
    outsider = {"type": "AWSAccount", "principalId": caller.user_id, "accountId": caller.account}
    shared = {"sharedEventID": str(uuid.uuid4())} if owners else {}
    state.trail.note({**event, **shared}, caller.account)
    for owner in owners:
        state.trail.note({**event, **shared, "userIdentity": outsider}, owner)


def _identity(caller: Caller) -> dict[str, Any]:
    who: dict[str, Any] = {
        "type": "Root" if caller.principal.is_root else "IAMUser",
        "principalId": caller.user_id,
        "arn": caller.principal.arn,
        "accountId": caller.account,
        "accessKeyId": caller.access_key_id,
    }
    if caller.session is None:
        return who if caller.principal.is_root else who | {"userName": caller.principal.arn.rpartition("/")[2]}
    role_arn = caller.principal.role_arn
    issuer = {
        "type": "Role",
        "principalId": caller.principal.unique_id,
        "arn": role_arn,
        "accountId": caller.account,
        "userName": role_arn.rpartition("/")[2],
    }
    return who | {"type": "AssumedRole", "sessionContext": {"sessionIssuer": issuer}}


def _parameters(asked: Asked) -> dict[str, Any]:
    if asked.service == "kms":
        return {name[0].lower() + name[1:]: asked.given[name] for name in KMS_FIELDS if name in asked.given}
    fields = STS_FIELDS if asked.service == "sts" else IAM_FIELDS
    return {name[0].lower() + name[1:]: asked.form[name] for name in fields if name in asked.form}


def _resources(asked: Asked, answered: moto_adapter.Answer | None) -> list[dict[str, str]]:
    if asked.service == "sts":
        arns, kind = [asked.form.get("RoleArn", "")], "AWS::IAM::Role"
    elif asked.service == "kms":
        body = (json.loads(answered.body or b"{}") or {}) if answered is not None and answered.status < 400 else {}
        named = [
            *(asked.given.get(name) for name in ("KeyId", "SourceKeyId", "DestinationKeyId")),
            body.get("KeyId"),
            body.get("SourceKeyId"),
        ]
        named.append((body.get("KeyMetadata") or {}).get("Arn"))
        arns, kind = [str(arn) for arn in named if arn], "AWS::KMS::Key"
    else:
        return []
    known = dict.fromkeys(arn for arn in arns if arn.startswith("arn:") and evaluator.account_of(arn))
    return [{"accountId": evaluator.account_of(arn), "type": kind, "ARN": arn} for arn in known]
