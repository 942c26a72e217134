"""The policy in what was pasted: alone, inside an answer of the AWS CLI, as an escaped string,
or as a bare statement; pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from byokportal.translation import translate as _
from keys.proof.pasted import json_document, notations
from keys.proof.pasted.findings import Flaw, Kind, Path, Policy, Values, shown
from keys.proof.pasted.json_document import Document

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


def read(text: str, kind: Kind | None = None, values: Values | None = None) -> Document:
    """Read a text down to the policy in it.

    Args:
        kind: which policy is looked for, where a text holds several.
        values: for the command that prints the policy, where the text is of another notation.
    """
    found = notations.unwrap(text, kind, values)
    if found.flaw is not None:
        starts = json_document.line_starts(text)
        return Document(None, text, flaws=[found.flaw], starts=starts, unread=True, wrapped=found.name)
    document = json_document.parse(found.text)
    document.fixed_line, document.wrapped = found.line, found.name
    if document.fixed_line:
        document.flaws = [replace(flaw, line=found.line) for flaw in document.flaws]
    document = _down(document, kind)
    function = _function(document.policy) if document.policy else ""
    if function:
        name, why = (
            "CloudFormation",
            _(", and only CloudFormation fills in its %(function)s", function=shown(function, most=40)),
        )
        flaw = notations.named(name, document.line(("Statement",)), kind, values, why=why)
        document.policy, document.unread, document.flaws = None, True, [flaw]
    return document


def _down(document: Document, kind: Kind | None) -> Document:
    for _turn in range(5):  # a string within an answer within a string: nobody nests deeper
        inner = _unwrapped(document, kind)
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


def _function(value: Any) -> str:
    """Return the first function of CloudFormation in a policy, "" when there is none."""
    if isinstance(value, dict):
        if len(value) == 1 and (name := next(iter(value))) and (name == "Ref" or str(name).startswith("Fn::")):
            return str(name)
        return next(filter(None, map(_function, value.values())), "")
    if isinstance(value, str):
        return value if "${AWS::" in value else ""  # what Fn::Sub fills in
    return next(filter(None, map(_function, value)), "") if isinstance(value, list) else ""


# Type of a resource of CloudFormation → its properties that hold a policy, by kind.
PROPERTIES: dict[str, tuple[tuple[Kind, str], ...]] = {
    "AWS::IAM::Role": (("trust", "AssumeRolePolicyDocument"), ("permissions", "Policies")),
    "AWS::IAM::ManagedPolicy": (("permissions", "PolicyDocument"),),
    "AWS::IAM::Policy": (("permissions", "PolicyDocument"),),
    "AWS::IAM::RolePolicy": (("permissions", "PolicyDocument"),),
    "AWS::KMS::Key": (("key", "KeyPolicy"),),
    "AWS::KMS::ReplicaKey": (("key", "KeyPolicy"),),
}


def _of_template(value: dict[str, Any], kind: Kind | None) -> Path | None:
    """Return where a template of CloudFormation, or a part of one, holds the policy that is looked for."""
    at: Path = ()
    resources = value
    if isinstance(value.get("Resources"), dict):
        resources, at = value["Resources"], ("Resources",)
    elif value.get("Type") in PROPERTIES:
        resources = {"": value}
    found: list[tuple[Kind, Path]] = []
    for name, resource in resources.items():
        if not isinstance(resource, dict) or not isinstance(resource.get("Properties"), dict):
            continue
        path: Path = (*at, *([name] if name else []), "Properties")
        for which, element in PROPERTIES.get(str(resource.get("Type")), ()):
            policy = resource["Properties"].get(element)
            if element == "Policies" and isinstance(policy, list):
                found += [(which, (*path, element, place, "PolicyDocument")) for place in range(len(policy))]
            elif isinstance(policy, dict):
                found.append((which, (*path, element)))
    of_kind = [path for which, path in found if kind is None or which == kind]
    return next(iter(of_kind or [path for _, path in found]), None)


def _unwrapped(document: Document, kind: Kind | None) -> Document | None:
    """Return the document one layer further in, None when there is none."""
    value = document.value
    if isinstance(value, str):
        return _from_string(document, value, (), "")
    if not isinstance(value, dict) or "Statement" in value:
        return None
    there = _of_template(value, kind)
    if there is not None:
        inner: Any = value
        for name in there:
            inner = (
                inner[int(name)] if isinstance(inner, list) else inner.get(name) if isinstance(inner, dict) else None
            )
        if isinstance(inner, dict):
            document.value, document.prefix, document.wrapped = inner, document.prefix + there, "CloudFormation"
            return document
    for path, command in WRAPPERS:
        inner = value
        for name in path:
            inner = inner.get(name) if isinstance(inner, dict) else None
        if isinstance(inner, str) and len(inner) > 1:
            return _from_string(document, inner, path, command)
        if isinstance(inner, dict) and path != ("Policy",):
            document.value, document.prefix, document.wrapped = inner, document.prefix + path, command
            return document
    return None


def _from_string(document: Document, text: str, path: Path, command: str) -> Document | None:
    text = notations.unwrap(text).text if not text.lstrip().startswith(("{", "[")) else text
    if not text.lstrip().startswith(("{", "[", '"')):
        return None
    inner = json_document.parse(text)
    line = document.line(path)
    inner.fixed_line, inner.wrapped = line, command or document.wrapped
    flaws = [
        Flaw(
            flaw.code,
            line,
            _("Inside the quoted policy, line %(line)s: %(text)s", line=flaw.line, text=flaw.text),
            flaw.fix,
        )
        for flaw in inner.flaws
    ]
    inner.flaws = [*document.flaws, *flaws]
    return inner


def _no_statement(document: Document, value: object) -> Flaw:
    if isinstance(value, dict) and isinstance(value.get("Policy"), dict):
        what, fix = (
            _("This is the answer of aws iam get-policy, which describes a policy and does not hold it."),
            _("Run aws iam get-policy-version with its ARN and DefaultVersionId, and paste that answer."),
        )
    elif isinstance(value, dict) and "Statement" in value:
        what, fix = (
            _("The Statement is neither an object nor a list of objects."),
            _("Write the statements between [ and ]."),
        )
    elif isinstance(value, dict):
        what, fix = (
            _("A policy is an object with Version and Statement; this object has no Statement."),
            _("Paste the whole policy, as the AWS console shows it."),
        )
    else:
        what, fix = (
            _("A policy is an object between { and }; this is %(value)s.", value=shown(value)),
            _("Paste the whole policy, from the first { to the last }."),
        )
    return Flaw("no_statement", document.line(("Statement",)), what, fix)


def _take_statements(document: Document, value: dict[str, Any] | list[Any]) -> None:
    """Read a statement, or a list of them, that stands without its policy."""
    one = isinstance(value, dict)
    document.flaws.append(
        Flaw(
            "statement_only",
            document.line(()),
            _("This is a statement, not a whole policy: Version and the Statement list around it are missing.")
            if one
            else _("These are statements, not a whole policy: Version and the Statement list around it are missing."),
            _("Put it into the Statement list of the policy, and paste the whole policy here."),
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
                    _(
                        "The element %(name)s is written %(wanted)s in a policy; AWS does not know it otherwise.",
                        name=shown(name),
                        wanted=wanted,
                    ),
                    _("Write %(right)s.", right=wanted),
                )
            )
    if not renamed:
        return members
    for name, wanted in renamed.items():
        document.places[(*document.prefix, *path, wanted)] = document.places.get((*document.prefix, *path, name), 0)
    return {renamed.get(name, name): value for name, value in members.items()}
