"""Portal pages of the organisation: the home page, the tracker, the log."""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET

from tenants import access, audit, onboarding, portal, sign_on_sessions
from tenants.models import AuditEvent, Member, OnboardingStep

EVENTS_A_PAGE = 50
LARGEST_ID = 2**63 - 1  # of a BigAutoField


@login_required
@require_GET
def home(request: HttpRequest) -> HttpResponse:
    """Lead people to their organisation; staff without one to the back office."""
    mine = Member.objects.filter(user=request.user)  # type: ignore[misc]
    session = sign_on_sessions.of(request)
    if session is not None:
        mine = mine.filter(pk=session.identity.member_id)
    members = list(mine.select_related("tenant").order_by("tenant__name"))
    if len(members) == 1:
        return redirect("portal:tracker", members[0].tenant_id)
    if not members and request.user.is_staff:
        return redirect("admin:index")
    return render(request, "portal/home.html", {"members": members})


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


@login_required
@require_GET
def log(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Show the log, newest first; `before` is the cursor."""
    member = access.member_for(request, tenant)
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
