"""Our reading of a policy that the customer pasted: what it grants us, what is missing, what is too wide; pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from keys.policies import documents, evaluator
from keys.policies.evaluator import Principal, Request

Kind = Literal["trust", "permissions", "key"]
LIMITS = {
    "trust": 2_048,
    "permissions": 6_144,
    "key": 32_768,
}  # characters, white space not counted (IAM and KMS quotas)
MAX_TEXT = 65_536
DEPTH = 20
OTHER_ID = "byok-of-nobody"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about a policy: the 1-based line, what is so, and what to do."""

    code: str
    severity: Literal["error", "warning", "info"]
    line: int
    text: str
    fix: str


@dataclass(frozen=True, slots=True)
class Reading:
    """The verdict, the findings, and the document as it should be, in full."""

    verdict: Literal["ok", "incomplete", "unsafe", "unreadable"]
    findings: list[Finding]
    corrected: str


class _Unreadable(Exception):
    def __init__(self, code: str, line: int, text: str) -> None:
        self.finding = Finding(code, "error", line, text, "Paste the whole policy again, as the AWS console shows it.")
        super().__init__(text)


def lint(
    kind: Kind, text: str, *, service_role_arn: str, external_id: str, role_arn: str = "", key_arn: str = ""
) -> Reading:
    """Read a policy.

    Args:
        kind: which document of the guide it is meant to be.
        text: as pasted; at most 65,536 characters.
        role_arn, key_arn: the tenant's own, as far as they are given.
    """
    wanted = _wanted(kind, service_role_arn, external_id, role_arn, key_arn)
    try:
        policy = _read(text, kind)
    except _Unreadable as error:
        return Reading("unreadable", [error.finding], documents.render(wanted))
    findings = _common(text, kind, policy)
    match kind:
        case "trust":
            findings += _trust(text, policy, service_role_arn, external_id)
            corrected = wanted if any(f.severity == "error" for f in findings) else policy
        case "permissions":
            findings += _grants(text, policy, kind, role_arn, key_arn)
            corrected = wanted if any(f.severity == "error" for f in findings) else policy
        case _:
            findings += _grants(text, policy, kind, role_arn, key_arn)
            corrected = _merged(policy, wanted) if any(f.severity == "error" for f in findings) else policy
    unsafe = any(f.severity == "error" and f.code.startswith("too_wide") for f in findings)
    broken = any(f.severity == "error" for f in findings)
    return Reading("unsafe" if unsafe else "incomplete" if broken else "ok", findings, documents.render(corrected))


def _wanted(kind: Kind, service_role_arn: str, external_id: str, role_arn: str, key_arn: str) -> dict[str, Any]:
    match kind:
        case "trust":
            return documents.trust_policy(service_role_arn, external_id)
        case "permissions":
            return documents.permissions_policy(key_arn or "<your-cmk-arn>")
    return {"Version": "2012-10-17", "Statement": [documents.key_policy_statement(role_arn or "<your-role-arn>")]}


def _read(text: str, kind: Kind) -> dict[str, Any]:
    """Return the policy, or say why it cannot be read."""
    if len(text) > MAX_TEXT:
        raise _Unreadable("too_long", 1, f"This has {len(text):,} characters; we read at most {MAX_TEXT:,}.")
    depth = 0
    for number, line in enumerate(text.split("\n"), start=1):
        if any(ord(sign) > 0xFF or (ord(sign) < 0x20 and sign not in "\t\r") for sign in line):
            raise _Unreadable("character", number, "This line holds a character that AWS refuses in a policy.")
        depth += line.count("{") + line.count("[") - line.count("}") - line.count("]")
        if depth > DEPTH or line.count("[") + line.count("{") > 400:
            raise _Unreadable("too_deep", number, "Brackets are nested deeper than any policy needs.")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise _Unreadable(
                "duplicate_key",
                _line(text, f'"{twice}"', nth=2),
                f"The name {twice[:40]} stands twice in one object; AWS keeps only one of them.",
            )
        return dict(pairs)

    try:
        policy = json.loads(text, object_pairs_hook=unique, parse_constant=lambda name: _no_constant(text, name))
    except json.JSONDecodeError as error:
        raise _Unreadable(
            "not_json", error.lineno, f"This is not JSON: {error.msg}, line {error.lineno}, column {error.colno}."
        ) from None
    except (RecursionError, ValueError):
        raise _Unreadable("not_json", 1, "This is not JSON that can be read.") from None
    if not isinstance(policy, dict) or not isinstance(policy.get("Statement"), list | dict):
        if isinstance(policy, dict) and kind == "key" and "Effect" in policy:
            raise _Unreadable(
                "statement_only",
                1,
                "This is a statement, not a whole key policy. Paste the policy with its Statement array.",
            )
        raise _Unreadable("no_statement", 1, "A policy is an object with Version and Statement; this is none.")
    return policy


def _no_constant(text: str, name: str) -> Any:
    raise _Unreadable("not_json", _line(text, name), f"{name} is no JSON.")


def _line(text: str, needle: str, *, nth: int = 1) -> int:
    """Return the 1-based line of the n-th occurrence, 1 when it is not there."""
    position = -1
    for _ in range(nth):
        found = text.find(needle, position + 1)
        if found < 0:
            break
        position = found
    return text.count("\n", 0, position) + 1 if position >= 0 else 1


def _common(text: str, kind: Kind, policy: dict[str, Any]) -> list[Finding]:
    found: list[Finding] = []
    if policy.get("Version") != "2012-10-17":
        found.append(
            Finding(
                "version",
                "error",
                _line(text, '"Version"'),
                "The Version is not 2012-10-17.",
                'Set "Version": "2012-10-17", which is no date of yours.',
            )
        )
    length = len(re.sub(r"\s", "", text))
    if length > LIMITS[kind]:
        found.append(
            Finding(
                "too_large",
                "error",
                1,
                f"This has {length:,} characters; AWS takes {LIMITS[kind]:,}.",
                "Shorten it, or split it.",
            )
        )
    statements = evaluator.statements(policy)
    has_principal = any("Principal" in s or "NotPrincipal" in s for s in statements)
    if kind == "permissions" and has_principal:
        found.append(
            Finding(
                "other_kind",
                "error",
                _line(text, '"Principal"'),
                "This names a Principal: it is a trust or key policy.",
                "Paste the permissions policy of the role.",
            )
        )
    if kind != "permissions" and not has_principal:
        found.append(
            Finding(
                "other_kind",
                "error",
                1,
                "This names no Principal: it is a permissions policy.",
                f"Paste the {kind} policy.",
            )
        )
    for statement in statements:
        if "NotPrincipal" in statement:
            found.append(
                Finding(
                    "too_wide_not_principal" if statement.get("Effect") == "Allow" else "not_principal",
                    "error" if statement.get("Effect") == "Allow" else "warning",
                    _line(text, '"NotPrincipal"'),
                    "NotPrincipal means everybody but those named.",
                    "Name who may in Principal.",
                )
            )
        for key in ("kms:ViaService", "aws:SourceIp", "aws:SourceVpce"):
            if statement.get("Effect") == "Allow" and key in json.dumps(statement.get("Condition", {})):
                found.append(
                    Finding(
                        "condition",
                        "warning",
                        _line(text, key),
                        f"The condition {key} is not met by our calls.",
                        f"Leave {key} out of the statement for us.",
                    )
                )
    return found


def _trust(text: str, policy: dict[str, Any], service_role_arn: str, external_id: str) -> list[Finding]:
    """Ask the evaluator what STS would answer: with our External ID, without one, with another."""
    account = evaluator.account_of(service_role_arn)
    name = service_role_arn.rsplit("/", 1)[-1]
    ours = Principal(f"arn:aws:sts::{account}:assumed-role/{name}/byok", account, "AROAOURS", service_role_arn)
    stranger = Principal("arn:aws:iam::000000000000:user/stranger", "000000000000", "AIDASTRANGER")
    role = "arn:aws:iam::000000000001:role/yours"
    everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}

    def may(who: Principal, given: str | None) -> bool:
        context: dict[str, str] = {"aws:PrincipalArn": who.role_arn or who.arn, "aws:PrincipalAccount": who.account}
        if given is not None:
            context["sts:ExternalId"] = given
        return evaluator.evaluate(
            Request("sts:AssumeRole", role, who, context), identity=[everything], resource=policy
        ).allowed

    found: list[Finding] = []
    line = _line(text, '"Condition"') if '"Condition"' in text else _line(text, '"Principal"')
    mend = "Use the condition StringEquals with sts:ExternalId and your External ID, exactly as in the document below."
    if may(ours, None):
        found.append(
            Finding("too_wide_no_external_id", "error", line, "Our role gets in without an External ID.", mend)
        )
    elif may(ours, OTHER_ID):
        found.append(
            Finding(
                "too_wide_any_external_id", "error", line, "Our role gets in with somebody else's External ID.", mend
            )
        )
    elif may(ours, external_id) and any(may(ours, other) for other in _other_ids(policy, external_id)):
        found.append(
            Finding("too_wide_other_external_id", "error", line, "Other External IDs than yours open the role.", mend)
        )
    if may(stranger, external_id) or may(stranger, None):
        found.append(
            Finding(
                "too_wide_principal",
                "error",
                _line(text, '"Principal"'),
                "Anybody who knows the External ID gets in.",
                f'Set the Principal to "{service_role_arn}".',
            )
        )
    if f":iam::{account}:root" in json.dumps(policy) or f'"{account}"' in json.dumps(policy):
        found.append(
            Finding(
                "account_root",
                "warning",
                _line(text, account),
                "This trusts our whole account instead of our one role.",
                f'Set the Principal to "{service_role_arn}".',
            )
        )
    if "AROA" in json.dumps(policy):
        found.append(
            Finding(
                "stale_principal",
                "warning",
                _line(text, "AROA"),
                "A principal is shown as AROA…: that role was deleted or mistyped.",
                f'Set the Principal to "{service_role_arn}".',
            )
        )
    if not may(ours, external_id):
        where = _line(text, '"Principal"')
        found.append(
            Finding(
                "missing_trust",
                "error",
                where,
                "Our role does not get in with your External ID.",
                "Use the document below as it is.",
            )
        )
    return found


def _other_ids(policy: dict[str, Any], external_id: str) -> list[str]:
    """Return the External IDs that the policy names besides ours."""
    named: set[str] = set()
    for statement in evaluator.statements(policy):
        condition = statement.get("Condition")
        for keys in condition.values() if isinstance(condition, Mapping) else ():
            if isinstance(keys, Mapping):
                named |= {
                    v
                    for key, values in keys.items()
                    if str(key).lower() == "sts:externalid"
                    for v in evaluator.listed(values)
                }
    return sorted(named - {external_id})[:50]


def _grants(text: str, policy: dict[str, Any], kind: Kind, role_arn: str, key_arn: str) -> list[Finding]:
    """Ask the evaluator which of the guide's actions the policy gives to the tenant's role on its key."""
    account = evaluator.account_of(role_arn or key_arn) or "000000000001"
    role = role_arn or f"arn:aws:iam::{account}:role/yours"
    who = Principal(f"arn:aws:sts::{account}:assumed-role/{role.rsplit('/', 1)[-1]}/byok", account, "AROAYOURS", role)
    key = key_arn or "arn:aws:kms:us-east-1:000000000001:key/yours"
    found: list[Finding] = []
    if (kind == "permissions" and not key_arn) or (kind == "key" and not role_arn):
        what = "CMK ARN (step 1)" if kind == "permissions" else "Role ARN (step 2)"
        return [
            Finding(
                "arn_missing", "info", 1, f"Give your {what} first; then we can say more.", "Save the ARN as a draft."
            )
        ]
    for pattern in documents.ACTIONS:
        for action in _members(pattern):
            request = Request(action, key, who, {"aws:PrincipalArn": role, "kms:CallerAccount": account})
            layers: dict[str, Any] = {"identity": [policy]} if kind == "permissions" else {"resource": policy}
            if kind == "permissions":
                layers["resource"] = {
                    "Statement": [
                        {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{account}:root"}, "Action": "*"}
                    ]
                }
            decision = evaluator.evaluate(request, **layers)
            if not decision.allowed:
                why = (
                    f"{decision.statement} denies"
                    if decision.verdict is evaluator.Verdict.EXPLICIT_DENY
                    else "Nothing here allows"
                )
                found.append(
                    Finding(
                        "missing_action",
                        "error",
                        _line(text, '"Action"'),
                        f"{why} {action} to the role.",
                        f"Add {pattern}, as in the document below.",
                    )
                )
                break
    for statement in evaluator.statements(policy):
        broad = {"kms:*", "*"} & {name.lower() for name in evaluator.listed(statement.get("Action"))}
        named = json.dumps(statement.get("Principal", ""))
        if statement.get("Effect") == "Allow" and broad and (kind == "permissions" or role in named):
            found.append(
                Finding(
                    "wider_than_needed",
                    "warning",
                    _line(text, f'"{min(broad)}"'),
                    "The role gets more than we need.",
                    "Name the five actions of the document below.",
                )
            )
        if (
            kind == "key"
            and statement.get("Effect") == "Allow"
            and named in {'"*"', '{"AWS": "*"}'}
            and not statement.get("Condition")
        ):
            found.append(
                Finding(
                    "too_wide_principal",
                    "error",
                    _line(text, '"Principal"'),
                    "Everybody may use your key.",
                    "Name who may in Principal.",
                )
            )
    if kind == "key" and not _keeps_an_administrator(policy):
        found.append(
            Finding(
                "lock_out", "warning", 1, "No statement lets your account change this key policy again.",
                "Keep the statement that names your account root, or an administrator with kms:PutKeyPolicy.",
            )
        )  # fmt: skip
    return found


def _members(pattern: str) -> tuple[str, ...]:
    return {
        "kms:ReEncrypt*": ("kms:ReEncryptFrom", "kms:ReEncryptTo"),
        "kms:GenerateDataKey*": ("kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext"),
    }.get(pattern, (pattern,))


def _keeps_an_administrator(policy: dict[str, Any]) -> bool:
    return any(
        statement.get("Effect") == "Allow"
        and {"kms:*", "*", "kms:putkeypolicy", "kms:put*"}
        & {name.lower() for name in evaluator.listed(statement.get("Action"))}
        for statement in evaluator.statements(policy)
    )


def _merged(policy: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """Return the customer's key policy with our statement, in place of one of the same Sid; nothing else of theirs changes."""
    (ours,) = wanted["Statement"]
    theirs = policy["Statement"] if isinstance(policy["Statement"], list) else [policy["Statement"]]
    kept = [
        statement for statement in theirs if not (isinstance(statement, dict) and statement.get("Sid") == ours["Sid"])
    ]
    return {**policy, "Version": "2012-10-17", "Statement": [*kept, ours]}
