"""KMS: each operation, by moto or by our cryptography, after `kms_call` let it through (KMS API reference)."""

from __future__ import annotations

import copy
import json
import re
from datetime import datetime
from typing import Any

from moto.kms.models import Key, kms_backends

from byokportal.localaws import (
    denials,
    grants,
    identities,
    key_policies,
    keystates,
    kms_crypto,
    kms_kinds,
    kms_pairs,
    kms_settings,
    moto_adapter,
)
from byokportal.localaws.errors import AwsError
from byokportal.localaws.identities import Caller
from byokportal.localaws.kms_call import READS, Call, of_request
from byokportal.localaws.state import State
from keys.policies import evaluator
from keys.policies.evaluator import Request

KEYLESS = {"CreateKey", "ListKeys", "ListAliases", "GenerateRandom", "ListRetirableGrants"}
OURS = kms_crypto.OPERATIONS | kms_pairs.OPERATIONS
ALIAS = re.compile(r"alias/[A-Za-z0-9/_-]{1,250}", re.ASCII)


def answer(
    state: State, caller: Caller, region: str, operation: str, given: dict[str, Any], now: datetime
) -> moto_adapter.Answer:
    """Do one call of the JSON protocol."""
    call = Call(state, caller, region, operation, given, now)
    if operation in OURS:
        return moto_adapter.json_answer(OURS[operation](call))
    if operation == "RetireGrant":
        return _retire(call)
    if operation in KEYLESS and "KeyId" not in given:
        return _without_key(call)
    return _on_key(call)


def _on_key(call: Call) -> moto_adapter.Answer:
    name = next(call.given[field] for field in ("KeyId", "TargetKeyId", "AliasName") if field in call.given)
    key = call.begin(name)
    kms_settings.check(call, key)
    if call.operation in {"CreateAlias", "UpdateAlias", "DeleteAlias"}:
        _check_alias(call, key)
    if call.operation == "PutKeyPolicy":
        key_policies.check(
            call.state, call.caller, call.region, call.given.get("Policy"), call.given, key.account_id, call.now
        )
    if call.operation == "CreateGrant":
        grants.check(call.state, key, call.given)
        call.within_grant(key)
    if call.operation == "ReplicateKey":
        _check_replica(call, key)
    call.end()
    if call.operation == "CreateGrant" and (grant := grants.same(key, call.given)):
        return moto_adapter.json_answer({"GrantId": grant.id, "GrantToken": grant.token})
    if call.operation == "RevokeGrant" and call.given["GrantId"] not in key.grants:
        raise AwsError("InvalidGrantIdException", "")
    answered = call.by_moto(key.account_id, {**call.given, **({"KeyId": key.id} if "KeyId" in call.given else {})})
    if answered.status >= 400:
        return answered
    if call.operation == "DescribeKey":
        return _as_seen(call, key, answered)
    if call.operation in {"RotateKeyOnDemand", "ScheduleKeyDeletion", "CancelKeyDeletion"}:  # they tell its ARN
        answered = moto_adapter.json_answer({**json.loads(answered.body), "KeyId": key.arn})
    if call.operation == "ReplicateKey":
        _part(call, key)
    if call.operation == "ScheduleKeyDeletion" and _has_replicas(key):
        # its waiting period begins after the last replica
        key.key_state, key.deletion_date = (
            "PendingReplicaDeletion",
            None,
        )
    if call.operation not in READS:
        call.state.changed()
    return answered


def _as_seen(call: Call, key: Key, answered: moto_adapter.Answer) -> moto_adapter.Answer:
    """Tell the state that is seen now, which is not always the one that moto keeps."""
    body = json.loads(answered.body)
    seen = call.state_of(key)
    body["KeyMetadata"] = _described(key, body["KeyMetadata"])
    body["KeyMetadata"] |= {"KeyState": seen, "Enabled": seen in {"Enabled", "Updating"}}
    if seen not in keystates.DELETED:
        body["KeyMetadata"].pop("DeletionDate", None)
    return moto_adapter.json_answer(body)


def _described(key: Key, facts: dict[str, Any]) -> dict[str, Any]:
    """Return what is told of a key with the algorithms that it has, where moto knows those of some specs only."""
    kept = {name: value for name, value in facts.items() if name not in kms_kinds.FIELDS.values()}
    return kept | kms_kinds.algorithms(key)


def _check_alias(call: Call, key: Key) -> None:
    name = call.given["AliasName"]
    if not ALIAS.fullmatch(name):
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
    region = call.given["ReplicaRegion"]
    if not moto_adapter.is_region("kms", region):
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
    facts |= of_request(call.operation, call.given)
    if call.operation == "CreateKey":
        facts |= {f"kms:{name}": str(value) for name, value in kms_kinds.wanted(call.given).items()}
    request = Request(f"kms:{call.operation}", "*", call.caller.principal, facts, call.caller.account)
    decision = evaluator.evaluate(request, **call.caller.layers(call.state, call.caller.account))
    if not decision.allowed:
        raise denials.kms(call.caller, f"kms:{call.operation}", "*", decision)
    if call.operation == "GenerateRandom":
        kms_settings.random_bytes(call.given)
    if call.operation != "CreateKey":
        return call.by_moto(call.caller.account, call.given)
    spec, usage = kms_kinds.check_new(call.given)
    kms_settings.check_tags(call.given.get("Tags", []))
    if call.given.get("Policy"):
        key_policies.check(
            call.state, call.caller, call.region, call.given["Policy"], call.given, call.caller.account, call.now
        )
    answered = call.by_moto(
        call.caller.account, {**call.given, "KeySpec": kms_kinds.MOTOS.get(spec, spec), "KeyUsage": usage}
    )
    if answered.status >= 400:
        return answered
    body = json.loads(answered.body)
    if call.given.get("MultiRegion"):
        body = _rename(call, body)
    key = kms_backends[call.caller.account][call.region].keys[body["KeyMetadata"]["KeyId"]]
    if spec == kms_kinds.EDWARDS:
        kms_pairs.make_edwards(key)
        body["KeyMetadata"] |= {"KeySpec": spec, "CustomerMasterKeySpec": spec}
    body["KeyMetadata"] = _described(key, body["KeyMetadata"])
    if call.given.get("Origin") == "EXTERNAL":  # it has no key material yet
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
    key, grant = grants.named(every, call.given)
    call.may_retire(key, grant)
    call.end()
    del key.grants[grant.id]
    call.state.changed()
    return moto_adapter.json_answer(None)
