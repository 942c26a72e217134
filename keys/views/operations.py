"""One way through a portal form with one operation behind it: do it and go on, or show the page with what was wrong."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from tenants import access, portal
from tenants.models import Member


def do(
    request: HttpRequest,
    tenant: UUID,
    form: forms.Form,
    operation: Callable[[Member], object],
    *,
    message: str,
    then: str,
    page: Callable[[HttpRequest, Member], HttpResponse],
) -> HttpResponse:
    """Do the operation as the person who asks, if the form and the service let it.

    Args:
        message: what the next page says; braces are filled from the form.
        then: name of that page.
        page: shows this page again, with the form that was refused.
    """
    member = access.member_for(request, tenant)
    if form.is_valid():
        with portal.refusals_on(form):
            operation(member)
            messages.success(request, message.format_map(form.cleaned_data))
            return redirect(then, member.tenant.pk)
    return page(request, member)
