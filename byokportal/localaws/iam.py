"""IAM: who may call it, what it refuses to save, and the quotas (IAM guide, "IAM and AWS STS quotas");
moto keeps the rows."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from byokportal.localaws import denials, iam_simulation, identities, moto_adapter, visibility
from byokportal.localaws.errors import AwsError
from byokportal.localaws.faults import Call
from byokportal.localaws.identities import Caller, iam
from byokportal.localaws.state import State
from keys.policies import evaluator
from keys.policies.evaluator import Request

READS = re.compile(r"(Get|List|Simulate)\w+")
MANAGED, INLINE, TRUST = 6_144, 10_240, 2_048  # characters, white space not counted
ATTACHED = 10  # that a policy has five versions at most is moto's to say
INVALID_PRINCIPAL = 'Invalid principal in policy: "AWS":"{principal}"'


def answer(
    state: State, caller: Caller, region: str, form: Mapping[str, str], body: bytes, now: datetime
) -> moto_adapter.Answer:
    """Do one call: authorise, refuse what AWS refuses, let moto do the rest."""
    action = form.get("Action", "")
    resource = _resource(caller.account, form)
    context = identities.context_of(caller, region, now) | {"aws:ResourceAccount": caller.account}
    if "PolicyArn" in form:
        context["iam:PolicyARN"] = form["PolicyArn"]
    if "PermissionsBoundary" in form:
        context["iam:PermissionsBoundary"] = form["PermissionsBoundary"]
    request = Request(f"iam:{action}", resource, caller.principal, context)
    decision = evaluator.evaluate(request, **caller.layers(state, caller.account))
    if not decision.allowed:
        raise denials.plain(caller, f"iam:{action}", resource, decision)
    _refuse(state, caller.account, action, form, now)
    if action == "SimulatePrincipalPolicy":
        return iam_simulation.answer(state, caller, form, now)
    before = identities.directory(caller.account) if _is_held(state, caller.account, action) else {}
    buried = _to_bury(caller.account, action, form)
    if action in {"PutUserPermissionsBoundary", "DeleteUserPermissionsBoundary"}:
        answered = _bound_user(caller.account, action, form)
    else:
        answered = moto_adapter.call("iam", caller.account, "us-east-1", body)
    if answered.status < 400 and action == "CreateUser" and "PermissionsBoundary" in form:
        _holder(caller.account, form).permissions_boundary_arn = form["PermissionsBoundary"]  # moto forgets it
    if answered.status < 400 and not READS.fullmatch(action):
        if buried:
            identities.bury(state, *buried)
        _hold(state, caller.account, action, before, now)
        state.changed()
    return answered


def _bound_user(account: str, action: str, form: Mapping[str, str]) -> moto_adapter.Answer:
    """Set or take away a user's boundary: moto knows only those of roles."""
    user = _holder(account, form)
    if user is None:
        raise AwsError("NoSuchEntity", f"The user with name {form.get('UserName')} cannot be found.", status=404)
    user.permissions_boundary_arn = form.get("PermissionsBoundary")
    text = (
        f'<{action}Response xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><ResponseMetadata><RequestId></RequestId>'
        f"</ResponseMetadata></{action}Response>"
    )
    return moto_adapter.Answer(200, text.encode(), "text/xml")


def _is_held(state: State, account: str, action: str) -> bool:
    return not READS.fullmatch(action) and any(rule["fault"] == "iam-delay" for rule in state.faults.rules())


def _hold(state: State, account: str, action: str, before: Mapping[str, Any], now: datetime) -> None:
    """Let a change be seen only after the delay that a rule has for it."""
    for rule in state.faults.met(Call("iam", action, (account,)), wanted=lambda fault: fault == "iam-delay"):
        state.visibility.hold("iam", account, before, visibility.until(now, float(rule.value)))


def _resource(account: str, form: Mapping[str, str]) -> str:
    if form.get("PolicyArn", "").startswith("arn:") and "RoleName" not in form and "UserName" not in form:
        return form["PolicyArn"]
    if "RoleName" in form:
        role = iam(account).roles and next((r for r in iam(account).roles.values() if r.name == form["RoleName"]), None)
        return str(role.arn) if role else f"arn:aws:iam::{account}:role{form.get('Path', '/')}{form['RoleName']}"
    if "UserName" in form:
        return f"arn:aws:iam::{account}:user{form.get('Path', '/')}{form['UserName']}"
    if "PolicyName" in form:
        return f"arn:aws:iam::{account}:policy{form.get('Path', '/')}{form['PolicyName']}"
    return "*"


def _refuse(state: State, account: str, action: str, form: Mapping[str, str], now: datetime) -> None:
    """Raise where AWS refuses and moto would not."""
    if action in {"CreateRole", "UpdateAssumeRolePolicy"}:
        text = form.get("AssumeRolePolicyDocument", form.get("PolicyDocument", ""))
        policy = _document(text)
        _within(text, TRUST, "ACLSizePerRole", "Cannot exceed quota for ACLSizePerRole: 2048")
        identities.check_principals(state, policy, code="MalformedPolicyDocument", words=INVALID_PRINCIPAL, now=now)
        for statement in evaluator.statements(policy):
            if "Resource" in statement:
                raise AwsError("MalformedPolicyDocument", "Has prohibited field Resource")
            if "Principal" not in statement and "NotPrincipal" not in statement:
                raise AwsError("MalformedPolicyDocument", "Missing required field Principal")
    elif action in {"CreatePolicy", "CreatePolicyVersion"}:
        _document(form.get("PolicyDocument", ""), identity=True)
        _within(form["PolicyDocument"], MANAGED, "PolicySize", "Cannot exceed quota for PolicySize: 6144")
    elif action in {"PutRolePolicy", "PutUserPolicy"}:
        _document(form.get("PolicyDocument", ""), identity=True)
        holder = _holder(account, form)
        if holder is not None:
            others = [document for name, document in holder.policies.items() if name != form.get("PolicyName")]
            total = sum(_length(document if isinstance(document, str) else json.dumps(document)) for document in others)
            if total + _length(form["PolicyDocument"]) > INLINE:
                words = (
                    f"Maximum policy size of {INLINE} bytes exceeded for role "
                    f"{form.get('RoleName', form.get('UserName'))}"
                )
                raise AwsError("LimitExceeded", words, status=409)
    elif action in {"AttachRolePolicy", "AttachUserPolicy"}:
        holder = _holder(account, form)
        if (
            holder is not None
            and form.get("PolicyArn") not in holder.managed_policies
            and len(holder.managed_policies) >= ATTACHED
        ):
            raise AwsError("LimitExceeded", "Cannot exceed quota for PoliciesPerRole: 10", status=409)


def _holder(account: str, form: Mapping[str, str]) -> Any:
    rows = iam(account).roles if "RoleName" in form else iam(account).users
    name = form.get("RoleName", form.get("UserName"))
    return next((row for row in rows.values() if row.name == name), None)


def _to_bury(account: str, action: str, form: Mapping[str, str]) -> tuple[str, str] | None:
    if action not in {"DeleteRole", "DeleteUser"}:
        return None
    holder = _holder(account, form)
    return (str(holder.arn), str(holder.id)) if holder is not None else None


def _document(text: str, *, identity: bool = False) -> dict[str, object]:
    try:
        policy = json.loads(text)
    except ValueError:
        words = "Syntax errors in policy." if identity else "This policy contains invalid Json"
        raise AwsError("MalformedPolicyDocument", words) from None
    if not isinstance(policy, dict) or "Statement" not in policy:
        raise AwsError("MalformedPolicyDocument", "Syntax errors in policy.")
    if policy.get("Version", "2008-10-17") not in ("2012-10-17", "2008-10-17"):
        raise AwsError("MalformedPolicyDocument", "Syntax errors in policy.")
    if identity and any("Principal" in statement for statement in evaluator.statements(policy)):
        raise AwsError("MalformedPolicyDocument", "Policy document should not specify a principal.")
    if identity:
        _of_this_partition(policy)
    return policy


def _of_this_partition(policy: Mapping[str, object]) -> None:
    """Refuse resources of another partition than the account's, which moto takes."""
    for statement in evaluator.statements(policy):
        for resource in (*evaluator.listed(statement.get("Resource")), *evaluator.listed(statement.get("NotResource"))):
            parts = str(resource).split(":")
            if len(parts) > 1 and parts[0] == "arn" and parts[1] not in {"aws", "*"}:
                words = f'Partition "{parts[1]}" is not valid for resource "{resource}".'
                raise AwsError("MalformedPolicyDocument", words)


def _length(text: str) -> int:
    return len(re.sub(r"\s", "", text))


def _within(text: str, limit: int, quota: str, words: str) -> None:
    if _length(text) > limit:
        raise AwsError("LimitExceeded", words, status=409)
