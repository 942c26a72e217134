"""Which role ARN goes into which policy, and what that policy says; pure.

IAM quotas: a managed policy has 6,144 characters without white space, ten are attached to a role. We fill
each to 75 %. What is above that, up to 90 %, is for tenants that are pinned already: an ARN that turned out longer than
was reckoned with, the second role of a replacement. The rest is room to repair (ADR 0016).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from keys.arns import RoleArn
from keys.errors import ArnRefused, RoleRefusedByIam, ServiceRoleFull

LIMIT = 6_144
FULL = LIMIT * 75 // 100
BRIM = LIMIT * 90 // 100
SLOTS = 10
# What an ARN takes in a document: itself, its two quotes, a comma.
BESIDE_AN_ARN = 3
# What is kept for a tenant that has given no ARN yet: the mean of the ARNs that we know, and so many of the guide's
# shape (54 characters) beside them, as long as we know few.
GUIDE_SHAPED, AS_MANY_AS = 60, 100
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


def read(policy: object, *, our_account: str, partition: str = "aws") -> list[str] | None:
    """Return the role ARNs of a policy that `document` could have written, to the last character; None of any other:
    one without the Deny on our own account, with another statement, a wildcard, more than a policy of ours holds."""
    statements = policy.get("Statement") if isinstance(policy, dict) else None
    if not isinstance(statements, list) or not statements:
        return None
    last = statements[-1]
    named = last.get("Resource") if isinstance(last, dict) and len(statements) == 2 else []
    if not isinstance(named, list) or not all(isinstance(arn, str) and SAFE_ARN.fullmatch(arn) for arn in named):
        return None
    written = document(named, our_account=our_account, partition=partition)
    is_ours = len(set(named)) == len(named) and written == _in_order(policy)
    is_small = size(named, our_account=our_account, partition=partition) <= BRIM
    return sorted(named) if is_ours and is_small else None


def _in_order(policy: Any) -> Any:
    """Return a policy with its roles in our order: in which one IAM gives them back does not matter."""
    statements = [dict(one) for one in policy["Statement"] if isinstance(one, dict)]
    for one in statements:
        if isinstance(one.get("Resource"), list):
            one["Resource"] = sorted(one["Resource"])
    return {**policy, "Statement": statements}


def text(policy: dict[str, Any]) -> str:
    """Return the one text of a policy: what is written and hashed."""
    return json.dumps(policy, sort_keys=True, separators=(",", ":"))


def digest(policy: dict[str, Any]) -> str:
    """Return the SHA-256 of a policy, hex; the order in which IAM gives members back does not matter."""
    return hashlib.sha256(text(policy).encode()).hexdigest()


def size(role_arns: Sequence[str], *, our_account: str, partition: str = "aws") -> int:
    """Return the characters of the policy, white space not counted; it is `len(text(document(…)))`, reckoned."""
    none, some = _empty_sizes(our_account, partition)
    return some + sum(map(cost, role_arns)) - 1 if role_arns else none


@cache
def _empty_sizes(our_account: str, partition: str) -> tuple[int, int]:
    """Return the characters of the policy that names nobody, and of one that names roles without these."""
    one = f"arn:{partition}:iam::{our_account}:role/x"
    named = len(text(document([one], our_account=our_account, partition=partition)))
    return len(text(document([], our_account=our_account, partition=partition))), named - len(one) - 2


def cost(role_arn: str) -> int:
    """Return the characters that an ARN takes in a policy."""
    return len(role_arn) + BESIDE_AN_ARN


def reserve(role_arns: Iterable[str]) -> int:
    """Return the characters to keep for a tenant that has given no ARN yet.

    Args:
        role_arns: some that tenants gave lately.
    """
    costs = [cost(role_arn) for role_arn in role_arns]
    return -(-(GUIDE_SHAPED * AS_MANY_AS + sum(costs)) // (AS_MANY_AS + len(costs)))


def slot_of(role_arn: str, policies: Mapping[int, Sequence[str]]) -> int | None:
    """Return the policy that names an ARN, None when none does."""
    return next((slot for slot, arns in policies.items() if role_arn in arns), None)


def slot_for(
    role_arn: str, policies: Mapping[int, Sequence[str]], *, our_account: str, limit: int = LIMIT, slots: int = SLOTS
) -> int:
    """Choose the policy that takes an ARN: the one that has it, else the first that it fills to 75 % at most, else the
    first that it fills to 90 %.

    Args:
        policies: slot → the ARNs in it.
        limit, slots: the account's quotas, where they are smaller than IAM's own.

    Raises:
        ServiceRoleFull: none of the ten has room.
    """
    slot = slot_of(role_arn, policies)
    if slot is not None:
        return slot
    sizes = [size([*policies.get(slot, []), role_arn], our_account=our_account) for slot in range(min(slots, SLOTS))]
    for most in (FULL, BRIM):
        for slot, characters in enumerate(sizes):
            if characters <= min(most, limit):
                return slot
    raise ServiceRoleFull(length=len(role_arn))


def places(
    named: Mapping[int, Sequence[str]], *, given: Sequence[str], silent: int, each: int, our_account: str, share: float
) -> int:
    """Return how many more tenants a service role takes.

    Args:
        named: slot → the ARNs in that policy.
        given: ARNs of its tenants that no policy names yet.
        silent: tenants of it that have given no ARN.
        each: characters that are kept for a tenant that has given no ARN (`reserve`).
        share: of what IAM allows, how much is for new tenants: 0.75 is all that is packed.
    """
    # One that names nobody yet is reckoned with what it takes as soon as it does.
    begun = _empty_sizes(our_account, "aws")[1]
    used = sum(max(begun, size(named.get(slot, ()), our_account=our_account)) for slot in range(SLOTS))
    room = int(LIMIT * SLOTS * share) - used - sum(map(cost, given)) - silent * each
    return max(0, room // each)


def require_room(role_arn: str, policies: Mapping[int, Sequence[str]] | None = None, *, our_account: str) -> None:
    """Refuse an ARN that no policy of the service role has room for.

    Args:
        policies: slot → the ARNs in it, of the tenant's service role.

    Raises:
        ServiceRoleFull: with the reason under its field.
    """
    try:
        slot_for(role_arn, policies or {}, our_account=our_account)
    except ServiceRoleFull as full:
        words = {"role_arn": [ServiceRoleFull.detail.format(length=len(role_arn))]}
        raise ServiceRoleFull(length=len(role_arn), errors=words) from full
