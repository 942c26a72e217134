"""Portal page that compares an export of CloudTrail with the calls that we made. Nothing of the export is kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from byokportal.translation import lazy
from byokportal.translation import translate as _
from keys import services
from keys.forms import CloudTrailForm
from keys.reconciling import cloudtrail, matching
from tenants import access, portal

MOST_SHOWN = 100  # rows of each list; the file has more
WHY_LACKING = {
    matching.ABSENT: lazy("A file may be missing, or the trail was stopped for a time."),
    matching.MAY_COME: lazy("CloudTrail delivers within 15 minutes. Export again a little later."),
    matching.NOT_COVERED: lazy("Your files have no call of KMS from this Region at that time. Export it too."),
}


@dataclass(frozen=True, slots=True)
class Shown:
    """What a comparison found, as the page says it.

    Attributes:
        found: the comparison.
        explained: how many records a call of ours explains.
        not_ours: how many records are of somebody else's calls on the key or the role.
        unknown: how many were made in the role and are no call of ours.
        absent: how many calls of ours the files should show and do not.
        archived: how many are from a time whose calls of ours are in the archive, and may be ours.
        lists: the first rows of each class, by its name; under `callers` who made the calls of others, with how many.
        lacking: the first of our calls that the files lack, each with why that may be.
    """

    found: services.Reconciliation
    explained: int
    not_ours: int
    unknown: int
    absent: int
    archived: int
    lists: dict[str, Sequence[Any]]
    lacking: list[tuple[matching.Call, str]]

    @property
    def tone(self) -> str:
        """Return how grave it is, as the style sheet calls it."""
        if self.unknown:
            return "error"
        is_settled = self.found.concerned and not self.absent and self.found.archived_until is None
        return "success" if is_settled else "warning"


@login_required
@require_http_methods(["GET", "POST"])
def reconciliation(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Show what either side lacks, or send it as a file where `as` is `json`."""
    member = access.member_for(request, tenant)
    form = CloudTrailForm(None, request.FILES) if request.method == "POST" else CloudTrailForm()
    shown = None
    if request.method == "POST" and form.is_valid():
        actor = portal.actor(request, member)
        try:
            found = services.reconcile(
                member.tenant, form.cleaned_data["exported"], actor=actor, most_bytes=cloudtrail.MOST_BYTES_ONLINE
            )
        except cloudtrail.Unreadable as error:
            form.add_error("exported", str(error))
        else:
            if request.POST.get("as") == "json":
                return _file(found)
            shown = _shown(found)
    context = portal.page(member, form=form, shown=shown, most=MOST_SHOWN)
    return render(request, "portal/reconciliation.html", context)


def _shown(found: services.Reconciliation) -> Shown:
    counts = found.counts
    return Shown(
        found=found,
        explained=counts.get(matching.MATCHED, 0) + counts.get(matching.BY_SESSION, 0),
        not_ours=counts.get(matching.NOT_OURS, 0),
        unknown=counts.get(matching.UNKNOWN, 0),
        absent=found.lacking_counts.get(matching.ABSENT, 0),
        archived=counts.get(matching.ARCHIVED, 0),
        lists={
            "unknown": found.unknown[:MOST_SHOWN],
            "not_ours": found.not_ours[:MOST_SHOWN],
            "callers": list(found.callers.items())[:MOST_SHOWN],
        },
        lacking=[(call, _(WHY_LACKING[why])) for call, why in found.lacking[:MOST_SHOWN]],
    )


def _file(found: services.Reconciliation) -> HttpResponse:
    body = json.dumps(services.facts_of_reconciliation(found), indent=1, ensure_ascii=False)
    name = 'attachment; filename="byok-cloudtrail-compared.json"'
    return HttpResponse(body, content_type="application/json", headers={"Content-Disposition": name})
