"""Portal pages of the organisation: the home page, the tracker."""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET

from tenants import access, onboarding, portal, services, sign_on_sessions
from tenants.models import Member, OnboardingStep


@login_required
@require_GET
def home(request: HttpRequest) -> HttpResponse:
    """Lead people to their organisation: to its key, or to the six steps; staff without one to the back office."""
    mine = Member.objects.filter(user=request.user)  # type: ignore[misc]
    session = sign_on_sessions.of(request)
    if session is not None:
        mine = mine.filter(pk=session.identity.member_id)
    members = list(mine.select_related("tenant").order_by("tenant__name"))
    # Only the account's own sign-in joins another organisation.
    named = services.joinable(request.user) if session is None else []  # type: ignore[arg-type]
    if len(members) == 1 and not named:
        is_set_up = onboarding.is_set_up(members[0].tenant)
        return redirect("portal:overview" if is_set_up else "portal:tracker", members[0].tenant_id)
    if not members and request.user.is_staff:
        return redirect("admin:index")
    return render(request, "portal/home.html", {"members": members, "named": named})


@login_required
@require_GET
def tracker(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Show the six steps and the values of step 0."""
    member = access.member_for(request, tenant)
    steps = onboarding.overview(member.tenant)
    running = any(step.number == 5 and step.status == OnboardingStep.Status.IN_PROGRESS for step in steps)
    done = sum(step.status in {OnboardingStep.Status.DONE, OnboardingStep.Status.SKIPPED} for step in steps)
    role = member.tenant.service_role
    start = {"service_role_arn": role.arn, "aws_account_id": role.account_id, "external_id": member.tenant.external_id}
    arns = {"key_arn": steps[0].evidence.get("key_arn"), "role_arn": steps[1].evidence.get("role_arn")}
    context = portal.page(member, steps=steps, start=start, arns=arns, running=running, done=done)
    # While something runs, htmx asks for the list of steps alone; without it people reload.
    is_part = bool(request.htmx)  # type: ignore[attr-defined]
    return render(request, "portal/parts/tracker_steps.html" if is_part else "portal/tracker.html", context)
