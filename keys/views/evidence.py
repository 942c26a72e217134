"""Portal page of the evidence for auditors: a period, and the two files."""

from __future__ import annotations

import json
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.http import urlencode
from django.views.decorators.http import require_GET

from keys import evidence_pdf, services
from keys.forms import DaysForm
from tenants import access, portal

TYPES = {"json": "application/json", "pdf": "application/pdf"}


@login_required
@require_GET
def evidence(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Show what is in it, and lead to the files of the period that was chosen."""
    member = access.member_for(request, tenant)
    first, last = services.period("", "")
    form = DaysForm(request.GET if request.GET else None, initial={"from": first, "to": last})
    if form.is_bound and form.is_valid():
        with portal.refusals_on(form):
            first, last = services.period(*(str(form.cleaned_data[name] or "") for name in ("from", "to")))
    chosen = urlencode({"from": first.isoformat(), "to": last.isoformat()}) if not form.errors else ""
    context = portal.page(member, form=form, chosen=chosen, first=first, last=last)
    return render(request, "portal/evidence.html", context)


@login_required
@require_GET
def evidence_file(request: HttpRequest, tenant: UUID, extension: str) -> HttpResponse:
    """Send the evidence of a period as a file."""
    member = access.member_for(request, tenant)
    since, until = services.period(request.GET.get("from", ""), request.GET.get("to", ""))
    actor = portal.actor(request, member)
    found = services.evidence(member.tenant, since=since, until=until, actor=actor)
    body = (
        evidence_pdf.render(found) if extension == "pdf" else json.dumps(found, indent=1, ensure_ascii=False).encode()
    )
    name = f"byok-evidence-{since}-{until}.{extension}"
    return HttpResponse(
        body, content_type=TYPES[extension], headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )
