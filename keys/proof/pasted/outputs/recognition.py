"""The output of a command of step 4 → what it means; the command is recognised from the output itself; pure.

Nothing of what was pasted is in the answer but names and ARNs: credentials are never said again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from byokportal import secret_texts
from byokportal.translation import lazy, ngettext
from byokportal.translation import translate as _
from keys.arns import SECRETS
from keys.proof import pasted
from keys.proof.diagnosis import error_grammar
from keys.proof.pasted.findings import Values, shown
from keys.proof.pasted.outputs import cli_errors, key_metadata, role_metadata, simulation_results
from keys.proof.pasted.outputs.points import Point

Verdict = Literal["good", "bad", "unclear"]
MAX_TEXT = 65_536
SUCCESS = re.compile(r"\bAssumedRoleUser\b|\bSessionToken\b|\bASSUMEDROLEUSER\b", re.ASCII)
ERROR = re.compile(
    (
        r"An error occurred|\b[A-Za-z]{3,60}(?:Exception|Error|Fault)\b|\bAccessDenied\b|not authorized|NoSuchEntity"
        r"|aws: (?:error|command)|command not found|[Uu]nable to locate credentials|could not be found"
    ),
    re.ASCII,
)
NOT_JSON = re.compile(
    r"\bKeyMetadata\b|KEYMETADATA|\bEvaluationResults\b|EVALUATIONRESULTS|^ROLE\t|AssumeRolePolicyDocument",
    re.MULTILINE,
)
CREDENTIALS = re.compile(r"(?:AKIA|ASIA)[A-Z0-9]{16}|SecretAccessKey|SessionToken", re.ASCII)
NAMES = {
    "assume-role": "aws sts assume-role",
    "get-role": "aws iam get-role",
    "describe-key": "aws kms describe-key",
    "simulate-principal-policy": "aws iam simulate-principal-policy",
    "get-key-policy": "aws kms get-key-policy",
    "get-caller-identity": "aws sts get-caller-identity",
    "": "",
}


@dataclass(frozen=True, slots=True)
class PastedOutput:
    """What an output means.

    Args:
        command: the command that it answers; "" when the output does not tell.
        text: the whole of it in a sentence or two, with what to do next.
        policy: the reading of a policy that the output holds, and its kind for `policy_kind`.
        has_secret: the output holds credentials, so no page shows it again.
    """

    verdict: Verdict
    command: str
    text: str
    points: tuple[Point, ...] = ()
    policy: pasted.PastedPolicy | None = None
    policy_kind: str = ""
    has_secret: bool = False


def read(text: str, values: Values) -> PastedOutput:
    """Read what a person pasted from the shell."""
    # The other kinds of secret look like what stands in policies: External IDs, key ids.
    if (
        CREDENTIALS.search(text)
        or any(pattern.search(text) for pattern, _ in SECRETS[:2])
        or secret_texts.found_in(text)
    ):
        return _with_credentials(text, values)
    if not text.strip():
        return PastedOutput("unclear", "", _("There is nothing here. Paste what the command printed."))
    if len(text) > MAX_TEXT:
        return PastedOutput(
            "unclear",
            "",
            _(
                "This has %(text)s characters; no command of this page prints more than %(max_text)s. Paste "
                "the output of one.",
                text=f"{len(text):,}",
                max_text=f"{MAX_TEXT:,}",
            ),
        )
    value = pasted.json_document.parse(text).value
    if isinstance(value, dict):
        found = _of_object(value, text, values)
        if found is not None:
            return found
    elif isinstance(value, str | list) and _holds_a_policy(text):
        return _of_policy(text, values)
    if ERROR.search(text):
        return _of_error(text, values)
    if NOT_JSON.search(text):
        return PastedOutput(
            "unclear",
            "",
            _(
                "This is one of our commands in another output format. Run it again with --output json at "
                "its end, and paste that."
            ),
        )
    return PastedOutput(
        "unclear",
        "",
        _("We do not know this output. Paste the whole of what one of the commands above printed, and nothing else."),
    )


# --- credentials ---------------------------------------------------------------------------------------------


def _with_credentials(text: str, values: Values) -> PastedOutput:
    if not SUCCESS.search(text):
        return PastedOutput(
            "unclear",
            "",
            _(
                "This holds what looks like a secret. We did not keep it, and do not show it again. It was "
                "sent to us, so rotate it now, then paste the output without it."
            ),
            has_secret=True,
        )
    session = re.search(r"arn:aws[a-z-]{0,10}:sts::([0-9]{12}):assumed-role/([A-Za-z0-9+=,.@_-]{1,64})/", text)
    role = values.access.role
    if session and role and (session[2], session[1]) != (role.name, role.account):
        return PastedOutput(
            "unclear",
            "assume-role",
            _(
                "You got credentials of the role %(session)s in account %(account)s, which is not %(role)s. "
                "Run the command with your Role ARN. %(ends_by_itself)s",
                session=session[2],
                account=session[1],
                role=role,
                ends_by_itself=_(ENDS_BY_ITSELF),
            ),
            has_secret=True,
        )
    point = Point(
        "bad",
        "trust_too_wide",
        _("You became the role as yourself, without an External ID: the trust policy lets in more than our one role."),
        _(
            "Set the trust policy to exactly the document of step 2, then run the command again: it has "
            "to answer AccessDenied."
        ),
    )
    return PastedOutput(
        "bad",
        "assume-role",
        _("This worked, and it should not have. %(ends_by_itself)s", ends_by_itself=_(ENDS_BY_ITSELF)),
        (point,),
        has_secret=True,
    )


ENDS_BY_ITSELF = lazy(
    "The credentials in it end by themselves, within the hour unless you asked for longer. We "
    "did not keep them and do not show them again; you need not do anything about them but close "
    "that shell."
)


# --- errors ----------------------------------------------------------------------------------------------------


def _of_error(text: str, values: Values) -> PastedOutput:
    error = error_grammar.parse(text[:8_000])
    command, verdict, words, points = cli_errors.judge(error, values)
    return PastedOutput(verdict, command, words, points)


# --- answers ---------------------------------------------------------------------------------------------------


def _of_object(value: Mapping[str, Any], text: str, values: Values) -> PastedOutput | None:
    if isinstance(value.get("KeyMetadata"), dict):
        return _told("describe-key", key_metadata.points(value["KeyMetadata"], values))
    if isinstance(value.get("EvaluationResults"), list):
        return _told("simulate-principal-policy", simulation_results.points(value["EvaluationResults"], values))
    if isinstance(value.get("Role"), dict):
        return _of_role(value["Role"], text, values)
    if "Error" in value or "__type" in value:
        return _of_error(json.dumps(value), values)
    if "Account" in value and "UserId" in value:
        return PastedOutput(
            "unclear",
            "get-caller-identity",
            _(
                "This says who you are, %(arn)s. It says nothing about the set-up.",
                arn=shown(value.get("Arn", ""), most=120),
            ),
        )
    if _holds_a_policy(text):
        return _of_policy(text, values)
    return None


def _of_role(described: Mapping[str, Any], text: str, values: Values) -> PastedOutput:
    points = tuple(role_metadata.points(described, values))
    if "AssumeRolePolicyDocument" not in described:
        return _told("get-role", iter(points))
    return _judged("get-role", "trust", text, values, points)


def _holds_a_policy(text: str) -> bool:
    return pasted.unwrapping.read(text).policy is not None


def _of_policy(text: str, values: Values) -> PastedOutput:
    """Read a policy that stands alone: of the role when it speaks of STS, else of the key when it names somebody."""
    policy = pasted.unwrapping.read(text).policy or {"Statement": []}
    statements = json.dumps(policy["Statement"])
    if "sts:" in statements.lower() and "kms:" not in statements.lower():
        return _judged("get-role", "trust", text, values, ())
    if '"Principal"' in statements or '"NotPrincipal"' in statements:
        return _judged("get-key-policy", "key", text, values, ())
    return _judged("", "permissions", text, values, ())


def _judged(command: str, kind: pasted.Kind, text: str, values: Values, points: tuple[Point, ...]) -> PastedOutput:
    policy = pasted.lint(kind, text, values)
    name = _(pasted.NAMES[kind])
    if policy.verdict == "ok":
        points = (*points, Point("good", f"{kind}_policy", _("The %(name)s says what it has to say.", name=name)))
    else:
        step = {"trust": 2, "permissions": 2, "key": 3}[kind]
        points = (
            *points,
            Point(
                "bad",
                f"{kind}_policy",
                _("The %(name)s has to change: see below, line by line.", name=name),
                _("Put the document below in its place (step %(step)s).", step=step),
            ),
        )
    return _told(command, iter(points), policy, kind)


def _told(
    command: str, points: Iterator[Point], policy: pasted.PastedPolicy | None = None, kind: str = ""
) -> PastedOutput:
    found = tuple(points)
    bad = [point for point in found if point.verdict == "bad"]
    unclear = [point for point in found if point.verdict == "unclear"]
    verdict: Verdict = "bad" if bad else "unclear" if unclear else "good"
    words = {
        "good": _("This is as it should be. Go on with the next command."),
        "bad": ngettext("%(number)s thing to mend.", "%(number)s things to mend.", len(bad)),
        "unclear": _("We cannot tell from this alone."),
    }[verdict]
    return PastedOutput(verdict, command, words, found, policy, kind)
