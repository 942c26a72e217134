"""Recoveries in the back office: who asked, who approved, until when members may object."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin

from support.admin.base import Answer, Operation, ReadOnlyAdmin
from tenants import services
from tenants.audit import Actor
from tenants.models import OwnerRecovery

Status = OwnerRecovery.Status


def _approve(recovery: OwnerRecovery, data: dict[str, Any], actor: Actor) -> Answer:
    services.approve_recovery(recovery, reason=data["reason"], actor=actor)
    return "Approved. Every present and former member gets a mail; after 72 hours without an objection it is done."


def _withdraw(recovery: OwnerRecovery, data: dict[str, Any], actor: Actor) -> Answer:
    services.withdraw_recovery(recovery, reason=data["reason"], actor=actor)
    return "Withdrawn. Nothing of it happens."


@admin.register(OwnerRecovery)
class OwnerRecoveryAdmin(ReadOnlyAdmin):
    list_display = ("tenant", "kind", "email", "status", "requested_by", "approved_by", "due_at", "created_at")
    list_filter = ("status", "kind")
    list_select_related = ("tenant", "requested_by", "approved_by")
    search_fields = ("tenant__name", "email")
    fields = (
        "tenant",
        "kind",
        "email",
        "status",
        "reason",
        "requested_by",
        "approved_by",
        "due_at",
        "created_at",
        "ended_at",
    )
    operations: ClassVar[tuple[Operation, ...]] = (
        Operation(
            "approve",
            "Approve as the second lead",
            (
                "Every present and former member gets a mail and can object by a link. "
                "After 72 hours without an objection it is done by itself."
            ),
            "tenants.recover_owner",
            _approve,
            is_offered=lambda recovery: recovery.status == Status.REQUESTED,
        ),
        Operation(
            "withdraw",
            "Withdraw the recovery",
            "Nothing of it happens. The members are told.",
            "tenants.recover_owner",
            _withdraw,
            is_offered=lambda recovery: recovery.status in {Status.REQUESTED, Status.WAITING},
        ),
    )
