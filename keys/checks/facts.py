"""What one look at AWS found: plain values that the checks judge; pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from byokportal.errors import DomainError
from keys import errors
from keys.aws.kms import KeyFacts
from keys.aws.sessions import AssumeOutcome
from keys.checks.causes import Denial


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose role and key are tested: the values that remedies and documents are filled in with."""

    tenant: str
    role_arn: str
    key_arn: str
    service_role_arn: str
    service_role_unique_id: str
    external_id: str

    @property
    def role_name(self) -> str:
        return self.role_arn.rpartition("/")[2]

    @property
    def role_account(self) -> str:
        return self.role_arn.split(":")[4]

    @property
    def key_account(self) -> str:
        return self.key_arn.split(":")[4]

    @property
    def region(self) -> str:
        return self.key_arn.split(":")[3]


@dataclass(frozen=True, slots=True)
class Clock:
    """The times that a verdict depends on.

    Args:
        grace_until: a refusal before this moment may be IAM's propagation (design.md 5).
        refused_at: when the External ID probes of this test were first refused beside a call that worked.
        insecure_at: when this test first saw a role of a serving registration let us in without the right External ID.
        gap: how long after those the second look comes.
        is_serving: the registration is in use, so one look is never enough to stop it.
    """

    now: datetime
    grace_until: datetime
    gap: timedelta
    refused_at: datetime | None = None
    insecure_at: datetime | None = None
    is_serving: bool = False

    @property
    def is_propagating(self) -> bool:
        return self.now < self.grace_until


@dataclass(frozen=True, slots=True)
class Answer:
    """How one call went; `error` is None when it worked, `denial` is AWS's AccessDenied as far as its words say."""

    action: str
    at: datetime
    request_id: str = ""
    error: DomainError | None = None
    denial: Denial = field(default_factory=Denial)

    @property
    def ok(self) -> bool:
        return self.error is None

    @property
    def is_denied(self) -> bool:
        return isinstance(self.error, errors.KeyAccessDenied | errors.RoleNotAssumable)


@dataclass(frozen=True, slots=True)
class Ours:
    """Our own side: who the service role is, whether the canary lets it in, what its policies in IAM say."""

    identity: Answer
    arn: str  # of the service role, read back from its session; "" when it could not be assumed
    unique_id: str
    canary: AssumeOutcome | None  # None: no canary is set up
    policy: Answer | None  # None: the service role could not be assumed, so nothing else was asked
    names_role: bool = False  # a policy attached to the service role allows assuming the tenant's role
    has_drifted: bool = False  # that policy is not what we last wrote

    def is_expected(self, subject: Subject) -> bool:
        """Whether it is the role that tenants were shown: trust policies store the unique id, not the name."""
        return (self.arn, self.unique_id) == (subject.service_role_arn, subject.service_role_unique_id)

    def works(self, subject: Subject) -> bool:
        return bool(
            self.identity.ok
            and self.is_expected(subject)
            and self.canary
            and self.canary.allowed
            and self.policy
            and self.policy.ok
            and self.names_role
            and not self.has_drifted
        )


@dataclass(frozen=True, slots=True)
class Trust:
    """The three attempts to become the tenant's role, by one principal, one after the other."""

    without: AssumeOutcome  # the External ID left out
    wrong: AssumeOutcome  # another, random External ID
    right: Answer


@dataclass(frozen=True, slots=True)
class Account:
    """Whom we became."""

    answer: Answer
    arn: str = ""
    account: str = ""


@dataclass(frozen=True, slots=True)
class Key:
    """DescribeKey, asked once."""

    answer: Answer
    facts: KeyFacts | None = None

    @property
    def is_fit(self) -> bool:
        """Whether using it can say anything; a key that could not be looked at is tried."""
        if self.facts is None:
            return self.answer.is_denied
        return self.facts.state == "Enabled" and self.facts.manager == "CUSTOMER" and self.is_symmetric

    @property
    def is_symmetric(self) -> bool:
        return self.facts is not None and (self.facts.spec, self.facts.usage) == (
            "SYMMETRIC_DEFAULT",
            "ENCRYPT_DECRYPT",
        )


@dataclass(frozen=True, slots=True)
class Use:
    """The guide's patterns tried for real; None where there was no ciphertext to try with."""

    generate: Answer
    generate_wrapped: Answer
    encrypt: Answer
    decrypt: Answer | None = None
    opened_the_same: bool = False  # what came out is what went in
    re_encrypt: Answer | None = None
    wrong_context: Answer | None = None  # the same ciphertext under a context it was not made with

    def others_work(self, answer: Answer) -> bool:
        """Tell whether a cryptographic call besides this one went through."""
        asked = (self.generate, self.generate_wrapped, self.encrypt, self.decrypt, self.re_encrypt)
        return any(other is not None and other is not answer and other.ok for other in asked)


@dataclass(frozen=True, slots=True)
class Facts:
    """One look, as far as it got: a part is None while it has not been asked."""

    subject: Subject
    clock: Clock
    ours: Ours | None = None
    trust: Trust | None = None
    account: Account | None = None
    key: Key | None = None
    use: Use | None = None
