"""What `aws iam get-role` says of the role beside its trust policy; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from byokportal.translation import translate as _
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
                _(
                    "MaxSessionDuration is %(longest)s s, and we ask for %(our_session)s.",
                    longest=longest,
                    our_session=OUR_SESSION,
                ),
                _("Set it to 3600."),
            )
        else:
            yield Point(
                "good",
                "max_session",
                _(
                    "MaxSessionDuration is %(longest)s s; our sessions last %(our_session)s.",
                    longest=longest,
                    our_session=OUR_SESSION,
                ),
            )
    boundary = described.get("PermissionsBoundary")
    if isinstance(boundary, dict):
        yield Point(
            "unclear",
            "permissions_boundary",
            _(
                "A permissions boundary limits the role: %(boundary)s.",
                boundary=shown(boundary.get("PermissionsBoundaryArn", ""), most=160),
            ),
            _("Check that it allows the actions of step 2 on your key; simulate-principal-policy shows it."),
        )


def _arn(arn: object, values: Values) -> Iterator[Point]:
    if not isinstance(arn, str):
        return
    quoted = shown(arn, most=160)
    fix = _("Give %(quoted)s as the Role ARN in step 2, and use it in the key policy of step 3.", quoted=quoted)
    role = values.access.role
    if role is None:
        yield Point(
            "unclear",
            "role_arn",
            _("The role is %(quoted)s; you have not given a Role ARN yet.", quoted=quoted),
            _("Give %(quoted)s in step 2.", quoted=quoted),
        )
    elif arn == str(role):
        yield Point("good", "role_arn", _("The ARN is the Role ARN that you gave."))
    elif arn.lower() == str(role).lower():
        yield Point(
            "bad",
            "role_arn",
            _(
                "AWS writes the role %(quoted)s; you gave %(role)s. AWS tells capital and small letters apart.",
                quoted=quoted,
                role=role,
            ),
            fix,
        )
    elif arn.rpartition("/")[2] == role.name and evaluator.account_of(arn) == role.account:
        yield Point(
            "bad",
            "role_arn",
            _(
                "The role has the path %(path)s, and the Role ARN that you gave has %(given)s.",
                path=_path(arn),
                given=_path(str(role)),
            ),
            fix,
        )
    else:
        yield Point(
            "bad",
            "role_arn",
            _("This is %(quoted)s, another role than %(role)s.", quoted=quoted, role=role),
            _(
                "Run the command for your role, or: give %(quoted)s as the Role ARN in step 2, and use it in "
                "the key policy of step 3.",
                quoted=quoted,
            ),
        )


def _path(arn: str) -> str:
    return shown("/" + arn.partition(":role/")[2].rpartition("/")[0], most=120)
