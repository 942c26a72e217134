"""The Condition block of a policy: every operator that AWS documents; pure.

Source: IAM guide, "IAM JSON policy elements: Condition operators" and "… with multiple context keys or values".
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from keys import arns


@dataclass(frozen=True, slots=True)
class Unseen:
    """The value of a context key that whoever asks cannot know.

    Args:
        possible: what it may be, None for a key that is not in the request; empty when it may be anything.
    """

    possible: tuple[tuple[str, ...] | None, ...] = ()


Context = Mapping[str, str | Sequence[str] | Unseen]


class Folded(dict[str, str | Sequence[str] | Unseen]):
    """A context whose names are in small letters, and which is not changed: each name is looked up once, and each
    Condition block of a policy is judged once, however many of its statements and calls are asked about."""

    __slots__ = ("_judged",)

    def __init__(self, *items: Any) -> None:
        super().__init__(*items)
        self._judged: dict[tuple[int, bool], tuple[object, bool | None]] = {}

    def judge(self, condition: object, *, variables: bool) -> bool | None:
        """Return what `judge` does; the block is kept, so that its identity stays its own."""
        name = (id(condition), variables)
        if name not in self._judged:
            self._judged[name] = (condition, judge(condition, self, variables=variables))
        return self._judged[name][1]

    @classmethod
    def of(cls, *contexts: Context) -> Folded:
        """Return several contexts as one; a later one counts where two have the same key."""
        return cls((name.lower(), value) for context in contexts for name, value in context.items())


VARIABLE = re.compile(r"\$\{([^}]*)\}")
SHORT = 256  # characters of a pattern that is remembered: longer than any action and most ARNs
MOST_IMAGINED = 3  # values of one condition that are tried of a key that is not seen
LITERAL = {"*", "?", "$"}  # `${*}` is a star that is no wildcard
NUMBER = re.compile(r"[+-]?[0-9]{1,30}(\.[0-9]{1,30})?", re.ASCII)
EPOCH = re.compile(r"[0-9]{1,15}(\.[0-9]{1,9})?", re.ASCII)
W3C_DATE = re.compile(  # IAM guide, "Date condition operators": the W3C forms of ISO 8601
    (
        r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})(-"
        r"(?P<day>[0-9]{2})(T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?(Z|[+-][0-9]{2}:?[0-9]{2})?)?)?"
    ),
    re.ASCII,
)


def glob(text: str, *, ignore_case: bool = False) -> re.Pattern[str]:
    """Return the pattern of a policy's wildcards: `*` spans anything, `/` and `:` included, `?` is one character."""
    if len(text) > SHORT:  # the text is a caller's: thousands of long ones would fill the memory
        return _compiled(_wild(text), ignore_case=ignore_case)
    return _short(text, ignore_case)


@lru_cache(maxsize=4096)
def _short(text: str, ignore_case: bool) -> re.Pattern[str]:
    return _compiled(_wild(text), ignore_case=ignore_case)


def pattern(text: str, context: Context, *, variables: bool = True) -> re.Pattern[str] | None:
    """Return the pattern of a text with wildcards and policy variables; what a variable stands for is taken literally.

    Args:
        variables: False in a policy of Version 2008-10-17, where `${…}` is plain text.

    Returns:
        None when a variable has no value: nothing matches then.
    """
    if not variables or "${" not in text:
        return glob(text)
    parts: list[str] = []
    at = 0
    for match in VARIABLE.finditer(text):
        value = _value(match[1], context)
        if value is None:
            return None
        parts += [*_wild(text[at : match.start()]), re.escape(value)]
        at = match.end()
    return _compiled([*parts, *_wild(text[at:])])


STAR = "*"


def _wild(text: str) -> list[str]:
    """Return a text as pieces of a pattern, with `STAR` where anything may stand."""
    return [sign if sign == STAR else "." if sign == "?" else re.escape(sign) for sign in text]


def _compiled(pieces: Sequence[str], *, ignore_case: bool = False) -> re.Pattern[str]:
    """Compile pieces so that matching takes time in proportion to pattern and text, whatever a stranger writes.

    What stands between two stars is taken at its first place and never looked for again (an atomic group), as
    `fnmatch` does it: with plain `.*` a policy of forty stars would keep us busy for years.
    """
    fixed: list[str] = [""]
    for piece in pieces:
        if piece == STAR:
            fixed.append("")
        else:
            fixed[-1] += piece
    first, *rest = fixed
    between = "".join(f"(?>.*?{part})" for part in rest[:-1] if part)
    text = first + between + (".*" + rest[-1] if rest else "")
    # ASCII: a Kelvin sign is no k
    return re.compile(text, re.ASCII | re.DOTALL | (re.IGNORECASE if ignore_case else 0))


def substitute(text: str, context: Context, *, variables: bool = True) -> str | None:
    """Fill in policy variables (`${aws:username}`, `${*}`, `${key, 'default'}`); None when one has no value."""
    if not variables or "${" not in text:
        return text
    missing = False

    def value(match: re.Match[str]) -> str:
        nonlocal missing
        found = _value(match[1], context)
        missing = missing or found is None
        return found or ""

    filled = VARIABLE.sub(value, text)
    return None if missing else filled


def _value(inside: str, context: Context) -> str | None:
    """Return what stands for `${inside}`; a variable with several values or none has its default or nothing."""
    if inside in LITERAL:
        return inside
    name, comma, default = inside.partition(",")
    found = lookup(context, name.strip())
    if found is not None and len(found) == 1:
        return found[0]
    if isinstance(_raw(context, name.strip()), Unseen):
        return None
    return default.strip().removeprefix("'").removesuffix("'") if comma else None


def lookup(context: Context, name: str) -> list[str] | None:
    """Return the values of a context key (names are not case-sensitive), None when it is not in the request."""
    found = _raw(context, name)
    if found is None or isinstance(found, Unseen):
        return None
    return [found] if isinstance(found, str) else [str(value) for value in found]


def _raw(context: Context, name: str) -> str | Sequence[str] | Unseen | None:
    if isinstance(context, Folded):
        return context.get(name.lower())
    found = context.get(name)
    if found is None:
        wanted = name.lower()
        found = next((value for key, value in context.items() if key.lower() == wanted), None)
    return found


def holds(condition: object, context: Context, *, variables: bool = True) -> bool:
    """Tell whether every operator and every key of a Condition block is met; a block that cannot be read is not."""
    return judge(condition, context, variables=variables) is True


def judge(condition: object, context: Context, *, variables: bool = True) -> bool | None:
    """Return whether a Condition block is met; None when that hangs on a context key that is `Unseen`."""
    if not isinstance(condition, Mapping):
        return False
    answer: bool | None = True
    for operator, keys in condition.items():
        if not isinstance(keys, Mapping):
            return False
        for key, values in keys.items():
            met = _judged(str(operator), str(key), values, context, variables)
            if met is False:
                return False
            answer = None if met is None else answer
    return answer


def hangs_on_unseen(text: str, context: Context, *, variables: bool = True) -> bool:
    """Tell whether a text holds a policy variable whose value is `Unseen`."""
    return (
        variables
        and "${" in text
        and any(
            isinstance(_raw(context, inside.partition(",")[0].strip()), Unseen) for inside in VARIABLE.findall(text)
        )
    )


def readable(condition: object) -> bool:
    """Tell whether a Condition block is one: known operators over keys with values."""
    return isinstance(condition, Mapping) and all(
        isinstance(keys, Mapping) and _operator(str(operator)) is not None for operator, keys in condition.items()
    )


def texts(values: object) -> list[str]:
    """Return the values of a condition key in a policy as text: JSON's true, false and numbers count as such."""
    return [
        str(value).lower() if isinstance(value, bool) else str(value)
        for value in (values if isinstance(values, list | tuple) else [values])
    ]


def _operator(operator: str) -> tuple[str, str, bool] | None:
    """Split an operator into quantifier, name and …IfExists; None when AWS has none of that name."""
    quantifier, _, rest = operator.rpartition(":")
    quantifier, name = quantifier.lower(), rest.lower()
    if quantifier not in {"", "forallvalues", "foranyvalue"}:
        return None
    if name == "null":
        return (quantifier, name, False)
    if_exists = name.endswith("ifexists")
    name = name.removesuffix("ifexists")
    return (quantifier, name, if_exists) if name in OPERATORS else None


def _judged(operator: str, key: str, values: object, context: Context, variables: bool) -> bool | None:
    """Return whether one condition is met; of an unseen key, whether it is in every case that there may be."""
    known = _operator(operator)
    if known is None:
        return False
    wanted, raw = texts(values), _raw(context, key)
    if any("${" in each for each in wanted) and any(
        hangs_on_unseen(each, context, variables=variables) for each in wanted
    ):
        return None
    if not isinstance(raw, Unseen):
        found = None if raw is None else [raw] if isinstance(raw, str) else [str(value) for value in raw]
        return _met(known, wanted, found, context, variables)
    cases = raw.possible or _imagined(known[1], wanted)
    answers = {_met(known, wanted, None if each is None else list(each), context, variables) for each in cases}
    return answers.pop() if len(answers) == 1 else None


def _imagined(name: str, wanted: Sequence[str]) -> tuple[tuple[str, ...] | None, ...]:
    """Return values that show whether a condition can be met and can be missed, of a key that may hold anything."""
    if name == "null" or not name.startswith(("string", "arn")):
        return ()
    likely = [each.replace("*", "x").replace("?", "x") for each in wanted if "${" not in each][:MOST_IMAGINED]
    return (None, ("\0",), *((each,) for each in likely))


def _met(
    known: tuple[str, str, bool], wanted: Sequence[str], found: list[str] | None, context: Context, variables: bool
) -> bool:
    quantifier, name, if_exists = known
    # With a quantifier and under Null a key whose values are all empty counts as missing (IAM guide, "ForAllValues").
    empty = not found or not any(found)
    if name == "null":
        return any(empty == (value.lower() == "true") for value in wanted)
    compare, negated = OPERATORS[name]
    if not found or (quantifier and empty):
        # A missing key: …IfExists and ForAllValues are met, and so is a negated operator; ForAnyValue is not.
        if quantifier == "forallvalues":
            return True
        if quantifier == "foranyvalue":
            return if_exists
        return if_exists or negated

    def one(value: str) -> bool:
        results = [compare(value, each, context, variables) for each in wanted]
        return not any(result is None or result for result in results) if negated else any(results)

    if quantifier == "foranyvalue":
        return any(one(value) for value in found)
    return all(one(value) for value in found)


# None: a variable in the policy has no value.
# The condition is not met then, negated or not (IAM guide, "Policy variables").
Compare = Callable[[str, str, Context, bool], bool | None]


def _filled(compare: Callable[[str, str], bool]) -> Compare:
    """Compare with the text of the policy after its variables are filled in."""

    def check(value: str, wanted: str, context: Context, variables: bool) -> bool | None:
        text = substitute(wanted, context, variables=variables)
        return None if text is None else compare(value, text)

    return check


def _number(compare: Callable[[Decimal, Decimal], bool]) -> Compare:
    def check(value: str, wanted: str, context: Context, variables: bool) -> bool:
        return bool(NUMBER.fullmatch(value) and NUMBER.fullmatch(wanted)) and compare(Decimal(value), Decimal(wanted))

    return check


def _date(compare: Callable[[datetime, datetime], bool]) -> Compare:
    def check(value: str, wanted: str, context: Context, variables: bool) -> bool:
        left, right = _moment(value), _moment(wanted)
        return left is not None and right is not None and compare(left, right)

    return check


def _moment(text: str) -> datetime | None:
    try:
        if EPOCH.fullmatch(text):
            return datetime.fromtimestamp(float(text), UTC)
        match = W3C_DATE.fullmatch(text)
        if match is None:
            return None
        found = datetime.fromisoformat(text if match["day"] else f"{text}-01")
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _like(value: str, wanted: str, context: Context, variables: bool) -> bool | None:
    made = pattern(wanted, context, variables=variables)
    return None if made is None else made.fullmatch(value) is not None


def _arn_like(value: str, wanted: str, context: Context, variables: bool) -> bool | None:
    """Compare ARNs part by part: a wildcard does not reach over the first five colons."""
    # A variable may hold colons (`${kms:EncryptionContext:x}`): they do not part the ARN.
    hidden = VARIABLE.sub(lambda match: match[0].replace(":", "\0"), wanted)
    left, right = arns.parts(value), arns.parts(hidden)
    if left is None or right is None:
        return False
    alike = [_like(part, each.replace("\0", ":"), context, variables) for part, each in zip(left, right, strict=True)]
    return None if None in alike else all(alike)


def _ip(value: str, wanted: str) -> bool:
    try:
        return ipaddress.ip_address(value) in ipaddress.ip_network(wanted, strict=False)
    except ValueError:
        return False


def _binary(value: str, wanted: str) -> bool:
    try:
        return base64.b64decode(value, validate=True) == base64.b64decode(wanted, validate=True)
    except (binascii.Error, ValueError):
        return False


_equal = _filled(lambda value, wanted: value == wanted)
_equal_in_any_case = _filled(lambda value, wanted: value.lower() == wanted.lower())
_in_network = _filled(_ip)

# Operator (small letters, without …IfExists) → comparison of one value with one wanted value,
# and whether it is negated.
OPERATORS: dict[str, tuple[Compare, bool]] = {
    "stringequals": (_equal, False),
    "stringnotequals": (_equal, True),
    "stringequalsignorecase": (_equal_in_any_case, False),
    "stringnotequalsignorecase": (_equal_in_any_case, True),
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
    "bool": (_equal_in_any_case, False),
    "binaryequals": (_filled(_binary), False),
    "ipaddress": (_in_network, False),
    "notipaddress": (_in_network, True),
}
