"""The page Sign-on: an organisation's mail domains."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from tenants import access, portal, roles, services
from tenants.forms import DomainForm, RemoveForm
from tenants.models import MailDomain, Tenant


@login_required
@require_GET
def sign_on(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Show by what people of the organisation are known here."""
    member = access.member_for(request.user, tenant)
    return render(request, "portal/sign_on.html", portal.page(member, **_shown(member.tenant), form=DomainForm()))


@login_required
@require_POST
def add_domain(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Name a mail domain."""
    member = access.member_for(request.user, tenant)
    form = DomainForm(request.POST)
    if form.is_valid():
        with portal.refusals_on(form):
            domain = services.add_domain(member.tenant, **form.cleaned_data, actor=portal.actor(request, member))
            messages.success(request, f"{domain.name} is in the list. Now set its DNS record.")
            return redirect("portal:sign-on", member.tenant.pk)
    return render(request, "portal/sign_on.html", portal.page(member, **_shown(member.tenant), form=form))


@login_required
@require_POST
def look_at_domain(request: HttpRequest, tenant: UUID, domain: UUID) -> HttpResponse:
    """Look at the DNS record of a mail domain now."""
    member = access.member_for(request.user, tenant)
    found = services.mail_domain_of(member.tenant, domain)
    services.look_at_domain_again(found, actor=portal.actor(request, member))
    messages.success(request, f"The DNS record of {found.name} is looked up now. Reload this page in some seconds.")
    return redirect("portal:sign-on", member.tenant.pk)


@login_required
@require_http_methods(["GET", "POST"])
def remove_domain(request: HttpRequest, tenant: UUID, domain: UUID) -> HttpResponse:
    """Ask for the reason, then give a mail domain up."""
    member = access.member_for(request.user, tenant)
    found, actor = services.mail_domain_of(member.tenant, domain), portal.actor(request, member)
    roles.require(actor, "tenants.change_sign_on", member.tenant)
    form = RemoveForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        with portal.refusals_on(form):
            services.remove_domain(found, reason=form.cleaned_data["reason"], actor=actor)
            messages.success(request, f"{found.name} is removed.")
            return redirect("portal:sign-on", member.tenant.pk)
    return render(request, "portal/remove_domain.html", portal.page(member, domain=found, form=form))


def _shown(tenant: Tenant) -> dict[str, object]:
    return {"domains": MailDomain.objects.of(tenant).present()}
