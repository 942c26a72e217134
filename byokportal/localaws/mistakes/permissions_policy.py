"""Mistakes of step 2 in the permissions policy and the permissions boundary; pure."""

from __future__ import annotations

from byokportal.localaws.mistakes import changes
from byokportal.localaws.mistakes.definition import OTHER_KEY, Mistake, short
from keys.policies import documents

PERMISSIONS: dict[str, Mistake] = {
    **{
        f"permissions-without-{short(action)}": Mistake(
            2, f"the permissions policy lacks {action}", "permissions", changes.without(action), across=True
        )
        for action in documents.ACTIONS
    },
    **{
        f"permissions-deny-{short(action)}": Mistake(
            2, f"the permissions policy denies {action}", "permissions", changes.denied(action)
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
        changes.guardrail(action="kms:*", Condition=changes.other_regions),
    ),
    "permissions-guardrail-principal": Mistake(
        2,
        "the permissions policy denies everybody but the administrator",
        "permissions",
        changes.guardrail(Condition=changes.all_but_admins("ArnNotEquals")),
    ),
    "permissions-with-ip": Mistake(
        2,
        "the permissions policy asks for an address of the customer's network",
        "permissions",
        changes.condition({"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}),
        across=True,
    ),
    "permissions-with-region": Mistake(
        2,
        "the permissions policy asks for a call in another Region",
        "permissions",
        changes.condition({"StringEquals": {"aws:RequestedRegion": "us-west-2"}}),
        across=True,
    ),
    "permissions-context-refused": Mistake(
        2,
        "the permissions policy takes no encryption context of ours",
        "permissions",
        changes.condition({"Null": {"kms:EncryptionContext:tenant": "true"}}),
        across=True,
    ),
    "boundary-guardrail-region": Mistake(
        2,
        "the permissions boundary denies everything outside another Region",
        "role",
        options={"is": "bounded", "deny": "kms:*", "condition": changes.other_regions},
    ),
    "boundary-guardrail-principal": Mistake(
        2,
        "the permissions boundary denies everybody but the administrator",
        "role",
        options={"is": "bounded", "deny": "kms:*", "condition": changes.all_but_admins()},
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
        changes.instead("kms:GenerateDataKey*", "kms:GenerateDataKey"),
        across=True,
    ),
    "permissions-plain-ReEncrypt": Mistake(
        2,
        "the permissions policy has kms:ReEncrypt without the star",
        "permissions",
        changes.instead("kms:ReEncrypt*", "kms:ReEncrypt"),
        across=True,
    ),
    "permissions-read-only": Mistake(
        2,
        "the permissions policy has kms:DescribeKey alone",
        "permissions",
        changes.actions(lambda _: ["kms:DescribeKey"]),
        across=True,
    ),
    "permissions-decrypt-only": Mistake(
        2,
        "the permissions policy has kms:Decrypt and kms:DescribeKey alone",
        "permissions",
        changes.actions(lambda _: ["kms:Decrypt", "kms:DescribeKey"]),
        across=True,
    ),
    "permissions-encrypt-only": Mistake(
        2,
        "the permissions policy has kms:Encrypt and kms:DescribeKey alone",
        "permissions",
        changes.actions(lambda _: ["kms:Encrypt", "kms:DescribeKey"]),
        across=True,
    ),
    "permissions-other-key": Mistake(
        2,
        "the permissions policy names another key",
        "permissions",
        changes.resource(lambda arn: arn.rpartition("/")[0] + f"/{OTHER_KEY}"),
        across=True,
    ),
    "permissions-alias": Mistake(
        2,
        "the permissions policy names the key by an alias",
        "permissions",
        changes.resource(lambda arn: arn.rpartition(":")[0] + ":alias/kore"),
        across=True,
    ),
    "permissions-other-region": Mistake(
        2,
        "the permissions policy names the key in another Region",
        "permissions",
        changes.resource(changes.other_region),
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
        changes.actions(lambda _: ["kms:*"]),
        across=True,
    ),
}
