"""CloudTrail: what was asked of the three services, as the accounts concerned can look it up (CloudTrail
API, LookupEvents)."""

from __future__ import annotations

import json
import os
import threading
import uuid
from collections import defaultdict, deque
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from byokportal.localaws.errors import AwsError

KEPT = 2_000  # events of an account
PAGE = 50
ATTRIBUTES = {
    "EventId",
    "EventName",
    "ReadOnly",
    "Username",
    "ResourceType",
    "ResourceName",
    "EventSource",
    "AccessKeyId",
}
READS = ("Get", "List", "Describe", "Simulate", "Lookup", "Decrypt", "Encrypt", "Generate", "ReEncrypt", "AssumeRole")


class Trail:
    """The events of every account, in memory and in a file of JSON lines that a kill does not lose."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._events: defaultdict[str, deque[dict[str, Any]]] = defaultdict(lambda: deque(maxlen=KEPT))
        self._lock = threading.Lock()
        self._read()

    def _read(self) -> None:
        """Take up what was written before, and keep only that much of the file."""
        if not self.file.exists():
            return
        for line in self.file.read_bytes().splitlines():
            try:
                event = json.loads(line)
                self._events[event["recipientAccountId"]].append(event)
            except (ValueError, KeyError, TypeError):
                continue  # the last line before a kill may be half
        kept = b"".join(json.dumps(event).encode() + b"\n" for events in self._events.values() for event in events)
        self.file.unlink()
        self._append(kept)

    def _append(self, lines: bytes) -> None:
        descriptor = os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(lines)

    def forget(self) -> None:
        """Drop all events."""
        with self._lock:
            self._events.clear()
            self.file.unlink(missing_ok=True)

    def note(self, event: dict[str, Any], account: str) -> None:
        """Write an event into the trail of an account."""
        mine = {**event, "eventID": str(uuid.uuid4()), "recipientAccountId": account}
        with self._lock:
            self._events[account].append(mine)
            self._append(json.dumps(mine).encode() + b"\n")

    def lookup(self, account: str, region: str, given: dict[str, Any]) -> dict[str, Any]:
        """Answer LookupEvents: newest first, of one Region, at most fifty at once.

        Raises:
            AwsError: an attribute that there is not, a page that there is not, or times the wrong way round.
        """
        wanted = _attribute(given)
        start, end = _time(given.get("StartTime")), _time(given.get("EndTime"))
        if start and end and start > end:
            raise AwsError("InvalidTimeRangeException", "The start time must be before the end time.")
        size = given.get("MaxResults", PAGE)
        if not isinstance(size, int) or not 1 <= size <= PAGE:
            raise AwsError("InvalidMaxResultsException", "MaxResults must be between 1 and 50.")
        at = _page(given.get("NextToken"))
        with self._lock:
            mine = list(self._events[account])
        found = [event for event in _matching(reversed(mine), wanted, start, end) if event["awsRegion"] == region]
        answer: dict[str, Any] = {"Events": [_summary(event) for event in found[at : at + size]]}
        if len(found) > at + size:
            answer["NextToken"] = str(at + size)
        return answer


def event_of(
    *,
    service: str,
    operation: str,
    region: str,
    caller: dict[str, Any],
    parameters: dict[str, Any],
    resources: list[dict[str, str]],
    request_id: str,
    now: datetime,
    error: AwsError | None,
) -> dict[str, Any]:
    """Return a record in CloudTrail's form, without what it holds per account."""
    event = {
        "eventVersion": "1.11",
        "userIdentity": caller,
        "eventTime": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "eventSource": f"{service}.amazonaws.com",
        "eventName": operation,
        "awsRegion": region,
        "sourceIPAddress": "127.0.0.1",
        "requestParameters": parameters or None,
        "responseElements": None,
        "requestID": request_id,
        "readOnly": operation.startswith(READS),
        "resources": resources,
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "eventCategory": "Management",
    }
    if error is not None:
        event |= {"errorCode": error.code.removesuffix("Exception"), "errorMessage": error.message}
    return event


def _attribute(given: dict[str, Any]) -> tuple[str, str] | None:
    attributes = given.get("LookupAttributes") or []
    if not isinstance(attributes, list) or len(attributes) > 1:
        raise AwsError("InvalidLookupAttributesException", "You can specify one lookup attribute.")
    if not attributes:
        return None
    first = attributes[0]
    if not isinstance(first, dict) or first.get("AttributeKey") not in ATTRIBUTES:
        raise AwsError("InvalidLookupAttributesException", "The lookup attribute is not valid.")
    return str(first["AttributeKey"]), str(first.get("AttributeValue", ""))


def _matching(
    events: Iterator[dict[str, Any]], wanted: tuple[str, str] | None, start: datetime | None, end: datetime | None
) -> Iterator[dict[str, Any]]:
    for event in events:
        at = datetime.fromisoformat(event["eventTime"].replace("Z", "+00:00"))
        if (start and at < start) or (end and at > end):
            continue
        if wanted is None or wanted[1] in _values(_summary(event), wanted[0]):
            yield event


def _values(summary: dict[str, Any], attribute: str) -> list[str]:
    if attribute in {"ResourceType", "ResourceName"}:
        return [resource[attribute] for resource in summary["Resources"]]
    return [str(summary[attribute])]


def _summary(event: dict[str, Any]) -> dict[str, Any]:
    who = event["userIdentity"]
    return {
        "EventId": event["eventID"],
        "EventName": event["eventName"],
        "ReadOnly": str(event["readOnly"]).lower(),
        "AccessKeyId": who.get("accessKeyId", ""),
        "EventTime": datetime.fromisoformat(event["eventTime"].replace("Z", "+00:00")).timestamp(),
        "EventSource": event["eventSource"],
        "Username": who.get("userName") or who.get("arn", "").rpartition("/")[2],
        "Resources": [{"ResourceType": each["type"], "ResourceName": each["ARN"]} for each in event["resources"]],
        "CloudTrailEvent": json.dumps(event),
    }


def _time(given: object) -> datetime | None:
    if given is None:
        return None
    try:
        return datetime.fromtimestamp(float(given), UTC)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError, OSError):
        raise AwsError("InvalidTimeRangeException", "The time is not valid.") from None


def _page(token: object) -> int:
    if token is None:
        return 0
    if not isinstance(token, str) or not token.isascii() or not token.isdigit() or len(token) > 6:
        raise AwsError("InvalidNextTokenException", "The token is not valid.")
    return int(token)
