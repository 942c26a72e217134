"""The commands of step 4, filled in, with the output that a right set-up gives; pure.

The guide has two. Its `assume-role` runs as the customer, whom the trust policy does not name:
a right set-up refuses it (design.md 3).
"""

from __future__ import annotations

from dataclasses import dataclass

from keys.arns import KeyArn, RoleArn

SIMULATED = (
    "kms:Encrypt",
    "kms:Decrypt",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:DescribeKey",
)


@dataclass(frozen=True, slots=True)
class Command:
    """One command: what it shows, its text to paste into a shell, the output to expect, and why that one."""

    name: str
    title: str
    text: str
    expect: str
    why: str
    is_guides: bool = False


def of(role: RoleArn, key: KeyArn) -> list[Command]:
    """Return the commands for a role and a key: nothing in an ARN that was parsed means anything to a shell."""
    at = f"--key-id {key} --region {key.region}"
    return [
        Command(
            "assume-role",
            "Nobody but us takes the role",
            f"aws sts assume-role --role-arn {role} --role-session-name test-session",
            (
                "An error occurred (AccessDenied) when calling the AssumeRole operation: "
                "… is not authorized to perform: sts:AssumeRole"
            ),
            "You run this as yourself, and the trust policy names only our role. So AccessDenied is the good sign. "
            "If you get credentials, the trust policy is too wide. This command cannot show that our role gets in: "
            "only our own test can.",
            is_guides=True,
        ),
        Command(
            "describe-key",
            "The key can be used",
            f"aws kms describe-key {at} --output json",
            (
                '"KeyState": "Enabled", "KeyManager": "CUSTOMER", "KeySpec": "SYMMETRIC_DEFAULT", "KeyUsage": '
                '"ENCRYPT_DECRYPT"'
            ),
            "You run this as yourself too. It shows the key, and says nothing about what the role may do.",
            is_guides=True,
        ),
        Command(
            "get-role",
            "The role trusts us, with your External ID",
            f"aws iam get-role --role-name {role.name} --output json",
            "Arn is your Role ARN to the letter, and AssumeRolePolicyDocument is the trust policy of step 2",
            "AWS takes the ARN letter by letter, path and capitals included.",
        ),
        Command(
            "simulate-principal-policy",
            "The role may use the key",
            (
                f"aws iam simulate-principal-policy --policy-source-arn {role} --action-names {' '.join(SIMULATED)} "
                f"--resource-arns {key} --output json"
            ),
            '"EvalDecision": "allowed" for each of the seven actions',
            "It looks at the policies of the role. The key policy is looked at by the next one.",
        ),
        Command(
            "get-key-policy",
            "The key lets the role in",
            f"aws kms get-key-policy {at} --policy-name default --query Policy --output text",
            "The statement of step 3 with your Role ARN, beside what stood there before",
            "Role and key have to agree: each of the two policies has to allow it.",
        ),
    ]
