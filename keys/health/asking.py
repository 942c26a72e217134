"""One probe: the role, the key and a real unwrap, asked of AWS with a fresh session.
It reads no row and writes none."""

from __future__ import annotations

import secrets
import uuid
from dataclasses import dataclass, field
from datetime import datetime

from byokportal import clock
from byokportal.errors import DomainError
from keys import aws, errors
from keys.access import Access
from keys.aws import sessions
from keys.aws.kms import KeyFacts

PURPOSE = "probe"
# What DescribeKey says of a key that answers it all the same.
REFUSED_STATES: dict[str, type[DomainError]] = {
    "Disabled": errors.KeyDisabled,
    "PendingDeletion": errors.KeyPendingDeletion,
    "PendingReplicaDeletion": errors.KeyPendingDeletion,
    "PendingImport": errors.KeyPendingImport,
}


@dataclass(frozen=True, slots=True)
class Question:
    """Everything that a probe needs to know, so that it can be asked in any thread."""

    registration_id: uuid.UUID
    tenant_id: uuid.UUID
    # None: the row holds no ARN that can be read, so asking fails and this probe alone is put off
    access: Access | None
    branch_key: tuple[uuid.UUID, bytes] | None = field(repr=False)  # its id and its wrapped form
    looks_at_trust: bool = False
    only_describes: bool = False  # a button is pressed: nothing uses the key, not even a probe


@dataclass(frozen=True, slots=True)
class Answer:
    """What AWS said.

    Args:
        at: when its last word came.
        error: why the key cannot be used, None when it can.
        facts: what DescribeKey said, where the probe got that far.
        is_narrow: the role refused us without and with a wrong External ID; None: not asked, or it cannot be told.
    """

    at: datetime
    error: DomainError | None = None
    facts: KeyFacts | None = None
    is_narrow: bool | None = None


def ask(question: Question) -> Answer:
    """Ask AWS now. The trust policy comes first: a refusal there counts only beside a right call a moment later."""
    access = question.access
    assert access is not None
    is_narrow = _is_narrow(access) if question.looks_at_trust else None
    facts: KeyFacts | None = None
    try:
        key = aws.open_key(access, purpose=PURPOSE, hot=True)
        facts = key.describe()
        if facts.state in REFUSED_STATES:
            raise REFUSED_STATES[facts.state](
                aws_code=facts.state, action="kms:DescribeKey", aws_request_id=facts.request_id
            )
        if question.only_describes:
            return Answer(clock.now(), None, facts)
        if question.branch_key is not None:
            key_id, wrapped = question.branch_key
            key.decrypt(wrapped, {"tenant": str(question.tenant_id), "branch-key": str(key_id)})
        else:
            key.generate_wrapped({"tenant": str(question.tenant_id), "purpose": PURPOSE})
    except DomainError as error:
        return Answer(clock.now(), error, facts, is_narrow)
    return Answer(clock.now(), None, facts, is_narrow)


def _is_narrow(access: Access) -> bool | None:
    """Try the role without and with a wrong External ID (IAM guide, "The confused deputy problem"):
    both have to be refused."""
    _, key = access.both()
    wrong = "byok-" + secrets.token_urlsafe(32)  # nobody's: a new one each time, of the form of a real one
    for external_id in (None, wrong):
        outcome = sessions.probe(
            access, external_id, region=key.region, session=sessions.session_name(PURPOSE, access.tenant)
        )
        if outcome.allowed is not False:
            return None if outcome.allowed is None else False
    return True
