"""KMS: key policy and state before each operation, and cryptography with an exact encryption context (KMS API reference)."""

from __future__ import annotations

import base64
import binascii
import json
import secrets
import struct
from datetime import datetime
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from moto.kms.models import Key, kms_backends

from byokportal.localaws import denials, identities, moto_door, sts
from byokportal.localaws.errors import AwsError
from byokportal.localaws.identities import Caller
from byokportal.localaws.state import State
from keys.policies import evaluator
from keys.policies.evaluator import Request

CRYPTO = {"Encrypt", "Decrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "ReEncrypt"}
READS = {
    "DescribeKey",
    "GetKeyPolicy",
    "GetKeyRotationStatus",
    "ListKeyPolicies",
    "ListResourceTags",
    "ListKeys",
    "ListAliases",
    "ListGrants",
}
# Operations that a disabled key still takes (KMS guide, "Key states of KMS keys"); deletion takes fewer.
WHILE_DISABLED = READS | {
    "EnableKey", "DisableKey", "ScheduleKeyDeletion", "PutKeyPolicy", "TagResource", "UntagResource", "UpdateKeyDescription", "CreateAlias",
    "UpdateAlias", "DeleteAlias", "RevokeGrant", "RetireGrant", "CancelKeyDeletion",
}  # fmt: skip
WHILE_DELETED = READS | {
    "CancelKeyDeletion",
    "PutKeyPolicy",
    "DeleteAlias",
    "RevokeGrant",
    "RetireGrant",
    "UntagResource",
}
BLOB = struct.Struct(">5sH")
MAGIC = b"LAWS1"


def answer(state: State, caller: Caller, region: str, target: str, body: bytes, now: datetime) -> moto_door.Answer:
    """Do one call."""
    operation = target.partition(".")[2]
    try:
        given = json.loads(body or b"{}")
    except ValueError:
        raise AwsError("SerializationException", "") from None
    return _Call(state, caller, region, operation, given, body, target, now).run()


class _Call:
    """One call with its caller, Region and parameters."""

    def __init__(
        self,
        state: State,
        caller: Caller,
        region: str,
        operation: str,
        given: dict[str, Any],
        body: bytes,
        target: str,
        now: datetime,
    ) -> None:
        self.state, self.caller, self.region, self.operation = state, caller, region, operation
        self.given, self.body, self.target, self.now = given, body, target, now

    def run(self) -> moto_door.Answer:
        if self.operation in CRYPTO:
            return _json(getattr(self, f"_{_snake(self.operation)}")())
        if self.operation in {"CreateKey", "ListKeys", "ListAliases"}:
            return self._without_key()
        key = self._key(self.given.get("KeyId") or self.given.get("TargetKeyId") or self._of_alias())
        self._authorise(self.operation, key)
        self._usable(self.operation, key)
        if self.operation == "PutKeyPolicy":
            self._refuse_key_policy(self.given.get("Policy", ""), key.account_id)
        return self._by_moto(key.account_id, {**self.given, **({"KeyId": key.id} if "KeyId" in self.given else {})})

    def _without_key(self) -> moto_door.Answer:
        decision = evaluator.evaluate(
            Request(f"kms:{self.operation}", "*", self.caller.principal, sts.caller_context(self.caller, self.now)),
            **self._speaking(),
        )
        if not decision.allowed:
            raise denials.kms(self.caller, f"kms:{self.operation}", "*", decision)
        if self.operation == "CreateKey" and self.given.get("Policy"):
            self._refuse_key_policy(self.given["Policy"], self.caller.account)
        defaults = (
            {"KeyUsage": "ENCRYPT_DECRYPT", "KeySpec": "SYMMETRIC_DEFAULT"} if self.operation == "CreateKey" else {}
        )  # moto forgets them
        return self._by_moto(self.caller.account, {**defaults, **self.given})

    def _by_moto(self, account: str, given: dict[str, Any]) -> moto_door.Answer:
        answered = moto_door.call("kms", account, self.region, json.dumps(given).encode(), self.target)
        if answered.status < 400 and self.operation not in READS:
            self.state.changed()
        return answered

    # --- which key, who may, in which state ----------------------------------------------------------------

    def _of_alias(self) -> str:
        return str(self.given.get("AliasName", ""))

    def _key(self, name: str) -> Key:
        """Find a key by id, ARN, alias or alias ARN.

        Raises:
            AwsError: it is in another Region, or there is none; across accounts that looks like a refusal.
        """
        account, plain = self.caller.account, str(name)
        if plain.startswith("arn:"):
            parts = plain.split(":", 5)
            if len(parts) != 6 or parts[2] != "kms":
                raise AwsError("NotFoundException", f"Invalid arn {plain}")
            if parts[3] != self.region:
                raise AwsError("NotFoundException", f"Invalid arn {parts[3]}")
            account, plain = parts[4], parts[5].removeprefix("key/")
        key = self._find(account, plain)
        if key is None:
            if account != self.caller.account:
                hidden = evaluator.Decision(evaluator.Verdict.IMPLICIT_DENY, evaluator.RESOURCE, "", "")
                raise denials.kms(self.caller, f"kms:{self.operation}", str(name), hidden)
            kind = "Alias" if plain.startswith("alias/") else "Key"
            path = plain if plain.startswith("alias/") else f"key/{plain}"
            words = "is not found." if kind == "Alias" else "does not exist"
            arn = f"arn:aws:kms:{self.region}:{account}:{path}"
            raise AwsError("NotFoundException", f"{kind} {arn} {words}" if kind == "Alias" else f"Key '{arn}' {words}")
        return key

    def _find(self, account: str, plain: str) -> Key | None:
        if account not in self.state.admins:
            return None
        backend = kms_backends[account][self.region]
        if plain.startswith("alias/"):
            for key in backend.keys.values():
                if plain in {alias.alias_name for alias in key.aliases.values()}:
                    return key
            return None
        return backend.keys.get(plain)

    def _speaking(self) -> dict[str, Any]:
        return {
            "identity": self.caller.identity,
            "session": self.caller.session.policy if self.caller.session else None,
            "boundaries": self.caller.boundaries,
        }

    def _authorise(
        self, operation: str, key: Key, *, context: dict[str, str] | None = None, by_ciphertext: bool = False
    ) -> None:
        keys: dict[str, Any] = {
            **sts.caller_context(self.caller, self.now),
            "kms:CallerAccount": self.caller.account,
            "kms:KeySpec": key.key_spec,
            "kms:KeyUsage": key.key_usage,
            "kms:KeyOrigin": key.origin,
            "aws:ResourceAccount": key.account_id,
            "aws:RequestedRegion": self.region,
        }
        if context:
            keys |= {f"kms:EncryptionContext:{name}": value for name, value in context.items()}
            keys["kms:EncryptionContextKeys"] = list(context)
        request = Request(f"kms:{operation}", key.arn, self.caller.principal, keys, key.account_id)
        decision = evaluator.evaluate(request, resource=json.loads(key.policy), **self._speaking())
        if not decision.allowed:
            raise denials.kms(self.caller, f"kms:{operation}", key.arn, decision, by_ciphertext=by_ciphertext)

    def _usable(self, operation: str, key: Key) -> None:
        match key.key_state:
            case "Disabled" if operation not in WHILE_DISABLED:
                raise AwsError("DisabledException", f"{key.arn} is disabled.")
            case "PendingDeletion" if operation not in WHILE_DELETED:
                raise AwsError("KMSInvalidStateException", f"{key.arn} is pending deletion.")
            case "PendingImport" if operation in CRYPTO:
                raise AwsError("KMSInvalidStateException", f"{key.arn} is pending import.")
            case "PendingDeletion" | "Enabled" | "Disabled" | "PendingImport":
                pass
            case other if operation not in READS:
                raise AwsError("KMSInvalidStateException", f"{key.arn} is {other.lower()}.")
        if operation == "CancelKeyDeletion" and key.key_state != "PendingDeletion":
            raise AwsError("KMSInvalidStateException", f"{key.arn} is not pending deletion.")
        if operation in CRYPTO or operation in {"ReEncryptFrom", "ReEncryptTo"}:
            if key.key_usage != "ENCRYPT_DECRYPT":
                raise AwsError(
                    "InvalidKeyUsageException",
                    f"{key.arn} key usage is {key.key_usage} which is not valid for {operation}.",
                )
            if key.key_spec != "SYMMETRIC_DEFAULT":
                if operation.startswith("GenerateDataKey"):
                    raise AwsError(
                        "InvalidKeyUsageException",
                        f"{key.arn} key spec is {key.key_spec} which is not valid for {operation}.",
                    )
                algorithm = self.given.get("EncryptionAlgorithm", "SYMMETRIC_DEFAULT")
                raise AwsError(
                    "InvalidKeyUsageException", f"Algorithm {algorithm} is incompatible with key spec {key.key_spec}."
                )

    def _refuse_key_policy(self, text: str, account: str) -> None:
        try:
            policy = json.loads(text)
        except ValueError:
            raise AwsError("MalformedPolicyDocumentException", "The policy is not valid JSON.") from None
        if not isinstance(policy, dict) or not evaluator.statements(policy) or len(text) > 32_768:
            raise AwsError("MalformedPolicyDocumentException", "Policy is invalid.")
        identities.check_principals(
            self.state,
            policy,
            code="MalformedPolicyDocumentException",
            words="Policy contains a statement with one or more invalid principals.",
        )
        if self.given.get("BypassPolicyLockoutSafetyCheck"):
            return
        context = {**sts.caller_context(self.caller, self.now), "kms:CallerAccount": self.caller.account}
        request = Request("kms:PutKeyPolicy", "*", self.caller.principal, context, account)
        if not evaluator.evaluate(request, resource=policy, **self._speaking()).allowed:
            words = "The new key policy will not allow you to update the key policy in the future."
            raise AwsError("MalformedPolicyDocumentException", words)

    # --- cryptography ----------------------------------------------------------------------------------------

    def _begin(self, name: str, operation: str = "", *, context: dict[str, str] | None = None) -> Key:
        key = self._key(name)
        self._authorise(operation or self.operation, key, context=context)
        self._usable(self.operation, key)
        return key

    def _end(self) -> None:
        if self.given.get("DryRun"):
            raise AwsError(
                "DryRunOperationException",
                "The request would have succeeded, but the DryRun option is set.",
                status=412,
            )

    def _encrypt(self) -> dict[str, Any]:
        context = _context(self.given, "EncryptionContext")
        key = self._begin(self.given.get("KeyId", ""), context=context)
        plaintext = _bytes(self.given, "Plaintext", 4096)
        self._end()
        return {
            "CiphertextBlob": _b64(_seal(key, plaintext, context)),
            "KeyId": key.arn,
            "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
        }

    def _generate_data_key(self) -> dict[str, Any]:
        context = _context(self.given, "EncryptionContext")
        key = self._begin(self.given.get("KeyId", ""), context=context)
        size = {"AES_256": 32, "AES_128": 16}.get(self.given.get("KeySpec", ""), self.given.get("NumberOfBytes"))
        if not isinstance(size, int) or not 1 <= size <= 1024:
            raise AwsError("ValidationException", "Please specify either number of bytes or key spec.")
        plaintext = secrets.token_bytes(size)
        self._end()
        return {"Plaintext": _b64(plaintext), "CiphertextBlob": _b64(_seal(key, plaintext, context)), "KeyId": key.arn}

    def _generate_data_key_without_plaintext(self) -> dict[str, Any]:
        made = self._generate_data_key()
        del made["Plaintext"]
        return made

    def _decrypt(self) -> dict[str, Any]:
        context = _context(self.given, "EncryptionContext")
        key, plaintext = self._opened("CiphertextBlob", self.given.get("KeyId"), context, "Decrypt")
        self._end()
        return {"Plaintext": _b64(plaintext), "KeyId": key.arn, "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"}

    def _re_encrypt(self) -> dict[str, Any]:
        old, new = _context(self.given, "SourceEncryptionContext"), _context(self.given, "DestinationEncryptionContext")
        source, plaintext = self._opened("CiphertextBlob", self.given.get("SourceKeyId"), old, "ReEncryptFrom")
        destination = self._begin(self.given.get("DestinationKeyId", ""), "ReEncryptTo", context=new)
        self._end()
        return {
            "CiphertextBlob": _b64(_seal(destination, plaintext, new)),
            "SourceKeyId": source.arn,
            "KeyId": destination.arn,
            "SourceEncryptionAlgorithm": "SYMMETRIC_DEFAULT",
            "DestinationEncryptionAlgorithm": "SYMMETRIC_DEFAULT",
        }

    def _opened(self, field: str, wanted: str | None, context: dict[str, str], operation: str) -> tuple[Key, bytes]:
        blob = _bytes(self.given, field, 6144)
        made_by = _maker(blob)
        if wanted is not None:
            key = self._key(wanted)
            self._authorise(operation, key, context=context)
        elif made_by is None:
            raise AwsError("InvalidCiphertextException", "")
        else:
            key = self._key(made_by)
            self._authorise(operation, key, context=context, by_ciphertext=True)
        self._usable(self.operation, key)
        if made_by is None:
            raise AwsError("InvalidCiphertextException", "")
        if made_by != key.arn:
            raise AwsError(
                "IncorrectKeyException",
                "The key ID in the request does not identify a CMK that can perform this operation.",
            )
        return key, _unseal(key, blob, context)


def _seal(key: Key, plaintext: bytes, context: dict[str, str]) -> bytes:
    arn, nonce = key.arn.encode(), secrets.token_bytes(12)
    header: bytes = BLOB.pack(MAGIC, len(arn)) + arn
    sealed: bytes = AESGCM(key.key_material).encrypt(nonce, plaintext, header + _canonical(context))
    return header + nonce + sealed


def _maker(blob: bytes) -> str | None:
    """Return the ARN of the key that made a ciphertext, None when it is none of ours."""
    if len(blob) < BLOB.size:
        return None
    magic, length = BLOB.unpack_from(blob)
    arn = blob[BLOB.size : BLOB.size + length]
    return arn.decode("ascii", "replace") if magic == MAGIC and len(blob) >= BLOB.size + length + 28 else None


def _unseal(key: Key, blob: bytes, context: dict[str, str]) -> bytes:
    header = BLOB.pack(MAGIC, len(key.arn)) + key.arn.encode()
    nonce, sealed = blob[len(header) : len(header) + 12], blob[len(header) + 12 :]
    try:
        return bytes(AESGCM(key.key_material).decrypt(nonce, sealed, header + _canonical(context)))
    except InvalidTag:
        raise AwsError("InvalidCiphertextException", "") from None


def _canonical(context: dict[str, str]) -> bytes:
    return json.dumps(context, sort_keys=True).encode()


def _context(given: dict[str, Any], field: str) -> dict[str, str]:
    context = given.get(field) or {}
    if not isinstance(context, dict) or not all(isinstance(value, str) for value in context.values()):
        raise AwsError("SerializationException", "")
    return context


def _bytes(given: dict[str, Any], field: str, limit: int) -> bytes:
    try:
        found = base64.b64decode(given.get(field, ""), validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise AwsError("SerializationException", "") from None
    if not 1 <= len(found) <= limit:
        name = field[0].lower() + field[1:]
        words = f"Member must have length less than or equal to {limit}"
        raise AwsError(
            "ValidationException",
            f"1 validation error detected: Value at '{name}' failed to satisfy constraint: {words}",
        )
    return found


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _snake(name: str) -> str:
    return "".join(f"_{sign.lower()}" if sign.isupper() else sign for sign in name).lstrip("_")


def _json(value: dict[str, Any]) -> moto_door.Answer:
    return moto_door.Answer(200, json.dumps(value).encode(), "application/x-amz-json-1.1")
