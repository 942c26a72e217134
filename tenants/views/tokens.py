"""Portal page of automation tokens: one's own, and for owners those of the whole organisation."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from byokportal import clock, words
from byokportal.errors import NotFound
from byokportal.translation import translate as _
from tenants import access, portal, services, shown_once
from tenants.forms import MAY, TokenForm
from tenants.models import AccessToken, Member, Role

TOKENS_A_PAGE = 50
ENDED = 20  # tokens that ended, newest first


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def tokens(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Show the automation tokens that the person may revoke; POST mints one, which the page after it shows once."""
    member = access.member_for(request, tenant)
    actor = portal.actor(request, member)
    form = TokenForm(request.POST if request.method == "POST" else None, is_owner=member.role == Role.OWNER)
    if request.method == "POST" and form.is_valid():
        with portal.refusals_on(form):
            _, raw = services.mint_token(member, **form.cleaned_data, actor=actor)
            return shown_once.redirect(request, request.path, {"token": raw})
    seen, now = services.tokens_seen_by(actor, member.tenant), clock.now()
    valid = Paginator(seen.valid(now), TOKENS_A_PAGE).get_page(request.GET.get("page"))  # type: ignore[attr-defined]
    context = portal.page(
        member,
        found=valid,
        tokens=[_row(token, member) for token in valid],
        ended=[_row(token, member) for token in seen.ended(now)[:ENDED]],  # type: ignore[attr-defined]
        form=form,
        shown=shown_once.take(request),
    )
    return render(request, "portal/tokens.html", context)


def _row(token: AccessToken, member: Member) -> dict[str, object]:
    """Return a token as the page shows it."""
    return {
        "token": token,
        "may": [MAY[one].split(":")[0] for one in MAY if one in token.permissions],
        "is_mine": token.member_id == member.pk,
        "acts_as": services.holder_of(token),
        "made_by": words.person(token.made_by) if token.made_by else "",
    }


@login_required
@require_POST
def revoke_token(request: HttpRequest, tenant: UUID, token: UUID) -> HttpResponse:
    """Revoke one of the tokens that the person sees."""
    member = access.member_for(request, tenant)
    actor = portal.actor(request, member)
    found = services.tokens_seen_by(actor, member.tenant).filter(pk=token).first()
    if found is None:
        raise NotFound
    services.revoke_token(found, actor=actor)
    messages.success(request, _("The token %(name)s is revoked. It stops working within 5 seconds.", name=found.name))
    return redirect("portal:tokens", member.tenant.pk)
