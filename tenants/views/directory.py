"""The page of a directory that tells by SCIM who is in: address, tokens, groups and their roles, people."""

from __future__ import annotations

from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from byokportal import clock, words
from byokportal.errors import NotFound
from byokportal.translation import translate as _
from tenants import access, fresh, portal, roles, services, shown_once, sign_on_sessions
from tenants.forms import DirectoryForm, DirectoryTokenForm, RemoveForm
from tenants.models import Directory, DirectoryUser, Member, Role, SignOnConnection, Tenant

A_PAGE, GROUPS = 50, 500


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def directory(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Show the directory; POST connects it, or changes what it may do."""
    member = access.member_for(request, tenant)
    found = _directory(member.tenant)
    initial = {"default_role": found.default_role, "may_make_owners": found.may_make_owners} if found else None
    form = DirectoryForm(request.POST if request.method == "POST" else None, initial=initial)
    if request.method == "POST" and form.is_valid():
        with portal.refusals_on(form):
            services.set_directory(member.tenant, **form.cleaned_data, actor=portal.actor(request, member))
            messages.success(request, _("Saved. Make a token next.") if found is None else _("Saved."))
            return redirect("portal:directory", member.tenant.pk)
    context = _shown(request, member, found)
    return render(request, "portal/directory.html", portal.page(member, **context, form=form))


@login_required
@require_POST
def make_token(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Make a token for the directory, which the page shows once."""
    member = access.member_for(request, tenant)
    found = _directory(member.tenant)
    if found is None:
        raise NotFound
    form = DirectoryTokenForm(request.POST)
    if form.is_valid():
        with portal.refusals_on(form):
            days = form.cleaned_data["days"]
            _, raw = services.make_directory_token(found, days=days, actor=portal.actor(request, member))
            return shown_once.redirect(request, reverse("portal:directory", args=[member.tenant.pk]), {"token": raw})
    initial = {"default_role": found.default_role, "may_make_owners": found.may_make_owners}
    context = {**_shown(request, member, found), "token_form": form, "form": DirectoryForm(initial=initial)}
    return render(request, "portal/directory.html", portal.page(member, **context))


@login_required
@require_POST
def revoke_token(request: HttpRequest, tenant: UUID, scim_token: UUID) -> HttpResponse:
    """End a token of the directory."""
    member = access.member_for(request, tenant)
    services.revoke_directory_token(
        services.directory_token_of(member.tenant, scim_token), actor=portal.actor(request, member)
    )
    messages.success(request, _("The token is revoked. The directory cannot use it any more."))
    return redirect("portal:directory", member.tenant.pk)


@login_required
@require_POST
def group_role(request: HttpRequest, tenant: UUID, group: UUID) -> HttpResponse:
    """Say which role a group of the directory gives."""
    member = access.member_for(request, tenant)
    found = services.directory_group_of(member.tenant, group)
    changed = services.set_group_role(found, role=request.POST.get("role", ""), actor=portal.actor(request, member))
    name = changed.display_name
    if changed.role:
        words = _("%(name)s gives the role %(role)s now.", name=name, role=_(changed.role))
    else:
        words = _("%(name)s gives no role now.", name=name)
    messages.success(request, words)
    return redirect("portal:directory", member.tenant.pk)


@login_required
@require_http_methods(["GET", "POST"])
def remove(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Ask for the reason, then disconnect the directory."""
    member = access.member_for(request, tenant)
    actor = portal.actor(request, member)
    roles.require(actor, "tenants.change_sign_on", member.tenant)
    found = services.scim_directory_of(member.tenant)
    form = RemoveForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        with portal.refusals_on(form):
            services.remove_directory(found, reason=form.cleaned_data["reason"], actor=actor)
            messages.success(request, _("The directory is disconnected."))
            return redirect("portal:directory", member.tenant.pk)
    by_claim = SignOnConnection.objects.of(member.tenant).present().exclude(role_claim="").exists()
    return render(request, "portal/remove_directory.html", portal.page(member, form=form, by_claim=by_claim))


@login_required
@require_POST
def join(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Join an organisation whose directory names one's own account."""
    # A session that another directory made decides nothing about the account itself.
    found = Tenant.objects.filter(pk=tenant).first() if sign_on_sessions.of(request) is None else None
    if found is None:
        raise NotFound
    services.join_by_directory(found, user=request.user, signed_in_at=fresh.signed_in_at(request))  # type: ignore[arg-type]
    messages.success(request, _("You are in %(name)s.", name=found.name))
    return redirect("portal:tracker", found.pk)


def _directory(tenant: Tenant) -> Directory | None:
    """Return the directory with the number of its people."""
    present = Count("users", filter=Q(users__deleted_at=None))
    return Directory.objects.of(tenant).annotate(people=present).first()


def _shown(request: HttpRequest, member: Member, found: Directory | None) -> dict[str, object]:
    shown: dict[str, object] = {
        "directory": found,
        "address": f"{settings.BASE_URL}/api/scim/v2/{member.tenant_id}",
        "shown": shown_once.take(request),
        "token_form": DirectoryTokenForm(),
    }
    if found is None:
        return shown
    tokens = found.tokens.valid(clock.now())  # type: ignore[attr-defined]
    people = DirectoryUser.objects.present().filter(directory=found).select_related("member__user")
    paginator = Paginator(people.prefetch_related("groups"), A_PAGE)
    paginator.count = found.people  # type: ignore[attr-defined,misc]  # counted with the directory
    page = paginator.get_page(request.GET.get("page"))
    choices = [("", _("None")), *((value, label) for value, label in Role.choices if _may_be(value, found))]
    return shown | {
        "tokens": [{"token": one, "made_by": words.person(one.made_by)} for one in tokens],
        "groups": found.groups.annotate(count=Count("users")).order_by("display_name")[:GROUPS],
        "group_roles": choices,
        "found": page,
        "people": page,
    }


def _may_be(role: str, directory: Directory) -> bool:
    return role != Role.OWNER or directory.may_make_owners
