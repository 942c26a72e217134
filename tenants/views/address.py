"""The page on which a person changes their own mail address, and the one that the mailed link leads to."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods

from byokportal.translation import translate as _
from tenants import fresh, mailed_links, portal, services
from tenants.forms import AddressForm

NAME = "address"


@login_required
@require_http_methods(["GET", "POST"])
def address(request: HttpRequest) -> HttpResponse:
    """Show the address; POST asks for another."""
    form = AddressForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        with portal.refusals_on(form):
            change = services.request_address_change(
                request.user,  # type: ignore[arg-type]  # signed in
                email=form.cleaned_data["email"],
                signed_in_at=fresh.signed_in_at(request),
            )
            messages.success(
                request,
                _(
                    "A mail with a link goes to %(email)s. Your address changes when you use the link.",
                    email=change.email,
                ),
            )
            return redirect("portal:address")
    return render(request, "portal/address.html", {"form": form})


@never_cache
@require_GET
def link(request: HttpRequest, secret: str) -> HttpResponse:
    """Lead to the page without the secret in its address; uses nothing up."""
    return mailed_links.lead(NAME, secret, "portal:confirm-address")


@never_cache
@login_required
@require_http_methods(["GET", "POST"])
def confirm(request: HttpRequest) -> HttpResponse:
    """Show the new address; POST makes it the person's."""
    secret = mailed_links.secret_of(request, NAME)
    change = services.address_change_by_link(secret, request.user)  # type: ignore[arg-type]  # signed in
    if request.method == "POST":
        email = services.confirm_address_change(secret, user=request.user)  # type: ignore[arg-type]
        messages.success(request, _("Your address is %(email)s now. Sign in with it from now on.", email=email))
        return mailed_links.forget(redirect("portal:address"), NAME)
    return render(request, "portal/confirm_address.html", {"change": change})
