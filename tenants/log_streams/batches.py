"""A batch of a stream: the sealed lines behind those that the receiver has, and the body in which they are sent.

A batch that is sent again has the same lines, the same name and the same body, so that a receiver drops it whole.
Source of OTLP: opentelemetry.io/docs/specs/otlp, "OTLP/HTTP" and "JSON Protobuf Encoding" (64-bit numbers are strings).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from byokportal import words
from tenants.log_streams import ocsf_classes, ocsf_events
from tenants.models import AuditEvent, LogStream

VERSION = 1
LARGEST = 1_000_000  # bytes of the lines of one batch; one line is sent however long it is
ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
# OpenTelemetry's numbers (opentelemetry.io/docs/specs/otel/logs/data-model, "SeverityNumber") by OCSF's.
SEVERITY_NUMBERS = {
    ocsf_classes.INFORMATIONAL: 9,
    ocsf_classes.LOW: 10,
    ocsf_classes.MEDIUM: 13,
    ocsf_classes.HIGH: 17,
    ocsf_classes.CRITICAL: 21,
}


@dataclass(frozen=True, slots=True)
class Batch:
    """What is sent at once.

    Attributes:
        after: the number of the last line that the receiver has.
        first, last: the numbers of its lines; 0 of a test.
        last_at: when its last line was written.
        name: the same each time it is sent, until the stream is set back.
    """

    after: int
    first: int
    last: int
    last_at: datetime
    name: str
    events: Sequence[dict[str, Any]]


def next_of(stream: LogStream) -> Batch | None:
    """Return the next batch of a stream; None: there is no sealed line that it lacks."""
    rows = AuditEvent.objects.filter(tenant=stream.tenant_id, seal_number__gt=stream.acknowledged).exclude(seal="")
    if stream.attempted is not None:
        rows = rows.filter(seal_number__lte=stream.attempted)
    events, size, numbers, last_at = list[dict[str, Any]](), 0, list[int](), stream.created_at
    for row in rows.order_by("seal_number")[: stream.most_rows]:
        event = ocsf_events.event_of(row)
        size += len(ENCODER.encode(event))
        if events and size > LARGEST and stream.attempted is None:
            break
        events.append(event)
        numbers.append(row.seal_number or 0)
        last_at = row.at
    if not events:
        return None
    name = f"log_{stream.pk.hex}_{stream.replays}_{numbers[0]}_{numbers[-1]}"
    return Batch(stream.acknowledged, numbers[0], numbers[-1], last_at, name, events)


def test_of(stream: LogStream, at: datetime) -> Batch:
    """Return a batch that says that it is a test."""
    name = f"test_{stream.pk.hex}_{int(at.timestamp())}"
    return Batch(0, 0, 0, at, name, [ocsf_events.test_event(stream.tenant_id, at)])


def body(stream: LogStream, batch: Batch) -> str:
    """Return the JSON text of a batch in the stream's format, without the External ID."""
    found = _otlp(stream, batch) if stream.format == LogStream.Format.OTLP else _webhook(stream, batch)
    return words.without_external_id(ENCODER.encode(found), stream.tenant.external_id)


def _webhook(stream: LogStream, batch: Batch) -> dict[str, Any]:
    return {
        "version": VERSION,
        "type": "log.batch" if batch.last else ocsf_events.TEST,
        "timestamp": batch.last_at.isoformat(),
        "tenant": str(stream.tenant_id),
        "stream": str(stream.pk),
        "after": batch.after,
        "first": batch.first,
        "last": batch.last,
        "count": len(batch.events),
        "events": batch.events,
    }


def _otlp(stream: LogStream, batch: Batch) -> dict[str, Any]:
    resource: dict[str, str | int] = {
        "service.name": "byokportal",
        "byok.tenant": str(stream.tenant_id),
        "byok.stream": str(stream.pk),
        "byok.batch.after": batch.after,
        "byok.batch.first": batch.first,
        "byok.batch.last": batch.last,
    }
    scope = {"name": "ocsf", "version": ocsf_classes.VERSION}
    records = [_record(event) for event in batch.events]
    return {
        "resourceLogs": [
            {"resource": {"attributes": _attributes(resource)}, "scopeLogs": [{"scope": scope, "logRecords": records}]}
        ]
    }


def _record(event: dict[str, Any]) -> dict[str, Any]:
    metadata = event["metadata"]
    nanoseconds = str(event["time"] * 1_000_000)
    attributes: dict[str, str | int] = {
        "log.record.uid": metadata["uid"],
        "event.name": metadata["event_code"],
        "ocsf.class_uid": event["class_uid"],
        "ocsf.type_uid": event["type_uid"],
    }
    if "sequence" in metadata:
        attributes["byok.sequence"] = metadata["sequence"]
    return {
        "timeUnixNano": nanoseconds,
        "observedTimeUnixNano": nanoseconds,
        "severityNumber": SEVERITY_NUMBERS[event["severity_id"]],
        "severityText": event["severity"],
        "body": {"stringValue": ENCODER.encode(event)},
        "attributes": _attributes(attributes),
    }


def _attributes(found: dict[str, str | int]) -> list[dict[str, Any]]:
    return [
        {"key": key, "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}}
        for key, value in found.items()
    ]


def rejected_in(answer: bytes) -> int:
    """Return how many records an OTLP receiver says that it does not keep: `partialSuccess` of its answer.

    The specification asks that they are not sent again.
    """
    try:
        said = json.loads(answer or b"{}")
        found = (said.get("partialSuccess") or said.get("partial_success") or {}).get("rejectedLogRecords", 0)
        return min(max(int(found), 0), 2**31)
    except (ValueError, TypeError, AttributeError, RecursionError, OverflowError):  # the last one: of Infinity
        return 0
