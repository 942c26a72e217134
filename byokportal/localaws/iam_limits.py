"""What IAM refuses to save, to attach and to delete, and its quotas (IAM API reference; IAM guide, "IAM and AWS STS
quotas"), where moto would do it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from byokportal.localaws import identities
from byokportal.localaws.errors import AwsError
from byokportal.localaws.identities import iam
from byokportal.localaws.state import State
from keys.policies import evaluator

MANAGED, TRUST = 6_144, 2_048  # characters, white space not counted
INLINE = {"Role": 10_240, "User": 2_048, "Group": 5_120}  # of all inline policies together
ATTACHED, GROUPS = 10, 10  # that a policy has five versions at most is moto's to say
INVALID_PRINCIPAL = 'Invalid principal in policy: "AWS":"{principal}"'
LISTS = {"Role": "roles", "User": "users", "Group": "groups", "InstanceProfile": "instance_profiles"}  # moto's names


def check(state: State, account: str, action: str, form: Mapping[str, str], now: datetime) -> None:
    """Raise where AWS refuses and moto would not."""
    if "Marker" in form and not form["Marker"].isdecimal():  # the local AWS gives out numbers
        raise AwsError("ValidationError", "Invalid Marker.")
    _named_already(account, action, form)
    if form.get("PermissionsBoundary") and form["PermissionsBoundary"] not in iam(account).managed_policies:
        words = f"Scope ARN: {form['PermissionsBoundary']} does not exist or is not attachable."
        raise AwsError("NoSuchEntity", words, status=404)
    match action:
        case "CreateRole" | "UpdateAssumeRolePolicy":
            _trust_policy(state, form.get("AssumeRolePolicyDocument", form.get("PolicyDocument", "")), now)
        case "CreatePolicy" | "CreatePolicyVersion":
            _document(form["PolicyDocument"], identity=True)
            _within(form["PolicyDocument"], MANAGED, "PolicySize")
        case "PutRolePolicy" | "PutUserPolicy" | "PutGroupPolicy":
            _document(form["PolicyDocument"], identity=True)
            _inline_policies(account, form)
        case "AttachRolePolicy" | "AttachUserPolicy" | "AttachGroupPolicy":
            _attachment(account, form)
        case "AddUserToGroup":
            _membership(account, form)
        case "RemoveRoleFromInstanceProfile":
            profile = iam(account).instance_profiles.get(form["InstanceProfileName"])
            if profile is not None and form["RoleName"] not in {role.name for role in profile.roles}:
                words = f"The role with name {form['RoleName']} cannot be found in {profile.name}."
                raise AwsError("NoSuchEntity", words, status=404)
        case "DeletePolicy":
            _unused_policy(account, form["PolicyArn"])
        case "DeleteUser" | "DeleteGroup":
            _empty(account, action, form)


def holder(account: str, form: Mapping[str, str]) -> Any:
    """Return the role, user or group that a request names; None when there is none."""
    kind = _kind(form)
    rows = getattr(iam(account), LISTS[kind]).values() if kind else ()
    return next((row for row in rows if row.name == form[f"{kind}Name"]), None)


def _kind(form: Mapping[str, str]) -> str:
    return next((kind for kind in ("Role", "User", "Group") if f"{kind}Name" in form), "")


# --- names --------------------------------------------------------------------------------------------------------


def _named_already(account: str, action: str, form: Mapping[str, str]) -> None:
    """Refuse a name that is taken: names are not distinguished by case (API reference, CreateRole)."""
    kind = action.removeprefix("Create")
    if action == "CreatePolicy":
        mine = (policy for policy in iam(account).managed_policies.values() if not policy.arn.startswith(AWS_OWNED))
        taken, name = {policy.name.lower() for policy in mine}, form["PolicyName"]
        words = f"A policy called {name} already exists. Duplicate names are not allowed."
    elif action.startswith("Create") and kind in LISTS:
        taken, name = {row.name.lower() for row in getattr(iam(account), LISTS[kind]).values()}, form[f"{kind}Name"]
        words = f"{'Instance Profile' if kind == 'InstanceProfile' else kind}"
        words += f" {name} already exists." if kind == "InstanceProfile" else f" with name {name} already exists."
    else:
        return
    if name.lower() in taken:
        raise AwsError("EntityAlreadyExists", words, status=409)


AWS_OWNED = "arn:aws:iam::aws:"


# --- documents ----------------------------------------------------------------------------------------------------


def _trust_policy(state: State, text: str, now: datetime) -> None:
    policy = _document(text)
    _within(text, TRUST, "ACLSizePerRole")
    identities.check_principals(state, policy, code="MalformedPolicyDocument", words=INVALID_PRINCIPAL, now=now)
    for statement in evaluator.statements(policy):
        if "Resource" in statement:
            raise AwsError("MalformedPolicyDocument", "Has prohibited field Resource")
        if "Principal" not in statement and "NotPrincipal" not in statement:
            raise AwsError("MalformedPolicyDocument", "Missing required field Principal")


def _document(text: str, *, identity: bool = False) -> dict[str, object]:
    try:
        policy = json.loads(text)
    except (ValueError, RecursionError):
        words = "Syntax errors in policy." if identity else "This policy contains invalid Json"
        raise AwsError("MalformedPolicyDocument", words) from None
    if not isinstance(policy, dict) or not _has_statements(policy):
        raise AwsError("MalformedPolicyDocument", "Syntax errors in policy.")
    if policy.get("Version", "2008-10-17") not in ("2012-10-17", "2008-10-17"):
        raise AwsError("MalformedPolicyDocument", "Syntax errors in policy.")
    if identity and any("Principal" in statement for statement in evaluator.statements(policy)):
        raise AwsError("MalformedPolicyDocument", "Policy document should not specify a principal.")
    if identity:
        _of_this_partition(policy)
    return policy


def _has_statements(policy: Mapping[str, object]) -> bool:
    """Tell whether there are statements, and all of them are objects."""
    statements = policy.get("Statement")
    found = statements if isinstance(statements, list) else [statements]
    return bool(found) and all(isinstance(statement, dict) for statement in found)


def _of_this_partition(policy: Mapping[str, object]) -> None:
    """Refuse resources of another partition than the account's, which moto takes."""
    for statement in evaluator.statements(policy):
        for resource in (*evaluator.listed(statement.get("Resource")), *evaluator.listed(statement.get("NotResource"))):
            parts = str(resource).split(":")
            if len(parts) > 1 and parts[0] == "arn" and parts[1] not in {"aws", "*"}:
                words = f'Partition "{parts[1]}" is not valid for resource "{resource}".'
                raise AwsError("MalformedPolicyDocument", words)


# --- quotas -------------------------------------------------------------------------------------------------------


def _length(text: str) -> int:
    return len(re.sub(r"\s", "", text))


def _within(text: str, limit: int, quota: str) -> None:
    if _length(text) > limit:
        raise AwsError("LimitExceeded", f"Cannot exceed quota for {quota}: {limit}", status=409)


def _inline_policies(account: str, form: Mapping[str, str]) -> None:
    kind, row = _kind(form), holder(account, form)
    if row is None:
        return
    others = [document for name, document in row.policies.items() if name != form["PolicyName"]]
    total = sum(_length(document if isinstance(document, str) else json.dumps(document)) for document in others)
    if total + _length(form["PolicyDocument"]) > INLINE[kind]:
        words = f"Maximum policy size of {INLINE[kind]} bytes exceeded for {kind.lower()} {row.name}"
        raise AwsError("LimitExceeded", words, status=409)


def _attachment(account: str, form: Mapping[str, str]) -> None:
    if not form["PolicyArn"].startswith("arn:"):
        raise AwsError("ValidationError", "Invalid ARN:  Could not be parsed!")
    if form["PolicyArn"] not in iam(account).managed_policies:
        words = f"Policy {form['PolicyArn']} does not exist or is not attachable."
        raise AwsError("NoSuchEntity", words, status=404)
    row = holder(account, form)
    if row is not None and form["PolicyArn"] not in row.managed_policies and len(row.managed_policies) >= ATTACHED:
        raise AwsError("LimitExceeded", f"Cannot exceed quota for PoliciesPer{_kind(form)}: {ATTACHED}", status=409)


def _membership(account: str, form: Mapping[str, str]) -> None:
    mine = [group for group in iam(account).groups.values() if any(u.name == form["UserName"] for u in group.users)]
    if len(mine) >= GROUPS and form["GroupName"] not in {group.name for group in mine}:
        raise AwsError("LimitExceeded", f"Cannot exceed quota for GroupsPerUser: {GROUPS}", status=409)


# --- what is in use -----------------------------------------------------------------------------------------------


def _holders(account: str) -> Iterator[Any]:
    backend = iam(account)
    yield from (*backend.roles.values(), *backend.users.values(), *backend.groups.values())


def _unused_policy(account: str, arn: str) -> None:
    policy = iam(account).managed_policies.get(arn)
    if policy is None:
        raise AwsError("NoSuchEntity", f"Policy {arn} was not found.", status=404)
    if any(arn in row.managed_policies or _boundary_of(row) == arn for row in _holders(account)):
        raise AwsError("DeleteConflict", "Cannot delete a policy attached to entities.", status=409)
    if len(policy.versions) > 1:
        words = (
            "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. "
            "The default version is deleted with the policy."
        )
        raise AwsError("DeleteConflict", words, status=409)


def _boundary_of(row: Any) -> str | None:
    return getattr(row, "permissions_boundary_arn", None)


def _empty(account: str, action: str, form: Mapping[str, str]) -> None:
    """Refuse to delete a user or group that still has something: what it has is to go first (API reference)."""
    row = holder(account, form)
    if row is None:
        return
    left = {
        "must delete access keys first.": getattr(row, "access_keys", ()),
        "must delete login profile first.": getattr(row, "password", None),
        "must delete MFA device first.": getattr(row, "mfa_devices", ()),
        "must remove users from group first.": any(row in group.users for group in iam(account).groups.values())
        if action == "DeleteUser"
        else row.users,
        "must detach all policies first.": row.managed_policies,
        "must delete policies first.": row.policies,
    }
    for words, has in left.items():
        if has:
            raise AwsError("DeleteConflict", f"Cannot delete entity, {words}", status=409)
