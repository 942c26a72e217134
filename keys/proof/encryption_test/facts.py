"""What one look at AWS found: plain values that the checks judge; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from byokportal.errors import DomainError
from keys import errors
from keys.access import Access
from keys.arns import KeyArn, RoleArn
from keys.aws.kms import KeyFacts
from keys.aws.sessions import AssumeOutcome
from keys.policies.documents import ALONE, Beside
from keys.proof.encryption_test.refusals import Denial


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose role and key are tested: the values that remedies and documents are filled in with."""

    access: Access
    service_role_unique_id: str
    has_worked: bool = False  # this role and key passed a test before
    beside: Beside = ALONE

    @property
    def role(self) -> RoleArn:
        return self.access.both()[0]

    @property
    def key(self) -> KeyArn:
        return self.access.both()[1]

    @property
    def roles(self) -> str:
        """Whom the statement in the key policy names, in words."""
        return " and ".join((str(self.role), *self.beside.roles))

    @property
    def keys(self) -> str:
        """What the role's permissions policy names, in words."""
        return " and ".join((*self.beside.keys, str(self.key)))


@dataclass(frozen=True, slots=True)
class Clock:
    """The times that a verdict depends on.

    Args:
        grace_until: a refusal before this moment may be IAM's propagation (design.md 5).
        deny_grace_until: the same of a refusal that AWS calls an explicit Deny, where it counts sooner; None: as any.
        refused_at: when the External ID probes of this test were first refused beside a call that worked.
        insecure_at: when this test first saw a role of a serving registration let us in without the right External ID.
        gap: how long after those the second look comes.
        is_serving: the registration is in use, so one look is never enough to stop it.
        window: how long a refusal after a change may be propagation.
        turned: code of a check that passed in an earlier look of this test → when it was first refused
            after that. The turn itself shows a change, so its window begins there.
    """

    now: datetime
    grace_until: datetime
    gap: timedelta
    refused_at: datetime | None = None
    insecure_at: datetime | None = None
    is_serving: bool = False
    window: timedelta = timedelta(0)
    turned: Mapping[str, datetime] = field(default_factory=dict)
    deny_grace_until: datetime | None = None

    def final_at(self, code: str, *, is_deny: bool = False) -> datetime:
        """Return the moment from which a refusal of this check is final.

        Args:
            is_deny: AWS says that a Deny decided, not a missing Allow.
        """
        turned = self.turned.get(code)
        if turned:
            return max(self.grace_until, turned + self.window)
        return self.deny_grace_until if is_deny and self.deny_grace_until else self.grace_until


@dataclass(frozen=True, slots=True)
class Answer:
    """How one call went; `error` is None when it worked, `denial` is AWS's AccessDenied as far as its words say."""

    action: str
    at: datetime
    request_id: str = ""
    error: DomainError | None = None
    denial: Denial = field(default_factory=Denial)
    is_late: bool = False  # AWS says that our signature is of another time than its own

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
    has_drifted: bool = False  # that policy is not what we last wrote, or others stand beside ours
    may_ask_canary: bool = True  # the inline policy that lets the service role ask for the canary is there

    def is_expected(self, subject: Subject) -> bool:
        """Whether it is the role that tenants were shown: trust policies store the unique id, not the name."""
        return (self.arn, self.unique_id) == (str(subject.access.service_role), subject.service_role_unique_id)

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
    """The attempts to become the tenant's role:
    by our service role, one after the other, and by two that must not succeed."""

    without: AssumeOutcome  # the External ID left out
    wrong: AssumeOutcome  # another, random External ID
    right: Answer
    base: AssumeOutcome | None = None  # another principal of our account, with the right External ID
    outsider: AssumeOutcome | None = None  # a principal of another account, with the right External ID
    near: str = ""  # an External ID that the tenant may have mistaken for its own, and that the role takes

    @property
    def is_wide(self) -> bool:
        """Whether somebody was let in who must not be."""
        others = (self.without, self.wrong, self.outsider)
        return any(outcome is not None and outcome.allowed is True for outcome in others)


@dataclass(frozen=True, slots=True)
class Account:
    """Whom we became."""

    answer: Answer
    arn: str = ""
    account: str = ""


@dataclass(frozen=True, slots=True)
class Key:
    """DescribeKey, asked once by the tenant's role, and once by our service role itself, which must not be answered."""

    answer: Answer
    facts: KeyFacts | None = None
    direct: Answer | None = None

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
    """What the documents allow, tried for real; None where nothing was tried, or the narrower variant leaves it out.

    Args:
        has_ciphertext: decrypt and re_encrypt were tried with a ciphertext of the key; without one they were
            tried with bytes that are none, so that only a refusal says anything.
        bare: a data key without any encryption context, tried where a condition on the context may be what refuses.
    """

    generate: Answer | None
    generate_wrapped: Answer
    encrypt: Answer | None
    decrypt: Answer | None = None
    opened_the_same: bool = False  # what came out is what went in
    re_encrypt: Answer | None = None
    wrong_context: Answer | None = None  # the same ciphertext under a context it was not made with
    has_ciphertext: bool = True
    bare: Answer | None = None

    @property
    def tried(self) -> tuple[Answer, ...]:
        """The cryptographic calls with our encryption context."""
        asked = (self.generate, self.generate_wrapped, self.encrypt, self.decrypt, self.re_encrypt)
        return tuple(answer for answer in asked if answer is not None)

    def others_work(self, answer: Answer) -> bool:
        """Tell whether a cryptographic call besides this one went through, or came as far as the ciphertext: AWS asks
        the policies first. The latter counts where the narrower variant has no other call that makes one."""
        return any(other is not answer and (other.ok or self._came_through(other)) for other in self.tried)

    def _came_through(self, answer: Answer) -> bool:
        is_narrow = self.generate is None and not self.has_ciphertext
        return is_narrow and isinstance(answer.error, errors.CiphertextInvalid)


@dataclass(frozen=True, slots=True)
class Hygiene:
    """What the role may do beyond the guide, asked in a session that only its own policies limit;
    None where AWS did not say."""

    may_grant: bool | None = None
    rotates: bool | None = None


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
    hygiene: Hygiene | None = None
