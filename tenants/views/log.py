"""Portal page of the log, and the log as a file."""

from __future__ import annotations

from itertools import groupby
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from byokportal import clock, exports, filters
from byokportal.keyset import Page
from tenants import access, audit, log_archive, portal
from tenants import log as lines
from tenants.forms import LogForm
from tenants.models import Member

NAMED = 100  # people in the list to choose from


@login_required
@require_GET
def log(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Show the log, newest first, by day; `cursor` is where the page begins."""
    member = access.member_for(request, tenant)
    form = LogForm(request.GET)
    wanted = form.wanted() if form.is_valid() else None
    cursor = request.GET.get("cursor", "")
    found = lines.page(member.tenant, wanted, cursor) if wanted else Page([], None)
    days = [
        (day, [{"event": event, "actor": audit.actor_of(event), "sentence": audit.sentence(event)} for event in events])
        for day, events in groupby(found.items, key=lambda event: event.at.date())
    ]
    has_period = wanted is not None and bool(wanted.since or wanted.until)
    nearest = lines.newest(member.tenant, wanted) if wanted and has_period and not found.items else None
    people = Member.objects.filter(tenant=member.tenant).order_by("pk").values_list("user__email", flat=True)[:NAMED]
    context = {
        "form": form,
        "days": days,
        "today": clock.now().date(),
        "found": found,
        "is_filtered": wanted is None or not wanted.is_everything,
        "is_first": not cursor,
        "nearest": nearest,
        "archived_until": log_archive.until(member.tenant),
        "people": sorted(people),
        "query": filters.query(request.GET),
    }
    return render(request, "portal/log.html", portal.page(member, **context))


@login_required
@require_GET
def export(request: HttpRequest, tenant: UUID, extension: str) -> StreamingHttpResponse:
    """Send the log, as far as the filters of the page let it through, as a file."""
    member = access.member_for(request, tenant)
    form = LogForm(request.GET)
    filters.read(form)
    return exports.answer(lines.file(member.tenant, form.wanted()), request.GET.get("cursor", ""), extension=extension)
