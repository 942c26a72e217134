"""How far seeded tenants have come, and how many of a thousand have come so far."""

from __future__ import annotations

from dataclasses import dataclass

DONE, WAITING, NOT_YET, FAILED, OURS, WORKING = (
    "done",
    "waiting_for_tenant",
    "not_started",
    "failed",
    "waiting_for_kore",
    "in_progress",
)


@dataclass(frozen=True, slots=True)
class Story:
    """How far a seeded tenant has come.

    Attributes:
        weight: of a thousand tenants, about how many.
        steps: the status of the steps 1 to 6.
        status: of its registration; "": it has none.
        verdict: of its newest test; "": none ran.
        failed: index into `CHECKS` of the check that failed, and the document to change.
    """

    weight: int
    steps: tuple[str, str, str, str, str, str]
    status: str = ""
    reason: str = ""
    suspended_by: str = ""
    verdict: str = ""
    failed: tuple[str, str] = ("", "")
    has_role: bool = True
    deletes_in: int = 0
    ticket: int = 2


ALL_DONE = (DONE, DONE, DONE, "skipped", DONE, DONE)
STORIES = (
    Story(90, (WAITING, NOT_YET, NOT_YET, NOT_YET, NOT_YET, NOT_YET), ticket=1),
    Story(100, (DONE, WAITING, NOT_YET, NOT_YET, NOT_YET, NOT_YET), "draft", has_role=False),
    Story(60, (DONE, DONE, WAITING, NOT_YET, NOT_YET, NOT_YET), "draft"),
    Story(20, (DONE, DONE, DONE, DONE, NOT_YET, WAITING), "draft"),
    Story(10, (DONE, DONE, DONE, DONE, WORKING, DONE), "testing", verdict="unknown"),
    Story(4, (DONE, DONE, DONE, NOT_YET, OURS, DONE), "configuring"),
    Story(30, (DONE, FAILED, DONE, NOT_YET, WAITING, DONE), "rejected", "external_id_not_required",
          verdict="fail", failed=("role.assumable", "trust-policy"), ticket=20),
    Story(25, (DONE, DONE, FAILED, NOT_YET, WAITING, DONE), "rejected", "kms_access_denied",
          verdict="fail", failed=("use.decrypt", "key-policy-statement"), ticket=20),
    Story(6, (DONE, FAILED, DONE, NOT_YET, WAITING, DONE), "rejected", "kms_access_denied",
          verdict="fail", failed=("use.encrypt", "permissions-policy"), ticket=20),
    Story(630, ALL_DONE, "active", verdict="pass"),
    Story(2, ALL_DONE, "unreachable", "kms_throttled", verdict="pass", ticket=5),
    Story(6, ALL_DONE, "suspended", "kms_key_disabled", "aws", verdict="pass", ticket=10),
    Story(6, ALL_DONE, "suspended", "kms_access_denied", "aws", verdict="pass", ticket=10),
    Story(4, ALL_DONE, "suspended", "our own exercise", "tenant", verdict="pass"),
    Story(1, ALL_DONE, "suspended", "asked for by the customer", "kore", verdict="pass"),
    Story(2, ALL_DONE, "active", verdict="pass", deletes_in=9, ticket=10),
)  # fmt: skip
