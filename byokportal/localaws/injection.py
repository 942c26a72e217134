"""What faults do to a call on the wire: before AWS has looked at it, and to the answer on its way back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from byokportal.localaws.errors import AwsError
from byokportal.localaws.faults import DELAYS, Call, Faults
from byokportal.localaws.wire import Asked
from keys.policies import evaluator

THROTTLED = {
    "kms": (
        "ThrottlingException",
        "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls.",
    ),
    "cloudtrail": ("ThrottlingException", "Rate exceeded"),
}
FAILED = {
    "kms": "KMSInternalException",
    "iam": "ServiceFailure",
    "sts": "InternalFailure",
    "cloudtrail": "InternalFailure",
}
PROXYS = b"<!DOCTYPE html><html><body><h1>Welcome to the guest network</h1></body></html>"  # no answer of AWS's
AT_ONCE = {*DELAYS, "key-state"}  # these are looked at where they matter, not here


@dataclass(frozen=True, slots=True)
class Met:
    """What a call met that AWS does answer: seconds by which its clock is ahead, and what becomes of the answer."""

    ahead: float = 0.0
    spoils: str = ""  # "garbage", "cut" or nothing


def suffer(faults: Faults, asked: Asked, account: str) -> Met:
    """Let a call meet the rules that stand.

    Raises:
        AwsError: throttled, an error of AWS's own, or the code that the rule gives.
        ConnectionResetError: the connection is to be reset.
    """
    target = asked.form.get("RoleArn") or _key(asked)
    accounts = tuple({account, evaluator.account_of(target)} - {""})
    call = Call(asked.service, asked.operation, accounts, _key(asked))
    ahead, spoils = 0.0, ""
    cleared = faults.until_cleared()
    for rule in faults.met(call, wanted=lambda fault: fault not in AT_ONCE):
        if rule.fault == "code":
            status = 400 if asked.is_json else 403
            raise AwsError(str(rule.value), "What AWS says about it stands here.", status=status)
        value = float(rule.value)
        match rule.fault:
            case "garbage" | "cut":
                spoils = rule.fault
            case "clock":
                ahead += value
            case "latency":
                cleared.wait(value)
            case "timeout":
                cleared.wait(value)
                raise ConnectionResetError("a fault")
            case "reset":
                raise ConnectionResetError("a fault")
            case "throttling":
                code, words = THROTTLED.get(asked.service, ("Throttling", "Rate exceeded"))
                raise AwsError(code, words, status=400)
            case "error":
                raise AwsError(
                    FAILED.get(asked.service, "InternalFailure"),
                    "The request failed because of an internal error.",
                    status=int(value),
                )
    return Met(ahead, spoils)


def half(body: bytes) -> Iterator[bytes]:
    """Yield half of an answer, then break off: whoever reads sees the end of the connection."""
    yield body[: len(body) // 2]
    raise ConnectionAbortedError("a fault")


def _key(asked: Asked) -> str:
    for field in ("KeyId", "SourceKeyId", "DestinationKeyId", "TargetKeyId"):
        if isinstance(asked.given.get(field), str):
            return str(asked.given[field])
    return ""
