"""Tenants that wait after a restore, in the back office: two leads may do without an owner's confirmation."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin

from keys import services as key_services
from keys.models import RestoreHold
from support.admin.base import Answer, Operation, ReadOnlyAdmin
from tenants.audit import Actor

ROW = "keys.release_hold"


def _request(hold: RestoreHold, data: dict[str, Any], actor: Actor) -> Answer:
    key_services.request_release(hold, reason=data["reason"], actor=actor)
    return "Another support lead has to approve it. Until then no key is given out."


def _approve(hold: RestoreHold, data: dict[str, Any], actor: Actor) -> Answer:
    key_services.approve_release(hold, reason=data["reason"], actor=actor)
    return "Keys are given out again. All owners get a mail with both reasons."


def _refuse(hold: RestoreHold, data: dict[str, Any], actor: Actor) -> Answer:
    key_services.refuse_release(hold, reason=data["reason"], actor=actor)
    return "Refused. The tenant waits for an owner."


def _is_open(hold: RestoreHold) -> bool:
    return bool(hold.status != RestoreHold.Status.ENDED)


def _is_asked(hold: RestoreHold) -> bool:
    return _is_open(hold) and bool(hold.requested_by)


@admin.register(RestoreHold)
class RestoreHoldAdmin(ReadOnlyAdmin):
    list_display = ("tenant", "status", "held_at", "lost_from", "confirmed_at", "requested_by", "ended_as", "ended_at")
    list_filter = ("status", "ended_as")
    list_select_related = ("tenant",)
    tenant_path = "tenant"
    fields = (
        "tenant",
        "status",
        "lost_from",
        "held_at",
        "confirmed_by",
        "confirmed_at",
        "requested_by",
        "request_reason",
        "ended_as",
        "ended_by",
        "ended_at",
    )
    operations: ClassVar[tuple[Operation, ...]] = (
        Operation(
            "request-release",
            "Ask another lead to do without an owner",
            "For when no owner can be reached and waiting does more harm than what may have come back: people whom "
            "they removed, keys that they suspended. All owners get a mail once another lead approves it.",
            ROW,
            _request,
            is_offered=lambda hold: _is_open(hold) and not hold.requested_by,
            is_destructive=True,
        ),
        Operation(
            "approve-release",
            "Approve it as the second lead",
            "Keys are given out at once. All owners get a mail with both reasons.",
            ROW,
            _approve,
            is_offered=_is_asked,
            is_destructive=True,
        ),
        Operation(
            "refuse-release",
            "Refuse it",
            "The tenant goes on waiting for an owner.",
            ROW,
            _refuse,
            is_offered=_is_asked,
        ),
    )
