"""Recovery of an organisation without an owner who can act: two leads, 72 hours, and every member may object."""

from __future__ import annotations

from datetime import datetime, timedelta

from byokportal import clock
from byokportal.errors import NotFound
from byokportal.translation import lazy
from tenants import audit, roles, tokens, transactions
from tenants.audit import SYSTEM, Actor
from tenants.errors import AccountSwitchedOff, HasOwner, RecoveryNeedsTwo, RecoveryOver, RecoveryUnderWay
from tenants.models import (
    OBJECTION_LASTS,
    Invitation,
    Member,
    ObjectionLink,
    OwnerRecovery,
    Role,
    Tenant,
)
from tenants.services import connections, invitations, leads, people, second_factors
from tenants.services.words import reason_of

Kind, Status = OwnerRecovery.Kind, OwnerRecovery.Status
SOON = timedelta(minutes=5)  # after the approval the mails have left, as a rule


@transactions.atomic
def request_new_owner(tenant: Tenant, *, email: str, reason: str, actor: Actor) -> OwnerRecovery:
    """Ask for a new owner of an organisation whose owners can no longer act; a second lead has to approve.

    Raises:
        HasOwner: an owner can act, or there never was one and staff may simply invite the first.
        StaffAddress: the address is one of Kore.ai's.
        AccountSwitchedOff: nobody can sign in with it.
        RecoveryUnderWay: there is an open one.
    """
    tenant = _held(tenant, actor)
    email, reason = invitations.address_of(email), reason_of(reason)
    never_had_one = not Member.everybody.filter(tenant=tenant).exists()
    if never_had_one or Member.objects.of(tenant).owners().exists():
        raise HasOwner
    invitations.refuse_staff(email)
    if invitations.is_switched_off(email):
        raise AccountSwitchedOff
    return _request(tenant, Kind.NEW_OWNER, email=email, member=None, reason=reason, actor=actor)


@transactions.atomic
def request_second_factor(tenant: Tenant, *, reason: str, actor: Actor) -> OwnerRecovery:
    """Ask to reset the second factor of the only owner, whom nobody else in the organisation can help.

    Raises:
        HasOwner: there is none, or another owner who can do it.
        RecoveryUnderWay: there is an open one.
    """
    tenant = _held(tenant, actor)
    reason = reason_of(reason)
    owners = list(Member.objects.of(tenant).owners().select_related("user")[:2])
    if len(owners) != 1:
        raise HasOwner
    only = owners[0]
    return _request(tenant, Kind.SECOND_FACTOR, email=only.user.email.lower(), member=only, reason=reason, actor=actor)


@transactions.atomic
def approve_recovery(recovery: OwnerRecovery, *, reason: str, actor: Actor) -> None:
    """Approve as the second lead: every present and former member gets a mail, and 72 hours to object begin.

    Raises:
        RecoveryNeedsTwo: it is the lead who asked for it, one of the two let the other one in,
            or who asked is no lead any more.
        RecoveryOver: it is not waiting for approval any more.
    """
    tenant, reason = _held(recovery.tenant, actor), reason_of(reason)
    if actor.user is None or not leads.is_second(recovery.requested_by, actor, "tenants.recover_owner"):
        raise RecoveryNeedsTwo
    due_at = clock.now() + OBJECTION_LASTS
    _move(recovery, Status.REQUESTED, Status.WAITING, approved_by_id=actor.user.pk, due_at=due_at)
    audit.record(
        "tenants.recovery.announced",
        tenant=tenant,
        actor=actor,
        target=recovery,
        what=_what(recovery),
        email=recovery.email,
        until=_until(due_at),
        reason=reason,
    )


@transactions.atomic
def withdraw_recovery(recovery: OwnerRecovery, *, reason: str, actor: Actor) -> None:
    """Stop a recovery from our side.

    Raises:
        RecoveryOver: it has ended.
    """
    tenant, reason = _held(recovery.tenant, actor), reason_of(reason)
    _move(recovery, recovery.status, Status.WITHDRAWN, ended_at=clock.now())
    audit.record("tenants.recovery.withdrawn", tenant=tenant, actor=actor, target=recovery, reason=reason)


def new_objection_link(recovery: OwnerRecovery, address: str) -> str:
    """Return the secret of a fresh link for one address; only its digest is kept."""
    raw = tokens.new_secret()
    ObjectionLink.objects.create(recovery=recovery, address=address, digest=tokens.digest(raw))
    return raw


def recovery_by_link(raw: str) -> tuple[OwnerRecovery, str]:
    """Return the waiting recovery that a link can stop, and the address that the link was mailed to.

    Raises:
        RecoveryOver: there is none.
    """
    link = (
        ObjectionLink.objects.filter(digest=tokens.digest(raw), recovery__status=Status.WAITING)
        .select_related("recovery__tenant")
        .first()
    )
    if link is None:
        raise RecoveryOver
    return link.recovery, link.address


@transactions.atomic
def object_by_link(raw: str) -> OwnerRecovery:
    """Stop a recovery as whoever got the mailed link.

    Raises:
        RecoveryOver: it has ended.
    """
    recovery, address = recovery_by_link(raw)
    Tenant.objects.select_for_update(no_key=True).get(pk=recovery.tenant_id)
    _object(recovery, Actor(label=f"member:{address}", kind="member", via="mail"), by=address)
    return recovery


@transactions.atomic
def object_to_recovery(recovery: OwnerRecovery, *, actor: Actor) -> None:
    """Stop a recovery as a member who is signed in.

    Raises:
        NotFound: it is another organisation's.
        RecoveryOver: it has ended.
    """
    Tenant.objects.select_for_update(no_key=True).get(pk=recovery.tenant_id)
    roles.require(actor, "tenants.object_to_recovery", recovery.tenant)
    if actor.member is None:
        raise NotFound
    _object(recovery, actor, by=actor.member.user.email)


@transactions.atomic
def complete_recovery(recovery: OwnerRecovery) -> None:
    """Do what was announced, after its time and without an objection; does nothing if it has ended meanwhile.

    What is needed no more, or cannot be done any more, ends as withdrawn, with the reason.
    """
    tenant = Tenant.objects.select_for_update(no_key=True).get(pk=recovery.tenant_id)
    ready = OwnerRecovery.objects.filter(pk=recovery.pk, status=Status.WAITING, due_at__lte=clock.now())
    if not ready.exists():
        return
    over = _no_longer(tenant, recovery)
    if over:
        _move(recovery, Status.WAITING, Status.WITHDRAWN, ended_at=clock.now())
        audit.record("tenants.recovery.withdrawn", tenant=tenant, actor=SYSTEM, target=recovery, reason=over)
        return
    _move(recovery, Status.WAITING, Status.DONE, ended_at=clock.now())
    audit.record(
        "tenants.recovery.done",
        tenant=tenant,
        actor=SYSTEM,
        target=recovery,
        what=_what(recovery),
        email=recovery.email,
    )
    if recovery.member is not None:
        second_factors.remove_second_factors(recovery.member.user_id)
        # it protected the others too: their owners hear of it
        for organisation in people.members_logs(recovery.member.user):
            audit.record(
                "tenants.second_factor.reset",
                tenant=organisation,
                actor=SYSTEM,
                target=recovery.member,
                email=recovery.email,
                reason=recovery.reason,
            )
        return
    connections.no_longer_required(tenant)
    for old in Invitation.objects.of(tenant).open().filter(email=recovery.email):
        invitations.withdraw_by_system(old)
    member = invitations.member_with(tenant, recovery.email)
    if member is None:
        invitations.add_invitation(tenant, email=recovery.email, role=Role.OWNER, actor=SYSTEM)
    else:
        people.change_role(member, role=Role.OWNER, actor=SYSTEM)


def announced_late(recovery: OwnerRecovery) -> None:
    """Count the 72 hours from now if a mail that announces the recovery leaves late:
    its reader has no less time than the others."""
    due_at = clock.now() + OBJECTION_LASTS
    late = OwnerRecovery.objects.filter(pk=recovery.pk, status=Status.WAITING, due_at__lt=due_at - SOON)
    late.update(due_at=due_at)


def _no_longer(tenant: Tenant, recovery: OwnerRecovery) -> str:
    """Return why there is nothing to be done any more, "" while there is."""
    if not all(_is_lead(Actor.staff(lead)) for lead in (recovery.requested_by, recovery.approved_by) if lead):
        return lazy("one of the two leads is none any more")
    owners = Member.objects.of(tenant).owners()
    if recovery.kind == Kind.NEW_OWNER:
        if owners.exists():
            return lazy("an owner can act again")
        if invitations.is_staff_address(recovery.email):
            return lazy("the address belongs to Kore.ai now")
        is_off = invitations.is_switched_off(recovery.email)
        return lazy("the account of this address is switched off") if is_off else ""
    if [owner.pk for owner in owners[:2]] != [recovery.member_id]:
        return lazy("this person is not the only owner any more")
    return ""


def _is_lead(person: Actor) -> bool:
    return roles.allowed(person, "tenants.recover_owner")


def _request(
    tenant: Tenant, kind: str, *, email: str, member: Member | None, reason: str, actor: Actor
) -> OwnerRecovery:
    if actor.user is None or actor.user.pk is None:
        raise RecoveryNeedsTwo
    if OwnerRecovery.objects.of(tenant).open().exists():
        raise RecoveryUnderWay
    recovery = OwnerRecovery.objects.create(
        tenant=tenant, kind=kind, email=email, member=member, reason=reason, requested_by_id=actor.user.pk
    )
    audit.record(
        "tenants.recovery.requested",
        tenant=tenant,
        actor=actor,
        target=recovery,
        what=_what(recovery),
        email=email,
        reason=reason,
    )
    return recovery


def _object(recovery: OwnerRecovery, actor: Actor, *, by: str) -> None:
    _move(recovery, Status.WAITING, Status.OBJECTED, ended_at=clock.now())
    audit.record("tenants.recovery.objected", tenant=recovery.tenant, actor=actor, target=recovery, by=by)


def _held(tenant: Tenant, actor: Actor) -> Tenant:
    held = Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)
    roles.require(actor, "tenants.recover_owner", held)
    return held


def _move(recovery: OwnerRecovery, old: str, new: str, **facts: object) -> None:
    changed = (old, new) in OwnerRecovery.MOVES and OwnerRecovery.objects.filter(pk=recovery.pk, status=old).update(
        status=new, **facts
    )
    if not changed:
        raise RecoveryOver
    recovery.refresh_from_db()


def _what(recovery: OwnerRecovery) -> str:
    return lazy("a new owner") if recovery.kind == Kind.NEW_OWNER else lazy("the second factor of the only owner")


def _until(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
