"""What whoever is on call is sent: our own JSON, signed as Standard Webhooks are, or PagerDuty's events.

Sources: github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md;
developer.pagerduty.com/docs/send-alert-event (Events API v2). No organisation is
named: a page goes through others' hands.
"""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.urls import reverse

from support.oncall.records import OnCallMessage

VERSION = 1
SUMMARY = 1_000  # characters; PagerDuty takes 1,024
TEST = "Test: this is how you are called when AWS refuses organisations of ours. Nobody has to do anything."


def body(message: OnCallMessage, *, routing_key: str = "") -> str:
    """Return the JSON text of a message."""
    shape = _pagerduty(message, routing_key) if message.channel == OnCallMessage.Channel.PAGERDUTY else _own(message)
    return json.dumps(shape, separators=(",", ":"), sort_keys=True)


def _summary(message: OnCallMessage) -> str:
    incident = message.incident
    if incident is None:
        return TEST
    if message.action == OnCallMessage.Action.RESOLVE:
        return f"Over: the incident on {incident.service_role.name}"
    text = f"It is us: AWS refuses {incident.refused} organisations on {incident.service_role.name}. {incident.why}"
    return text[:SUMMARY]


def _url(message: OnCallMessage) -> str:
    path = "admin:index" if message.incident_id is None else "admin:keys_incident_change"
    arguments = [] if message.incident_id is None else [message.incident_id]
    return str(settings.BASE_URL) + reverse(path, args=arguments)


def _details(message: OnCallMessage) -> dict[str, Any]:
    incident = message.incident
    if incident is None:
        return {"is_test": True}
    return {
        "is_test": False,
        "incident": incident.pk,
        "service_role": incident.service_role.name,
        "refused": incident.refused,
        "why": incident.why,
        "opened_at": incident.opened_at.isoformat(),
        "runbook": "docs/runbook.md, The bad night",
    }


def _own(message: OnCallMessage) -> dict[str, Any]:
    return {
        "version": VERSION,
        "type": f"incident.{message.action}",
        "timestamp": message.created_at.isoformat(),
        "dedup_key": message.dedup_key,
        "summary": _summary(message),
        "url": _url(message),
        "details": _details(message),
    }


def _pagerduty(message: OnCallMessage, routing_key: str) -> dict[str, Any]:
    event: dict[str, Any] = {
        "routing_key": routing_key,
        "event_action": message.action,
        "dedup_key": message.dedup_key,
    }
    if message.action != OnCallMessage.Action.TRIGGER:
        return event
    return event | {
        "client": "Kore.ai bring your own key",
        "client_url": _url(message),
        "links": [{"href": _url(message), "text": "The incident"}],
        "payload": {
            "summary": _summary(message),
            "source": settings.BASE_URL,
            "severity": "info" if message.incident_id is None else "critical",
            "timestamp": message.created_at.isoformat(),
            "component": "our own access to organisations' keys",
            "class": "incident",
            "custom_details": _details(message),
        },
    }
