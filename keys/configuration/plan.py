"""What so many tenants would take in our account: the packing that runs, played through with made-up Role ARNs."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field

from keys.configuration import packing
from keys.errors import ServiceRoleFull

ACCOUNT = "999900001111"
SHORTEST, LONGEST = 35, 606  # characters that a Role ARN can have in the partition aws


@dataclass(slots=True)
class Plan:
    """What was needed.

    Attributes:
        lower_bound: service roles below which the characters of the ARNs alone would not fit, were each policy filled
            to 75 % to the last character and nothing else in it.
        fullest_policy: characters of the largest policy; IAM takes 6,144.
        refused: ARNs that the service role of their tenant had no room for.
    """

    tenants: int = 0
    service_roles: int = 0
    policies: int = 0
    characters: int = 0
    lower_bound: float = 0.0
    fullest_policy: int = 0
    refused: int = 0

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


@dataclass(slots=True)
class _Role:
    named: dict[int, list[str]] = field(default_factory=dict)
    places: int = 0


def guide_shaped(count: int) -> Iterator[str]:
    """Make Role ARNs as the guide has them: one account each, the guide's role name."""
    return (f"arn:aws:iam::{100_000_000_000 + number}:role/AIforWorkByokAccessRole" for number in range(count))


def of_any_length(count: int, *, seed: int = 1) -> Iterator[str]:
    """Make Role ARNs of any length that IAM allows, each as likely as the other."""
    chance = random.Random(seed)  # noqa: S311  no secret: a plan
    for number in range(count):
        begin = f"arn:aws:iam::{100_000_000_000 + number}:role/"
        name = "n" * (chance.randint(SHORTEST, LONGEST) - len(begin))
        # A path, where the name alone would be longer than the 64 characters of a role's name.
        yield begin + (f"{'p' * (len(name) - 65)}/{name[-64:]}" if len(name) > 65 else name[-64:])


def play(role_arns: Iterable[str], *, share: float, early: int = 0) -> Plan:
    """Pin and configure a tenant for each Role ARN, in order; the next service role opens when the last is full.

    Args:
        share: as `packing.places` takes it.
        early: so many tenants are pinned before their ARNs come.
    """
    plan, known = Plan(), list[str]()
    waiting: list[tuple[_Role, str]] = []
    role = _Role()
    for role_arn in role_arns:
        if not plan.tenants or role.places < 1:
            role, plan.service_roles = _Role(), plan.service_roles + 1
            _count(role, [], known, share)
        plan.tenants, plan.characters = plan.tenants + 1, plan.characters + packing.cost(role_arn)
        role.places -= 1
        waiting.append((role, role_arn))
        if len(waiting) > early:
            _configure(plan, *waiting.pop(0), known)
            _count(role, [arn for its, arn in waiting if its is role], known, share)
    for its, role_arn in waiting:
        _configure(plan, its, role_arn, known)
    plan.lower_bound = round(plan.characters / (packing.FULL * packing.SLOTS), 2)
    return plan


def _configure(plan: Plan, role: _Role, role_arn: str, known: list[str]) -> None:
    try:
        slot = packing.slot_for(role_arn, role.named, our_account=ACCOUNT)
    except ServiceRoleFull:
        plan.refused += 1
        return
    plan.policies += slot not in role.named
    role.named.setdefault(slot, []).append(role_arn)
    plan.fullest_policy = max(plan.fullest_policy, packing.size(role.named[slot], our_account=ACCOUNT))
    known.append(role_arn)


def _count(role: _Role, silent: list[str], known: list[str], share: float) -> None:
    role.places = packing.places(
        role.named,
        given=(),
        silent=len(silent),
        each=packing.reserve(known[-200:]),
        our_account=ACCOUNT,
        share=share,
    )
