"""What an answer of the API names stands in what it is made of: DRF says null of an attribute that is not there."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import models
from rest_framework import serializers

from keys import services
from keys.api import facts, overview
from keys.api import serializers as shapes

# An answer, and the function whose result it is made of.
MADE_OF: dict[type[serializers.Serializer[Any]], Callable[..., Any]] = {
    overview.OverviewOut: services.overview,
    facts.FactsOut: services.facts_of,
    shapes.KeyOut: services.key_state,
    shapes.ReadingOut: services.check_policy,
}


def missing(out: serializers.BaseSerializer[Any], of: type, path: str) -> Iterator[str]:
    """Yield the fields of an answer that an object of this class does not have."""
    if isinstance(out, serializers.ListSerializer):
        out = typing.cast(serializers.BaseSerializer[Any], out.child)
    for name, field in typing.cast(Any, out).fields.items():
        if field.source == "*" or field.default is not serializers.empty:  # computed, or the same for all
            continue
        found: type | None = of
        for attribute in field.source.split("."):
            if found is None:
                break
            if attribute not in _hints(found) and not hasattr(found, attribute):
                yield f"{path}{name}: {found.__name__} has no {attribute}"
                found = None
                break
            found = _class_of(found, attribute)
        if found is not None and isinstance(field, serializers.BaseSerializer):
            yield from missing(field, found, f"{path}{name}.")


def _hints(of: type) -> dict[str, Any]:
    return {} if issubclass(of, models.Model) else typing.get_type_hints(of)


def _class_of(of: type, attribute: str) -> type | None:
    """Return the class of an attribute, or of what is in it; None where it cannot be told."""
    hint = _hints(of).get(attribute)
    value = getattr(of, attribute, None)
    if hint is None and isinstance(value, property) and value.fget is not None:
        hint = typing.get_type_hints(value.fget).get("return")
    while hint is not None and not isinstance(hint, type | types.GenericAlias):
        hint = next((one for one in typing.get_args(hint) if one is not type(None)), None)
    while isinstance(hint, types.GenericAlias) or typing.get_args(hint):
        hint = typing.get_args(hint)[0]
    return hint if isinstance(hint, type) else None


def result_of(function: Callable[..., Any]) -> type:
    hint = typing.get_type_hints(function)["return"]
    return next(one for one in (typing.get_args(hint) or (hint,)) if one is not type(None))


@pytest.mark.parametrize("out", MADE_OF, ids=lambda out: str(out.__name__))
def test_each_field_of_an_answer_stands_in_what_it_is_made_of(out: type[serializers.Serializer[Any]]) -> None:
    assert list(missing(out(), result_of(MADE_OF[out]), "")) == []


def test_a_field_that_is_nowhere_is_found() -> None:
    class Month(serializers.Serializer[Any]):
        calls = serializers.IntegerField()
        lost_at = serializers.DateTimeField(allow_null=True)

    class Spending(serializers.Serializer[Any]):
        months = Month(many=True)

    class Out(serializers.Serializer[Any]):
        spending = Spending()

    assert list(missing(Out(), result_of(services.overview), "")) == ["spending.months.lost_at: Cost has no lost_at"]
