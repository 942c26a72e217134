"""One thing that an output shows, and the tenant's own values to compare it with; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from keys.policies import evaluator
from keys.policies.documents import ALONE, Beside


@dataclass(frozen=True, slots=True)
class Point:
    """One thing: good, bad or unclear, in a sentence, and how to mend it."""

    verdict: Literal["good", "bad", "unclear"]
    code: str
    text: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """The tenant's own values; an ARN that it has not given is empty."""

    service_role_arn: str
    external_id: str
    role_arn: str = ""
    key_arn: str = ""
    tenant: str = ""
    beside: Beside = ALONE  # what the policies have to name too while one registration replaces another

    @property
    def role_account(self) -> str:
        return evaluator.account_of(self.role_arn)
