"""What is no fault but worth knowing: warnings that never decide a run; pure."""

from __future__ import annotations

from byokportal.translation import lazy
from keys.proof.encryption_test.base import Judgement, Verdict, check, evidence_of, passed, skipped
from keys.proof.encryption_test.facts import Facts

FROM_ELSEWHERE = lazy("The key material comes from {origin}, so AWS does not rotate it by itself. Plan its rotation.")
NOT_ROTATED = lazy("AWS does not rotate the key. Turn it on: aws kms enable-key-rotation {about}")
ROTATION_UNSEEN = lazy("Whether rotation is on, this shows you: aws kms get-key-rotation-status {about}")
ACROSS_ACCOUNTS = lazy(
    "The role is in the account {role_account}, the key in {key_account}: both the permissions policy and the key "
    "policy have to allow every action."
)
MAY_GRANT = lazy(
    "The role {role_name} may hand the key on (kms:CreateGrant), which we never need. The permissions policy of step 2 "
    "is enough."
)
ANSWERS_US = lazy(
    "The key policy of {key_arn} answers our service role directly. Let it name {role_arn} instead of our account, our "
    "service role or everybody."
)


@check(
    "hygiene.rotation", title=lazy("AWS can rotate the key by itself"), step=1, needs=("key.exists",), is_warning=True
)
def rotation(facts: Facts) -> Judgement | None:
    """AWS rotates key material that it made itself.
    Whether it is told to, only a role with more than the documents' actions may ask."""
    if facts.key is None:
        return None
    if facts.key.facts is None:
        return skipped(lazy("DescribeKey was refused; use.describe says why."))
    origin, rotates = facts.key.facts.origin, facts.hygiene.rotates if facts.hygiene else None
    evidence: dict[str, object] = {**evidence_of(facts.key.answer), "origin": origin}
    about = f"--region {facts.subject.key.region} --key-id {facts.subject.key}"
    if origin != "AWS_KMS":
        evidence["warning"] = FROM_ELSEWHERE.format(origin=origin)
    elif rotates is False:
        evidence["warning"] = NOT_ROTATED.format(about=about)
    elif rotates is None:
        evidence["note"] = ROTATION_UNSEEN.format(about=about)
    return Judgement(Verdict.PASS, evidence)


@check(
    "hygiene.accounts",
    title=lazy("Role and key lie where one policy is enough"),
    step=2,
    needs=("account.identity",),
    is_warning=True,
)
def accounts(facts: Facts) -> Judgement | None:
    if facts.account is None:
        return None
    subject = facts.subject
    evidence: dict[str, object] = {"role_account": subject.role.account, "key_account": subject.key.account}
    if subject.role.account != subject.key.account:
        evidence["warning"] = ACROSS_ACCOUNTS.format(role_account=subject.role.account, key_account=subject.key.account)
    return Judgement(Verdict.PASS, evidence)


@check(
    "hygiene.permissions",
    title=lazy("Your role may do no more than the guide asks"),
    step=2,
    needs=("account.identity",),
    is_warning=True,
)
def permissions(facts: Facts) -> Judgement | None:
    """Tried by a dry run of one action that the guide does not name;
    what else the role may do, the paste box of step 2 reads."""
    if facts.hygiene is None:
        is_tried = facts.key is None or (
            facts.key.is_fit and (facts.use is None or all(each.ok for each in facts.use.tried))
        )
        return None if is_tried else skipped(lazy("It is tried when the actions of your documents work."))
    evidence: dict[str, object] = {"action": "kms:CreateGrant"}
    if facts.hygiene.may_grant:
        evidence["warning"] = MAY_GRANT.format(role_name=facts.subject.role.name)
    elif facts.hygiene.may_grant is None:
        evidence["note"] = lazy("AWS did not say whether the role may hand the key on.")
    return Judgement(Verdict.PASS, evidence)


@check(
    "hygiene.key_policy",
    title=lazy("Your key refuses everybody but your role"),
    step=3,
    needs=("account.identity",),
    is_warning=True,
)
def key_policy(facts: Facts) -> Judgement | None:
    """Our service role asks for the key without the tenant's role;
    only a key policy that names us or everybody answers."""
    if facts.key is None or facts.key.direct is None:
        return None
    direct = facts.key.direct
    if direct.ok:
        words = ANSWERS_US.format(key_arn=facts.subject.key, role_arn=facts.subject.role)
        return passed(direct, warning=words)
    if direct.is_denied and direct.denial.layer != "identity":
        return passed(direct)
    return (
        passed(direct, note=lazy("Our own policies did not let us ask."))
        if direct.is_denied
        else skipped(lazy("AWS gave no answer."))
    )
