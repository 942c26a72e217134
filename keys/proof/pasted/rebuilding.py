"""A policy put together again: our statement in its place, everything of theirs where it stood; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keys.proof.pasted import policy_grammar
from keys.proof.pasted.findings import Policy
from keys.proof.pasted.unwrapping import TOP


def with_sid(statement: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Return our statement under the Sid that they gave it, where AWS takes that one."""
    sid = theirs.get("Sid")
    if not isinstance(sid, str) or not sid or not policy_grammar.ALPHANUMERIC.fullmatch(sid):
        return dict(statement)
    return {"Sid": sid, **{key: value for key, value in statement.items() if key != "Sid"}}


def sparing(statement: dict[str, Any], *arns: str) -> dict[str, Any]:
    """Return a Deny that no longer hits these roles:
    `aws:PrincipalArn` is the role's ARN in every call of its sessions."""
    condition = statement.get("Condition")
    condition = dict(condition) if isinstance(condition, dict) else {}
    operator = next((name for name in condition if name.lower() == "arnnotequals"), "ArnNotEquals")
    keys = dict(condition[operator]) if isinstance(condition.get(operator), dict) else {}
    key = next((name for name in keys if name.lower() == "aws:principalarn"), "aws:PrincipalArn")
    already = keys.get(key, [])
    names = [*(already if isinstance(already, list) else [already]), *arns]
    keys[key] = names if len(names) > 1 else names[0]
    return {**statement, "Condition": {**condition, operator: keys}}


def rebuilt(policy: Policy, kept: list[Any], *, version: str = policy_grammar.VERSION) -> Policy:
    """Return the policy with these statements, its other elements in their order; Sids stand once."""
    known = {name: value for name, value in policy.items() if name in TOP}
    known = {"Version": version, **known} if "Version" not in known else {**known, "Version": version}
    return {**known, "Statement": _unique_sids([_with_saved_principals(each) for each in kept])}


def _with_saved_principals(statement: Any) -> Any:
    """Return a statement without the AWS principals that AWS would not save, as long as somebody else is named."""
    principal = statement.get("Principal") if isinstance(statement, dict) else None
    names = principal.get("AWS") if isinstance(principal, dict) else None
    if not isinstance(principal, dict) or not isinstance(names, list):
        return statement
    kept = [each for each in names if not isinstance(each, str) or policy_grammar.is_saved(each)]
    if len(kept) == len(names) or not kept:
        return statement
    return {**statement, "Principal": {**principal, "AWS": kept}}


def _unique_sids(kept: list[Any]) -> list[Any]:
    seen: set[str] = set()
    result: list[Any] = []
    for statement in kept:
        sid = statement.get("Sid") if isinstance(statement, dict) else None
        if isinstance(sid, str) and sid in seen:
            statement = {name: value for name, value in statement.items() if name != "Sid"}
        elif isinstance(sid, str):
            seen.add(sid)
        result.append(statement)
    return result
