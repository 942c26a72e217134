"""Portal page of the moment at which a tested registration goes into service: choose it, and the button."""

from __future__ import annotations

from uuid import UUID

from django import forms
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods, require_POST

from byokportal.translation import translate as _
from keys import services
from keys.forms import ActivationForm
from keys.models import KeyRegistration
from keys.views import operations
from tenants import access, portal
from tenants.models import Member


def _page(request: HttpRequest, member: Member, **refused: forms.Form) -> HttpResponse:
    found = KeyRegistration.objects.of(member.tenant).in_preparation().first()
    given = {"activation": found.activation, "activate_at": found.activate_at} if found else {}
    running = found is not None and found.activate_at is not None and found.tests.open().exists()
    context = {"registration": found, "form": ActivationForm(initial=given), "running": running, **refused}
    return render(request, "portal/activation.html", portal.page(member, **context))


@login_required
@require_http_methods(["GET", "POST"])
def activation(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Show when the registration in preparation goes into service; POST chooses it."""
    member = access.member_for(request, tenant)
    if request.method != "POST":
        return _page(request, member)
    form = ActivationForm(request.POST)
    return operations.do(
        request,
        tenant,
        form,
        lambda member: services.choose_activation(
            member.tenant, **form.cleaned_data, actor=portal.actor(request, member)
        ),
        message=_("Noted. You can change it until then."),
        then="portal:activation",
        page=lambda request, member: _page(request, member, form=form),
    )


@login_required
@require_POST
def activate(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Put the tested registration in service now."""
    form = forms.Form(request.POST)
    return operations.do(
        request,
        tenant,
        form,
        lambda member: services.activate(member.tenant, actor=portal.actor(request, member)),
        message=_("Your key goes into service. If its test is older than an hour, we test once more first."),
        then="portal:activation",
        page=lambda request, member: _page(request, member, press_form=form),
    )
