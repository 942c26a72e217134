"""IAM's SimulatePrincipalPolicy, answered by our evaluator (IAM API reference)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from xml.sax.saxutils import escape

from byokportal.localaws import identities, moto_adapter
from byokportal.localaws.errors import AwsError
from byokportal.localaws.identities import Caller
from byokportal.localaws.state import State
from keys.policies import evaluator
from keys.policies.evaluator import EvalDecision, Policy, Principal, Request

WORDS = {
    EvalDecision.ALLOWED: "allowed",
    EvalDecision.EXPLICIT_DENY: "explicitDeny",
    EvalDecision.IMPLICIT_DENY: "implicitDeny",
}
NAMESPACE = "https://iam.amazonaws.com/doc/2010-05-08/"


def answer(state: State, caller: Caller, form: Mapping[str, str], now: datetime) -> moto_adapter.Answer:
    """Say what a user, group or role may do, action by action and resource by resource."""
    source = form.get("PolicySourceArn", "")
    holder = identities.holder_by_arn(state, source, now) or identities.group_by_arn(state, source)
    if holder is None or holder.account != caller.account:
        raise AwsError("NoSuchEntity", f"The entity {source} cannot be found.", status=404)
    actions = _members(form, "ActionNames")
    who = Principal(holder.arn, holder.account, holder.unique_id, holder.arn if ":role/" in holder.arn else "")
    identity = [*holder.identity, *(_policy(text) for text in _members(form, "PolicyInputList"))]
    boundaries = [_policy(text) for text in _members(form, "PermissionsBoundaryPolicyInputList")] or holder.boundaries
    resource_policy = _policy(form["ResourcePolicy"]) if form.get("ResourcePolicy") else None
    results = []
    for action in actions:
        for resource in _members(form, "ResourceArns") or ["*"]:
            owner = form.get("ResourceOwner", "").split(":")[4:5] or [evaluator.account_of(resource) or holder.account]
            request = Request(action, resource, who, _context(form, holder.account), owner[0])
            # Without a resource policy the simulator speaks of the identity side alone, keys and roles included.
            stand_in = resource_policy or _trusting(holder.account, action, resource)
            evaluation = evaluator.evaluate(
                request,
                identity=identity,
                resource=stand_in,
                boundaries=boundaries,
                scps=state.scps.get(holder.account, ()),
            )
            results.append(_result(action, resource, evaluation))
    text = (
        f'<SimulatePrincipalPolicyResponse xmlns="{NAMESPACE}"><SimulatePrincipalPolicyResult>'
        "<IsTruncated>false</IsTruncated>"
        f"<EvaluationResults>{''.join(results)}</EvaluationResults></SimulatePrincipalPolicyResult>"
        "<ResponseMetadata><RequestId></RequestId></ResponseMetadata></SimulatePrincipalPolicyResponse>"
    )
    return moto_adapter.Answer(200, text.encode(), "text/xml")


def _trusting(account: str, action: str, resource: str) -> Policy:
    return {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"AWS": account}, "Action": action, "Resource": "*"}],
    }


def _result(action: str, resource: str, evaluation: evaluator.Evaluation) -> str:
    matched = (
        (
            f"<member><SourcePolicyId>{escape(evaluation.statement)}</SourcePolicyId>"
            "<SourcePolicyType>IAM Policy</SourcePolicyType></member>"
        )
        if evaluation.statement
        else ""
    )
    return (
        f"<member><EvalActionName>{escape(action)}</EvalActionName>"
        f"<EvalResourceName>{escape(resource)}</EvalResourceName>"
        f"<EvalDecision>{WORDS[evaluation.decision]}</EvalDecision><MatchedStatements>{matched}</MatchedStatements>"
        "<MissingContextValues/></member>"
    )


def _members(form: Mapping[str, str], name: str) -> list[str]:
    return [form[f"{name}.member.{n}"] for n in range(1, 201) if f"{name}.member.{n}" in form]


def _context(form: Mapping[str, str], account: str) -> dict[str, Any]:
    context: dict[str, Any] = {"aws:PrincipalAccount": account, "kms:CallerAccount": account}
    for n in range(1, 101):
        prefix = f"ContextEntries.member.{n}"
        if f"{prefix}.ContextKeyName" not in form:
            break
        values = [
            form[f"{prefix}.ContextKeyValues.member.{m}"]
            for m in range(1, 51)
            if f"{prefix}.ContextKeyValues.member.{m}" in form
        ]
        context[form[f"{prefix}.ContextKeyName"]] = (
            values if form.get(f"{prefix}.ContextKeyType", "").endswith("List") else values[0] if values else ""
        )
    return context


def _policy(text: str) -> Policy:
    try:
        policy = json.loads(text)
    except ValueError:
        policy = None
    if not isinstance(policy, dict) or not evaluator.statements(policy):
        raise AwsError("InvalidInput", "The input policy is not valid.")
    return policy
