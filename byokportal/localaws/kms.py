"""KMS: each operation, by moto or by our cryptography, after `kms_call` let it through (KMS API reference)."""

from __future__ import annotations

import copy
import json
import re
from datetime import datetime
from typing import Any

from moto.kms.models import Key, kms_backends

from byokportal.localaws import denials, grants, identities, key_policies, keystates, kms_call, kms_crypto, moto_adapter
from byokportal.localaws.errors import AwsError
from byokportal.localaws.identities import Caller
from byokportal.localaws.kms_call import Call
from byokportal.localaws.state import State
from keys.policies import evaluator
from keys.policies.evaluator import Request

KEYLESS = {"CreateKey", "ListKeys", "ListAliases", "GenerateRandom", "ListRetirableGrants"}
BY_MOTO = kms_call.READS | {
    "CancelKeyDeletion",
    "CreateAlias",
    "CreateGrant",
    "CreateKey",
    "DeleteAlias",
    "DisableKey",
    "DisableKeyRotation",
    "EnableKey",
    "EnableKeyRotation",
    "PutKeyPolicy",
    "ReplicateKey",
    "RevokeGrant",
    "RotateKeyOnDemand",
    "ScheduleKeyDeletion",
    "TagResource",
    "UntagResource",
    "UpdateAlias",
    "UpdateKeyDescription",
}
ALIAS = re.compile(r"alias/[A-Za-z0-9/_-]{1,250}", re.ASCII)


def answer(
    state: State, caller: Caller, region: str, operation: str, given: dict[str, Any], now: datetime
) -> moto_adapter.Answer:
    """Do one call of the JSON protocol."""
    call = Call(state, caller, region, operation, given, now)
    if operation in kms_crypto.OPERATIONS:
        return moto_adapter.json_answer(kms_crypto.OPERATIONS[operation](call))
    if operation == "RetireGrant":
        return _retire(call)
    if operation not in BY_MOTO:
        raise AwsError("UnknownOperationException", "")
    if operation in KEYLESS and "KeyId" not in given:
        return _without_key(call)
    return _on_key(call)


def _on_key(call: Call) -> moto_adapter.Answer:
    name = call.given.get("KeyId") or call.given.get("TargetKeyId") or call.given.get("AliasName")
    key = call.begin(name)
    if call.operation in {"CreateAlias", "UpdateAlias", "DeleteAlias"}:
        _check_alias(call, key)
    if call.operation in {"GetPublicKey", "Sign", "Verify"} and key.private_key is None:
        raise _no_key_pair(call.operation, key)
    if call.operation == "PutKeyPolicy":
        key_policies.check(
            call.state, call.caller, call.region, call.given.get("Policy"), call.given, key.account_id, call.now
        )
    if call.operation == "CreateGrant":
        grants.check(call.state, call.given)
        call.end()
    if call.operation == "ReplicateKey":
        _check_replica(call, key)
    answered = call.by_moto(key.account_id, {**call.given, **({"KeyId": key.id} if "KeyId" in call.given else {})})
    if answered.status >= 400:
        return answered
    if call.operation == "DescribeKey":
        return _as_seen(call, key, answered)
    if call.operation == "ReplicateKey":
        _part(call, key)
    if call.operation == "ScheduleKeyDeletion" and _has_replicas(key):
        # its waiting period begins after the last replica
        key.key_state, key.deletion_date = (
            "PendingReplicaDeletion",
            None,
        )
    if call.operation not in kms_call.READS:
        call.state.changed()
    return answered


def _no_key_pair(operation: str, key: Key) -> AwsError:
    """Return what a key without a private half says to the operations of asymmetric keys."""
    if operation == "GetPublicKey":
        return AwsError("UnsupportedOperationException", "")
    return AwsError(
        "InvalidKeyUsageException", f"{key.arn} key usage is {key.key_usage} which is not valid for {operation}."
    )


def _as_seen(call: Call, key: Key, answered: moto_adapter.Answer) -> moto_adapter.Answer:
    """Tell the state that is seen now, which is not always the one that moto keeps."""
    body = json.loads(answered.body)
    seen = call.state_of(key)
    body["KeyMetadata"] |= {"KeyState": seen, "Enabled": seen in {"Enabled", "Updating"}}
    if seen not in keystates.DELETED:
        body["KeyMetadata"].pop("DeletionDate", None)
    return moto_adapter.json_answer(body)


def _check_alias(call: Call, key: Key) -> None:
    name = call.given.get("AliasName")
    if not isinstance(name, str) or not ALIAS.fullmatch(name):
        raise AwsError(
            "ValidationException",
            (
                'Alias must start with the prefix "alias/". '
                "Please see https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html"
            ),
        )
    if name.startswith("alias/aws/"):
        raise AwsError("NotAuthorizedException", "")
    request = Request(
        f"kms:{call.operation}",
        f"arn:aws:kms:{call.region}:{call.caller.account}:{name}",
        call.caller.principal,
        identities.context_of(call.caller, call.region, call.now),
        call.caller.account,
    )
    # An alias has no policy of its own: the account's identity policies decide.
    decision = evaluator.evaluate(request, **call.caller.layers(call.state, call.caller.account))
    if not decision.allowed:
        raise denials.kms(call.caller, f"kms:{call.operation}", request.resource, decision)


def _has_replicas(key: Key) -> bool:
    return bool(key.multi_region) and bool(key.multi_region_configuration["ReplicaKeys"]) and _is_primary(key)


def _is_primary(key: Key) -> bool:
    return bool(key.multi_region_configuration["PrimaryKey"]["Arn"] == key.arn)


def _check_replica(call: Call, key: Key) -> None:
    if not key.multi_region or not _is_primary(key):
        raise AwsError("UnsupportedOperationException", f"{key.arn} is not a multi-region primary key.")
    region = call.given.get("ReplicaRegion")
    if not isinstance(region, str) or not moto_adapter.is_region("kms", region):
        raise AwsError(
            "ValidationException",
            (
                "1 validation error detected: Value at 'replicaRegion' failed to satisfy constraint: "
                "Member must be a Region"
            ),
        )
    if kms_backends[key.account_id][region].keys.get(key.id):
        raise AwsError("AlreadyExistsException", f"{key.arn.replace(call.region, region)} already exists.")
    if call.given.get("Policy"):
        key_policies.check(
            call.state, call.caller, call.region, call.given["Policy"], call.given, key.account_id, call.now
        )


def _part(call: Call, key: Key) -> None:
    """Give a replica what is its own: moto lets it share policy, grants and aliases with the primary."""
    region = call.given["ReplicaRegion"]
    replica = kms_backends[key.account_id][region].keys[key.id]
    replica.policy = call.given.get("Policy") or replica.generate_default_policy()
    replica.grants, replica.aliases, replica.rotations, replica.key_state, replica.enabled = {}, {}, [], "Enabled", True
    replica.description = call.given.get("Description", "")
    replica.multi_region_configuration = copy.deepcopy(key.multi_region_configuration)


def _without_key(call: Call) -> moto_adapter.Answer:
    facts = identities.context_of(call.caller, call.region, call.now) | {"kms:CallerAccount": call.caller.account}
    request = Request(f"kms:{call.operation}", "*", call.caller.principal, facts, call.caller.account)
    decision = evaluator.evaluate(request, **call.caller.layers(call.state, call.caller.account))
    if not decision.allowed:
        raise denials.kms(call.caller, f"kms:{call.operation}", "*", decision)
    if call.operation != "CreateKey":
        return call.by_moto(call.caller.account, call.given)
    if call.given.get("Policy"):
        key_policies.check(
            call.state, call.caller, call.region, call.given["Policy"], call.given, call.caller.account, call.now
        )
    # moto forgets them
    defaults = {
        "KeyUsage": "ENCRYPT_DECRYPT",
        "KeySpec": call.given.get("CustomerMasterKeySpec") or "SYMMETRIC_DEFAULT",
    }
    answered = call.by_moto(call.caller.account, {**defaults, **call.given})
    if answered.status >= 400:
        return answered
    body = json.loads(answered.body)
    if call.given.get("MultiRegion"):
        body = _rename(call, body)
    if call.given.get("Origin") == "EXTERNAL":  # it has no key material yet
        key = kms_backends[call.caller.account][call.region].keys[body["KeyMetadata"]["KeyId"]]
        key.key_state, key.enabled = "PendingImport", False
        body["KeyMetadata"] |= {"KeyState": "PendingImport", "Enabled": False}
    call.state.changed()
    return moto_adapter.json_answer(body)


def _rename(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    """Give a multi-Region key an id of AWS's form: `mrk-` and 32 hexadecimal digits, where moto has dashes."""
    backend, old = kms_backends[call.caller.account][call.region], body["KeyMetadata"]["KeyId"]
    new = "mrk-" + old.removeprefix("mrk-").replace("-", "")
    key = backend.keys.pop(old)
    key.id, key.arn = new, key.arn.replace(old, new)
    key.multi_region_configuration = json.loads(json.dumps(key.multi_region_configuration).replace(old, new))
    backend.keys[new] = key
    backend.tagger.copy_tags(old, new)
    backend.tagger.delete_all_tags_for_resource(old)
    return dict(json.loads(json.dumps(body).replace(old, new)))


def _retire(call: Call) -> moto_adapter.Answer:
    every = [key for account in call.state.admins for key in kms_backends[account][call.region].keys.values()]
    key, grant = grants.retirable(every, call.caller, call.given)
    call.end()
    del key.grants[grant.id]
    call.state.changed()
    return moto_adapter.json_answer(None)
