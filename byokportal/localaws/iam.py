"""IAM: who may call it, and what becomes of a call; moto keeps the rows (IAM API reference)."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from byokportal.localaws import (
    denials,
    iam_limits,
    iam_linked_roles,
    iam_oneself,
    iam_simulation,
    identities,
    moto_adapter,
    visibility,
)
from byokportal.localaws.errors import AwsError
from byokportal.localaws.faults import Call
from byokportal.localaws.identities import Caller, iam
from byokportal.localaws.state import State
from keys.policies import evaluator
from keys.policies.evaluator import Request

READS = re.compile(r"(Get|List|Simulate)\w+")
# Of these the boundary that the role or user has already is the request's (Service Authorization Reference, IAM).
OF_A_BOUNDED_HOLDER = {
    f"{verb}{kind}{what}"
    for kind in ("Role", "User")
    for verb, what in (
        ("Attach", "Policy"),
        ("Detach", "Policy"),
        ("Put", "Policy"),
        ("Delete", "Policy"),
        ("Delete", "PermissionsBoundary"),
    )
}
# What a request names → the path that its ARN begins with, and moto's rows of it.
NAMED = {
    "GroupName": ("group", "groups"),
    "InstanceProfileName": ("instance-profile", "instance_profiles"),
    "RoleName": ("role", "roles"),
    "UserName": ("user", "users"),
}


def answer(state: State, caller: Caller, region: str, form: Mapping[str, str], now: datetime) -> moto_adapter.Answer:
    """Do one call: authorise, refuse what AWS refuses, let moto do the rest."""
    action = form["Action"]
    form = iam_oneself.named(caller, action, form)
    resource = _resource(caller.account, form)
    context = identities.context_of(caller, region, now) | {"aws:ResourceAccount": caller.account}
    if "PolicyArn" in form:
        context["iam:PolicyARN"] = form["PolicyArn"]
    if "PermissionsBoundary" in form:
        context["iam:PermissionsBoundary"] = form["PermissionsBoundary"]
    elif action in OF_A_BOUNDED_HOLDER:
        boundary = getattr(iam_limits.holder(caller.account, form), "permissions_boundary_arn", None)
        context |= {"iam:PermissionsBoundary": boundary} if boundary else {}
    request = Request(f"iam:{action}", resource, caller.principal, context)
    evaluation = evaluator.evaluate(request, **caller.layers(state, caller.account))
    if not evaluation.allowed:
        raise denials.plain(caller, f"iam:{action}", resource, evaluation)
    if action == "GetUser" and "UserName" not in form:
        return iam_oneself.root_user(caller)
    about = iam_limits.holder(caller.account, form)
    iam_linked_roles.check(caller.account, action, form, about)
    iam_limits.check(state, caller.account, action, form, now)
    if action == "SimulatePrincipalPolicy":
        return iam_simulation.answer(state, caller, form, now)
    before = identities.directory(caller.account) if _is_held(state, caller.account, action) else {}
    if action in {"PutUserPermissionsBoundary", "DeleteUserPermissionsBoundary"}:
        answered = _bound_user(caller.account, action, form)
    else:
        answered = moto_adapter.call("iam", caller.account, "us-east-1", urllib.parse.urlencode(form).encode())
    if answered.status < 400 and action == "CreateUser" and "PermissionsBoundary" in form:
        # moto forgets it
        iam_limits.holder(caller.account, form).permissions_boundary_arn = form["PermissionsBoundary"]
    if answered.status < 400 and not READS.fullmatch(action):
        answered = iam_linked_roles.as_aws(caller.account, action, form, about, answered)
        if action in {"DeleteRole", "DeleteServiceLinkedRole", "DeleteUser"}:
            identities.bury(state, str(about.arn), str(about.id))
        _hold(state, caller.account, action, before, now)
        state.changed()
    return answered


def _bound_user(account: str, action: str, form: Mapping[str, str]) -> moto_adapter.Answer:
    """Set or take away a user's boundary: moto knows only those of roles."""
    user = iam_limits.holder(account, form)
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
    """Return the ARN that a request is about, with its path where it exists already."""
    for about in ("PolicySourceArn", "OpenIDConnectProviderArn", "SAMLProviderArn"):
        if about in form:
            return form[about]
    if form.get("PolicyArn", "").startswith("arn:") and not {"RoleName", "UserName", "GroupName"} & form.keys():
        return form["PolicyArn"]
    for about, (kind, rows) in NAMED.items():
        if about in form:
            found = (str(row.arn) for row in getattr(iam(account), rows).values() if row.name == form[about])
            return next(found, f"arn:aws:iam::{account}:{kind}{form.get('Path', '/')}{form[about]}")
    if "PolicyName" in form:
        return f"arn:aws:iam::{account}:policy{form.get('Path', '/')}{form['PolicyName']}"
    return "*"
