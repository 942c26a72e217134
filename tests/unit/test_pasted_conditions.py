"""What a pasted policy asks of our calls: seen, not to be seen from here, in our Region, until a date."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from unit.test_linter import EXTERNAL_ID, ROLE, VALUES, asks, deny, key, permissions, read, trust, without

from keys.policies import conditions
from keys.policies.conditions import Unseen
from keys.proof import pasted

ORG, REGION = "o-a1b2c3d4e5", "eu-central-1"
PATHS = [f"{ORG}/r-ab12/ou-ab12-11111111/*"]


def _in(days: int) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).strftime("%Y-%m-%dT00:00:00Z")


def guard(operator: str, name: str, value: Any, **more: Any) -> dict[str, Any]:
    return without(key(deny(Condition={operator: {name: value}, **more})))


def only_if(operator: str, name: str, value: Any) -> dict[str, Any]:
    return without(key(Condition={operator: {name: value}}))


def may(operator: str, name: str, value: Any) -> dict[str, Any]:
    return without(permissions(Condition={operator: {name: value}}))


def with_id(operator: str, name: str, value: Any) -> dict[str, Any]:
    condition = {"StringEquals": {"sts:ExternalId": EXTERNAL_ID}}
    condition[operator] = {**condition.get(operator, {}), name: value}
    return trust(Condition=condition)


UNSEEN: list[tuple[str, Any, Any]] = [
    # what, kind, policy: whether our calls are let through hangs on what only the customer's account knows
    ("the issue's guardrail", "key", guard("StringNotEquals", "aws:PrincipalOrgID", ORG)),
    ("if exists", "key", guard("StringNotEqualsIfExists", "aws:PrincipalOrgID", ORG)),
    ("another letter case", "key", guard("StringNotLike", "AWS:PRINCIPALORGID", [ORG])),
    ("paths", "key", guard("ForAllValues:StringNotLike", "aws:PrincipalOrgPaths", PATHS)),
    ("any path", "key", guard("ForAnyValue:StringLike", "aws:PrincipalOrgPaths", PATHS)),
    ("no organization", "key", guard("Null", "aws:PrincipalOrgID", "true")),
    ("a tag of the caller", "key", guard("StringNotEquals", "aws:PrincipalTag/team", "crypto")),
    ("untagged", "key", guard("Null", "aws:PrincipalTag/team", "true")),
    ("a tag of the key", "key", guard("StringEquals", "aws:ResourceTag/frozen", "true")),
    ("two tags alike", "key", guard("StringNotEquals", "aws:ResourceTag/team", "${aws:PrincipalTag/team}")),
    (
        "beside what is so",
        "key",
        guard("StringNotEquals", "aws:PrincipalOrgID", ORG, Bool={"aws:ViaAWSService": "false"}),
    ),
    ("an id of a role", "key", guard("StringNotLike", "aws:userid", "AROAEXAMPLE123:*")),
    ("a global key of tomorrow", "key", guard("StringNotEquals", "aws:PrincipalMood", "calm")),
    ("an endpoint at all", "key", guard("Null", "aws:SourceVpce", "false")),
    ("allowed in the organization", "key", only_if("StringEquals", "aws:PrincipalOrgID", ORG)),
    ("allowed by a tag", "key", only_if("StringEquals", "aws:PrincipalTag/team", "crypto")),
    ("allowed with a tag on the key", "permissions", may("StringEquals", "aws:ResourceTag/byok", "yes")),
    ("allowed by alias", "permissions", may("ForAnyValue:StringLike", "kms:ResourceAliases", "alias/byok*")),
    ("allowed in the organization of the key", "permissions", may("StringEquals", "aws:ResourceOrgID", ORG)),
    ("allowed by origin", "permissions", may("StringEquals", "kms:KeyOrigin", "EXTERNAL")),
    (
        "a variable of a tag",
        "permissions",
        without(permissions(Resource="arn:aws:kms:*:*:key/${aws:PrincipalTag/key}")),
    ),
    ("a tag of the role that is taken", "trust", with_id("StringEquals", "iam:ResourceTag/vendor", "kore")),
    ("a name of a session", "trust", with_id("StringEquals", "sts:RoleSessionName", "byok-service")),
]

CERTAIN: list[tuple[str, Any, Any, str, str]] = [
    # what, kind, policy, verdict, code: known of our calls from here
    ("TLS denied", "key", guard("Bool", "aws:SecureTransport", "false"), "ok", ""),
    ("TLS asked", "key", only_if("Bool", "aws:SecureTransport", "true"), "ok", ""),
    ("not a service", "key", guard("Bool", "aws:PrincipalIsAWSService", "true"), "ok", ""),
    ("no MFA", "key", guard("BoolIfExists", "aws:MultiFactorAuthPresent", "false"), "incomplete", "explicit_deny"),
    ("their endpoint", "key", guard("StringNotEquals", "aws:SourceVpce", "vpce-1"), "incomplete", "explicit_deny"),
    ("an endpoint of theirs", "key", guard("StringEquals", "aws:SourceVpce", "vpce-1"), "ok", ""),
    (
        "any organization will do",
        "key",
        guard("StringLikeIfExists", "aws:PrincipalOrgID", "*"),
        "incomplete",
        "explicit_deny",
    ),
    (
        "a surely met part decides",
        "key",
        guard("StringNotEquals", "aws:PrincipalOrgID", ORG, ArnNotEquals={"aws:PrincipalArn": ROLE}),
        "ok",
        "",
    ),
    ("a single-Region key", "key", guard("Bool", "kms:MultiRegion", "true"), "ok", ""),
    (
        "an alias in the call",
        "permissions",
        may("StringEquals", "kms:RequestAlias", "alias/x"),
        "incomplete",
        "condition_unmet",
    ),
    (
        "their organization",
        "trust",
        with_id("StringEquals", "aws:PrincipalOrgID", ORG),
        "incomplete",
        "condition_organization",
    ),
    ("a tag of ours", "trust", with_id("StringEquals", "aws:PrincipalTag/team", "x"), "incomplete", "condition_unmet"),
    ("our names of sessions", "trust", with_id("StringLike", "sts:RoleSessionName", "byok-*"), "ok", ""),
    (
        "others' names of sessions",
        "trust",
        with_id("StringLike", "sts:RoleSessionName", "dev-*"),
        "incomplete",
        "condition_unmet",
    ),
    (
        "revoked sessions",
        "permissions",
        without(
            permissions(
                {
                    "Effect": "Deny",
                    "Action": "*",
                    "Resource": "*",
                    "Condition": {"DateLessThan": {"aws:TokenIssueTime": "2024-05-01T10:00:00Z"}},
                }
            )
        ),
        "ok",
        "",
    ),
    *(
        (f"{operator} {kind}", kind, made(operator, "aws:RequestedRegion", value), verdict, code)
        for kind, made in (("trust", with_id), ("permissions", may), ("key", only_if))
        for operator, value, verdict, code in (
            ("StringEqualsIgnoreCase", REGION, "ok", ""),
            ("StringEqualsIfExists", REGION, "ok", ""),
            ("StringLike", "eu-*", "ok", ""),
            ("StringEqualsIgnoreCase", "us-east-1", "incomplete", "condition_unmet"),
            ("StringEqualsIfExists", ["us-east-1", "us-west-2"], "incomplete", "condition_unmet"),
            ("StringNotEquals", REGION, "incomplete", "condition_unmet"),
        )
    ),
    ("our Region", "trust", with_id("StringEquals", "aws:RequestedRegion", REGION), "ok", ""),
    (
        "another Region",
        "trust",
        with_id("StringEquals", "aws:RequestedRegion", "us-east-1"),
        "incomplete",
        "condition_unmet",
    ),
    ("our Region denied", "key", guard("StringEquals", "aws:RequestedRegion", REGION), "incomplete", "explicit_deny"),
    ("all but our Region denied", "key", guard("StringNotEquals", "aws:RequestedRegion", [REGION]), "ok", ""),
    ("for years", "key", only_if("DateLessThan", "aws:CurrentTime", _in(400)), "ok", ""),
    ("for weeks", "key", only_if("DateLessThan", "aws:CurrentTime", _in(30)), "ok", "condition_ends"),
    (
        "for weeks, in seconds",
        "key",
        only_if("NumericLessThan", "aws:EpochTime", str(int((datetime.now(UTC) + timedelta(days=30)).timestamp()))),
        "ok",
        "condition_ends",
    ),
    ("for weeks, trust", "trust", with_id("DateLessThanEquals", "aws:CurrentTime", _in(89)), "ok", "condition_ends"),
    ("for weeks, permissions", "permissions", may("DateLessThan", "aws:CurrentTime", _in(60)), "ok", "condition_ends"),
    ("no longer", "permissions", may("DateLessThan", "aws:CurrentTime", _in(-1)), "incomplete", "condition_unmet"),
    ("not yet", "trust", with_id("DateGreaterThan", "aws:CurrentTime", _in(2)), "incomplete", "condition_unmet"),
    ("denied from next month on", "key", guard("DateGreaterThan", "aws:CurrentTime", _in(31)), "ok", "condition_ends"),
    ("denied from next year on", "key", guard("DateGreaterThan", "aws:CurrentTime", _in(365)), "ok", ""),
]


@pytest.mark.parametrize(("what", "kind", "policy"), UNSEEN, ids=[row[0] for row in UNSEEN])
def test_what_cannot_be_seen_is_said_and_nobody_is_told_to_take_it_out(what: str, kind: Any, policy: Any) -> None:
    reading = read(kind, policy)
    assert (reading.verdict, {each.code for each in reading.findings}) == ("ok", {"condition_unseen"}), reading.findings
    assert {each.severity for each in reading.findings} == {"info"}
    assert reading.corrected == reading.before
    is_deny = any(each["Effect"] == "Deny" for each in policy["Statement"])
    assert all(("Leave the Deny as it is" in each.fix) == is_deny for each in reading.findings)
    given = pasted.granted(kind, reading.before, VALUES)
    assert given and set(given.values()) == {"unseen"}


@pytest.mark.parametrize(
    ("what", "kind", "policy", "verdict", "code"), CERTAIN, ids=[f"{row[1]} {row[0]}" for row in CERTAIN]
)
def test_what_can_be_seen_is_decided(what: str, kind: Any, policy: Any, verdict: str, code: str) -> None:
    reading = read(kind, policy)
    codes = {each.code for each in reading.findings}
    assert reading.verdict == verdict, reading.findings
    assert (code in codes) if code else not codes, reading.findings
    assert "condition_unseen" not in codes
    assert not any("that we make do not." in each.text for each in reading.findings)
    assert read(kind, reading.corrected).verdict == "ok"


def test_a_region_is_not_seen_while_no_key_is_given() -> None:
    reading = read("trust", asks("StringEquals", EXTERNAL_ID), key_arn="")
    assert reading.verdict == "ok"
    asked = with_id("StringEquals", "aws:RequestedRegion", REGION)
    assert {each.code for each in read("trust", asked, key_arn="").findings} == {"condition_unseen"}


@pytest.mark.parametrize(
    ("operator", "wanted", "possible", "met"),
    [
        ("StringEquals", "a", (), None),
        ("StringEquals", "a", (("a",),), True),
        ("StringEquals", "a", (("b",), None), False),
        ("StringEqualsIfExists", "a", (("a",), None), True),
        ("StringNotEquals", "a", (("b",), None), True),
        ("StringLike", "*", (), None),
        ("StringLikeIfExists", "*", (), True),
        ("Null", "true", (), None),
        ("Null", "true", (("b",),), False),
        ("NumericLessThan", "5", (), None),
        ("Bool", "true", (), None),
        ("ForAllValues:StringEquals", "a", (), None),
        ("ForAnyValue:StringLike", "a*", (("b",), None), False),
        ("NoSuchOperator", "a", (), False),
    ],
)
def test_a_condition_on_what_is_not_seen_is_met_missed_or_open(
    operator: str, wanted: str, possible: Any, met: bool | None
) -> None:
    assert conditions.judge({operator: {"aws:X": wanted}}, {"aws:X": Unseen(possible)}) is met


def test_one_certain_no_outweighs_every_doubt() -> None:
    context = {"aws:X": Unseen(), "aws:Y": "here"}
    block: dict[str, Any] = {"StringEquals": {"aws:X": "a", "aws:Y": "there"}}
    assert conditions.judge(block, context) is False
    assert conditions.judge({"StringEquals": {"aws:X": "a", "aws:Y": "here"}}, context) is None
    assert not conditions.holds({"StringEquals": {"aws:X": "a", "aws:Y": "here"}}, context)
