"""Text that is no JSON and holds a policy: unwrapped where the result is certain, named where it is not; pure.

Unwrapped keep their place in the text, so that a finding names the line that was pasted.
"""

from __future__ import annotations

import html
import json
import re
import string
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, unquote_plus

from byokportal.translation import lazy
from byokportal.translation import translate as _
from keys.proof.pasted import json_document, json_reader, terraform_text, yaml_text
from keys.proof.pasted.findings import Flaw, Kind, Values

ENCODED = re.compile(r"\s*\"?%7B", re.IGNORECASE)  # IAM's API gives documents URL-encoded (API reference, GetRole)
ENTITY = re.compile(r"&(?:quot|#34|#x22);", re.IGNORECASE)
TAG = re.compile(
    r"</?(?:pre|code|span|div|p|br|b|i|em|strong|td|tr|table|tbody|li|ul|ol|a|body|html)\b[^<>]{0,300}>", re.I
)
ESCAPED = re.compile(r"\s*['\"]?\{(?:\s|\\[nrt])*\\\"")
NUMBERS = re.compile(r"^[ \t]*[0-9]{1,4}[:.|)]?(?=[ \t]|$)", re.MULTILINE)  # as an editor or `cat -n` shows lines
NUMBERED = re.compile(r"[ \t]*[0-9]{1,4}[:.|)]?(?:[ \t]|$)")
QUOTED_BODY = re.compile(r"\s*'\{(?:\s|\\[nrt])*\"[^'\\]*\\n[^']*'\s*\Z")
FENCE = re.compile(r"(?:`{3,}|~{3,})[ \t]*[A-Za-z0-9+.-]{0,20}[ \t]*(?=[\s{\[]|\Z)")
QUOTED_MAIL = re.compile(r"^[ \t]*>[ \t]?", re.MULTILINE)
# `aws kms get-key-policy --output text` without --query: the policy, a TAB, and the policy's name
TEXT_OUTPUT = re.compile(r"(?<=\})[ \t]+[A-Za-z][A-Za-z0-9_-]{0,63}[ \t]*\s*\Z")
CLI_TEXT = re.compile(r"^(?:ROLE|ASSUMEROLEPOLICYDOCUMENT|STATEMENT|POLICYVERSION|DOCUMENT|PRINCIPAL)\t", re.MULTILINE)
CLI_TABLE = re.compile(r"^[ \t]*(?:\+-{3,}|-{20,}\s*$|\|\s+Get[A-Z])", re.MULTILINE)
TERRAFORM = re.compile(
    r"\bjsonencode\s*\(|^\s*(?:resource|data)\s+\"aws_|^\s*(?:locals|terraform|module\s+\"[^\"]*\")\s*\{"
    r"|(?<!<)<<-?[ \t]*[A-Z_]+\s*$|^\s*statement\s*\{",
    re.MULTILINE,
)
SHELL = re.compile(
    r"\baws\s+(?:--?\S+\s+(?:\S+\s+)?)*(?:kms|iam)\s+[a-z-]+|^#!/\S*sh\b|^\s*cat\s*(?:>|<<)", re.MULTILINE
)
SHELL_NAME = lazy("a shell command or script")
OBJECT = re.compile(r"^[ \t]*\{[ \t]*(?:\"|$)|^[ \t]*\[[ \t]*(?:\{|$)", re.MULTILINE)
HEREDOC = re.compile(r"(?<!<)<<-?[ \t]*(?P<quote>['\"]?)(?P<mark>\w{1,40})(?P=quote)[^\n]*\n")
MOST_HEREDOCS = 20
OPTION = re.compile(
    r"--(?:assume-role-policy-document|policy-document|policy)(?:\s+|=)(?:'(?P<single>[^']*)'|\"(?P<double>(?:[^\"\\]|\\.)*)\")",
    re.DOTALL,
)
YAML = re.compile(r"^\s*(?:-\s+)?[\"']?[A-Za-z][\w:.-]*[\"']?:(?:\s|$)", re.MULTILINE)
CODE = re.compile(
    r"json\.dumps\(|\bnew\s+(?:iam|kms|aws)\.|\bPolicyStatement\s*\(|^\s*(?:import|from|const|let|var|func|package|public)\s",
    re.MULTILINE,
)
# A variable of another tool; IAM's own name a condition key with a colon, `*`, `?` or `$`.
FOREIGN_VARIABLE = re.compile(
    r"\$\{(?!(?:aws|ec2|iam|kms|s3|saml|sts|[a-z0-9-]+(?:\.[a-z0-9-]+)+):[A-Za-z]|[*?$]\})[^}\n]*\}|\{\{[^{}\n]*\}\}|<%"
)
VARIABLE = re.compile(r"\$(?:\{|\(|[A-Za-z_])")  # of a shell
COMMANDS: dict[Kind, str] = {
    "trust": "aws iam get-role --role-name {role} --query Role.AssumeRolePolicyDocument --output json",
    "permissions": "aws iam get-policy-version --policy-arn <ARN of the policy> --version-id v1 "
    "--query PolicyVersion.Document --output json",
    "key": "aws kms get-key-policy --key-id {key} --policy-name default --query Policy --output text",
}


INVISIBLE = string.whitespace + "\ufeff\u200b\u200c\u200d\u2060\u00a0\u2028\u2029"


@dataclass(frozen=True, slots=True)
class Found:
    """What a text is.

    Args:
        text: JSON, or what comes nearest; the text itself where nothing had to be unwrapped.
        name: of the notation, "" for JSON.
        line: on which all of it stands, where it does not stand line by line as it was pasted; else 0.
        flaw: why it is not unwrapped.
    """

    text: str
    name: str = ""
    line: int = 0
    flaw: Flaw | None = None


def unwrap(text: str, kind: Kind | None = None, values: Values | None = None) -> Found:
    """Return the JSON in a text of another notation, or what to run to get it."""
    if len(text) > json_document.MAX_TEXT or _is_json(text):
        return Found(text)
    plain = _unescaped(text)
    # Lines that are no longer those of the paste: all of it stands where it began.
    line = 0 if plain.count("\n") == text.count("\n") else text[: len(text) - len(text.lstrip())].count("\n") + 1
    if _is_json(plain):
        return Found(plain, lazy("an encoded policy") if plain != text else "", line)
    # Signs that nobody sees (a byte order mark, zero-width and no-break spaces) are named later, and are blanks here.
    start = plain.lstrip(INVISIBLE)[:1]
    if start in "{[" and start and not TERRAFORM.search(plain):
        return Found(plain, "", line)
    made, name = _candidates(plain)
    candidates = list(made)
    embedded = _embedded(plain) if not candidates and name in ("", SHELL_NAME) else ""
    if embedded:  # a command with what it printed, or a letter
        return Found(embedded, name or lazy("a letter"), line)
    if not name:
        return _of_yaml(plain, kind, values)
    return _chosen(plain, candidates, name, kind, values)


def named(name: str, line: int, kind: Kind | None, values: Values | None, *, why: str = "") -> Flaw:
    """Say what a text is and which command prints the policy as AWS holds it."""
    access = values.access if values else None
    command = COMMANDS[kind or "key"].format(
        role=access.role.name if access and access.role else "<your role>",
        key=access.key if access and access.key else "<your CMK ARN>",
    )
    return Flaw(
        "foreign_notation",
        line,
        _("This is %(name)s, not the policy as AWS holds it%(why)s.", name=_(name), why=why),
        _("Run %(command)s, and paste what it prints.", command=command),
    )


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _unescaped(text: str) -> str:
    """Take off what mail, pages, consoles and web APIs put around or into a text."""
    if ENCODED.match(text):
        text = text.strip().strip('"')
        text = unquote_plus(text) if "+" in text and "%20" not in text else unquote(text)
    if ENTITY.search(text):
        text = html.unescape(TAG.sub("", text))
    if FENCE.search(text):
        text = _inside_fences(text)
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) > 2 and all(line.lstrip().startswith(">") for line in lines):
        text = QUOTED_MAIL.sub(lambda match: " " * len(match[0]), text)
    if ESCAPED.match(text):
        body = text.strip().strip("'").removeprefix('"').removesuffix('"')
        try:
            text = str(json.loads('"' + body.replace("\r", "").replace("\n", "\\n").replace("\t", "\\t") + '"'))
        except ValueError:
            return text
    if NUMBERED.match(text) and all(NUMBERED.match(line) for line in lines):
        text = NUMBERS.sub(lambda match: " " * len(match[0]), text)
    if QUOTED_BODY.match(text):  # as Python prints a text
        text = text.strip()[1:-1].replace("\\n", "\n").replace("\\t", "\t").replace("\\r", "")
    if text.lstrip().startswith("{"):
        text = _without_farewell(TEXT_OUTPUT.sub("", text))
    return text


def _without_farewell(text: str) -> str:
    """Return a text without the words of a letter after its JSON."""
    start = len(text) - len(text.lstrip())
    try:
        _value, end = json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError):
        return text
    return text if any(sign in text[end:] for sign in '{}[]",') else _only(text, start, end)


def _inside_fences(text: str) -> str:
    """Return a text with blanks in the place of fences, and of what stands outside of them, where something does."""
    fences = list(FENCE.finditer(text))
    bare = FENCE.sub(lambda match: " " * len(match[0]), text)
    for opening, closing in zip(fences[::2], fences[1::2], strict=False):
        inside = text[opening.end() : closing.start()]
        if "{" in inside and json_reader.STATEMENT.search(inside):
            return _only(text, opening.end(), closing.start())
    first, last = bare.find("{"), bare.rfind("}")
    if first < 0:
        return bare
    before = bare[:first]
    return _only(bare, first, max(last + 1, first + 1)) if before.strip() and len(fences) == 1 else bare


def _embedded(text: str) -> str:
    """Return the JSON that begins on a line of its own, in its place; "" when there is none."""
    if text.lstrip()[:1] in ('"', "'"):
        return ""  # a policy without its outer brackets
    first = OBJECT.search(text)
    end = max(text.rfind("}"), text.rfind("]")) + 1
    if first is None or not json_reader.STATEMENT.search(text, first.start(), end):
        return ""
    return _only(text, first.start(), end)


def _only(text: str, start: int, end: int) -> str:
    """Return a part of a text in its place, with nothing around it."""
    return re.sub(r"[^\r\n]", " ", text[:start]) + text[start:end] + re.sub(r"[^\r\n]", " ", text[end:])


# --- several policies in one text ------------------------------------------------------------------------------------

Candidate = tuple[int, Any, str]  # where it begins, the policy or None where it is not certain, the JSON in its place


def _candidates(text: str) -> tuple[Iterator[Candidate], str]:
    if SHELL.search(text):
        return _of_shell(text), SHELL_NAME
    if TERRAFORM.search(text):
        return _of_terraform(text), "Terraform"
    if CLI_TEXT.search(text):
        return iter(()), lazy("the AWS CLI's --output text")
    if CLI_TABLE.search(text):
        return iter(()), lazy("the AWS CLI's --output table")
    if CODE.search(text):
        return iter(()), lazy("program code")
    return iter(()), ""


def _heredocs(text: str) -> Iterator[tuple[int, int, bool]]:
    """Yield where each heredoc begins and ends, and whether its mark is quoted."""
    at = 0
    for _turn in range(MOST_HEREDOCS):
        match = HEREDOC.search(text, at)
        if match is None:
            return
        end = re.compile(rf"^[ \t]*{match['mark']}[ \t]*\)?[ \t]*$", re.MULTILINE).search(text, match.end())
        if end is None:
            at = match.end()
            continue
        yield match.end(), end.start(), bool(match["quote"])
        at = end.end()


def _of_shell(text: str) -> Iterator[Candidate]:
    for start, end, is_quoted in _heredocs(text):
        yield from _of_text(text, start, end, filled=not is_quoted)
    for match in OPTION.finditer(text):
        if match["single"] is not None:
            yield from _of_text(text, match.start("single"), match.end("single"))
        elif "{" in match["double"]:
            body = re.sub(r"\\([\"\\$`])", r"\1", match["double"])
            is_filled = VARIABLE.search(body.replace("${aws:", "")) is not None
            yield match.start("double"), None if is_filled else _loaded(body), ""


def _of_text(text: str, start: int, end: int, *, filled: bool = False) -> Iterator[Candidate]:
    body = text[start:end]
    if "{" not in body:
        return
    if filled and VARIABLE.search(body):
        yield start, None, ""
        return
    value = _loaded(body)
    if value is not None or (body.lstrip().startswith("{") and json_reader.STATEMENT.search(body)):
        yield start, value if value is not None else json_document.parse(body).value, _only(text, start, end)


def _of_terraform(text: str) -> Iterator[Candidate]:
    for start, end, _quoted in _heredocs(text):
        try:
            terraform_text.literal(text[start:end])
        except terraform_text.NotLiteral:
            yield start, None, ""
            continue
        yield from _of_text(text, start, end)
    for at, value in terraform_text.policies(text):
        yield at, value, ""


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _chosen(text: str, candidates: list[Candidate], name: str, kind: Kind | None, values: Values | None) -> Found:
    """Take the policy of the kind that was asked for, when it is certain which and what it is."""
    certain = [each for each in candidates if isinstance(each[1], dict | list) and _kind_of(each[1])]
    of_kind = [each for each in certain if kind is None or _kind_of(each[1]) == kind]
    if of_kind or (certain and len(certain) == len(candidates)):
        at, value, in_place = (of_kind or certain)[0]
        if in_place:
            return Found(in_place, name)
        return Found(json.dumps(value, indent=2), name, text.count("\n", 0, at) + 1)
    why = _(", and it has values that only the tool fills in") if candidates else ""
    at = candidates[0][0] if candidates else 0
    return Found(text, name, flaw=named(name, text.count("\n", 0, at) + 1, kind, values, why=why))


def _kind_of(value: Any) -> Kind | None:
    """Tell which document a policy or a statement of it is; None when it is none."""
    policy = value if isinstance(value, dict) and "Statement" in value else {"Statement": value}
    found = policy["Statement"]
    statements = [each for each in (found if isinstance(found, list) else [found]) if isinstance(each, dict)]
    if not any("Effect" in each for each in statements):
        return None
    if not any("Principal" in each or "NotPrincipal" in each for each in statements):
        return "permissions"
    actions = json.dumps([each.get("Action") for each in statements]).lower()
    return "trust" if "sts:" in actions and "kms:" not in actions else "key"


# --- YAML ------------------------------------------------------------------------------------------------------------


def _of_yaml(text: str, kind: Kind | None, values: Values | None) -> Found:
    first = next((line for line in text.splitlines() if line.strip() and not line.strip().startswith("#")), "")
    if (not YAML.match(first) and first.strip() != "---") or first.lstrip().startswith(('"', "'")):
        return Found(text)
    name = "YAML"
    if re.search(
        r"^\s*(?:AWSTemplateFormatVersion|Resources|Properties|Type:\s*['\"]?AWS::)|Fn::|!(?:Sub|Ref|GetAtt|Join)",
        text,
        re.M,
    ):
        name = lazy("YAML of CloudFormation")
    line = text[: text.find(first)].count("\n") + 1
    try:
        value = yaml_text.read(text)
    except yaml_text.NotYaml:
        value = None
    if not isinstance(value, dict | list):
        return Found(text, name, flaw=named(name, line, kind, values))
    made = json.dumps(value, indent=2)
    if not json_reader.STATEMENT.search(made):
        return Found(text, name, flaw=named(name, line, kind, values))
    if FOREIGN_VARIABLE.search(made):
        why = _(", and it has variables that another tool fills in")
        return Found(text, name, flaw=named(name, line, kind, values, why=why))
    return Found(made, name, line)
