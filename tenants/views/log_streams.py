"""Portal pages of the streams of the log: the list, one of them, and the buttons on it."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from byokportal.translation import translate as _
from tenants import access, portal, roles, services, shown_once
from tenants.forms import LogStreamChangeForm, LogStreamForm, ReplayLogStreamForm, RotateLogStreamForm
from tenants.models import LogStream, Member


def _page(member: Member, stream: LogStream) -> str:
    return reverse("portal:log-stream", args=[member.tenant.pk, stream.pk])


@login_required
@require_http_methods(["GET", "POST"])
def streams(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Show the streams; POST adds one, whose page shows its secret once."""
    member = access.member_for(request, tenant)
    form = LogStreamForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        with portal.refusals_on(form):
            actor = portal.actor(request, member)
            made, secret = services.add_log_stream(member.tenant, **form.cleaned_data, actor=actor)
            if secret:
                return shown_once.redirect(request, _page(member, made), {"secret": secret})
            return redirect(_page(member, made))
    found = services.log_streams_of(member.tenant)
    return render(request, "portal/log_streams.html", portal.page(member, streams=found, form=form))


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def stream(request: HttpRequest, tenant: UUID, stream: UUID) -> HttpResponse:
    """Show a stream and how far its receiver is; POST changes its name and its headers."""
    member = access.member_for(request, tenant)
    found = services.log_stream_of(member.tenant, stream)
    form = _change_form(found, request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        with portal.refusals_on(form):
            services.change_log_stream(found, **form.cleaned_data, actor=portal.actor(request, member))
            messages.success(request, _("The stream is changed."))
            return redirect(_page(member, found))
    return _show(request, member, found, form, ReplayLogStreamForm())


def _show(
    request: HttpRequest,
    member: Member,
    found: LogStream,
    form: LogStreamChangeForm,
    replay_form: ReplayLogStreamForm,
) -> HttpResponse:
    newest = services.last_number(member.tenant)
    context = portal.page(
        member,
        stream=found,
        newest=newest,
        missing=max(0, newest - found.acknowledged),
        form=form,
        rotate_form=RotateLogStreamForm(),
        replay_form=replay_form,
        shown=shown_once.take(request),
    )
    return render(request, "portal/log_stream.html", context)


def _change_form(found: LogStream, posted: QueryDict | None = None) -> LogStreamChangeForm:
    form = LogStreamChangeForm(posted, initial={"description": found.description})
    if found.format != LogStream.Format.OTLP:
        del form.fields["headers"]
    return form


@login_required
@require_POST
def rotate(request: HttpRequest, tenant: UUID, stream: UUID) -> HttpResponse:
    """Make a new secret, which the page shows once."""
    member = access.member_for(request, tenant)
    found = services.log_stream_of(member.tenant, stream)
    form = RotateLogStreamForm(request.POST)
    hours = form.cleaned_data["hours"] if form.is_valid() else -1
    secret = services.rotate_log_stream_secret(found, hours=hours, actor=portal.actor(request, member))
    return shown_once.redirect(request, _page(member, found), {"secret": secret})


@login_required
@require_POST
def switch(request: HttpRequest, tenant: UUID, stream: UUID) -> HttpResponse:
    """Switch a stream off, or on again."""
    member = access.member_for(request, tenant)
    found = services.log_stream_of(member.tenant, stream)
    is_on = request.POST.get("to") == "on"
    services.switch_log_stream(found, is_on=is_on, actor=portal.actor(request, member))
    said = _("The stream is on: it goes on where it was.") if is_on else _("The stream is off. Nothing is sent by it.")
    messages.success(request, said)
    return redirect(_page(member, found))


@login_required
@require_http_methods(["GET", "POST"])
def remove(request: HttpRequest, tenant: UUID, stream: UUID) -> HttpResponse:
    """Ask whether to remove a stream; POST removes it."""
    member = access.member_for(request, tenant)
    found, actor = services.log_stream_of(member.tenant, stream), portal.actor(request, member)
    roles.require(actor, "tenants.change_log_streams", member.tenant)
    if request.method == "POST":
        services.remove_log_stream(found, actor=actor)
        messages.success(request, _("The stream is removed."))
        return redirect("portal:log-streams", member.tenant.pk)
    return render(request, "portal/remove_log_stream.html", portal.page(member, stream=found))


@login_required
@require_POST
def test(request: HttpRequest, tenant: UUID, stream: UUID) -> HttpResponse:
    """Send a test."""
    member = access.member_for(request, tenant)
    found = services.log_stream_of(member.tenant, stream)
    services.test_log_stream(found, actor=portal.actor(request, member))
    messages.success(request, _("A test is on its way. Reload the page in a moment to see what came of it."))
    return redirect(_page(member, found))


@login_required
@require_POST
def replay(request: HttpRequest, tenant: UUID, stream: UUID) -> HttpResponse:
    """Send again from a line, or a time, on."""
    member = access.member_for(request, tenant)
    found = services.log_stream_of(member.tenant, stream)
    form, actor = ReplayLogStreamForm(request.POST), portal.actor(request, member)
    roles.require(actor, "tenants.send_log_streams", member.tenant)
    if form.is_valid():
        with portal.refusals_on(form):
            first = services.replay_log_stream(found, **form.cleaned_data, actor=actor)
            messages.success(request, _("Lines from %(number)s on are sent again.", number=first))
            return redirect(_page(member, found))
    return _show(request, member, found, _change_form(found), form)
