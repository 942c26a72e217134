"""The Condition block of a policy: every operator that AWS documents; pure.

Source: IAM guide, "IAM JSON policy elements: Condition operators" and "… with multiple context keys or values".
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache

Context = Mapping[str, str | Sequence[str]]
VARIABLE = re.compile(r"\$\{([^}]*)\}")


@lru_cache(maxsize=4096)
def glob(pattern: str, *, ignore_case: bool = False) -> re.Pattern[str]:
    """Return the pattern of a policy's wildcards: `*` spans anything, `/` and `:` included, `?` is one character."""
    text = "".join(".*" if sign == "*" else "." if sign == "?" else re.escape(sign) for sign in pattern)
    return re.compile(text, re.DOTALL | (re.IGNORECASE if ignore_case else 0))


def substitute(text: str, context: Context) -> str | None:
    """Fill in policy variables (`${aws:username}`, `${*}`, `${key, 'default'}`); None when one has no value."""
    if "${" not in text:
        return text
    missing = False

    def value(match: re.Match[str]) -> str:
        nonlocal missing
        name, _, default = match[1].partition(",")
        if name in {"*", "?", "$"}:
            return name
        found = lookup(context, name.strip())
        if found is None or len(found) != 1:
            if default:
                return default.strip().strip("'")
            missing = True
            return ""
        return found[0]

    filled = VARIABLE.sub(value, text)
    return None if missing else filled


def lookup(context: Context, name: str) -> list[str] | None:
    """Return the values of a context key (names are not case-sensitive), None when it is not in the request."""
    found = context.get(name)
    if found is None:
        wanted = name.lower()
        found = next((value for key, value in context.items() if key.lower() == wanted), None)
    if found is None:
        return None
    return [found] if isinstance(found, str) else [str(value) for value in found]


def holds(condition: object, context: Context) -> bool:
    """Tell whether every operator and every key of a Condition block is met; a block that cannot be read is not."""
    if not isinstance(condition, Mapping):
        return False
    return all(
        isinstance(keys, Mapping)
        and all(_met(str(operator), str(key), values, context) for key, values in keys.items())
        for operator, keys in condition.items()
    )


def _met(operator: str, key: str, values: object, context: Context) -> bool:
    wanted = [
        str(v).lower() if isinstance(v, bool) else str(v)
        for v in (values if isinstance(values, list | tuple) else [values])
    ]
    found = lookup(context, key)
    quantifier, _, rest = operator.rpartition(":")
    quantifier, name = quantifier.lower(), rest.lower()
    if name == "null":
        return (found is None) == (wanted[0].lower() == "true") if wanted else False
    if_exists = name.endswith("ifexists")
    name = name.removesuffix("ifexists")
    if name not in OPERATORS:
        return False
    compare, negated = OPERATORS[name]
    if found is None or (not found and quantifier):
        # A missing key: …IfExists and ForAllValues are met, and so is a negated operator; ForAnyValue is not.
        if quantifier == "forallvalues":
            return True
        if quantifier == "foranyvalue":
            return if_exists
        return if_exists or negated

    def one(value: str) -> bool:
        hit = any((filled := substitute(pattern, context)) is not None and compare(value, filled) for pattern in wanted)
        return hit != negated

    if quantifier == "foranyvalue":
        return any(one(value) for value in found)
    return all(one(value) for value in found)


def _number(compare: Callable[[float, float], bool]) -> Callable[[str, str], bool]:
    def check(value: str, wanted: str) -> bool:
        try:
            return compare(float(value), float(wanted))
        except ValueError:
            return False

    return check


def _date(compare: Callable[[datetime, datetime], bool]) -> Callable[[str, str], bool]:
    def check(value: str, wanted: str) -> bool:
        left, right = _moment(value), _moment(wanted)
        return left is not None and right is not None and compare(left, right)

    return check


def _moment(text: str) -> datetime | None:
    try:
        if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text, re.ASCII):
            return datetime.fromtimestamp(float(text), UTC)
        found = datetime.fromisoformat(text.replace("Z", "+00:00"))
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _like(value: str, pattern: str) -> bool:
    return glob(pattern).fullmatch(value) is not None


def _arn_like(value: str, pattern: str) -> bool:
    """Compare ARNs part by part: a wildcard does not reach over the first five colons."""
    left, right = value.split(":", 5), pattern.split(":", 5)
    return len(left) == len(right) and all(_like(part, wanted) for part, wanted in zip(left, right, strict=True))


def _ip(value: str, wanted: str) -> bool:
    try:
        return ipaddress.ip_address(value) in ipaddress.ip_network(wanted, strict=False)
    except ValueError:
        return False


def _binary(value: str, wanted: str) -> bool:
    try:
        return base64.b64decode(value, validate=True) == base64.b64decode(wanted, validate=True)
    except binascii.Error:
        return False


# Operator (small letters, without …IfExists) → comparison of one value with one wanted value, and whether it is negated.
OPERATORS: dict[str, tuple[Callable[[str, str], bool], bool]] = {
    "stringequals": (lambda value, wanted: value == wanted, False),
    "stringnotequals": (lambda value, wanted: value == wanted, True),
    "stringequalsignorecase": (lambda value, wanted: value.lower() == wanted.lower(), False),
    "stringnotequalsignorecase": (lambda value, wanted: value.lower() == wanted.lower(), True),
    "stringlike": (_like, False),
    "stringnotlike": (_like, True),
    "arnequals": (_arn_like, False),  # AWS: ArnEquals and ArnLike behave alike
    "arnlike": (_arn_like, False),
    "arnnotequals": (_arn_like, True),
    "arnnotlike": (_arn_like, True),
    "numericequals": (_number(lambda a, b: a == b), False),
    "numericnotequals": (_number(lambda a, b: a == b), True),
    "numericlessthan": (_number(lambda a, b: a < b), False),
    "numericlessthanequals": (_number(lambda a, b: a <= b), False),
    "numericgreaterthan": (_number(lambda a, b: a > b), False),
    "numericgreaterthanequals": (_number(lambda a, b: a >= b), False),
    "dateequals": (_date(lambda a, b: a == b), False),
    "datenotequals": (_date(lambda a, b: a == b), True),
    "datelessthan": (_date(lambda a, b: a < b), False),
    "datelessthanequals": (_date(lambda a, b: a <= b), False),
    "dategreaterthan": (_date(lambda a, b: a > b), False),
    "dategreaterthanequals": (_date(lambda a, b: a >= b), False),
    "bool": (lambda value, wanted: value.lower() == wanted.lower(), False),
    "binaryequals": (_binary, False),
    "ipaddress": (_ip, False),
    "notipaddress": (_ip, True),
}
