"""A KMS key bound to one ARN: every answer is compared with that ARN."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from keys import errors
from keys.aws import clients, faults, sessions

Context = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """What DescribeKey says of the key."""

    arn: str
    account: str
    state: str
    manager: str
    usage: str
    spec: str
    origin: str
    is_multi_region: bool
    deletion_at: datetime | None
    request_id: str


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A ciphertext of the key."""

    ciphertext: bytes
    request_id: str


@dataclass(frozen=True, slots=True)
class Opened:
    """A plaintext, and its wrapped form where both were made at once."""

    plaintext: bytes = field(repr=False)
    request_id: str
    ciphertext: bytes = b""
    session_name: str = ""  # of the role session that called; "": the base principal itself


@dataclass(frozen=True, slots=True)
class KmsKey:
    """The key at one ARN, through one session.

    Every method raises what `keys.aws.faults` makes of AWS's answer, and `WrongKeyAnswered` when another key answered.
    """

    arn: str
    client: Any = field(repr=False)
    session: clients.Credentials | None  # None: the base principal itself

    @property
    def session_expires_at(self) -> datetime | None:
        return self.session.expires_at if self.session else None

    def describe(self) -> KeyFacts:
        answer = self._call("kms:DescribeKey", lambda: self.client.describe_key(KeyId=self.arn))
        facts = answer["KeyMetadata"]
        return KeyFacts(
            arn=facts["Arn"],
            account=facts.get("AWSAccountId", ""),
            state=facts.get("KeyState", ""),
            manager=facts.get("KeyManager", ""),
            usage=facts.get("KeyUsage", ""),
            spec=facts.get("KeySpec", ""),
            origin=facts.get("Origin", ""),
            is_multi_region=bool(facts.get("MultiRegion")),
            deletion_at=facts.get("DeletionDate"),
            request_id=faults.request_id_in(answer),
        )

    def generate(self, context: Context) -> Opened:
        answer = self._call(
            "kms:GenerateDataKey",
            lambda: self.client.generate_data_key(KeyId=self.arn, KeySpec="AES_256", EncryptionContext=dict(context)),
        )
        return self._opened(answer)

    def generate_wrapped(self, context: Context) -> Wrapped:
        answer = self._call(
            "kms:GenerateDataKeyWithoutPlaintext",
            lambda: self.client.generate_data_key_without_plaintext(
                KeyId=self.arn, KeySpec="AES_256", EncryptionContext=dict(context)
            ),
        )
        return Wrapped(answer["CiphertextBlob"], faults.request_id_in(answer))

    def encrypt(self, plaintext: bytes, context: Context) -> Wrapped:
        answer = self._call(
            "kms:Encrypt",
            lambda: self.client.encrypt(KeyId=self.arn, Plaintext=plaintext, EncryptionContext=dict(context)),
        )
        return Wrapped(answer["CiphertextBlob"], faults.request_id_in(answer))

    def decrypt(self, ciphertext: bytes, context: Context) -> Opened:
        answer = self._call(
            "kms:Decrypt",
            lambda: self.client.decrypt(KeyId=self.arn, CiphertextBlob=ciphertext, EncryptionContext=dict(context)),
        )
        return self._opened(answer)

    def re_encrypt(
        self, ciphertext: bytes, context: Context, new_context: Context, *, destination_arn: str = ""
    ) -> Wrapped:
        """Move a ciphertext to another context, and to another key in the same Region."""
        destination = destination_arn or self.arn
        answer = self._call(
            "kms:ReEncrypt",
            lambda: self.client.re_encrypt(
                CiphertextBlob=ciphertext,
                SourceKeyId=self.arn,
                SourceEncryptionContext=dict(context),
                DestinationKeyId=destination,
                DestinationEncryptionContext=dict(new_context),
            ),
            answers=destination,
        )
        if answer["SourceKeyId"] != self.arn:
            raise errors.WrongKeyAnswered(
                aws_code="OK", action="kms:ReEncrypt", aws_request_id=faults.request_id_in(answer)
            )
        return Wrapped(answer["CiphertextBlob"], faults.request_id_in(answer))

    def may_grant(self, grantee_arn: str) -> bool | None:
        """Tell, by a dry run, whether the session may hand the key on by a grant;
        None when AWS says neither yes nor no."""
        try:
            self.client.create_grant(KeyId=self.arn, GranteePrincipal=grantee_arn, Operations=["Decrypt"], DryRun=True)
        except faults.RAISED as error:
            return {"DryRunOperationException": True, "AccessDeniedException": False}.get(faults.code_of(error))
        return None

    def rotation_is_on(self) -> bool | None:
        """Tell whether automatic rotation is on; None when the role may not ask, which the guide does not require."""
        try:
            return bool(self.client.get_key_rotation_status(KeyId=self.arn)["KeyRotationEnabled"])
        except faults.RAISED:
            return None

    def _opened(self, answer: Any) -> Opened:
        return Opened(
            answer["Plaintext"],
            faults.request_id_in(answer),
            answer.get("CiphertextBlob", b""),
            self.session.session_name if self.session else "",
        )

    def _call(self, action: str, call: Callable[[], Any], *, answers: str = "") -> Any:
        try:
            answer = call()
        except faults.RAISED as error:
            ours = faults.translate(error, action)
            if self.session is not None and isinstance(ours, errors.OwnAccessBroken):
                # AWS knows the session no more, as after its role was deleted:
                # the next call asks for a new one, and hears why.
                sessions.forget(self.session)
            raise ours from error
        key_id = answer["KeyMetadata"]["Arn"] if "KeyMetadata" in answer else answer["KeyId"]
        if key_id != (answers or self.arn):
            request_id = faults.request_id_in(answer)
            del answer  # a plaintext may stand in it, and a traceback with locals would show it
            raise errors.WrongKeyAnswered(aws_code="OK", action=action, aws_request_id=request_id)
        return answer
