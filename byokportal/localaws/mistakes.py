"""Every mistake that the customer's engineer can make in steps 1 to 3 of the guide:
what each does, in words and in AWS calls; pure."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from keys.policies import documents

Policy = dict[str, Any]
OTHER_KEY = "00000000-0000-4000-8000-000000000000"
DELEGATES = "default-key-policy"
STALE = "AROAQQQQQQQQQQQQQQQQQ"  # what IAM shows of a role that was deleted
# What AWS's console lets a key administrator do (KMS guide, "Allows key administrators to administer the KMS key"),
# as far as it looks and changes policies.
ADMINISTRATION = ("kms:Create*", "kms:Describe*", "kms:Get*", "kms:List*", "kms:Put*", "kms:Update*", "kms:Replicate*")
CRYPTOGRAPHIC = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*"]
# What a mistake changes: the key, its state, the ARN that is given for it; the trust policy, the permissions
# policy, what else is attached to the role, the ARN that is given for it; our statement in the key policy, the
# whole key policy.
On = Literal["key", "key-state", "key-arn", "trust", "permissions", "role", "role-arn", "statement", "key-policy"]


@dataclass(frozen=True, slots=True)
class Values:
    """What the documents of one customer are filled in with."""

    account: str
    service_role_arn: str
    external_id: str
    key_arn: str = ""
    role_arn: str = ""

    @property
    def our_account(self) -> str:
        return self.service_role_arn.split(":")[4]


@dataclass(frozen=True, slots=True)
class Mistake:
    """One misconfiguration.

    Args:
        change: of a document, done in place; of an ARN, which it returns.
        options: of a key, for CreateKey; of a key's or a role's state, by the words that `engineer` knows.
        across: it shows only where role and key are in different accounts. In one account the key policy alone decides.
    """

    step: int
    words: str
    on: On
    change: Callable[[Any, Values], Any] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    across: bool = False


def short(action: str) -> str:
    """Return the name of an action pattern in the name of a mistake."""
    return action.removeprefix("kms:").rstrip("*")


# --- changes -----------------------------------------------------------------------------------------------------


def _condition(condition: Mapping[str, Any]) -> Callable[[Policy, Values], None]:
    def change(policy: Policy, _: Values) -> None:
        statement = policy["Statement"][0] if "Statement" in policy else policy
        statement["Condition"] = dict(condition)

    return change


def _beside(condition: Mapping[str, Any]) -> Callable[[Policy, Values], None]:
    """One more condition, beside the right one."""

    def change(policy: Policy, _: Values) -> None:
        policy["Statement"][0]["Condition"] |= condition

    return change


def _external_id(
    operator: str = "StringEquals", value: Callable[[str], Any] = lambda right: right, *, name: str = "sts:ExternalId"
) -> Callable[[Policy, Values], None]:
    def change(policy: Policy, values: Values) -> None:
        policy["Statement"][0]["Condition"] = {operator: {name: value(values.external_id)}}

    return change


def _no_condition(policy: Policy, _: Values) -> None:
    del policy["Statement"][0]["Condition"]


def _principal(value: Callable[[Values], Any]) -> Callable[[Policy, Values], None]:
    def change(policy: Policy, values: Values) -> None:
        statement = policy["Statement"][0] if "Statement" in policy else policy
        statement["Principal"] = value(values)

    return change


def _aws(value: Callable[[Values], Any]) -> Callable[[Policy, Values], None]:
    return _principal(lambda values: {"AWS": value(values)})


def _nothing_but(value: Callable[[Values], Any]) -> Callable[[Policy, Values], None]:
    """Another principal, and no condition."""

    def change(policy: Policy, values: Values) -> None:
        _principal(value)(policy, values)
        _no_condition(policy, values)

    return change


def _everybody_but(policy: Policy, values: Values) -> None:
    statement = policy["Statement"][0]
    del statement["Principal"]
    statement["NotPrincipal"] = {"AWS": f"arn:aws:iam::{values.account}:root"}


def _second(**more: Any) -> Callable[[Policy, Values], None]:
    """A second Allow statement for our service role."""

    def change(policy: Policy, values: Values) -> None:
        allow = {"Effect": "Allow", "Principal": {"AWS": values.service_role_arn}, "Action": "sts:AssumeRole"}
        policy["Statement"].append({**allow, **more})

    return change


def _deny_us(policy: Policy, values: Values) -> None:
    deny = {"Effect": "Deny", "Principal": {"AWS": values.service_role_arn}, "Action": "sts:AssumeRole"}
    policy["Statement"].append(deny)


def _action(value: str) -> Callable[[Policy, Values], None]:
    def change(policy: Policy, _: Values) -> None:
        policy["Statement"][0]["Action"] = value

    return change


def _actions(change: Callable[[list[str]], list[str]]) -> Callable[[Policy, Values], None]:
    def done(policy: Policy, _: Values) -> None:
        statement = policy["Statement"][0] if "Statement" in policy else policy
        statement["Action"] = change(statement["Action"])

    return done


def _without(*gone: str) -> Callable[[Policy, Values], None]:
    return _actions(lambda actions: [name for name in actions if name not in gone])


def _instead(old: str, new: str) -> Callable[[Policy, Values], None]:
    return _actions(lambda actions: [new if name == old else name for name in actions])


def _resource(value: Callable[[str], str]) -> Callable[[Policy, Values], None]:
    def change(policy: Policy, values: Values) -> None:
        policy["Statement"][0]["Resource"] = value(values.key_arn)

    return change


def _denied(*actions: str) -> Callable[[Policy, Values], None]:
    """A Deny statement in the permissions policy itself."""

    def change(policy: Policy, _: Values) -> None:
        policy["Statement"].append({"Effect": "Deny", "Action": list(actions), "Resource": "*"})

    return change


def _key_denied(*actions: str) -> Callable[[Policy, Values], None]:
    """A Deny statement for the role in the key policy."""

    def change(policy: Policy, values: Values) -> None:
        deny = {"Sid": "KeepOut", "Effect": "Deny", "Principal": {"AWS": values.role_arn}, "Action": list(actions)}
        policy["Statement"].append({**deny, "Resource": "*"})

    return change


def _guardrail(*, action: str | list[str] = "", **element: Any) -> Callable[[Policy, Values], None]:
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


def _all_but_admins(operator: str = "ArnNotLike") -> Callable[[Values], Policy]:
    return lambda values: {operator: {"aws:PrincipalArn": [f"arn:aws:iam::{values.account}:user/administrator"]}}


def _other_regions(_: Values) -> Policy:
    """As a bank denies all Regions but its own: here the key lies in another."""
    return {"StringNotEquals": {"aws:RequestedRegion": ["us-west-2"]}}


def _administration(then: Callable[[Policy, Values], object]) -> Callable[[Policy, Values], None]:
    """The account's IAM policies decide on looking at the key and on its administration, not on its use; and one
    more change of our statement, which is the last one."""

    def change(policy: Policy, values: Values) -> None:
        for statement in policy["Statement"][:-1]:
            if statement.get("Principal") == {"AWS": f"arn:aws:iam::{values.account}:root"}:
                statement.pop("Condition", None)
                statement["Action"] = list(ADMINISTRATION)
        then(policy, values)

    return change


def _ours(then: Callable[[Policy, Values], object]) -> Callable[[Policy, Values], object]:
    return lambda policy, values: then(policy["Statement"][-1], values)


def _two_statements(policy: Policy, _: Values) -> None:
    """DescribeKey allowed by a statement of its own, everything else under a condition that is never met."""
    ours = next(statement for statement in policy["Statement"] if statement.get("Sid") == "AllowYourAppAccess")
    describe = copy.deepcopy(ours) | {"Sid": "Describe", "Action": "kms:DescribeKey"}
    ours["Condition"] = {"Null": {"kms:EncryptionContext:tenant": "true"}}
    policy["Statement"].append(describe)


def _other_region(arn: str) -> str:
    region = arn.split(":")[3]
    return arn.replace(f":{region}:", ":eu-west-1:" if region != "eu-west-1" else ":eu-central-1:")


def _other_account(arn: str) -> str:
    return ":".join([*arn.split(":")[:4], "444455556666", arn.split(":", 5)[5]])


# --- the table -----------------------------------------------------------------------------------------------------

KEY: dict[str, Mistake] = {
    "asymmetric-key": Mistake(
        1, "the key is an RSA key for encryption", "key", options={"KeySpec": "RSA_2048", "KeyUsage": "ENCRYPT_DECRYPT"}
    ),
    "rsa-4096-key": Mistake(
        1,
        "the key is a long RSA key for encryption",
        "key",
        options={"KeySpec": "RSA_4096", "KeyUsage": "ENCRYPT_DECRYPT"},
    ),
    "signing-key": Mistake(
        1, "the key is an RSA key for signing", "key", options={"KeySpec": "RSA_2048", "KeyUsage": "SIGN_VERIFY"}
    ),
    "ecc-key": Mistake(
        1,
        "the key is an elliptic curve key for signing",
        "key",
        options={"KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY"},
    ),
    "ecc-k1-key": Mistake(
        1,
        "the key is a secp256k1 key for signing",
        "key",
        options={"KeySpec": "ECC_SECG_P256K1", "KeyUsage": "SIGN_VERIFY"},
    ),
    "hmac-key": Mistake(
        1, "the key is an HMAC key", "key", options={"KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC"}
    ),
    "unimported-key": Mistake(
        1, "the key waits for its key material to be imported", "key", options={"Origin": "EXTERNAL"}
    ),
    "aws-managed-key": Mistake(1, "the ARN is that of an AWS managed key", "key-arn"),
    "disabled-key": Mistake(1, "the key is disabled", "key-state", options={"is": "disabled"}),
    "deleted-key": Mistake(1, "the key is scheduled for deletion", "key-state", options={"is": "deleted"}),
    "deleted-primary-key": Mistake(
        1,
        "the multi-Region key is scheduled for deletion and waits for its replicas",
        "key-state",
        options={"is": "replicas deleted"},
    ),
    "missing-key": Mistake(
        1, "the ARN names a key that there is not", "key-arn", lambda arn, _: arn.rpartition("/")[0] + f"/{OTHER_KEY}"
    ),
    "key-in-other-region": Mistake(
        1, "the ARN has another Region than the key", "key-arn", lambda arn, _: _other_region(arn)
    ),
    "key-of-other-account": Mistake(
        1, "the ARN has another account than the key", "key-arn", lambda arn, _: _other_account(arn)
    ),
    "replica-key": Mistake(
        1,
        "the key is a replica of a multi-Region key, with a key policy of its own (it works)",
        "key-state",
        options={"is": "replica"},
    ),
    "missing-replica": Mistake(
        1,
        "the ARN is that of a replica in a Region without one",
        "key-arn",
        lambda arn, _: _other_region(arn),
        {"MultiRegion": True},
    ),
}
WIDE: dict[str, Mistake] = {
    "no-external-id": Mistake(2, "the trust policy has no External ID condition", "trust", _no_condition),
    "any-external-id": Mistake(
        2, "the trust policy takes any External ID", "trust", _external_id("StringLike", lambda _: "*")
    ),
    "any-byok-id": Mistake(
        2,
        "the trust policy takes every External ID that begins like ours",
        "trust",
        _external_id("StringLike", lambda _: "byok-*"),
    ),
    "any-length-id": Mistake(
        2,
        "the trust policy takes every External ID of that length",
        "trust",
        _external_id("StringLike", lambda right: "?" * len(right)),
    ),
    "list-with-any-id": Mistake(
        2,
        "the trust policy takes the External ID and, beside it, any",
        "trust",
        _external_id("StringLike", lambda right: [right, "*"]),
    ),
    "some-external-id": Mistake(
        2,
        "the trust policy asks only that there be an External ID",
        "trust",
        _condition({"Null": {"sts:ExternalId": "false"}}),
    ),
    "optional-external-id": Mistake(
        2, "the trust policy takes a missing External ID (IfExists)", "trust", _external_id("StringEqualsIfExists")
    ),
    "optional-external-id-like": Mistake(
        2,
        "the trust policy takes a missing External ID (StringLikeIfExists)",
        "trust",
        _external_id("StringLikeIfExists"),
    ),
    "not-like-an-external-id": Mistake(
        2,
        "the trust policy takes every External ID but those of a form",
        "trust",
        _external_id("StringNotLike", lambda _: "none-*"),
    ),
    "for-all-values": Mistake(
        2,
        "the trust policy takes a missing External ID (ForAllValues)",
        "trust",
        _external_id("ForAllValues:StringEquals"),
    ),
    "not-an-external-id": Mistake(
        2,
        "the trust policy refuses one External ID and takes all others",
        "trust",
        _external_id("StringNotEquals", lambda _: "none"),
    ),
    "other-condition": Mistake(
        2,
        "the trust policy has a condition on our ARN and none on the External ID",
        "trust",
        _condition({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/*"}}),
    ),
    "second-statement": Mistake(2, "a second statement of the trust policy has no condition", "trust", _second()),
    "second-any-id": Mistake(
        2,
        "a second statement of the trust policy takes any External ID",
        "trust",
        _second(Condition={"StringLike": {"sts:ExternalId": "*"}}),
    ),
    "second-anybody": Mistake(
        2,
        "a second statement of the trust policy trusts everybody without a condition",
        "trust",
        _second(Principal={"AWS": "*"}),
    ),
    "console-default": Mistake(
        2,
        "the trust policy is the console's for another account: our whole account, no External ID",
        "trust",
        _nothing_but(lambda values: {"AWS": f"arn:aws:iam::{values.our_account}:root"}),
    ),
    "anybody-at-all": Mistake(
        2, "the trust policy trusts every principal without a condition", "trust", _nothing_but(lambda _: {"AWS": "*"})
    ),
    "anybody": Mistake(
        2, "the trust policy trusts every principal that has the External ID", "trust", _principal(lambda _: "*")
    ),
    "anybody-in-aws": Mistake(
        2, "the trust policy trusts every AWS principal that has the External ID", "trust", _aws(lambda _: "*")
    ),
    "anybody-listed": Mistake(
        2, "the trust policy names us and everybody", "trust", _aws(lambda values: [values.service_role_arn, "*"])
    ),
    "everybody-but": Mistake(
        2, "the trust policy trusts everybody but the own account (NotPrincipal)", "trust", _everybody_but
    ),
    "whole-account": Mistake(
        2,
        "the trust policy trusts our whole account, as the console writes it",
        "trust",
        _aws(lambda values: f"arn:aws:iam::{values.our_account}:root"),
    ),
}
CLOSED: dict[str, Mistake] = {
    "wrong-external-id": Mistake(
        2, "the trust policy names another External ID", "trust", _external_id(value=lambda _: "byok-of-somebody-else")
    ),
    "external-id-without-prefix": Mistake(
        2,
        "the External ID was copied without byok-",
        "trust",
        _external_id(value=lambda right: right.removeprefix("byok-")),
    ),
    "external-id-lower-case": Mistake(
        2, "the External ID was copied in small letters", "trust", _external_id(value=str.lower)
    ),
    "external-id-upper-case": Mistake(
        2, "the External ID was copied in capital letters", "trust", _external_id(value=str.upper)
    ),
    "external-id-with-space": Mistake(
        2, "the External ID was copied with a space", "trust", _external_id(value=lambda right: right + " ")
    ),
    "external-id-typo": Mistake(
        2, "the condition is on a key that there is not", "trust", _external_id(name="sts:ExternalIds")
    ),
    "wrong-principal": Mistake(
        2,
        "the trust policy trusts the customer's own account",
        "trust",
        _aws(lambda values: f"arn:aws:iam::{values.account}:root"),
    ),
    "our-user": Mistake(
        2,
        "the trust policy names another principal of ours",
        "trust",
        _aws(lambda values: f"arn:aws:iam::{values.our_account}:user/administrator"),
    ),
    "stale-principal": Mistake(
        2, "the trust policy names a role by the id of one that is gone (AROA…)", "trust", _aws(lambda _: STALE)
    ),
    "trust-denies": Mistake(2, "the trust policy has a Deny for us", "trust", _deny_us),
    "trust-guardrail-region": Mistake(
        2,
        "the trust policy denies everybody outside another Region",
        "trust",
        _guardrail(action="sts:AssumeRole", Condition=_other_regions),
    ),
    "trust-guardrail-principal": Mistake(
        2,
        "the trust policy denies everybody but the administrator",
        "trust",
        _guardrail(action="sts:AssumeRole", Condition=_all_but_admins()),
    ),
    "trust-with-region": Mistake(
        2,
        "the trust policy asks for a call in another Region",
        "trust",
        _beside({"StringEquals": {"aws:RequestedRegion": "us-west-2"}}),
    ),
    "trust-with-ip": Mistake(
        2,
        "the trust policy asks for an address of the customer's network",
        "trust",
        _beside({"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}),
    ),
    "trust-with-mfa": Mistake(
        2,
        "the trust policy asks for a second factor",
        "trust",
        _beside({"Bool": {"aws:MultiFactorAuthPresent": "true"}}),
    ),
    "trust-with-session-name": Mistake(
        2,
        "the trust policy asks for a session name",
        "trust",
        _beside({"StringLike": {"sts:RoleSessionName": "kore-*"}}),
    ),
    "trust-other-action": Mistake(
        2, "the trust policy allows another way of assuming the role", "trust", _action("sts:AssumeRoleWithWebIdentity")
    ),
    "missing-role": Mistake(2, "the role was deleted", "role", options={"is": "deleted"}),
    "role-arn-other-name": Mistake(2, "the Role ARN has another name", "role-arn", lambda arn, _: arn + "2"),
    "role-arn-lower-case": Mistake(
        2,
        "the Role ARN is in small letters",
        "role-arn",
        lambda arn, _: arn.rpartition("/")[0] + "/" + arn.rpartition("/")[2].lower(),
    ),
    "role-arn-without-path": Mistake(
        2,
        "the Role ARN lacks the path of the role",
        "role-arn",
        lambda arn, _: arn.replace("/kore/", "/"),
        {"Path": "/kore/"},
    ),
    "role-arn-other-account": Mistake(
        2, "the Role ARN has another account", "role-arn", lambda arn, _: _other_account(arn)
    ),
}
PERMISSIONS: dict[str, Mistake] = {
    **{
        f"permissions-without-{short(action)}": Mistake(
            2, f"the permissions policy lacks {action}", "permissions", _without(action), across=True
        )
        for action in documents.ACTIONS
    },
    **{
        f"permissions-deny-{short(action)}": Mistake(
            2, f"the permissions policy denies {action}", "permissions", _denied(action)
        )
        for action in documents.ACTIONS
    },
    **{
        f"boundary-without-{short(action)}": Mistake(
            2,
            f"the permissions boundary of the role lacks {action}",
            "role",
            options={"is": "bounded", "without": action},
        )
        for action in documents.ACTIONS
    },
    "permissions-guardrail-region": Mistake(
        2,
        "the permissions policy denies everything outside another Region",
        "permissions",
        _guardrail(action="kms:*", Condition=_other_regions),
    ),
    "permissions-guardrail-principal": Mistake(
        2,
        "the permissions policy denies everybody but the administrator",
        "permissions",
        _guardrail(Condition=_all_but_admins("ArnNotEquals")),
    ),
    "permissions-with-ip": Mistake(
        2,
        "the permissions policy asks for an address of the customer's network",
        "permissions",
        _condition({"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}),
        across=True,
    ),
    "permissions-with-region": Mistake(
        2,
        "the permissions policy asks for a call in another Region",
        "permissions",
        _condition({"StringEquals": {"aws:RequestedRegion": "us-west-2"}}),
        across=True,
    ),
    "permissions-context-refused": Mistake(
        2,
        "the permissions policy takes no encryption context of ours",
        "permissions",
        _condition({"Null": {"kms:EncryptionContext:tenant": "true"}}),
        across=True,
    ),
    "boundary-guardrail-region": Mistake(
        2,
        "the permissions boundary denies everything outside another Region",
        "role",
        options={"is": "bounded", "deny": "kms:*", "condition": _other_regions},
    ),
    "boundary-guardrail-principal": Mistake(
        2,
        "the permissions boundary denies everybody but the administrator",
        "role",
        options={"is": "bounded", "deny": "kms:*", "condition": _all_but_admins()},
    ),
    "boundary-with-region": Mistake(
        2,
        "the permissions boundary asks for a call in another Region",
        "role",
        options={"is": "bounded", "only": {"StringEquals": {"aws:RequestedRegion": "us-west-2"}}},
    ),
    "permissions-plain-GenerateDataKey": Mistake(
        2,
        "the permissions policy has kms:GenerateDataKey without the star",
        "permissions",
        _instead("kms:GenerateDataKey*", "kms:GenerateDataKey"),
        across=True,
    ),
    "permissions-plain-ReEncrypt": Mistake(
        2,
        "the permissions policy has kms:ReEncrypt without the star",
        "permissions",
        _instead("kms:ReEncrypt*", "kms:ReEncrypt"),
        across=True,
    ),
    "permissions-read-only": Mistake(
        2,
        "the permissions policy has kms:DescribeKey alone",
        "permissions",
        _actions(lambda _: ["kms:DescribeKey"]),
        across=True,
    ),
    "permissions-decrypt-only": Mistake(
        2,
        "the permissions policy has kms:Decrypt and kms:DescribeKey alone",
        "permissions",
        _actions(lambda _: ["kms:Decrypt", "kms:DescribeKey"]),
        across=True,
    ),
    "permissions-encrypt-only": Mistake(
        2,
        "the permissions policy has kms:Encrypt and kms:DescribeKey alone",
        "permissions",
        _actions(lambda _: ["kms:Encrypt", "kms:DescribeKey"]),
        across=True,
    ),
    "permissions-other-key": Mistake(
        2,
        "the permissions policy names another key",
        "permissions",
        _resource(lambda arn: arn.rpartition("/")[0] + f"/{OTHER_KEY}"),
        across=True,
    ),
    "permissions-alias": Mistake(
        2,
        "the permissions policy names the key by an alias",
        "permissions",
        _resource(lambda arn: arn.rpartition(":")[0] + ":alias/kore"),
        across=True,
    ),
    "permissions-other-region": Mistake(
        2,
        "the permissions policy names the key in another Region",
        "permissions",
        _resource(_other_region),
        across=True,
    ),
    "no-permissions": Mistake(2, "the permissions policy is not attached", "role", options={"is": "bare"}, across=True),
    "inline-deny": Mistake(2, "an inline policy of the role denies all of KMS", "role", options={"is": "denied"}),
    **{
        f"boundary-deny-{short(action)}": Mistake(
            2,
            f"the permissions boundary of the role denies {action}",
            "role",
            options={"is": "bounded", "deny": action},
        )
        for action in documents.ACTIONS
    },
    "wide-permissions": Mistake(
        2,
        "the permissions policy allows all of KMS (a warning)",
        "permissions",
        _actions(lambda _: ["kms:*"]),
        across=True,
    ),
}
KEY_POLICY: dict[str, Mistake] = {
    **{
        f"key-policy-without-{short(action)}": Mistake(
            3, f"the key policy lacks {action}", "statement", _without(action)
        )
        for action in documents.ACTIONS
    },
    **{
        f"key-policy-deny-{short(action)}": Mistake(
            3, f"the key policy denies the role {action}", "key-policy", _key_denied(action)
        )
        for action in documents.ACTIONS
    },
    "no-key-statement": Mistake(
        3, "the key policy lacks our statement", "key-policy", lambda policy, _: policy["Statement"].pop()
    ),
    DELEGATES: Mistake(
        3,
        "the key policy is the console's default, without our statement (it works: the IAM policies decide)",
        "key-policy",
        lambda policy, _: policy["Statement"].pop(),
    ),
    "key-policy-without-Decrypt-and-ReEncrypt": Mistake(
        3, "the key policy lacks kms:Decrypt and kms:ReEncrypt*", "statement", _without("kms:Decrypt", "kms:ReEncrypt*")
    ),
    "key-policy-deny-all": Mistake(3, "the key policy denies the role everything", "key-policy", _key_denied("kms:*")),
    "key-policy-guardrail-region": Mistake(
        3,
        "the key policy denies its use outside another Region",
        "key-policy",
        _guardrail(Condition=_other_regions),
    ),
    "key-policy-guardrail-principal": Mistake(
        3,
        "the key policy denies its use to everybody but the administrator",
        "key-policy",
        _guardrail(Condition=_all_but_admins()),
    ),
    "key-policy-guardrail-list": Mistake(
        3,
        "the key policy denies its use to everybody but a list (ArnNotEquals)",
        "key-policy",
        _guardrail(Condition=_all_but_admins("ArnNotEquals")),
    ),
    "key-policy-not-principal": Mistake(
        3,
        "the key policy denies its use to everybody who is not named (NotPrincipal)",
        "key-policy",
        _guardrail(
            NotPrincipal=lambda values: {
                "AWS": [f"arn:aws:iam::{values.account}:root", f"arn:aws:iam::{values.account}:user/administrator"]
            }
        ),
    ),
    "administration": Mistake(
        3,
        "the account's IAM policies decide on the administration of the key alone, beside our statement (it works)",
        "key-policy",
        _administration(lambda policy, _: None),
    ),
    "administration-no-statement": Mistake(
        3,
        "the account's IAM policies decide on the administration of the key alone, and our statement is missing",
        "key-policy",
        _administration(lambda policy, _: policy["Statement"].pop()),
    ),
    "administration-stale-principal": Mistake(
        3,
        "the account's IAM policies decide on the administration of the key alone, and ours names a role that is gone",
        "key-policy",
        _administration(_ours(_aws(lambda _: STALE))),
    ),
    "administration-other-principal": Mistake(
        3,
        "the account's IAM policies decide on the administration of the key alone, and ours names somebody else",
        "key-policy",
        _administration(_ours(_aws(lambda values: f"arn:aws:iam::{values.account}:user/administrator"))),
    ),
    "administration-service-role": Mistake(
        3,
        "the account's IAM policies decide on the administration of the key alone, and ours names our service role",
        "key-policy",
        _administration(_ours(_aws(lambda values: values.service_role_arn))),
    ),
    "administration-via-service": Mistake(
        3,
        "the account's IAM policies decide on the administration of the key alone, and ours asks for a call through S3",
        "key-policy",
        _administration(
            _ours(_condition({"StringEquals": {"kms:ViaService": "s3.eu-central-1.amazonaws.com"}})),
        ),
    ),
    "administration-describe-only": Mistake(
        3,
        "the account's IAM policies decide on the administration of the key alone, and ours has kms:DescribeKey alone",
        "key-policy",
        _administration(_ours(_actions(lambda _: ["kms:DescribeKey"]))),
    ),
    "key-policy-with-region": Mistake(
        3,
        "the key policy asks for a call in another Region",
        "statement",
        _condition({"StringEquals": {"aws:RequestedRegion": "us-west-2"}}),
    ),
    "key-policy-plain-GenerateDataKey": Mistake(
        3,
        "the key policy has kms:GenerateDataKey without the star",
        "statement",
        _instead("kms:GenerateDataKey*", "kms:GenerateDataKey"),
    ),
    "key-policy-only-ReEncryptFrom": Mistake(
        3,
        "the key policy has kms:ReEncryptFrom and not kms:ReEncryptTo",
        "statement",
        _instead("kms:ReEncrypt*", "kms:ReEncryptFrom"),
    ),
    "key-policy-without-Encrypt-and-Decrypt": Mistake(
        3, "the key policy lacks kms:Encrypt and kms:Decrypt", "statement", _without("kms:Encrypt", "kms:Decrypt")
    ),
    "key-policy-encrypt-only": Mistake(
        3,
        "the key policy has kms:Encrypt and kms:DescribeKey alone",
        "statement",
        _actions(lambda _: ["kms:Encrypt", "kms:DescribeKey"]),
    ),
    "key-policy-decrypt-only": Mistake(
        3,
        "the key policy has kms:Decrypt and kms:DescribeKey alone",
        "statement",
        _actions(lambda _: ["kms:Decrypt", "kms:DescribeKey"]),
    ),
    "key-policy-other-principal": Mistake(
        3,
        "the key policy names another principal of the customer's",
        "statement",
        _aws(lambda values: f"arn:aws:iam::{values.account}:user/administrator"),
    ),
    "key-policy-service-role": Mistake(
        3,
        "the key policy names our service role instead of the customer's role",
        "statement",
        _aws(lambda values: values.service_role_arn),
    ),
    "key-policy-our-account": Mistake(
        3,
        "the key policy names our account instead of the customer's role",
        "statement",
        _aws(lambda values: f"arn:aws:iam::{values.our_account}:root"),
    ),
    "key-policy-stale-principal": Mistake(
        3, "the key policy names a role by the id of one that is gone (AROA…)", "statement", _aws(lambda _: STALE)
    ),
    "key-policy-via-service": Mistake(
        3,
        "the key policy asks for a call through S3",
        "statement",
        _condition({"StringEquals": {"kms:ViaService": "s3.eu-central-1.amazonaws.com"}}),
    ),
    "key-policy-with-ip": Mistake(
        3,
        "the key policy asks for an address of the customer's network",
        "statement",
        _condition({"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}),
    ),
    "key-policy-caller-account": Mistake(
        3,
        "the key policy asks for a caller of another account",
        "statement",
        _condition({"StringEquals": {"kms:CallerAccount": "444455556666"}}),
    ),
    "key-policy-context-needed": Mistake(
        3,
        "the key policy asks for an encryption context, which DescribeKey does not carry",
        "statement",
        _condition({"Null": {"kms:EncryptionContext:tenant": "false"}}),
    ),
    "key-policy-context-keys": Mistake(
        3,
        "the key policy fixes the keys of the encryption context",
        "statement",
        _condition({"ForAllValues:StringEquals": {"kms:EncryptionContextKeys": ["tenant", "purpose"]}}),
    ),
    "key-policy-context-refused": Mistake(
        3, "the key policy takes no encryption context of ours", "key-policy", _two_statements
    ),
}
MISTAKES: dict[str, Mistake] = {**KEY, **WIDE, **CLOSED, **PERMISSIONS, **KEY_POLICY}
