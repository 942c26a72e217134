"""The page Sign-on: an organisation's mail domains, and the connection to its directory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from byokportal.errors import NotFound
from byokportal.translation import translate as _
from tenants import access, oidc, portal, roles, saml_metadata, services
from tenants.forms import ConnectionForm, DomainForm, ModeForm, RemoveForm, SamlForm
from tenants.models import MailDomain, Member, SignOnConnection, Tenant, came_by_sign_on
from tenants.views import saml_flow, sign_on_flow


@login_required
@require_GET
def sign_on(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Show by what people of the organisation are known here."""
    member = access.member_for(request, tenant)
    return render(request, "portal/sign_on.html", portal.page(member, **_shown(member), form=DomainForm()))


@login_required
@require_POST
def add_domain(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Name a mail domain."""
    member = access.member_for(request, tenant)
    form = DomainForm(request.POST)
    if form.is_valid():
        with portal.refusals_on(form):
            domain = services.add_domain(member.tenant, **form.cleaned_data, actor=portal.actor(request, member))
            messages.success(request, _("%(name)s is in the list. Now set its DNS record.", name=domain.name))
            return redirect("portal:sign-on", member.tenant.pk)
    return render(request, "portal/sign_on.html", portal.page(member, **_shown(member), form=form))


@login_required
@require_POST
def look_at_domain(request: HttpRequest, tenant: UUID, domain: UUID) -> HttpResponse:
    """Look at the DNS record of a mail domain now."""
    member = access.member_for(request, tenant)
    found = services.mail_domain_of(member.tenant, domain)
    services.look_at_domain_again(found, actor=portal.actor(request, member))
    messages.success(
        request, _("The DNS record of %(name)s is looked up now. Reload this page in some seconds.", name=found.name)
    )
    return redirect("portal:sign-on", member.tenant.pk)


@login_required
@require_http_methods(["GET", "POST"])
def remove_domain(request: HttpRequest, tenant: UUID, domain: UUID) -> HttpResponse:
    """Ask for the reason, then give a mail domain up."""
    member = access.member_for(request, tenant)
    found, actor = services.mail_domain_of(member.tenant, domain), portal.actor(request, member)
    roles.require(actor, "tenants.change_sign_on", member.tenant)
    form = RemoveForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        with portal.refusals_on(form):
            services.remove_domain(found, reason=form.cleaned_data["reason"], actor=actor)
            messages.success(request, _("%(name)s is removed.", name=found.name))
            return redirect("portal:sign-on", member.tenant.pk)
    return render(request, "portal/remove_domain.html", portal.page(member, domain=found, form=form))


def _shown(member: Member) -> dict[str, object]:
    present = _connection(member.tenant)
    chosen = {"mode": present.mode, "break_glass": present.break_glass_id} if present else {}
    return {
        "domains": MailDomain.objects.of(member.tenant).present(),
        "connection": present,
        "certificates": saml_metadata.certificates_of(present.provider) if present else [],
        "identity": services.identity_of(member),
        "mode_form": ModeForm(initial=chosen, owners=_owners(member.tenant)),
    }


@login_required
@require_http_methods(["GET", "POST"])
def connection(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Set up the connection to the organisation's directory, or change it."""
    member = access.member_for(request, tenant)
    actor = portal.actor(request, member)
    roles.require(actor, "tenants.change_sign_on", member.tenant)
    present = _connection(member.tenant, protocol=SignOnConnection.Protocol.OIDC)
    form = ConnectionForm(request.POST if request.method == "POST" else None, connection=present)
    if request.method == "POST" and form.is_valid():
        with portal.refusals_on(form):
            facts = form.facts()
            provider = oidc.discover(facts["issuer"], whose=str(member.tenant_id))
            services.set_connection(member.tenant, **facts, provider=provider, actor=actor)
            messages.success(request, _("The connection is saved."))
            return redirect("portal:sign-on", member.tenant.pk)
    context = portal.page(
        member, form=form, connection=present, redirect_uri=sign_on_flow.redirect_uri(member.tenant_id)
    )
    return render(request, "portal/sign_on_connection.html", context)


@login_required
@require_http_methods(["GET", "POST"])
def saml(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Set up a connection to the organisation's directory by SAML 2.0, or change it."""
    member = access.member_for(request, tenant)
    actor = portal.actor(request, member)
    roles.require(actor, "tenants.change_sign_on", member.tenant)
    present = _connection(member.tenant, protocol=SignOnConnection.Protocol.SAML)
    form = SamlForm(request.POST if request.method == "POST" else None, connection=present)
    if request.method == "POST" and form.is_valid():
        with portal.refusals_on(form):
            issuer, provider = _directory(form, present, member)
            services.set_connection(
                member.tenant,
                protocol=SignOnConnection.Protocol.SAML,
                issuer=issuer,
                **form.facts(),
                provider=provider,
                actor=actor,
            )
            messages.success(request, _("The connection is saved."))
            return redirect("portal:sign-on", member.tenant.pk)
    context = portal.page(
        member,
        form=form,
        connection=present,
        certificates=saml_metadata.certificates_of(present.provider) if present else [],
        entity_id=saml_flow.entity_id(member.tenant_id),
        acs=saml_flow.acs_url(member.tenant_id),
    )
    return render(request, "portal/sign_on_saml.html", context)


def _directory(form: SamlForm, present: SignOnConnection | None, member: Member) -> tuple[str, Mapping[str, Any]]:
    """Return what an owner gave of a directory, or what we know of it already."""
    given = {name: form.cleaned_data[name] for name in ("metadata_url", "metadata")}
    if present is not None and not any(given.values()):
        return present.issuer, {**present.provider, "metadata_url": ""}
    return saml_metadata.given(**given, whose=str(member.tenant_id))


@login_required
@require_POST
def mode(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Offer the connection, require it, or take it back to being tried."""
    member = access.member_for(request, tenant)
    present = services.connection_of(member.tenant)
    form = ModeForm(request.POST, owners=_owners(member.tenant))
    if form.is_valid():
        with portal.refusals_on(form):
            chosen = form.cleaned_data["break_glass"]
            services.set_sign_on_mode(
                present,
                mode=form.cleaned_data["mode"],
                break_glass=_owners(member.tenant).filter(pk=chosen).first() if chosen else None,
                actor=portal.actor(request, member),
            )
            messages.success(request, _("Saved."))
            return redirect("portal:sign-on", member.tenant.pk)
    return render(
        request, "portal/sign_on.html", portal.page(member, **{**_shown(member), "mode_form": form}, form=DomainForm())
    )


@login_required
@require_http_methods(["GET", "POST"])
def remove(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Ask for the reason, then remove the connection."""
    member = access.member_for(request, tenant)
    actor = portal.actor(request, member)
    roles.require(actor, "tenants.change_sign_on", member.tenant)
    present = services.connection_of(member.tenant)
    form = RemoveForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        with portal.refusals_on(form):
            services.remove_connection(present, reason=form.cleaned_data["reason"], actor=actor)
            messages.success(request, _("The connection is removed."))
            return redirect("portal:sign-on", member.tenant.pk)
    came = Member.objects.of(member.tenant).annotate(came=came_by_sign_on()).filter(came=True).count()
    return render(request, "portal/remove_sign_on.html", portal.page(member, form=form, connection=present, came=came))


def _connection(tenant: Tenant, *, protocol: str = "") -> SignOnConnection | None:
    """Return the connection of a tenant, if it has one.

    Args:
        protocol: the page is of this one; another one is removed first.
    """
    present = SignOnConnection.objects.of(tenant).present().select_related("break_glass__user").first()
    if present is not None and protocol and present.protocol != protocol:
        raise NotFound
    return present


def _owners(tenant: Tenant) -> QuerySet[Member]:
    return Member.objects.of(tenant).owners().select_related("user")
