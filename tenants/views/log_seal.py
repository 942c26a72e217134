"""Portal page of the seal: the newest signed head of the log, how to verify by it, and to whom it is mailed."""

from __future__ import annotations

from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from byokportal.errors import NotFound
from byokportal.translation import translate as _
from tenants import access, log_proofs, portal, services
from tenants.forms import HeadRecipientForm
from tenants.models import AuditEvent, HeadRecipient, LogHead, TenantHead

VERIFIER = settings.BASE_DIR / "docs" / "examples" / "verify_log.py"


@login_required
@require_http_methods(["GET", "POST"])
def seal(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Show the newest head; POST names an address to which heads are mailed."""
    member = access.member_for(request, tenant)
    actor = portal.actor(request, member)
    form = HeadRecipientForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        with portal.refusals_on(form):
            services.add_head_recipient(member.tenant, **form.cleaned_data, actor=actor)
            messages.success(request, _("The head of your log is mailed there once a day."))
            return redirect("portal:log-seal", member.tenant.pk)
    found: tuple[LogHead, TenantHead] | None
    try:
        found = log_proofs.entry_in(member.tenant)
    except NotFound:
        found = None
    waiting = AuditEvent.objects.of(member.tenant).not_sealed().order_by("pk").first()
    context = portal.page(
        member,
        head=found[0] if found else None,
        entry=found[1] if found else None,
        waiting_since=waiting.at if waiting else None,
        recipients=HeadRecipient.objects.filter(tenant=member.tenant),
        form=form,
    )
    return render(request, "portal/log_seal.html", context)


@login_required
@require_GET
def head_file(request: HttpRequest, tenant: UUID) -> JsonResponse:
    """Send the newest head as the file that the verifier takes."""
    member = access.member_for(request, tenant)
    kept = log_proofs.head(member.tenant)
    name = f"log-head-{kept['head']['number']}.json"
    return JsonResponse(kept, headers={"Content-Disposition": f'attachment; filename="{name}"'})


@login_required
@require_GET
def verifier(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Send the program that verifies an export by heads."""
    access.member_for(request, tenant)
    headers = {"Content-Disposition": 'attachment; filename="verify_log.py"'}
    return HttpResponse(
        VERIFIER.read_text(encoding="utf-8"), content_type="text/x-python; charset=utf-8", headers=headers
    )


@login_required
@require_POST
def remove(request: HttpRequest, tenant: UUID, recipient: int) -> HttpResponse:
    """Mail the head to an address no longer."""
    member = access.member_for(request, tenant)
    found = services.head_recipient_of(member.tenant, recipient)
    services.remove_head_recipient(found, actor=portal.actor(request, member))
    messages.success(request, _("Nothing more is mailed to %(email)s.", email=found.email))
    return redirect("portal:log-seal", member.tenant.pk)
