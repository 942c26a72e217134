"""What `aws iam simulate-principal-policy` says of the role's actions; pure. Source:
IAM API reference, "EvaluationResult"."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from keys.proof.pasted import trial_requests
from keys.proof.pasted.findings import Values, shown
from keys.proof.pasted.outputs.commands import SIMULATED
from keys.proof.pasted.outputs.points import Point

PATTERN = {action.lower(): pattern for pattern, action in trial_requests.guide_actions()}
MOST = 40  # results that are looked at; the command asks for seven


def points(results: list[Any], values: Values) -> Iterator[Point]:
    """Yield what the simulation of each of the guide's actions came to, and which were not asked for."""
    asked: set[str] = set()
    for result in results[:MOST]:
        if not isinstance(result, Mapping):
            continue
        action = str(result.get("EvalActionName", "")).lower()
        asked.add(action)
        yield from _of_one(result, action, values)
    missing = [each for each in SIMULATED if each.lower() not in asked]
    if missing:
        yield Point(
            "unclear",
            "not_simulated",
            f"Not asked for: {', '.join(missing)}.",
            "Run the command as it stands above; it asks for all seven.",
        )


def _of_one(result: Mapping[str, Any], action: str, values: Values) -> Iterator[Point]:
    if action not in PATTERN:
        return
    name, decision = shown(result["EvalActionName"], most=60), result.get("EvalDecision")
    resource = result.get("EvalResourceName")
    key = values.access.key
    if isinstance(resource, str) and key and resource not in (str(key), "*"):
        yield Point(
            "unclear",
            "other_key",
            f"{name} was asked about {shown(resource, most=160)}, another key than {key}.",
            "Run the command as it stands above.",
        )
        return
    if resource == "*" and key and decision != "allowed":
        yield Point(
            "unclear",
            "no_key",
            f"{name} was asked about no key at all, so the answer says nothing about yours.",
            "Run the command as it stands above, with --resource-arns.",
        )
        return
    if decision == "allowed":
        yield Point("good", "simulated", f"{name} is allowed.")
        return
    if _denies(result, "PermissionsBoundaryDecisionDetail", "AllowedByPermissionsBoundary"):
        yield Point(
            "bad",
            "permissions_boundary",
            f"{name} is refused by the permissions boundary of the role.",
            f"Let the boundary allow {name} on your key.",
        )
    elif _denies(result, "OrganizationsDecisionDetail", "AllowedByOrganizations"):
        yield Point(
            "bad",
            "organization",
            f"{name} is refused by a service control policy of your AWS Organization.",
            "Ask whoever runs your organization to allow it for this role.",
        )
    elif decision == "explicitDeny":
        yield Point(
            "bad",
            "explicit_deny",
            f"{name} is denied explicitly{_by(result)}.",
            f"Take {name} on your key out of that Deny.",
        )
    else:
        yield Point(
            "bad",
            "missing_action",
            f"{name} is not allowed: no policy of the role says so for your key.",
            (
                f"Add {PATTERN[action]} to the permissions policy of step 2, and see that the policy is attached to "
                f"the role and that its Resource is {values.access.key or 'your CMK ARN'}."
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
    return (
        f" by {', '.join(shown(name, most=60) for name in names[:3] if isinstance(name, str))}"
        if names and isinstance(names[0], str)
        else ""
    )
