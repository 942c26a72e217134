"""What the weather does to a call on the wire, before AWS has looked at it."""

from __future__ import annotations

import time

from byokportal.localaws.errors import AwsError
from byokportal.localaws.weather import DELAYS, Call, Weather
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
AT_ONCE = {*DELAYS, "key-state"}  # these are looked at where they matter, not here


def suffer(weather: Weather, asked: Asked, account: str) -> float:
    """Let a call meet the rules that stand.

    Returns:
        The seconds by which AWS's clock is ahead.

    Raises:
        AwsError: throttled, or an error of AWS's own.
        ConnectionResetError: the connection is to be reset.
    """
    target = asked.form.get("RoleArn") or _key(asked)
    accounts = tuple({account, evaluator.account_of(target)} - {""})
    call = Call(asked.service, asked.operation, accounts, _key(asked))
    ahead = 0.0
    for rule in weather.met(call, wanted=lambda fault: fault not in AT_ONCE):
        value = float(rule.value)
        match rule.fault:
            case "clock":
                ahead += value
            case "latency":
                time.sleep(value)
            case "timeout":
                time.sleep(value)
                raise ConnectionResetError("the weather")
            case "reset":
                raise ConnectionResetError("the weather")
            case "throttling":
                code, words = THROTTLED.get(asked.service, ("Throttling", "Rate exceeded"))
                raise AwsError(code, words, status=400)
            case "error":
                raise AwsError(
                    FAILED.get(asked.service, "InternalFailure"),
                    "The request failed because of an internal error.",
                    status=int(value),
                )
    return ahead


def _key(asked: Asked) -> str:
    for field in ("KeyId", "SourceKeyId", "DestinationKeyId", "TargetKeyId"):
        if isinstance(asked.given.get(field), str):
            return str(asked.given[field])
    return ""
