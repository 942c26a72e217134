"""Portal pages of webhooks: the list, one with its deliveries, and the buttons on it."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from byokportal import clock
from byokportal.translation import translate as _
from support import kinds, services
from support.forms import ReplayForm, RotateWebhookForm, WebhookChangeForm, WebhookForm
from support.models import WebhookEndpoint
from tenants import access, audit, portal, roles, shown_once
from tenants.models import Member

DELIVERIES_A_PAGE = 50


def _page(member: Member, webhook: WebhookEndpoint) -> str:
    return reverse("portal:webhook", args=[member.tenant.pk, webhook.pk])


@login_required
@require_http_methods(["GET", "POST"])
def webhooks(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Show the webhooks; POST adds one, whose page shows its secret once."""
    member = access.member_for(request, tenant)
    form = WebhookForm(request.POST if request.method == "POST" else None, initial={"kinds": ["key"]})
    if request.method == "POST" and form.is_valid():
        with portal.refusals_on(form):
            actor = portal.actor(request, member)
            made, secret = services.add_webhook(member.tenant, **form.cleaned_data, actor=actor)
            if secret:
                return shown_once.redirect(request, _page(member, made), {"secret": secret})
            return redirect(_page(member, made))
    found = [{"webhook": one, "kinds": _names(one)} for one in services.webhooks_of(member.tenant)]
    return render(request, "portal/support/webhooks.html", portal.page(member, webhooks=found, form=form))


def _names(webhook: WebhookEndpoint) -> str:
    return ", ".join(_(name) for kind, (name, what) in kinds.KINDS.items() if kind in webhook.kinds)


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def webhook(request: HttpRequest, tenant: UUID, webhook: UUID) -> HttpResponse:
    """Show a webhook with its deliveries; POST changes what it gets."""
    member = access.member_for(request, tenant)
    found = services.webhook_of(member.tenant, webhook)
    initial = {"description": found.description, "kinds": found.kinds}
    form = WebhookChangeForm(request.POST if request.method == "POST" else None, initial=initial)
    if request.method == "POST" and form.is_valid():
        with portal.refusals_on(form):
            services.change_webhook(found, **form.cleaned_data, actor=portal.actor(request, member))
            messages.success(request, _("The webhook is changed."))
            return redirect(_page(member, found))
    rows = found.deliveries.select_related("event")
    page = Paginator(rows, DELIVERIES_A_PAGE).get_page(request.GET.get("page"))
    context = portal.page(
        member,
        webhook=found,
        kinds=_names(found),
        form=form,
        rotate_form=RotateWebhookForm(),
        replay_form=ReplayForm(),
        found=page,
        deliveries=[{"one": row, "sentence": audit.sentence(row.event) if row.event else "A test"} for row in page],
        shown=shown_once.take(request),
    )
    return render(request, "portal/support/webhook.html", context)


@login_required
@require_POST
def rotate(request: HttpRequest, tenant: UUID, webhook: UUID) -> HttpResponse:
    """Make a new secret, which the page shows once."""
    member = access.member_for(request, tenant)
    found = services.webhook_of(member.tenant, webhook)
    form = RotateWebhookForm(request.POST)
    hours = form.cleaned_data["hours"] if form.is_valid() else -1
    secret = services.rotate_webhook_secret(found, hours=hours, actor=portal.actor(request, member))
    return shown_once.redirect(request, _page(member, found), {"secret": secret})


@login_required
@require_POST
def switch(request: HttpRequest, tenant: UUID, webhook: UUID) -> HttpResponse:
    """Switch a webhook off, or on again."""
    member = access.member_for(request, tenant)
    found = services.webhook_of(member.tenant, webhook)
    is_on = request.POST.get("to") == "on"
    services.switch_webhook(found, is_on=is_on, actor=portal.actor(request, member))
    messages.success(request, _("The webhook is on.") if is_on else _("The webhook is off. Nothing is sent to it."))
    return redirect(_page(member, found))


@login_required
@require_http_methods(["GET", "POST"])
def remove(request: HttpRequest, tenant: UUID, webhook: UUID) -> HttpResponse:
    """Ask whether to remove a webhook; POST removes it."""
    member = access.member_for(request, tenant)
    found, actor = services.webhook_of(member.tenant, webhook), portal.actor(request, member)
    roles.require(actor, "support.change_webhooks", member.tenant)
    if request.method == "POST":
        services.remove_webhook(found, actor=actor)
        messages.success(request, _("The webhook is removed."))
        return redirect("portal:webhooks", member.tenant.pk)
    return render(request, "portal/support/remove_webhook.html", portal.page(member, webhook=found))


@login_required
@require_POST
def test(request: HttpRequest, tenant: UUID, webhook: UUID) -> HttpResponse:
    """Send a test."""
    member = access.member_for(request, tenant)
    found = services.webhook_of(member.tenant, webhook)
    services.test_webhook(found, actor=portal.actor(request, member))
    messages.success(request, _("A test is on its way. Reload the page in a moment to see what came of it."))
    return redirect(_page(member, found))


@login_required
@require_POST
def replay(request: HttpRequest, tenant: UUID, webhook: UUID) -> HttpResponse:
    """Send again all that was given up in the last days."""
    member = access.member_for(request, tenant)
    found = services.webhook_of(member.tenant, webhook)
    form = ReplayForm(request.POST)
    since = clock.now() - timedelta(days=form.cleaned_data["days"] if form.is_valid() else 1)
    count = services.replay_failed(found, since=since, actor=portal.actor(request, member))
    messages.success(
        request, _("Sent again: %(count)s.", count=count) if count else _("Nothing was given up in that time.")
    )
    return redirect(_page(member, found))


@login_required
@require_POST
def replay_one(request: HttpRequest, tenant: UUID, webhook: UUID, delivery: UUID) -> HttpResponse:
    """Send one delivery again."""
    member = access.member_for(request, tenant)
    found = services.webhook_of(member.tenant, webhook)
    one = services.delivery_of(found, delivery)
    services.replay_delivery(one, actor=portal.actor(request, member))
    messages.success(request, _("It is sent again."))
    return redirect(_page(member, found))
