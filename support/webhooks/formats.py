"""What is sent to a webhook: one event as Standard Webhooks', Slack's or PagerDuty's JSON; pure but for the address
of our own pages.

Sources: github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md;
docs.slack.dev/messaging/sending-messages-using-incoming-webhooks and …/reference/block-kit/blocks;
developer.pagerduty.com/docs/send-alert-event.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.urls import reverse

from byokportal import words
from support import kinds
from support.webhooks.rows import WebhookEndpoint
from tenants import audit
from tenants.models import AuditEvent, Tenant

VERSION = 1
TEST = "support.webhook.test"
TEST_SENTENCE = "This is a test: it was asked for on the page of this webhook, and nothing has happened."
# Characters that Slack takes in one text of a block, and PagerDuty in a summary.
SLACK_TEXT, SUMMARY = 3000, 1024


@dataclass(frozen=True, slots=True)
class Alarm:
    """What an event is to whoever is on call.

    Attributes:
        about: events about the same thing open, and close, one alert.
        severity: PagerDuty's; empty: the alert is resolved.
    """

    about: str
    severity: str = ""


# The events that PagerDuty gets; all others are no alarm, whatever kinds were chosen.
ALARMS = {
    "keys.key.suspended": Alarm("key", "critical"),
    "keys.key.unreachable": Alarm("key", "error"),
    "keys.key.recovered": Alarm("key"),
    "keys.registration.activated": Alarm("key"),
    "keys.key.left": Alarm("key"),
    "keys.key.trust_too_wide": Alarm("trust", "critical"),
    "keys.key.deletion_scheduled": Alarm("deletion", "critical"),
    "keys.kept_key.at_risk": Alarm("old key", "error"),
    "keys.registration.rejected": Alarm("set-up", "warning"),
    "keys.registration.withdrawn": Alarm("set-up"),
}


@dataclass(frozen=True, slots=True)
class Message:
    """What one delivery says."""

    name: str
    kind: str
    at: datetime
    sentence: str
    actor: str
    event_id: str
    data: dict[str, object]
    tenant: Tenant

    @property
    def log_url(self) -> str:
        return str(settings.BASE_URL) + reverse("portal:log", args=[self.tenant.pk])


def message_of(event: AuditEvent, tenant: Tenant) -> Message:
    """Return what is said of an event: what the log shows the organisation, and no more."""
    return Message(
        name=event.name,
        kind=kinds.of_event(event.name),
        at=event.at,
        sentence=audit.sentence(event),
        actor=words.person(audit.actor_of(event)),
        event_id=str(event.pk),
        data=audit.data_of(event),
        tenant=tenant,
    )


def test_of(tenant: Tenant, at: datetime) -> Message:
    """Return what a test says."""
    return Message(TEST, "", at, TEST_SENTENCE, "the system", "", {}, tenant)


def takes(endpoint: WebhookEndpoint, event: AuditEvent) -> bool:
    """Tell whether an endpoint gets an event; of itself it gets nothing, or its failures would go on for ever."""
    if kinds.of_event(event.name) not in endpoint.kinds or json.loads(event.payload)["target"] == str(endpoint.pk):
        return False
    return endpoint.format != WebhookEndpoint.Format.PAGERDUTY or event.name in ALARMS


def body(endpoint_format: str, message: Message, *, routing_key: str = "") -> str:
    """Return the JSON text of a message."""
    text = json.dumps(SHAPES[endpoint_format](message, routing_key), separators=(",", ":"), sort_keys=True)
    return words.without_external_id(text, message.tenant.external_id)


def _standard(message: Message, _: str) -> dict[str, Any]:
    return {
        "version": VERSION,
        "type": message.name,
        "timestamp": message.at.isoformat(),
        "tenant": str(message.tenant.pk),
        "event_id": message.event_id or None,
        "kind": message.kind or None,
        "sentence": message.sentence,
        "actor": message.actor,
        "data": message.data,
        "log_url": message.log_url,
    }


def _slack(message: Message, _: str) -> dict[str, Any]:
    title = f"{message.tenant.name}: {message.sentence}"
    when = f"{message.at:%Y-%m-%d %H:%M:%S} UTC"
    return {
        # Shown in notifications. Here and in mrkdwn three characters make mentions and links; plain_text has none.
        "text": _escaped(title[:SLACK_TEXT]),
        "blocks": [
            {"type": "section", "text": {"type": "plain_text", "text": title[:SLACK_TEXT], "emoji": False}},
            {
                "type": "context",
                "elements": [
                    {
                        "type": "mrkdwn",
                        "text": f"{_escaped(message.actor)[:500]} · {when} · <{_escaped(message.log_url)}|Log>",
                    }
                ],
            },
        ],
    }


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _pagerduty(message: Message, routing_key: str) -> dict[str, Any]:
    alarm = ALARMS.get(message.name, Alarm("test", "info"))
    event: dict[str, Any] = {
        "routing_key": routing_key,
        "event_action": "trigger" if alarm.severity else "resolve",
        "dedup_key": f"byok {message.tenant.pk} {alarm.about}",
    }
    if not alarm.severity:
        return event
    return event | {
        "client": "Kore.ai bring your own key",
        "client_url": message.log_url,
        "links": [{"href": message.log_url, "text": "The log"}],
        "payload": {
            "summary": f"{message.tenant.name}: {message.sentence}"[:SUMMARY],
            "source": settings.BASE_URL,
            "severity": alarm.severity,
            "timestamp": message.at.isoformat(),
            "component": "key",
            "group": str(message.tenant.pk),
            "class": message.name,
            "custom_details": {"event_id": message.event_id, "actor": message.actor, **message.data},
        },
    }


SHAPES: dict[str, Callable[[Message, str], dict[str, Any]]] = {
    WebhookEndpoint.Format.STANDARD: _standard,
    WebhookEndpoint.Format.SLACK: _slack,
    WebhookEndpoint.Format.PAGERDUTY: _pagerduty,
}
