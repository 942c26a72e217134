"""Role ARNs packed into our policies: how many fit, where the next one goes, and what must never stand in one."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.configuration import packing, plan
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


def test_no_policy_is_filled_above_90_percent() -> None:
    packed: dict[int, list[str]] = {}
    with pytest.raises(ServiceRoleFull):
        fill(2_000, packed)
    count = sum(len(arns) for arns in packed.values())
    assert 850 <= count <= 950  # what the room above 75 % takes too: nobody is pinned to it
    assert sorted(packed) == list(range(packing.SLOTS))
    for arns in packed.values():
        text = packing.text(packing.document(arns, our_account=OURS))
        assert len("".join(text.split())) <= packing.LIMIT * 0.9


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
    packing.require_room(
        f"arn:aws:iam::111122223333:role/{'p' * 512}/{'n' * 64}", our_account=OURS
    )  # the longest that IAM allows
    with pytest.raises(ServiceRoleFull) as refused:
        packing.require_room(f"arn:aws:iam::111122223333:role/{'p' * packing.LIMIT}", our_account=OURS)
    assert "role_arn" in refused.value.errors
    packing.require_room(guide_shaped(5_000), fill(915), our_account=OURS)
    with pytest.raises(ServiceRoleFull):
        packing.require_room(f"arn:aws:iam::111122223333:role/{'p' * 512}/x", fill(915), our_account=OURS)


def places(named: dict[int, list[str]], *, given: list[str] | None = None, silent: int = 0, each: int = 60) -> int:
    return packing.places(named, given=given or [], silent=silent, each=each, our_account=OURS, share=0.75)


def test_a_service_role_counts_what_stands_in_it_what_was_given_and_who_has_given_nothing() -> None:
    empty = places({})
    assert 700 <= empty <= 770
    assert places({}, silent=288) == empty - 288, "who is pinned early takes one place, as everybody does"
    assert places(fill(500)) == pytest.approx(empty - 500 * 57 / 60, abs=2)
    given_only = places({}, given=[guide_shaped(number) for number in range(500)])
    assert given_only == pytest.approx(places(fill(500)), abs=1)
    assert places(fill(700), silent=80) == 0, "never less than none"


def test_the_reserve_follows_the_arns_that_tenants_give() -> None:
    assert packing.reserve([]) == packing.GUIDE_SHAPED
    assert packing.reserve(map(guide_shaped, range(1_000))) == 58
    long = f"arn:aws:iam::111122223333:role/{'p' * 400}/{'n' * 60}"
    assert packing.reserve([long] * 1_000) > 400


@given(st.lists(st.integers(35, 606), max_size=40))
def test_the_size_that_is_reckoned_is_the_size_that_is_written(lengths: list[int]) -> None:
    arns = [f"arn:aws:iam::{number:012d}:role/{'n' * (length - 31)}" for number, length in enumerate(lengths)]
    for partition in ("aws", "aws-us-gov"):
        written = packing.text(packing.document(arns, our_account=OURS, partition=partition))
        assert packing.size(arns, our_account=OURS, partition=partition) == len(written)


def test_what_no_policy_has_room_for_at_75_percent_stands_in_the_room_above_it() -> None:
    packed = fill(packing.SLOTS * 76)
    assert {len(arns) for arns in packed.values()} == {76}
    assert packing.slot_for(guide_shaped(5_000), packed, our_account=OURS) == 0
    packed.clear()
    with pytest.raises(ServiceRoleFull):
        fill(2_000, packed)
    assert max(packing.size(arns, our_account=OURS) for arns in packed.values()) <= packing.BRIM


def test_smaller_quotas_of_the_account_are_respected() -> None:
    packed: dict[int, list[str]] = {}
    with pytest.raises(ServiceRoleFull):
        for number in range(1_000):
            slot = packing.slot_for(guide_shaped(number), packed, our_account=OURS, limit=3_000, slots=4)
            packed.setdefault(slot, []).append(guide_shaped(number))
    assert sorted(packed) == [0, 1, 2, 3]
    assert max(packing.size(arns, our_account=OURS) for arns in packed.values()) <= 3_000


# --- what may be taken over from IAM -----------------------------------------------------------------------------


def test_what_packing_wrote_is_read_back() -> None:
    for arns in ([], [GUIDE], [guide_shaped(number) for number in range(70)]):
        written = packing.document(arns, our_account=OURS)
        assert packing.read(json.loads(json.dumps(written)), our_account=OURS) == sorted(arns)


DENY, ALLOW = packing.document([GUIDE, guide_shaped(1)], our_account=OURS)["Statement"]


@pytest.mark.parametrize(
    "document",
    [
        {"Version": "2012-10-17", "Statement": [ALLOW]},
        {"Version": "2012-10-17", "Statement": [ALLOW, DENY]},
        {"Version": "2012-10-17", "Statement": [DENY, ALLOW, ALLOW]},
        {"Version": "2012-10-17", "Statement": [DENY | {"Resource": "arn:aws:iam::111122223333:role/*"}, ALLOW]},
        {"Version": "2012-10-17", "Statement": [DENY, ALLOW | {"Action": "*"}]},
        {"Version": "2012-10-17", "Statement": [DENY, ALLOW | {"Action": ["sts:AssumeRole"]}]},
        {"Version": "2012-10-17", "Statement": [DENY, ALLOW | {"Resource": "*"}]},
        {"Version": "2012-10-17", "Statement": [DENY, ALLOW | {"Resource": ["arn:aws:iam::111122223333:role/*"]}]},
        {"Version": "2012-10-17", "Statement": [DENY, ALLOW | {"Resource": [GUIDE, GUIDE]}]},
        {"Version": "2012-10-17", "Statement": [DENY, ALLOW | {"Resource": [[GUIDE]]}]},
        {"Version": "2012-10-17", "Statement": [DENY, ALLOW | {"Condition": {}}]},
        {"Version": "2008-10-17", "Statement": [DENY, ALLOW]},
        {"Version": "2012-10-17", "Id": "x", "Statement": [DENY, ALLOW]},
        {"Version": "2012-10-17", "Statement": DENY},
        packing.document([guide_shaped(number) for number in range(100)], our_account=OURS),
        packing.document([GUIDE], our_account="1" * 12),
        {},
        [],
        None,
        "x",
    ],
)
def test_what_packing_could_not_have_written_is_never_taken_over(document: object) -> None:
    assert packing.read(document, our_account=OURS) is None


# --- plans: the numbers that we promise ------------------------------------------------------------------------


@pytest.mark.parametrize("early", [0, 10_000])
def test_ten_thousand_tenants_of_the_guides_shape_take_at_most_14_service_roles(early: int) -> None:
    played = plan.play(plan.guide_shaped(10_000), share=0.75, early=early)
    assert (played.tenants, played.refused) == (10_000, 0)
    assert played.service_roles <= 14
    assert played.fullest_policy <= packing.LIMIT
    assert played.policies <= played.service_roles * packing.SLOTS


def test_ten_thousand_of_any_length_take_at_most_a_tenth_more_than_their_characters() -> None:
    assert {len(arn) for arn in plan.of_any_length(2_000)} <= set(range(35, 607))
    assert all(packing.SAFE_ARN.fullmatch(arn) for arn in plan.of_any_length(2_000))
    played = plan.play(plan.of_any_length(10_000), share=0.75)
    assert (played.tenants, played.refused) == (10_000, 0)
    assert played.service_roles <= played.lower_bound * 1.1
    assert played.fullest_policy <= packing.LIMIT
