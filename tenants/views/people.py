"""Portal pages of the people: who is in, who let them in, who is invited, and the ways out."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from byokportal import clock
from byokportal.errors import NotFound
from byokportal.translation import lazy
from byokportal.translation import translate as _
from tenants import access, portal, roles, services
from tenants.forms import ForgetForm, InviteForm, RemoveForm, RoleForm
from tenants.models import Invitation, Member, OwnerRecovery, came_by_sign_on, is_by_directory

PEOPLE_A_PAGE = 100
FORMER_A_PAGE = 20


@login_required
@require_http_methods(["GET", "POST"])
def members(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Show the people and the invitations; POST invites somebody."""
    member = access.member_for(request, tenant)
    form = InviteForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        with portal.refusals_on(form):
            invited = services.invite(member.tenant, **form.cleaned_data, actor=portal.actor(request, member))
            messages.success(
                request, _("%(email)s is invited. The mail with the link is on its way.", email=invited.email)
            )
            return redirect("portal:members", member.tenant.pk)
    everybody = Member.objects.of(member.tenant).annotate(
        came_by_sign_on=came_by_sign_on(), is_by_directory=is_by_directory()
    )
    everybody = everybody.select_related("user", "invitation__inviter__user", "role_by__user", "tenant")
    people = Paginator(everybody, PEOPLE_A_PAGE).get_page(request.GET.get("page"))
    factors = services.second_factors_of(people)
    former = Paginator(services.former_members_of(member.tenant), FORMER_A_PAGE).get_page(request.GET.get("former"))
    context = portal.page(
        member,
        people=people,
        rows=[{"member": one, "factor": factors.get(one.user_id, "")} for one in people],
        invitations=Invitation.objects.of(member.tenant).open().select_related("inviter__user")[:PEOPLE_A_PAGE],
        recovery=OwnerRecovery.objects.of(member.tenant).filter(status=OwnerRecovery.Status.WAITING).first(),
        former=former,
        former_rows=services.described(list(former)),
        form=form,
        roles=RoleForm.base_fields["role"].choices,  # type: ignore[attr-defined]
    )
    return render(request, "portal/members.html", context)


@login_required
@require_POST
def change_role(request: HttpRequest, tenant: UUID, number: int) -> HttpResponse:
    """Give a member another role."""
    member = access.member_for(request, tenant)
    changed = _member(member, number)
    services.change_role(changed, role=request.POST.get("role", ""), actor=portal.actor(request, member))
    messages.success(request, _("%(email)s is %(role)s now.", email=changed.user.email, role=_(changed.role)))
    return redirect("portal:members", member.tenant.pk)


@login_required
@require_http_methods(["GET", "POST"])
def remove_member(request: HttpRequest, tenant: UUID, number: int) -> HttpResponse:
    """Ask for the reason, then show a member out; for oneself this is leaving."""
    member = access.member_for(request, tenant)
    going, actor = _member(member, number), portal.actor(request, member)
    is_leaving = going.pk == member.pk
    roles.require(actor, "tenants.leave" if is_leaving else "tenants.remove_member", member.tenant)
    form = RemoveForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        with portal.refusals_on(form):
            if is_leaving:
                services.leave_organisation(going, actor=actor)
                messages.success(
                    request,
                    _("You left %(name)s. Sign in again for your other organisations.", name=member.tenant.name),
                )
                return redirect("portal:home")
            services.remove_member(going, reason=form.cleaned_data["reason"], actor=actor)
            messages.success(
                request,
                _("%(email)s is out. Sessions and tokens of this person end within 5 seconds.", email=going.user.email),
            )
            return redirect("portal:members", member.tenant.pk)
    return render(request, "portal/remove_member.html", portal.page(member, going=going, form=form))


@login_required
@require_http_methods(["GET", "POST"])
def forget_member(request: HttpRequest, tenant: UUID, former: int) -> HttpResponse:
    """Show what is forgotten with a former member and what stays; POST does it."""
    member = access.member_for(request, tenant)
    gone, actor = services.former_member_of(member.tenant, former), portal.actor(request, member)
    roles.require(actor, "tenants.forget_member", member.tenant)
    form = ForgetForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        with portal.refusals_on(form):
            services.forget_member(gone, reason=form.cleaned_data["reason"], actor=actor)
            # The message names nobody: a session keeps it until it is read.
            messages.success(request, _("This person is forgotten here. The log keeps what they did, under a mark."))
            return redirect("portal:members", member.tenant.pk)
    context = portal.page(
        member,
        former=services.described([gone])[0],
        why_not=services.why_not_forget(gone),
        backups_until=clock.now() + timedelta(days=settings.BACKUP_RETENTION_DAYS),
        form=form,
    )
    return render(request, "portal/forget_member.html", context)


@login_required
@require_http_methods(["GET", "POST"])
def reset_second_factor(request: HttpRequest, tenant: UUID, number: int) -> HttpResponse:
    """Ask for the reason, then take away a colleague's second factor."""
    member = access.member_for(request, tenant)
    colleague, actor = _member(member, number), portal.actor(request, member)
    roles.require(actor, "tenants.reset_second_factor", member.tenant)
    form = RemoveForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        with portal.refusals_on(form):
            services.reset_second_factor(colleague, reason=form.cleaned_data["reason"], actor=actor)
            messages.success(
                request, _("%(email)s sets up a new second factor at the next sign-in.", email=colleague.user.email)
            )
            return redirect("portal:members", member.tenant.pk)
    return render(request, "portal/reset_second_factor.html", portal.page(member, colleague=colleague, form=form))


@login_required
@require_POST
def resend_invitation(request: HttpRequest, tenant: UUID, invitation: UUID) -> HttpResponse:
    """Mail an invitation again, with a new link."""
    member = access.member_for(request, tenant)
    found = services.invitation_of(member.tenant, invitation)
    services.resend_invitation(found, actor=portal.actor(request, member))
    messages.success(request, _("%(email)s gets a new link; the one before no longer works.", email=found.email))
    return redirect("portal:members", member.tenant.pk)


@login_required
@require_POST
def withdraw_invitation(request: HttpRequest, tenant: UUID, invitation: UUID) -> HttpResponse:
    """Withdraw an invitation."""
    member = access.member_for(request, tenant)
    found = services.invitation_of(member.tenant, invitation)
    services.withdraw_invitation(
        found, reason=lazy("withdrawn on the People page"), actor=portal.actor(request, member)
    )
    messages.success(
        request, _("The invitation of %(email)s is withdrawn. Its link no longer works.", email=found.email)
    )
    return redirect("portal:members", member.tenant.pk)


def _member(member: Member, number: int) -> Member:
    """Return a member of the same organisation.

    Raises:
        NotFound: there is none with that number.
    """
    found = Member.objects.of(member.tenant).filter(pk=number).select_related("user", "tenant").first()
    if found is None:
        raise NotFound
    return found
