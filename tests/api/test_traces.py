"""A trace goes from a request through its threads and its task to the calls of AWS, and what leaves is on a list."""

from __future__ import annotations

import ast
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import reports_in_memory
import structlog
from asgi_server import Server, tokened
from celery.signals import before_task_publish, task_postrun, task_prerun
from django.core.exceptions import ImproperlyConfigured
from django.test import Client
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from byokportal import telemetry, tracing, tracing_export
from byokportal.celery import app
from byokportal.error_reports import Reports
from keys import datakeys
from keys.aws import sessions
from keys.models import KeyRegistration
from tenants.models import Member, ServiceAccount, Tenant

ID = "a-request-of-a-test-0001"


@pytest.fixture
def spans(settings: Any) -> Iterator[InMemorySpanExporter]:
    with reports_in_memory.traced(settings) as found:
        yield found


@pytest.fixture
def reported() -> Iterator[list[bytes]]:
    with reports_in_memory.collected() as found:
        yield found


def of(spans: InMemorySpanExporter, trace_id: int) -> dict[str, ReadableSpan]:
    return {one.name: one for one in spans.get_finished_spans() if one.context and one.context.trace_id == trace_id}


def named(spans: InMemorySpanExporter, name: str) -> ReadableSpan:
    return next(one for one in spans.get_finished_spans() if one.name == name)


@pytest.mark.django_db(transaction=True)
def test_a_data_key_on_the_event_loop_is_a_trace_down_to_kms(
    active: KeyRegistration,
    tenant: Tenant,
    service: ServiceAccount,
    spans: InMemorySpanExporter,
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
) -> None:
    monkeypatch.delenv("DJANGO_ALLOW_ASYNC_UNSAFE")  # set for tests in a browser
    settings.SNAPSHOT_SECONDS = 60
    sessions.forget_all()
    datakeys.start_anew()
    server = Server(tokened(service))
    try:
        made = server.post(f"/api/v1/tenants/{tenant.pk}/data-keys", x_request_id=ID)
    finally:
        server.close()
    assert made.status == 200
    request = named(spans, "keys.generate")
    assert request.parent is None
    assert request.context is not None
    assert dict(request.attributes or {}) == {
        "byok.request_id": ID,
        "byok.operation": "keys.generate",
        "http.response.status_code": 200,
    }
    below = of(spans, request.context.trace_id)
    kms = below["kms.Decrypt"].attributes or {}
    assert {"sts.AssumeRole", "kms.Decrypt"} <= below.keys()
    assert all(one.parent and one.parent.span_id == request.context.span_id for n, one in below.items() if "." in n
               and one is not request)  # fmt: skip
    assert kms["aws.request_id"]
    assert (kms["byok.request_id"], kms["byok.outcome"], kms["rpc.service"], kms["rpc.method"]) == (
        ID,
        "ok",
        "kms",
        "Decrypt",
    )


@pytest.mark.django_db(transaction=True)
def test_a_message_carries_the_trace_and_the_request_id_to_its_task(
    active: KeyRegistration,
    alice: Member,
    tenant: Tenant,
    api_of: Callable[[Member], Client],
    spans: InMemorySpanExporter,
    caplog: pytest.LogCaptureFixture,
) -> None:
    sent: list[dict[str, Any]] = []

    def note(headers: dict[str, Any], **_: Any) -> None:
        sent.append(dict(headers))

    before_task_publish.connect(note)
    try:
        named_by_a_stranger = {"x-request-id": ID, "traceparent": f"00-{'1' * 32}-{'2' * 16}-01"}
        answer = api_of(alice).post(
            f"/api/v1/tenants/{tenant.pk}/key/probe", {}, content_type="application/json", headers=named_by_a_stranger
        )
    finally:
        before_task_publish.disconnect(note)
    assert answer.status_code == 202
    request = named(spans, "POST /api/v1/tenants/<str:tenant>/key/probe")
    assert request.context is not None
    assert request.parent is None, "a stranger's trace is not taken"
    (message,) = [one for one in sent if one["task"].startswith("keys.tasks.")]
    assert message["byok_request_id"] == ID

    # As a worker gets it: the headers of the message are the task's request.
    task = app.tasks[message["task"]]
    task.push_request(**{**message, "delivery_info": {"routing_key": "checks"}, "args": [], "kwargs": {}})
    structlog.contextvars.clear_contextvars()
    try:
        with caplog.at_level(logging.INFO):
            task_prerun.send(sender=task, task_id=message["id"], task=task)
            task.run(*ast.literal_eval(message["argsrepr"]), **ast.literal_eval(message["kwargsrepr"]))
            task_postrun.send(sender=task, task_id=message["id"], task=task, state="SUCCESS")
    finally:
        task.pop_request()
    below = of(spans, request.context.trace_id)
    done = below[message["task"]]
    assert done.parent is not None
    assert done.parent.span_id == request.context.span_id
    assert (done.attributes or {})["byok.request_id"] == ID
    assert (done.attributes or {})["messaging.destination.name"] == "checks"
    assert (done.attributes or {})["byok.outcome"] == "success"
    assert any((one.attributes or {}).get("aws.request_id") for one in below.values())


@pytest.mark.django_db
def test_a_page_is_named_by_its_route_and_no_address_leaves(spans: InMemorySpanExporter) -> None:
    Client().get("/invitations/s3cret-of-a-mailed-link/?code=s3cret", headers={"cookie": "sessionid=s3cret"})
    Client().generic("S3CRET", "/made-up-s3cret")
    text = "".join(span.to_json() for span in spans.get_finished_spans())
    assert '"name": "GET /' in text
    assert "_OTHER none" in text
    assert "s3cret" not in text.lower()


def test_only_what_is_on_the_list_leaves(spans: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError), tracing.begin("AKIAIOSFODNN7EXAMPLE", "client") as span:
        span.set(db__statement="s3cret", rpc__method="Bearer 0123456789abcdef0123456789", byok__outcome="ok")
        raise ValueError("s3cret")
    (found,) = spans.get_finished_spans()
    assert found.name == "[redacted]"
    assert dict(found.attributes or {}) == {
        "rpc.method": "[redacted]",
        "byok.outcome": "ok",
        "error.type": "ValueError",
    }
    assert not found.events
    assert found.status.description is None


def test_what_another_library_writes_into_a_span_of_an_exception_does_not_leave() -> None:
    kept, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(tracing_export.Allowed(kept)))
    with pytest.raises(ValueError), provider.get_tracer("theirs").start_as_current_span("theirs"):
        raise ValueError("s3cret")
    (found,) = kept.get_finished_spans()
    assert found.status.status_code is StatusCode.ERROR
    assert not found.events and found.status.description is None
    assert "s3cret" not in found.to_json()


def test_a_collector_that_is_gone_keeps_nobody_waiting(settings: Any) -> None:
    settings.OTEL_EXPORTER_OTLP_ENDPOINT, settings.OTEL_TRACES_SAMPLER_ARG = "http://127.0.0.1:9", 1.0
    telemetry.start("web")
    try:
        with tracing.begin("one", "server"):
            pass
        assert telemetry.reaches_collector() is False
    finally:
        tracing.stop()
    assert tracing.begin("off", "server") is tracing.NOTHING


@pytest.mark.django_db
def test_a_task_that_fails_has_one_line_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    @app.task(name="tests.fails")
    def fails() -> None:
        raise RuntimeError("as meant")

    with caplog.at_level(logging.INFO):
        fails.apply(throw=False)
    (line,) = [one.msg for one in caplog.records if isinstance(one.msg, dict) and one.msg.get("task") == "tests.fails"]
    assert (line["event"], line["outcome"], line["level"]) == ("task", "failure", "error")
    assert isinstance(line["exc_info"], RuntimeError)
    assert line["task_id"]
    assert [one for one in caplog.records if one.name.startswith("celery.app.trace")] == []


def test_a_report_says_where_and_not_what(reported: list[bytes]) -> None:
    log = structlog.get_logger("keys.tests")
    held = "s3cret"
    with structlog.contextvars.bound_contextvars(request_id=ID, user_id=7, ip="192.0.2.7"):
        try:
            raise KeyError(held)
        except KeyError:
            log.exception("it failed", secret=held)
        logging.getLogger("keys.tests").error("with %s", held)
        logging.getLogger("django.request").error("no exception in %s", held)
        log.warning("no error")
    envelopes = [json.loads(one.splitlines()[-1]) for one in reported]
    first, second = envelopes
    assert first["exception"]["values"][0]["type"] == "KeyError"
    frame = first["exception"]["values"][0]["stacktrace"]["frames"][-1]
    assert frame["function"] == "test_a_report_says_where_and_not_what"
    assert "vars" not in frame
    assert first["tags"] == {"request_id": ID}
    assert first["logentry"] == {"message": "it failed"}
    assert second["logentry"] == {"message": "with %s"}
    assert not {"user", "request", "extra", "contexts", "breadcrumbs", "server_name", "modules"} & first.keys()
    assert b"s3cret" not in b"".join(reported)
    assert b"192.0.2.7" not in b"".join(reported)


def test_a_dsn_that_is_none_is_refused_without_repeating_it(settings: Any) -> None:
    settings.SENTRY_DSN = "sentry.acme.test/s3cret"
    with pytest.raises(ImproperlyConfigured) as refused:
        Reports()
    assert "SENTRY_DSN" in str(refused.value)
    assert "s3cret" not in str(refused.value)


def test_the_list_has_no_name_of_a_tenant_a_person_or_an_address() -> None:
    assert not [name for name in tracing_export.ALLOWED if any(word in name for word in ("url", "user", "tenant"))]
