"""What an error of a command of step 4 means:
whether it says something of the set-up, or of the person who ran it; pure."""

from __future__ import annotations

from typing import Literal

from byokportal.translation import lazy
from byokportal.translation import translate as _
from keys.proof.diagnosis import advice, causes, parsing
from keys.proof.diagnosis.error_grammar import AwsError
from keys.proof.pasted.findings import Values, shown
from keys.proof.pasted.outputs.points import Point

Judged = tuple[str, Literal["good", "bad", "unclear"], str, tuple[Point, ...]]
# Codes and words (small letters) that are about the shell or the person's own credentials.
OWN = (
    "expiredtoken",
    "invalidclienttokenid",
    "unrecognizedclient",
    "signaturedoesnotmatch",
    "authfailure",
    "unable to locate credentials",
    "could not be found",
    "command not found",
    "not recognized as",
    "usage: aws",
    "aws: error",
    "sso session",
    "token has expired",
    "could not connect",
    "unknown options",
    "partial credentials",
    "you must specify a region",
)
COMMANDS = {
    "sts:assumerole": "assume-role",
    "iam:getrole": "get-role",
    "iam:simulateprincipalpolicy": "simulate-principal-policy",
    "kms:getkeypolicy": "get-key-policy",
    "kms:describekey": "describe-key",
}
MISTYPED = {
    "get-role": lazy("There is no such role in the account that you asked."),
    "simulate-principal-policy": lazy("There is no such role in the account that you asked."),
    "describe-key": lazy("There is no such key in the account and Region that you asked."),
    "get-key-policy": lazy("There is no such key in the account and Region that you asked."),
}
MOST_CAUSES = 5


def judge(error: AwsError, values: Values) -> Judged:
    """Say what an error means, as (command, verdict, words, points)."""
    words = error.words.lower()
    operation = error.operation.lower() or next(
        (name for name in COMMANDS if name.partition(":")[2] in words.replace("-", "")), ""
    )
    command = COMMANDS.get(operation, "")
    codes = set(error.bare_codes)
    if any(each in words for each in OWN) or codes & {"expiredtoken", "invalidclienttokenid"}:
        return (
            command,
            "unclear",
            _(
                "This is about your shell: its credentials, its Region or the command itself. It says "
                "nothing about the set-up. Sign in again (aws sts get-caller-identity shows who you are), "
                "then run the command as it stands above."
            ),
            (),
        )
    is_refusal = error.is_refusal or "accessdenied" in codes
    if command == "assume-role" and is_refusal:
        return _assume_refused(error, values)
    if is_refusal and command:
        action = error.action or operation
        return (
            command,
            "unclear",
            _(
                "You yourself may not run this: %(action)s was refused to %(principal)s. It says nothing "
                "about the role. Run it as somebody who may, or leave it: our own test needs none of it.",
                action=shown(action, most=60),
                principal=shown(error.principal, most=120),
            )
            if error.principal
            else _(
                "You yourself may not run this: %(action)s was refused to you. It says nothing about the "
                "role. Run it as somebody who may, or leave it: our own test needs none of it.",
                action=shown(action, most=60),
            ),
            (),
        )
    if codes & {"nosuchentity", "notfound"} and command in MISTYPED:
        return _not_found(command, values)
    return _by_causes(error, command)


def _assume_refused(error: AwsError, values: Values) -> Judged:
    resource = error.resource.strip("\"'")
    role = values.access.role
    if resource and role and resource != str(role):
        return (
            "assume-role",
            "unclear",
            _(
                "This refuses %(resource)s, which is not your Role ARN %(role)s. Run the command as it stands above.",
                resource=shown(resource, most=160),
                role=role,
            ),
            (),
        )
    good = Point(
        "good",
        "assume_refused",
        _("AccessDenied is what a right set-up answers: the trust policy names our role, and you are somebody else."),
    )
    return (
        "assume-role",
        "good",
        _(
            "This is the good sign. It does not show that our role gets in: AWS answers the same when "
            "the role is missing or its trust policy is wrong, so run get-role too."
        ),
        (good,),
    )


def _not_found(command: str, values: Values) -> Judged:
    is_role = command in {"get-role", "simulate-principal-policy"}
    arn, step, what = (values.access.role, 2, _("Role ARN")) if is_role else (values.access.key, 1, _("CMK ARN"))
    where = _("You gave %(arn)s in step %(step)s.", arn=arn, step=step) if arn else ""
    point = Point(
        "bad",
        "not_found",
        " ".join(filter(None, (_(MISTYPED[command]), where))),
        _(
            "Check with aws sts get-caller-identity that you are in the right account. If you are, copy "
            "the %(what)s from the AWS console and give it again in step %(step)s.",
            what=what,
            step=step,
        )
        if is_role
        else _(
            "Check with aws sts get-caller-identity that you are in the right account, and that --region "
            "is the key’s. If you are, copy the %(what)s from the AWS console and give it again in step "
            "%(step)s.",
            what=what,
            step=step,
        ),
    )
    return command, "bad", _("One thing to mend."), (point,)


def _by_causes(error: AwsError, command: str) -> Judged:
    found = [label for label in parsing.causes_of(error) if label in causes.CAUSES and not label.startswith("our_")][
        :MOST_CAUSES
    ]
    if not found:
        return (
            command,
            "unclear",
            _(
                "We cannot read this error as one about the set-up. Run the command as it stands above; if "
                "it stays, send the whole message to Kore.ai support."
            ),
            (),
        )
    points = tuple(
        Point("bad" if len(found) == 1 else "unclear", label, advice.remedy_of(label, error)) for label in found
    )
    words = (
        _("One thing to mend.") if len(found) == 1 else _("AWS says the same for each of these, the likeliest first.")
    )
    return command, "bad" if len(found) == 1 else "unclear", words, points
