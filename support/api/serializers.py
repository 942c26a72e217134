"""Shapes of the support app's part of the API."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from byokportal.shapes import Shape, Text


class TicketIn(Shape):
    topic = Text(max_length=16)
    step = serializers.IntegerField(
        required=False, allow_null=True, min_value=1, max_value=6, help_text="The step of the guide that it is about."
    )
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
    step = serializers.IntegerField(allow_null=True)
    priority = serializers.CharField()
    subject = serializers.CharField()
    status = serializers.CharField()
    whose_turn = serializers.CharField()
    since = serializers.DateTimeField()
    created_at = serializers.DateTimeField()
    first_answer_due_at = serializers.DateTimeField(
        allow_null=True,
        help_text="By when somebody of Kore.ai answers what you wrote first; null: you wrote nothing yet.",
    )
    first_answered_at = serializers.DateTimeField(allow_null=True)
    resolution_due_at = serializers.DateTimeField(
        allow_null=True, help_text="By when it is to be settled; null while this clock rests, because it waits for you."
    )
    closed_at = serializers.DateTimeField(allow_null=True)
    merged_into = serializers.UUIDField(
        source="merged_into_id", allow_null=True, help_text="The ticket in which the conversation goes on."
    )


class TicketsOut(serializers.Serializer[Any]):
    items = TicketOut(many=True)
    next = serializers.CharField(allow_null=True)


class MessagesOut(serializers.Serializer[Any]):
    items = MessageOut(many=True)
    next = serializers.CharField(allow_null=True)
