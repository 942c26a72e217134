"""Who may do what, members, staff and services: one row for each operation, and the questions asked of the table.

Everything else that names a permission is made from this table: the permissions of Django (`support.models.Ticket`),
the groups of staff (`support.groups`), the buttons of the back office (`support.admin`), what a service account can be
given (`SCOPES`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from byokportal.errors import NotAllowed, NotFound
from tenants import fresh, transactions
from tenants.audit import Actor
from tenants.errors import OrganisationClosed, TokenNotMarked
from tenants.models import Role, Tenant

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser

ALL = frozenset({Role.OWNER, Role.ADMIN, Role.AUDITOR})
CHANGE = frozenset({Role.OWNER, Role.ADMIN})
OWN = frozenset({Role.OWNER})

# What an automation token may carry; the permission of each operation is in the table below.
READ, SETUP, OPERATE, PEOPLE = "read", "setup", "operate", "people"
TOKEN_PERMISSIONS = (READ, SETUP, OPERATE, PEOPLE)

# What a service account may be given; the scope of each operation is in the table below.
GENERATE, DECRYPT, REWRAP, KEY_READ = "data-keys:generate", "data-keys:decrypt", "data-keys:rewrap", "key:read"
SCOPES = (GENERATE, DECRYPT, REWRAP, KEY_READ)

# The groups of Kore.ai's staff. People are put into them; no permission is given to a person directly.
SUPPORT, LEAD, AUDITOR = "Support", "Support lead", "Auditor"
GROUPS = (SUPPORT, LEAD, AUDITOR)
DESK = frozenset({SUPPORT, LEAD})
LEADS = frozenset({LEAD})
# The models whose rows every group may look at in the back office.
VIEWED = (
    "tenants.tenant",
    "tenants.member",
    "tenants.serviceaccount",
    "tenants.servicerole",
    "tenants.auditevent",
    "tenants.logstream",
    "tenants.ownerrecovery",
    "keys.keyregistration",
    "keys.encryptiontest",
    "keys.roleconfiguration",
    "keys.incident",
    "keys.canary",
    "keys.closing",
    "keys.driftresolution",
    "keys.revocationdrill",
    "keys.restorehold",
    "support.ticket",
    "support.notice",
    "support.oncallmessage",
    "support.bulkoperation",
    "support.webhookendpoint",
    "support.webhookdelivery",
    "auth.user",
)


@dataclass(frozen=True, slots=True)
class StaffPermission:
    """A permission of Django's, of the app `support`, and the groups that hold it."""

    codename: str
    label: str
    groups: frozenset[str]

    @property
    def name(self) -> str:
        """The name that `has_perm` takes."""
        return f"support.{self.codename}"


APPROVE_CONFIGURATION = StaffPermission("approve_configuration", "Can approve a service-side configuration", DESK)
RUN_TEST = StaffPermission("run_test", "Can run the encryption test", DESK)
SUSPEND_KEY = StaffPermission("suspend_key", "Can suspend a tenant's key", LEADS)
RESUME_KEY = StaffPermission("resume_key", "Can resume a tenant's key", LEADS)
DROP_CACHES = StaffPermission("drop_caches", "Can make every process forget a tenant's unwrapped keys", DESK)
CLOSE_INCIDENT = StaffPermission("close_incident", "Can close an incident on our own side", LEADS)
ANSWER_TICKET = StaffPermission("answer_ticket", "Can answer and close tickets", DESK)
CREATE_TENANT = StaffPermission("create_tenant", "Can create tenants and invite their owners", LEADS)
MANAGE_SERVICE_ACCOUNTS = StaffPermission(
    "manage_service_accounts", "Can create service accounts and rotate their secrets", LEADS
)
MANAGE_STAFF = StaffPermission("manage_staff", "Can create, group and switch off accounts of Kore.ai's people", LEADS)
RECOVER_OWNER = StaffPermission(
    "recover_owner", "Can ask for the recovery of an organisation's owner, or approve one", LEADS
)
RESOLVE_DRIFT = StaffPermission("resolve_drift", "Can decide about a policy of ours that somebody else changed", LEADS)
RUN_BULK = StaffPermission("run_bulk", "Can do on many tenants at once what they can do on one", DESK)
DECIDE_BULK = StaffPermission(
    "decide_bulk", "Can approve, as the second lead, what another does on many tenants", LEADS
)
CLOSE_TENANT = StaffPermission(
    "close_tenant", "Can ask to close an organisation for good, or approve that as the second lead", LEADS
)
RELEASE_HOLD = StaffPermission(
    "release_hold", "Can ask that a tenant is served after a restore without its owner, or approve that", LEADS
)
ERASE_PERSON = StaffPermission("erase_person", "Can erase a person who is nowhere in any more", LEADS)
# In the order that the migrations know: another order, label or row needs `manage.py makemigrations support`.
STAFF_PERMISSIONS = (
    APPROVE_CONFIGURATION,
    RUN_TEST,
    SUSPEND_KEY,
    RESUME_KEY,
    DROP_CACHES,
    CLOSE_INCIDENT,
    ANSWER_TICKET,
    CREATE_TENANT,
    MANAGE_SERVICE_ACCOUNTS,
    MANAGE_STAFF,
    RECOVER_OWNER,
    RESOLVE_DRIFT,
    RUN_BULK,
    DECIDE_BULK,
    CLOSE_TENANT,
    RELEASE_HOLD,
    ERASE_PERSON,
)


@dataclass(frozen=True, slots=True)
class Operation:
    """Who may do one operation.

    Attributes:
        members: the roles of members that may.
        staff: the permission with which Kore.ai staff may; None: no staff.
        token: the permission that an automation token needs; empty: no token may.
        scope: the scope with which a service account may; empty: no service.
        is_fresh: a person needs to have signed in, or proved it again, lately (`tenants.fresh`). Staff always do.
        needs_mark: a token needs the mark that its owner gave it when it was made.
        directory: the tenant's directory does it, by its own token.
        by_mail: a person may do it by a mail to an address that is theirs alone (`support.tickets.signed_addresses`);
            nobody asks then how long ago they signed in.
    """

    members: frozenset[Role] = frozenset()
    staff: StaffPermission | None = None
    token: str = ""
    scope: str = ""
    is_fresh: bool = False
    needs_mark: bool = False
    directory: bool = False
    by_mail: bool = False


OPERATIONS: dict[str, Operation] = {
    "tenants.read": Operation(ALL, token=READ),
    "keys.check_policy": Operation(ALL, token=READ),
    "keys.reconcile": Operation(ALL, token=READ),
    "keys.register": Operation(CHANGE, token=SETUP),
    # Beside a serving key both ask for keys.replace too.
    "keys.choose_activation": Operation(CHANGE, token=SETUP),
    "keys.activate": Operation(CHANGE, token=SETUP),
    "keys.choose_documents": Operation(CHANGE, token=SETUP),
    # It lets somebody in who has no account: people alone, as with an invitation.
    "keys.make_link": Operation(CHANGE, is_fresh=True),
    "keys.revoke_link": Operation(CHANGE, token=SETUP),
    "keys.decide_proposal": Operation(CHANGE, token=SETUP),
    "keys.test": Operation(CHANGE, RUN_TEST, token=SETUP),
    "keys.approve": Operation(staff=APPROVE_CONFIGURATION),
    "keys.suspend": Operation(CHANGE, SUSPEND_KEY, token=OPERATE),
    "keys.resume": Operation(CHANGE, RESUME_KEY, token=OPERATE, is_fresh=True, needs_mark=True),
    "keys.replace": Operation(CHANGE, token=SETUP, is_fresh=True, needs_mark=True),
    "keys.leave": Operation(OWN, token=OPERATE, is_fresh=True, needs_mark=True),
    "keys.probe": Operation(CHANGE, RUN_TEST, token=OPERATE),
    "keys.end_horizon": Operation(OWN, token=OPERATE, is_fresh=True, needs_mark=True),
    "keys.drop_caches": Operation(CHANGE, DROP_CACHES, token=OPERATE),
    "keys.drill": Operation(CHANGE, token=OPERATE),
    "keys.set_latency": Operation(OWN),
    "keys.rotate": Operation(CHANGE, token=OPERATE),
    "keys.close_incident": Operation(staff=CLOSE_INCIDENT),
    "keys.probe_incident": Operation(staff=RUN_TEST),
    # What beat does for our own tenants.
    "keys.advance_canary": Operation(),
    "keys.resolve_drift": Operation(staff=RESOLVE_DRIFT),
    # The command line alone, by whoever has restored it.
    "keys.admit_database": Operation(),
    "keys.rebuild_branch_keys": Operation(),
    "keys.reopen_logs": Operation(),
    # By whoever owns the tables, each day.
    "keys.archive_months": Operation(),
    "keys.restore_check": Operation(),
    # For good, and destroyed: two leads, or whoever operates the system by the command line.
    "keys.close_tenant": Operation(staff=CLOSE_TENANT),
    # What stopped it since the backup, nobody knows: a person says so, and no token.
    "keys.confirm_restore": Operation(OWN, is_fresh=True),
    "keys.release_hold": Operation(staff=RELEASE_HOLD),
    "keys.generate": Operation(scope=GENERATE),
    "keys.decrypt": Operation(scope=DECRYPT),
    "keys.rewrap": Operation(scope=REWRAP),
    "keys.read_state": Operation(scope=KEY_READ),
    "tenants.create": Operation(staff=CREATE_TENANT),
    "tenants.invite": Operation(OWN, CREATE_TENANT, token=PEOPLE, is_fresh=True),
    "tenants.change_role": Operation(OWN, token=PEOPLE, is_fresh=True),
    "tenants.restore": Operation(),
    # A part of the closing of an organisation.
    "tenants.end_organisation": Operation(),
    "tenants.remove_member": Operation(OWN, token=PEOPLE, is_fresh=True),
    # For good, in the organisation's own rows and log; `tenants.erase_person` is ours, of all organisations.
    "tenants.forget_member": Operation(OWN, token=PEOPLE, is_fresh=True),
    "tenants.leave": Operation(ALL),
    "tenants.mint_token": Operation(CHANGE, is_fresh=True),
    # One's own; of others: tenants.revoke_any_token.
    "tenants.revoke_token": Operation(ALL),
    "tenants.revoke_any_token": Operation(OWN),
    "tenants.reset_second_factor": Operation(OWN, is_fresh=True),
    # Mail domains and the connection to a directory: who may say here who somebody is.
    "tenants.change_sign_on": Operation(OWN, token=PEOPLE, is_fresh=True),
    # It says who is in, for years: a person makes it, and no other token does.
    "tenants.make_directory_token": Operation(OWN, is_fresh=True),
    "tenants.provision": Operation(directory=True),
    # Mails that say how long the log is, to anybody whom an owner names.
    "tenants.change_head_recipients": Operation(OWN, token=PEOPLE, is_fresh=True),
    # Where the whole log goes; a second person is asked where the organisation wants that (`services.log_streams`).
    "tenants.change_log_streams": Operation(CHANGE, token=SETUP, is_fresh=True),
    # The same lines again, to the same receiver; a test.
    "tenants.send_log_streams": Operation(CHANGE, token=SETUP),
    "tenants.require_second_person": Operation(OWN, is_fresh=True),
    "tenants.decide": Operation(CHANGE, is_fresh=True),
    # What one has asked for oneself.
    "tenants.withdraw_approval": Operation(CHANGE, token=OPERATE),
    "tenants.manage_service_accounts": Operation(staff=MANAGE_SERVICE_ACCOUNTS),
    "tenants.manage_staff": Operation(staff=MANAGE_STAFF),
    "tenants.recover_owner": Operation(staff=RECOVER_OWNER),
    "tenants.erase_person": Operation(staff=ERASE_PERSON),
    "tenants.object_to_recovery": Operation(ALL),
    "support.open_ticket": Operation(ALL, ANSWER_TICKET, token=SETUP),
    "support.answer_ticket": Operation(ALL, ANSWER_TICKET, token=SETUP, by_mail=True),
    "support.close_ticket": Operation(staff=ANSWER_TICKET),
    "support.take_incident": Operation(staff=ANSWER_TICKET),
    # What organisations hear, or do not hear, of a fault of ours.
    "support.decide_held_mails": Operation(staff=CLOSE_INCIDENT),
    "support.tell_affected": Operation(staff=CLOSE_INCIDENT),
    "support.test_on_call": Operation(staff=CLOSE_INCIDENT),
    # On many tenants at once: each row asks for what it needs on one of them too.
    "support.run_bulk": Operation(staff=RUN_BULK),
    "support.decide_bulk": Operation(staff=DECIDE_BULK),
    "support.review_staff": Operation(staff=MANAGE_STAFF),
    # Hand out, sort, merge.
    "support.manage_ticket": Operation(staff=ANSWER_TICKET),
    # Where the organisation's events go: who may send them away, and keep them from arriving.
    "support.change_webhooks": Operation(CHANGE, token=SETUP, is_fresh=True),
    "support.send_webhooks": Operation(CHANGE, token=SETUP),
    # One's own; nobody chooses for others.
    "support.choose_mails": Operation(ALL),
}
NOBODY = Operation()
# What is still done about an organisation that is closed.
OF_CLOSED = frozenset({"keys.close_tenant", "tenants.end_organisation", "tenants.read", "support.close_ticket"})
# How an actor acts who wrote a mail.
MAIL = "mail"


def allowed(actor: Actor, operation: str, tenant: Tenant | None = None) -> bool:
    """Tell whether the actor may do the operation, for that tenant; how long ago they signed in does not count here."""
    if actor.kind == "system":
        return True
    row = OPERATIONS.get(operation, NOBODY)
    if actor.via == MAIL and not row.by_mail:
        return False
    if actor.kind == "staff":
        return actor.user is not None and staff_may(actor.user, operation)
    if actor.directory is not None:
        return row.directory and tenant is not None and actor.directory.tenant_id == tenant.pk
    if actor.tenant_id is None or (tenant is not None and actor.tenant_id != tenant.pk):
        return False
    if actor.token is not None and (not row.token or row.token not in actor.token.permissions):
        return False
    return actor.role in row.members


def require(actor: Actor, operation: str, tenant: Tenant | None = None) -> None:
    """Raise unless the actor may do the operation.

    Raises:
        NotFound: the tenant is not the actor's: for them it does not exist; nor does one that is closed.
        OrganisationClosed: it is closed, and staff, a command or a worker asks.
        NotAllowed: a member, token or staff without that permission.
        TokenNotMarked: the token may not touch a serving key.
        FreshSignInNeeded: the person signed in too long ago for this.
    """
    if actor.tenant_id is not None and tenant is not None and actor.tenant_id != tenant.pk:
        raise NotFound
    if tenant is not None and operation not in OF_CLOSED and transactions.is_closed(tenant):
        raise NotFound if actor.tenant_id is not None else OrganisationClosed
    if not allowed(actor, operation, tenant):
        raise NotAllowed(permission=operation)
    row = OPERATIONS.get(operation, NOBODY)
    if actor.token is not None:
        if row.needs_mark and not actor.token.may_change_serving_key:
            raise TokenNotMarked
    elif needs_fresh(actor, operation):
        fresh.require_at(actor.signed_in_at)


def staff_may(user: AbstractBaseUser | AnonymousUser, operation: str) -> bool:
    """Tell whether one of Kore.ai's staff may do the operation."""
    permission = OPERATIONS.get(operation, NOBODY).staff
    return permission is not None and user.has_perm(permission.name)  # type: ignore[union-attr]


def staff_sees(user: AbstractBaseUser | AnonymousUser, model: str) -> bool:
    """Tell whether one of Kore.ai's staff may look at the rows of a model of `VIEWED`, such as `support.ticket`."""
    app, name = model.split(".")
    return bool(user.has_perm(f"{app}.view_{name}"))  # type: ignore[union-attr]


def needs_fresh(actor: Actor, operation: str) -> bool:
    """Tell whether this person has to have signed in lately for the operation."""
    if actor.via == MAIL:
        return False
    return actor.kind == "staff" or (actor.kind == "member" and OPERATIONS.get(operation, NOBODY).is_fresh)
