"""Service roles in the back office: how full, what stands in IAM, and what to do about what somebody else changed."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from keys import services as key_services
from keys.models import Canary, DriftResolution, ServiceRolePolicy
from support.admin.base import Answer, Operation, ReadOnlyAdmin
from support.forms import ReasonForm
from tenants.audit import Actor
from tenants.models import ServiceRole

RESOLUTIONS = 20  # the newest, on the page of a service role


class PolicyForm(ReasonForm):
    """Which of the policies that somebody changed is meant."""

    slot = forms.IntegerField(label="Policy number", min_value=0, max_value=9)


class ChoiceForm(PolicyForm):
    """… and what becomes of it."""

    choice = forms.ChoiceField(
        label="What becomes of it",
        choices=[
            (one.value, one.label) for one in (DriftResolution.Choice.TAKE_OURS, DriftResolution.Choice.TAKE_THEIRS)
        ],
    )


def _drifted(service_role: ServiceRole) -> QuerySet[ServiceRolePolicy]:
    return ServiceRolePolicy.objects.filter(service_role=service_role).exclude(found="")


def _is_drifted(service_role: ServiceRole) -> bool:
    return _drifted(service_role).exists()


def _first(service_role: ServiceRole) -> dict[str, Any]:
    return {"slot": _drifted(service_role).values_list("slot", flat=True).first()}


def _request(service_role: ServiceRole, data: dict[str, Any], actor: Actor) -> Answer:
    key_services.request_resolution(
        key_services.policy_of(service_role, data["slot"]), choice=data["choice"], reason=data["reason"], actor=actor
    )
    return "Another support lead has to look at the difference and approve it. It stands under Drift resolutions."


def _restore(service_role: ServiceRole, data: dict[str, Any], actor: Actor) -> Answer:
    key_services.restore_last_good(
        key_services.policy_of(service_role, data["slot"]), reason=data["reason"], actor=actor
    )
    return "The last good version is restored now. Another support lead has to look at it within a day."


@admin.register(ServiceRole)
class ServiceRoleAdmin(ReadOnlyAdmin):
    list_display = ("name", "arn", "is_open", "places", "count_due_at", "created_at")
    search_fields = ("name", "arn")
    fields = (
        "name",
        "arn",
        "unique_id",
        "canary_role_arn",
        "is_open",
        "places",
        "lease_owner",
        "lease_until",
        "created_at",
    )
    operations: ClassVar[tuple[Operation, ...]] = (
        Operation(
            "resolve-drift",
            "Ask another lead what becomes of a changed policy",
            "You choose, another support lead looks at the difference below and approves or refuses. Nothing is "
            "written before that. What stands in IAM can be taken over only if it is a policy that we could have "
            "written ourselves, with our Deny, and names only roles that tenants of this service role gave.",
            "keys.resolve_drift",
            _request,
            form=ChoiceForm,
            initial=_first,
            is_offered=_is_drifted,
        ),
        Operation(
            "restore-policy",
            "Restore the last good version at once",
            "For when tenants are shut out now: what we last wrote is put back without asking anybody. Another support "
            "lead has to look at it within a day.",
            "keys.resolve_drift",
            _restore,
            form=PolicyForm,
            initial=_first,
            is_offered=_is_drifted,
            is_destructive=True,
        ),
    )

    def about(self, request: HttpRequest, obj: ServiceRole) -> dict[str, Any]:
        return {"policies": key_services.policies_of(obj), "resolutions": key_services.resolutions_of(obj, RESOLUTIONS)}


def _approve(resolution: DriftResolution, data: dict[str, Any], actor: Actor) -> Answer:
    key_services.approve_resolution(resolution, reason=data["reason"], actor=actor)
    return "The worker does it now. The page of the service role shows what came of it."


def _refuse(resolution: DriftResolution, data: dict[str, Any], actor: Actor) -> Answer:
    key_services.refuse_resolution(resolution, reason=data["reason"], actor=actor)
    return "Nothing is written. The policy stays as it is in IAM until somebody decides anew."


def _review(resolution: DriftResolution, data: dict[str, Any], actor: Actor) -> Answer:
    key_services.review_restoration(resolution, reason=data["reason"], actor=actor)
    return "What you found is in the log."


def _waits(resolution: DriftResolution) -> bool:
    return bool(resolution.status == DriftResolution.Status.WAITING)


def _waits_for_review(resolution: DriftResolution) -> bool:
    return resolution.review_due_at is not None and not resolution.reviewed_by


@admin.register(DriftResolution)
class DriftResolutionAdmin(ReadOnlyAdmin):
    list_display = ("policy", "choice", "status", "requested_by", "created_at", "decided_by", "review_due_at")
    list_filter = ("status", "choice")
    list_select_related = ("policy__service_role",)
    fields = (
        "policy",
        "choice",
        "status",
        "reason",
        "requested_by",
        "created_at",
        "decided_by",
        "outcome",
        "finished_at",
        "review_due_at",
        "reviewed_by",
    )
    operations: ClassVar[tuple[Operation, ...]] = (
        Operation(
            "approve-resolution",
            "Approve it",
            "You have looked at the difference below. The worker writes it now, if IAM still holds what you see.",
            "keys.resolve_drift",
            _approve,
            is_offered=_waits,
        ),
        Operation(
            "refuse-resolution",
            "Refuse it",
            "Nothing is written.",
            "keys.resolve_drift",
            _refuse,
            is_offered=_waits,
            is_destructive=True,
        ),
        Operation(
            "review-restoration",
            "I have looked at the restoration",
            "Say what you found: who changed our policy, and whether restoring it was right.",
            "keys.resolve_drift",
            _review,
            is_offered=_waits_for_review,
        ),
    )

    def about(self, request: HttpRequest, obj: DriftResolution) -> dict[str, Any]:
        return {"difference": obj.difference}


@admin.register(Canary)
class CanaryAdmin(ReadOnlyAdmin):
    """Our own tenants, one for each service role and Region in use, and whether they come through."""

    list_display = ("service_role", "region", "stage", "passed_at", "failing_since", "why")
    list_filter = ("stage", ("failing_since", admin.EmptyFieldListFilter))
    list_select_related = ("service_role",)
    fields = (
        "tenant",
        "service_role",
        "region",
        "stage",
        "role_arn",
        "key_arn",
        "passed_at",
        "tested_at",
        "failing_since",
        "why",
        "due_at",
        "created_at",
    )

    def named(self, obj: Canary) -> str:
        return f"Canary of {obj.service_role} in {obj.region}"
