"""One timeline of a tenant: the log with its moves, the tests with each check, the messages of its tickets."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from django.urls import reverse

from keys.models import CheckResult, EncryptionTest
from support.models import TicketMessage
from tenants import audit
from tenants.models import AuditEvent, Tenant

ENTRIES = 200  # of each kind, the newest


@dataclass(frozen=True, slots=True)
class Entry:
    at: datetime
    kind: str
    who: str
    text: str
    url: str = ""
    checks: list[CheckResult] = field(default_factory=list)


def of(tenant: Tenant) -> list[Entry]:
    """Return what happened, newest first; the number of queries does not depend on how much that is."""
    events = [
        Entry(event.at, "log", event.actor, audit.sentence(event))
        for event in AuditEvent.objects.of(tenant).order_by("-id")[:ENTRIES]
    ]
    tests = [
        Entry(
            test.finished_at or test.created_at,
            "test",
            test.requested_by,
            f"Encryption test: {test.get_verdict_display() or test.get_status_display()}",
            reverse("admin:keys_encryptiontest_change", args=[test.pk]),
            list(test.checks.all()),
        )
        for test in EncryptionTest.objects.of(tenant).prefetch_related("checks")[:ENTRIES]
    ]
    messages = [
        Entry(
            message.at,
            "internal message" if message.is_internal else "message",
            message.author,
            message.text,
            reverse("admin:support_ticket_change", args=[message.ticket_id]),
        )
        for message in TicketMessage.objects.filter(tenant=tenant).order_by("-at", "-id")[:ENTRIES]
    ]
    return sorted(events + tests + messages, key=lambda entry: entry.at, reverse=True)
