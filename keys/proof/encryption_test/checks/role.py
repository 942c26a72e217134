"""Can our service role become the tenant's role, nobody else of ours, and whom do we become? Pure."""

from __future__ import annotations

from byokportal.translation import lazy
from keys import arns
from keys.proof.encryption_test import inferred, refusals, remedies
from keys.proof.encryption_test.base import (
    Judgement,
    Verdict,
    Wait,
    cannot_tell,
    check,
    evidence_of,
    passed,
    refused,
    skipped,
)
from keys.proof.encryption_test.checks import external_id, ours
from keys.proof.encryption_test.facts import Facts

LETS_THE_ACCOUNT_IN = lazy(
    "The trust policy of {role_name} lets other principals of our AWS account in: name {service_role_arn} there "
    "instead of the account {account}."
)


@check(
    "role.assumable",
    title=lazy("Your role lets our service role in with your External ID"),
    step=2,
    needs=ours.NAMES,
    document=refusals.TRUST,
    remedy=remedies.REMEDIES["external_id_mismatch"],
)
def assumable(facts: Facts) -> Judgement | None:
    """AccessDenied does not say why: role, principal, External ID and conditions read alike across accounts."""
    if facts.trust is None:
        return None
    answer, trust = facts.trust.right, facts.trust
    if answer.ok:
        return passed(answer)
    if not answer.is_denied:
        return cannot_tell(answer)
    base_is_let_in = trust.base is not None and trust.base.allowed is True
    diagnosis = refusals.of_assume(answer.denial, base_is_let_in=base_is_let_in, near_is_let_in=bool(trust.near))
    stands = inferred.trust(facts.subject, external_id=trust.near) if trust.near and not base_is_let_in else ""
    return refused(facts, answer, diagnosis, words={"action": answer.action}, inferred=stands)


@check(
    "role.refuses_others",
    title=lazy("Your role refuses everybody else"),
    step=2,
    needs=("role.assumable",),
    document=refusals.TRUST,
    remedy=(
        lazy(
            "Name our service role {service_role_arn} alone as the principal of the trust policy of {role_name}: "
            "AWS let a role of another AWS account become {role_arn}, so anybody who learns your External ID could. "
            "Set the trust policy to the document below."
        )
    ),
)
def refuses_others(facts: Facts) -> Judgement | None:
    """A role in another account of ours probes the role with the right External ID,
    and so does another principal of our own account.

    The second one getting in is a warning: the trust policy names our whole account, as the console writes it at first.
    """
    if facts.trust is None:
        return None
    outsider, base = facts.trust.outsider, facts.trust.base
    if outsider is None:
        return Judgement(Verdict.UNKNOWN, {"why": lazy("no canary role is there to probe with")}, wait=Wait.OURS)
    if outsider.allowed is None:
        return Judgement(Verdict.UNKNOWN, evidence_of(outsider), wait=Wait.AWS)
    if outsider.allowed:
        stands = inferred.trust(facts.subject, principal="*")
        return external_id.insecure(facts.clock, outsider, refusals.EVERYBODY, inferred=stands)
    if base is not None and base.allowed:
        words = LETS_THE_ACCOUNT_IN.format(
            role_name=facts.subject.role.name,
            service_role_arn=facts.subject.access.service_role,
            account=facts.subject.access.service_role.account,
        )
        return passed(outsider, warning=words)
    return passed(outsider)


@check(
    "account.identity",
    title=lazy("We become your role and nobody else"),
    step=2,
    needs=("role.assumable",),
    document="",
    remedy=lazy(
        "Give the ARN of the role itself, as this prints it: aws iam get-role --role-name {role_name} --query Role.Arn."
    ),
)
def identity(facts: Facts) -> Judgement | None:
    """GetCallerIdentity with the role's session names its account and its role."""
    if facts.account is None:
        is_wide = facts.trust is not None and facts.trust.is_wide
        return skipped(lazy("We use no role that lets others in.")) if is_wide else None
    answer = facts.account.answer
    if not answer.ok:
        return cannot_tell(answer) or skipped(lazy("AWS did not say whom we became."))
    evidence = {"account": facts.account.account, "arn": facts.account.arn}
    became = arns.parts(facts.account.arn)
    # assumed-role/NAME/SESSION: without the path of the role
    named = became.resource.split("/") if became else []
    if facts.account.account != facts.subject.role.account or named[1:2] != [facts.subject.role.name]:
        return Judgement(Verdict.FAIL, {**evidence_of(answer), **evidence}, ("role_not_found",), step=2)
    return passed(answer, **evidence)
