"""The fleet: all tenants in one table, found by filters and by one search box; saved views; CSV."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import structlog
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, QueryDict, StreamingHttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.cache import never_cache

from byokportal import clock, exports, problems
from byokportal.errors import InvalidInput
from support import services
from support.admin import bulk
from support.fleet import saved
from support.fleet import state as fleet_state
from support.fleet.filters import AGES, EXPORTED, NOT_YET, PAGE, Filters
from support.models import FleetFigures, FleetRow
from tenants import onboarding
from tenants.audit import Actor
from tenants.models import ServiceRole

log = structlog.get_logger(__name__)

# Service roles that the filter offers.
ROLES = 500
AGE_LABELS = {"1h": "1 hour", "1d": "1 day", "1w": "1 week", "30d": "30 days"}
# What everybody finds above the table: name, filters, and which figure counts it.
VIEWS: tuple[tuple[str, dict[str, str], tuple[str, ...]], ...] = (
    ("All", {}, ("all",)),
    ("Needs a change", {"state": "needs_change"}, ("states", "needs_change")),
    ("Waits for us", {"turn": "kore"}, ()),
    ("Stuck for a day", {"turn": "tenant", "age": "1d"}, ()),
    ("Cannot tell", {"state": "cannot_tell"}, ("states", "cannot_tell")),
    ("Suspended by AWS", {"state": "suspended_by_aws"}, ("states", "suspended_by_aws")),
    ("Key is being deleted", {"deleted": "1"}, ()),
)
COLUMNS = (
    "tenant", "name", "state", "step", "waits for", "cause", "since (UTC)", "Region", "AWS account",
    "account of the key", "service role", "last test", "last test at (UTC)", "key deleted at (UTC)",
)  # fmt: skip


def page(request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
    """Show one page of what is asked for; a search that leads to one tenant leads on to its page."""
    if request.method not in {"GET", "HEAD"}:
        return HttpResponseNotAllowed(["GET"])
    filters = Filters.of(request.GET.dict())
    rows, has_more = filters.page()
    if filters.values.keys() == {"q"} and filters.after is None and len(rows) == 1:
        return redirect("admin:tenants_tenant_change", rows[0].pk)
    found = FleetFigures.objects.filter(pk=1).first()
    figures = found.figures if found else {}
    shown = {
        "title": "Fleet",
        "filters": filters.values,
        "rows": [_shown(row) for row in rows],
        "views": _views(filters, figures),
        "saved": saved.of(request.user),  # type: ignore[arg-type]
        "query": filters.query,
        "next": urlencode({**filters.values, "after": rows[-1].pk}) if has_more else "",
        "is_first": filters.after is None,
        "choices": _choices(filters, figures),
        "now": clock.now(),
        "per_page": PAGE,
        "bulk": bulk.offered(request),
    }
    return TemplateResponse(request, "admin/fleet.html", {**context, **shown})


def _shown(row: FleetRow) -> dict[str, Any]:
    tone, icon = fleet_state.STATE_TONES[FleetRow.State(row.state)]
    return {
        "row": row,
        "tone": tone,
        "icon": icon,
        "where": f"step {row.step} of 6" if row.step else "",
        "cause": fleet_state.cause_label(row.cause) if row.cause else "",
    }


def _views(filters: Filters, figures: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    for name, values, figure in VIEWS:
        count: Any = figures
        for part in figure:
            count = count.get(part, 0) if isinstance(count, dict) else 0
        is_known = bool(figure) and bool(figures)
        query = urlencode(values)
        found.append(
            {"name": name, "query": query, "count": count if is_known else None, "is_here": query == filters.query}
        )
    return found


def _choices(filters: Filters, figures: dict[str, Any]) -> dict[str, list[tuple[str, str]]]:
    """Return what each select offers: (value, words); what is asked for is among them whatever it is."""
    steps = [(str(step.number), f"{step.number} {step.name}") for step in onboarding.STEPS]
    causes = [(cause, fleet_state.cause_label(cause)) for cause, _ in figures.get("causes", [])]
    regions = [(region, region) for region in figures.get("regions", [])]
    roles = [(name, name) for name in ServiceRole.objects.order_by("name").values_list("name", flat=True)[:ROLES]]
    choices = {
        "step": [*steps, ("0", "All done")],
        "turn": list(FleetRow.Turn.choices),
        "state": list(FleetRow.State.choices),
        "cause": causes,
        "age": [(age, AGE_LABELS[age]) for age in AGES],
        "region": regions,
        "role": roles,
        "test": [*((value, label) for value, label in FleetRow.LastTest.choices if value), (NOT_YET, "Not yet")],
    }
    for name, offered in choices.items():
        value = filters.values.get(name)
        if value and value not in dict(offered):
            offered.append((value, fleet_state.cause_label(value) if name == "cause" else value))
    return choices


def export(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
    """Stream what is asked for as CSV; our log says who took it."""
    if request.method not in {"GET", "HEAD"}:
        return HttpResponseNotAllowed(["GET"])
    filters = Filters.of(request.GET.dict())
    services.record_export(filters=filters.query, actor=Actor.staff(request.user))
    answer = StreamingHttpResponse(_lines(filters), content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="fleet-{clock.now():%Y-%m-%d}.csv"'
    return answer


def _lines(filters: Filters) -> Iterator[str]:
    """Yield the file piece by piece; its last line says whether it is all, because the status has been sent by then."""
    notation, count = exports.Csv(), 0
    yield notation.head(COLUMNS)
    try:
        for row in filters.every():
            cells = (
                row.pk, row.name, row.get_state_display(), row.step or "", row.get_waits_for_display(),
                fleet_state.cause_label(row.cause) if row.cause else "", _minute(row.since), row.region, row.account,
                row.key_account, row.service_role.name, row.get_last_test_display(), _minute(row.last_test_at),
                _minute(row.deletes_at),
            )  # fmt: skip
            yield notation.row(dict(zip(COLUMNS, cells, strict=True)))
            count += 1
    except Exception as error:
        known = problems.of_database(error)
        if known is None:
            log.exception("an export broke off")
        yield notation.end(exports.Ending(False, count, "", known.code if known else exports.BUG), COLUMNS)
        return
    yield notation.end(exports.Ending(count < EXPORTED, count), COLUMNS)


def _minute(at: Any) -> str:
    return f"{at:%Y-%m-%d %H:%M}" if at else ""


@never_cache
def save_view(request: HttpRequest) -> HttpResponse:
    """Keep the filters of the page under a name."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    query = request.POST.get("query", "")
    try:
        view = saved.save(
            request.user,  # type: ignore[arg-type]
            name=request.POST.get("name", ""),
            query=query,
            is_shared=bool(request.POST.get("is_shared")),
        )
    except InvalidInput as error:
        for sentences in error.errors.values():
            messages.error(request, " ".join(sentences))
        return redirect(f"{reverse('admin:fleet')}?{Filters.of(_parsed(query)).query}")
    messages.success(request, f"“{view.name}” is among your views.")
    return redirect(f"{reverse('admin:fleet')}?{view.query}")


@never_cache
def remove_view(request: HttpRequest, pk: int) -> HttpResponse:
    """Forget one of this person's views."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    saved.remove(request.user, pk=pk)  # type: ignore[arg-type]
    return redirect("admin:fleet")


def _parsed(query: str) -> dict[str, str]:
    return QueryDict(query[:2_000]).dict()  # type: ignore[return-value]
