"""Shapes of the support app's part of the API."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from byokportal.shapes import Shape, Text


class TicketIn(Shape):
    topic = Text(max_length=16)
    subject = Text(max_length=400)
    text = Text(max_length=20_000)


class MessageIn(Shape):
    text = Text(max_length=20_000)


class MessageOut(serializers.Serializer[Any]):
    author = serializers.CharField()
    text = serializers.CharField()
    at = serializers.DateTimeField()


class TicketOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    topic = serializers.CharField()
    subject = serializers.CharField()
    status = serializers.CharField()
    since = serializers.DateTimeField()
    created_at = serializers.DateTimeField()


class TicketsOut(serializers.Serializer[Any]):
    items = TicketOut(many=True)
    next = serializers.CharField(allow_null=True)


class MessagesOut(serializers.Serializer[Any]):
    items = MessageOut(many=True)
    next = serializers.CharField(allow_null=True)
