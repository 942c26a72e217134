"""The policy in what was pasted: alone, inside an answer of the AWS CLI, as an escaped string,
or as a bare statement; pure."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from keys.proof.pasted import json_document
from keys.proof.pasted.findings import Flaw, Path, Policy, shown
from keys.proof.pasted.json_document import Document

ENCODED = re.compile(r"\s*%7B", re.IGNORECASE)  # IAM's API gives documents URL-encoded (API reference, GetRole)
# Where the AWS CLI, its raw API and CloudFormation keep a policy.
WRAPPERS: tuple[tuple[Path, str], ...] = (
    (("Policy",), "aws kms get-key-policy"),
    (("Role", "AssumeRolePolicyDocument"), "aws iam get-role"),
    (("AssumeRolePolicyDocument",), "aws iam get-role"),
    (("PolicyVersion", "Document"), "aws iam get-policy-version"),
    (("PolicyDocument",), "aws iam get-role-policy"),
    (("Document",), "aws iam get-policy-version"),
    (("KeyPolicy",), "CloudFormation"),
)
ELEMENTS = ("Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition")
TOP = ("Version", "Id", "Statement")


def read(text: str) -> Document:
    """Read a text down to the policy in it."""
    document = json_document.parse(unquote(text) if ENCODED.match(text) else text)
    for _ in range(4):  # a string within an answer within a string: nobody nests deeper
        inner = _unwrapped(document)
        if inner is None:
            break
        document = inner
    value = document.value
    if value is None and document.flaws:
        return document
    if not (isinstance(value, dict) or (isinstance(value, list) and any(isinstance(each, dict) for each in value))):
        document.flaws.append(_no_statement(document, value))
        return document
    if isinstance(value, list):
        _take_statements(document, value)
        return document
    value = _named(document, value, (), TOP)
    if isinstance(value.get("Statement"), dict | list):
        document.policy = _with_named_statements(document, value)
    elif isinstance(document.value, dict) and {name.lower() for name in value} & {"effect", "action", "principal"}:
        _take_statements(document, document.value)
    else:
        document.flaws.append(_no_statement(document, value))
    return document


def _unwrapped(document: Document) -> Document | None:
    """Return the document one layer further in, None when there is none."""
    value = document.value
    if isinstance(value, str):
        return _from_string(document, value, (), "")
    if not isinstance(value, dict) or "Statement" in value:
        return None
    for path, command in WRAPPERS:
        inner: Any = value
        for name in path:
            inner = inner.get(name) if isinstance(inner, dict) else None
        if isinstance(inner, str) and len(inner) > 1:
            return _from_string(document, inner, path, command)
        if isinstance(inner, dict) and path != ("Policy",):
            document.value, document.prefix, document.wrapped = inner, document.prefix + path, command
            return document
    return None


def _from_string(document: Document, text: str, path: Path, command: str) -> Document | None:
    text = unquote(text) if ENCODED.match(text) else text
    if not text.lstrip().startswith(("{", "[", '"')):
        return None
    inner = json_document.parse(text)
    line = document.line(path)
    inner.fixed_line, inner.wrapped = line, command or document.wrapped
    flaws = [
        Flaw(flaw.code, line, f"Inside the quoted policy, line {flaw.line}: {flaw.text}", flaw.fix)
        for flaw in inner.flaws
    ]
    inner.flaws = [*document.flaws, *flaws]
    return inner


def _no_statement(document: Document, value: object) -> Flaw:
    if isinstance(value, dict) and isinstance(value.get("Policy"), dict):
        what, fix = (
            "This is the answer of aws iam get-policy, which describes a policy and does not hold it.",
            "Run aws iam get-policy-version with its ARN and DefaultVersionId, and paste that answer.",
        )
    elif isinstance(value, dict) and "Statement" in value:
        what, fix = "The Statement is neither an object nor a list of objects.", "Write the statements between [ and ]."
    elif isinstance(value, dict):
        what, fix = (
            "A policy is an object with Version and Statement; this object has no Statement.",
            "Paste the whole policy, as the AWS console shows it.",
        )
    else:
        what, fix = (
            f"A policy is an object between {{ and }}; this is {shown(value)}.",
            "Paste the whole policy, from the first { to the last }.",
        )
    return Flaw("no_statement", document.line(("Statement",)), what, fix)


def _take_statements(document: Document, value: dict[str, Any] | list[Any]) -> None:
    """Read a statement, or a list of them, that stands without its policy."""
    one = isinstance(value, dict)
    document.flaws.append(
        Flaw(
            "statement_only",
            document.line(()),
            (
                f"{'This is a statement' if one else 'These are statements'}, not a whole policy: "
                "Version and the Statement list around it are missing."
            ),
            "Put it into the Statement list of the policy, and paste the whole policy here.",
        )
    )
    document.places = {
        ("Statement", *((0,) if one else ()), *path[len(document.prefix) :]): at for path, at in document.places.items()
    }
    document.prefix = ()
    document.policy = _with_named_statements(
        document, {"Version": "2012-10-17", "Statement": [value] if one else value}
    )


def _with_named_statements(document: Document, policy: Policy) -> Policy:
    found = policy["Statement"]
    if isinstance(found, dict):
        named = _named(document, found, ("Statement",), ELEMENTS)
        return policy if named is found else {**policy, "Statement": named}
    named_all = [
        _named(document, each, ("Statement", at), ELEMENTS) if isinstance(each, dict) else each
        for at, each in enumerate(found)
    ]
    return (
        policy
        if all(new is old for new, old in zip(named_all, found, strict=True))
        else {**policy, "Statement": named_all}
    )


def _named(document: Document, members: dict[str, Any], path: Path, known: tuple[str, ...]) -> dict[str, Any]:
    """Return the members under their right names, where a name differs in letter case or number only;
    AWS takes them as they are."""
    right = {name.lower(): name for name in known}
    renamed: dict[str, str] = {}
    for name in members:
        if name in known:
            continue
        wanted = (
            right.get(name.lower())
            or right.get(name.lower().removesuffix("s"))
            or right.get(name.lower().replace("_", ""))
        )
        if wanted and wanted not in members and wanted not in renamed.values():
            renamed[name] = wanted
            document.flaws.append(
                Flaw(
                    "element_name",
                    document.line((*path, name)),
                    f"The element {shown(name)} is written {wanted} in a policy; AWS does not know it otherwise.",
                    f"Write {wanted}.",
                )
            )
    if not renamed:
        return members
    for name, wanted in renamed.items():
        document.places[(*document.prefix, *path, wanted)] = document.places.get((*document.prefix, *path, name), 0)
    return {renamed.get(name, name): value for name, value in members.items()}
