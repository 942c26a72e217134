"""What `aws iam get-role` says of the role beside its trust policy; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from keys.policies import evaluator
from keys.proof.pasted.findings import Values, shown
from keys.proof.pasted.outputs.points import Point

OUR_SESSION = 900  # seconds; house rule of every session of ours (design.md 8)


def points(described: Mapping[str, Any], values: Values) -> Iterator[Point]:
    """Yield what the description of a role shows."""
    yield from _arn(described.get("Arn"), values)
    longest = described.get("MaxSessionDuration")
    if isinstance(longest, int) and not isinstance(longest, bool):
        if longest < OUR_SESSION:
            yield Point(
                "bad",
                "max_session",
                f"MaxSessionDuration is {longest} s, and we ask for {OUR_SESSION}.",
                "Set it to 3600.",
            )
        else:
            yield Point("good", "max_session", f"MaxSessionDuration is {longest} s; our sessions last {OUR_SESSION}.")
    boundary = described.get("PermissionsBoundary")
    if isinstance(boundary, dict):
        yield Point(
            "unclear",
            "permissions_boundary",
            f"A permissions boundary limits the role: {shown(boundary.get('PermissionsBoundaryArn', ''), most=160)}.",
            "Check that it allows the five actions of step 2 on your key; simulate-principal-policy shows it.",
        )


def _arn(arn: object, values: Values) -> Iterator[Point]:
    if not isinstance(arn, str):
        return
    quoted = shown(arn, most=160)
    fix = f"Give {quoted} as the Role ARN in step 2, and use it in the key policy of step 3."
    role = values.access.role
    if role is None:
        yield Point(
            "unclear",
            "role_arn",
            f"The role is {quoted}; you have not given a Role ARN yet.",
            f"Give {quoted} in step 2.",
        )
    elif arn == str(role):
        yield Point("good", "role_arn", "The ARN is the Role ARN that you gave.")
    elif arn.lower() == str(role).lower():
        yield Point(
            "bad",
            "role_arn",
            f"AWS writes the role {quoted}; you gave {role}. AWS tells capital and small letters apart.",
            fix,
        )
    elif arn.rpartition("/")[2] == role.name and evaluator.account_of(arn) == role.account:
        yield Point(
            "bad",
            "role_arn",
            f"The role has the path {_path(arn)}, and the Role ARN that you gave has {_path(str(role))}.",
            fix,
        )
    else:
        yield Point(
            "bad",
            "role_arn",
            f"This is {quoted}, another role than {role}.",
            f"Run the command for your role, or: {fix[0].lower()}{fix[1:]}",
        )


def _path(arn: str) -> str:
    return shown("/" + arn.partition(":role/")[2].rpartition("/")[0], most=120)
