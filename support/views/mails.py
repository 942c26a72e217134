"""Portal page on which a member chooses which mails to get."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from byokportal.translation import translate as _
from support import kinds, mailed, services
from support.forms import MailsForm
from tenants import access, portal


@login_required
@require_http_methods(["GET", "POST"])
def mails(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Show what the member is mailed; POST chooses."""
    member = access.member_for(request, tenant)
    if request.method == "POST":
        form = MailsForm(request.POST)
        if form.is_valid():
            with portal.refusals_on(form):
                services.choose_mails(member, **form.cleaned_data, actor=portal.actor(request, member))
                messages.success(request, _("Your choice is saved."))
                return redirect("portal:mails", member.tenant.pk)
    choices = mailed.choices_of(member)
    if request.method != "POST":
        form = MailsForm(initial={"kinds": [one.kind for one in choices if one.is_wanted]})
    kept = [_(kinds.KINDS[one.kind][0]) for one in choices if one.is_kept]
    return render(request, "portal/support/mails.html", portal.page(member, form=form, kept=kept))
