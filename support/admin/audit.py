"""The log in the back office."""

from __future__ import annotations

from django.contrib import admin

from byokportal import words
from support.admin.base import CodesForStaff, ReadOnlyAdmin
from tenants import audit
from tenants.models import AuditEvent


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    list_display = ("at", "tenant", "actor", "sentence", "kind", "request_id")
    list_filter = (("name", CodesForStaff),)
    list_select_related = ("tenant",)
    search_fields = ("tenant__name", "actor", "name", "request_id")
    fields = ("at", "tenant", "actor", "kind", "sentence", "payload", "request_id", "followed_at")
    ordering = ("-id",)

    @admin.display(description="kind", ordering="name")
    def kind(self, event: AuditEvent) -> str:
        return words.of(event.name)

    @admin.display
    def sentence(self, event: AuditEvent) -> str:
        return audit.sentence(event)
