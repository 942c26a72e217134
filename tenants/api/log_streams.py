"""Addresses of the streams of the log: added, changed, switched, tested, set back."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from byokportal import pages
from byokportal.shapes import Shape, Text
from tenants import endpoints, services
from tenants.models import LogStream, Tenant


class LogStreamChangeIn(Shape):
    description = Text(max_length=200)
    headers = serializers.DictField(
        child=Text(max_length=2000),
        required=False,
        default=dict,
        help_text="all of them, in place of those there are; without any they stay as they are",
    )


class LogStreamIn(Shape):
    format = Text(max_length=16)
    address = Text(max_length=2000)
    description = Text(max_length=200)
    headers = serializers.DictField(
        child=Text(max_length=2000),
        required=False,
        default=dict,
        help_text="of each request, for `otlp` only; never shown again",
    )
    from_the_beginning = serializers.BooleanField(required=False, default=True)


class RotateLogStreamIn(Shape):
    hours = serializers.IntegerField(min_value=0, max_value=168, required=False, default=24)


class ReplayLogStreamIn(Shape):
    number = serializers.IntegerField(min_value=1, max_value=2**63 - 1, required=False)
    since = serializers.DateTimeField(required=False)


class LogStreamOut(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    format = serializers.ChoiceField(LogStream.Format.choices)
    description = serializers.CharField()
    origin = serializers.CharField()
    header_names = serializers.ListField(child=serializers.CharField())
    status = serializers.ChoiceField(["on", "off", "failing"])
    acknowledged = serializers.IntegerField(help_text="the number of the last line that the receiver took")
    newest = serializers.SerializerMethodField(help_text="the number of the newest sealed line of the log")
    behind_since = serializers.DateTimeField(allow_null=True)
    failing_since = serializers.DateTimeField(allow_null=True)
    delivered_at = serializers.DateTimeField(allow_null=True)
    next_attempt_at = serializers.DateTimeField(source="due_at", allow_null=True)
    answered_at = serializers.DateTimeField(allow_null=True)
    answer_status = serializers.IntegerField(allow_null=True)
    answer = serializers.CharField()
    why = serializers.CharField()
    rejected = serializers.IntegerField(help_text="lines that the receiver took and says it does not keep")
    tested_at = serializers.DateTimeField(allow_null=True)
    test_why = serializers.CharField(help_text="empty: the last test was taken")
    old_secret_until = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()

    def get_newest(self, stream: Any) -> int:
        return services.last_number(stream.tenant)


class LogStreamWithSecretOut(LogStreamOut):
    # Of this answer alone: a repeat by the same Idempotency-Key has none.
    secret = serializers.CharField(allow_null=True)


class LogStreamsOut(serializers.Serializer[Any]):
    items = LogStreamOut(many=True)
    next = serializers.CharField(allow_null=True)


def _stream(tenant: Tenant, text: str) -> LogStream:
    return services.log_stream_of(tenant, endpoints.as_uuid(text))


def _shown(stream: LogStream) -> dict[str, Any]:
    stream.refresh_from_db()
    return dict(LogStreamOut(stream).data)


class LogStreams(endpoints.TenantView):
    """Where the organisation's log is sent, line by line; the secret of a new one is in the answer, once."""

    problems = ("invalid_input", "not_allowed", "too_many_log_streams", "second_person_needed", "secret_pasted")

    @extend_schema(operation_id="list_log_streams", parameters=[endpoints.CURSOR], responses=LogStreamsOut)
    def get(self, request: Request, tenant: str) -> Response:
        rows = services.log_streams_of(self.mine(request, tenant))
        return Response(LogStreamsOut(pages.numbered(rows, request.query_params.get("cursor", ""))).data)

    @extend_schema(
        operation_id="add_log_stream",
        parameters=[endpoints.IDEMPOTENCY_KEY],
        request=LogStreamIn,
        responses={201: LogStreamWithSecretOut},
    )
    def post(self, request: Request, tenant: str) -> Response:
        mine, given = self.mine(request, tenant), self.given(request, LogStreamIn)

        def do() -> Any:
            stream, secret = services.add_log_stream(mine, **given, actor=self.caller(request).actor)
            return _shown(stream), secret

        def location(kept: Any) -> str:
            return reverse("api:log-stream", args=[mine.pk, kept["id"]])

        return self.once_with_secret(request, mine, 201, do, location=location)


class OneLogStream(endpoints.TenantView):
    """One stream. Its address cannot be changed: another address is another stream."""

    problems = ("invalid_input", "not_allowed", "second_person_needed", "secret_pasted")

    @extend_schema(operation_id="get_log_stream", responses=LogStreamOut)
    def get(self, request: Request, tenant: str, stream: str) -> Response:
        return Response(LogStreamOut(_stream(self.mine(request, tenant), stream)).data)

    @extend_schema(operation_id="change_log_stream", request=LogStreamChangeIn, responses=LogStreamOut)
    def put(self, request: Request, tenant: str, stream: str) -> Response:
        found = _stream(self.mine(request, tenant), stream)
        services.change_log_stream(found, **self.given(request, LogStreamChangeIn), actor=self.caller(request).actor)
        return Response(_shown(found))

    @extend_schema(operation_id="remove_log_stream", responses={204: None})
    def delete(self, request: Request, tenant: str, stream: str) -> Response:
        services.remove_log_stream(_stream(self.mine(request, tenant), stream), actor=self.caller(request).actor)
        return Response(status=204)


class RotateLogStream(endpoints.TenantView):
    """A new secret of a stream, in the answer once; the old one signs too for some hours."""

    problems = ("invalid_input", "not_allowed")

    @extend_schema(
        operation_id="rotate_log_stream_secret",
        parameters=[endpoints.IDEMPOTENCY_KEY],
        request=RotateLogStreamIn,
        responses=LogStreamWithSecretOut,
    )
    def post(self, request: Request, tenant: str, stream: str) -> Response:
        mine = self.mine(request, tenant)
        found, given = _stream(mine, stream), self.given(request, RotateLogStreamIn)

        def do() -> Any:
            secret = services.rotate_log_stream_secret(found, **given, actor=self.caller(request).actor)
            return _shown(found), secret

        return self.once_with_secret(request, mine, 200, do)


class SwitchLogStream(endpoints.TenantView):
    """Switches a stream on: it goes on where it was."""

    is_on = True
    problems = ("not_allowed", "invalid_input")

    @extend_schema(
        operation_id="switch_log_stream_on",
        parameters=[endpoints.IDEMPOTENCY_KEY],
        request=None,
        responses=LogStreamOut,
    )
    def post(self, request: Request, tenant: str, stream: str) -> Response:
        mine = self.mine(request, tenant)
        found = _stream(mine, stream)

        def do() -> Any:
            services.switch_log_stream(found, is_on=self.is_on, actor=self.caller(request).actor)
            return _shown(found)

        return self.once(request, mine, 200, do)


class SwitchOffLogStream(SwitchLogStream):
    """Switches a stream off: nothing is sent until it is switched on again."""

    is_on = False

    @extend_schema(
        operation_id="switch_log_stream_off",
        parameters=[endpoints.IDEMPOTENCY_KEY],
        request=None,
        responses=LogStreamOut,
    )
    def post(self, request: Request, tenant: str, stream: str) -> Response:
        return super().post(request, tenant, stream)


class TestLogStream(endpoints.TenantView):
    """A test of a stream, which may be switched off. It is tried once; the stream says what came of it."""

    problems = ("not_allowed", "log_stream_test_waits")

    @extend_schema(
        operation_id="test_log_stream",
        parameters=[endpoints.IDEMPOTENCY_KEY],
        request=None,
        responses={202: LogStreamOut},
    )
    def post(self, request: Request, tenant: str, stream: str) -> Response:
        mine = self.mine(request, tenant)
        found = _stream(mine, stream)

        def do() -> Any:
            services.test_log_stream(found, actor=self.caller(request).actor)
            return _shown(found)

        return self.once(request, mine, 202, do)


class ReplayLogStream(endpoints.TenantView):
    """Sets a stream back: from a line, or the first line of a time, on all is sent again."""

    problems = ("invalid_input", "not_allowed")

    @extend_schema(
        operation_id="replay_log_stream",
        parameters=[endpoints.IDEMPOTENCY_KEY],
        request=ReplayLogStreamIn,
        responses={202: LogStreamOut},
    )
    def post(self, request: Request, tenant: str, stream: str) -> Response:
        mine = self.mine(request, tenant)
        found, given = _stream(mine, stream), self.given(request, ReplayLogStreamIn)

        def do() -> Any:
            services.replay_log_stream(found, **given, actor=self.caller(request).actor)
            return _shown(found)

        return self.once(request, mine, 202, do)
