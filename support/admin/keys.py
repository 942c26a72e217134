"""Registrations, tests with every check, and role configurations in the back office."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar, cast

from django.contrib import admin
from django.contrib.admin.utils import display_for_field
from django.db.models import Field, prefetch_related_objects
from django.http import HttpRequest

from byokportal import words
from keys import services as key_services
from keys.models import EncryptionTest, KeyHealth, KeyRegistration, RevocationDrill, RoleConfiguration
from support import services
from support.admin import progress
from support.admin.base import CODES, Answer, Operation, ReadOnlyAdmin
from support.admin.tenants import OPERATIONS
from tenants.audit import Actor


def _of_tenant(operation: Operation) -> Operation:
    """Return a tenant's operation as it stands on the page of something that belongs to the tenant."""

    def do(obj: Any, data: dict[str, Any], actor: Actor) -> Answer:
        return operation.do(obj.tenant, data, actor)

    return replace(operation, do=do, is_offered=lambda obj: operation.is_offered(obj.tenant))


TENANTS_OPERATIONS = tuple(_of_tenant(operation) for operation in OPERATIONS)
APPROVE = tuple(operation for operation in TENANTS_OPERATIONS if operation.name == "approve")


def _retry(configuration: RoleConfiguration, data: dict[str, Any], actor: Actor) -> Answer:
    key_services.retry_configuration(configuration, reason=data["reason"], actor=actor)
    return "The worker tries it again now. Reload to see what comes of it."


RUNS_SIDE_BY_SIDE = 4  # the test of the page and those before it
RUN_TEST = tuple(operation for operation in TENANTS_OPERATIONS if operation.name == "run-test")


# What the page of a registration shows of its health.
HEALTH = (
    "last_probe_at",
    "next_probe_at",
    "probe_asked_at",
    "good_probes",
    "good_since",
    "denied_probes",
    "refused_since",
    "refused_code",
    "denied_since",
    "key_facts",
    "trust_looked_at",
    "insecure_since",
)


def _of_health(name: str) -> Callable[[KeyRegistration], str]:
    """Return a column of a registration's health as the page of the registration shows it."""
    field = cast("Field[Any, Any]", KeyHealth._meta.get_field(name))

    @admin.display(description=field.verbose_name)
    def shown(registration: KeyRegistration) -> str:
        prefetch_related_objects([registration], "health")
        health = next(iter(registration.health.all()), None)
        value = getattr(health, name, None)
        if name in CODES:
            return words.label(value) if value else ""
        return str(display_for_field(value, field, "-"))

    return shown


@admin.register(KeyRegistration)
class KeyRegistrationAdmin(ReadOnlyAdmin):
    list_display = ("tenant", "status", "suspended_by", "reason", "moved_at", "key_arn", "role_arn")
    list_filter = ("status", "suspended_by")
    list_select_related = ("tenant",)
    search_fields = ("tenant__name", "=id", "key_arn", "role_arn")
    tenant_path = "tenant"
    search_help_text = "Tenant, id, ARN or account id"
    fields = (
        "tenant",
        "id",
        "status",
        "suspended_by",
        "reason",
        "moved_at",
        "key_arn",
        "role_arn",
        "submitted_at",
        "activated_at",
        "last_moved_at",
        *(_of_health(name) for name in HEALTH),  # type: ignore[arg-type]  # Django takes callables too
        "tenant_suspended_at",
    )
    operations: ClassVar[tuple[Operation, ...]] = TENANTS_OPERATIONS

    def about(self, request: HttpRequest, obj: KeyRegistration) -> dict[str, Any]:
        services.record_view(obj.tenant, actor=Actor.staff(request.user))
        tests = list(obj.tests.select_related("registration").prefetch_related("checks")[:20])
        return {
            "progress": progress.of(obj.tenant),
            "tests": tests,
            "newest": key_services.read_test(tests[0]) if tests else None,
        }


@admin.register(EncryptionTest)
class EncryptionTestAdmin(ReadOnlyAdmin):
    list_display = ("tenant", "created_at", "status", "verdict", "requested_by", "finished_at")
    list_filter = ("status", "verdict")
    list_select_related = ("tenant",)
    search_fields = ("tenant__name", "=id", "registration__role_arn", "registration__key_arn")
    tenant_path = "tenant"
    fields = (
        "tenant",
        "registration",
        "status",
        "verdict",
        "requested_by",
        "created_at",
        "started_at",
        "due_at",
        "attempts",
        "keep_until",
        "finished_at",
    )
    operations: ClassVar[tuple[Operation, ...]] = RUN_TEST

    def about(self, request: HttpRequest, obj: EncryptionTest) -> dict[str, Any]:
        before = EncryptionTest.objects.of(obj.tenant).filter(created_at__lte=obj.created_at)
        comparison = key_services.compare_tests(before, start=0, count=RUNS_SIDE_BY_SIDE)
        return {"reading": key_services.read_test(obj), "comparison": comparison}


@admin.register(RoleConfiguration)
class RoleConfigurationAdmin(ReadOnlyAdmin):
    list_display = ("tenant", "action", "status", "reason", "role_arn", "service_role", "created_at", "finished_at")
    list_filter = ("status", "action", "service_role")
    list_select_related = ("tenant", "service_role")
    search_fields = ("tenant__name", "=id", "role_arn")
    tenant_path = "tenant"
    fields = (
        "tenant",
        "registration",
        "service_role",
        "action",
        "role_arn",
        "status",
        "reason",
        "approved_by",
        "evidence",
        "attempts",
        "due_at",
        "created_at",
        "finished_at",
    )
    operations: ClassVar[tuple[Operation, ...]] = (
        *APPROVE,
        Operation(
            "try-again",
            "Try this change again",
            "The worker reads our policy and writes this one change of it again. Correct first what stopped it: the "
            "reason stands below, and the runbook says what to do about each.",
            "keys.approve",
            _retry,
            is_offered=lambda obj: obj.tenant.closed_at is None and key_services.can_retry(obj),
        ),
    )

    def about(self, request: HttpRequest, obj: RoleConfiguration) -> dict[str, Any]:
        return {"policy_change": key_services.change_of(obj) if obj.finished_at is None else []}


@admin.register(RevocationDrill)
class RevocationDrillAdmin(ReadOnlyAdmin):
    list_display = (
        "tenant",
        "status",
        "started_at",
        "refused_at",
        "stopped_after",
        "bound_seconds",
        "served_at",
        "reason",
    )
    list_filter = ("status",)
    list_select_related = ("tenant",)
    search_fields = ("tenant__name", "=id")
    tenant_path = "tenant"
    fields = (
        "tenant",
        "registration",
        "status",
        "reason",
        "started_by",
        "bound_seconds",
        "started_at",
        "until",
        "allowed_at",
        "refused_at",
        "refused_code",
        "suspended_at",
        "generation",
        "processes",
        "dropped",
        "stopped_at",
        "answered_at",
        "served_at",
        "finished_at",
    )
