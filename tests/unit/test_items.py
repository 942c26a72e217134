"""The bodies that are read by hand are the ones that the OpenAPI's serializers take: both say yes, or both say no."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from byokportal.errors import InvalidInput
from keys.datakeys.http import items
from keys.datakeys.http import serializers as shapes

BLOB = "AQID"
words = st.text(max_size=6)
contexts = st.one_of(
    st.dictionaries(words, words, max_size=3),
    st.dictionaries(words, st.integers() | words, max_size=2),
    st.none(),
    words,
)
blobs = st.one_of(
    st.just(BLOB), st.just("A" * 256), st.just("A" * 260), st.just("AB C"), st.just("é"), st.integers(), st.none()
)
fields = {"context": contexts, "wrapped_key": blobs, "unknown": words}
one = st.fixed_dictionaries({}, optional=fields)
several = st.one_of(
    st.lists(one | words | st.none(), max_size=4), st.just([{"wrapped_key": BLOB}] * 101), words, st.none()
)
bodies = st.fixed_dictionaries({}, optional={**fields, "items": several})


def reads(read: Any, body: dict[str, Any]) -> bool:
    try:
        read(body)
    except InvalidInput:
        return False
    return True


def is_described(item: Any, body: dict[str, Any]) -> bool:
    """Tell whether the OpenAPI describes such a body: one item, or up to a hundred and nothing beside them."""
    if "items" not in body:
        return bool(item(data=body).is_valid())
    given = body["items"]
    return (
        len(body) == 1 and isinstance(given, list) and 1 <= len(given) <= 100 and item(data=given, many=True).is_valid()
    )


@given(bodies)
@settings(max_examples=300, deadline=None)
def test_generate(body: dict[str, Any]) -> None:
    assert reads(items.contexts, body) is is_described(shapes.GenerateItem, body)


@given(bodies)
@settings(max_examples=300, deadline=None)
def test_open(body: dict[str, Any]) -> None:
    assert reads(items.wrapped, body) is is_described(shapes.OpenItem, body)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"items": [{}, {"wrapped_key": 1}]}, "items.0.wrapped_key"),
        ({"items": [{"wrapped_key": BLOB}, {"wrapped_key": BLOB, "x": 1}]}, "items.1.x"),
        ({"items": [{"wrapped_key": BLOB, "context": {"a": 1}}]}, "items.0.context"),
        ({"wrapped_key": "%%"}, "wrapped_key"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(body: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        items.wrapped(body)
    assert list(refused.value.errors) == [field]
