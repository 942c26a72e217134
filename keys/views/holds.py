"""Portal page of an organisation that waits after a restore: what is known of it, and an owner's confirmation."""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from byokportal.translation import translate as _
from keys import services
from keys.forms import ConfirmRestoreForm
from keys.views import operations
from tenants import access, portal
from tenants.models import Member


def _page(request: HttpRequest, member: Member, form: ConfirmRestoreForm | None = None) -> HttpResponse:
    hold = services.hold_of(member.tenant)
    if hold is None:
        return redirect("portal:key", member.tenant.pk)
    review = services.review_of(member.tenant)
    if form is not None:
        form.data = {"digest": review.digest}  # what is shown now is what counts, and the box is ticked anew
    form = form or ConfirmRestoreForm(initial={"digest": review.digest})
    context = {"hold": hold, "review": review, "form": form}
    return render(request, "portal/confirm_restore.html", portal.page(member, **context))


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
