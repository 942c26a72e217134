"""The bodies of requests for data keys, read by hand: one item or `items`, strict, and as cheap as it is short.

A serializer takes longer for this than making the key does. What is taken here is what `GenerateIn` and `OpenIn` of
`keys.datakeys.http.serializers` describe in the OpenAPI; a test feeds both the same bodies.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any, TypeVar

from byokportal.errors import InvalidInput
from keys.datakeys import Context
from keys.datakeys.http.serializers import MAX_BLOB, MAX_ITEMS

Wrapped = tuple[bytes, Context]
Item = TypeVar("Item")


def contexts(body: dict[str, Any]) -> list[Context]:
    """Return the context of each data key to make.

    Raises:
        InvalidInput: with what is wrong, by field.
    """
    return _each(body, _context, {"context"})


def wrapped(body: dict[str, Any]) -> list[Wrapped]:
    """Return each wrapped key to open or move, with its context.

    Raises:
        InvalidInput: with what is wrong, by field.
    """
    return _each(body, _wrapped, {"context", "wrapped_key"})


def _each(body: dict[str, Any], read: Callable[[dict[str, Any], str], Item], names: set[str]) -> list[Item]:
    if "items" not in body:
        _check_names(body, names, "")
        return [read(body, "")]
    if len(body) > 1:
        raise _wrong("items", "Give items, or one item, not both.")
    items = body["items"]
    if not isinstance(items, list) or not 1 <= len(items) <= MAX_ITEMS:
        raise _wrong("items", f"Give 1 to {MAX_ITEMS} items.")
    found = []
    for number, item in enumerate(items):
        if not isinstance(item, dict):
            raise _wrong(f"items.{number}", "This has to be an object.")
        _check_names(item, names, f"items.{number}.")
        found.append(read(item, f"items.{number}."))
    return found


def _check_names(item: dict[str, Any], names: set[str], path: str) -> None:
    if not item.keys() <= names:
        unknown = sorted(item.keys() - names)[:5]
        raise InvalidInput(errors={f"{path}{name[:80]}": ["There is no such field here."] for name in unknown})


def _context(item: dict[str, Any], path: str) -> Context:
    context = item.get("context", {})
    if not isinstance(context, dict) or not all(isinstance(value, str) for value in context.values()):
        raise _wrong(f"{path}context", "This has to be an object of strings.")
    return context


def _wrapped(item: dict[str, Any], path: str) -> Wrapped:
    text = item.get("wrapped_key")
    if text is None:
        raise _wrong(f"{path}wrapped_key", "This field is required.")
    if not isinstance(text, str):
        raise _wrong(f"{path}wrapped_key", "This has to be a string.")
    if len(text) > MAX_BLOB:
        raise _wrong(f"{path}wrapped_key", f"This has at most {MAX_BLOB} characters.")
    try:
        blob = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise _wrong(f"{path}wrapped_key", "This has to be standard base64.") from None
    return blob, _context(item, path)


def _wrong(path: str, sentence: str) -> InvalidInput:
    return InvalidInput(errors={path: [sentence]})
