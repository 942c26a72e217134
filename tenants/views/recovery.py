"""The page by which a present or former member stops a recovery, from the mailed link or signed in."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from byokportal.errors import NotFound
from byokportal.translation import translate as _
from tenants import access, mailed_links, portal, services
from tenants.models import OwnerRecovery

NAME = "recovery"


@never_cache
@require_GET
def link(request: HttpRequest, secret: str) -> HttpResponse:
    """Lead to the page without the secret in its address; uses nothing up."""
    return mailed_links.lead(NAME, secret, "portal:recovery")


@never_cache
@require_http_methods(["GET", "POST"])
def recovery(request: HttpRequest) -> HttpResponse:
    """Show what is about to happen; POST stops it."""
    secret = mailed_links.secret_of(request, NAME)
    found, address = services.recovery_by_link(secret)
    if request.method == "POST":
        services.object_by_link(secret)
        return mailed_links.forget(redirect("portal:recovery-stopped"), NAME)
    context = {"recovery": found, "address": address}
    return render(request, "portal/recovery.html", context)


@require_GET
def stopped(request: HttpRequest) -> HttpResponse:
    """Say that it is stopped."""
    return render(request, "portal/recovery_stopped.html")


@login_required
@require_POST
def object_signed_in(request: HttpRequest, tenant: UUID, recovery: UUID) -> HttpResponse:
    """Stop a recovery as a member."""
    member = access.member_for(request, tenant)
    found = OwnerRecovery.objects.of(member.tenant).filter(pk=recovery).select_related("tenant").first()
    if found is None:
        raise NotFound
    services.object_to_recovery(found, actor=portal.actor(request, member))
    messages.success(request, _("You stopped the recovery. Everybody concerned gets a mail."))
    return redirect("portal:members", member.tenant.pk)
