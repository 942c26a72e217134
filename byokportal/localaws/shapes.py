"""Parameters of a request in the types of AWS's own model: others are refused, unknown ones are not there."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

from botocore.model import Shape

from byokportal.localaws import operations
from byokportal.localaws.errors import AwsError

KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "blob": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "timestamp": (int, float),
    "list": (list,),
    "map": (dict,),
    "structure": (dict,),
}
HIGHEST = {"integer": 2**31 - 1, "long": 2**63 - 1}
INTEGER = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)
SURROGATE = re.compile("[\ud800-\udfff]")
Form = Mapping[str, Any]  # a query's fields as a tree: `Tags.member.1.Key` is four levels


def typed(service: str, operation: str, given: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of an operation of the JSON protocol that AWS knows.

    Raises:
        AwsError: UnknownOperationException, or SerializationException where a value is of another type.
    """
    shape = operations.of(service, operation).input_shape
    return _checked(shape, given) if shape is not None else {}  # type: ignore[no-any-return]


def _checked(shape: Any, given: object) -> Any:
    kind = shape.type_name
    if not isinstance(given, KINDS[kind]) or (isinstance(given, bool) and kind != "boolean"):
        raise AwsError("SerializationException", "")
    value: Any = given
    match kind:
        case "structure":
            members: dict[str, Shape] = shape.members
            return {
                name: _checked(members[name], each)
                for name, each in value.items()
                if name in members and each is not None
            }
        case "list":
            return [_checked(shape.member, each) for each in value]
        case "map":
            return {_checked(shape.key, name): _checked(shape.value, each) for name, each in value.items()}
        case "blob":
            if _decoded(value) is None:
                raise AwsError("SerializationException", "")
        case "string":
            if not value.isascii() and SURROGATE.search(value):
                raise AwsError("SerializationException", "")
        case "integer" | "long":
            if abs(value) > HIGHEST[kind]:
                raise AwsError("SerializationException", "")
    return value


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def size_of(kind: str, value: Any) -> int:
    """Return what AWS counts of a value: the bytes of a blob, the characters of a text, the members of a list."""
    return len(_decoded(value) or b"") if kind == "blob" else len(value)


# --- the query protocol -------------------------------------------------------------------------------------------


def of_form(service: str, operation: str, fields: Mapping[str, str]) -> dict[str, Any]:
    """Return the parameters of an operation of the query protocol.

    Raises:
        AwsError: InvalidAction, or MalformedInput where a value is of another type.
    """
    shape = operations.of(service, operation).input_shape
    if shape is None:
        return {}
    tree: dict[str, Any] = {}
    for name, value in fields.items():
        *parts, last = name.split(".", 12)
        if (parts or [last])[0] not in shape.members:
            continue
        level = tree
        for part in parts:
            inner = level.setdefault(part, {})
            level = inner if isinstance(inner, dict) else {}
        level.setdefault(last, value)
    return _of_tree(shape, tree) or {}


def _of_tree(shape: Any, found: Any) -> Any:
    """Return the value of a shape; None when it is not there."""
    kind = shape.type_name
    if kind in ("structure", "list"):
        if not isinstance(found, dict):
            if found:
                raise AwsError("MalformedInput", "Top level element may not be treated as a list")
            return [] if kind == "list" else {}
        if kind == "structure":
            each = {name: _of_tree(member, found[name]) for name, member in shape.members.items() if name in found}
            return {name: value for name, value in each.items() if value is not None}
        return [_of_tree(shape.member, entry) for entry in _numbered(found)]
    return None if isinstance(found, dict) else _scalar(kind, found)


def _numbered(found: Form) -> list[Any]:
    entries = found.get("member")
    if not isinstance(entries, dict):
        return []
    if not all(re.fullmatch(r"[0-9]{1,6}", number, re.ASCII) for number in entries):
        raise AwsError("MalformedInput", "Key is not a number")
    return [entries[number] for number in sorted(entries, key=int)]


def _scalar(kind: str, text: str) -> Any:
    match kind:
        case "boolean":
            if text.lower() not in ("true", "false"):
                raise AwsError("MalformedInput", f"Unexpected value '{text[:80]}' for a boolean")
            return text.lower() == "true"
        case "integer" | "long":
            if not INTEGER.fullmatch(text) or abs(int(text)) > HIGHEST[kind]:
                raise AwsError("MalformedInput", f"Unexpected value '{text[:80]}' for a number")
            return int(text)
        case "blob":
            if _decoded(text) is None:
                raise AwsError("MalformedInput", "Unexpected value for a blob")
    return text


def to_form(given: Mapping[str, Any]) -> dict[str, str]:
    """Return parameters as fields of a query, in the one way that there is to write them."""
    fields: dict[str, str] = {}
    for name, value in given.items():
        _flatten(name, value, fields)
    return fields


def _flatten(prefix: str, value: Any, fields: dict[str, str]) -> None:
    if isinstance(value, dict):
        for name, each in value.items():
            _flatten(f"{prefix}.{name}", each, fields)
    elif isinstance(value, list):
        for number, each in enumerate(value, 1):
            _flatten(f"{prefix}.member.{number}", each, fields)
    elif value is not None:
        fields[prefix] = str(value).lower() if isinstance(value, bool) else str(value)
