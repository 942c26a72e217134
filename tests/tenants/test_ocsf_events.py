"""Each event of the log as OCSF 1.3.0: what its class requires is there, and nothing that it does not know.

The tables below were read from github.com/ocsf/ocsf-schema at the tag 1.3.0: events/base_event.json with its includes,
events/iam/*.json, events/application/api.json and objects/*.json ("requirement": "required", and "constraints").
"""

from __future__ import annotations

import json
import string
from typing import Any

import pytest

from tenants import audit, audit_events
from tenants.log_streams import ocsf_classes, ocsf_events
from tenants.models import AuditEvent, Tenant

pytestmark = pytest.mark.django_db

# Of every event: base_event.json, includes/classification.json, includes/occurrence.json.
BASE = {"activity_id", "category_uid", "class_uid", "type_uid", "time", "metadata", "severity_id"}
OPTIONAL = {
    "activity_name",
    "category_name",
    "class_name",
    "type_name",
    "severity",
    "status",
    "status_id",
    "message",
    "unmapped",
    "actor",
}
REQUIRED = {
    3001: {"user"},
    3002: {"user", "service"},  # at_least_one: service, dst_endpoint
    3004: {"entity"},
    3005: {"user", "privileges"},
    3006: {"group", "privileges"},  # at_least_one: privileges, user
    6003: {"api", "actor", "src_endpoint"},
}
MORE = {3002: {"is_remote"}, 6003: {"resources"}}
# Object → one of these has to be there (constraints of objects/*.json), and what else we give it.
AT_LEAST_ONE = {
    "user": ({"account", "name", "uid"}, {"type", "type_id", "email_addr", "org"}),
    "entity": ({"name", "uid", "device", "group", "org", "policy", "user"}, {"type", "type_id"}),
    "group": ({"name", "uid"}, set()),
    "service": ({"name", "uid"}, set()),
    "src_endpoint": ({"ip", "uid", "name", "hostname", "svc_name"}, set()),
    "actor": ({"process", "user", "invoked_by", "session", "app_name", "app_uid"}, set()),
}
# Of objects/metadata.json; product, in turn, requires vendor_name.
METADATA = {"version", "product"}
METADATA_OPTIONAL = {
    "log_name",
    "event_code",
    "tenant_uid",
    "original_time",
    "uid",
    "sequence",
    "correlation_uid",
}
ACTIVITIES = {
    3001: set(range(1, 12)),
    3002: set(range(1, 7)),
    3004: set(range(1, 14)),
    3005: {1, 2},
    3006: set(range(1, 7)),
    6003: set(range(1, 5)),
}


def example(tenant: Tenant, name: str, actor: str = "system", request_id: str = "") -> AuditEvent:
    """Return a sealed line of an event with a value for each place of its sentence."""
    places = {place for _, place, _, _ in string.Formatter().parse(str(audit_events.EVENTS[name])) if place}
    data = {place: "a@b.example" if place == "email" else f"the {place}" for place in places}
    row = audit.record(name, tenant=tenant, actor=audit.Actor(label=actor, kind="system", via="api"), **data)
    row.seal_number, row.seal, row.request_id = 7, "5e" * 32, request_id
    return row


def hold(event: dict[str, Any]) -> None:
    """Hold an event against the schema."""
    uid = event["class_uid"]
    assert BASE | REQUIRED[uid] <= event.keys() <= BASE | OPTIONAL | REQUIRED[uid] | MORE.get(uid, set())
    assert event["category_uid"] == uid // 1000
    assert event["activity_id"] in ACTIVITIES[uid] | {99}
    assert event["type_uid"] == uid * 100 + event["activity_id"]
    assert event["severity_id"] in {1, 2, 3, 4, 5} and event["status_id"] in {1, 2}
    assert METADATA <= event["metadata"].keys() <= METADATA | METADATA_OPTIONAL
    assert event["metadata"]["version"] == "1.3.0" and event["metadata"]["product"]["vendor_name"]
    for name, (needed, more) in AT_LEAST_ONE.items():
        found = event.get(name)
        if found is not None:
            assert needed & found.keys() and found.keys() <= needed | more, (name, found)
            assert all(found.values()), (name, found)
    if "api" in event:
        assert {"operation"} <= event["api"].keys() <= {"operation", "service", "request"}
        assert event["api"].get("request", {"uid": "x"})["uid"]
    assert isinstance(event["time"], int) and event["message"]
    assert all(isinstance(one, str) for one in event.get("privileges", []))


def test_each_event_has_its_class_and_no_other_has() -> None:
    assert ocsf_classes.CLASSES.keys() == audit_events.EVENTS.keys()
    assert set(REQUIRED) == set(ocsf_classes.NAMES) == {one.uid for one in ocsf_classes.CLASSES.values()}
    for uid, activities in ocsf_classes.ACTIVITIES.items():
        assert activities.keys() <= ACTIVITIES[uid] | {99}
    assert all(
        one.what for one in ocsf_classes.CLASSES.values() if one.uid in {ocsf_classes.ENTITY, ocsf_classes.API}
    ), "what is it about?"


@pytest.mark.parametrize("name", sorted(audit_events.EVENTS))
def test_each_event_has_what_its_class_requires(tenant: Tenant, name: str) -> None:
    event = ocsf_events.event_of(example(tenant, name, request_id="r-1"))
    hold(event)
    assert ocsf_events.NOT_KNOWN not in json.dumps(event), "a class whose facts the event does not have"
    assert (event["metadata"]["sequence"], event["metadata"]["correlation_uid"]) == (7, "r-1")
    assert event["unmapped"]["leaf"] == "5e" * 32


@pytest.mark.parametrize(
    "actor",
    [
        "system",
        "directory",
        "kore:command line",
        "kore:sam@kore.example",
        "member:a@b.example",
        "invited:a@b.example",
        "service:search (7f)",
        "link:Cloud platform",
        "",
    ],
)
def test_whoever_acts_is_an_actor(tenant: Tenant, actor: str) -> None:
    for name in ("keys.test.requested", "keys.key.suspended", "tenants.member.left"):
        hold(ocsf_events.event_of(example(tenant, name, actor)))


def test_a_line_of_an_earlier_version_and_one_with_an_erased_field_arrive_too(tenant: Tenant) -> None:
    old = example(tenant, "keys.test.requested")
    old.name = "keys.test.of_long_ago"
    hold(ocsf_events.event_of(old))
    erased = example(tenant, "tenants.member.left")
    payload = json.loads(erased.payload)
    hidden = {**payload, "data": {"email": ""}}
    erased.payload = audit.canonical(hidden)
    event = ocsf_events.event_of(erased)
    hold(event)
    assert event["user"]["name"] == ocsf_events.NOT_KNOWN


def test_a_test_is_an_event_too(tenant: Tenant) -> None:
    row = example(tenant, "keys.test.requested")
    event = ocsf_events.test_event(tenant.pk, row.at)
    hold(event)
    assert "sequence" not in event["metadata"]


def test_the_same_line_is_the_same_text(tenant: Tenant) -> None:
    from django.utils import translation

    row = example(tenant, "keys.latency.changed")
    with translation.override("de"):
        german = ocsf_events.event_of(row)
    assert german == ocsf_events.event_of(row)
