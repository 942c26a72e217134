"""Tenants in the back office: where each one waits, its six steps, its timeline, and the operations done for it."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from keys import services as key_services
from keys.models import BranchKey, KeyRegistration, RoleConfiguration
from support import services
from support.admin import progress, timeline
from support.admin.base import Answer, Operation, ReadOnlyAdmin
from support.forms import FirstOwnerForm, NewOwnerForm, NewTenantForm
from tenants import services as tenant_services
from tenants.audit import Actor
from tenants.models import Member, OnboardingStep, Role, ServiceRole, Tenant


def _approve(tenant: Tenant, data: dict[str, Any], actor: Actor) -> Answer:
    services.approve_configuration(tenant, reason=data["reason"], actor=actor)
    return "Approved. The worker configures the service role now; the encryption test follows by itself."


def _run_test(tenant: Tenant, data: dict[str, Any], actor: Actor) -> Answer:
    key_services.start_test(tenant, reason=data["reason"], actor=actor)
    return "The encryption test runs. Open it below to see its checks turn."


def _suspend(tenant: Tenant, data: dict[str, Any], actor: Actor) -> Answer:
    key_services.suspend(tenant, reason=data["reason"], actor=actor)
    return "The key is suspended: within 5 seconds nothing of this tenant opens. Resume is here when it may go on."


def _resume(tenant: Tenant, data: dict[str, Any], actor: Actor) -> Answer:
    key_services.resume(tenant, reason=data["reason"], actor=actor)
    return "The key is asked now. It is in service after two good answers, usually within seconds."


def _ask_again(tenant: Tenant, data: dict[str, Any], actor: Actor) -> Answer:
    key_services.ask_again(tenant, reason=data["reason"], actor=actor)
    return "AWS is asked now. Load this page again in a few seconds: the answer is on the registration."


def _drop_caches(tenant: Tenant, data: dict[str, Any], actor: Actor) -> Answer:
    key_services.drop_caches(tenant, reason=data["reason"], actor=actor)
    return (
        "Every process drops what it holds of this tenant within 5 seconds. Under “Last stop or drop” each one says so."
    )


def _invite(tenant: Tenant, data: dict[str, Any], actor: Actor) -> Answer:
    invitation = tenant_services.invite(tenant, email=data["email"], role=Role.OWNER, actor=actor)
    return f"{invitation.email} is invited as the first owner; the mail is on its way."


def _never_had_an_owner(tenant: Tenant) -> bool:
    return not Member.everybody.filter(tenant=tenant).exists()


def _withdraw_invitation(tenant: Tenant, data: dict[str, Any], actor: Actor) -> Answer:
    for invitation in tenant.invitations.open():
        tenant_services.withdraw_invitation(invitation, reason=data["reason"], actor=actor)
    return "Withdrawn. Invite the first owner again, at the right address."


def _resend_invitation(tenant: Tenant, data: dict[str, Any], actor: Actor) -> Answer:
    for invitation in tenant.invitations.open():
        tenant_services.resend_invitation(invitation, actor=actor)
    return "A new link is on its way; the one before no longer works."


def _is_first_owner_invited(tenant: Tenant) -> bool:
    return _never_had_an_owner(tenant) and tenant.invitations.open().exists()


def _recover_owner(tenant: Tenant, data: dict[str, Any], actor: Actor) -> Answer:
    tenant_services.request_new_owner(tenant, email=data["email"], reason=data["reason"], actor=actor)
    return "Asked for. A second lead has to approve it; then every member has 72 hours to object."


def _recover_second_factor(tenant: Tenant, data: dict[str, Any], actor: Actor) -> Answer:
    tenant_services.request_second_factor(tenant, reason=data["reason"], actor=actor)
    return "Asked for. A second lead has to approve it; then every member has 72 hours to object."


def _has_no_owner(tenant: Tenant) -> bool:
    return not _never_had_an_owner(tenant) and not Member.objects.of(tenant).owners().exists()


def _has_one_owner(tenant: Tenant) -> bool:
    return Member.objects.of(tenant).owners().count() == 1


def _create(_: None, data: dict[str, Any], actor: Actor) -> Answer:
    tenant = tenant_services.create_tenant(data["name"], owner_email=data["owner_email"], actor=actor)
    return f"{tenant.name} is there and its owner is invited."


def _waits_for_approval(tenant: Tenant) -> bool:
    return RoleConfiguration.objects.of(tenant).filter(status=RoleConfiguration.Status.WAITING_FOR_APPROVAL).exists()


def _is_serving(tenant: Tenant) -> bool:
    return KeyRegistration.objects.of(tenant).serving().exclude(status=KeyRegistration.Status.SUSPENDED).exists()


def _is_suspended_by_us(tenant: Tenant) -> bool:
    ours = KeyRegistration.SuspendedBy.KORE
    return KeyRegistration.objects.of(tenant).serving().filter(suspended_by=ours).exists()


def _has_branch_keys(tenant: Tenant) -> bool:
    return BranchKey.objects.of(tenant).exists()


def _is_testable(tenant: Tenant) -> bool:
    status = KeyRegistration.Status
    return (
        KeyRegistration.objects.of(tenant)
        .filter(status__in=[status.TESTING, status.REJECTED, *KeyRegistration.SERVING])
        .exists()
    )


OPERATIONS = (
    Operation(
        "approve",
        "Approve the service-side configuration",
        "The worker names this tenant's role in our service role's policy, then runs the encryption test.",
        "keys.approve",
        _approve,
        is_offered=_waits_for_approval,
    ),
    Operation(
        "run-test",
        "Run the encryption test",
        "Asks AWS for a fresh proof. A key in service stays in service unless a check fails.",
        "keys.test",
        _run_test,
        is_offered=_is_testable,
    ),
    Operation(
        "suspend",
        "Suspend the key",
        "Within 5 seconds no process of ours opens or makes a data key of this tenant. Only Resume here ends it.",
        "keys.suspend",
        _suspend,
        is_offered=_is_serving,
        is_destructive=True,
    ),
    Operation(
        "resume",
        "Resume the key",
        "Ends Kore.ai's suspension. The tenant's own Suspend and a refusal by AWS stay as they are.",
        "keys.resume",
        _resume,
        is_offered=_is_suspended_by_us,
        is_destructive=True,
    ),
    Operation(
        "ask-again",
        "Ask AWS again now",
        (
            "Asks AWS for the key's state at once. Two good answers end a suspension by AWS; "
            "a pressed Suspend stays, the tenant's and ours."
        ),
        "keys.probe",
        _ask_again,
    ),
    Operation(
        "drop-caches",
        "Drop cached keys now",
        (
            "Every process forgets its unwrapped keys of this tenant within 5 seconds. Nothing is suspended: "
            "the next use asks the tenant's key again."
        ),
        "keys.drop_caches",
        _drop_caches,
        is_offered=_has_branch_keys,
    ),
)


# What the page of a tenant shows at most: while keys are dropped it asks for itself every two seconds.
REGISTRATIONS, PEOPLE = 50, 200


class WaitsAt(admin.SimpleListFilter):
    """Tenants that stand at one step: not done, and not merely not begun."""

    title = "waits at step"
    parameter_name = "step"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(number), f"Step {number}") for number in range(1, 7)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Tenant]) -> QuerySet[Tenant]:
        number = self.value()
        if number is None or number not in {str(known) for known in range(1, 7)}:
            return queryset
        begun = OnboardingStep.objects.filter(number=int(number)).exclude(
            status__in=[*progress.OVER, OnboardingStep.Status.NOT_STARTED]
        )
        return queryset.filter(pk__in=begun.values("tenant"))


class WhoseTurn(admin.SimpleListFilter):
    """Tenants with a step that waits for somebody."""

    title = "whose turn"
    parameter_name = "turn"
    CHOICES: ClassVar = {"waiting_for_tenant": "The tenant's", "waiting_for_kore": "Ours", "failed": "Needs a change"}

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(self.CHOICES.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Tenant]) -> QuerySet[Tenant]:
        if self.value() not in self.CHOICES:
            return queryset
        return queryset.filter(pk__in=OnboardingStep.objects.filter(status=self.value()).values("tenant"))


@admin.register(Tenant)
class TenantAdmin(ReadOnlyAdmin):
    list_display = ("name", "waits_at", "status", "since", "whose_turn", "service_role", "created_at")
    list_filter = (WaitsAt, WhoseTurn, "service_role")
    list_select_related = ("service_role",)
    search_fields = ("name", "=id", "registrations__role_arn", "registrations__key_arn", "members__user__email")
    search_help_text = "Name, id, ARN or account id, mail address of a member"
    fields = (
        "name",
        "id",
        "external_id",
        "service_role",
        "revocation_latency",
        "key_generation",
        "people",
        "created_at",
    )
    operations = (
        *OPERATIONS,
        Operation(
            "invite",
            "Invite the first owner",
            "A mail with a link goes to the address. From then on the organisation's owners invite everybody else.",
            "tenants.invite",
            _invite,
            form=FirstOwnerForm,
            is_offered=lambda tenant: _never_had_an_owner(tenant) and not tenant.invitations.open().exists(),
        ),
        Operation(
            "resend-invitation",
            "Send the first owner's invitation again",
            "The mail goes to the same address, with a new link and seven more days.",
            "tenants.invite",
            _resend_invitation,
            is_offered=_is_first_owner_invited,
        ),
        Operation(
            "withdraw-invitation",
            "Withdraw the first owner's invitation",
            "Its link and the automation token made with it end. Then you can invite another address.",
            "tenants.invite",
            _withdraw_invitation,
            is_offered=_is_first_owner_invited,
        ),
        Operation(
            "recover-owner",
            "Recover: a new owner",
            (
                "For an organisation whose owners can no longer act. A second lead approves; "
                "every present and former member has 72 hours to object."
            ),
            "tenants.recover_owner",
            _recover_owner,
            form=NewOwnerForm,
            is_offered=_has_no_owner,
        ),
        Operation(
            "recover-second-factor",
            "Recover: the only owner's second factor",
            (
                "The only owner has lost it and nobody else there can help. A second lead approves; "
                "every member has 72 hours to object."
            ),
            "tenants.recover_owner",
            _recover_second_factor,
            is_offered=_has_one_owner,
        ),
    )
    list_operations = (
        Operation(
            "create",
            "Create a tenant",
            "It gets its External ID for ever, is pinned to the open service role, and its owner is invited by mail.",
            "tenants.create",
            _create,
            form=NewTenantForm,
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Tenant]:
        return super().get_queryset(request).prefetch_related("steps")

    @admin.display(description="waits at")
    def waits_at(self, tenant: Tenant) -> str:
        step = progress.waits_at(tenant)
        return f"{step.number}. {step.name}" if step else "all done"

    @admin.display
    def status(self, tenant: Tenant) -> str:
        step = progress.waits_at(tenant)
        return progress.label(step.status, step.label) if step else ""

    @admin.display
    def since(self, tenant: Tenant) -> Any:
        step = progress.waits_at(tenant)
        return step.since if step else None

    @admin.display(description="whose turn")
    def whose_turn(self, tenant: Tenant) -> str:
        step = progress.waits_at(tenant)
        return {"kore": "ours", "tenant": "the tenant's"}.get(step.whose_turn, "nobody's") if step else ""

    @admin.display
    def people(self, tenant: Tenant) -> str:
        return ", ".join(str(member) for member in Member.objects.of(tenant).select_related("user")[:PEOPLE])

    def about(self, request: HttpRequest, obj: Tenant) -> dict[str, Any]:
        services.record_view(obj, actor=Actor.staff(request.user))
        registrations = KeyRegistration.objects.of(obj)[:REGISTRATIONS]
        return {
            "progress": progress.of(obj),
            "timeline": timeline.of(obj),
            "registrations": registrations,
            "drop": key_services.last_drop(obj),
        }


@admin.register(ServiceRole)
class ServiceRoleAdmin(ReadOnlyAdmin):
    list_display = ("name", "arn", "is_open", "created_at")
    search_fields = ("name", "arn")
    fields = ("name", "arn", "unique_id", "canary_role_arn", "is_open", "lease_owner", "lease_until", "created_at")
