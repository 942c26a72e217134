"""Reads an export of CloudTrail in each notation that it is found in, bounded, and keeps what a comparison needs.

Shapes: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from byokportal import storable
from byokportal.translation import translate as _

MOST_BYTES = 32 * 1024 * 1024  # of all files together, unpacked
# Of what is read in a request, in a process that serves data keys too: what it costs is bounded by this.
MOST_BYTES_ONLINE = 4 * 1024 * 1024
MOST_RECORDS = 50_000
GZIP = b"\x1f\x8b"
LONGEST = 512  # characters of a value that is kept
YEARS = range(2000, 3000)  # in which a call can have been; a moment later is a time too
LISTS = ("Records", "Events")  # of a trail's file; of `aws cloudtrail lookup-events`
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)


class Unreadable(ValueError):
    """A file that cannot be compared; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Record:
    """One call as CloudTrail shows it.

    Attributes:
        source, name: the service and its action, as in `kms.amazonaws.com` and `Decrypt`.
        principal: ARN of who called, else its unique id; another account's copy shows no ARN.
        issuer: ARN of the role whose session called; "" where none is shown.
        session: the name of that session.
        role_asked, session_asked: of an AssumeRole.
        resources: ARNs that the call names.
    """

    at: datetime
    source: str
    name: str
    region: str
    request_id: str
    event_id: str
    error: str
    principal: str
    issuer: str
    session: str
    role_asked: str
    session_asked: str
    resources: frozenset[str]


def read(files: Sequence[bytes], *, most_bytes: int = MOST_BYTES) -> list[Record]:
    """Return the records of files, each call once, oldest first.

    The copies of a call that several accounts get have different event ids and one request id.

    Raises:
        Unreadable: with the number of the file and what is wrong.
    """
    found: dict[tuple[str, ...], Record] = {}
    count, left = 0, most_bytes
    for number, packed in enumerate(files, 1):
        try:
            text = _unpacked(packed, left)
            left -= len(text)
            for event in _events(text):
                count += 1
                if count > MOST_RECORDS:
                    raise Unreadable(
                        _("there are more than %(most)s records; choose a shorter period", most=MOST_RECORDS)
                    )
                record = _record(event)
                key = (record.request_id, record.source, record.name) if record.request_id else (record.event_id,)
                kept = found.get(key)
                if kept is None or (not kept.issuer and record.issuer):  # the fuller copy
                    found[key] = record
        except Unreadable as error:
            raise Unreadable(_("File %(number)s: %(why)s.", number=number, why=error)) from None
    return sorted(found.values(), key=lambda record: (record.at, record.event_id))


def _unpacked(data: bytes, left: int) -> bytes:
    """Return a file as it was before gzip; several members stand one after the other."""
    too_long = Unreadable(_("there are more than %(most)s bytes, unpacked; choose a shorter period", most=left))
    parts: list[bytes] = []
    while data.startswith(GZIP):
        stream = zlib.decompressobj(wbits=31)
        try:
            part = stream.decompress(data, left + 1)
        except zlib.error:
            raise Unreadable(_("it begins like gzip and cannot be unpacked")) from None
        if len(part) > left:
            raise too_long
        if not stream.eof:
            raise Unreadable(_("it is cut off"))
        left, data = left - len(part), stream.unused_data
        parts.append(part)
        if len(parts) > 100:
            raise Unreadable(_("it has more than 100 gzip members"))
    if parts:
        return b"".join(parts)
    if len(data) > left:
        raise too_long
    return data


def _events(data: bytes) -> Iterator[dict[str, Any]]:
    try:
        text = data.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise Unreadable(_("it is not UTF-8")) from None
    if not text:
        raise Unreadable(_("it is empty"))
    try:
        whole = _parsed(text)
    except Unreadable as error:
        lines = text.split("\n")
        # A mistake in one printed object is said of the whole of it, not of its first line.
        if len(lines) == 1 or not _is_json(lines[0]):
            raise error
        for line in lines:
            if line.strip():
                yield from _events_of(_parsed(line))
        return
    yield from _events_of(whole)


def _events_of(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        lists = [value[name] for name in LISTS if name in value]
        items: Any = lists[0] if lists else [value]
    else:
        items = value
    if not isinstance(items, list):
        raise Unreadable(_("it is no list of records"))
    for item in items:
        if isinstance(item, dict) and isinstance(item.get("CloudTrailEvent"), str):
            item = _parsed(item["CloudTrailEvent"])
        if not isinstance(item, dict):
            raise Unreadable(_("a record is no JSON object"))
        yield item


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_once)
    except Unreadable:
        raise
    except RecursionError:
        raise Unreadable(_("it is nested too deeply")) from None
    except ValueError:
        raise Unreadable(_("it is not JSON")) from None


def _is_json(text: str) -> bool:
    try:
        _parsed(text)
    except Unreadable:
        return False
    return True


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Unreadable(_("a name stands twice in one object"))
    return found


def _record(event: dict[str, Any]) -> Record:
    at = event.get("eventTime")
    if not isinstance(at, str) or not TIME.fullmatch(at):
        raise Unreadable(_("a record has no eventTime like 2026-01-31T12:00:00Z"))
    try:
        time = datetime.strptime(at, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise Unreadable(_("the eventTime of a record is no time")) from None
    if time.year not in YEARS:
        raise Unreadable(_("the eventTime of a record is no time"))
    source, name = _text(event, "eventSource"), _text(event, "eventName")
    if not source or not name:
        raise Unreadable(_("a record has no eventSource or no eventName"))
    who, asked = _object(event, "userIdentity"), _object(event, "requestParameters")
    arn, unique = _text(who, "arn"), _text(who, "principalId")
    named = event.get("resources")
    # The CloudTrail of KMS writes `ARN`; a record from a lookup can have `arn`.
    resources = [item for item in (named if isinstance(named, list) else [])[:32] if isinstance(item, dict)]
    arns = {_text(item, key) for item in resources for key in ("ARN", "arn")} | {
        _text(asked, key) for key in ("keyId", "sourceKeyId", "destinationKeyId")
    }
    session = arn.rpartition("/")[2] if ":assumed-role/" in arn else unique.partition(":")[2]
    return Record(
        at=time,
        source=source,
        name=name,
        region=_text(event, "awsRegion"),
        request_id=_text(event, "requestID"),
        event_id=_text(event, "eventID"),
        error=_text(event, "errorCode"),
        principal=arn or unique or _text(who, "invokedBy") or _text(who, "type") or "unknown",
        issuer=_text(_object(_object(who, "sessionContext"), "sessionIssuer"), "arn"),
        session=session,
        role_asked=_text(asked, "roleArn"),
        session_asked=_text(asked, "roleSessionName"),
        resources=frozenset(arns - {""}),
    )


def _object(holder: dict[str, Any], name: str) -> dict[str, Any]:
    found = holder.get(name)
    return found if isinstance(found, dict) else {}


def _text(holder: dict[str, Any], name: str) -> str:
    found = holder.get(name)
    if not isinstance(found, str):
        return ""
    if not storable.is_text(found):
        raise Unreadable(_("a record holds a character that no record of CloudTrail has"))
    return found[:LONGEST]
