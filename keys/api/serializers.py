"""Shapes of the keys app's part of the API."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers
from rest_framework.fields import empty

from byokportal.shapes import Shape, Text
from keys.arns import KeyArn, RoleArn


class ArnField(Text):
    """An ARN, read by its own parser; what it refuses is a problem of its own (`arn_refused`), not `invalid_input`."""

    def __init__(self, kind: type[KeyArn | RoleArn]) -> None:
        super().__init__(required=False, max_length=4096, trim_whitespace=False)
        self.kind = kind

    def run_validation(self, data: Any = empty) -> Any:
        return self.kind.parse(super().run_validation(data))


class RegistrationIn(Shape):
    key_arn = ArnField(KeyArn)
    role_arn = ArnField(RoleArn)


class RegistrationOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    status = serializers.CharField()
    reason = serializers.CharField()
    suspended_by = serializers.CharField()
    key_arn = serializers.CharField()
    role_arn = serializers.CharField()
    actions = serializers.CharField(help_text="guide or narrow: which actions on the key its documents allow us")
    since = serializers.DateTimeField(source="moved_at")
    needed_until = serializers.DateTimeField(allow_null=True)
    tested_at = serializers.DateTimeField(
        allow_null=True, help_text="while it is in preparation: when a test of this role and key passed last"
    )
    activation = serializers.CharField(help_text="when_tested, at_time or by_button")
    activate_at = serializers.DateTimeField(allow_null=True)
    activation_missed = serializers.CharField(help_text="why it did not go into service at the time that was chosen")


class Empty(Shape):
    """An operation that takes nothing."""


class TestIn(Shape):
    reason = Text(required=False, max_length=200)
    keep_until = serializers.DateTimeField(required=False)


class CheckOut(serializers.Serializer[Any]):
    code = serializers.CharField()
    title = serializers.CharField()
    step = serializers.IntegerField()
    verdict = serializers.CharField()
    counts_at = serializers.DateTimeField(
        allow_null=True,
        help_text="of an unknown verdict: when AWS's answer counts if it is still the same; null when it is final",
    )
    causes = serializers.ListField(child=serializers.CharField())
    evidence = serializers.DictField()
    remedy = serializers.CharField(help_text="on fail, and on unknown while counts_at is to come: what to change")
    document = serializers.CharField()
    corrected = serializers.CharField()
    believed = serializers.CharField(source="inferred")
    decide = serializers.CharField()


class TestStarted(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    status = serializers.CharField()


class TestOut(TestStarted):
    verdict = serializers.CharField()
    created_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)
    due_at = serializers.DateTimeField(allow_null=True)
    checks = CheckOut(many=True)


class TestsOut(serializers.Serializer[Any]):
    items = TestOut(many=True)
    next = serializers.CharField(allow_null=True)


class ReasonIn(Shape):
    reason = Text(max_length=200)


class ProbeIn(Shape):
    reason = Text(required=False, max_length=200, allow_blank=True)


class WayBackOut(serializers.Serializer[Any]):
    """How far a stopped key is on its way back to service."""

    good_answers = serializers.IntegerField(help_text="in a row so far; two at least are needed")
    good_since = serializers.DateTimeField(allow_null=True, help_text="the first of them")
    needed_seconds = serializers.IntegerField(source="needed", help_text="that good answers have to span")
    expected_at = serializers.DateTimeField(
        allow_null=True, help_text="when it serves if every answer is good; null while AWS refuses"
    )


class NoteOut(serializers.Serializer[Any]):
    code = serializers.CharField()
    text = serializers.CharField()
    is_urgent = serializers.BooleanField()
    command = serializers.CharField()
    at = serializers.DateTimeField(allow_null=True)


class KeyOut(serializers.Serializer[Any]):
    status = serializers.CharField()
    since = serializers.DateTimeField(allow_null=True)
    reason = serializers.CharField()
    whose_turn = serializers.CharField()
    suspended_by = serializers.CharField()
    next_probe_at = serializers.DateTimeField(allow_null=True)
    protected_by = serializers.CharField()
    generation = serializers.IntegerField()
    refused_since = serializers.DateTimeField(allow_null=True)
    refused_code = serializers.CharField()
    deletion_date = serializers.DateTimeField(allow_null=True)
    warnings = NoteOut(many=True)
    is_asked = serializers.BooleanField(help_text="AWS was asked by hand, and its answer is not here yet")
    way_back = WayBackOut(allow_null=True)
    held_since = serializers.DateTimeField(
        allow_null=True, help_text="after a restore on our side: no key is given out until an owner confirms"
    )


class ProcessOut(serializers.Serializer[Any]):
    name = serializers.CharField()
    at = serializers.DateTimeField(allow_null=True)
    count = serializers.IntegerField()


class DropOut(serializers.Serializer[Any]):
    generation = serializers.IntegerField()
    since = serializers.DateTimeField()
    is_over = serializers.BooleanField()
    processes = ProcessOut(many=True)


class DrillOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    status = serializers.CharField()
    reason = serializers.CharField()
    started_by = serializers.CharField()
    started_at = serializers.DateTimeField()
    until = serializers.DateTimeField()
    bound_seconds = serializers.IntegerField()
    allowed_at = serializers.DateTimeField(allow_null=True)
    refused_at = serializers.DateTimeField(allow_null=True)
    refused_code = serializers.CharField()
    suspended_at = serializers.DateTimeField(allow_null=True)
    processes = serializers.DictField(child=serializers.DateTimeField(allow_null=True))
    dropped = serializers.IntegerField(
        allow_null=True,
        help_text="branch keys that processes held and dropped; 0: there was nothing to stop, so there is no result",
    )
    stopped_at = serializers.DateTimeField(allow_null=True)
    stopped_after = serializers.FloatField(allow_null=True)
    is_within_bound = serializers.BooleanField(allow_null=True)
    answered_at = serializers.DateTimeField(allow_null=True)
    served_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)


class DrillsOut(serializers.Serializer[Any]):
    items = DrillOut(many=True)
    next = serializers.CharField(allow_null=True)


class KeyStateOut(serializers.Serializer[Any]):
    tenant = serializers.UUIDField(source="tenant_id")
    status = serializers.CharField(source="new_status")
    since = serializers.DateTimeField(source="at")
    generation = serializers.IntegerField()


class KeyStatesOut(serializers.Serializer[Any]):
    items = KeyStateOut(many=True)
    next = serializers.CharField()


class PolicyIn(Shape):
    kind = Text(max_length=20)
    policy = Text(max_length=65_536, trim_whitespace=False, allow_blank=True)


class FindingOut(serializers.Serializer[Any]):
    code = serializers.CharField()
    severity = serializers.CharField()
    line = serializers.IntegerField()
    text = serializers.CharField()
    fix = serializers.CharField()


class ReadingOut(serializers.Serializer[Any]):
    verdict = serializers.CharField()
    findings = FindingOut(many=True)
    corrected = serializers.CharField()
