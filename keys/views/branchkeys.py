"""Portal pages of another key: replacing the CMK or role, what still needs the old one, rotation, and the way back."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.db.models import Count, Window
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from byokportal import clock
from byokportal.errors import NotFound
from byokportal.translation import translate as _
from keys import branchkeys, horizon, services
from keys.forms import EndHorizonForm, LeaveForm, ReasonForm
from keys.models import BranchKey, KeyRegistration
from keys.views import operations
from tenants import access, portal, roles
from tenants.models import Member

SHOWN = 50  # branch keys on the page, newest first


def _page(request: HttpRequest, member: Member, **given: object) -> HttpResponse:
    tenant = member.tenant
    rows = services.registrations_with_generation(tenant)
    mine = list(BranchKey.objects.of(tenant).annotate(total=Window(Count("pk")))[:SHOWN])
    context = {
        "state": services.key_state_among(tenant, rows),
        "preparing": next((row for row in rows if row.status in KeyRegistration.IN_PREPARATION), None),
        "total": mine[0].total if mine else 0,  # type: ignore[attr-defined]  # annotated
        "remaining": branchkeys.opened_by_others(
            tenant, next((row for row in rows if row.status in KeyRegistration.SERVING), None)
        ),
        "kept": horizon.kept(tenant),
        "retention": horizon.days(),
        "branch_keys": mine,
        "rotation_days": settings.BRANCH_KEY_ROTATION_DAYS,
        "has_platform_key": bool(settings.PLATFORM_KEY_ARN),
        "reason_form": ReasonForm(),
        "leave_form": LeaveForm(),
        "pressed": "",
        "now": clock.now(),
        **given,
    }
    return render(request, "portal/branch_keys.html", portal.page(member, **context))


@login_required
@require_GET
def branch_keys(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Show which key opens what, what is on its way, and the operations around it."""
    return _page(request, access.member_for(request, tenant))


@login_required
@require_GET
def preparing(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Show what is to take over from the key that serves, as a fragment;
    the tracker, which is about the latter, asks for it."""
    member = access.member_for(request, tenant)
    found = KeyRegistration.objects.of(member.tenant).replacement()
    return render(request, "portal/parts/preparing.html", portal.page(member, preparing=found))


def _operation(
    request: HttpRequest,
    tenant: UUID,
    form: forms.Form,
    operation: Callable[..., object],
    *,
    message: str,
    pressed: str,
) -> HttpResponse:
    """Do one operation of this page; each takes a reason."""
    shown = {"leave_form" if pressed == "leave" else "reason_form": form}
    return operations.do(
        request,
        tenant,
        form,
        lambda member: operation(
            member.tenant, reason=form.cleaned_data["reason"], actor=portal.actor(request, member)
        ),
        message=message,
        then="portal:branch-keys",
        page=lambda request, member: _page(request, member, pressed=pressed, **shown),
    )


@login_required
@require_POST
def rotate(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Ask for a fresh branch key ahead of its schedule."""
    message = _("A fresh branch key is on its way. What the old one wrapped goes on opening.")
    return _operation(
        request, tenant, ReasonForm(request.POST), services.rotate_branch_key, message=message, pressed="rotate"
    )


@login_required
@require_POST
def withdraw(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Give up what is in preparation."""
    message = _("The registration in preparation is withdrawn. A key that serves goes on serving.")
    return _operation(request, tenant, ReasonForm(request.POST), services.withdraw, message=message, pressed="withdraw")


@login_required
@require_POST
def leave(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Give up BYOK."""
    message = _(
        "The platform's key takes over. Keep your role and your key until nothing below names them any more, "
        "backups included."
    )
    return _operation(request, tenant, LeaveForm(request.POST), services.leave, message=message, pressed="leave")


def _end_page(
    request: HttpRequest, member: Member, registration: KeyRegistration, form: EndHorizonForm
) -> HttpResponse:
    one = next((found for found in horizon.kept(member.tenant) if found.registration_id == registration.pk), None)
    if one is None:
        raise NotFound
    return render(request, "portal/end_horizon.html", portal.page(member, kept=one, form=form))


@login_required
@require_http_methods(["GET", "POST"])
def end_horizon(request: HttpRequest, tenant: UUID, registration: UUID) -> HttpResponse:
    """Show what a restored backup loses without an old key; POST gives that key up."""
    member = access.member_for(request, tenant)
    found = KeyRegistration.objects.of(member.tenant).filter(pk=registration).select_related("tenant").first()
    if found is None:
        raise NotFound
    actor = portal.actor(request, member)
    roles.require(actor, "keys.end_horizon", member.tenant)
    form = EndHorizonForm(request.POST if request.method == "POST" else None)
    return operations.do(
        request,
        tenant,
        form,
        lambda _: services.end_horizon(
            found, accepts_loss=form.cleaned_data["sure"], reason=form.cleaned_data["reason"], actor=actor
        ),
        message=_(
            "The old key and its role are given up. Make a fresh branch key now, if whoever has the key may have "
            "a backup too."
        ),
        then="portal:branch-keys",
        page=lambda request, member: _end_page(request, member, found, form),
    )
