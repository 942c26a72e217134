"""Steps 2 and 3, and the key if chosen, as a shell script for the AWS CLI; pure.

What it prints is one JSON object with both ARNs, which the portal takes as it is.
"""

from __future__ import annotations

import json

from keys.policies import guide
from keys.policies.values import ALIAS, KEY_DESCRIPTION, Values

# AWS needs some seconds to see a new role everywhere: until then KMS calls the principal invalid (IAM guide,
# "Changes that I make are not always immediately visible";
# https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html).
RETRY = """# AWS needs some seconds to see a new role everywhere: until then it calls the principal invalid.
again() {
  for attempt in 1 2 3 4 5 6; do
    "$@" && return
    sleep 10
  done
  "$@"
}
"""
END = """# Paste this line in the portal, step 2.
printf '{"RoleArn": "%s", "KeyArn": "%s"}\\n' "$role_arn" "$key_arn"
"""


def script(values: Values) -> str:
    """Return the script; it makes nothing twice and takes no key policy away."""
    parts = (
        _head(values),
        _files(values),
        _role(values),
        RETRY,
        _made_key(values) if values.makes_key else _added_statement(values),
        END,
    )
    return "\n".join(parts)


def _head(values: Values) -> str:
    account = (
        values.access.role.account if values.access.role else values.access.key.account if values.access.key else ""
    )
    where = f"in your account {account}" if account and not values.makes_key else "in the account and Region of the key"
    return f"""#!/usr/bin/env bash
set -euo pipefail

# Steps 2 and 3 of the guide. Run this {where}; it prints both ARNs for us at its end.{_comment(values.keeps)}
"""


def _files(values: Values) -> str:
    tags = values.choices.tags
    texts = {"trust-policy.json": guide.render(values.trust)}
    if tags:
        texts["tags.json"] = json.dumps([{"Key": key, "Value": value} for key, value in tags], ensure_ascii=False)
    if tags and values.makes_key:
        texts["key-tags.json"] = json.dumps(
            [{"TagKey": key, "TagValue": value} for key, value in tags], ensure_ascii=False
        )
    return "\n".join(_file(name, text) for name, text in texts.items())


def _role(values: Values) -> str:
    boundary = values.choices.permissions_boundary
    more = _options(
        f"--path {values.role_path}" if values.role_path != "/" else "",
        f"--permissions-boundary {boundary}" if boundary else "",
        "--tags file://tags.json" if values.choices.tags else "",
    )
    return f"""role_arn=$(aws iam create-role --role-name {values.role_name} \\
  --assume-role-policy-document file://trust-policy.json{more} \\
  --query Role.Arn --output text)
"""


def _permissions(values: Values, key: str, *, filled: bool = False) -> str:
    more = _options("--tags file://tags.json" if values.choices.tags else "")
    return f"""{_file("permissions-policy.json", guide.render(values.permissions(key)), filled=filled)}
policy_arn=$(aws iam create-policy --policy-name {values.policy_name} \\
  --policy-document file://permissions-policy.json{more} \\
  --query Policy.Arn --output text)
aws iam attach-role-policy --role-name {values.role_name} --policy-arn "$policy_arn"
"""


def _made_key(values: Values) -> str:
    partition = values.access.service_role.partition
    root = f"arn:{partition}:iam::$account:root"
    policy = guide.render(guide.whole_key_policy(root, values.statement("$role_arn")))
    more = _options("--tags file://key-tags.json" if values.choices.tags else "")
    return f"""# The key, with the statement of step 3 in its policy, an alias and rotation.
account=$(aws sts get-caller-identity --query Account --output text)
{_file("key-policy.json", policy, filled=True)}
key_arn=$(again aws kms create-key --description "{KEY_DESCRIPTION}" --policy file://key-policy.json{more} \\
  --query KeyMetadata.Arn --output text)
aws kms enable-key-rotation --key-id "$key_arn"
aws kms create-alias --alias-name {ALIAS} --target-key-id "$key_arn"

{_permissions(values, "$key_arn", filled=True)}"""


def _added_statement(values: Values) -> str:
    key = values.access.key
    assert key is not None
    role = values.access.role
    where = (
        f"\n# The key is in account {key.account}: run what follows with credentials of that account."
        if role and role.account != key.account
        else ""
    )
    statement = guide.render(values.statement(str(role) if role else "$role_arn"))
    at = f"--region {key.region} --key-id {key} --policy-name default"
    return f"""key_arn={key}
{_permissions(values, str(key))}
# Step 3: your key policy with one more statement; what it says already stays.{where}
{_file("key-policy-statement.json", statement, filled=role is None)}
aws kms get-key-policy {at} --query Policy --output text > key-policy.json
cp key-policy.json key-policy-before.json
python3 - <<'PYTHON'
import json
policy, statement = json.load(open("key-policy.json")), json.load(open("key-policy-statement.json"))
others = policy["Statement"] if isinstance(policy["Statement"], list) else [policy["Statement"]]
policy["Statement"] = [each for each in others if each.get("Sid") != statement["Sid"]] + [statement]
json.dump(policy, open("key-policy.json", "w"), indent=2)
PYTHON
again aws kms put-key-policy {at} --policy file://key-policy.json
"""


def _file(name: str, text: str, *, filled: bool = False) -> str:
    """Return the lines that write a file.

    Args:
        filled: the shell fills in its variables; else every sign stays as it is.
    """
    mark = "JSON" if filled else "'JSON'"
    return f"cat > {name} <<{mark}\n{text}\nJSON"


def _options(*options: str) -> str:
    return "".join(f" \\\n  {option}" for option in options if option)


def _comment(text: str) -> str:
    return f"\n# {text}" if text else ""
