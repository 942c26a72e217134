"""What a mistake changes: functions of a policy document or an ARN, from which the mistakes are made; pure."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from byokportal.localaws.mistakes.definition import Policy, Values

# What AWS's console lets a key administrator do (KMS guide, "Allows key administrators to administer the KMS key"),
# as far as it looks and changes policies.
ADMINISTRATION = ("kms:Create*", "kms:Describe*", "kms:Get*", "kms:List*", "kms:Put*", "kms:Update*", "kms:Replicate*")
CRYPTOGRAPHIC = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*"]


def condition(condition: Mapping[str, Any]) -> Callable[[Policy, Values], None]:
    def change(policy: Policy, _: Values) -> None:
        statement = policy["Statement"][0] if "Statement" in policy else policy
        statement["Condition"] = dict(condition)

    return change


def condition_beside(condition: Mapping[str, Any]) -> Callable[[Policy, Values], None]:
    """One more condition, beside the right one."""

    def change(policy: Policy, _: Values) -> None:
        policy["Statement"][0]["Condition"] |= condition

    return change


def external_id(
    operator: str = "StringEquals", value: Callable[[str], Any] = lambda right: right, *, name: str = "sts:ExternalId"
) -> Callable[[Policy, Values], None]:
    def change(policy: Policy, values: Values) -> None:
        policy["Statement"][0]["Condition"] = {operator: {name: value(values.external_id)}}

    return change


def no_condition(policy: Policy, _: Values) -> None:
    del policy["Statement"][0]["Condition"]


def principal(value: Callable[[Values], Any]) -> Callable[[Policy, Values], None]:
    def change(policy: Policy, values: Values) -> None:
        statement = policy["Statement"][0] if "Statement" in policy else policy
        statement["Principal"] = value(values)

    return change


def aws_principal(value: Callable[[Values], Any]) -> Callable[[Policy, Values], None]:
    return principal(lambda values: {"AWS": value(values)})


def principal_alone(value: Callable[[Values], Any]) -> Callable[[Policy, Values], None]:
    """Another principal, and no condition."""

    def change(policy: Policy, values: Values) -> None:
        principal(value)(policy, values)
        no_condition(policy, values)

    return change


def everybody_but(policy: Policy, values: Values) -> None:
    statement = policy["Statement"][0]
    del statement["Principal"]
    statement["NotPrincipal"] = {"AWS": f"arn:aws:iam::{values.account}:root"}


def second_allow(**more: Any) -> Callable[[Policy, Values], None]:
    """A second Allow statement for our service role."""

    def change(policy: Policy, values: Values) -> None:
        allow = {"Effect": "Allow", "Principal": {"AWS": values.service_role_arn}, "Action": "sts:AssumeRole"}
        policy["Statement"].append({**allow, **more})

    return change


def deny_us(policy: Policy, values: Values) -> None:
    deny = {"Effect": "Deny", "Principal": {"AWS": values.service_role_arn}, "Action": "sts:AssumeRole"}
    policy["Statement"].append(deny)


def action(value: str) -> Callable[[Policy, Values], None]:
    def change(policy: Policy, _: Values) -> None:
        policy["Statement"][0]["Action"] = value

    return change


def actions(change: Callable[[list[str]], list[str]]) -> Callable[[Policy, Values], None]:
    def done(policy: Policy, _: Values) -> None:
        statement = policy["Statement"][0] if "Statement" in policy else policy
        statement["Action"] = change(statement["Action"])

    return done


def without(*gone: str) -> Callable[[Policy, Values], None]:
    return actions(lambda actions: [name for name in actions if not any(fnmatchcase(name, each) for each in gone)])


def instead(old: str, new: str) -> Callable[[Policy, Values], None]:
    return actions(lambda actions: [new if fnmatchcase(name, old) else name for name in actions])


def resource(value: Callable[[str], str]) -> Callable[[Policy, Values], None]:
    def change(policy: Policy, values: Values) -> None:
        policy["Statement"][0]["Resource"] = value(values.key_arn)

    return change


def denied(*actions: str) -> Callable[[Policy, Values], None]:
    """A Deny statement in the permissions policy itself."""

    def change(policy: Policy, _: Values) -> None:
        policy["Statement"].append({"Effect": "Deny", "Action": list(actions), "Resource": "*"})

    return change


def key_denied(*actions: str) -> Callable[[Policy, Values], None]:
    """A Deny statement for the role in the key policy."""

    def change(policy: Policy, values: Values) -> None:
        deny = {"Sid": "KeepOut", "Effect": "Deny", "Principal": {"AWS": values.role_arn}, "Action": list(actions)}
        policy["Statement"].append({**deny, "Resource": "*"})

    return change


def guardrail(*, action: str | list[str] = "", **element: Any) -> Callable[[Policy, Values], None]:
    """A Deny for everybody whom it does not spare; it never hits the account's own administrator.

    Args:
        action: what it denies; the cryptographic operations when it is not given.
        element: `Condition`, or `NotPrincipal`; each is called with the values.
    """

    def change(policy: Policy, values: Values) -> None:
        who = {} if policy["Statement"][0].get("Principal") is None else {"Principal": "*"}
        made = {name: value(values) for name, value in element.items()}
        if "NotPrincipal" in made:
            who = {}
        deny = {"Sid": "KeepOut", "Effect": "Deny", **who, "Action": action or CRYPTOGRAPHIC, "Resource": "*", **made}
        if action == "sts:AssumeRole":
            del deny["Resource"]  # a trust policy has none
        policy["Statement"].append(deny)

    return change


def all_but_admins(operator: str = "ArnNotLike") -> Callable[[Values], Policy]:
    return lambda values: {operator: {"aws:PrincipalArn": [f"arn:aws:iam::{values.account}:user/administrator"]}}


def other_regions(_: Values) -> Policy:
    """As a bank denies all Regions but its own: here the key lies in another."""
    return {"StringNotEquals": {"aws:RequestedRegion": ["us-west-2"]}}


def administration(then: Callable[[Policy, Values], object]) -> Callable[[Policy, Values], None]:
    """The account's IAM policies decide on looking at the key and on its administration, not on its use; and one
    more change of our statement, which is the last one."""

    def change(policy: Policy, values: Values) -> None:
        for statement in policy["Statement"][:-1]:
            if statement.get("Principal") == {"AWS": f"arn:aws:iam::{values.account}:root"}:
                statement.pop("Condition", None)
                statement["Action"] = list(ADMINISTRATION)
        then(policy, values)

    return change


def to_our_statement(then: Callable[[Policy, Values], object]) -> Callable[[Policy, Values], object]:
    return lambda policy, values: then(policy["Statement"][-1], values)


def two_statements(policy: Policy, _: Values) -> None:
    """DescribeKey allowed by a statement of its own, everything else under a condition that is never met."""
    ours = next(statement for statement in policy["Statement"] if statement.get("Sid") == "AllowYourAppAccess")
    describe = copy.deepcopy(ours) | {"Sid": "Describe", "Action": "kms:DescribeKey"}
    ours["Condition"] = {"Null": {"kms:EncryptionContext:tenant": "true"}}
    policy["Statement"].append(describe)


def other_region(arn: str) -> str:
    region = arn.split(":")[3]
    return arn.replace(f":{region}:", ":eu-west-1:" if region != "eu-west-1" else ":eu-central-1:")


def other_account(arn: str) -> str:
    return ":".join([*arn.split(":")[:4], "444455556666", arn.split(":", 5)[5]])
