"""One call of KMS: which key is meant, who may, and in which state it is (KMS API reference)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from moto.kms.models import RESERVED_ALIASES, Key, kms_backends

from byokportal.localaws import denials, grants, identities, key_policies, keystates, moto_adapter, visibility
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
        """See that the key takes the operation in its state."""
        keystates.check(self.operation, self.state_of(key), key.arn, origin=key.origin)

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
