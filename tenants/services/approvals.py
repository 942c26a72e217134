"""Approvals: ask a second person, approve, refuse, withdraw; and whether an organisation wants that."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

from django.db.models import QuerySet

from byokportal import clock
from byokportal.errors import NotAuthenticated, NotFound
from byokportal.translation import lazy
from tenants import approvals, audit, roles, transactions
from tenants.approvals import HELD, Held
from tenants.approvals import sentence_of as sentence_of
from tenants.audit import Actor
from tenants.errors import ApprovalOver, NotSecondPerson, SecondPersonNeeded, TooFewApprovers
from tenants.models import APPROVAL_LASTS, NO_REASON, Approval, Member, Tenant
from tenants.services import guards, invitations
from tenants.services.words import reason_of

Status = Approval.Status
# That one member may have waiting at once, and may ask for in 24 hours; so nobody keeps the others from asking.
WAITING, ASKED = 10, 50


@transactions.atomic
def require_second_person(tenant: Tenant, *, actor: Actor) -> None:
    """Let what takes a key or people away wait for a second person from now on.

    Raises:
        TooFewApprovers: nobody but the actor could approve anything.
    """
    actor = guards.as_now(actor)
    roles.require(actor, "tenants.require_second_person", tenant)
    joined = clock.now() - approvals.BELONGS_FOR
    others = approvals.approvers(tenant).filter(created_at__lte=joined)
    if not others.exclude(pk=actor.member.pk if actor.member else 0).exists():
        raise TooFewApprovers
    if Tenant.objects.filter(pk=tenant.pk, second_person_since=None).update(second_person_since=clock.now()):
        audit.record("tenants.second_person.required", tenant=tenant, actor=actor)
        # Nobody approved them.
        invitations.withdraw_owner_invitations(tenant, reason=lazy("from now on a second person approves"), actor=actor)


@transactions.atomic
def drop_second_person(tenant: Tenant, *, reason: str, actor: Actor) -> None:
    """Do without a second person again.

    Raises:
        SecondPersonNeeded: that has to be approved too.
    """
    actor = guards.as_now(actor)
    roles.require(actor, "tenants.require_second_person", tenant)
    reason = reason_of(reason)
    approvals.require(actor, "tenants.require_second_person", tenant, reason=reason)
    if Tenant.objects.filter(pk=tenant.pk).exclude(second_person_since=None).update(second_person_since=None):
        audit.record("tenants.second_person.dropped", tenant=tenant, actor=actor, reason=reason)


def ask_second_person(error: SecondPersonNeeded) -> Approval | None:
    """Write down what an operation was refused for, so that a second person can approve it; None when nobody may ask.

    Every entry point calls this once the transaction of the refused operation has ended; the error then names it.
    """
    asked = error.asked
    if asked["actor"].approval is not None:
        # Somebody approved something else: nobody asks for this in the name of who asked then.
        return None
    found = _ask(asked["tenant"], asked["operation"], asked["arguments"], asked["reason"], actor=asked["actor"])
    if found is None:
        error.was_not_asked()
    else:
        error.params["approval"] = str(found.pk)
    return found


@transactions.atomic
def _ask(tenant: Tenant, operation: str, arguments: str, reason: str, *, actor: Actor) -> Approval | None:
    actor = guards.as_now(actor)
    if actor.member is None:
        return None
    now = clock.now()
    mine = Approval.objects.of(tenant)
    same = mine.filter(
        requested_by=actor.member,
        operation=operation,
        arguments=arguments,
        status__in=[Status.WAITING, Status.APPROVED],
    )
    for found in same:
        if found.expires_at > now:
            return found
        Approval.objects.filter(pk=found.pk).update(status=Status.WITHDRAWN)
    lately = mine.filter(requested_by=actor.member, created_at__gt=now - APPROVAL_LASTS)
    if lately.filter(status=Status.WAITING).count() >= WAITING or lately.count() >= ASKED:
        return None
    made = Approval(
        tenant=tenant,
        operation=operation,
        arguments=arguments,
        reason=reason or NO_REASON,
        requested_by=actor.member,
        token=actor.token,
        is_by_token=actor.token is not None,
        via=actor.via,
        expires_at=now + APPROVAL_LASTS,
    )
    made.sentence = HELD[operation].sentence.format_map(made.given())
    made.save()
    audit.record(
        "tenants.approval.requested", tenant=tenant, actor=actor, target=made, what=made.sentence, reason=made.reason
    )
    return made


@transactions.atomic
def approve(approval: Approval, *, actor: Actor) -> Approval:
    """Approve what another member asked for, and do it; nothing is approved where it cannot be done.

    Raises:
        NotAllowed: an automation token, or nobody who decides about this.
        NotSecondPerson: this member may not decide about this one.
        ApprovalOver: it is not open, or who asked for it is not in, or not allowed to do it, any more.
        DomainError: what the operation says now.
    """
    tenant, actor, found = _decided(approval, actor)
    requester = _as_asked(found)
    _move(found, Status.APPROVED, actor)
    email = found.requested_by.user.email
    audit.record(
        "tenants.approval.approved", tenant=tenant, actor=actor, target=found, what=found.sentence, email=email
    )
    do = HELD[found.operation].do
    if do is not None:
        try:
            do(tenant, found.given(), found.reason, requester)
        except SecondPersonNeeded as error:
            # What would be done now is not what was asked for.
            raise ApprovalOver from error
        if Approval.objects.filter(pk=found.pk, status=Status.APPROVED).exists():
            # A second person was needed when it was asked for, and is not any more.
            _move(found, Status.DONE, actor, was=Status.APPROVED)
    found.refresh_from_db()
    return found


@transactions.atomic
def refuse(approval: Approval, *, reason: str, actor: Actor) -> None:
    """Refuse what another member asked for.

    Raises:
        NotAllowed, NotSecondPerson, ApprovalOver: see `approve`.
    """
    reason = reason_of(reason)
    tenant, actor, found = _decided(approval, actor)
    _move(found, Status.REFUSED, actor, reason=reason)
    email = found.requested_by.user.email
    facts = {"what": found.sentence, "email": email, "reason": reason}
    audit.record("tenants.approval.refused", tenant=tenant, actor=actor, target=found, **facts)


@transactions.atomic
def withdraw_approval(approval: Approval, *, actor: Actor) -> None:
    """Take back what one has asked for.

    Raises:
        NotFound: somebody else asked for it.
        ApprovalOver: it is not open any more.
    """
    actor = guards.as_now(actor)
    roles.require(actor, "tenants.withdraw_approval", approval.tenant)
    if actor.member is None or approval.requested_by_id != actor.member.pk:
        raise NotFound
    found = _held(approval)
    if not found.is_open:
        raise ApprovalOver
    _move(found, Status.WITHDRAWN, actor, was=Status(found.status))
    audit.record("tenants.approval.withdrawn", tenant=found.tenant, actor=actor, target=found, what=found.sentence)


def approvals_of(tenant: Tenant) -> QuerySet[Approval]:
    """Return what was asked for in an organisation, newest first."""
    return Approval.objects.of(tenant).select_related("requested_by__user", "decided_by__user")


def approval_of(tenant: Tenant, pk: uuid.UUID) -> Approval:
    """Return one of them.

    Raises:
        NotFound: the organisation has none with that id.
    """
    found = approvals_of(tenant).filter(pk=pk).select_related("tenant").first()
    if found is None:
        raise NotFound
    return found


def why_not_decide(member: Member, approval: Approval) -> str:
    """Return why a member may not decide about it, as a sentence; empty when it may.

    Args:
        member: of its organisation, with tenant, user and invitation loaded.
    """
    return approvals.why_not(member, approval, member.tenant)


def require_approvers(tenant: Tenant, *without: Member, actor: Actor | None = None) -> None:
    """Raise if, without these members as owners or admins, nobody could approve; every way out asks this.

    Args:
        actor: who takes them away; nobody takes away the last who could approve against their will.

    Raises:
        TooFewApprovers: fewer than two would be left, or only such as the actor let in.
    """
    tenant.refresh_from_db(fields=["second_person_since"])
    if tenant.second_person_since is None or not any(one.role in approvals.APPROVERS for one in without):
        return
    left = approvals.approvers(tenant).exclude(pk__in=[one.pk for one in without]).select_related("invitation")
    if len(left) < 2:
        raise TooFewApprovers
    taker = actor.member if actor is not None else None
    if taker is not None and taker not in without and not approvals.independent_of(taker, left, tenant):
        raise TooFewApprovers


def has_approvers(tenant: Tenant, without: Member) -> bool:
    """Tell whether there would still be who could approve, without this member as owner or admin."""
    try:
        require_approvers(tenant, without)
    except TooFewApprovers:
        return False
    return True


def _decided(approval: Approval, actor: Actor) -> tuple[Tenant, Actor, Approval]:
    """Return the tenant, who decides and the approval as they are now, if this one may decide."""
    actor = guards.as_now(actor)
    tenant = Tenant.objects.get(pk=approval.tenant_id)
    roles.require(actor, "tenants.decide", tenant)
    # No token carries that permission, and staff have none.
    assert actor.member is not None
    found = _held(approval)
    member = Member.objects.select_related("user", "invitation").get(pk=actor.member.pk)
    why = approvals.why_not(member, found, tenant)
    if why:
        raise NotSecondPerson(why=why)
    if found.status != Status.WAITING or not found.is_open:
        raise ApprovalOver
    return tenant, actor, found


def _held(approval: Approval) -> Approval:
    rows = Approval.objects.select_for_update(no_key=True, of=("self",))
    return rows.select_related("requested_by__user", "tenant", "token").get(pk=approval.pk)


def _as_asked(approval: Approval) -> Actor:
    """Return the member who asked, as the actor of what is approved now.

    That the person had signed in lately was asked for then; the approval is the proof now.

    Raises:
        ApprovalOver: the member is not in, or the token not valid, any more.
    """
    if approval.is_by_token and approval.token is None:
        raise ApprovalOver
    asked = Actor.of_member(approval.requested_by, via=approval.via, token=approval.token, signed_in_at=clock.now())
    try:
        return replace(guards.as_now(asked), approval=approval)
    except (NotFound, NotAuthenticated) as error:
        raise ApprovalOver from error


def _move(
    approval: Approval,
    status: Approval.Status,
    actor: Actor,
    *,
    reason: str = "",
    was: Approval.Status = Status.WAITING,
) -> None:
    assert (was, status) in Approval.MOVES
    facts: dict[str, Any] = {"status": status}
    if status in {Status.APPROVED, Status.REFUSED}:
        facts |= {"decided_by": actor.member, "decided_at": clock.now(), "decision_reason": reason}
    if not Approval.objects.filter(pk=approval.pk, status=was).update(**facts):
        raise ApprovalOver


HELD["tenants.require_second_person"] = Held(
    lazy("Do without a second person's approval from now on"),
    lambda tenant, given, reason, actor: drop_second_person(tenant, reason=reason, actor=actor),
)
