"""Ask the evaluator with plain JSON: one request with its policies in, the verdict and its reason out; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from keys.policies import conditions, evaluator
from keys.policies.evaluator import Policy, Principal, Request

ARN = re.compile(
    r"arn:(?P<partition>[a-z-]{1,20}):(?P<service>iam|sts)::(?P<account>[0-9]{12}):(?P<rest>[\x21-\x7e]{1,1900})",
    re.ASCII,
)
ACCOUNT = re.compile(r"[0-9]{12}", re.ASCII)
PROVIDERS = {"accounts.google.com", "graph.facebook.com", "www.amazon.com", "cognito-identity.amazonaws.com"}
PROVIDER_ARN = re.compile(r"arn:[a-z-]{1,20}:iam::[0-9]{12}:(saml|oidc)-provider/[\x21-\x7e]{1,1900}", re.ASCII)
SERVICE = re.compile(r"[a-z0-9.-]{1,100}\.amazonaws\.com(\.cn)?", re.ASCII)
ACTION = re.compile(r"[A-Za-z0-9-]{1,64}:[A-Za-z0-9*?]{1,128}", re.ASCII)
FIELDS = {
    "id",
    "action",
    "resource",
    "principal",
    "identityPolicies",
    "resourcePolicy",
    "context",
    "resourceAccount",
    "sessionPolicy",
    "permissionBoundaries",
    "scps",
    "rcps",
}


class Unreadable(ValueError):
    """A question that cannot be answered; the message says what is wrong with it."""


def simulate(question: Mapping[str, Any]) -> dict[str, str]:
    """Decide one request.

    Args:
        question: `action`, `resource`, `principal` and the policies, as `manage.py simulate_policy` takes them.

    Returns:
        `verdict` (allowed, implicit deny, explicit deny) and `because`, the layer and statement that decided.

    Raises:
        Unreadable: a field is missing, unknown or of the wrong kind, or a policy is none.
    """
    unknown = set(question) - FIELDS
    if unknown:
        raise Unreadable(f"There is no field {sorted(map(str, unknown))[0]}.")
    who = principal_of(question.get("principal"))
    action = _text(question, "action")
    if not ACTION.fullmatch(action):
        raise Unreadable("action is a service and an operation, like kms:Decrypt.")
    resource = _text(question, "resource")
    account = question.get("resourceAccount") or ""
    if not isinstance(account, str) or (account and not ACCOUNT.fullmatch(account)):
        raise Unreadable("resourceAccount is an account id of 12 digits.")
    context = _context(question.get("context"))
    who = _with_role_of(who, context)
    request = Request(action, resource, who, {**_implied(who, action, resource, account), **context}, account)
    evaluation = evaluator.evaluate(
        request,
        identity=_policies(question, "identityPolicies"),
        resource=_policy(question.get("resourcePolicy"), "resourcePolicy"),
        session=_policy(question.get("sessionPolicy"), "sessionPolicy"),
        boundaries=_policies(question, "permissionBoundaries"),
        scps=_levels(question, "scps"),
        rcps=_levels(question, "rcps"),
    )
    return {"verdict": evaluation.decision.value, "because": evaluation.because}


def principal_of(given: object) -> Principal:
    """Read a principal: account id, root, role, user, session, service or provider, alone or as
    `{"AWS": …}`, `{"Service": …}` or `{"Federated": …}`; `*` is nobody in particular.

    Raises:
        Unreadable: it is none of these.
    """
    kind = ""
    if isinstance(given, Mapping) and len(given) == 1:
        ((kind, given),) = given.items()
        if kind not in {"AWS", "Service", "Federated"}:
            raise Unreadable("principal is of kind AWS, Service or Federated.")
    if not isinstance(given, str):
        raise Unreadable("principal is missing.")
    if given == "*" and not kind:
        return Principal("*", "")
    if given in PROVIDERS or PROVIDER_ARN.fullmatch(given) or (kind == "Federated" and 1 <= len(given) <= 2048):
        return Principal(given, "", federated=given)
    if SERVICE.fullmatch(given):
        return Principal(given, "", service=given)
    if ACCOUNT.fullmatch(given):
        return Principal(f"arn:aws:iam::{given}:root", given)
    match = ARN.fullmatch(given)
    if match is None:
        raise Unreadable("principal is an account id, the ARN of a root, role, user or session, or a service.")
    kind, _, rest = match["rest"].partition("/")
    if match["service"] == "sts" and kind == "assumed-role" and "/" in rest:
        name = rest.partition("/")[0]
        role_arn = f"arn:{match['partition']}:iam::{match['account']}:role/{name}"
        return Principal(given, match["account"], role_arn=role_arn, any_path=True)
    if match["service"] == "iam" and ((kind in {"user", "role"} and rest) or match["rest"] == "root"):
        return Principal(given, match["account"], role_arn=given if kind == "role" else "")
    if match["service"] == "sts" and kind == "federated-user" and rest:
        return Principal(given, match["account"])
    raise Unreadable("principal is an account id, the ARN of a root, role, user or session, or a service.")


def _with_role_of(who: Principal, context: Mapping[str, Any]) -> Principal:
    """Complete a principal by its context: a session's ARN leaves out the path of its role,
    and no ARN tells the unique id."""
    arn, user_id = _single(context, "aws:PrincipalArn"), _single(context, "aws:userid")
    same = evaluator.account_of(arn) == who.account and arn.rpartition("/")[2] == who.role_arn.rpartition("/")[2]
    role_arn = arn if who.role_arn and same and ":role/" in arn else who.role_arn
    any_path = who.any_path and not arn
    return replace(who, role_arn=role_arn, unique_id=user_id.partition(":")[0], any_path=any_path)


def _single(context: Mapping[str, Any], name: str) -> str:
    found = conditions.lookup(context, name)
    return found[0] if found is not None and len(found) == 1 else ""


def _implied(who: Principal, action: str, resource: str, account: str) -> dict[str, str]:
    """Return the context keys that follow from the question: AWS puts them into every request."""
    implied = {"aws:ResourceAccount": account or evaluator.account_of(resource) or who.account}
    if who.service:
        implied |= {"aws:PrincipalIsAWSService": "true", "aws:PrincipalServiceName": who.service}
    elif who.account:
        implied |= {
            "aws:PrincipalArn": who.role_arn or who.arn,
            "aws:PrincipalAccount": who.account,
            "aws:PrincipalIsAWSService": "false",
            "aws:ViaAWSService": "false",
        }
        if ":user/" in who.arn:
            implied["aws:username"] = who.arn.rpartition("/")[2]
        if action.lower().startswith("kms:"):
            implied["kms:CallerAccount"] = who.account
    return {name: value for name, value in implied.items() if value}


def _text(question: Mapping[str, Any], name: str) -> str:
    value = question.get(name)
    if not isinstance(value, str) or not 1 <= len(value) <= 2048:
        raise Unreadable(f"{name} is a text of 1 to 2,048 characters.")
    return value


def _context(given: object) -> dict[str, str | Sequence[str]]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise Unreadable("context is an object of keys with a text or a list of texts.")
    context: dict[str, str | Sequence[str]] = {}
    for name, value in given.items():
        values = conditions.texts(value)
        if any(
            isinstance(each, Mapping | list | None.__class__)
            for each in (value if isinstance(value, list) else [value])
        ):
            raise Unreadable(f"The context key {name} has a text or a list of texts.")
        context[str(name)] = values if isinstance(value, list) else values[0]
    return context


def _policies(question: Mapping[str, Any], name: str) -> list[Policy]:
    given = question.get(name)
    if given is None:
        return []
    if not isinstance(given, list):
        raise Unreadable(f"{name} is a list of policies.")
    found = [_policy(each, name) for each in given]
    return [policy for policy in found if policy is not None]


def _levels(question: Mapping[str, Any], name: str) -> list[Policy | list[Policy]]:
    """Return the policies of an organization; a list in the list is a level of its own."""
    given = question.get(name)
    if not isinstance(given, list):
        return [*_policies(question, name)]
    levels: list[Policy | list[Policy]] = []
    for each in given:
        levels += [_policies({name: each}, name)] if isinstance(each, list) else _policies({name: [each]}, name)
    return levels


def _policy(given: object, name: str) -> Policy | None:
    """Return a policy after a look at its grammar: what AWS would not have saved is not judged."""
    if given is None:
        return None
    if not isinstance(given, Mapping):
        raise Unreadable(f"{name}: a policy is an object.")
    statements = given.get("Statement")
    if given.get("Version", "2008-10-17") not in ("2012-10-17", "2008-10-17"):
        raise Unreadable(f"{name}: the Version is 2012-10-17 or 2008-10-17.")
    for statement in statements if isinstance(statements, list) else [statements]:
        if not isinstance(statement, Mapping):
            raise Unreadable(f"{name}: a Statement is an object or a list of objects.")
        if statement.get("Effect") not in ("Allow", "Deny"):
            raise Unreadable(f"{name}: an Effect is Allow or Deny.")
        both = "Action" in statement and "NotAction" in statement
        if both or (name != "resourcePolicy" and not {"Action", "NotAction"} & set(statement)):
            raise Unreadable(f"{name}: a statement has either Action or NotAction.")
        if "Resource" in statement and "NotResource" in statement:
            raise Unreadable(f"{name}: a statement has either Resource or NotResource.")
        if "Principal" in statement and "NotPrincipal" in statement:
            raise Unreadable(f"{name}: a statement has either Principal or NotPrincipal.")
        if "Condition" in statement and not conditions.readable(statement["Condition"]):
            raise Unreadable(f"{name}: a Condition is operators that AWS knows over context keys with their values.")
    return given
