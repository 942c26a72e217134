"""The elements of a policy: what AWS refuses to save, or saves and never matches; pure.

Source: IAM guide, "Grammar of the IAM JSON policy language" and "IAM JSON policy elements reference"; KMS
guide, "Key policies".
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Any

from byokportal.translation import translate as _
from keys import arns
from keys.policies import conditions
from keys.proof.diagnosis.aws_operations import KMS_OPERATIONS
from keys.proof.pasted import placeholders
from keys.proof.pasted.findings import Kind, Note, Path, Policy, Severity, Values, shown
from keys.proof.pasted.unwrapping import ELEMENTS, TOP

VERSION = "2012-10-17"
OLD_VERSION = "2008-10-17"
ALPHANUMERIC = re.compile(r"[A-Za-z0-9]*", re.ASCII)
ACTION = re.compile(r"[A-Za-z0-9-]{1,64}:[A-Za-z0-9*?]{1,128}", re.ASCII)
# IAM guide, "AWS JSON policy elements: Principal": accounts, roles, users, sessions; and what AWS puts in the place
# of a principal that was deleted, its unique id.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
AWS_PRINCIPAL = re.compile(
    r"[0-9]{12}|A(?:ROA|IDA|SCA|GPA)[A-Z0-9]{4,124}|[0-9a-f]{64}"
    r"|arn:[a-z-]{1,20}:iam::[0-9]{12}:(?:root|(?:role|user)/[^*?\s]+)"
    r"|arn:[a-z-]{1,20}:sts::[0-9]{12}:(?:assumed-role|federated-user|self)(?:/[^*?\s]+)?"
    r"|arn:[a-z-]{1,20}:iam::cloudfront:user/[^*?\s]+",
    re.ASCII,
)
PRINCIPALS = ("AWS", "Service", "Federated", "CanonicalUser")
# KMS API reference, "Actions": the operations, with the two permissions that ReEncrypt asks for in its place. Tagging
# is no word of KMS's alone in an error, and is one in a policy.
KMS = tuple(sorted((KMS_OPERATIONS - {"ReEncrypt"}) | {"TagResource", "UntagResource"}))
STS = ("AssumeRole", "AssumeRoleWithSAML", "AssumeRoleWithWebIdentity", "TagSession", "SetSourceIdentity", "SetContext")


def notes(kind: Kind, policy: Policy, values: Values) -> Iterator[Note]:
    """Yield what is wrong with the elements, whatever the policy grants."""
    yield from _top(kind, policy)
    statements = policy["Statement"] if isinstance(policy["Statement"], list) else [policy["Statement"]]
    single = not isinstance(policy["Statement"], list)
    sids: dict[str, Path] = {}
    for at, statement in enumerate(statements):
        path: Path = ("Statement",) if single else ("Statement", at)
        if not isinstance(statement, dict):
            yield _refused(
                "statement",
                path,
                _(
                    "This is %(statement)s where a statement, an object between { and }, is due.",
                    statement=shown(statement, most=40),
                ),
                _("Take it out."),
            )
            continue
        yield from _statement(kind, statement, path, values)
        sid = statement.get("Sid")
        if isinstance(sid, str) and sid and sid in sids:
            severity: Severity = "warning" if kind == "key" else "error"
            yield Note(
                "sid_twice",
                severity,
                (*path, "Sid"),
                _("The Sid %(sid)s stands in two statements; a Sid names one.", sid=shown(sid)),
                _("Give one of them another Sid, or none."),
            )
        elif isinstance(sid, str):
            sids[sid] = path


def _refused(code: str, path: Path, text: str, fix: str) -> Note:
    return Note(code, "error", path, text, fix)


def _top(kind: Kind, policy: Policy) -> Iterator[Note]:
    version = policy.get("Version")
    fix = _('Set "Version": "%(version)s". It names the policy language and is no date of yours.', version=VERSION)
    if "Version" not in policy or version == OLD_VERSION:
        text = (
            _("The Version is missing, so AWS reads the policy by the rules of 2008, without policy variables.")
            if "Version" not in policy
            else _(
                "The Version %(old_version)s makes AWS read the policy by the rules of 2008, without policy variables.",
                old_version=OLD_VERSION,
            )
        )
        severity: Severity = "warning" if kind == "key" else "error"
        yield Note("version", severity, ("Version",), text, fix)
    elif version != VERSION:
        yield _refused(
            "version",
            ("Version",),
            _("The Version is %(version)s, which AWS does not know.", version=shown(version)),
            fix,
        )
    for name in policy:
        if name not in TOP:
            yield _refused(
                "element_unknown",
                (name,),
                _("A policy has no element %(name)s; AWS refuses it.", name=shown(name)),
                _("Take it out."),
            )
    if not policy["Statement"] and policy["Statement"] is not None:
        yield _refused(
            "statement_missing",
            ("Statement",),
            _("The policy has no statement, so it grants nothing."),
            _("Use the document below."),
        )


def _statement(kind: Kind, statement: dict[str, Any], path: Path, values: Values) -> Iterator[Note]:
    for name in statement:
        if name not in ELEMENTS:
            yield _refused(
                "element_unknown",
                (*path, name),
                _("A statement has no element %(name)s; AWS refuses it.", name=shown(name)),
                _instead(name, ELEMENTS),
            )
    for one, other in (("Principal", "NotPrincipal"), ("Action", "NotAction"), ("Resource", "NotResource")):
        if one in statement and other in statement:
            yield _refused(
                "element_twice",
                (*path, other),
                _("%(one)s and %(other)s stand in one statement; AWS takes one of them.", one=one, other=other),
                _("Keep %(name)s.", name=one),
            )
    yield from _effect(statement, path)
    yield from _sid(kind, statement, path)
    yield from _actions(kind, statement, path)
    yield from _principals(kind, statement, path)
    yield from _resources(kind, statement, path, values)
    yield from _condition(statement, path)
    yield from placeholders.notes(statement, path, values)


def _effect(statement: dict[str, Any], path: Path) -> Iterator[Note]:
    effect = statement.get("Effect")
    if "Effect" not in statement:
        yield _refused(
            "effect",
            path,
            _("The statement has no Effect, so AWS refuses it."),
            _('Add "Effect": "Allow" or "Deny", whichever is meant.'),
        )
    elif effect not in ("Allow", "Deny"):
        yield _refused(
            "effect",
            (*path, "Effect"),
            _("The Effect is %(effect)s; AWS knows Allow and Deny, written just so.", effect=shown(effect)),
            _instead(effect, ("Allow", "Deny")),
        )


def _sid(kind: Kind, statement: dict[str, Any], path: Path) -> Iterator[Note]:
    sid = statement.get("Sid", "")
    if not isinstance(sid, str):
        yield _refused(
            "sid",
            (*path, "Sid"),
            _("The Sid is %(sid)s and has to be a text.", sid=shown(sid)),
            _("Write letters and digits in quotation marks, or leave it out."),
        )
    elif kind != "key" and not ALPHANUMERIC.fullmatch(sid):  # KMS takes blanks: "Allow use of the key"
        yield _refused(
            "sid",
            (*path, "Sid"),
            _("The Sid %(sid)s holds a character that IAM refuses: letters A–Z, a–z and digits only.", sid=shown(sid)),
            _('Write "%(sid)s", or leave the Sid out.', sid=re.sub("[^A-Za-z0-9]", "", sid)[:60]),
        )


def _actions(kind: Kind, statement: dict[str, Any], path: Path) -> Iterator[Note]:
    name = "NotAction" if "NotAction" in statement else "Action"
    if name not in statement:
        what = _("KMS saves it, and it has no effect") if kind == "key" else _("AWS refuses it")
        yield _refused(
            "action_missing",
            path,
            _("The statement has no Action: %(what)s.", what=what),
            _("Add the Action element of the document below."),
        )
        return
    for at, action in _texts(statement[name], (*path, name)):
        if not isinstance(action, str):
            yield _refused(
                "action_malformed",
                at,
                _("%(action)s is no action.", action=shown(action)),
                _("Write an action as a text, like kms:Decrypt."),
            )
        elif action == "*" or ACTION.fullmatch(action):
            yield from _known_action(kind, action, at, name)
        else:
            star = "*" if action.lower() == "reencrypt" else ""  # there is no permission of that name
            guess = (
                f"kms:{action}{star}"
                if f"{action.rstrip('*?').lower()}" in {known.lower() for known in (*KMS, "ReEncrypt")}
                else ""
            )
            yield _refused(
                "action_malformed",
                at,
                _("The action %(action)s names no service: AWS refuses it.", action=shown(action))
                if ":" not in action
                else _("%(action)s is not written as an action; AWS refuses it.", action=shown(action)),
                _("Write %(right)s.", right=guess) if guess else _("Write service:Action, like kms:Decrypt."),
            )


def _known_action(kind: Kind, action: str, at: Path, name: str) -> Iterator[Note]:
    service, _colon, operation = action.partition(":")
    known = {"kms": KMS, "sts": STS}.get(service.lower())
    if kind == "trust" and name == "Action" and action != "*" and service.lower() != "sts":
        yield _refused(
            "action_of_another_service",
            at,
            _("%(action)s has no place in a trust policy: it holds actions of STS only.", action=shown(action)),
            _("Write sts:AssumeRole."),
        )
    elif known and not any(conditions.glob(operation, ignore_case=True).fullmatch(each) for each in known):
        right = _closest(operation.rstrip("*"), (*known, "ReEncrypt"))
        # two permissions have the name: ReEncryptFrom and ReEncryptTo (KMS API reference, ReEncrypt)
        star = "*" if operation.endswith("*") or right == "ReEncrypt" else ""
        yield Note(
            "action_unknown",
            "warning",
            at,
            _("There is no action %(action)s: AWS saves it, and it never matches anything.", action=shown(action)),
            _("Write %(service)s:%(right)s%(star)s.", service=service, right=right, star=star)
            if right
            else _("Take it out, or write the action as the document below has it."),
        )


def _principals(kind: Kind, statement: dict[str, Any], path: Path) -> Iterator[Note]:
    name = next((each for each in ("Principal", "NotPrincipal") if each in statement), "")
    if kind == "permissions" or not name:
        return  # whole policies of another kind are named once, in `linter`
    value = statement[name]
    if isinstance(value, str):
        if value != "*":
            yield _refused(
                "principal_malformed",
                (*path, name),
                _(
                    "The %(name)s is the text %(value)s; it has to say of what kind it is.",
                    name=name,
                    value=shown(value),
                ),
                _('Write "%(name)s": {"AWS": "…"}.', name=name),
            )
        return
    if not isinstance(value, dict) or not value:
        yield _refused(
            "principal_malformed",
            (*path, name),
            _("The %(name)s is %(value)s, which names nobody.", name=name, value=shown(value)),
            _('Write "%(name)s": {"AWS": "…"}.', name=name),
        )
        return
    for type_, names in value.items():
        if type_ not in PRINCIPALS:
            yield _refused(
                "principal_malformed",
                (*path, name, type_),
                _("There is no kind of principal %(type)s.", type=shown(type_)),
                _instead(type_, PRINCIPALS),
            )
        elif (
            not isinstance(names, str | list)
            or not names
            or any(not isinstance(each, str) for _, each in _texts(names, ()))
        ):
            yield _refused(
                "principal_malformed",
                (*path, name, type_),
                _("%(names)s is no principal.", names=shown(names)),
                _("Write one ARN, or a list of them."),
            )
        elif type_ == "AWS":
            yield from _names(names, (*path, name, type_))


def is_saved(name: str) -> bool:
    """Tell whether AWS takes a name as an AWS principal, as far as its form goes."""
    return name == "*" or AWS_PRINCIPAL.fullmatch(name) is not None


def _names(names: str | list[str], path: Path) -> Iterator[Note]:
    """Name what IAM and KMS refuse as an AWS principal."""
    for at, each in _texts(names, path):
        if is_saved(each) or placeholders.is_in(each):
            continue
        found = arns.parts(each.strip())
        account = found.account if found else each
        if each != each.strip():
            what = _("a blank stands before or after it")
        elif account.isdigit() and len(account) != 12:
            what = _(
                "an account id has 12 digits, and %(account)s has %(digits)s", account=account, digits=len(account)
            )
        elif "*" in each or "?" in each:
            what = _("a principal takes no wildcard, but for * alone")
        else:
            what = _("it is neither an account nor the ARN of a role or user")
        yield _refused(
            "principal_malformed",
            at,
            _("The principal %(each)s is refused by AWS: %(what)s.", each=shown(each, most=120), what=what),
            _("Write the whole ARN of one role, as the document below has it."),
        )


def _resources(kind: Kind, statement: dict[str, Any], path: Path, values: Values) -> Iterator[Note]:
    name = next((each for each in ("Resource", "NotResource") if each in statement), "")
    if kind == "trust":
        if name:
            yield _refused(
                "resource_in_trust",
                (*path, name),
                _("A trust policy has no %(name)s: it stands on the role itself. AWS refuses it.", name=name),
                _("Take %(name)s out.", name=name),
            )
        return
    if not name:
        what = _("KMS saves the statement, and it has no effect") if kind == "key" else _("AWS refuses it")
        wanted = '"*"' if kind == "key" else f'"{values.access.key or "<your-cmk-arn>"}"'
        yield _refused(
            "resource_missing",
            path,
            _("The statement has no Resource: %(what)s.", what=what),
            _('Add "Resource": %(wanted)s.', wanted=wanted),
        )
        return
    for at, each in _texts(statement[name], (*path, name)):
        if not isinstance(each, str):
            yield _refused(
                "resource_malformed",
                at,
                _("%(each)s is no resource.", each=shown(each)),
                _("Write an ARN as a text, or *."),
            )
        elif each != "*" and not each.startswith("arn:") and not placeholders.is_in(each):
            yield _refused(
                "resource_malformed",
                at,
                _("The Resource %(each)s is no ARN; AWS refuses it.", each=shown(each)),
                _("Write the whole ARN, as the document below has it."),
            )


def _condition(statement: dict[str, Any], path: Path) -> Iterator[Note]:
    if "Condition" not in statement:
        return
    value = statement["Condition"]
    if not isinstance(value, dict):
        yield _refused(
            "condition_malformed",
            (*path, "Condition"),
            _("The Condition is no object of operators; AWS refuses it."),
            _("Write it as the document below has it, or leave it out."),
        )
        return
    for operator, keys in value.items():
        if not conditions.readable({operator: {}}):
            yield _refused(
                "condition_operator",
                (*path, "Condition", operator),
                _("AWS knows no condition operator %(operator)s; it refuses the policy.", operator=shown(operator)),
                _instead(operator, OPERATORS),
            )
        elif not isinstance(keys, dict):
            yield _refused(
                "condition_malformed",
                (*path, "Condition", operator),
                _("%(operator)s has to hold condition keys with their values.", operator=shown(operator)),
                _("Write it as the document below has it."),
            )
        else:
            for key, wanted in keys.items():
                if isinstance(wanted, dict) or (
                    isinstance(wanted, list) and any(isinstance(each, dict | list) for each in wanted)
                ):
                    yield _refused(
                        "condition_malformed",
                        (*path, "Condition", operator, key),
                        _("The value of %(key)s has to be a text or a list of texts.", key=shown(key)),
                        _("Write it as the document below has it."),
                    )


OPERATORS = (
    "StringEquals",
    "StringNotEquals",
    "StringEqualsIgnoreCase",
    "StringLike",
    "StringNotLike",
    "ArnEquals",
    "ArnLike",
    "Bool",
    "IpAddress",
    "Null",
)


def _texts(value: object, path: Path) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, list):
        for at, each in enumerate(value):
            yield (*path, at), each
    else:
        yield path, value


def _instead(given: object, known: tuple[str, ...]) -> str:
    right = _closest(str(given), known)
    return _("Write %(right)s.", right=right) if right else _("Take it out, or write it as the document below has it.")


def _closest(given: str, known: tuple[str, ...]) -> str:
    """Return the known name that was probably meant, or ""."""
    # The first letter is seldom the wrong one, and comparing with every name would take too long
    # for a hostile document.
    near = {each.lower(): each for each in known if each[:1].lower() == given[:1].lower()}
    close = difflib.get_close_matches(given.lower()[:64], list(near), 1)
    return near[close[0]] if close else ""
