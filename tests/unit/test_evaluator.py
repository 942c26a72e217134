"""Who may do what: AWS's documented rules in tables, and what must never happen as properties."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.policies import conditions, evaluator
from keys.policies.evaluator import EvalDecision, Principal, Request, evaluate

OURS, CUSTOMER, OTHER = "999900001111", "111122223333", "444455556666"
SERVICE = Principal(
    f"arn:aws:sts::{OURS}:assumed-role/byok-service-1/s", OURS, "AROAOURS", f"arn:aws:iam::{OURS}:role/byok-service-1"
)
ROLE_ARN = f"arn:aws:iam::{CUSTOMER}:role/R"
ROLE = Principal(f"arn:aws:sts::{CUSTOMER}:assumed-role/R/s", CUSTOMER, "AROAR", ROLE_ARN)
USER = Principal(f"arn:aws:iam::{CUSTOMER}:user/u", CUSTOMER, "AIDAU")
KEY = f"arn:aws:kms:eu-central-1:{CUSTOMER}:key/k"
FOREIGN_KEY = f"arn:aws:kms:eu-central-1:{OTHER}:key/k"
Policy = dict[str, Any]


def allow(action: Any = "*", resource: Any = "*", **more: Any) -> Policy:
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": resource, **more}]}


def deny(action: Any = "*", resource: Any = "*", **more: Any) -> Policy:
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": action, "Resource": resource, **more}]}


def trust(principal: Any, **more: Any) -> Policy:
    return {"Statement": [{"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole", **more}]}


def key_policy(principal: Any, action: Any = "kms:*", **more: Any) -> Policy:
    return {"Statement": [{"Effect": "Allow", "Principal": principal, "Action": action, "Resource": "*", **more}]}


def assume(who: Principal, external_id: str | None = "right") -> Request:
    return Request("sts:AssumeRole", ROLE_ARN, who, {} if external_id is None else {"sts:ExternalId": external_id})


def decrypt(who: Principal, key: str = KEY, **context: Any) -> Request:
    return Request("kms:Decrypt", key, who, context)


EXACT = {"Condition": {"StringEquals": {"sts:ExternalId": "right"}}}
OURS_ONLY = trust({"AWS": SERVICE.role_arn}, **EXACT)
ROOT = key_policy({"AWS": f"arn:aws:iam::{CUSTOMER}:root"})
DIRECT = key_policy({"AWS": ROLE_ARN}, "kms:Decrypt")
EVERYTHING = [allow()]

EC2 = Principal("ec2.amazonaws.com", "", service="ec2.amazonaws.com")
SAML = Principal(f"arn:aws:iam::{CUSTOMER}:saml-provider/P", "", federated=f"arn:aws:iam::{CUSTOMER}:saml-provider/P")
NOBODY = Principal("*", "")
LINKED = Principal(
    f"arn:aws:sts::{CUSTOMER}:assumed-role/L/s",
    CUSTOMER,
    "AROAL",
    f"arn:aws:iam::{CUSTOMER}:role/aws-service-role/x.amazonaws.com/L",
)
OUTSIDERS = deny("kms:*", Principal="*", Condition={"StringNotEqualsIfExists": {"aws:PrincipalOrgID": "o-1"}})


def not_principal(effect: str, *names: str) -> Policy:
    """A key policy that names everybody, and one statement about all but the named."""
    about = {"Effect": effect, "NotPrincipal": {"AWS": list(names)}, "Action": "kms:*", "Resource": "*"}
    return {"Statement": [*key_policy("*")["Statement"], about]}


def federated(provider: str) -> Policy:
    return {
        "Statement": [{"Effect": "Allow", "Principal": {"Federated": provider}, "Action": "sts:AssumeRoleWithSAML"}]
    }


ROWS: list[tuple[str, Request, dict[str, Any], str, str]] = [
    # role trust
    ("our role with the External ID", assume(SERVICE), {"identity": EVERYTHING, "resource": OURS_ONLY}, "allowed", ""),
    (
        "without it",
        assume(SERVICE, None),
        {"identity": EVERYTHING, "resource": OURS_ONLY},
        "implicit deny",
        "role trust policy",
    ),
    (
        "with a wrong one",
        assume(SERVICE, "x"),
        {"identity": EVERYTHING, "resource": OURS_ONLY},
        "implicit deny",
        "role trust policy",
    ),
    (
        "our side does not allow",
        assume(SERVICE),
        {"identity": [], "resource": OURS_ONLY},
        "implicit deny",
        "identity-based policy",
    ),
    (
        "our side denies",
        assume(SERVICE),
        {"identity": [allow(), deny("sts:*")], "resource": OURS_ONLY},
        "explicit deny",
        "identity-based policy",
    ),
    (
        "a stranger's role",
        assume(ROLE),
        {"identity": EVERYTHING, "resource": OURS_ONLY},
        "implicit deny",
        "role trust policy",
    ),
    (
        "account trusted by id",
        assume(SERVICE),
        {"identity": EVERYTHING, "resource": trust({"AWS": OURS})},
        "allowed",
        "",
    ),
    (
        "account trusted by root",
        assume(SERVICE),
        {"identity": EVERYTHING, "resource": trust({"AWS": f"arn:aws:iam::{OURS}:root"})},
        "allowed",
        "",
    ),
    ("everybody trusted", assume(SERVICE, None), {"identity": EVERYTHING, "resource": trust("*")}, "allowed", ""),
    (
        "a session trusted by its ARN",
        assume(SERVICE),
        {"identity": EVERYTHING, "resource": trust({"AWS": SERVICE.arn})},
        "allowed",
        "",
    ),
    (
        "the unique id trusted",
        assume(SERVICE),
        {"identity": EVERYTHING, "resource": trust({"AWS": "AROAOURS"})},
        "allowed",
        "",
    ),
    (
        "a stale unique id",
        assume(SERVICE),
        {"identity": EVERYTHING, "resource": trust({"AWS": "AROAOLD"})},
        "implicit deny",
        "role trust policy",
    ),
    (
        "a trust policy that denies",
        assume(SERVICE),
        {
            "identity": EVERYTHING,
            "resource": {
                "Statement": [*OURS_ONLY["Statement"], {"Effect": "Deny", "Principal": "*", "Action": "sts:*"}]
            },
        },
        "explicit deny",
        "role trust policy",
    ),
    (
        "same account, trust alone is enough",
        assume(ROLE),
        {"identity": [], "resource": trust({"AWS": ROLE_ARN})},
        "allowed",
        "",
    ),
    (
        "same account, root trusted, identity missing",
        assume(ROLE),
        {"identity": [], "resource": trust({"AWS": CUSTOMER})},
        "implicit deny",
        "identity-based policy",
    ),
    (
        "a service principal",
        assume(SERVICE),
        {"identity": EVERYTHING, "resource": trust({"Service": "ec2.amazonaws.com"})},
        "implicit deny",
        "role trust policy",
    ),
    (
        "StringLike with a star",
        assume(SERVICE, "x"),
        {"identity": EVERYTHING, "resource": trust({"AWS": OURS}, Condition={"StringLike": {"sts:ExternalId": "*"}})},
        "allowed",
        "",
    ),
    (
        "…IfExists without the key",
        assume(SERVICE, None),
        {
            "identity": EVERYTHING,
            "resource": trust({"AWS": OURS}, Condition={"StringEqualsIfExists": {"sts:ExternalId": "right"}}),
        },
        "allowed",
        "",
    ),
    (
        "context keys ignore case",
        assume(SERVICE),
        {
            "identity": EVERYTHING,
            "resource": trust({"AWS": OURS}, Condition={"StringEquals": {"STS:externalid": "right"}}),
        },
        "allowed",
        "",
    ),
    # keys
    ("key policy names the role", decrypt(ROLE), {"identity": [], "resource": DIRECT}, "allowed", ""),
    (
        "key policy delegates, IAM allows",
        decrypt(ROLE),
        {"identity": [allow("kms:Decrypt", KEY)], "resource": ROOT},
        "allowed",
        "",
    ),
    (
        "key policy delegates, IAM silent",
        decrypt(ROLE),
        {"identity": [], "resource": ROOT},
        "implicit deny",
        "identity-based policy",
    ),
    (
        "IAM allows, key policy silent",
        decrypt(ROLE),
        {"identity": EVERYTHING, "resource": key_policy({"AWS": f"arn:aws:iam::{CUSTOMER}:user/x"})},
        "implicit deny",
        "resource-based policy",
    ),
    (
        "an action that is missing",
        Request("kms:Encrypt", KEY, ROLE, {}),
        {"identity": [], "resource": DIRECT},
        "implicit deny",
        "resource-based policy",
    ),
    (
        "a pattern of the guide",
        Request("kms:ReEncryptFrom", KEY, ROLE, {}),
        {"identity": [], "resource": key_policy({"AWS": ROLE_ARN}, "kms:ReEncrypt*")},
        "allowed",
        "",
    ),
    ("actions ignore case", Request("kms:decrypt", KEY, ROLE, {}), {"identity": [], "resource": DIRECT}, "allowed", ""),
    (
        "another key in the permissions",
        decrypt(ROLE),
        {"identity": [allow("kms:*", KEY + "2")], "resource": ROOT},
        "implicit deny",
        "identity-based policy",
    ),
    (
        "across accounts both allow",
        decrypt(ROLE, FOREIGN_KEY),
        {"identity": EVERYTHING, "resource": key_policy({"AWS": ROLE_ARN})},
        "allowed",
        "",
    ),
    (
        "across accounts only the key policy",
        decrypt(ROLE, FOREIGN_KEY),
        {"identity": [], "resource": key_policy({"AWS": ROLE_ARN})},
        "implicit deny",
        "identity-based policy",
    ),
    (
        "across accounts only IAM",
        decrypt(ROLE, FOREIGN_KEY),
        {"identity": EVERYTHING, "resource": ROOT | {"Statement": []}},
        "implicit deny",
        "resource-based policy",
    ),
    (
        "a session policy narrows",
        decrypt(ROLE),
        {"identity": EVERYTHING, "resource": ROOT, "session": allow("kms:DescribeKey", KEY)},
        "implicit deny",
        "session policy",
    ),
    (
        "a session policy denies",
        decrypt(ROLE),
        {"identity": EVERYTHING, "resource": ROOT, "session": deny("kms:Decrypt")},
        "explicit deny",
        "session policy",
    ),
    (
        "a boundary narrows",
        decrypt(ROLE),
        {"identity": EVERYTHING, "resource": ROOT, "boundaries": [allow("s3:*")]},
        "implicit deny",
        "permissions boundary",
    ),
    (
        "an SCP is silent",
        decrypt(ROLE),
        {"identity": EVERYTHING, "resource": ROOT, "scps": [allow("s3:*")]},
        "implicit deny",
        "service control policy",
    ),
    (
        "an SCP denies",
        decrypt(ROLE),
        {"identity": EVERYTHING, "resource": ROOT, "scps": [allow(), deny("kms:*")]},
        "explicit deny",
        "service control policy",
    ),
    (
        "an RCP denies",
        decrypt(ROLE),
        {"identity": EVERYTHING, "resource": ROOT, "rcps": [deny("kms:*", Principal="*")]},
        "explicit deny",
        "resource control policy",
    ),
    (
        "NotAction allows the rest",
        decrypt(ROLE),
        {"identity": [{"Statement": [{"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}]}], "resource": ROOT},
        "allowed",
        "",
    ),
    (
        "NotResource leaves the key out",
        decrypt(ROLE),
        {"identity": [{"Statement": [{"Effect": "Allow", "Action": "*", "NotResource": KEY}]}], "resource": ROOT},
        "implicit deny",
        "identity-based policy",
    ),
    (
        "NotPrincipal denies everybody else",
        decrypt(ROLE),
        {
            "identity": EVERYTHING,
            "resource": {
                "Statement": [
                    *ROOT["Statement"],
                    {"Effect": "Deny", "NotPrincipal": {"AWS": USER.arn}, "Action": "kms:*", "Resource": "*"},
                ]
            },
        },
        "explicit deny",
        "resource-based policy",
    ),
    (
        "encryption context in a condition",
        decrypt(ROLE, **{"kms:EncryptionContext:tenant": "t"}),
        {
            "identity": [],
            "resource": key_policy(
                {"AWS": ROLE_ARN}, "kms:Decrypt", Condition={"StringEquals": {"kms:EncryptionContext:tenant": "t"}}
            ),
        },
        "allowed",
        "",
    ),
    (
        "another context",
        decrypt(ROLE, **{"kms:EncryptionContext:tenant": "x"}),
        {
            "identity": [],
            "resource": key_policy(
                {"AWS": ROLE_ARN}, "kms:Decrypt", Condition={"StringEquals": {"kms:EncryptionContext:tenant": "t"}}
            ),
        },
        "implicit deny",
        "resource-based policy",
    ),
    (
        "a policy variable",
        decrypt(USER, **{"aws:username": "u"}),
        {"identity": [allow("kms:*", "arn:aws:kms:*:*:key/${aws:username}")], "resource": ROOT},
        "implicit deny",
        "identity-based policy",
    ),
    # NotPrincipal
    (
        "a deny spares who is named whole",
        decrypt(USER),
        {"identity": [], "resource": not_principal("Deny", CUSTOMER, USER.arn)},
        "allowed",
        "",
    ),
    (
        "a deny does not spare a user whose account is not named",
        decrypt(USER),
        {"identity": [], "resource": not_principal("Deny", USER.arn)},
        "explicit deny",
        "resource-based policy",
    ),
    (
        "a deny does not spare the users of an account that is named",
        decrypt(USER),
        {"identity": [], "resource": not_principal("Deny", CUSTOMER)},
        "explicit deny",
        "resource-based policy",
    ),
    (
        "a deny does not spare a session whose role is named",
        decrypt(ROLE),
        {"identity": EVERYTHING, "resource": not_principal("Deny", CUSTOMER, ROLE_ARN)},
        "explicit deny",
        "resource-based policy",
    ),
    (
        "a deny spares a session with role and account",
        decrypt(ROLE),
        {"identity": EVERYTHING, "resource": not_principal("Deny", CUSTOMER, ROLE_ARN, ROLE.arn)},
        "allowed",
        "",
    ),
    (
        "a deny spares nobody with a boundary",
        decrypt(ROLE),
        {
            "identity": EVERYTHING,
            "boundaries": EVERYTHING,
            "resource": not_principal("Deny", CUSTOMER, ROLE_ARN, ROLE.arn),
        },
        "explicit deny",
        "resource-based policy",
    ),
    (
        "an allow leaves out who is named",
        decrypt(USER),
        {"identity": [], "resource": {"Statement": not_principal("Allow", USER.arn)["Statement"][1:]}},
        "implicit deny",
        "resource-based policy",
    ),
    (
        "an allow lets in who is not",
        decrypt(USER),
        {"identity": [], "resource": {"Statement": not_principal("Allow", ROLE_ARN)["Statement"][1:]}},
        "allowed",
        "",
    ),
    # principals without an account
    (
        "a service that is named",
        decrypt(EC2),
        {"resource": key_policy({"Service": "ec2.amazonaws.com"})},
        "allowed",
        "",
    ),
    (
        "another service",
        decrypt(EC2),
        {"resource": key_policy({"Service": "s3.amazonaws.com"})},
        "implicit deny",
        "resource-based policy",
    ),
    ("a service among all of AWS", decrypt(EC2), {"resource": key_policy({"AWS": "*"})}, "allowed", ""),
    ("a service and the account's root", decrypt(EC2), {"resource": ROOT}, "implicit deny", "resource-based policy"),
    (
        "a service is under no SCP",
        decrypt(EC2),
        {"resource": key_policy({"Service": "ec2.amazonaws.com"}), "scps": [deny()]},
        "allowed",
        "",
    ),
    (
        "a service is under RCPs",
        decrypt(EC2),
        {"resource": key_policy({"Service": "ec2.amazonaws.com"}), "rcps": [deny(Principal="*")]},
        "explicit deny",
        "resource control policy",
    ),
    (
        "a provider that is trusted",
        Request("sts:AssumeRoleWithSAML", ROLE_ARN, SAML, {}),
        {"resource": federated(SAML.arn)},
        "allowed",
        "",
    ),
    (
        "another provider",
        Request("sts:AssumeRoleWithSAML", ROLE_ARN, SAML, {}),
        {"resource": federated(SAML.arn + "2")},
        "implicit deny",
        "role trust policy",
    ),
    ("nobody in particular, everybody named", decrypt(NOBODY), {"resource": key_policy("*")}, "allowed", ""),
    (
        "nobody in particular, the account named",
        decrypt(NOBODY),
        {"resource": ROOT},
        "implicit deny",
        "resource-based policy",
    ),
    (
        "the root user, and the account's root named",
        decrypt(Principal(f"arn:aws:iam::{CUSTOMER}:root", CUSTOMER)),
        {"resource": ROOT},
        "allowed",
        "",
    ),
    (
        "the root user under an SCP",
        decrypt(Principal(f"arn:aws:iam::{CUSTOMER}:root", CUSTOMER)),
        {"resource": ROOT, "scps": [allow(), deny("kms:*")]},
        "explicit deny",
        "service control policy",
    ),
    (
        "the root of another account delegates to it",
        decrypt(ROLE, FOREIGN_KEY),
        {"identity": EVERYTHING, "resource": key_policy({"AWS": f"arn:aws:iam::{CUSTOMER}:root"})},
        "allowed",
        "",
    ),
    (
        "the root of another account, its IAM silent",
        decrypt(ROLE, FOREIGN_KEY),
        {"identity": [], "resource": key_policy({"AWS": CUSTOMER})},
        "implicit deny",
        "identity-based policy",
    ),
    (
        "a deny for the account's root",
        decrypt(ROLE),
        {
            "identity": EVERYTHING,
            "resource": {
                "Statement": [
                    *ROOT["Statement"],
                    {"Effect": "Deny", "Principal": {"AWS": CUSTOMER}, "Action": "kms:*", "Resource": "*"},
                ]
            },
        },
        "explicit deny",
        "resource-based policy",
    ),
    (
        "a role with another path",
        decrypt(ROLE),
        {"identity": [], "resource": key_policy({"AWS": ROLE_ARN.replace("role/", "role/kore/")})},
        "implicit deny",
        "resource-based policy",
    ),
    (
        "a role with a path, by its session's ARN",
        decrypt(replace(ROLE, any_path=True)),
        {"identity": [], "resource": key_policy({"AWS": ROLE_ARN.replace("role/", "role/kore/")})},
        "allowed",
        "",
    ),
    # sessions and boundaries
    (
        "a session policy narrows a role that is named",
        decrypt(ROLE),
        {"identity": [], "resource": DIRECT, "session": allow("s3:*")},
        "implicit deny",
        "session policy",
    ),
    (
        "a session policy does not narrow a session that is named",
        decrypt(ROLE),
        {"identity": [], "resource": key_policy({"AWS": ROLE.arn}), "session": allow("s3:*")},
        "allowed",
        "",
    ),
    (
        "a session that is named across accounts needs its own side",
        decrypt(ROLE, FOREIGN_KEY),
        {"identity": EVERYTHING, "resource": key_policy({"AWS": ROLE.arn}), "session": allow("s3:*")},
        "implicit deny",
        "session policy",
    ),
    (
        "a boundary narrows a role that is named",
        decrypt(ROLE),
        {"identity": [], "resource": DIRECT, "boundaries": [allow("s3:*")]},
        "implicit deny",
        "permissions boundary",
    ),
    (
        "a boundary does not narrow a user who is named",
        decrypt(USER),
        {"identity": [], "resource": key_policy({"AWS": USER.arn}), "boundaries": [allow("s3:*")]},
        "allowed",
        "",
    ),
    (
        "a boundary does not narrow where everybody is named",
        decrypt(ROLE),
        {"identity": [], "resource": key_policy("*"), "boundaries": [allow("s3:*")]},
        "allowed",
        "",
    ),
    (
        "a session policy does not narrow where everybody is named",
        decrypt(ROLE),
        {"identity": [], "resource": key_policy({"AWS": "*"}), "session": allow("s3:*")},
        "allowed",
        "",
    ),
    (
        "everybody named across accounts needs its own side",
        decrypt(ROLE, FOREIGN_KEY),
        {"identity": EVERYTHING, "resource": key_policy("*"), "boundaries": [allow("s3:*")]},
        "implicit deny",
        "permissions boundary",
    ),
    (
        "a boundary that denies",
        decrypt(USER),
        {"identity": [], "resource": key_policy({"AWS": USER.arn}), "boundaries": [allow(), deny("kms:*")]},
        "explicit deny",
        "permissions boundary",
    ),
    (
        "a boundary alone allows nothing",
        decrypt(ROLE),
        {"identity": [], "resource": ROOT, "boundaries": EVERYTHING},
        "implicit deny",
        "identity-based policy",
    ),
    # organizations
    (
        "one SCP of a level is enough",
        decrypt(ROLE),
        {"identity": EVERYTHING, "resource": ROOT, "scps": [allow("s3:*"), allow("kms:*")]},
        "allowed",
        "",
    ),
    (
        "each level has to allow",
        decrypt(ROLE),
        {"identity": EVERYTHING, "resource": ROOT, "scps": [[allow()], [allow("s3:*")]]},
        "implicit deny",
        "service control policy",
    ),
    (
        "a deny at any level",
        decrypt(ROLE),
        {"identity": EVERYTHING, "resource": ROOT, "scps": [[allow(), deny("kms:*")], [allow()]]},
        "explicit deny",
        "service control policy",
    ),
    (
        "an SCP gives nothing",
        decrypt(ROLE),
        {"identity": [], "resource": ROOT, "scps": [allow()]},
        "implicit deny",
        "identity-based policy",
    ),
    (
        "a service-linked role is under no SCP",
        decrypt(LINKED),
        {"identity": EVERYTHING, "resource": ROOT, "scps": [deny()]},
        "allowed",
        "",
    ),
    (
        "an RCP only denies",
        decrypt(ROLE),
        {"identity": EVERYTHING, "resource": ROOT, "rcps": [deny("s3:*", Principal="*")]},
        "allowed",
        "",
    ),
    (
        "an RCP that takes away all but the organization",
        decrypt(ROLE, **{"aws:PrincipalOrgID": "o-1"}),
        {"identity": EVERYTHING, "resource": ROOT, "rcps": [OUTSIDERS]},
        "allowed",
        "",
    ),
    (
        "an RCP and an outsider",
        decrypt(ROLE),
        {"identity": EVERYTHING, "resource": ROOT, "rcps": [OUTSIDERS]},
        "explicit deny",
        "resource control policy",
    ),
    # what asks no policy, what has none
    (
        "who am I",
        Request("sts:GetCallerIdentity", "*", ROLE, {}),
        {"identity": [deny()], "scps": [deny()]},
        "allowed",
        "",
    ),
    ("a list of keys", Request("kms:ListKeys", "*", ROLE, {}), {"identity": [allow("kms:ListKeys")]}, "allowed", ""),
    (
        "an alias has no policy",
        Request("kms:CreateAlias", f"arn:aws:kms:eu-central-1:{CUSTOMER}:alias/x", ROLE, {}),
        {"identity": [allow("kms:*")]},
        "allowed",
        "",
    ),
    (
        "an alias of AWS's",
        Request("kms:CreateAlias", f"arn:aws:kms:eu-central-1:{CUSTOMER}:alias/aws/s3", ROLE, {}),
        {"identity": [allow("kms:*")]},
        "implicit deny",
        "",
    ),
    (
        "a bucket without a policy",
        Request("s3:GetObject", "arn:aws:s3:::b/x", ROLE, {}),
        {"identity": [allow("s3:Get*")]},
        "allowed",
        "",
    ),
    (
        "a bucket of another account without one",
        Request("s3:GetObject", "arn:aws:s3:::b/x", ROLE, {}, OTHER),
        {"identity": [allow("s3:Get*")]},
        "implicit deny",
        "resource-based policy",
    ),
    (
        "a key policy statement without Resource",
        decrypt(ROLE),
        {"identity": [], "resource": {"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "kms:*"}]}},
        "implicit deny",
        "resource-based policy",
    ),
    (
        "a permission without Resource",
        decrypt(ROLE),
        {"identity": [{"Statement": [{"Effect": "Allow", "Action": "kms:*"}]}], "resource": ROOT},
        "implicit deny",
        "identity-based policy",
    ),
    (
        "a variable without a value in a deny",
        decrypt(ROLE, **{"aws:PrincipalArn": ROLE_ARN}),
        {
            "identity": [allow(), deny(Condition={"StringNotEquals": {"aws:PrincipalArn": "${aws:PrincipalTag/a}"}})],
            "resource": ROOT,
        },
        "allowed",
        "",
    ),
    (
        "NotResource with a variable without a value",
        decrypt(ROLE),
        {
            "identity": [
                {
                    "Version": "2012-10-17",
                    "Statement": [{"Effect": "Allow", "Action": "*", "NotResource": "${aws:PrincipalTag/a}"}],
                }
            ],
            "resource": ROOT,
        },
        "implicit deny",
        "identity-based policy",
    ),
    (
        "a service in between",
        decrypt(ROLE, **{"kms:ViaService": "s3.eu-central-1.amazonaws.com"}),
        {
            "identity": [],
            "resource": key_policy(
                "*", Condition={"StringEquals": {"kms:ViaService": "s3.eu-central-1.amazonaws.com"}}
            ),
        },
        "allowed",
        "",
    ),
    (
        "a VPC endpoint",
        decrypt(ROLE, **{"aws:SourceVpce": "vpce-2"}),
        {"identity": [allow(), deny(Condition={"StringNotEquals": {"aws:SourceVpce": "vpce-1"}})], "resource": ROOT},
        "explicit deny",
        "identity-based policy",
    ),
    (
        "a single statement without a list",
        decrypt(ROLE),
        {"identity": [{"Statement": {"Effect": "Allow", "Action": "kms:*", "Resource": "*"}}], "resource": ROOT},
        "allowed",
        "",
    ),
]


@pytest.mark.parametrize(
    ("request_", "layers", "verdict", "layer"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_a_documented_rule(request_: Request, layers: dict[str, Any], verdict: str, layer: str) -> None:
    evaluation = evaluate(request_, **layers)
    assert evaluation.decision == verdict, evaluation
    assert layer in ("", evaluation.layer)
    assert evaluation.because.endswith(".")


@pytest.mark.parametrize(
    ("operator", "wanted", "given", "met"),
    [
        ("StringEquals", ["a", "b"], "b", True),
        ("StringEquals", "a", "A", False),
        ("StringEqualsIgnoreCase", "a", "A", True),
        ("StringNotEquals", "a", "b", True),
        ("StringNotEquals", ["a", "b"], "b", False),
        ("StringNotEquals", "a", None, True),
        ("StringEquals", "a", None, False),
        ("StringEqualsIfExists", "a", None, True),
        ("StringLike", "a*c?", "a/b:cd", True),
        ("StringNotLike", "a*", "b", True),
        ("ArnLike", "arn:aws:iam::*:role/*", "arn:aws:iam::111122223333:role/x/y", True),
        ("ArnLike", "arn:aws:*:role/x", "arn:aws:iam::111122223333:role/x", False),
        ("ArnNotEquals", "arn:aws:iam::1:role/x", "arn:aws:iam::1:role/y", True),
        ("NumericLessThan", "10", "9", True),
        ("NumericGreaterThanEquals", "10", "10", True),
        ("NumericEquals", "10", "ten", False),
        ("DateGreaterThan", "2026-01-01T00:00:00Z", "2026-06-01T00:00:00Z", True),
        ("DateLessThan", "2026-01-01T00:00:00Z", "1900000000", False),
        ("DateLessThan", "never", "1900000000", False),
        ("Bool", "true", "true", True),
        ("Bool", True, "true", True),
        ("BinaryEquals", "YQ==", "YQ==", True),
        ("BinaryEquals", "YQ==", "?", False),
        ("IpAddress", "10.0.0.0/8", "10.1.2.3", True),
        ("NotIpAddress", "10.0.0.0/8", "10.1.2.3", False),
        ("IpAddress", "10.0.0.0/8", "here", False),
        ("Null", "true", None, True),
        ("Null", "false", None, False),
        ("Null", "false", "x", True),
        ("ForAnyValue:StringEquals", ["a"], ["b", "a"], True),
        ("ForAnyValue:StringEquals", ["a"], None, False),
        ("ForAllValues:StringEquals", ["a", "b"], ["b", "a"], True),
        ("ForAllValues:StringEquals", ["a"], ["b", "a"], False),
        ("ForAllValues:StringEquals", ["a"], None, True),
        ("ForAnyValue:StringEqualsIfExists", ["a"], None, True),
        ("ForAnyValue:StringNotEquals", ["a"], ["a", "b"], True),
        ("ForAnyValue:StringNotEquals", ["a"], ["a"], False),
        ("ForAnyValue:StringNotEquals", ["a"], None, False),
        ("ForAllValues:StringNotEquals", ["a"], ["a", "b"], False),
        ("ForAllValues:StringNotEquals", ["a"], ["b", "c"], True),
        ("ForAllValues:StringEquals", ["a"], "", True),
        ("ForAnyValue:StringEquals", ["a"], [], False),
        ("ForAllValues:StringLike", ["a*"], ["ab", "ac"], True),
        ("StringNotEqualsIfExists", "a", "a", False),
        ("StringNotEqualsIfExists", "a", None, True),
        ("StringNotEqualsIgnoreCase", ["a", "b"], "B", False),
        ("StringLike", "a", "A", False),
        ("StringEquals", "a*", "ab", False),
        ("stringequals", "a", "a", True),
        ("Null", "true", "", True),
        ("Null", ["true", "false"], "x", True),
        ("NullIfExists", "true", None, False),
        ("NumericNotEquals", "10", "11", True),
        ("NumericLessThanEquals", "10", "10.0", True),
        ("NumericGreaterThan", "-1", "0", True),
        ("NumericLessThanIfExists", "10", None, True),
        ("NumericLessThan", "10", None, False),
        ("DateEquals", "2026-01-01T00:00:00Z", "1767225600", True),
        ("DateNotEquals", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00", False),
        ("DateLessThanEquals", "2026-01-01", "2026-01-01T00:00:00Z", True),
        ("DateGreaterThanEquals", "1767225600", "2026-01-01T00:00:00Z", True),
        ("BoolIfExists", "true", None, True),
        ("Bool", "true", None, False),
        ("Bool", "true", "TRUE", True),
        ("IpAddress", ["10.0.0.0/8", "2001:db8::/32"], "2001:db8::1", True),
        ("IpAddress", "10.1.2.3", "10.1.2.3", True),
        ("NotIpAddress", ["10.0.0.0/8", "192.0.2.0/24"], "192.0.2.1", False),
        ("NotIpAddress", "10.0.0.0/8", None, True),
        ("ArnEquals", "arn:aws:iam::*:role/a*", "arn:aws:iam::1:role/ab/c", True),
        ("ArnNotLike", "arn:aws:iam::*:role/a*", "arn:aws:iam::1:role/ab", False),
        ("ArnLike", "arn:aws:iam::1:role/x", "x", False),
        ("ArnLikeIfExists", "arn:aws:iam::1:role/x", None, True),
        ("StringNotEquals", "${aws:PrincipalTag/missing}", "a", False),
        ("StringEquals", ["${aws:PrincipalTag/missing}", "a"], "a", True),
        ("StringEquals", "${aws:PrincipalTag/missing, 'a'}", "a", True),
        ("StringLike", "${*}", "*", True),
        ("StringLike", "${*}", "a", False),
        ("StringEquals", "${K}", "a", True),
        ("ForSomeValues:StringEquals", "a", "a", False),
        ("StringSmells", "a", "a", False),
    ],
)
def test_a_condition_operator(operator: str, wanted: Any, given: Any, met: bool) -> None:
    context = {} if given is None else {"k": given}
    assert conditions.holds({operator: {"K": wanted}}, context) is met


def test_a_condition_that_cannot_be_read_is_not_met() -> None:
    assert not conditions.holds("x", {})
    assert not conditions.holds({"StringEquals": "x"}, {})


# --- what must never happen -----------------------------------------------------------------------------------

actions = st.sampled_from(["kms:Decrypt", "kms:*", "*", "kms:Enc*", "s3:Get"])
resources = st.sampled_from([KEY, "*", FOREIGN_KEY])
principals = st.sampled_from(
    ["*", {"AWS": "*"}, {"AWS": ROLE_ARN}, {"AWS": ROLE.arn}, {"AWS": CUSTOMER}, {"AWS": USER.arn}]
)
statements = st.fixed_dictionaries(
    {"Effect": st.sampled_from(["Allow", "Deny"]), "Action": actions, "Resource": resources, "Principal": principals}
)
policies = st.lists(statements, max_size=4).map(lambda found: {"Statement": found})
requests = st.builds(
    Request,
    st.sampled_from(["kms:Decrypt", "kms:Encrypt"]),
    st.sampled_from([KEY, FOREIGN_KEY]),
    st.sampled_from([ROLE, USER]),
    st.just({}),
)


Layers = dict[str, Any]
# Every layer that a request can meet: an explicit deny, an allow that is taken away,
# a layer that is added are tried in each.
layers = st.fixed_dictionaries(
    {"identity": st.lists(policies, max_size=2), "resource": st.none() | policies},
    optional={
        "session": policies,
        "boundaries": st.lists(policies, max_size=2),
        "scps": st.lists(policies | st.lists(policies, max_size=2), max_size=2),
        "rcps": st.lists(policies, max_size=2),
    },
)
ANY = {"Effect": "Deny", "Action": "*", "Resource": "*", "Principal": "*"}


def _mapped(given: Layers, change: Callable[[Policy], Policy]) -> Layers:
    def through(value: Any) -> Any:
        return (
            [through(each) for each in value]
            if isinstance(value, list)
            else change(value)
            if value is not None
            else None
        )

    return {name: through(value) for name, value in given.items()}


@given(requests, layers, st.sampled_from(["identity", "resource", "session", "boundaries", "scps", "rcps"]))
def test_an_explicit_deny_always_wins(request_: Request, given_: Layers, where: str) -> None:
    denied: Policy = {"Statement": [ANY]}
    more = {**given_, where: denied if where in {"resource", "session"} else [*given_.get(where, []), denied]}
    assert evaluate(request_, **more).decision is EvalDecision.EXPLICIT_DENY


@given(requests, layers, st.data())
def test_removing_an_allow_never_allows_more(request_: Request, given_: Layers, data: st.DataObject) -> None:
    fewer = _mapped(
        given_,
        lambda policy: {
            "Statement": [s for s in policy["Statement"] if s["Effect"] == "Deny" or data.draw(st.booleans())]
        },
    )
    assert evaluate(request_, **given_).allowed or not evaluate(request_, **fewer).allowed


@given(requests, layers, policies)
def test_a_further_layer_never_widens(request_: Request, given_: Layers, narrow: Policy) -> None:
    plain = {name: value for name, value in given_.items() if name in {"identity", "resource"}}
    before = evaluate(request_, **plain).allowed
    for more in ({"session": narrow}, {"boundaries": [narrow]}, {"scps": [narrow]}, {"rcps": [narrow]}):
        assert before or not evaluate(request_, **plain, **more).allowed  # type: ignore[arg-type]
    for name in ("boundaries", "scps", "rcps"):
        further = {**given_, name: [*given_.get(name, []), [narrow] if name == "scps" else narrow]}
        assert evaluate(request_, **given_).allowed or not evaluate(request_, **further).allowed


def test_statement_names_and_accounts() -> None:
    assert evaluator.account_of(KEY) == CUSTOMER
    assert evaluator.account_of("x") == ""
    assert evaluate(decrypt(ROLE), identity=[allow(Sid="Mine")], resource=ROOT).statement == "Mine"
