"""Mistakes of step 3: our statement in the key policy, and the key policy around it; pure."""

from __future__ import annotations

from byokportal.localaws.mistakes import changes
from byokportal.localaws.mistakes.definition import STALE, Mistake, short
from keys.policies import documents

DELEGATES = "default-key-policy"

KEY_POLICY: dict[str, Mistake] = {
    **{
        f"key-policy-without-{short(action)}": Mistake(
            3, f"the key policy lacks {action}", "statement", changes.without(action)
        )
        for action in documents.ACTIONS
    },
    **{
        f"key-policy-deny-{short(action)}": Mistake(
            3, f"the key policy denies the role {action}", "key-policy", changes.key_denied(action)
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
        3,
        "the key policy lacks kms:Decrypt and kms:ReEncrypt*",
        "statement",
        changes.without("kms:Decrypt", "kms:ReEncrypt*"),
    ),
    "key-policy-deny-all": Mistake(
        3, "the key policy denies the role everything", "key-policy", changes.key_denied("kms:*")
    ),
    "key-policy-guardrail-region": Mistake(
        3,
        "the key policy denies its use outside another Region",
        "key-policy",
        changes.guardrail(Condition=changes.other_regions),
    ),
    "key-policy-guardrail-principal": Mistake(
        3,
        "the key policy denies its use to everybody but the administrator",
        "key-policy",
        changes.guardrail(Condition=changes.all_but_admins()),
    ),
    "key-policy-guardrail-list": Mistake(
        3,
        "the key policy denies its use to everybody but a list (ArnNotEquals)",
        "key-policy",
        changes.guardrail(Condition=changes.all_but_admins("ArnNotEquals")),
    ),
    "key-policy-not-principal": Mistake(
        3,
        "the key policy denies its use to everybody who is not named (NotPrincipal)",
        "key-policy",
        changes.guardrail(
            NotPrincipal=lambda values: {
                "AWS": [f"arn:aws:iam::{values.account}:root", f"arn:aws:iam::{values.account}:user/administrator"]
            }
        ),
    ),
    "administration": Mistake(
        3,
        "the account's IAM policies decide on the administration of the key alone, beside our statement (it works)",
        "key-policy",
        changes.administration(lambda policy, _: None),
    ),
    "administration-no-statement": Mistake(
        3,
        "the account's IAM policies decide on the administration of the key alone, and our statement is missing",
        "key-policy",
        changes.administration(lambda policy, _: policy["Statement"].pop()),
    ),
    "administration-stale-principal": Mistake(
        3,
        "the account's IAM policies decide on the administration of the key alone, and ours names a role that is gone",
        "key-policy",
        changes.administration(changes.to_our_statement(changes.aws_principal(lambda _: STALE))),
    ),
    "administration-other-principal": Mistake(
        3,
        "the account's IAM policies decide on the administration of the key alone, and ours names somebody else",
        "key-policy",
        changes.administration(
            changes.to_our_statement(
                changes.aws_principal(lambda values: f"arn:aws:iam::{values.account}:user/administrator")
            )
        ),
    ),
    "administration-service-role": Mistake(
        3,
        "the account's IAM policies decide on the administration of the key alone, and ours names our service role",
        "key-policy",
        changes.administration(changes.to_our_statement(changes.aws_principal(lambda values: values.service_role_arn))),
    ),
    "administration-via-service": Mistake(
        3,
        "the account's IAM policies decide on the administration of the key alone, and ours asks for a call through S3",
        "key-policy",
        changes.administration(
            changes.to_our_statement(
                changes.condition({"StringEquals": {"kms:ViaService": "s3.eu-central-1.amazonaws.com"}})
            ),
        ),
    ),
    "administration-describe-only": Mistake(
        3,
        "the account's IAM policies decide on the administration of the key alone, and ours has kms:DescribeKey alone",
        "key-policy",
        changes.administration(changes.to_our_statement(changes.actions(lambda _: ["kms:DescribeKey"]))),
    ),
    "key-policy-with-region": Mistake(
        3,
        "the key policy asks for a call in another Region",
        "statement",
        changes.condition({"StringEquals": {"aws:RequestedRegion": "us-west-2"}}),
    ),
    "key-policy-plain-GenerateDataKey": Mistake(
        3,
        "the key policy has kms:GenerateDataKey without the star",
        "statement",
        changes.instead("kms:GenerateDataKey*", "kms:GenerateDataKey"),
    ),
    "key-policy-only-ReEncryptFrom": Mistake(
        3,
        "the key policy has kms:ReEncryptFrom and not kms:ReEncryptTo",
        "statement",
        changes.instead("kms:ReEncrypt*", "kms:ReEncryptFrom"),
    ),
    "key-policy-without-Encrypt-and-Decrypt": Mistake(
        3,
        "the key policy lacks kms:Encrypt and kms:Decrypt",
        "statement",
        changes.without("kms:Encrypt", "kms:Decrypt"),
    ),
    "key-policy-encrypt-only": Mistake(
        3,
        "the key policy has kms:Encrypt and kms:DescribeKey alone",
        "statement",
        changes.actions(lambda _: ["kms:Encrypt", "kms:DescribeKey"]),
    ),
    "key-policy-decrypt-only": Mistake(
        3,
        "the key policy has kms:Decrypt and kms:DescribeKey alone",
        "statement",
        changes.actions(lambda _: ["kms:Decrypt", "kms:DescribeKey"]),
    ),
    "key-policy-other-principal": Mistake(
        3,
        "the key policy names another principal of the customer's",
        "statement",
        changes.aws_principal(lambda values: f"arn:aws:iam::{values.account}:user/administrator"),
    ),
    "key-policy-service-role": Mistake(
        3,
        "the key policy names our service role instead of the customer's role",
        "statement",
        changes.aws_principal(lambda values: values.service_role_arn),
    ),
    "key-policy-our-account": Mistake(
        3,
        "the key policy names our account instead of the customer's role",
        "statement",
        changes.aws_principal(lambda values: f"arn:aws:iam::{values.our_account}:root"),
    ),
    "key-policy-stale-principal": Mistake(
        3,
        "the key policy names a role by the id of one that is gone (AROA…)",
        "statement",
        changes.aws_principal(lambda _: STALE),
    ),
    "key-policy-via-service": Mistake(
        3,
        "the key policy asks for a call through S3",
        "statement",
        changes.condition({"StringEquals": {"kms:ViaService": "s3.eu-central-1.amazonaws.com"}}),
    ),
    "key-policy-with-ip": Mistake(
        3,
        "the key policy asks for an address of the customer's network",
        "statement",
        changes.condition({"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}),
    ),
    "key-policy-caller-account": Mistake(
        3,
        "the key policy asks for a caller of another account",
        "statement",
        changes.condition({"StringEquals": {"kms:CallerAccount": "444455556666"}}),
    ),
    "key-policy-context-needed": Mistake(
        3,
        "the key policy asks for an encryption context, which DescribeKey does not carry",
        "statement",
        changes.condition({"Null": {"kms:EncryptionContext:tenant": "false"}}),
    ),
    "key-policy-context-keys": Mistake(
        3,
        "the key policy fixes the keys of the encryption context",
        "statement",
        changes.condition({"ForAllValues:StringEquals": {"kms:EncryptionContextKeys": ["tenant", "purpose"]}}),
    ),
    "key-policy-context-refused": Mistake(
        3, "the key policy takes no encryption context of ours", "key-policy", changes.two_statements
    ),
}
