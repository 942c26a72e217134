"""Shapes of requests and answers for data keys, as the OpenAPI shows them;
`keys.datakeys.http.items` reads the requests."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from byokportal.schema import Problem
from byokportal.shapes import Blob, ContextField, Shape

MAX_ITEMS = 100
# Characters of base64; a wrapped key has 172.
MAX_BLOB = 256


class GenerateItem(Shape):
    context = ContextField(required=False)  # type: ignore[assignment]


class OpenItem(Shape):
    wrapped_key = Blob(max_length=MAX_BLOB)
    context = ContextField(required=False)  # type: ignore[assignment]


class GenerateIn(GenerateItem):
    """Either the members of one item, or `items`."""

    items = GenerateItem(many=True, required=False)


class OpenIn(Shape):
    """Either the members of one item, or `items`."""

    wrapped_key = Blob(max_length=MAX_BLOB, required=False)
    context = ContextField(required=False)  # type: ignore[assignment]
    items = OpenItem(many=True, required=False)


class GenerateItemOut(serializers.Serializer[Any]):
    """One key, or the problem of its item."""

    plaintext = Blob(required=False)
    wrapped_key = Blob(required=False)
    cache_until = serializers.DateTimeField(required=False)
    problem = Problem(required=False)


class GeneratedOut(serializers.Serializer[Any]):
    """One key, or `items` as they were asked for."""

    plaintext = Blob(required=False)
    wrapped_key = Blob(required=False)
    cache_until = serializers.DateTimeField(required=False)
    items = GenerateItemOut(many=True, required=False)


class OpenedItemOut(serializers.Serializer[Any]):
    """One opened key, or the problem of its item."""

    plaintext = Blob(required=False)
    cache_until = serializers.DateTimeField(required=False)
    problem = Problem(required=False)


class OpenedOut(serializers.Serializer[Any]):
    """One opened key, or `items` as they were sent."""

    plaintext = Blob(required=False)
    cache_until = serializers.DateTimeField(required=False)
    items = OpenedItemOut(many=True, required=False)


class RewrappedItemOut(serializers.Serializer[Any]):
    """One moved key, or the problem of its item."""

    wrapped_key = Blob(required=False)
    problem = Problem(required=False)


class RewrappedOut(serializers.Serializer[Any]):
    """One moved key, or `items` as they were sent."""

    wrapped_key = Blob(required=False)
    items = RewrappedItemOut(many=True, required=False)
