"""What the customer pastes: the guide's documents, filled in with the tenant's own values; pure.

The JSON is the guide's to the letter (docs/guide.md, steps 2 and 3); a test compares every block.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from keys.access import Access
from keys.arns import KeyArn, RoleArn

Document = dict[str, Any]
ACTIONS = ("kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey")
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


@dataclass(frozen=True, slots=True)
class Values:
    """What the documents that hold several policies are filled in with.

    Args:
        access: with key and role; the role that they make is the one that was given.
    """

    access: Access
    beside: Beside

    @property
    def role(self) -> RoleArn:
        return self.access.both()[0]

    @property
    def key(self) -> KeyArn:
        return self.access.both()[1]

    @property
    def trust(self) -> Document:
        return trust_policy(str(self.access.service_role), self.access.external_id)

    @property
    def permissions(self) -> Document:
        return permissions_policy(str(self.key), self.beside.keys)

    @property
    def policy_name(self) -> str:
        """Return the guide's name, or one of its own for a role of another name:
        the guide's may be attached to the role that serves."""
        return POLICY_NAME if self.role.name == ROLE_NAME else f"{POLICY_NAME}-{self.role.name}"

    @property
    def keeps(self) -> str:
        """Return a warning where the same key has to go on letting another role in, "" otherwise."""
        if not self.beside.roles:
            return ""
        return (
            f"Keep {' and '.join(self.beside.roles)} until the move to the new role is over and no backup needs the "
            "old one: make this beside it, not in its place."
        )


def trust_policy(service_role_arn: str, external_id: str) -> Document:
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


def permissions_policy(key_arn: str, beside: Sequence[str] = ()) -> Document:
    """Return the permissions policy of the tenant's role (guide, step 2).

    Args:
        beside: other keys that the role has to reach too while one replaces the other.
    """
    resource = [*beside, key_arn] if beside else key_arn
    return {
        "Version": "2012-10-17",
        "Statement": [{"Sid": "AllowKMSActions", "Effect": "Allow", "Action": list(ACTIONS), "Resource": resource}],
    }


def key_policy_statement(role_arn: str, beside: Sequence[str] = ()) -> Document:
    """Return the statement that the tenant adds to its key policy (guide, step 3).

    Args:
        beside: other roles that the key has to let in too while one replaces the other.
    """
    return {
        "Sid": "AllowYourAppAccess",
        "Effect": "Allow",
        "Principal": {"AWS": [role_arn, *beside] if beside else role_arn},
        "Action": list(ACTIONS),
        "Resource": "*",
    }


def session_policy(key_arns: Sequence[str]) -> Document:
    """Return the inline policy of our sessions in the tenant's role:
    exactly these keys and the five patterns (design.md 8)."""
    return {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": list(ACTIONS), "Resource": list(key_arns)}],
    }


def render(document: Document) -> str:
    """Return a document as the guide prints it: two blanks of indentation, the guide's order."""
    return json.dumps(document, indent=2)


def cloudformation(values: Values) -> str:
    """Return a template for step 2 in JSON; the key policy statement of step 3 stays in the customer's hands."""
    description = (
        "The IAM role through which Kore.ai uses your KMS key (guide, step 2). "
        "Add the key policy statement of step 3 yourself."
    )
    at_path = {} if values.role.path == "/" else {"Path": values.role.path}
    template = {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": " ".join(filter(None, (description, values.keeps))),
        "Parameters": {
            "RoleName": {"Type": "String", "Default": values.role.name},
            "PolicyName": {"Type": "String", "Default": values.policy_name},
        },
        "Resources": {
            "AccessRole": {
                "Type": "AWS::IAM::Role",
                "Properties": {"RoleName": {"Ref": "RoleName"}, **at_path, "AssumeRolePolicyDocument": values.trust},
            },
            "KmsPolicy": {
                "Type": "AWS::IAM::ManagedPolicy",
                "Properties": {
                    "ManagedPolicyName": {"Ref": "PolicyName"},
                    "PolicyDocument": values.permissions,
                    "Roles": [{"Ref": "AccessRole"}],
                },
            },
        },
        "Outputs": {"RoleArn": {"Value": {"Fn::GetAtt": ["AccessRole", "Arn"]}}},
    }
    return json.dumps(template, indent=2)


def terraform(values: Values) -> str:
    """Return the same as Terraform; the policies are the guide's JSON."""
    at_path = "" if values.role.path == "/" else f'\n  path               = "{values.role.path}"'
    return f"""# The IAM role through which Kore.ai uses your KMS key (guide, step 2).
# Add the key policy statement of step 3 to your key yourself.{_comment(values.keeps)}
locals {{
  byok_trust_policy = <<-JSON
{_indented(render(values.trust))}
  JSON

  byok_permissions_policy = <<-JSON
{_indented(render(values.permissions))}
  JSON
}}

resource "aws_iam_role" "byok" {{
  name               = "{values.role.name}"{at_path}
  assume_role_policy = local.byok_trust_policy
}}

resource "aws_iam_policy" "byok" {{
  name   = "{values.policy_name}"
  policy = local.byok_permissions_policy
}}

resource "aws_iam_role_policy_attachment" "byok" {{
  role       = aws_iam_role.byok.name
  policy_arn = aws_iam_policy.byok.arn
}}

output "role_arn" {{
  value = aws_iam_role.byok.arn
}}
"""


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


def _comment(text: str) -> str:
    return f"\n# {text}" if text else ""


def cli(values: Values) -> str:
    """Return steps 2 and 3 as a shell script for the AWS CLI."""
    role, key = values.role, values.key
    at_path = "" if role.path == "/" else f" --path {role.path}"
    statement = key_policy_statement(str(role), values.beside.roles)
    where = (
        ""
        if role.account == key.account
        else f"\n# The key is in account {key.account}: run what follows with credentials of that account."
    )
    return f"""#!/usr/bin/env bash
set -euo pipefail

# Step 2: the role, its trust policy and its permissions policy. Run this in your account \
{role.account}.{_comment(values.keeps)}
cat > trust-policy.json <<'JSON'
{render(values.trust)}
JSON
cat > permissions-policy.json <<'JSON'
{render(values.permissions)}
JSON
aws iam create-role --role-name {role.name}{at_path} --assume-role-policy-document file://trust-policy.json
aws iam create-policy --policy-name {values.policy_name} --policy-document file://permissions-policy.json
aws iam attach-role-policy --role-name {role.name} \
--policy-arn arn:{key.partition}:iam::{role.account}:policy/{values.policy_name}
aws iam get-role --role-name {role.name} --query Role.Arn --output text

# Step 3: your key policy with one more statement; what it says already stays.{where}
cat > key-policy-statement.json <<'JSON'
{render(statement)}
JSON
aws kms get-key-policy --region {key.region} --key-id {key} --policy-name default \
--query Policy --output text > key-policy.json
python3 - <<'PYTHON'
import json
policy, statement = json.load(open("key-policy.json")), json.load(open("key-policy-statement.json"))
others = policy["Statement"] if isinstance(policy["Statement"], list) else [policy["Statement"]]
policy["Statement"] = [each for each in others if each.get("Sid") != statement["Sid"]] + [statement]
json.dump(policy, open("key-policy.json", "w"), indent=2)
PYTHON
# AWS needs some seconds to see a new role everywhere: until then it calls the principal invalid.
for attempt in 1 2 3 4 5 6; do
  aws kms put-key-policy --region {key.region} --key-id {key} --policy-name default \
--policy file://key-policy.json && break
  [ "$attempt" -lt 6 ] && sleep 10
done
"""


SCRIPTS = {"cloudformation": cloudformation, "terraform": terraform, "cli": cli}
# Name in the API and portal → the ARNs it cannot do without.
NAMES: dict[str, tuple[str, ...]] = {
    "trust-policy": (),
    "permissions-policy": ("key_arn",),
    "key-policy-statement": ("role_arn",),
    "cloudformation": ("key_arn",),
    "terraform": ("key_arn",),
    "cli": ("key_arn",),
}


def of(name: str, access: Access, *, beside: Beside = ALONE) -> str:
    """Return the raw text of one document of `NAMES`; the ARNs it needs must be there."""
    match name:
        case "trust-policy":
            return render(trust_policy(str(access.service_role), access.external_id))
        case "permissions-policy":
            return render(permissions_policy(str(access.key), beside.keys))
        case "key-policy-statement":
            return render(key_policy_statement(str(access.role), beside.roles))
    assert access.key is not None
    role = access.role or RoleArn(access.key.partition, access.key.account, "/", ROLE_NAME)
    return SCRIPTS[name](Values(replace(access, role=role), beside))
