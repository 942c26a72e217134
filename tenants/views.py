"""Portal pages of the organisation: the tracker, its log, its people, its automation tokens."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from byokportal import clock
from byokportal.errors import NotFound
from tenants import access, audit, onboarding, portal, services, shown_once
from tenants.forms import InviteForm, RoleForm, TokenForm
from tenants.models import AccessToken, AuditEvent, Member, OnboardingStep

EVENTS_A_PAGE = 50
PEOPLE_A_PAGE = 100
LARGEST_ID = 2**63 - 1  # of a BigAutoField


@login_required
@require_GET
def home(request: HttpRequest) -> HttpResponse:
    """Lead people to their organisation; staff without one to the back office."""
    members = list(Member.objects.filter(user=request.user).select_related("tenant").order_by("tenant__name"))  # type: ignore[misc]
    if len(members) == 1:
        return redirect("portal:tracker", members[0].tenant_id)
    if not members and request.user.is_staff:
        return redirect("admin:index")
    return render(request, "portal/home.html", {"members": members})


@login_required
@require_GET
def tracker(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Show the six steps and the values of step 0."""
    member = access.member_for(request.user, tenant)
    steps = onboarding.overview(member.tenant)
    running = any(step.number == 5 and step.status == OnboardingStep.Status.IN_PROGRESS for step in steps)
    done = sum(step.status in {OnboardingStep.Status.DONE, OnboardingStep.Status.SKIPPED} for step in steps)
    role = member.tenant.service_role
    start = {"service_role_arn": role.arn, "aws_account_id": role.account_id, "external_id": member.tenant.external_id}
    context = portal.page(member, steps=steps, start=start, running=running, done=done)
    # While something runs, htmx asks for the list of steps alone; without it people reload.
    return render(request, "portal/parts/tracker_steps.html" if request.htmx else "portal/tracker.html", context)  # type: ignore[attr-defined]


@login_required
@require_GET
def log(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Show the log, newest first; `before` is the cursor."""
    member = access.member_for(request.user, tenant)
    before = request.GET.get("before", "")
    cursor = int(before) if before.isascii() and before.isdecimal() and len(before) < 20 else LARGEST_ID
    rows = list(
        AuditEvent.objects.of(member.tenant)
        .filter(pk__lte=min(cursor, LARGEST_ID) - 1)
        .order_by("-id")[: EVENTS_A_PAGE + 1]
    )
    events = [{"event": event, "sentence": audit.sentence(event)} for event in rows[:EVENTS_A_PAGE]]
    next_before = rows[EVENTS_A_PAGE - 1].pk if len(rows) > EVENTS_A_PAGE else None
    return render(request, "portal/log.html", portal.page(member, events=events, next_before=next_before))


@login_required
@require_http_methods(["GET", "POST"])
def members(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Show the people; POST invites one."""
    member = access.member_for(request.user, tenant)
    form = InviteForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        with portal.refusals_on(form):
            invited = services.invite(member.tenant, **form.cleaned_data, actor=portal.actor(member))
            messages.success(request, f"{invited.user.email} is invited. The mail with the way in is on its way.")
            return redirect("portal:members", member.tenant.pk)
    everybody = Paginator(Member.objects.of(member.tenant).select_related("user"), PEOPLE_A_PAGE).get_page(
        request.GET.get("page")
    )
    context = portal.page(member, people=everybody, form=form, roles=RoleForm.base_fields["role"].choices)  # type: ignore[attr-defined]
    return render(request, "portal/members.html", context)


@login_required
@require_POST
def change_role(request: HttpRequest, tenant: UUID, number: int) -> HttpResponse:
    """Give a member another role."""
    member = access.member_for(request.user, tenant)
    changed = Member.objects.of(member.tenant).filter(pk=number).select_related("user", "tenant").first()
    if changed is None:
        raise NotFound
    services.change_role(changed, role=request.POST.get("role", ""), actor=portal.actor(member))
    messages.success(request, f"{changed.user.email} is {changed.get_role_display().lower()} now.")
    return redirect("portal:members", member.tenant.pk)


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def tokens(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Show the person's own automation tokens; POST mints one, which the page after it shows once."""
    member = access.member_for(request.user, tenant)
    form = TokenForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        with portal.refusals_on(form):
            _, raw = services.mint_token(member, name=form.cleaned_data["name"], actor=portal.actor(member))
            return shown_once.redirect(request, request.path, {"token": raw})
    mine = AccessToken.objects.of(member.tenant).filter(member=member).valid(clock.now())
    context = portal.page(member, tokens=mine, form=form, shown=shown_once.take(request))
    return render(request, "portal/tokens.html", context)


@login_required
@require_POST
def revoke_token(request: HttpRequest, tenant: UUID, token: UUID) -> HttpResponse:
    """Revoke one of the person's own tokens."""
    member = access.member_for(request.user, tenant)
    mine = (
        AccessToken.objects.of(member.tenant).filter(member=member, pk=token).select_related("member__tenant").first()
    )
    if mine is None:
        raise NotFound
    services.revoke_token(mine, actor=portal.actor(member))
    messages.success(request, f"The token {mine.name} is revoked. It stops working within 5 seconds.")
    return redirect("portal:tokens", member.tenant.pk)
