"""What is no fault but worth knowing: warnings that never decide a run; pure."""

from __future__ import annotations

from keys.checks.base import Finding, Verdict, check
from keys.checks.facts import Facts

NEEDS = ("account.identity",)


@check("hygiene.rotation", title="The key rotates by itself", step=1, needs=NEEDS, is_warning=True)
def rotation(facts: Facts) -> Finding | None:
    if facts.hygiene is None:
        return None
    if facts.hygiene.rotation_is_on is None:
        command = f"aws kms get-key-rotation-status --region {facts.subject.region} --key-id {facts.subject.key_arn}"
        return Finding(Verdict.UNKNOWN, {"why": f"we may not ask, as the guide has it; this shows it to you: {command}"})
    if facts.hygiene.rotation_is_on:
        return Finding(Verdict.PASS, {"rotation": "on"})
    return Finding(Verdict.PASS, {"rotation": "off", "warning": "Automatic rotation of the key is off. Turn it on in AWS KMS."})


@check("hygiene.permissions", title="Your role may do no more than the guide needs", step=2, needs=NEEDS, is_warning=True)
def permissions(facts: Facts) -> Finding | None:
    if facts.hygiene is None:
        return None
    warnings = []
    if facts.hygiene.rotation_is_on is not None:
        warnings.append("Your role allows more than the guide's five actions (kms:GetKeyRotationStatus is one). Attach only the permissions policy of step 2.")
    if facts.subject.role_account != facts.subject.key_account:
        warnings.append(
            f"The role is in the account {facts.subject.role_account}, the key in {facts.subject.key_account}: "
            "both the permissions policy and the key policy have to allow every action."
        )
    if warnings:
        return Finding(Verdict.PASS, {"warning": " ".join(warnings)})
    # Seen only as far as a read that is not among the five was refused; the policy itself is the tenant's to read.
    return Finding(Verdict.UNKNOWN, {"why": "we do not see your policy; paste it on the page of step 2 to have it read"})
