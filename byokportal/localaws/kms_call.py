"""One call of KMS: which key is meant, who may, and in which state it is (KMS API reference)."""

from __future__ import annotations

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
    kms_pages,
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
    "ListKeyPolicies",
    "ListKeyRotations",
    "ListResourceTags",
    "ListKeys",
    "ListAliases",
    "ListGrants",
    "ListRetirableGrants",
    "GenerateRandom",
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


@dataclass(frozen=True, slots=True)
class Call:
    """One call with its caller, Region and parameters."""

    state: State
    caller: Caller
    region: str
    operation: str
    given: dict[str, Any]
    now: datetime

    def begin(self, name: str, action: str = "", *, context: Mapping[str, str] | None = None) -> Key:
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
            raise AwsError("DryRunOperationException", words)

    def key(self, name: str) -> Key:
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

    def _named(self, name: str) -> tuple[str, str]:
        """Return the account, and the id or alias, that a KeyId means."""
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
        evaluation = evaluator.evaluate(
            request,
            resource=self.policy_of(key),
            granted=grants.covering(key, self.caller, action, context or {}),
            **self.caller.layers(self.state, key.account_id),
        )
        if not evaluation.allowed:
            raise denials.kms(self.caller, f"kms:{action}", key.arn, evaluation, by_ciphertext=by_ciphertext)
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
        facts |= of_request(self.operation, self.given)
        tags = kms_backends[key.account_id][self.region].tagger.get_tag_dict_for_resource(key.id)
        return facts | {f"aws:ResourceTag/{name}": str(value) for name, value in tags.items()}

    def within_grant(self, key: Key) -> None:
        """See that a caller who may create grants by a grant alone gives on no more than that grant has.

        Raises:
            AwsError: AccessDeniedException.
        """
        request = Request("kms:CreateGrant", key.arn, self.caller.principal, self._facts(key, {}), key.account_id)
        layers = self.caller.layers(self.state, key.account_id)
        evaluation = evaluator.evaluate(request, resource=self.policy_of(key), **layers)
        if not evaluation.allowed and not grants.gives_on(key, self.caller, self.given):
            raise denials.kms(self.caller, "kms:CreateGrant", key.arn, evaluation)

    def may_retire(self, key: Key, grant: Any) -> None:
        """See that the caller may retire a grant: the grant says so, or its account's identity policies do where
        the account may; an explicit deny comes before both (KMS guide, "Retiring and revoking grants").

        Raises:
            AwsError: AccessDeniedException.
        """
        request = Request("kms:RetireGrant", key.arn, self.caller.principal, self._facts(key, {}), key.account_id)
        # The permission has no effect in a key policy: the account decides, of the key or of the retiring principal.
        leaves_it = {"Effect": "Allow", "Principal": {"AWS": self.caller.account}, "Action": "*", "Resource": "*"}
        may = self.caller.account == key.account_id or grants.is_account(grant.retiring_principal, self.caller.account)
        evaluation = evaluator.evaluate(
            request,
            resource={"Version": evaluator.VARIABLES_SINCE, "Statement": [leaves_it] if may else []},
            **self.caller.layers(self.state, key.account_id),
        )
        denied = evaluation.decision is evaluator.EvalDecision.EXPLICIT_DENY
        if not evaluation.allowed and (denied or not grants.retires(grant, self.caller)):
            raise denials.kms(self.caller, "kms:RetireGrant", key.arn, evaluation)

    def usable(self, key: Key) -> None:
        """See that the key takes the operation in its state."""
        keystates.check(self.operation, self.state_of(key), key.arn, origin=key.origin)

    def by_moto(self, account: str, given: dict[str, Any]) -> moto_adapter.Answer:
        """Let moto do it, after holding the view before a change if a rule says so."""
        target = f"TrentService.{self.operation}"
        if self.operation in READS:
            kms_pages.start(self.operation, given)
            everything = {name: value for name, value in given.items() if name not in ("Limit", "Marker")}
            answered = moto_adapter.call("kms", account, self.region, json.dumps(everything).encode(), target)
            return kms_pages.cut(self.operation, given, answered)
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


# Parameter of a request → the condition key that it is (KMS guide, "Condition keys for AWS KMS").
CONDITION_KEYS = {
    "DestinationEncryptionAlgorithm": "kms:EncryptionAlgorithm",
    "EncryptionAlgorithm": "kms:EncryptionAlgorithm",
    "GranteePrincipal": "kms:GranteePrincipal",
    "KeyPairSpec": "kms:DataKeyPairSpec",
    "MacAlgorithm": "kms:MacAlgorithm",
    "MessageType": "kms:MessageType",
    "ReplicaRegion": "kms:ReplicaRegion",
    "RetiringPrincipal": "kms:RetiringPrincipal",
    "RotationPeriodInDays": "kms:RotationPeriodInDays",
    "SigningAlgorithm": "kms:SigningAlgorithm",
}


def of_request(operation: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the context keys that come from the parameters of a request."""
    facts: dict[str, Any] = {name: str(given[field]) for field, name in CONDITION_KEYS.items() if field in given}
    match operation:
        case "Encrypt" | "Decrypt" | "ReEncrypt" | "GenerateDataKey" | "GenerateDataKeyWithoutPlaintext":
            facts.setdefault("kms:EncryptionAlgorithm", "SYMMETRIC_DEFAULT")
        case "Sign" | "Verify":
            facts.setdefault("kms:MessageType", "RAW")
        case "CreateGrant":
            facts |= {"kms:GrantOperations": list(given["Operations"]), "kms:GrantIsForAWSResource": "false"}
            kinds = [kind for kind in given.get("Constraints", {}) if kind.startswith("EncryptionContext")]
            facts |= {"kms:GrantConstraintType": kinds[0]} if kinds else {}
        case "PutKeyPolicy" | "CreateKey" | "ReplicateKey":
            bypassed = bool(given.get("BypassPolicyLockoutSafetyCheck"))
            facts["kms:BypassPolicyLockoutSafetyCheck"] = str(bypassed).lower()
        case "ScheduleKeyDeletion":
            facts["kms:ScheduleKeyDeletionPendingWindowInDays"] = str(given.get("PendingWindowInDays", 30))
        case _:
            pass
    tags = given.get("Tags") or []
    if tags or given.get("TagKeys"):
        facts |= {f"aws:RequestTag/{tag['TagKey']}": tag["TagValue"] for tag in tags}
        facts["aws:TagKeys"] = [tag["TagKey"] for tag in tags] or list(given["TagKeys"])
    return facts
