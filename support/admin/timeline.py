"""One timeline of a tenant, folded by day: operations, moves and states of the key, tests, tickets, our roles."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from django.db.models import CharField, F, QuerySet, TextField, Value
from django.db.models.functions import Cast
from django.urls import reverse

from byokportal import words
from keys.models import EncryptionTest, RoleConfiguration
from support.models import TicketMessage
from tenants import audit, persons
from tenants.models import AuditEvent, Tenant

# Of each kind, the newest; a page is what is left of them after they are put in order.
ENTRIES = 100
KINDS = {"": "Everything", "tests": "Tests", "ours": "Our side", "key": "Key", "people": "People", "tickets": "Tickets"}
ICONS = {"tests": "test", "ours": "server", "key": "key", "people": "user", "tickets": "talk"}
# The beginning of an event's name → its kind; what begins otherwise is somebody's operation.
BEGINNINGS = (
    ("keys.test.", "tests"),
    ("keys.configuration.", "ours"),
    ("keys.incident.", "ours"),
    ("keys.key.", "key"),
    ("keys.registration.", "key"),
    ("keys.branch_key.", "key"),
    ("keys.drill.", "key"),
    ("support.ticket.", "tickets"),
)
TONES = {"pass": "t-ok", "fail": "t-bad", "unknown": "t-warn"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened.

    Attributes:
        details: what stands behind a fold: (what, value), among them the request ids.
    """

    at: datetime
    kind: str
    who: str
    text: str
    tone: str = ""
    url: str = ""
    is_internal: bool = False
    details: list[tuple[str, str]] = field(default_factory=list)

    @property
    def icon(self) -> str:
        return ICONS.get(self.kind, "log")


@dataclass(frozen=True, slots=True)
class Day:
    day: date
    entries: list[Entry]


def of(
    tenant: Tenant, tests: Sequence[EncryptionTest], *, kind: str = "", before: datetime | None = None
) -> tuple[list[Day], datetime | None]:
    """Return what happened, newest first, by day; and from when on there is more, None when there is not.

    Two questions to the database beside the tests, whatever there is.

    Args:
        tests: the newest of the tenant, with their checks.
        kind: one of `KINDS`, "" for all.
        before: show only what is older.
    """
    rows = _rows(tenant, before)
    names = persons.of(text for row in rows if row[0] == "event" for text in (row[2], row[4]))
    found = [_entry(row, tenant, names) for row in rows]
    found += [_of_test(test) for test in tests if before is None or _at(test) < before]
    ordered = sorted(found, key=lambda entry: entry.at, reverse=True)
    page = ordered[:ENTRIES]
    more = page[-1].at if len(ordered) > ENTRIES else None
    shown = [entry for entry in page if not kind or entry.kind == kind]
    days = itertools.groupby(shown, key=lambda entry: entry.at.astimezone(UTC).date())
    return [Day(day, list(entries)) for day, entries in days], more


def _newest(rows: QuerySet[Any], at: str, before: datetime | None) -> QuerySet[Any]:
    """Return the newest of a kind; a union has no limit of its own, so each part brings one."""
    if before is not None:
        rows = rows.filter(**{f"{at}__lt": before})
    newest: QuerySet[Any] = rows.model._default_manager.filter(
        pk__in=rows.order_by(f"-{at}").values("pk")[: ENTRIES + 1]
    )
    return newest


def _rows(tenant: Tenant, before: datetime | None) -> list[Any]:
    def text(name: str) -> Cast:
        return Cast(name, TextField())

    def constant(value: str) -> Value:
        return Value(value, output_field=CharField())

    events = AuditEvent.objects.of(tenant)
    events = events.filter(at__lt=before) if before else events
    newest = AuditEvent.objects.filter(pk__in=events.order_by("-id").values("pk")[: ENTRIES + 1])
    messages = _newest(TicketMessage.objects.filter(tenant=tenant), "at", before)
    configurations = _newest(RoleConfiguration.objects.of(tenant), "created_at", before)
    parts = [
        newest.annotate(of=constant("event"), when=F("at"), who=text("actor"), word=text("name"))
        .annotate(body=text("payload"), more=text("request_id")),
        messages.annotate(of=constant("message"), when=F("at"), who=text("author"), word=text("is_internal"))
        .annotate(body=text("text"), more=text("ticket")),
        configurations.annotate(of=constant("configuration"), when=F("created_at"), who=text("approved_by"))
        .annotate(word=text("status"), body=text("evidence"), more=text("id")),
    ]  # fmt: skip
    columns = ("of", "when", "who", "word", "body", "more")
    each = [part.order_by().values_list(*columns) for part in parts]
    return list(each[0].union(*each[1:], all=True))


def _entry(row: Any, tenant: Tenant, names: dict[str, persons.Name]) -> Entry:
    of, at, who, word, body, more = row
    if of == "event":
        event = AuditEvent(tenant=tenant, at=at, actor=who, name=word, payload=body, request_id=more)
        event.names = names
        return _of_event(event)
    if of == "message":
        url = reverse("admin:support_ticket_change", args=[more])
        is_internal = str(word).lower() in {"true", "1"}
        return Entry(at, "tickets", words.person(who), body, url=url, is_internal=is_internal)
    return _of_configuration(at, who, word, body, more)


def _of_event(event: AuditEvent) -> Entry:
    kind = next((kind for beginning, kind in BEGINNINGS if event.name.startswith(beginning)), "people")
    details = [("Our request id", event.request_id)] if event.request_id else []
    return Entry(event.at, kind, words.person(audit.actor_of(event)), audit.sentence(event), details=details)


def _of_configuration(at: datetime, who: str, status: str, evidence: str, pk: str) -> Entry:
    label = dict(RoleConfiguration.Status.choices).get(status, status)
    tone = "t-ok" if status == "done" else "t-bad" if status == "failed" else ""
    found = json.loads(evidence or "{}")
    details = [(words.label(name).replace("_", " "), words.label(value)) for name, value in found.items()]
    url = reverse("admin:keys_roleconfiguration_change", args=[pk])
    return Entry(at, "ours", words.person(who), f"Our role’s policy for them: {label}", tone, url, details=details)


def _at(test: EncryptionTest) -> datetime:
    return test.finished_at or test.created_at


def _of_test(test: EncryptionTest) -> Entry:
    details = []
    for check in test.checks.all():
        facts = [check.get_verdict_display(), check.evidence.get("aws_code"), check.evidence.get("request_id")]
        details.append((check.title or words.label(check.code), ", ".join(str(fact) for fact in facts if fact)))
    return Entry(
        _at(test),
        "tests",
        words.person(test.requested_by),
        f"Encryption test: {test.get_verdict_display() or test.get_status_display()}",
        TONES.get(test.verdict, ""),
        reverse("admin:keys_encryptiontest_change", args=[test.pk]),
        details=details,
    )
