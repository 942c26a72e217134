"""Portal pages of the link for a colleague who owns AWS: its making and end, and what came in by it."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from byokportal import words
from byokportal.translation import translate as _
from keys import services
from keys.forms import LinkForm
from keys.models import SetupLink
from tenants import access, portal, shown_once

SHOWN = 20  # links, newest first


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def links(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Show the links and the ARNs that came in by one; POST makes a link, which the page after it shows once."""
    member = access.member_for(request, tenant)
    form = LinkForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        with portal.refusals_on(form):
            _, raw = services.make_link(member.tenant, **form.cleaned_data, actor=portal.actor(request, member))
            url = request.build_absolute_uri(reverse("portal:setup-link-enter", args=[raw]))
            return shown_once.redirect(request, request.path, {"link": url})
    mine = SetupLink.objects.of(member.tenant)
    context = portal.page(
        member,
        form=form,
        shown=shown_once.take(request),
        open_links=[(link, words.person(link.made_by)) for link in mine.open()],
        ended=mine.exclude(pk__in=mine.open().values("pk"))[:SHOWN],
        proposal=services.pending_proposal(member.tenant),
    )
    return render(request, "portal/links.html", context)


@login_required
@require_POST
def revoke(request: HttpRequest, tenant: UUID, link: UUID) -> HttpResponse:
    """End a link."""
    member = access.member_for(request, tenant)
    found = services.link_of(member.tenant, link)
    services.revoke_link(found, actor=portal.actor(request, member))
    messages.success(request, _("The link for %(name)s leads nowhere any more.", name=found.name))
    return redirect("portal:links", member.tenant.pk)


@login_required
@require_POST
def confirm(request: HttpRequest, tenant: UUID, proposal: UUID) -> HttpResponse:
    """Take proposed ARNs over."""
    member = access.member_for(request, tenant)
    found = services.proposal_of(member.tenant, proposal)
    services.confirm_proposal(found, actor=portal.actor(request, member))
    messages.success(request, _("The ARNs are saved. Look at both, then share them."))
    return redirect("portal:step", member.tenant.pk, 6)


@login_required
@require_POST
def refuse(request: HttpRequest, tenant: UUID, proposal: UUID) -> HttpResponse:
    """Refuse proposed ARNs."""
    member = access.member_for(request, tenant)
    services.refuse_proposal(services.proposal_of(member.tenant, proposal), actor=portal.actor(request, member))
    messages.success(request, _("The ARNs are refused. Nothing of them is saved."))
    return redirect("portal:links", member.tenant.pk)
