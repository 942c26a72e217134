"""Closings of organisations in the back office: who asked, who approved, how far it is, and the receipts."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from django.contrib import admin

from keys import services
from keys.models import Closing
from support.admin.base import Answer, Operation, ReadOnlyAdmin
from tenants.audit import Actor

Status = Closing.Status


def _approve(closing: Closing, data: dict[str, Any], actor: Actor) -> Answer:
    services.approve_closing(closing, reason=data["reason"], actor=actor)
    return "Approved. The worker writes the export, then destroys the keys. This page says how far it is."


def _refuse(closing: Closing, data: dict[str, Any], actor: Actor) -> Answer:
    services.refuse_closing(closing, reason=data["reason"], actor=actor)
    return "Refused. Nothing of it happens."


@admin.register(Closing)
class ClosingAdmin(ReadOnlyAdmin):
    list_display = ("tenant", "status", "requested_by", "erased_at", "ends_at", "why", "created_at")
    list_filter = ("status",)
    list_select_related = ("tenant",)
    search_fields = ("tenant__name",)
    fields = (
        "tenant",
        "status",
        "reason",
        "requested_by",
        "decided_by",
        "decision",
        "why",
        "folder",
        "created_at",
        "erased_at",
        "ends_at",
        "receipts",
    )
    operations: ClassVar[tuple[Operation, ...]] = (
        Operation(
            "approve",
            "Approve as the second lead",
            (
                "Its log is exported, then every key that opens its data is destroyed and everybody loses their way "
                "in. Nobody can undo that."
            ),
            "keys.close_tenant",
            _approve,
            is_offered=lambda closing: closing.status == Status.WAITING,
            is_destructive=True,
        ),
        Operation(
            "refuse",
            "Refuse the closing",
            "Nothing of it happens.",
            "keys.close_tenant",
            _refuse,
            is_offered=lambda closing: closing.status == Status.WAITING,
        ),
    )

    @admin.display(description="signed receipts, to keep as they are")
    def receipts(self, closing: Closing) -> str:
        return "\n".join(json.dumps(one) for one in services.receipts_of(closing.tenant)) or "none yet"
