"""Traces of real processes at a collector, and none of their libraries where they are off."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from byokportal.embedded.stack import ROOT, Stack
from tests.embedded.test_every_line import environment, until

ID = "a-request-of-a-test-0002"


@pytest.fixture
def collector() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A collector on this machine: its address, and the spans that it got."""
    got: list[dict[str, Any]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
            for resource in body.resource_spans:
                (service,) = [
                    one.value.string_value for one in resource.resource.attributes if one.key == "service.name"
                ]
                got.extend(
                    {
                        "service": service,
                        "name": span.name,
                        "trace": span.trace_id,
                        "key": self.headers["Api-Key"],
                        **{one.key: one.value.string_value for one in span.attributes},
                    }
                    for scope in resource.scope_spans
                    for span in scope.spans
                )
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", got
    server.shutdown()


def ask(url: str, path: str, token: str, body: dict[str, Any] | None = None, method: str = "POST") -> Any:
    request = urllib.request.Request(
        f"{url}/api/v1{path}",
        json.dumps(body or {}).encode(),
        {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "X-Request-ID": ID},
        method=method,
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


@pytest.mark.slow
def test_a_trace_goes_from_the_web_by_celery_to_aws(
    tmp_path: Path, collector: tuple[str, list[dict[str, Any]]]
) -> None:
    address, got = collector
    stack = Stack(
        tmp_path,
        port=0,
        aws_port=0,
        settings={
            "OTEL_EXPORTER_OTLP_ENDPOINT": address,
            "OTEL_EXPORTER_OTLP_HEADERS": "api-key=one",
            "OTEL_TRACES_SAMPLER_ARG": "1",
        },
        show=lambda line: None,
    )
    try:
        stack.start()
        made = json.loads(stack.manage("create_tenant", "--name", "Traced", "--owner", "o@traced.example"))
        tenant, token = made["tenant"], made["automation_token"]
        key = json.loads(stack.manage("customer", "--tenant", tenant, "--step", "1"))["key_arn"]
        ask(stack.url, f"/tenants/{tenant}/registration", token, {"key_arn": key}, "PUT")
        role = json.loads(stack.manage("customer", "--tenant", tenant, "--step", "2"))["role_arn"]
        ask(stack.url, f"/tenants/{tenant}/registration", token, {"key_arn": key, "role_arn": role}, "PUT")
        stack.manage("customer", "--tenant", tenant, "--step", "3")
        ask(stack.url, f"/tenants/{tenant}/registration/submit", token)

        def whole() -> list[dict[str, Any]]:
            begun = [one["trace"] for one in got if one["name"].endswith("/registration/submit")]
            ours = [one for one in got if one["trace"] in begun]
            return ours if any(one.get("aws.request_id") for one in ours) else []

        trace = until(whole)
    finally:
        stack.stop()
    assert {one["service"] for one in trace} == {"byok-web", "byok-worker"}
    assert {one["byok.request_id"] for one in trace} == {ID}
    assert any(one["name"].startswith("keys.tasks.") and one["messaging.message.id"] for one in trace)
    assert any(one["name"].startswith("iam.") and one["aws.request_id"] for one in trace)
    assert {one["key"] for one in trace} == {"one"}
    text = repr(got)
    for secret in (token, key, role, tenant, "o@traced.example"):
        assert secret not in text


LOADED = """
import json, sys
import byokportal.asgi, byokportal.celery, keys.aws.clients, keys.aws.hot, support.preflight
# redis-py imports the part for metrics, and Django REST framework `requests`, where they find them.
OURS = ("opentelemetry.sdk.trace", "opentelemetry.exporter", "opentelemetry.proto", "google.protobuf", "sentry_sdk")
print(json.dumps(sorted({one for one in OURS if any(name.startswith(one) for name in sys.modules)})))
"""


def loaded(tmp_path: Path, **more: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", LOADED],
        cwd=ROOT,
        env=environment(tmp_path, **more),
        capture_output=True,
        text=True,
        check=True,
    )
    return list(json.loads(done.stdout.splitlines()[-1]))


def test_where_they_are_off_no_library_of_them_is_imported(tmp_path: Path) -> None:
    assert loaded(tmp_path) == []
    on = loaded(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", SENTRY_DSN="https://abc@127.0.0.1/1")
    assert len(on) == 5
