"""What AWS's own model says of a parameter beside its type: there at all, how long, how large, of which letters, one of
which; refused in the words in which AWS's services answer (sources: `tests/localaws/conformance/shape_rows.py`)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from byokportal.localaws import operations, shapes
from byokportal.localaws.errors import AwsError

CODE = {"kms": "ValidationException", "cloudtrail": "ValidationException", "sts": "ValidationError"}
SPACES = r" \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"  # Unicode's category Z
SHOWN = 1_000  # characters of a value that a message repeats
# IAM has sentences of its own for names, paths and policies.
IAM_WORDS = {
    "[\\w+=,.@-]+": "It must contain only alphanumeric characters and/or the following: +=,.@_-",
    "[\\w+=,.@-]*": "It must contain only alphanumeric characters and/or the following: +=,.@_-",
    "[\\u0009\\u000A\\u000D\\u0020-\\u00FF]+": "It must contain only printable ASCII characters.",
    "(\\u002F)|(\\u002F[\\u0021-\\u007E]+\\u002F)": (
        "It must begin and end with / and contain only alphanumeric characters and/or / characters."
    ),
}


def check(service: str, operation: str, given: dict[str, Any]) -> None:
    """Refuse parameters that the model does not take.

    Args:
        given: of the right types (`shapes`).

    Raises:
        AwsError: ValidationException (KMS) or ValidationError (IAM, STS), with every mistake in it.
    """
    shape = operations.of(service, operation).input_shape
    if shape is None:
        return
    found = list(_members(service, shape, given, ""))
    if not found:
        return
    if service == "iam" and found[0].startswith("The specified value"):
        raise AwsError("ValidationError", found[0])
    plural = "s" if len(found) > 1 else ""
    words = f"{len(found)} validation error{plural} detected: {'; '.join(found)}"
    raise AwsError(CODE.get(service, "ValidationError"), words)


def _members(service: str, shape: Any, given: dict[str, Any], path: str) -> Iterator[str]:
    for name in shape.required_members:
        if given.get(name) is None:
            yield _failed(service, f"{path}{_lower(name)}", None, "Member must not be null")
    members = shape.members
    for name, value in given.items():
        if value is not None:
            yield from _value(service, members[name], value, f"{path}{_lower(name)}")


def _value(service: str, shape: Any, value: Any, path: str) -> Iterator[str]:
    kind = shape.type_name
    for words in _of_shape(shape, value):
        yield _failed(service, path, value, words, shape)
    if kind == "structure":
        yield from _members(service, shape, value, f"{path}.")
    elif kind == "map":
        for each in value.values():
            yield from _value(service, shape.value, each, f"{path}.value")
    elif kind == "list":
        yield from _entries(service, shape.member, value, path)


def _entries(service: str, member: Any, values: list[Any], path: str) -> Iterator[str]:
    if member.type_name == "structure":
        for number, each in enumerate(values, 1):
            yield from _value(service, member, {} if each is None else each, f"{path}.{number}.member")
        return
    # The members of a list of texts are not named: the list is, with all that is wanted of a member.
    failed = list(dict.fromkeys(words for each in values for words in _of_shape(member, each)))
    if failed:
        yield _failed(service, path, values, f"Member must satisfy constraint: [{', '.join(failed)}]", member)


def _of_shape(shape: Any, value: Any) -> Iterator[str]:
    """Yield what is wanted of a value and not so."""
    facts, kind = shape.metadata, shape.type_name
    if value is None:
        yield "Member must not be null"
        return
    if "enum" in facts and value not in facts["enum"]:
        yield f"Member must satisfy enum value set: [{', '.join(facts['enum'])}]"
    if "pattern" in facts and isinstance(value, str) and not _pattern(facts["pattern"]).fullmatch(value):
        yield f"Member must satisfy regular expression pattern: {facts['pattern']}"
    if "min" in facts or "max" in facts:
        size, counted = (value, "value") if kind in ("integer", "long") else (shapes.size_of(kind, value), "length")
        if size < facts.get("min", size):
            yield f"Member must have {counted} greater than or equal to {facts['min']}"
        if size > facts.get("max", size):
            yield f"Member must have {counted} less than or equal to {facts['max']}"


@cache
def _pattern(text: str) -> re.Pattern[str]:
    """Return a pattern of the model, which is Java's: its \\w is ASCII, and its \\p{L} is not."""
    if "\\p{" in text:
        text = text.replace("\\p{L}", "\\w").replace("\\p{N}", "").replace("\\p{Z}", SPACES)
        return re.compile(text)
    return re.compile(text.replace("\\u10000-\\u10FFFF", "\\U00010000-\\U0010FFFF"), re.ASCII)


def _failed(service: str, path: str, value: Any, words: str, shape: Any = None) -> str:
    """Return the sentence of one mistake; `shape` is None for a member that is not there."""
    if service != "iam":
        return f"Value {_shown(value, shape)}at '{path}' failed to satisfy constraint: {words}"
    if "regular expression" in words and shape.metadata.get("pattern") in IAM_WORDS:
        return f"The specified value for {path} is invalid. {IAM_WORDS[shape.metadata['pattern']]}"
    return f"Value at '{path}' failed to satisfy constraint: {words.partition(':')[0] if 'enum' in words else words}"


def _shown(value: Any, shape: Any) -> str:
    """Return a value as a message repeats it, with a blank behind; what is to be kept secret is not repeated."""
    if value is None:
        return "null "
    if shape.type_name == "blob" or shape.metadata.get("sensitive"):
        return ""
    text = f"[{', '.join(map(str, value))}]" if isinstance(value, list) else str(value)
    return f"'{text[:SHOWN]}' "


def _lower(name: str) -> str:
    return name[0].lower() + name[1:]
