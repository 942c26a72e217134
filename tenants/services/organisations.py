"""Creating an organisation."""

from __future__ import annotations

from django.conf import settings

from tenants import audit, onboarding, roles, transactions
from tenants.audit import Actor
from tenants.models import Role, ServiceRole, Tenant
from tenants.services import invitations, service_roles
from tenants.services.words import name_of


@transactions.atomic
def create_tenant(name: str, *, owner_email: str, actor: Actor) -> Tenant:
    """Create an organisation, pin it to an open service role and invite its owner.

    Raises:
        NoOpenServiceRole: none is open; it must exist in AWS before a tenant can name it.
        InvalidInput: the name or the address cannot be used.
    """
    roles.require(actor, "tenants.create")
    service_role = service_roles.take_place()
    tenant = Tenant.objects.create(
        name=name_of(name), service_role=service_role, revocation_latency=settings.DEFAULT_REVOCATION_LATENCY
    )
    audit.record("tenants.tenant.created", tenant=tenant, actor=actor, target=tenant, name=tenant.name)
    onboarding.begin(tenant, actor=actor)
    invitations.add_invitation(tenant, email=owner_email, role=Role.OWNER, actor=actor)
    return tenant


@transactions.atomic
def create_canary_tenant(service_role: ServiceRole, *, region: str = "", actor: Actor) -> Tenant:
    """Create a tenant of our own on a service role, whose role and key are in the canary account;
    nobody joins it. Twice is once.

    Args:
        region: where its key is; "": whichever there is.
    """
    roles.require(actor, "tenants.create")
    name = f"Canary of {service_role.name}" + (f" in {region}" if region else "")
    ours = Tenant.objects.filter(service_role=service_role, is_canary=True).order_by("created_at")
    there = (ours.filter(name=name) if region else ours).first()
    if there is not None:
        return there
    tenant = Tenant.objects.create(name=name, service_role=service_role, is_canary=True)
    audit.record("tenants.tenant.created", tenant=tenant, actor=actor, target=tenant, name=tenant.name)
    onboarding.begin(tenant, actor=actor)
    return tenant
