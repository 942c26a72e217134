"""Portal pages of the key in service and its buttons."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.forms import Form
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_POST

from byokportal.translation import translate as _
from keys import services
from keys.forms import (
    LatencyForm,
    ReasonForm,
)
from keys.models import RevocationDrill
from keys.views import operations
from tenants import access, portal
from tenants.models import Member


def _key_page(request: HttpRequest, member: Member, **given: object) -> HttpResponse:
    state = services.key_state(member.tenant)
    latency = member.tenant.revocation_latency
    context = {
        "state": state,
        "latency": latency,
        "latency_form": LatencyForm(initial={"seconds": latency}),
        "reason_form": ReasonForm(),
        "pressed": "",
        "drop": services.last_drop(member.tenant),
        "use": _impact(member, state),
        "drill": RevocationDrill.objects.of(member.tenant).first(),
        **given,
    }
    return render(request, "portal/key.html", portal.page(member, **context))


def _impact(member: Member, state: services.KeyState) -> tuple[services.ServiceUse, ...]:
    """Return who uses the key, while AWS is about to delete it."""
    return services.use_by_service(member.tenant)[1] if state.deletion_date else ()


@login_required
@require_GET
def key(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Show the key in service and its buttons."""
    return _key_page(request, access.member_for(request, tenant))


@login_required
@require_GET
def key_live(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Show the state and who has dropped what, as a fragment that htmx asks for again."""
    member = access.member_for(request, tenant)
    state = services.key_state(member.tenant)
    context = {"state": state, "drop": services.last_drop(member.tenant), "use": _impact(member, state)}
    return render(request, "portal/parts/key_state.html", portal.page(member, **context))


def _operation(
    request: HttpRequest, tenant: UUID, operation: Callable[..., object], *, message: str, pressed: str
) -> HttpResponse:
    """Do one of the operations that take nothing but a reason."""
    form = ReasonForm(request.POST)
    return operations.do(
        request,
        tenant,
        form,
        lambda member: operation(
            member.tenant, reason=form.cleaned_data["reason"], actor=portal.actor(request, member)
        ),
        message=message,
        then="portal:key",
        page=lambda request, member: _key_page(request, member, reason_form=form, pressed=pressed),
    )


@login_required
@require_POST
def suspend(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """The kill switch."""
    message = _("The key is suspended. Within 5 seconds nothing that it protects opens; Resume brings it back.")
    return _operation(request, tenant, services.suspend, message=message, pressed="suspend")


@login_required
@require_POST
def resume(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Undo the organisation's own suspension."""
    message = _("We ask your key now. Its answers are below; two good ones bring it back within seconds.")
    return _operation(request, tenant, services.resume, message=message, pressed="resume")


@login_required
@require_POST
def ask_again(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Ask AWS now."""
    form = Form(request.POST)
    return operations.do(
        request,
        tenant,
        form,
        lambda member: services.ask_again(member.tenant, actor=portal.actor(request, member)),
        message=_("We ask AWS about your key now. What it says is below."),
        then="portal:key",
        page=lambda request, member: _key_page(request, member, ask_form=form),
    )


@login_required
@require_POST
def drop_caches(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Make every process of ours forget its unwrapped keys now."""
    message = _("Every unwrapped copy is dropped within 5 seconds. The next use asks your key again.")
    return _operation(request, tenant, services.drop_caches, message=message, pressed="drop-caches")


@login_required
@require_POST
def set_latency(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Choose how long an unwrapped copy may live."""
    form = LatencyForm(request.POST)
    return operations.do(
        request,
        tenant,
        form,
        lambda member: services.set_latency(
            member.tenant, seconds=form.cleaned_data["seconds"], actor=portal.actor(request, member)
        ),
        message=_("When you take the key back in AWS, it stops within {seconds} seconds."),
        then="portal:key",
        page=lambda request, member: _key_page(request, member, latency_form=form),
    )
