"""Portal page of a person's automation tokens."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from byokportal import clock
from byokportal.errors import NotFound
from tenants import access, portal, services, shown_once
from tenants.forms import TokenForm
from tenants.models import AccessToken


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def tokens(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Show the person's own automation tokens; POST mints one, which the page after it shows once."""
    member = access.member_for(request.user, tenant)
    form = TokenForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        with portal.refusals_on(form):
            _, raw = services.mint_token(member, name=form.cleaned_data["name"], actor=portal.actor(request, member))
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
    services.revoke_token(mine, actor=portal.actor(request, member))
    messages.success(request, f"The token {mine.name} is revoked. It stops working within 5 seconds.")
    return redirect("portal:tokens", member.tenant.pk)
