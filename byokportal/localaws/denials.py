"""AccessDenied in AWS's words (IAM guide, "Troubleshoot access denied error messages";
aws-error-causes.md, section 1)."""

from __future__ import annotations

from byokportal.localaws.errors import AwsError
from byokportal.localaws.identities import Caller
from keys.policies import evaluator
from keys.policies.evaluator import EvalDecision, Evaluation

HIDDEN = (
    "because the resource does not exist in this Region, no resource-based policies allow access, "
    "or a resource-based policy explicitly denies access"
)


def assume_role(caller: Caller, action: str, role_arn: str, evaluation: Evaluation) -> AwsError:
    """Across accounts STS says only that it is so, whatever the cause."""
    words = f"User: {caller.principal.arn} is not authorized to perform: {action} on resource: {role_arn}"
    if evaluator.account_of(role_arn) == caller.account:
        words += tail(evaluation, action)
    return AwsError("AccessDenied", words, status=403)


def plain(
    caller: Caller, action: str, resource: str, evaluation: Evaluation, *, code: str = "AccessDenied", status: int = 403
) -> AwsError:
    """The words of services whose resources have no policies of their own."""
    words = (
        f"User: {caller.principal.arn} is not authorized to perform: {action} on resource: "
        f"{resource}{tail(evaluation, action)}"
    )
    return AwsError(code, words, status=status)


def kms(caller: Caller, action: str, key_arn: str, evaluation: Evaluation, *, by_ciphertext: bool = False) -> AwsError:
    """In another account the key, its absence and its policy are not told apart."""
    if evaluation.layer == evaluator.RESOURCE and evaluator.account_of(key_arn) != caller.account:
        return hidden(caller, action, by_ciphertext=by_ciphertext)
    where = "on the resource associated with this ciphertext" if by_ciphertext else f"on resource: {key_arn}"
    words = f"User: {caller.principal.arn} is not authorized to perform: {action} {where}{tail(evaluation, action)}"
    return AwsError("AccessDeniedException", words)


def hidden(caller: Caller, action: str, *, by_ciphertext: bool = False) -> AwsError:
    """The refusal that leaves open whether there is such a key at all."""
    where = "the resource associated with this ciphertext" if by_ciphertext else "this resource"
    return AwsError(
        "AccessDeniedException",
        f"User: {caller.principal.arn} is not authorized to perform: {action} on {where} {HIDDEN}",
    )


def tail(evaluation: Evaluation, action: str) -> str:
    """Return what AWS adds: the kind of policy that decided."""
    article = "an" if evaluation.layer[0] in "aeiou" else "a"
    if evaluation.decision is EvalDecision.EXPLICIT_DENY:
        return f" with an explicit deny in {article} {evaluation.layer}"
    return f" because no {evaluation.layer} allows the {action} action"
