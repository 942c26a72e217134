"""What `aws iam simulate-principal-policy` says of the role's actions; pure. Source:
IAM API reference, "EvaluationResult"."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from byokportal.translation import translate as _
from keys import actions
from keys.proof.pasted.findings import Values, shown
from keys.proof.pasted.outputs.commands import simulated
from keys.proof.pasted.outputs.points import Point

MOST = 40  # results that are looked at; the command asks for seven at most


def points(results: list[Any], values: Values) -> Iterator[Point]:
    """Yield what the simulation of each action that the documents allow came to, and which were not asked for."""
    asked: set[str] = set()
    for result in results[:MOST]:
        if not isinstance(result, Mapping):
            continue
        action = str(result.get("EvalActionName", "")).lower()
        asked.add(action)
        yield from _of_one(result, action, values)
    missing = [each for each in simulated(values.access.actions) if each.lower() not in asked]
    if missing:
        yield Point(
            "unclear",
            "not_simulated",
            _("Not asked for: %(missing)s.", missing=", ".join(missing)),
            _(
                "Run the command as it stands above; it asks for all %(number)s.",
                number=_(actions.number(values.access.actions)),
            ),
        )


def _of_one(result: Mapping[str, Any], action: str, values: Values) -> Iterator[Point]:
    patterns = {member.lower(): pattern for pattern, member in actions.members(values.access.actions)}
    if action not in patterns:
        return
    name, decision = shown(result["EvalActionName"], most=60), result.get("EvalDecision")
    resource = result.get("EvalResourceName")
    key = values.access.key
    if isinstance(resource, str) and key and resource not in (str(key), "*"):
        yield Point(
            "unclear",
            "other_key",
            _(
                "%(name)s was asked about %(resource)s, another key than %(key)s.",
                name=name,
                resource=shown(resource, most=160),
                key=key,
            ),
            _("Run the command as it stands above."),
        )
        return
    if resource == "*" and key and decision != "allowed":
        yield Point(
            "unclear",
            "no_key",
            _("%(name)s was asked about no key at all, so the answer says nothing about yours.", name=name),
            _("Run the command as it stands above, with --resource-arns."),
        )
        return
    if decision == "allowed":
        yield Point("good", "simulated", _("%(name)s is allowed.", name=name))
        return
    if _denies(result, "PermissionsBoundaryDecisionDetail", "AllowedByPermissionsBoundary"):
        yield Point(
            "bad",
            "permissions_boundary",
            _("%(name)s is refused by the permissions boundary of the role.", name=name),
            _("Let the boundary allow %(name)s on your key.", name=name),
        )
    elif _denies(result, "OrganizationsDecisionDetail", "AllowedByOrganizations"):
        yield Point(
            "bad",
            "organization",
            _("%(name)s is refused by a service control policy of your AWS Organization.", name=name),
            _("Ask whoever runs your organization to allow it for this role."),
        )
    elif decision == "explicitDeny":
        yield Point(
            "bad",
            "explicit_deny",
            _("%(name)s is denied explicitly%(by)s.", name=name, by=_by(result)),
            _("Take %(name)s on your key out of that Deny.", name=name),
        )
    else:
        yield Point(
            "bad",
            "missing_action",
            _("%(name)s is not allowed: no policy of the role says so for your key.", name=name),
            _(
                "Add %(pattern)s to the permissions policy of step 2, and see that the policy is attached "
                "to the role and that its Resource is %(key)s.",
                pattern=patterns[action],
                key=values.access.key or _("your CMK ARN"),
            ),
        )


def _denies(result: Mapping[str, Any], detail: str, name: str) -> bool:
    found = result.get(detail)
    return isinstance(found, Mapping) and found.get(name) is False


def _by(result: Mapping[str, Any]) -> str:
    matched = result.get("MatchedStatements")
    names = (
        [each.get("SourcePolicyId") for each in matched if isinstance(each, Mapping)]
        if isinstance(matched, list)
        else []
    )
    if not names or not isinstance(names[0], str):
        return ""
    return _(" by %(names)s", names=", ".join(shown(name, most=60) for name in names[:3] if isinstance(name, str)))
