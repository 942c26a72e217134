"""A line of the log as an event of OCSF (`ocsf_classes` has the version and the sources); the same line, the same text.

Nothing is left out: what OCSF has no attribute for stands in `unmapped`, the line's leaf among it, by which a receiver
compares what it has with the sealed export (docs/seal.md).
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from django.utils import translation

from tenants import audit, log
from tenants.log_streams import ocsf_classes as classes
from tenants.log_streams.ocsf_classes import Class
from tenants.models import AuditEvent

US = {"name": "Kore.ai BYOK", "vendor_name": "Kore.ai"}
PEOPLE = {"member", "invited", "kore", "link"}  # beginnings of the label of a person (`tenants.audit.Actor`)
NOT_KNOWN = "not known"
TEST, TEST_SENTENCE = "log.test", "This is a test: it was asked for on the page of this stream, and nothing happened."


@translation.override("en")
def event_of(row: AuditEvent) -> dict[str, Any]:
    """Return a sealed line of the log as an event of OCSF."""
    found = classes.CLASSES.get(row.name, classes.UNKNOWN)
    payload = json.loads(row.payload)
    data, actor = audit.data_of(row), audit.actor_of(row)
    unmapped = {
        "actor": actor,
        "via": payload.get("via", ""),
        "target": payload.get("target", ""),
        "kind": log.kind_of(row.name),
        "data": data,
        "leaf": row.seal,
    }
    event = _base(found, row.name, row.at, str(row.tenant_id)) | {"message": audit.sentence(row), "unmapped": unmapped}
    event["metadata"] |= {"uid": str(row.pk), "sequence": row.seal_number}
    if row.request_id:
        event["metadata"]["correlation_uid"] = row.request_id
    return event | {"actor": _actor(actor)} | _of_class(found, row, payload, data)


def test_event(tenant: object, at: datetime) -> dict[str, Any]:
    """Return what a test sends: no line of the log, so it has no number."""
    found = Class(classes.API, classes.OTHER, "log stream")
    event = _base(found, TEST, at, str(tenant)) | {"message": TEST_SENTENCE, "actor": _actor("system")}
    event["metadata"]["uid"] = f"test-{int(at.timestamp())}"
    return event | {"api": {"operation": TEST, "service": {"name": US["name"]}}, "src_endpoint": {"svc_name": "system"}}


def _base(found: Class, name: str, at: datetime, tenant: str) -> dict[str, Any]:
    category = found.uid // 1000
    activity = classes.ACTIVITIES[found.uid][found.activity]
    if found.activity == classes.OTHER:
        # The schema wants the source's own word then.
        activity = name.rpartition(".")[2].replace("_", " ")
    return {
        "category_uid": category,
        "category_name": classes.CATEGORIES[category],
        "class_uid": found.uid,
        "class_name": classes.NAMES[found.uid],
        "activity_id": found.activity,
        "activity_name": activity,
        "type_uid": found.uid * 100 + found.activity,
        "type_name": f"{classes.NAMES[found.uid]}: {activity}",
        "severity_id": found.severity,
        "severity": classes.SEVERITIES[found.severity],
        "status_id": found.status,
        "status": classes.STATUSES[found.status],
        "time": int(at.timestamp() * 1000),  # timestamp_t: milliseconds since 1970
        "metadata": {
            "version": classes.VERSION,
            "product": US,
            "log_name": "byok",
            "event_code": name,
            "tenant_uid": tenant,
            "original_time": at.isoformat(),
        },
    }


def _of_class(found: Class, row: AuditEvent, payload: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    target = str(payload.get("target", ""))
    if found.uid == classes.API:
        facts: dict[str, Any] = {
            "api": {"operation": row.name, "service": {"name": US["name"]}},
            "src_endpoint": {"svc_name": payload.get("via") or "system"},
        }
        if row.request_id:
            facts["api"]["request"] = {"uid": row.request_id}
        return facts | ({"resources": [{"uid": target, "type": found.what}]} if target else {})
    if found.uid == classes.ENTITY:
        return {"entity": _entity(found.what, target, data, row)}
    if found.uid == classes.GROUP:
        group = {"name": _text(data, "group")} | ({"uid": target} if target else {})
        return {"group": group, "privileges": [_text(data, "role")]}
    user = {"user": _user(_text(data, "email"))}
    if found.uid == classes.ACCESS:
        return user | {"privileges": [_text(data, "role")]}
    if found.uid == classes.AUTHENTICATION:
        return user | {"service": {"name": US["name"]}, "is_remote": True}
    return user


def _entity(what: str, target: str, data: dict[str, Any], row: AuditEvent) -> dict[str, Any]:
    named = next((data[one] for one in ("name", "key_arn", "email", "domain", "group", "subject") if one in data), "")
    uid = target or (str(row.tenant_id) if what == "organisation" else "")
    facts = {"type": what, "type_id": classes.OTHER, "name": str(named or what)}
    return facts | ({"uid": uid} if uid else {})


def _text(data: dict[str, Any], name: str) -> str:
    """Return a fact of the line; one that was erased is not known any more."""
    return str(data.get(name) or NOT_KNOWN)


def _user(name: str) -> dict[str, Any]:
    mail = {"email_addr": name} if "@" in name else {}
    return {"name": name, "type_id": 1, "type": "User", **mail}


def _actor(label: str) -> dict[str, Any]:
    kind, colon, name = label.partition(":")
    if colon and kind in PEOPLE:
        org = {"org": {"name": "Kore.ai"}} if kind == "kore" else {}
        return {"user": {**_user(name), **org}}
    return {"app_name": name or label or "system"}
