"""Strict input shapes for the API: no unknown names, no guessing of types."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from rest_framework import serializers


class Shape(serializers.Serializer[Any]):
    """A serializer that refuses names it does not have."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, dict):
            raise serializers.ValidationError("This has to be an object.")
        unknown = sorted(set(data) - set(self.fields))
        if unknown:
            raise serializers.ValidationError({name[:80]: ["There is no such field here."] for name in unknown[:5]})
        return super().to_internal_value(data)


class Text(serializers.CharField):
    """A string that is a string: numbers and booleans are not turned into one."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            raise serializers.ValidationError("This has to be a string.")
        return str(super().to_internal_value(data))


class Blob(serializers.CharField):
    """Bytes in standard base64."""

    def to_internal_value(self, data: Any) -> bytes:  # type: ignore[override]
        if not isinstance(data, str):
            raise serializers.ValidationError("This has to be a string.")
        if self.max_length is not None and len(data) > self.max_length:  # of characters, as the OpenAPI says
            raise serializers.ValidationError(f"This has at most {self.max_length} characters.")
        try:
            return base64.b64decode(data.encode("ascii"), validate=True)
        except (UnicodeEncodeError, binascii.Error):
            raise serializers.ValidationError("This has to be standard base64.") from None

    def to_representation(self, value: Any) -> str:
        return base64.b64encode(value).decode()


class ContextField(serializers.Field[Any, Any, Any, Any]):
    """The caller's context: names and values are strings; its bounds are the envelope's."""

    def to_internal_value(self, data: Any) -> dict[str, str]:
        if not isinstance(data, dict) or not all(isinstance(value, str) for value in data.values()):
            raise serializers.ValidationError("This has to be an object of strings.")
        return data

    def to_representation(self, value: Any) -> Any:
        return value
