"""Mistakes of step 2 in the trust policy and in the ARN of the role: too wide, or closed to us; pure."""

from __future__ import annotations

from byokportal.localaws.mistakes import changes
from byokportal.localaws.mistakes.definition import STALE, Mistake

WIDE: dict[str, Mistake] = {
    "no-external-id": Mistake(2, "the trust policy has no External ID condition", "trust", changes.no_condition),
    "any-external-id": Mistake(
        2, "the trust policy takes any External ID", "trust", changes.external_id("StringLike", lambda _: "*")
    ),
    "any-byok-id": Mistake(
        2,
        "the trust policy takes every External ID that begins like ours",
        "trust",
        changes.external_id("StringLike", lambda _: "byok-*"),
    ),
    "any-length-id": Mistake(
        2,
        "the trust policy takes every External ID of that length",
        "trust",
        changes.external_id("StringLike", lambda right: "?" * len(right)),
    ),
    "list-with-any-id": Mistake(
        2,
        "the trust policy takes the External ID and, beside it, any",
        "trust",
        changes.external_id("StringLike", lambda right: [right, "*"]),
    ),
    "some-external-id": Mistake(
        2,
        "the trust policy asks only that there be an External ID",
        "trust",
        changes.condition({"Null": {"sts:ExternalId": "false"}}),
    ),
    "optional-external-id": Mistake(
        2,
        "the trust policy takes a missing External ID (IfExists)",
        "trust",
        changes.external_id("StringEqualsIfExists"),
    ),
    "optional-external-id-like": Mistake(
        2,
        "the trust policy takes a missing External ID (StringLikeIfExists)",
        "trust",
        changes.external_id("StringLikeIfExists"),
    ),
    "not-like-an-external-id": Mistake(
        2,
        "the trust policy takes every External ID but those of a form",
        "trust",
        changes.external_id("StringNotLike", lambda _: "none-*"),
    ),
    "for-all-values": Mistake(
        2,
        "the trust policy takes a missing External ID (ForAllValues)",
        "trust",
        changes.external_id("ForAllValues:StringEquals"),
    ),
    "not-an-external-id": Mistake(
        2,
        "the trust policy refuses one External ID and takes all others",
        "trust",
        changes.external_id("StringNotEquals", lambda _: "none"),
    ),
    "other-condition": Mistake(
        2,
        "the trust policy has a condition on our ARN and none on the External ID",
        "trust",
        changes.condition({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/*"}}),
    ),
    "second-statement": Mistake(
        2, "a second statement of the trust policy has no condition", "trust", changes.second_allow()
    ),
    "second-any-id": Mistake(
        2,
        "a second statement of the trust policy takes any External ID",
        "trust",
        changes.second_allow(Condition={"StringLike": {"sts:ExternalId": "*"}}),
    ),
    "second-anybody": Mistake(
        2,
        "a second statement of the trust policy trusts everybody without a condition",
        "trust",
        changes.second_allow(Principal={"AWS": "*"}),
    ),
    "console-default": Mistake(
        2,
        "the trust policy is the console's for another account: our whole account, no External ID",
        "trust",
        changes.principal_alone(lambda values: {"AWS": f"arn:aws:iam::{values.our_account}:root"}),
    ),
    "anybody-at-all": Mistake(
        2,
        "the trust policy trusts every principal without a condition",
        "trust",
        changes.principal_alone(lambda _: {"AWS": "*"}),
    ),
    "anybody": Mistake(
        2, "the trust policy trusts every principal that has the External ID", "trust", changes.principal(lambda _: "*")
    ),
    "anybody-in-aws": Mistake(
        2,
        "the trust policy trusts every AWS principal that has the External ID",
        "trust",
        changes.aws_principal(lambda _: "*"),
    ),
    "anybody-listed": Mistake(
        2,
        "the trust policy names us and everybody",
        "trust",
        changes.aws_principal(lambda values: [values.service_role_arn, "*"]),
    ),
    "everybody-but": Mistake(
        2, "the trust policy trusts everybody but the own account (NotPrincipal)", "trust", changes.everybody_but
    ),
    "whole-account": Mistake(
        2,
        "the trust policy trusts our whole account, as the console writes it",
        "trust",
        changes.aws_principal(lambda values: f"arn:aws:iam::{values.our_account}:root"),
    ),
}
CLOSED: dict[str, Mistake] = {
    "wrong-external-id": Mistake(
        2,
        "the trust policy names another External ID",
        "trust",
        changes.external_id(value=lambda _: "byok-of-somebody-else"),
    ),
    "external-id-without-prefix": Mistake(
        2,
        "the External ID was copied without byok-",
        "trust",
        changes.external_id(value=lambda right: right.removeprefix("byok-")),
    ),
    "external-id-lower-case": Mistake(
        2, "the External ID was copied in small letters", "trust", changes.external_id(value=str.lower)
    ),
    "external-id-upper-case": Mistake(
        2, "the External ID was copied in capital letters", "trust", changes.external_id(value=str.upper)
    ),
    "external-id-with-space": Mistake(
        2, "the External ID was copied with a space", "trust", changes.external_id(value=lambda right: right + " ")
    ),
    "external-id-typo": Mistake(
        2, "the condition is on a key that there is not", "trust", changes.external_id(name="sts:ExternalIds")
    ),
    "wrong-principal": Mistake(
        2,
        "the trust policy trusts the customer's own account",
        "trust",
        changes.aws_principal(lambda values: f"arn:aws:iam::{values.account}:root"),
    ),
    "our-user": Mistake(
        2,
        "the trust policy names another principal of ours",
        "trust",
        changes.aws_principal(lambda values: f"arn:aws:iam::{values.our_account}:user/administrator"),
    ),
    "stale-principal": Mistake(
        2,
        "the trust policy names a role by the id of one that is gone (AROA…)",
        "trust",
        changes.aws_principal(lambda _: STALE),
    ),
    "trust-denies": Mistake(2, "the trust policy has a Deny for us", "trust", changes.deny_us),
    "trust-guardrail-region": Mistake(
        2,
        "the trust policy denies everybody outside another Region",
        "trust",
        changes.guardrail(action="sts:AssumeRole", Condition=changes.other_regions),
    ),
    "trust-guardrail-principal": Mistake(
        2,
        "the trust policy denies everybody but the administrator",
        "trust",
        changes.guardrail(action="sts:AssumeRole", Condition=changes.all_but_admins()),
    ),
    "trust-with-region": Mistake(
        2,
        "the trust policy asks for a call in another Region",
        "trust",
        changes.condition_beside({"StringEquals": {"aws:RequestedRegion": "us-west-2"}}),
    ),
    "trust-with-ip": Mistake(
        2,
        "the trust policy asks for an address of the customer's network",
        "trust",
        changes.condition_beside({"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}),
    ),
    "trust-with-mfa": Mistake(
        2,
        "the trust policy asks for a second factor",
        "trust",
        changes.condition_beside({"Bool": {"aws:MultiFactorAuthPresent": "true"}}),
    ),
    "trust-with-session-name": Mistake(
        2,
        "the trust policy asks for a session name",
        "trust",
        changes.condition_beside({"StringLike": {"sts:RoleSessionName": "kore-*"}}),
    ),
    "trust-other-action": Mistake(
        2,
        "the trust policy allows another way of assuming the role",
        "trust",
        changes.action("sts:AssumeRoleWithWebIdentity"),
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
        2, "the Role ARN has another account", "role-arn", lambda arn, _: changes.other_account(arn)
    ),
}
