"""Can our service role become the tenant's role, and whom do we become? Pure."""

from __future__ import annotations

from keys.checks import causes, ours, remedies
from keys.checks.base import Finding, Verdict, cannot_tell, check, evidence_of, passed, refused, skipped
from keys.checks.facts import Facts


@check("role.assumable", title="Your role lets our service role in with your External ID", step=2, needs=ours.NAMES, document=causes.TRUST,
       remedy=remedies.REMEDIES["external_id_mismatch"])  # fmt: skip
def assumable(facts: Facts) -> Finding | None:
    """AccessDenied does not say why: role, principal, External ID and conditions read alike across accounts."""
    if facts.trust is None:
        return None
    answer = facts.trust.right
    if answer.ok:
        return passed(answer)
    if not answer.is_denied:
        return cannot_tell(answer)
    diagnosis = causes.of_assume(answer.denial)
    return refused(facts, answer, diagnosis, words={"action": answer.action})


@check("account.identity", title="We become your role and nobody else", step=2, needs=("role.assumable",), document="",
       remedy="Give the ARN of the role itself, as this prints it: " + remedies.SHOW_ROLE + ".")  # fmt: skip
def identity(facts: Facts) -> Finding | None:
    """GetCallerIdentity with the role's session names its account and its role."""
    if facts.account is None:
        return None
    answer = facts.account.answer
    if not answer.ok:
        return cannot_tell(answer) or skipped("AWS did not say whom we became.")
    evidence = {"account": facts.account.account, "arn": facts.account.arn}
    named = facts.account.arn.split(":")[-1].split("/")  # assumed-role/NAME/SESSION: without the path of the role
    if facts.account.account != facts.subject.role_account or named[1:2] != [facts.subject.role_name]:
        return Finding(Verdict.FAIL, {**evidence_of(answer), **evidence}, ("role_not_found",), step=2)
    return passed(answer, **evidence)
