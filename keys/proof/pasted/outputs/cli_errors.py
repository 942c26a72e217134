"""What an error of a command of step 4 means:
whether it says something of the set-up, or of the person who ran it; pure."""

from __future__ import annotations

from typing import Literal

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
    "get-role": "There is no such role in the account that you asked.",
    "simulate-principal-policy": "There is no such role in the account that you asked.",
    "describe-key": "There is no such key in the account and Region that you asked.",
    "get-key-policy": "There is no such key in the account and Region that you asked.",
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
            (
                "This is about your shell: its credentials, its Region or the command itself. "
                "It says nothing about the set-up. Sign in again (aws sts get-caller-identity shows who you are), "
                "then run the command as it stands above."
            ),
            (),
        )
    is_refusal = error.is_refusal or "accessdenied" in codes
    if command == "assume-role" and is_refusal:
        return _assume_refused(error, values)
    if is_refusal and command:
        return (
            command,
            "unclear",
            (
                f"You yourself may not run this: {shown(error.action or operation, most=60)} was refused to "
                f"{shown(error.principal or 'you', most=120)}. It says nothing about the role. "
                "Run it as somebody who may, or leave it: our own test needs none of it."
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
            (
                f"This refuses {shown(resource, most=160)}, which is not your Role ARN {role}. "
                "Run the command as it stands above."
            ),
            (),
        )
    good = Point(
        "good",
        "assume_refused",
        "AccessDenied is what a right set-up answers: the trust policy names our role, and you are somebody else.",
    )
    return (
        "assume-role",
        "good",
        (
            "This is the good sign. It does not show that our role gets in: "
            "AWS answers the same when the role is missing or its trust policy is wrong, so run get-role too."
        ),
        (good,),
    )


def _not_found(command: str, values: Values) -> Judged:
    is_role = command in {"get-role", "simulate-principal-policy"}
    arn, step, what = (values.access.role, 2, "Role ARN") if is_role else (values.access.key, 1, "CMK ARN")
    where = f" You gave {arn} in step {step}." if arn else ""
    point = Point(
        "bad",
        "not_found",
        MISTYPED[command] + where,
        (
            "Check with aws sts get-caller-identity that you are in the right "
            f"account{'' if is_role else ', and that --region is the key’s'}. "
            f"If you are, copy the {what} from the AWS console and give it again in step {step}."
        ),
    )
    return command, "bad", "One thing to mend.", (point,)


def _by_causes(error: AwsError, command: str) -> Judged:
    found = [label for label in parsing.causes_of(error) if label in causes.CAUSES and not label.startswith("our_")][
        :MOST_CAUSES
    ]
    if not found:
        return (
            command,
            "unclear",
            (
                "We cannot read this error as one about the set-up. Run the command as it stands above; "
                "if it stays, send the whole message to Kore.ai support."
            ),
            (),
        )
    points = tuple(
        Point("bad" if len(found) == 1 else "unclear", label, advice.remedy_of(label, error)) for label in found
    )
    words = "One thing to mend." if len(found) == 1 else "AWS says the same for each of these, the likeliest first."
    return command, "bad" if len(found) == 1 else "unclear", words, points
