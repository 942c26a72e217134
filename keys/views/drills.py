"""Portal pages of the revocation drill."""

from __future__ import annotations

from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from byokportal.errors import NotFound
from byokportal.translation import translate as _
from keys import services
from keys.arns import KeyArn
from keys.models import RevocationDrill
from tenants import access, portal


@login_required
@require_http_methods(["GET", "POST"])
def drill_list(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Say what a drill is and list those there were; POST starts one."""
    member = access.member_for(request, tenant)
    form = forms.Form(request.POST if request.method == "POST" else None)
    if request.method == "POST":
        form.is_valid()
        with portal.refusals_on(form):
            drill = services.start_drill(member.tenant, actor=portal.actor(request, member))
            return redirect("portal:drill", member.tenant.pk, drill.pk)
    context = {
        "form": form,
        "drills": RevocationDrill.objects.of(member.tenant)[:50],
        "latency": member.tenant.revocation_latency,
        "probe_seconds": settings.DRILL_PROBE_SECONDS,
    }
    return render(request, "portal/drills.html", portal.page(member, **context))


def _drill_page(request: HttpRequest, tenant: UUID, drill: UUID, template: str) -> HttpResponse:
    member = access.member_for(request, tenant)
    found = RevocationDrill.objects.of(member.tenant).filter(pk=drill).select_related("registration").first()
    if found is None:
        raise NotFound
    context = {
        "drill": found,
        "region": KeyArn.parse(found.registration.key_arn).region,
        "key_arn": found.registration.key_arn,
        "latency": member.tenant.revocation_latency,
        "probe_seconds": settings.DRILL_PROBE_SECONDS,
    }
    return render(request, template, portal.page(member, **context))


@login_required
@require_GET
def drill(request: HttpRequest, tenant: UUID, drill: UUID) -> HttpResponse:
    """Show one drill: what to do now, what was measured; printed, it is the report that the tenant keeps."""
    return _drill_page(request, tenant, drill, "portal/drill.html")


@login_required
@require_GET
def drill_live(request: HttpRequest, tenant: UUID, drill: UUID) -> HttpResponse:
    """Show the drill as a fragment that htmx asks for again while it is on."""
    return _drill_page(request, tenant, drill, "portal/parts/drill.html")


@login_required
@require_POST
def cancel_drill(request: HttpRequest, tenant: UUID, drill: UUID) -> HttpResponse:
    """End a drill before it is done."""
    member = access.member_for(request, tenant)
    found = RevocationDrill.objects.of(member.tenant).filter(pk=drill).first()
    if found is None:
        raise NotFound
    services.cancel_drill(found, actor=portal.actor(request, member))
    messages.success(request, _("The drill is cancelled. If you disabled the key, enable it again."))
    return redirect("portal:drill", member.tenant.pk, found.pk)
