"""Steps 2 and 3 as a Terraform module: the role, its policy, and the key or what its policy has to say; pure.

`aws_kms_key_policy` replaces the whole policy of a key, and once it is destroyed AWS puts the default policy there, so
the form for a key that exists reads its policy and adds one statement, and nothing here lets itself be destroyed where
a key hangs on it (hashicorp/terraform-provider-aws, website/docs/r/kms_key_policy.html.markdown).
"""

from __future__ import annotations

import json

from keys.policies import guide
from keys.policies.guide import Document
from keys.policies.values import ALIAS, KEY_DESCRIPTION, PENDING_DAYS, Values

KEY_POLICY_FILE = "byok-key-policy.json"
SID = "AllowYourAppAccess"
MADE_KEY = "${aws_kms_key.byok.arn}"
MADE_ROLE = "${aws_iam_role.byok.arn}"
ROOT = "arn:${data.aws_partition.byok.partition}:iam::${data.aws_caller_identity.byok.account_id}:root"


def module(values: Values) -> str:
    """Return the module as one file; the policies are the guide's JSON."""
    key = MADE_KEY if values.makes_key else str(values.access.key)
    parts = (
        _head(values),
        _locals(values, key),
        _role(values),
        _made_key(values) if values.makes_key else _merged_policy(values),
        _outputs(values),
    )
    return "\n".join(parts)


def _head(values: Values) -> str:
    more = "the key with its policy" if values.makes_key else "the statement of step 3"
    first = (
        f"# The IAM role through which Kore.ai uses your KMS key (guide, step 2), and {more}.{_comment(values.keeps)}"
    )
    return f"""{first}
# The provider's Region is the key's{_region(values)}. Afterwards, give us what `terraform output -json` prints.
terraform {{
  required_providers {{
    aws = {{
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }}
  }}
}}
"""


def _region(values: Values) -> str:
    return f": {values.access.key.region}" if values.access.key and not values.makes_key else ""


def _locals(values: Values, key: str) -> str:
    return f"""locals {{
  byok_trust_policy = <<-JSON
{_indented(values.trust)}
  JSON

  byok_permissions_policy = <<-JSON
{_indented(values.permissions(key))}
  JSON
}}
"""


def _role(values: Values) -> str:
    boundary = values.choices.permissions_boundary
    role = {
        "name": _text(values.role_name),
        **({"path": _text(values.role_path)} if values.role_path != "/" else {}),
        **({"permissions_boundary": _text(boundary)} if boundary else {}),
        "assume_role_policy": "local.byok_trust_policy",
    }
    policy = {"name": _text(values.policy_name), "policy": "local.byok_permissions_policy"}
    tags = _tags(values)
    return f"""resource "aws_iam_role" "byok" {{
{_aligned(role)}{tags}
}}

resource "aws_iam_policy" "byok" {{
{_aligned(policy)}{tags}
}}

resource "aws_iam_role_policy_attachment" "byok" {{
  role       = aws_iam_role.byok.name
  policy_arn = aws_iam_policy.byok.arn
}}
"""


def _made_key(values: Values) -> str:
    policy = guide.whole_key_policy(ROOT, values.statement(MADE_ROLE))
    return f"""data "aws_partition" "byok" {{}}

data "aws_caller_identity" "byok" {{}}

resource "aws_kms_key" "byok" {{
  description             = "{KEY_DESCRIPTION}"
  enable_key_rotation     = true
  deletion_window_in_days = {PENDING_DAYS}{_tags(values)}

  lifecycle {{
    prevent_destroy = true
  }}
}}

resource "aws_kms_alias" "byok" {{
  name          = "{ALIAS}"
  target_key_id = aws_kms_key.byok.key_id
}}

# The whole policy of the key: what you add later, add here.
resource "aws_kms_key_policy" "byok" {{
  key_id = aws_kms_key.byok.key_id
  policy = <<-JSON
{_indented(policy)}
  JSON

  lifecycle {{
    prevent_destroy = true
  }}
}}
"""


def _merged_policy(values: Values) -> str:
    key, statement = values.access.key, values.statement(MADE_ROLE)
    assert key is not None
    elsewhere = (
        f"\n# The key is in account {key.account}: let a provider of that account make the resource below."
        if values.access.role and values.access.role.account != key.account
        else ""
    )
    return f"""# Step 3. An aws_kms_key_policy replaces the whole policy of a key. So first save what stands there:
#
#   aws kms get-key-policy --policy-name default --query Policy --output text --region {key.region} \\
#     --key-id {key} > {KEY_POLICY_FILE}
#
# Then this keeps all of it and adds one statement. Without that file no key policy is touched.
# Does your Terraform hold the policy already? Leave the file away, and add local.byok_key_policy_statement to the
# Statement there: two resources for one policy would undo each other.
# If the role is ever replaced (another name or path), apply once more: KMS keeps the old role's unique id.{elsewhere}
locals {{
  byok_key_policy_statement = jsondecode(<<-JSON
{_indented(statement)}
  JSON
  )

  byok_key_policy_file = "${{path.module}}/{KEY_POLICY_FILE}"
  byok_key_policy_now  = fileexists(local.byok_key_policy_file) ? jsondecode(file(local.byok_key_policy_file)) : null
  byok_key_policy = local.byok_key_policy_now == null ? null : merge(local.byok_key_policy_now, {{
    Statement = concat(
      [for each in flatten([local.byok_key_policy_now.Statement]) : each if try(each.Sid, "") != "{SID}"],
      [local.byok_key_policy_statement],
    )
  }})
}}

resource "aws_kms_key_policy" "byok" {{
  count  = local.byok_key_policy_now == null ? 0 : 1
  key_id = "{key}"
  policy = jsonencode(local.byok_key_policy)

  lifecycle {{
    prevent_destroy = true
  }}
}}
"""


def _outputs(values: Values) -> str:
    key = "aws_kms_key.byok.arn" if values.makes_key else _text(str(values.access.key))
    return f"""output "role_arn" {{
  value = aws_iam_role.byok.arn
}}

output "key_arn" {{
  value = {key}
}}
"""


def _tags(values: Values) -> str:
    """Return the argument `tags` with the blank line that `terraform fmt` wants before nothing, "" without tags."""
    if not values.choices.tags:
        return ""
    pairs = {_text(name): _text(value) for name, value in values.choices.tags}
    return f"\n  tags = {{\n{_aligned(pairs, indent=4)}\n  }}"


def _aligned(pairs: dict[str, str], *, indent: int = 2) -> str:
    """Return one argument a line, with the equals signs below each other as `terraform fmt` puts them."""
    width = max(map(len, pairs))
    return "\n".join(f"{' ' * indent}{name.ljust(width)} = {value}" for name, value in pairs.items())


def _text(value: str) -> str:
    """Return a string of Terraform; what stands in ours has no quotation mark, backslash or `${` in it."""
    return json.dumps(value, ensure_ascii=False)


def _indented(document: Document) -> str:
    return "\n".join(f"    {line}" for line in guide.render(document).splitlines())


def _comment(text: str) -> str:
    return f"\n# {text}" if text else ""
