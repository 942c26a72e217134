"""Text in another notation: unwrapped where the result is certain, named with the command that prints it where not."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
import yaml
from unit.test_linter import VALUES, key, permissions, read, trust

from keys.policies import documents, values
from keys.policies.choices import Choices
from keys.proof import pasted

POLICIES: dict[str, Any] = {"trust": trust(), "permissions": permissions(), "key": key()}


def pretty(policy: Any) -> str:
    return json.dumps(policy, indent=2)


def indented(policy: Any, by: int = 4) -> str:
    return "\n".join(" " * by + line for line in pretty(policy).splitlines())


def hcl(value: Any) -> str:
    if isinstance(value, dict):
        return "{\n" + "\n".join(f"{_name(name)} = {hcl(each)}" for name, each in value.items()) + "\n}"
    if isinstance(value, list):
        return "[" + ", ".join(map(hcl, value)) + "]"
    return json.dumps(value)


def _name(name: str) -> str:
    return name if name.isalpha() else json.dumps(name)


def as_data(policy: Any) -> str:
    """Return the policy as the data source of Terraform writes it."""
    blocks = []
    for each in policy["Statement"]:
        lines = [f'sid = "{each["Sid"]}"'] if "Sid" in each else []
        lines.append(f"actions = {hcl(each['Action'] if isinstance(each['Action'], list) else [each['Action']])}")
        if "Resource" in each:
            lines.append(f"resources = [{hcl(each['Resource'])}]")
        if "Principal" in each:
            lines.append('principals {\n type = "AWS"\n identifiers = [' + hcl(each["Principal"]["AWS"]) + "]\n}")
        for test, keys in each.get("Condition", {}).items():
            for variable, wanted in keys.items():
                lines.append(f'condition {{\n test = "{test}"\n variable = "{variable}"\n values = [{hcl(wanted)}]\n}}')
        blocks.append("statement {\n" + "\n".join(lines) + "\n}")
    return 'data "aws_iam_policy_document" "this" {\n' + "\n".join(blocks) + "\n}\n"


def in_terraform(value: str) -> str:
    return f'resource "aws_x" "y" {{\n  policy = {value}\n}}\n'


OPTIONS = {"trust": "iam update-assume-role-policy --role-name R --policy-document",
           "permissions": "iam put-role-policy --role-name R --policy-name P --policy-document",
           "key": "kms put-key-policy --key-id K --policy-name default --policy"}  # fmt: skip
TYPES = {"trust": ("AWS::IAM::Role", "AssumeRolePolicyDocument"),
         "permissions": ("AWS::IAM::ManagedPolicy", "PolicyDocument"),
         "key": ("AWS::KMS::Key", "KeyPolicy")}  # fmt: skip


def template(kind: str, policy: Any) -> dict[str, Any]:
    of_type, element = TYPES[kind]
    resources = {"Other": {"Type": "AWS::S3::Bucket"}, "It": {"Type": of_type, "Properties": {element: policy}}}
    return {"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources}


CERTAIN: dict[str, Callable[[str, Any], str]] = {
    "a fence": lambda kind, policy: f"```json\n{pretty(policy)}\n```",
    "a fence of tildes": lambda kind, policy: f"~~~\n{pretty(policy)}\n~~~\n",
    "a fence in prose": lambda kind, policy: f"Here it is:\n\n```\n{pretty(policy)}\n```\nThanks, {{Ada}}",
    "a fence on the line": lambda kind, policy: f"```{pretty(policy)}```",
    "a fence that never ends": lambda kind, policy: f"```json\n{pretty(policy)}\n",
    "a letter": lambda kind, policy: f"Hi,\nhere is our policy:\n\n{pretty(policy)}\n\nRegards\nAda",
    "a command and what it printed": lambda kind, policy: f"$ aws kms get-key-policy --key-id k\n{pretty(policy)}\n",
    "numbered lines": lambda kind, policy: "\n".join(
        f"{number:4}  {line}" for number, line in enumerate(pretty(policy).splitlines(), start=1)
    ),
    "as Python prints a text": lambda kind, policy: repr(pretty(policy)),
    "a fence around Terraform": lambda kind, policy: f"```hcl\n{in_terraform(f'jsonencode({hcl(policy)})')}```",
    "a fence around YAML": lambda kind, policy: f"```yaml\n{yaml.safe_dump(policy)}```",
    "quoted in a mail": lambda kind, policy: "\n".join(f"> {line}" for line in pretty(policy).splitlines()),
    "text output": lambda kind, policy: f"{pretty(policy)}\tdefault\n",
    "text output of a console": lambda kind, policy: f"{json.dumps(policy)}    default",
    "yaml output": lambda kind, policy: yaml.safe_dump({"Policy": pretty(policy), "PolicyName": "default"}),
    "yaml of the policy": lambda kind, policy: yaml.safe_dump(policy, sort_keys=False),
    "yaml of get-role": lambda kind, policy: yaml.safe_dump({"Role": {"AssumeRolePolicyDocument": policy}}),
    "an escaped body": lambda kind, policy: json.dumps(pretty(policy))[1:-1],
    "an escaped body in quotation marks": lambda kind, policy: json.dumps(pretty(policy)),
    "escaped by a shell": lambda kind, policy: pretty(policy).replace('"', '\\"'),
    "URL-encoded": lambda kind, policy: quote(json.dumps(policy)),
    "URL-encoded as a form": lambda kind, policy: quote_plus(pretty(policy)),
    "HTML": lambda kind, policy: f"<pre><code>{html.escape(pretty(policy))}</code></pre>",
    "HTML's numbers": lambda kind, policy: pretty(policy).replace('"', "&#34;"),
    "CloudFormation": lambda kind, policy: pretty(template(kind, policy)),
    "CloudFormation's YAML": lambda kind, policy: yaml.safe_dump(template(kind, policy)),
    "a resource of CloudFormation": lambda kind, policy: pretty(template(kind, policy)["Resources"]["It"]),
    "Terraform's jsonencode": lambda kind, policy: in_terraform(f"jsonencode({hcl(policy)})"),
    "Terraform's heredoc": lambda kind, policy: in_terraform(f"<<-EOT\n{indented(policy)}\n  EOT"),
    "Terraform's data source": lambda kind, policy: as_data(policy),
    "a command": lambda kind, policy: f"aws {OPTIONS[kind]} '{pretty(policy)}'",
    "a command in double quotation marks": lambda kind, policy: (
        f"$ aws --profile x {OPTIONS[kind]} \"{json.dumps(policy).replace(chr(34), chr(92) + chr(34))}\""
    ),
    "a heredoc of a shell": lambda kind, policy: (
        f"cat > policy.json <<'EOF'\n{pretty(policy)}\nEOF\naws {OPTIONS[kind]} file://policy.json"
    ),
    "an unquoted heredoc": lambda kind, policy: f"cat <<EOF > policy.json\n{pretty(policy)}\nEOF\n",
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(POLICIES))
@pytest.mark.parametrize("name", CERTAIN)
def test_what_is_certain_is_unwrapped(name: str, kind: str) -> None:
    text = CERTAIN[name](kind, POLICIES[kind])
    reading = read(kind, text)
    assert (reading.verdict, reading.findings) == ("ok", []), (text, reading.findings)
    assert json.loads(reading.corrected) == POLICIES[kind]


@pytest.mark.parametrize("kind", sorted(POLICIES))
@pytest.mark.parametrize("name", CERTAIN)
def test_what_is_unwrapped_is_judged(name: str, kind: str) -> None:
    wrong = {"trust": trust(Condition={"StringLike": {"sts:ExternalId": "*"}}),
             "permissions": permissions(Action="kms:Decrypt"),
             "key": key(Action="kms:Decrypt")}[kind]  # fmt: skip
    text = CERTAIN[name](kind, wrong)
    reading = read(kind, text)
    assert reading.verdict == ("unsafe" if kind == "trust" else "incomplete"), (text, reading.findings)
    assert all(1 <= each.line <= len(text.splitlines()) for each in reading.findings)
    assert read(kind, reading.corrected).verdict == "ok"


ANY = {"Effect": "Allow", "Action": "kms:*", "Resource": "*"}
NAMED: list[tuple[str, str]] = [
    ("Terraform", in_terraform('jsonencode({ Statement = [{ Effect = "Allow", Principal = var.p }] })')),
    (
        "Terraform",
        in_terraform('<<EOF\n{"Statement": [{"Effect": "Allow", "Principal": {"AWS": "${var.role}"}}]}\nEOF'),
    ),
    ("Terraform", in_terraform("data.aws_iam_policy_document.key.json")),
    ("Terraform", 'data "aws_iam_policy_document" "d" {\n  dynamic "statement" {\n    for_each = var.x\n  }\n}'),
    (
        "CloudFormation",
        "Resources:\n  K:\n    Type: AWS::KMS::Key\n    Properties:\n      KeyPolicy:\n        Statement:\n"
        '          - Effect: Allow\n            Principal: {AWS: !Sub "arn:aws:iam::${AWS::AccountId}:root"}\n',
    ),
    (
        "CloudFormation",
        json.dumps(
            template("key", {"Statement": [{**ANY, "Principal": {"AWS": {"Fn::Sub": "arn:${AWS::Partition}"}}}]})
        ),
    ),
    ("CloudFormation", json.dumps({"Statement": [{**ANY, "Principal": {"AWS": {"Fn::GetAtt": ["R", "Arn"]}}}]})),
    (
        "CloudFormation",
        json.dumps({"Statement": [{**ANY, "Principal": {"AWS": "arn:aws:iam::${AWS::AccountId}:root"}}]}),
    ),
    ("CloudFormation", json.dumps({"Statement": [{**ANY, "Principal": {"AWS": [{"Ref": "RoleArn"}]}}]})),
    ("YAML", "Effect: Allow\nAction: [\n"),
    (
        "YAML",
        "Version: '2012-10-17'\nStatement:\n- Effect: Allow\n  Principal: {AWS: '${self:custom.role}'}\n"
        "  Action: sts:AssumeRole\n",
    ),
    ("command", "aws kms put-key-policy --key-id k --policy-name default --policy file://key.json"),
    (
        "command",
        'cat > p.json <<EOF\n{"Statement": [{"Effect": "Allow", "Principal": {"AWS": "$ROLE"}, "Action": "kms:*"}]}\n'
        "EOF\naws kms put-key-policy --policy file://p.json",
    ),
    (
        "--output text",
        "ROLE\tarn:aws:iam::111122223333:role/R\t2024\nASSUMEROLEPOLICYDOCUMENT\t2012-10-17\n"
        "STATEMENT\tsts:AssumeRole\tAllow\nPRINCIPAL\tx",
    ),
    (
        "--output table",
        "---------------------\n|      GetRole      |\n+-------------------+\n||  Effect  |  Allow ||\n",
    ),
    (
        "program code",
        "import json\npolicy = json.dumps({'Statement': [{'Effect': 'Allow', 'Principal': {'AWS': role_arn}}]})\n",
    ),
    ("program code", "const p = new iam.PolicyStatement({ effect: iam.Effect.ALLOW, actions: ['kms:Decrypt'] });"),
]


@pytest.mark.parametrize("kind", sorted(POLICIES))
@pytest.mark.parametrize(("name", "text"), NAMED)
def test_what_is_not_certain_is_named_with_the_command_that_prints_it(name: str, text: str, kind: str) -> None:
    reading = read(kind, text)
    said = {each.code: each for each in reading.findings}
    assert reading.verdict == "unreadable"
    assert set(said) == {"foreign_notation", "statement_alone"}, reading.findings
    assert name in said["foreign_notation"].text
    assert "Run aws " in said["foreign_notation"].fix
    assert "without quotation marks" not in str(reading.findings) and "{'" not in str(reading.findings)
    assert "Statement" not in json.loads(reading.corrected)


@pytest.mark.parametrize("name", ["cloudformation", "terraform", "cli"])
@pytest.mark.parametrize("makes_key", [False, True])
def test_our_own_downloads_are_read_or_named(name: str, makes_key: bool) -> None:
    access = replace(VALUES.access, key=None) if makes_key else VALUES.access
    text = documents.SCRIPTS[name](values.Values(access, choices=Choices(makes_key=makes_key)))
    trusted = read("trust", text)
    assert (trusted.verdict, trusted.findings) == ("ok", [])
    assert json.loads(trusted.corrected) == trust()
    for kind in ("permissions", "key"):
        reading = read(kind, text)
        codes = {each.code for each in reading.findings}
        assert "not_json" not in codes, (kind, codes)
        assert reading.verdict == "ok" or codes & {"foreign_notation", "statement_only", "other_kind"}, (kind, codes)
    if not makes_key:
        assert read("permissions", text).findings == []


def test_hostile_text_in_other_notations_breaks_nothing() -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"b{n}: &b{n} [*{'a' if n == 0 else f'b{n - 1}'},*{'a' if n == 0 else f'b{n - 1}'}]\n" for n in range(60)
    )
    texts = [
        bomb,
        "Effect: " + "[" * 30_000,
        "- " * 10_000 + "Effect: Allow",
        'resource "aws_x" "y" {\n' + "jsonencode({" * 3_000,
        "<<EOF\n{" * 4_000,
        "```" * 10_000 + "{",
        "aws kms --policy '" * 1_500,
        "&quot;" * 8_000,
        "<pre>" * 6_000 + "&quot;",
        "%7B" * 10_000,
        '\\"' * 10_000,
        "{" + '\\n\\"' * 10_000,
        "> " * 15_000,
        "Policy: |\n" + "  x\n" * 8_000,
        'data "aws_iam_policy_document" "x" {\nstatement {\n' * 600,
    ]
    for text in texts:
        for kind in ("trust", "permissions", "key"):
            assert pasted.lint(kind, text, VALUES).verdict == "unreadable", text[:40]
