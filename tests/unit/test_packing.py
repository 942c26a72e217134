"""Role ARNs packed into our policies: how many fit, where the next one goes, and what must never stand in one."""

from __future__ import annotations

import json

import pytest

from keys.configuration import packing
from keys.errors import ArnRefused, ServiceRoleFull
from keys.policies import evaluator

OURS = "999900001111"
GUIDE = "arn:aws:iam::111122223333:role/AIforWorkByokAccessRole"


def guide_shaped(number: int) -> str:
    return f"arn:aws:iam::{number:012d}:role/AIforWorkByokAccessRole"


def fill(count: int, policies: dict[int, list[str]] | None = None) -> dict[int, list[str]]:
    """Pack ARNs of the guide's shape, one after the other, as the tenants come."""
    packed = {} if policies is None else policies
    for number in range(count):
        slot = packing.slot_for(guide_shaped(number), packed, our_account=OURS)
        packed.setdefault(slot, []).append(guide_shaped(number))
    return packed


def test_a_policy_names_exactly_the_roles_and_denies_our_own_account() -> None:
    document = packing.document([GUIDE, guide_shaped(7)], our_account=OURS)
    deny, allow = document["Statement"]
    assert (allow["Effect"], allow["Action"], allow["Resource"]) == (
        "Allow",
        "sts:AssumeRole",
        sorted([GUIDE, guide_shaped(7)]),
    )
    assert (deny["Effect"], deny["Action"]) == ("Deny", "sts:AssumeRole")
    assert deny["Resource"] == f"arn:aws:iam::{OURS}:role/*"
    assert "Condition" not in json.dumps(document)  # an External ID asked for by us would void the probes


def test_our_own_account_is_denied_even_when_its_role_is_named() -> None:
    own = f"arn:aws:iam::{OURS}:role/Administrator"
    document = packing.document([GUIDE, own], our_account=OURS)
    me = evaluator.Principal(f"arn:aws:sts::{OURS}:assumed-role/byok-service-1/x", OURS, "AROA1", "")

    def allowed(role_arn: str) -> bool:
        request = evaluator.Request("sts:AssumeRole", role_arn, me, {})
        trusting = {"Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]}
        return evaluator.evaluate(request, identity=(document,), resource=trusting).allowed

    assert allowed(GUIDE)
    assert not allowed(own)
    assert not allowed(GUIDE + "2")


def test_a_policy_of_nobody_allows_nothing() -> None:
    assert [statement["Effect"] for statement in packing.document([], our_account=OURS)["Statement"]] == ["Deny"]


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:iam::111122223333:role/*",
        "arn:aws:iam::111122223333:role/AIforWork?",
        "arn:aws:iam::111122223333:role/${aws:username}",
        "arn:aws:iam::*:role/A",
        "arn:aws:iam::111122223333:role/",
        "arn:aws:iam::111122223333:role/A ",
        "arn:aws:iam::111122223333:role/A\n",
        "arn:aws:iam::１１１１22223333:role/A",
        "arn:aws:iam::111122223333:role/Rоle",
        "arn:aws:iam::111122223333:user/A",
        "arn:aws:iam::111122223333:root",
        "*",
    ],
)
def test_nothing_that_would_widen_our_policy_gets_into_it(arn: str) -> None:
    with pytest.raises(ArnRefused):
        packing.document([GUIDE, arn], our_account=OURS)


def test_the_same_roles_give_the_same_digest_in_whatever_order() -> None:
    one = packing.document([GUIDE, guide_shaped(1)], our_account=OURS)
    two = json.loads(json.dumps(packing.document([guide_shaped(1), GUIDE], our_account=OURS), indent=2))
    assert packing.digest(one) == packing.digest(dict(reversed(two.items())))
    assert packing.digest(one) != packing.digest(packing.document([GUIDE], our_account=OURS))


def test_about_790_tenants_of_the_guides_shape_fit_on_one_service_role() -> None:
    packed: dict[int, list[str]] = {}
    with pytest.raises(ServiceRoleFull):
        fill(2_000, packed)
    count = sum(len(arns) for arns in packed.values())
    assert 700 <= count <= 850
    assert sorted(packed) == list(range(packing.SLOTS))
    for arns in packed.values():
        text = packing.text(packing.document(arns, our_account=OURS))
        assert len("".join(text.split())) <= packing.LIMIT * 0.75


def test_an_arn_stays_where_it_is_and_a_new_one_goes_where_room_is() -> None:
    packed = fill(200)
    assert set(packed) == {0, 1, 2}
    assert packing.slot_for(guide_shaped(150), packed, our_account=OURS) == packing.slot_of(guide_shaped(150), packed)
    packed[0].remove(guide_shaped(3))
    assert packing.slot_for(guide_shaped(5_000), packed, our_account=OURS) == 0
    assert packing.slot_of(guide_shaped(5_000), packed) is None


def test_a_very_long_arn_needs_more_room_than_a_short_one() -> None:
    long = f"arn:aws:iam::111122223333:role/{'p' * 500}/{'n' * 64}"
    packed = fill(75)
    assert packing.slot_for(guide_shaped(900), packed, our_account=OURS) == 0
    assert packing.slot_for(long, packed, our_account=OURS) == 1


def test_an_arn_that_no_policy_could_take_is_refused_with_the_field() -> None:
    packing.require_room(f"arn:aws:iam::111122223333:role/{'p' * 512}/{'n' * 64}")  # the longest that IAM allows
    with pytest.raises(ServiceRoleFull) as refused:
        packing.require_room(f"arn:aws:iam::111122223333:role/{'p' * packing.FULL}")
    assert "role_arn" in refused.value.errors


def test_a_service_role_closes_to_new_tenants_at_60_percent_counting_those_without_an_arn() -> None:
    assert not packing.is_filled({}, our_account=OURS, reserved=0)
    assert packing.is_filled({}, our_account=OURS, reserved=288 * 128)
    packed = fill(500)
    assert not packing.is_filled(packed, our_account=OURS, reserved=0)
    assert packing.is_filled(packed, our_account=OURS, reserved=80 * 128)
