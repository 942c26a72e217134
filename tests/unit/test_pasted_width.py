"""Too wide is what the evaluator lets through: each such finding names the call, and what a Deny closes is not one."""

from __future__ import annotations

import re
from typing import Any

import pytest
from unit.test_linter import (
    ALL,
    EXTERNAL_ID,
    KEY,
    LEFT_OUT,
    OTHER_ROLE,
    SERVICE,
    deny,
    key,
    permissions,
    read,
    trust,
    without,
)

OUR_ACCOUNT = "arn:aws:iam::999900001111:root"
CALL = re.compile(r"\S+ (may call|gets in) .*")


def everybody(action: Any = "kms:Decrypt", **condition: Any) -> dict[str, Any]:
    found = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": action, "Resource": "*"}
    return {**found, "Condition": condition} if condition else found


def all_of_it(*more: Any) -> dict[str, Any]:
    """Return a role policy that allows everything, with what narrows it."""
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}, *more]}


def with_id(**more: Any) -> dict[str, Any]:
    return {"StringEquals": {"sts:ExternalId": EXTERNAL_ID}, **more}


BUT_THE_FIVE = {"Effect": "Deny", "NotAction": ALL, "Resource": "*"}
BUT_THE_KEY = {"Effect": "Deny", "Action": "*", "NotResource": KEY}
WIDE: list[tuple[str, Any, Any, str]] = [
    ("the issue's", "permissions", all_of_it(), "too_wide_permissions"),
    (
        "all but one service",
        "permissions",
        all_of_it({"Effect": "Deny", "Action": "iam:*", "Resource": "*"}),
        "too_wide_permissions",
    ),
    (
        "a Deny without MFA",
        "permissions",
        all_of_it({**BUT_THE_FIVE, "Condition": {"Bool": {"aws:MultiFactorAuthPresent": "true"}}}),
        "too_wide_permissions",
    ),
    (
        "everything but one secret",
        "permissions",
        without(permissions(Action="*", Resource=LEFT_OUT, NotResource="arn:aws:s3:::x")),
        "too_wide_permissions",
    ),
    ("a tag of the stranger", "key", key(everybody(StringEquals={"aws:PrincipalTag/team": "x"})), "too_wide_principal"),
    ("a stranger with MFA", "key", key(everybody(Bool={"aws:MultiFactorAuthPresent": "true"})), "too_wide_principal"),
    (
        "a role of that name anywhere",
        "key",
        key(everybody(ArnLike={"aws:PrincipalArn": "arn:aws:iam::*:role/Backup*"})),
        "too_wide_principal",
    ),
    (
        "a role of that name, as text",
        "key",
        key(everybody(StringLike={"aws:PrincipalArn": "*:role/Backup"})),
        "too_wide_principal",
    ),
    ("a private address", "key", key(everybody(IpAddress={"aws:VpcSourceIp": "10.0.0.0/8"})), "too_wide_principal"),
    (
        "a context of the stranger's",
        "key",
        key(everybody(StringEquals={"kms:EncryptionContext:app": "x"})),
        "too_wide_principal",
    ),
    ("a tag of the key", "key", key(everybody(StringEquals={"aws:ResourceTag/shared": "yes"})), "too_wide_principal"),
    ("to encrypt only", "key", key(everybody("kms:Encrypt")), "too_wide_principal"),
    (
        "through S3",
        "key",
        key(everybody(StringEquals={"kms:ViaService": "s3.eu-central-1.amazonaws.com"})),
        "too_wide_principal",
    ),
    (
        "a Deny of another action",
        "key",
        key(
            everybody("kms:*"),
            deny(Action="kms:Decrypt", Condition={"StringNotEquals": {"aws:PrincipalAccount": "111122223333"}}),
        ),
        "too_wide_principal",
    ),
    (
        "no id, with a tag of the role",
        "trust",
        trust(Condition={"StringEquals": {"iam:ResourceTag/x": "y"}}),
        "too_wide_no_external_id",
    ),
    (
        "anybody with MFA",
        "trust",
        trust(Principal="*", Condition=with_id(Bool={"aws:MultiFactorAuthPresent": "true"})),
        "too_wide_principal",
    ),
    (
        "anybody with a tag",
        "trust",
        trust(Principal={"AWS": "*"}, Condition=with_id(StringLike={"aws:PrincipalTag/a": "*b"})),
        "too_wide_principal",
    ),
    (
        "our role without the id by another statement",
        "trust",
        trust({"Effect": "Allow", "Principal": {"AWS": OUR_ACCOUNT}, "Action": "sts:AssumeRole"}),
        "too_wide_no_external_id",
    ),
]
NARROW: list[tuple[str, Any, Any]] = [
    ("everything but the five denied", "permissions", all_of_it(BUT_THE_FIVE, BUT_THE_KEY)),
    (
        "the five alone, by NotResource",
        "permissions",
        without(
            permissions(
                {"Effect": "Deny", "Action": "kms:*", "NotResource": KEY},
                {**BUT_THE_FIVE, "Action": "*", "NotAction": LEFT_OUT, "NotResource": [KEY], "Resource": LEFT_OUT},
                Resource="*",
            )
        ),
    ),
    (
        "strangers denied",
        "key",
        key(everybody(), deny(Condition={"StringNotEquals": {"aws:PrincipalAccount": "111122223333"}})),
    ),
    ("the own account", "key", key(everybody(StringEquals={"kms:CallerAccount": "111122223333"}))),
    ("the own role", "key", key(everybody(ArnLike={"aws:PrincipalArn": "arn:aws:iam::111122223333:role/*"}))),
    ("the own organization", "key", key(everybody(StringEquals={"aws:PrincipalOrgID": "o-1"}))),
    ("the own endpoint", "key", key(everybody(StringEquals={"aws:SourceVpce": "vpce-1"}))),
    ("services only", "key", key(everybody(Bool={"aws:PrincipalIsAWSService": "true"}))),
    (
        "our role of our account",
        "trust",
        trust(Principal={"AWS": OUR_ACCOUNT}, Condition=with_id(ArnEquals={"aws:PrincipalArn": SERVICE})),
    ),
    (
        "our role of everybody",
        "trust",
        trust(Principal="*", Condition=with_id(ArnEquals={"aws:PrincipalArn": SERVICE})),
    ),
    (
        "everybody else denied",
        "trust",
        without(
            trust(
                {
                    "Effect": "Deny",
                    "Principal": "*",
                    "Action": "sts:AssumeRole",
                    "Condition": {"ArnNotEquals": {"aws:PrincipalArn": SERVICE}},
                },
                Principal="*",
            )
        ),
    ),
    (
        "other ids denied",
        "trust",
        without(
            trust(
                {
                    "Effect": "Deny",
                    "Principal": "*",
                    "Action": "sts:AssumeRole",
                    "Condition": {"StringNotEquals": {"sts:ExternalId": EXTERNAL_ID}},
                },
                Condition=LEFT_OUT,
            )
        ),
    ),
    (
        "tags of sessions denied",
        "trust",
        without(
            trust(
                {"Effect": "Deny", "Principal": "*", "Action": ["sts:TagSession", "sts:SetSourceIdentity"]},
                Action="sts:*",
            )
        ),
    ),
    (
        "another one, denied",
        "trust",
        without(
            trust(
                {"Effect": "Deny", "Principal": {"AWS": OTHER_ROLE}, "Action": "sts:AssumeRole"},
                Principal={"AWS": [SERVICE, OTHER_ROLE]},
            )
        ),
    ),
]


@pytest.mark.parametrize(("what", "kind", "policy", "code"), WIDE, ids=[row[0] for row in WIDE])
def test_what_is_too_wide_names_the_call_that_is_let_through(what: str, kind: Any, policy: Any, code: str) -> None:
    reading = read(kind, without(policy))
    assert reading.verdict == "unsafe", reading.findings
    found = [each for each in reading.findings if each.code == code]
    assert found and all(CALL.search(each.text) for each in found), reading.findings
    assert read(kind, reading.corrected).verdict == "ok"


@pytest.mark.parametrize(("what", "kind", "policy"), NARROW, ids=[row[0] for row in NARROW])
def test_what_is_narrowed_elsewhere_is_not_called_wide(what: str, kind: Any, policy: Any) -> None:
    reading = read(kind, without(policy))
    codes = {each.code for each in reading.findings}
    assert reading.verdict == "ok", reading.findings
    assert not codes & {"account_root", "action_wide", "not_action", "other_principal", "wider_than_needed"}, codes
    assert not any(each.startswith("too_wide") for each in codes)


def test_more_than_the_key_is_named_and_no_refusal() -> None:
    more = {"Effect": "Allow", "Action": "dynamodb:*", "Resource": "arn:aws:dynamodb:*:*:table/*"}
    reading = read("permissions", permissions(more))
    assert (reading.verdict, {each.code for each in reading.findings}) == ("ok", {"wider_than_needed"})
    closed = permissions(more, {"Effect": "Deny", "NotAction": "kms:*", "Resource": "*"})
    assert read("permissions", closed).findings == []
