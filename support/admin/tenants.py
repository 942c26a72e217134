"""Tenants in the back office: the page of each one, and the operations done for it."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters

from keys import services as key_services
from keys.models import KeyRegistration
from support import services
from support.admin import about, explained_answers, pasted, tenant_page
from support.admin.base import Answer, Operation, ReadOnlyAdmin
from support.forms import FirstOwnerForm, NewOwnerForm, NewTenantForm, OpenTicketForm
from support.models import FleetRow
from tenants import roles
from tenants import services as tenant_services
from tenants.audit import Actor
from tenants.models import Role, Tenant


def _approve(tenant: Tenant, data: dict[str, Any], actor: Actor) -> Answer:
    services.approve_configuration(tenant, reason=data["reason"], actor=actor)
    return "Approved. The worker configures the service role now; the encryption test follows by itself."


def _run_test(tenant: Tenant, data: dict[str, Any], actor: Actor) -> Answer:
    key_services.start_test(tenant, reason=data["reason"], actor=actor)
    return "The encryption test runs. Open it below to see its checks turn."


def _suspend(tenant: Tenant, data: dict[str, Any], actor: Actor) -> Answer:
    services.suspend_key(tenant, reason=data["reason"], actor=actor)
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
        "Every process drops what it holds of this tenant within 5 seconds. "
        "Under “Ids, ARNs, people”, “Last stop or drop”, each one says so."
    )


def _invite(tenant: Tenant, data: dict[str, Any], actor: Actor) -> Answer:
    invitation = tenant_services.invite(tenant, email=data["email"], role=Role.OWNER, actor=actor)
    return f"{invitation.email} is invited as the first owner; the mail is on its way."


def _never_had_an_owner(tenant: Tenant) -> bool:
    return not about.of(tenant).everybody


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


def _ask_to_close(tenant: Tenant, data: dict[str, Any], actor: Actor) -> Answer:
    key_services.request_closing(tenant, reason=data["reason"], actor=actor)
    return "Asked for. Another support lead approves it under “Closings”; then it cannot be undone."


def _is_no_canary(tenant: Tenant) -> bool:
    return not tenant.is_canary


def _has_no_owner(tenant: Tenant) -> bool:
    return not _never_had_an_owner(tenant) and about.of(tenant).owners == 0


def _has_one_owner(tenant: Tenant) -> bool:
    return about.of(tenant).owners == 1


def _create(_: None, data: dict[str, Any], actor: Actor) -> Answer:
    tenant = tenant_services.create_tenant(data["name"], owner_email=data["owner_email"], actor=actor)
    return f"{tenant.name} is there and its owner is invited."


def _open_ticket(tenant: Tenant, data: dict[str, Any], actor: Actor) -> Answer:
    words = {name: data[name] for name in ("topic", "step", "subject", "text")}
    ticket = services.open_ticket(tenant, **words, actor=actor)
    return f"“{ticket.subject}” is open and waits for them; those who want such mails get one."


def _waits_for_approval(tenant: Tenant) -> bool:
    return about.of(tenant).waits_for_approval


def _is_serving(tenant: Tenant) -> bool:
    serving = about.of(tenant).serving
    return serving is not None and serving.status != KeyRegistration.Status.SUSPENDED


def _is_suspended_by_us(tenant: Tenant) -> bool:
    serving = about.of(tenant).serving
    return serving is not None and serving.suspended_by == KeyRegistration.SuspendedBy.KORE


def _has_branch_keys(tenant: Tenant) -> bool:
    return about.of(tenant).has_branch_keys


def _is_testable(tenant: Tenant) -> bool:
    status = KeyRegistration.Status
    testable = {status.TESTING, status.REJECTED, *KeyRegistration.SERVING}
    return any(one.status in testable for one in about.of(tenant).registrations)


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
        "Within 5 seconds no process of ours opens or makes a data key of this tenant. Only Resume here ends it. "
        f"For more than {services.ALONE} in a day another lead has to approve, by a bulk operation of the fleet.",
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
        return queryset.filter(pk__in=FleetRow.objects.filter(step=int(number)).values("pk"))


class WhoseTurn(admin.SimpleListFilter):
    """Tenants with a step that waits for somebody."""

    title = "whose turn"
    parameter_name = "turn"
    CHOICES: ClassVar = {"tenant": "The tenant's", "kore": "Ours"}

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(self.CHOICES.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Tenant]) -> QuerySet[Tenant]:
        if self.value() not in self.CHOICES:
            return queryset
        return queryset.filter(pk__in=FleetRow.objects.filter(waits_for=self.value()).values("pk"))


@admin.register(Tenant)
class TenantAdmin(ReadOnlyAdmin):
    list_display = ("name", "service_role", "created_at")
    list_filter = (WaitsAt, WhoseTurn)
    list_select_related = ("service_role",)
    search_fields = ("name",)
    tenant_path = "pk"
    search_help_text = "Name, id, ARN, account id, mail address or request id"
    fields = ("name", "id", "service_role", "created_at")
    operations = (
        *OPERATIONS,
        Operation(
            "open-ticket",
            "Open a ticket",
            "They read it and answer there.",
            "support.open_ticket",
            _open_ticket,
            form=OpenTicketForm,
        ),
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
        Operation(
            "close",
            "Close this organisation for good",
            (
                "Asks another support lead. After that its log is exported, every key that opens its data is "
                "destroyed, everybody loses their way in, and its owners get a signed receipt. Nobody can undo that."
            ),
            "keys.close_tenant",
            _ask_to_close,
            is_offered=_is_no_canary,
            is_destructive=True,
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
        return about.with_flags(super().get_queryset(request).select_related("service_role"))

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("<path:object_id>/drop/", view(self.drop_view), name="tenants_tenant_drop"),
            path("<path:object_id>/explain/", view(self.explain_view), name="tenants_tenant_explain"),
            *super().get_urls(),
        ]

    def object_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        if not self.has_view_permission(request) or request.method not in {"GET", "HEAD"}:
            raise PermissionDenied
        tenant = self._seen(request, object_id)
        context = tenant_page.context(request, tenant, self.operations)
        return TemplateResponse(request, "admin/tenant.html", {**self.admin_site.each_context(request), **context})

    def _seen(self, request: HttpRequest, object_id: Any) -> Tenant:
        """Return a tenant, and note in its log that this person looks at it."""
        actor = Actor.staff(request.user)
        try:
            tenant = about.with_last_look(self.get_queryset(request), actor=actor).get(pk=object_id)
        except (Tenant.DoesNotExist, ValidationError, ValueError):
            raise Http404 from None
        if not services.is_view_recorded(tenant.looked_at):  # type: ignore[attr-defined]
            services.record_view(tenant, actor=actor)
        return tenant

    def drop_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the last stop or drop, process by process; while one has not said so the page asks for itself again."""
        if request.method not in {"GET", "HEAD"}:
            return HttpResponseNotAllowed(["GET"])
        if not self.has_view_permission(request):
            raise PermissionDenied
        found = self._seen(request, object_id)
        context = {
            "title": f"Last stop or drop of {found.name}",
            "tenant": found,
            "drop": key_services.last_drop(found),
        }
        return TemplateResponse(request, "admin/drop.html", {**self.admin_site.each_context(request), **context})

    def explain_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Say what a text means that this tenant sent; nothing of it is kept."""
        return never_cache(sensitive_post_parameters()(self._explained))(request, object_id)  # type: ignore[no-any-return]

    def _explained(self, request: HttpRequest, object_id: str) -> HttpResponse:
        if not self.has_view_permission(request) or not roles.staff_sees(request.user, "support.ticket"):
            raise PermissionDenied
        found = self._seen(request, object_id)
        text = request.POST.get("text", "") if request.method == "POST" else ""
        context = {
            "title": f"What {found.name} sent",
            "tenant": found,
            "read": pasted.read(found, text) if text else None,
            **explained_answers.offer(request),
        }
        return TemplateResponse(request, "admin/explained.html", {**self.admin_site.each_context(request), **context})
