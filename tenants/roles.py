"""Who may do what: one row for each operation, and the questions asked of the table."""

from __future__ import annotations

from dataclasses import dataclass

from byokportal.errors import NotAllowed, NotFound
from tenants import fresh
from tenants.audit import Actor
from tenants.errors import TokenNotMarked
from tenants.models import Role, Tenant

ALL = frozenset({Role.OWNER, Role.ADMIN, Role.AUDITOR})
CHANGE = frozenset({Role.OWNER, Role.ADMIN})
OWN = frozenset({Role.OWNER})

# What an automation token may carry; the permission of each operation is in the table below.
READ, SETUP, OPERATE, PEOPLE = "read", "setup", "operate", "people"
TOKEN_PERMISSIONS = (READ, SETUP, OPERATE, PEOPLE)


@dataclass(frozen=True, slots=True)
class Operation:
    """Who may do one operation.

    Attributes:
        members: the roles of members that may.
        staff: the Django permission with which Kore.ai staff may; empty: no staff.
        token: the permission that an automation token needs; empty: no token may.
        is_fresh: a person needs to have signed in, or proved it again, lately (`tenants.fresh`). Staff always do.
        needs_mark: a token needs the mark that its owner gave it when it was made.
    """

    members: frozenset[Role] = frozenset()
    staff: str = ""
    token: str = ""
    is_fresh: bool = False
    needs_mark: bool = False


OPERATIONS: dict[str, Operation] = {
    "tenants.read": Operation(ALL, token=READ),
    "keys.check_policy": Operation(ALL, token=READ),
    "keys.register": Operation(CHANGE, token=SETUP),
    "keys.test": Operation(CHANGE, "support.run_test", token=SETUP),
    "keys.approve": Operation(staff="support.approve_configuration"),
    "keys.suspend": Operation(CHANGE, "support.suspend_key", token=OPERATE),
    "keys.resume": Operation(CHANGE, "support.resume_key", token=OPERATE, is_fresh=True, needs_mark=True),
    "keys.replace": Operation(CHANGE, token=SETUP, is_fresh=True, needs_mark=True),
    "keys.leave": Operation(OWN, token=OPERATE, is_fresh=True, needs_mark=True),
    "keys.probe": Operation(CHANGE, "support.run_test", token=OPERATE),
    "keys.end_horizon": Operation(OWN, token=OPERATE, is_fresh=True, needs_mark=True),
    "keys.drop_caches": Operation(CHANGE, "support.drop_caches", token=OPERATE),
    "keys.drill": Operation(CHANGE, token=OPERATE),
    "keys.set_latency": Operation(OWN, token=OPERATE),
    "keys.rotate": Operation(CHANGE, token=OPERATE),
    "keys.close_incident": Operation(staff="support.close_incident"),
    "keys.admit_database": Operation(),  # the command line alone, by whoever has restored it
    "tenants.create": Operation(staff="support.create_tenant"),
    "tenants.invite": Operation(OWN, "support.create_tenant", token=PEOPLE, is_fresh=True),
    "tenants.change_role": Operation(OWN, token=PEOPLE, is_fresh=True),
    "tenants.remove_member": Operation(OWN, token=PEOPLE, is_fresh=True),
    "tenants.leave": Operation(ALL),
    "tenants.mint_token": Operation(CHANGE, is_fresh=True),
    "tenants.revoke_token": Operation(ALL),  # one's own; of others: tenants.revoke_any_token
    "tenants.revoke_any_token": Operation(OWN),
    "tenants.reset_second_factor": Operation(OWN, is_fresh=True),
    "tenants.manage_service_accounts": Operation(staff="support.manage_service_accounts"),
    "tenants.manage_staff": Operation(staff="support.manage_staff"),
    "tenants.recover_owner": Operation(staff="support.recover_owner"),
    "tenants.object_to_recovery": Operation(ALL),
    "support.open_ticket": Operation(ALL, token=SETUP),
    "support.answer_ticket": Operation(ALL, "support.answer_ticket", token=SETUP),
    "support.close_ticket": Operation(staff="support.answer_ticket"),
}
NOBODY = Operation()


def allowed(actor: Actor, operation: str, tenant: Tenant | None = None) -> bool:
    """Tell whether the actor may do the operation, for that tenant; how long ago they signed in does not count here."""
    if actor.kind == "system":
        return True
    row = OPERATIONS.get(operation, NOBODY)
    if actor.kind == "staff":
        return bool(row.staff and actor.user and actor.user.has_perm(row.staff))  # type: ignore[union-attr]
    if actor.tenant_id is None or (tenant is not None and actor.tenant_id != tenant.pk):
        return False
    if actor.token is not None and (not row.token or row.token not in actor.token.permissions):
        return False
    return actor.role in row.members


def require(actor: Actor, operation: str, tenant: Tenant | None = None) -> None:
    """Raise unless the actor may do the operation.

    Raises:
        NotFound: the tenant is not the actor's: for them it does not exist.
        NotAllowed: a member, token or staff without that permission.
        TokenNotMarked: the token may not touch a serving key.
        FreshSignInNeeded: the person signed in too long ago for this.
    """
    if actor.tenant_id is not None and tenant is not None and actor.tenant_id != tenant.pk:
        raise NotFound
    if not allowed(actor, operation, tenant):
        raise NotAllowed(permission=operation)
    row = OPERATIONS.get(operation, NOBODY)
    if actor.token is not None:
        if row.needs_mark and not actor.token.may_change_serving_key:
            raise TokenNotMarked
    elif needs_fresh(actor, operation):
        fresh.require_at(actor.signed_in_at)


def needs_fresh(actor: Actor, operation: str) -> bool:
    """Tell whether this person has to have signed in lately for the operation."""
    return actor.kind == "staff" or (actor.kind == "member" and OPERATIONS.get(operation, NOBODY).is_fresh)
