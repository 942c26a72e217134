"""The page that a mailed invitation leads to: who invites to what, and a button that accepts."""

from __future__ import annotations

from allauth.account.utils import perform_login
from django.contrib import messages
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods

from byokportal.translation import translate as _
from tenants import fresh, mailed_links, portal, services
from tenants.forms import AcceptForm

NAME = "invitation"


@never_cache
@require_GET
def link(request: HttpRequest, secret: str) -> HttpResponse:
    """Lead to the page without the secret in its address; uses nothing up."""
    return mailed_links.lead(NAME, secret, "portal:invitation")


@never_cache
@require_http_methods(["GET", "POST"])
def invitation(request: HttpRequest) -> HttpResponse:
    """Show who invites to what; POST accepts."""
    secret = mailed_links.secret_of(request, NAME)
    found = services.invitation_by_link(secret)
    signed_in = None if isinstance(request.user, AnonymousUser) else request.user
    needs_password = signed_in is None and services.needs_password(found)
    form = AcceptForm(request.POST if request.method == "POST" else None, needs_password=needs_password)
    if request.method == "POST" and form.is_valid():
        with portal.refusals_on(form):
            member = services.accept_invitation(secret, user=signed_in, password=form.cleaned_data.get("password", ""))
            answer = redirect("portal:tracker", member.tenant_id)
            if signed_in is None:
                _sign_in(request, member.user)
            messages.success(request, _("Welcome to %(name)s.", name=member.tenant.name))
            return mailed_links.forget(answer, NAME)
    context = {
        "invitation": found,
        "inviter": services.inviter_of(found),
        "form": form,
        "needs_password": needs_password,
        "needs_sign_in": signed_in is None and not needs_password,
        "sign_in_url": f"{reverse('account_login')}?next={reverse('portal:invitation')}",
        "is_other_account": signed_in is not None and not services.has_proved(signed_in, found.email),
    }
    return render(request, "portal/invitation.html", context)


def _sign_in(request: HttpRequest, user: User) -> None:
    """Sign in whoever has just proved the address and chosen a password."""
    perform_login(request, user, email_verification="none")
    if request.user.is_authenticated:  # not yet, if the account has a second factor
        fresh.note(request=request, user=user)
