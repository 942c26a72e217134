"""KMS: which key is meant, who may, and in which state, before moto or our cryptography answers (KMS API reference)."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from moto.kms.models import RESERVED_ALIASES, Key, kms_backends

from byokportal.localaws import (
    denials,
    grants,
    identities,
    key_policies,
    keystates,
    kms_crypto,
    moto_adapter,
    visibility,
)
from byokportal.localaws.errors import AwsError
from byokportal.localaws.faults import Call as Asking
from byokportal.localaws.identities import Caller
from byokportal.localaws.state import State
from keys.policies import evaluator
from keys.policies.evaluator import Policy, Request

READS = {
    "DescribeKey",
    "GetKeyPolicy",
    "GetKeyRotationStatus",
    "GetPublicKey",
    "ListKeyPolicies",
    "ListKeyRotations",
    "ListResourceTags",
    "ListKeys",
    "ListAliases",
    "ListGrants",
    "ListRetirableGrants",
    "GenerateRandom",
    "Sign",
    "Verify",
    "GenerateMac",
    "VerifyMac",
}
KEYLESS = {"CreateKey", "ListKeys", "ListAliases", "GenerateRandom", "ListRetirableGrants"}
BY_MOTO = READS | {
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
# What works on a key of another account (API reference, "Cross-account use");
# the rest is refused whatever the policies say.
ACROSS_ACCOUNTS = keystates.CRYPTO | {
    "DescribeKey",
    "CreateGrant",
    "ListGrants",
    "RetireGrant",
    "RevokeGrant",
    "GetKeyRotationStatus",
}
TAKES_ALIAS = keystates.CRYPTO | {"DescribeKey", "CreateAlias", "UpdateAlias", "DeleteAlias"}
KEY_ID = re.compile(r"(mrk-[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})", re.ASCII)
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


@dataclass(frozen=True, slots=True)
class Call:
    """One call with its caller, Region and parameters."""

    state: State
    caller: Caller
    region: str
    operation: str
    given: dict[str, Any]
    now: datetime

    def begin(self, name: object, action: str = "", *, context: Mapping[str, str] | None = None) -> Key:
        """Find the key, see that the caller may, and that the key takes the operation in its state.

        Args:
            action: what is asked of the policies, where that is not the operation (ReEncryptTo).
            context: the encryption context of the call.
        """
        key = self.key(name)
        self.authorise(action or self.operation, key, context=context)
        self.usable(key)
        return key

    def end(self) -> None:
        """After all that could refuse: a dry run ends here."""
        if self.given.get("DryRun"):
            words = "The request would have succeeded, but the DryRun option is set."
            raise AwsError("DryRunOperationException", words, status=412)

    def key(self, name: object) -> Key:
        """Find a key by id, ARN, alias or alias ARN.

        Raises:
            AwsError: it is in another Region, or there is none; across accounts that looks like a refusal.
        """
        account, plain = self._named(name)
        key = self._find(account, plain)
        if key is not None:
            return key
        if account != self.caller.account:
            raise denials.hidden(self.caller, f"kms:{self.operation}")
        if plain.startswith("alias/"):
            raise AwsError("NotFoundException", f"Alias arn:aws:kms:{self.region}:{account}:{plain} is not found.")
        raise AwsError("NotFoundException", f"Key 'arn:aws:kms:{self.region}:{account}:key/{plain}' does not exist")

    def _named(self, name: object) -> tuple[str, str]:
        """Return the account, and the id or alias, that a KeyId means."""
        if name is None or name == "":
            words = "Value null at 'keyId' failed to satisfy constraint: Member must not be null"
            raise AwsError("ValidationException", f"1 validation error detected: {words}")
        if not isinstance(name, str) or len(name) > 2048:
            raise AwsError("SerializationException", "")
        account, plain = self.caller.account, name
        if plain.startswith("arn:"):
            parts = plain.split(":", 5)
            if len(parts) != 6 or parts[1:3] != ["aws", "kms"]:
                raise AwsError("NotFoundException", f"Invalid arn {plain}")
            if parts[3] != self.region:
                raise AwsError("NotFoundException", f"Invalid arn {parts[3]}")
            account, plain = parts[4], parts[5].removeprefix("key/")
        if plain.startswith("alias/") and self.operation not in TAKES_ALIAS:
            raise AwsError("InvalidArnException", "Key Aliases are not supported for this operation")
        if not (KEY_ID.fullmatch(plain) or plain.startswith("alias/")):
            raise AwsError("NotFoundException", f"Invalid keyId '{plain}'")
        return account, plain

    def _find(self, account: str, plain: str) -> Key | None:
        if account not in self.state.admins:
            return None
        backend = kms_backends[account][self.region]
        if plain.startswith("alias/"):
            if plain in RESERVED_ALIASES and account == self.caller.account:
                key_policies.make_aws_managed(backend, plain)
            found = next((key for key in backend.keys.values() if plain in key.aliases), None)
        else:
            found = backend.keys.get(plain)
        seen = self.state.visibility.seen("kms", account, self.now)
        return found if found is None or seen is None or found.arn in seen else None

    def policy_of(self, key: Key) -> Policy:
        """Return the key policy, as far as it has got around."""
        seen = self.state.visibility.seen("kms", key.account_id, self.now)
        return identities.parsed(seen[key.arn][0] if seen else key.policy)

    def state_of(self, key: Key) -> str:
        """Return the state of the key as it is seen now: a rule may have its own."""
        asking = Asking("kms", self.operation, (self.caller.account, key.account_id), key.arn)
        for rule in self.state.faults.met(asking, wanted=lambda fault: fault == "key-state"):
            return str(rule.value)
        seen = self.state.visibility.seen("kms", key.account_id, self.now)
        return str(seen[key.arn][1] if seen else key.key_state)

    def authorise(
        self, action: str, key: Key, *, context: Mapping[str, str] | None = None, by_ciphertext: bool = False
    ) -> None:
        """Ask all policies and the grants on the key.

        Raises:
            AwsError: AccessDeniedException in AWS's words.
        """
        facts = self._facts(key, context or {})
        request = Request(f"kms:{action}", key.arn, self.caller.principal, facts, key.account_id)
        decision = evaluator.evaluate(
            request,
            resource=self.policy_of(key),
            granted=grants.covering(key, self.caller, action, context or {}),
            **self.caller.layers(self.state, key.account_id),
        )
        if not decision.allowed:
            raise denials.kms(self.caller, f"kms:{action}", key.arn, decision, by_ciphertext=by_ciphertext)
        if key.account_id != self.caller.account and self.operation not in ACROSS_ACCOUNTS:
            who = f"User: {self.caller.principal.arn} is not authorized to perform: kms:{action}"
            raise AwsError("AccessDeniedException", f"{who} on resource: {key.arn}")

    def _facts(self, key: Key, context: Mapping[str, str]) -> dict[str, Any]:
        """Return the context keys of a request about a key (KMS guide, "Condition keys for AWS KMS")."""
        facts: dict[str, Any] = identities.context_of(self.caller, self.region, self.now) | {
            "kms:CallerAccount": self.caller.account,
            "kms:KeySpec": key.key_spec,
            "kms:KeyUsage": key.key_usage,
            "kms:KeyOrigin": key.origin,
            "kms:MultiRegion": "true" if key.multi_region else "false",
            "kms:ResourceAliases": list(key.aliases),
            "aws:ResourceAccount": key.account_id,
        }
        if str(self.given.get("KeyId", "")).rpartition(":")[2].startswith("alias/"):
            facts["kms:RequestAlias"] = str(self.given["KeyId"]).rpartition(":")[2]
        if context:
            facts |= {f"kms:EncryptionContext:{name}": value for name, value in context.items()}
            facts["kms:EncryptionContextKeys"] = list(context)
        if self.operation == "CreateGrant":
            operations = self.given.get("Operations")
            facts["kms:GrantOperations"] = [str(each) for each in operations] if isinstance(operations, list) else []
            facts["kms:GranteePrincipal"] = str(self.given.get("GranteePrincipal", ""))
            facts["kms:GrantIsForAWSResource"] = "false"
        if self.operation == "PutKeyPolicy":
            facts["kms:BypassPolicyLockoutSafetyCheck"] = str(
                bool(self.given.get("BypassPolicyLockoutSafetyCheck"))
            ).lower()
        if self.operation == "ScheduleKeyDeletion":
            facts["kms:ScheduleKeyDeletionPendingWindowInDays"] = str(self.given.get("PendingWindowInDays", 30))
        tags = kms_backends[key.account_id][self.region].tagger.get_tag_dict_for_resource(key.id)
        return facts | {f"aws:ResourceTag/{name}": str(value) for name, value in tags.items()}

    def usable(self, key: Key) -> None:
        """See that the key takes the operation: its state first, then what kind of key it is."""
        keystates.check(self.operation, self.state_of(key), key.arn, origin=key.origin)
        if self.operation in kms_crypto.OPERATIONS:
            kms_crypto.check_kind(self.operation, key, self.given)

    def by_moto(self, account: str, given: dict[str, Any]) -> moto_adapter.Answer:
        """Let moto do it, after holding the view before a change if a rule says so."""
        target = f"TrentService.{self.operation}"
        if self.operation in READS:
            return moto_adapter.call("kms", account, self.region, json.dumps(given).encode(), target)
        asking = Asking("kms", self.operation, (self.caller.account, account), str(given.get("KeyId", "")))
        delays = self.state.faults.met(asking, wanted=lambda fault: fault == "kms-delay")
        before = (
            {key.arn: (key.policy, key.key_state) for key in kms_backends[account][self.region].keys.values()}
            if delays
            else {}
        )
        answered = moto_adapter.call("kms", account, self.region, json.dumps(given).encode(), target)
        if answered.status < 400:
            for rule in delays:
                self.state.visibility.hold("kms", account, before, visibility.until(self.now, float(rule.value)))
        return answered


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
    if call.operation not in READS:
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
