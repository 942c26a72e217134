"""Who may do what: one table, and the two questions asked of it."""

from __future__ import annotations

from byokportal.errors import NotAllowed, NotFound
from tenants.audit import Actor
from tenants.models import Role, Tenant

ALL = frozenset({Role.OWNER, Role.ADMIN, Role.AUDITOR})
CHANGE = frozenset({Role.OWNER, Role.ADMIN})
OWN = frozenset({Role.OWNER})

# Permission → the roles of members that have it. Reading needs membership only.
PERMISSIONS: dict[str, frozenset[Role]] = {
    "keys.register": CHANGE,
    "keys.test": CHANGE,
    "keys.check_policy": ALL,
    "keys.suspend": CHANGE,
    "keys.resume": CHANGE,
    "keys.drop_caches": CHANGE,
    "keys.drill": CHANGE,
    "keys.set_latency": OWN,
    "keys.rotate": CHANGE,
    "keys.leave": OWN,
    "tenants.invite": OWN,
    "tenants.change_role": OWN,
    "tenants.mint_token": CHANGE,
    "support.open_ticket": ALL,
    "support.answer_ticket": ALL,
}

# Deeds that Kore.ai staff may do for a tenant, each by its own Django permission.
STAFF_PERMISSIONS: dict[str, str] = {
    "keys.approve": "support.approve_configuration",
    "keys.test": "support.run_test",
    "keys.suspend": "support.suspend_key",
    "keys.resume": "support.resume_key",
    "keys.drop_caches": "support.drop_caches",
    "keys.close_incident": "support.close_incident",
    "support.answer_ticket": "support.answer_ticket",
    "support.close_ticket": "support.answer_ticket",
    "tenants.create": "support.create_tenant",
    "tenants.invite": "support.create_tenant",
    "tenants.manage_service_accounts": "support.manage_service_accounts",
}


def allowed(actor: Actor, permission: str, tenant: Tenant | None = None) -> bool:
    """Tell whether the actor has the permission, for that tenant."""
    if actor.kind == "system":
        return True
    if actor.kind == "staff":
        name = STAFF_PERMISSIONS.get(permission)
        return bool(name and actor.user and actor.user.has_perm(name))  # type: ignore[union-attr]
    if actor.member is None or (tenant is not None and actor.member.tenant_id != tenant.pk):
        return False
    return actor.member.role in PERMISSIONS.get(permission, frozenset())


def require(actor: Actor, permission: str, tenant: Tenant | None = None) -> None:
    """Raise unless the actor has the permission.

    Raises:
        NotFound: the tenant is not the actor's: for them it does not exist.
        NotAllowed: a member or staff without that permission.
    """
    if actor.member is not None and tenant is not None and actor.member.tenant_id != tenant.pk:
        raise NotFound
    if not allowed(actor, permission, tenant):
        raise NotAllowed(permission=permission)
