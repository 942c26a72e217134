"""The commands of step 4, filled in, with the output that a right set-up gives; pure.

The guide has two. Its `assume-role` runs as the customer, whom the trust policy does not name:
a right set-up refuses it (design.md 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from byokportal.translation import translate as _
from keys import actions
from keys.arns import KeyArn, RoleArn


@dataclass(frozen=True, slots=True)
class Command:
    """One command: what it shows, its text to paste into a shell, the output to expect, and why that one."""

    name: str
    title: str
    text: str
    expect: str
    why: str
    is_guides: bool = False


def simulated(allowed: Sequence[str]) -> tuple[str, ...]:
    """Return the actions that the simulation is asked about: one by one, for it takes no patterns.

    Args:
        allowed: what the tenant's documents allow us (`keys.actions`).
    """
    return tuple(action for _, action in actions.members(allowed))


def of(role: RoleArn, key: KeyArn, allowed: Sequence[str] = actions.GUIDE) -> list[Command]:
    """Return the commands for a role and a key: nothing in an ARN that was parsed means anything to a shell.

    Args:
        allowed: as of `simulated`.
    """
    at = f"--key-id {key} --region {key.region}"
    return [
        Command(
            "assume-role",
            _("Nobody but us takes the role"),
            f"aws sts assume-role --role-arn {role} --role-session-name test-session",
            (
                "An error occurred (AccessDenied) when calling the AssumeRole operation: "
                "… is not authorized to perform: sts:AssumeRole"
            ),
            _(
                "You run this as yourself, and the trust policy names only our role. So AccessDenied is the "
                "good sign. If you get credentials, the trust policy is too wide. This command cannot show "
                "that our role gets in: only our own test can."
            ),
            is_guides=True,
        ),
        Command(
            "describe-key",
            _("The key can be used"),
            f"aws kms describe-key {at} --output json",
            (
                '"KeyState": "Enabled", "KeyManager": "CUSTOMER", "KeySpec": "SYMMETRIC_DEFAULT", "KeyUsage": '
                '"ENCRYPT_DECRYPT"'
            ),
            _("You run this as yourself too. It shows the key, and says nothing about what the role may do."),
            is_guides=True,
        ),
        Command(
            "get-role",
            _("The role trusts us, with your External ID"),
            f"aws iam get-role --role-name {role.name} --output json",
            _("Arn is your Role ARN to the letter, and AssumeRolePolicyDocument is the trust policy of step 2"),
            _("AWS takes the ARN letter by letter, path and capitals included."),
        ),
        Command(
            "simulate-principal-policy",
            _("The role may use the key"),
            (
                f"aws iam simulate-principal-policy --policy-source-arn {role} "
                f"--action-names {' '.join(simulated(allowed))} --resource-arns {key} --output json"
            ),
            _('"EvalDecision": "allowed" for each of the %(number)s actions', number=_(actions.number(allowed))),
            _("It looks at the policies of the role. The key policy is looked at by the next one."),
        ),
        Command(
            "get-key-policy",
            _("The key lets the role in"),
            f"aws kms get-key-policy {at} --policy-name default --query Policy --output text",
            _("The statement of step 3 with your Role ARN, beside what stood there before"),
            _("Role and key have to agree: each of the two policies has to allow it."),
        ),
    ]
