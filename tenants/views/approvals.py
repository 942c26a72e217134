"""Portal pages of approvals: what waits for a second person, the decision about it, and whether that is wanted."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from byokportal import clock
from byokportal.translation import translate as _
from tenants import access, portal, roles, services
from tenants.forms import RemoveForm
from tenants.models import Approval, Member

CLOSED_A_PAGE = 20


@login_required
@require_GET
def approvals(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Show what waits, what was decided, and the switch."""
    return _page(request, access.member_for(request, tenant))


@login_required
@require_POST
def require_second_person(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Let a second person be needed from now on."""
    member = access.member_for(request, tenant)
    services.require_second_person(member.tenant, actor=portal.actor(request, member))
    messages.success(request, _("From now on a second person approves these. Suspend still needs nobody else."))
    return redirect("portal:approvals", member.tenant.pk)


@login_required
@require_POST
def drop_second_person(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Do without a second person again; that is the last thing that one has to approve."""
    member, form = access.member_for(request, tenant), RemoveForm(request.POST)
    if form.is_valid():
        with portal.refusals_on(form):
            reason = form.cleaned_data["reason"]
            services.drop_second_person(member.tenant, reason=reason, actor=portal.actor(request, member))
            messages.success(request, _("No second person is needed any more."))
            return redirect("portal:approvals", member.tenant.pk)
    return _page(request, member, form=form)


@login_required
@require_POST
def approve(request: HttpRequest, tenant: UUID, approval: UUID) -> HttpResponse:
    """Approve it, and do it."""
    member = access.member_for(request, tenant)
    found = services.approve(services.approval_of(member.tenant, approval), actor=portal.actor(request, member))
    is_done = found.status == Approval.Status.DONE
    asked_by = found.requested_by.user.email
    sentence = services.sentence_of(found)
    if is_done:
        words = _("Approved: %(sentence)s. It is done.", sentence=sentence)
    else:
        words = _(
            "Approved: %(sentence)s. %(email)s does it now, within 24 hours of asking.",
            sentence=sentence,
            email=asked_by,
        )
    messages.success(request, words)
    return redirect("portal:approvals", member.tenant.pk)


@login_required
@require_http_methods(["GET", "POST"])
def refuse(request: HttpRequest, tenant: UUID, approval: UUID) -> HttpResponse:
    """Ask for the reason, then refuse it."""
    member = access.member_for(request, tenant)
    found, actor = services.approval_of(member.tenant, approval), portal.actor(request, member)
    roles.require(actor, "tenants.decide", member.tenant)
    form = RemoveForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        with portal.refusals_on(form):
            services.refuse(found, reason=form.cleaned_data["reason"], actor=actor)
            sentence, email = services.sentence_of(found), found.requested_by.user.email
            messages.success(
                request, _("Refused: %(sentence)s. %(email)s gets a mail.", sentence=sentence, email=email)
            )
            return redirect("portal:approvals", member.tenant.pk)
    found.sentence, found.reason = services.sentence_of(found), found.shown_reason  # shown, and not saved
    return render(request, "portal/refuse_approval.html", portal.page(member, approval=found, form=form))


@login_required
@require_POST
def withdraw(request: HttpRequest, tenant: UUID, approval: UUID) -> HttpResponse:
    """Take back what one has asked for."""
    member = access.member_for(request, tenant)
    found = services.approval_of(member.tenant, approval)
    services.withdraw_approval(found, actor=portal.actor(request, member))
    messages.success(request, _("You no longer ask for it: %(sentence)s.", sentence=services.sentence_of(found)))
    return redirect("portal:approvals", member.tenant.pk)


def _page(request: HttpRequest, member: Member, *, form: RemoveForm | None = None) -> HttpResponse:
    asked = services.approvals_of(member.tenant)
    # Whoever looks decides about each of them: what is asked of the member's row is asked once.
    me = Member.objects.select_related("user", "invitation", "tenant").get(pk=member.pk)
    waiting, usable = asked.waiting(clock.now()), asked.usable(clock.now())  # type: ignore[attr-defined]
    shown = [*waiting, *usable]
    closed = Paginator(asked.exclude(pk__in=[one.pk for one in shown]), CLOSED_A_PAGE).get_page(request.GET.get("page"))
    for one in (*shown, *closed):
        one.sentence, one.reason = services.sentence_of(one), one.shown_reason  # shown, and not saved
    context = portal.page(
        member,
        waiting=[
            {"approval": one, "is_mine": one.requested_by_id == me.pk, "why_not": services.why_not_decide(me, one)}
            for one in shown
        ],
        closed=closed,
        form=form or RemoveForm(),
    )
    return render(request, "portal/approvals.html", context)
