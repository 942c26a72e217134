"""Which role ARN goes into which policy, and what that policy says; pure.

IAM quotas: a managed policy has 6,144 characters without white space, ten are attached to a role. We fill
each to 75 %, so that there is room to repair.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any

from keys.arns import RoleArn
from keys.errors import ArnRefused, RoleRefusedByIam, ServiceRoleFull

LIMIT = 6_144
FULL = LIMIT * 3 // 4
SLOTS = 10
SAFE_ARN = re.compile(r"arn:[a-z-]+:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]+")  # nothing that would widen our policy


def require_safe(role_arn: str, *, partition: str) -> None:
    """Refuse to add an ARN that IAM would refuse, or read as more than one role;
    drafts were judged, rows may be older than the rules.

    Raises:
        RoleRefusedByIam: it is not exactly one role of the partition.
    """
    try:
        role = RoleArn.parse(role_arn)
    except ArnRefused as error:
        raise RoleRefusedByIam from error
    if str(role) != role_arn or role.partition != partition:
        raise RoleRefusedByIam


def document(role_arns: Sequence[str], *, our_account: str, partition: str = "aws") -> dict[str, Any]:
    """Return the policy that lets a service role assume exactly these roles, and none of our own account.

    Raises:
        ArnRefused: an ARN holds a sign that IAM would read as a wildcard or variable.
    """
    for arn in role_arns:
        if not SAFE_ARN.fullmatch(arn):
            raise ArnRefused(why="This Role ARN holds signs that must not stand in our policy.")
    deny = {
        "Sid": "NeverOurOwnRoles",
        "Effect": "Deny",
        "Action": "sts:AssumeRole",
        "Resource": f"arn:{partition}:iam::{our_account}:role/*",
    }
    allow = {"Sid": "TenantRoles", "Effect": "Allow", "Action": "sts:AssumeRole", "Resource": sorted(role_arns)}
    return {"Version": "2012-10-17", "Statement": [deny, allow] if role_arns else [deny]}


def text(policy: dict[str, Any]) -> str:
    """Return the one text of a policy: what is written and hashed."""
    return json.dumps(policy, sort_keys=True, separators=(",", ":"))


def digest(policy: dict[str, Any]) -> str:
    """Return the SHA-256 of a policy, hex; the order in which IAM gives members back does not matter."""
    return hashlib.sha256(text(policy).encode()).hexdigest()


def size(role_arns: Sequence[str], *, our_account: str) -> int:
    """Return the characters of the policy, white space not counted."""
    return len(text(document(role_arns, our_account=our_account)))


def slot_of(role_arn: str, policies: dict[int, list[str]]) -> int | None:
    """Return the policy that names an ARN, None when none does."""
    return next((slot for slot, arns in policies.items() if role_arn in arns), None)


def slot_for(role_arn: str, policies: dict[int, list[str]], *, our_account: str) -> int:
    """Choose the policy that takes an ARN: the one that has it, else the first with room.

    Args:
        policies: slot → the ARNs in it.

    Raises:
        ServiceRoleFull: none of the ten has room.
    """
    slot = slot_of(role_arn, policies)
    if slot is not None:
        return slot
    for slot in range(SLOTS):
        if size([*policies.get(slot, []), role_arn], our_account=our_account) <= FULL:
            return slot
    raise ServiceRoleFull(length=len(role_arn))


def is_filled(policies: dict[int, list[str]], *, our_account: str, reserved: int) -> bool:
    """Tell whether a service role closes to new tenants: at 60 % of what its ten policies may hold.

    Args:
        reserved: characters kept for pinned tenants that have given no ARN yet (128 each).
    """
    used = sum(size(arns, our_account=our_account) for arns in policies.values()) + reserved
    return used >= LIMIT * SLOTS * 60 // 100


def require_room(role_arn: str) -> None:
    """Refuse an ARN that no policy of ours could take.

    Raises:
        ServiceRoleFull: it is longer than a policy has room for.
    """
    if size([role_arn], our_account="0" * 12) > FULL:
        raise ServiceRoleFull(
            length=len(role_arn), errors={"role_arn": [ServiceRoleFull.detail.format(length=len(role_arn))]}
        )
