"""Portal page of an organisation that waits after a restore: what is known of it, and an owner's confirmation."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from byokportal.translation import lazy
from byokportal.translation import translate as _
from keys import services
from keys.forms import ConfirmRestoreForm
from keys.views import operations
from tenants import access, portal
from tenants.models import Member, Tenant

# Each list of `Review.ways`: its title, the page where it is changed, and where one of it is ended: the address,
# whether that takes the id of one, whether a press is enough or a page asks first, and the row of `tenants.roles`.
LISTS: dict[str, tuple[str, str, str, bool, bool, str]] = {
    "sign_on": (lazy("Sign-on"), "sign-on", "remove-sign-on", False, False, "tenants_change_sign_on"),
    "domains": (lazy("Mail domains"), "sign-on", "remove-domain", True, False, "tenants_change_sign_on"),
    "directory": (lazy("Directory"), "directory", "remove-directory", False, False, "tenants_change_sign_on"),
    "directory_tokens": (
        lazy("Tokens of the directory"),
        "directory",
        "revoke-directory-token",
        True,
        True,
        "tenants_change_sign_on",
    ),
    "links": (lazy("Links for colleagues"), "links", "revoke-link", True, True, "keys_revoke_link"),
    "webhooks": (lazy("Webhooks"), "webhooks", "remove-webhook", True, False, "support_change_webhooks"),
    "log_streams": (
        lazy("Streams of the log"),
        "log-streams",
        "remove-log-stream",
        True,
        False,
        "tenants_change_log_streams",
    ),
    "head_recipients": (
        lazy("Who gets the head of the log by mail"),
        "log-seal",
        "remove-recipient",
        True,
        True,
        "tenants_change_head_recipients",
    ),
}


def _lists(tenant: Tenant, ways: dict[str, list[services.Way]]) -> list[dict[str, Any]]:
    """Return the lists of `LISTS` as the page shows them, each row with where it is ended."""
    found = []
    for name, (title, page, end, is_by_id, is_pressed, may) in LISTS.items():
        rows = []
        for way in ways[name]:
            arguments = (tenant.pk, way.pk) if is_by_id else (tenant.pk,)
            rows.append({"way": way, "end": reverse(f"portal:{end}", args=arguments)})
        page_url = reverse(f"portal:{page}", args=(tenant.pk,))
        found.append(
            {"name": name, "title": _(title), "page": page_url, "rows": rows, "is_pressed": is_pressed, "may": may}
        )
    return found


def _page(request: HttpRequest, member: Member, form: ConfirmRestoreForm | None = None) -> HttpResponse:
    hold = services.hold_of(member.tenant)
    if hold is None:
        return redirect("portal:key", member.tenant.pk)
    review = services.review_of(member.tenant)
    if form is not None:
        form.data = {"digest": review.digest}  # what is shown now is what counts, and the box is ticked anew
    form = form or ConfirmRestoreForm(initial={"digest": review.digest})
    context = portal.page(member, hold=hold, review=review, form=form)
    lists = _lists(member.tenant, review.ways)
    for one in lists:
        one["may_end"] = context["may"][one["may"]]
    return render(request, "portal/confirm_restore.html", context | {"lists": lists})


@login_required
@require_http_methods(["GET", "POST"])
def confirm_restore(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Show what the restored database knows of the organisation; POST confirms it."""
    if request.method == "GET":
        return _page(request, access.member_for(request, tenant))
    form = ConfirmRestoreForm(request.POST)
    return operations.do(
        request,
        tenant,
        form,
        lambda member: services.confirm_restore(
            member.tenant, digest=form.cleaned_data["digest"], actor=portal.actor(request, member)
        ),
        message=_("Confirmed. Keys are given out again as soon as AWS has answered well."),
        then="portal:key",
        page=lambda request, member: _page(request, member, form),
    )
