"""Portal page of who used the key, and the uses as a file."""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_GET

from byokportal import exports, filters
from byokportal.keyset import Page
from byokportal.translation import translate as _
from keys import key_uses as uses
from keys.forms import KeyUsesForm
from tenants import access, portal

HEIGHT = 40  # of the plot, in its own units


@login_required
@require_GET
def key_uses(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Show who used the key, added up by hour and one by one, newest first; `cursor` is where the page begins."""
    member = access.member_for(request, tenant)
    form = KeyUsesForm(request.GET)
    wanted = form.wanted() if form.is_valid() else None
    cursor = request.GET.get("cursor", "")
    found = uses.page(member.tenant, wanted, cursor) if wanted else Page([], None)
    has_period = wanted is not None and bool(wanted.since or wanted.until)
    plot = uses.plot(member.tenant, wanted or uses.Wanted())
    most = plot.most[1] or 1
    bars = [(number, HEIGHT * (1 - keys / most), HEIGHT * keys / most) for number, (_, keys) in enumerate(plot.hours)]
    context = {
        "form": form,
        "found": found,
        "rows": [
            {**one, "at": parse_datetime(one["at"]), "done": _(uses.DONE[one["operation"]])} for one in found.items
        ],
        "plot": plot,
        "bars": bars,
        "used_hours": [{"at": at, "end": at + uses.HOUR, "keys": keys} for at, keys in reversed(plot.hours) if keys],
        "ends_at": plot.hours[-1][0] + uses.HOUR,
        "done": {operation: _(done) for operation, done in uses.DONE.items()},
        "is_filtered": wanted is None or not wanted.is_everything,
        "is_first": not cursor,
        "nearest": uses.newest(member.tenant, wanted) if wanted and has_period and not found.items else None,
        "archived_until": uses.archived_until(),
        "query": filters.query(request.GET),
    }
    return render(request, "portal/key_uses.html", portal.page(member, **context))


@login_required
@require_GET
def export(request: HttpRequest, tenant: UUID, extension: str) -> StreamingHttpResponse:
    """Send the uses, as far as the filters of the page let them through, as a file."""
    member = access.member_for(request, tenant)
    form = KeyUsesForm(request.GET)
    filters.read(form)
    source = uses.file(member.tenant, form.wanted())
    return exports.answer(source, request.GET.get("cursor", ""), extension=extension)
