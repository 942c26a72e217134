"""What is no fault but worth knowing: warnings that never decide a run; pure."""

from __future__ import annotations

from keys.checks.base import Finding, Verdict, check, evidence_of, skipped
from keys.checks.facts import Facts


@check("hygiene.rotation", title="AWS can rotate the key by itself", step=1, needs=("key.exists",), is_warning=True)
def rotation(facts: Facts) -> Finding | None:
    """AWS rotates key material that it made itself. Whether it is told to, the guide's five actions do not let us ask."""
    if facts.key is None:
        return None
    if facts.key.facts is None:
        return skipped("DescribeKey was refused; use.describe says why.")
    origin = facts.key.facts.origin
    evidence: dict[str, object] = {**evidence_of(facts.key.answer), "origin": origin}
    if origin == "AWS_KMS":
        command = f"aws kms get-key-rotation-status --region {facts.subject.region} --key-id {facts.subject.key_arn}"
        evidence["note"] = f"Whether rotation is on, this shows you: {command}"
    else:
        evidence["warning"] = (
            f"The key material comes from {origin}, so AWS does not rotate it by itself. Plan its rotation."
        )
    return Finding(Verdict.PASS, evidence)


@check(
    "hygiene.permissions",
    title="Role and key lie where one policy is enough",
    step=2,
    needs=("account.identity",),
    is_warning=True,
)
def permissions(facts: Facts) -> Finding | None:
    """What else the role may do, only its owner can read; the paste box of step 2 does."""
    if facts.account is None:
        return None
    subject = facts.subject
    evidence: dict[str, object] = {"role_account": subject.role_account, "key_account": subject.key_account}
    if subject.role_account != subject.key_account:
        evidence["warning"] = (
            f"The role is in the account {subject.role_account}, the key in {subject.key_account}: "
            "both the permissions policy and the key policy have to allow every action."
        )
    return Finding(Verdict.PASS, evidence)
