"""The three policies of the guide, filled in with the tenant's own values, and what our sessions are narrowed to; pure.

The JSON is the guide's to the letter (docs/guide.md, steps 2 and 3); a test compares every block.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from keys import actions

Document = dict[str, Any]
ACTIONS = actions.GUIDE
ROLE_NAME = "AIforWorkByokAccessRole"
POLICY_NAME = "AIforWorkKMSPolicy"


@dataclass(frozen=True, slots=True)
class Beside:
    """What the documents name too while one registration replaces another:
    pasted without it they would cut off the one that serves.

    Args:
        keys: other keys that the same role has to reach, for its permissions policy.
        roles: other roles that the same key has to let in, for its key policy.
    """

    keys: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()


ALONE = Beside()


def trust_policy(service_role_arn: Any, external_id: Any) -> Document:
    """Return the trust policy of the tenant's role (guide, step 2)."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"AWS": service_role_arn},
                "Action": "sts:AssumeRole",
                "Condition": {"StringEquals": {"sts:ExternalId": external_id}},
            }
        ],
    }


def permissions_policy(key_arn: Any, beside: Sequence[str] = (), allowed: Sequence[str] = ACTIONS) -> Document:
    """Return the permissions policy of the tenant's role (guide, step 2).

    Args:
        beside: other keys that the role has to reach too while one replaces the other.
        allowed: the guide's actions, or those of the narrower variant (`keys.actions`).
    """
    resource = [*beside, key_arn] if beside else key_arn
    return {
        "Version": "2012-10-17",
        "Statement": [{"Sid": "AllowKMSActions", "Effect": "Allow", "Action": list(allowed), "Resource": resource}],
    }


def key_policy_statement(role_arn: Any, beside: Sequence[str] = (), allowed: Sequence[str] = ACTIONS) -> Document:
    """Return the statement that the tenant adds to its key policy (guide, step 3).

    Args:
        beside: other roles that the key has to let in too while one replaces the other.
        allowed: as of `permissions_policy`.
    """
    return {
        "Sid": "AllowYourAppAccess",
        "Effect": "Allow",
        "Principal": {"AWS": [role_arn, *beside] if beside else role_arn},
        "Action": list(allowed),
        "Resource": "*",
    }


def session_policy(key_arns: Sequence[str], allowed: Sequence[str] = ACTIONS) -> Document:
    """Return the inline policy of our sessions in the tenant's role:
    exactly these keys, and the guide's five patterns or what the tenant narrowed them to (design.md 8)."""
    return {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": list(allowed), "Resource": list(key_arns)}],
    }


def render(document: Document | list[Document]) -> str:
    """Return a document as the guide prints it: two blanks of indentation, the guide's order."""
    return json.dumps(document, indent=2)


def whole_key_policy(account_root: object, statement: Document) -> Document:
    """Return the key policy of a new key: AWS's default one, which leaves the account in charge, and our statement.

    It passes the lock-out check of KMS, because whoever makes the key may change its policy afterwards (KMS guide,
    "Default key policy": https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html).

    Args:
        account_root: `arn:aws:iam::<account>:root`, or what a template makes of it.
    """
    default = {
        "Sid": "Enable IAM User Permissions",
        "Effect": "Allow",
        "Principal": {"AWS": account_root},
        "Action": "kms:*",
        "Resource": "*",
    }
    return {"Version": "2012-10-17", "Statement": [default, statement]}
