"""The log in the back office."""

from __future__ import annotations

from typing import Any

from django.contrib import admin

from byokportal import words
from support.admin.base import CodesForStaff, ReadOnlyAdmin
from tenants import audit, audit_events
from tenants.models import AuditEvent


class EventsForStaff(CodesForStaff):
    """The events that there are by the table, not those of a log of millions of lines."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lookup_choices: Any = sorted(audit_events.EVENTS)


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    list_display = ("at", "tenant", "who", "sentence", "kind", "request_id")
    list_filter = (("name", EventsForStaff),)
    list_select_related = ("tenant",)
    search_fields = ("tenant__name", "request_id")
    search_help_text = "Tenant by name, id, ARN, account id or mail address; a request id of ours or of AWS"
    tenant_path = "tenant"
    own_search = "request_id"
    fields = ("at", "tenant", "who", "kind", "sentence", "payload", "request_id", "followed_at")
    ordering = ("-id",)

    @admin.display(description="kind", ordering="name")
    def kind(self, event: AuditEvent) -> str:
        return words.of(event.name)

    @admin.display(description="actor", ordering="actor")
    def who(self, event: AuditEvent) -> str:
        return words.person(audit.actor_of(event))

    @admin.display
    def sentence(self, event: AuditEvent) -> str:
        return audit.sentence(event)
