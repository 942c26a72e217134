"""Streams of tenants' logs in the back office: how far each receiver is, to look at only, and without secrets."""

from __future__ import annotations

from django.contrib import admin

from support.admin.base import ReadOnlyAdmin
from tenants.models import LogStream


@admin.register(LogStream)
class LogStreamAdmin(ReadOnlyAdmin):
    list_display = ("description", "tenant", "format", "origin", "status", "behind_since", "failing_since", "why")
    list_filter = ("status", "format")
    list_select_related = ("tenant",)
    search_fields = ("description", "tenant__name", "=id")
    fields = (
        "description",
        "tenant",
        "format",
        "origin",
        "header_names",
        "status",
        "acknowledged",
        "woken_at",
        "due_at",
        "behind_since",
        "failures",
        "failing_since",
        "told_at",
        "delivered_at",
        "rejected",
        "answered_at",
        "answer_status",
        "why",
        "test_why",
        "old_secret_until",
        "made_by",
        "created_at",
    )
