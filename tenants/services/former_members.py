"""Former members of an organisation: who was in, until when, who ended that; and the operation that forgets one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Exists, OuterRef, Q, QuerySet

from byokportal import words
from byokportal.errors import InvalidInput, NotFound
from byokportal.translation import lazy
from byokportal.translation import translate as _
from tenants import approvals, audit, erasure, roles, transactions
from tenants.approvals import HELD, Held
from tenants.audit import Actor
from tenants.erasure import Erased
from tenants.models import AuditEvent, DirectoryUser, Invitation, Member, SignOnIdentity, Tenant
from tenants.services import erasing, guards

ENDED = (
    "tenants.member.removed",
    "tenants.member.left",
    "tenants.member.left_with_sign_on",
    "tenants.member.ended_by_directory",
)
JOINED = ("tenants.member.joined", "tenants.member.joined_by_sign_on", "tenants.member.joined_by_directory")
# Between the end of a membership and its line in the log, which are of one transaction.
APART = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class FormerMember:
    """Somebody who was in.

    Attributes:
        email: as it was when the membership ended; the account may have another one since, in other organisations.
        ended_by: the label of who ended it; "": the log does not say.
        has_left: the person did.
    """

    member: Member
    email: str
    ended_by: str
    has_left: bool = False


def former_members_of(tenant: Tenant) -> QuerySet[Member]:
    """Return the last membership of each person who was in and is not any more, newest end first; those who were
    forgotten are not there."""
    mine = Member.everybody.filter(tenant=tenant)
    present = mine.filter(user=OuterRef("user"), removed_at=None)
    later = mine.filter(user=OuterRef("user"), removed_at__gt=OuterRef("removed_at"))
    gone = mine.exclude(removed_at=None).exclude(user__email__endswith=f"@{words.NOWHERE}")
    return gone.filter(~Exists(present), ~Exists(later)).select_related("user", "tenant").order_by("-removed_at", "-pk")


def former_member_of(tenant: Tenant, number: int) -> Member:
    """Return one of them.

    Raises:
        NotFound: there is none with that number.
    """
    found = former_members_of(tenant).filter(pk=number).first()
    if found is None:
        raise NotFound
    return found


def described(members: Sequence[Member]) -> list[FormerMember]:
    """Return former members of one organisation with what the log says of their end, in one query."""
    ends = [one.removed_at for one in members if one.removed_at is not None]
    if not ends:
        return []
    about = AuditEvent.objects.of(members[0].tenant).filter(
        name__in=ENDED, at__gte=min(ends) - APART, at__lte=max(ends) + APART
    )
    lines = {str(json.loads(one.payload)["target"]): one for one in about}
    return [_described(one, lines.get(str(one.pk))) for one in members]


def why_not_forget(member: Member) -> list[str]:
    """Return why a former member cannot be forgotten yet, in words."""
    return _why_not(member, _addresses_of(member))


@transactions.atomic
def forget_member(member: Member, *, reason: str, actor: Actor) -> Erased:
    """Erase a former member from the rows and the log of the organisation, and from nothing of anybody else.

    The account goes too where nobody else knows it. No line of the log changes.

    Raises:
        NotFound: the person is a member, or was forgotten.
        InvalidInput: the person is still to be found in the organisation, or the reason names the person.
        SecondPersonNeeded: the organisation wants a second person for it.
    """
    tenant = Tenant.objects.select_for_update(no_key=True).get(pk=member.tenant_id)
    actor = guards.as_now(actor)
    roles.require(actor, "tenants.forget_member", tenant)
    held = former_member_of(tenant, member.pk)
    [former], addresses = described([held]), _addresses_of(held)
    reason = erasing.reason_that_names_nobody(reason, *addresses)
    if why := _why_not(held, addresses):
        text = _("This person cannot be forgotten yet: %(why)s.", why="; ".join(why))
        raise InvalidInput(errors={"person": [text]})
    facts: dict[str, Any] = {"member": held.pk, "email": former.email}
    approvals.require(actor, "tenants.forget_member", tenant, reason=reason, **facts)
    done = Erased()
    for address in addresses:
        done.add(erasure.erase(address, only=tenant))
    done.accounts += erasure.cut_off(held.user, tenant)
    erasing.record(done, tenant, reason=reason, actor=actor)
    return done


def _described(member: Member, line: AuditEvent | None) -> FormerMember:
    if line is None:
        return FormerMember(member, member.user.email, "directory" if member.is_ended_by_directory else "")
    email = str(audit.data_of(line).get("email", "")) or member.user.email
    return FormerMember(member, email, audit.actor_of(line), has_left=line.name == "tenants.member.left")


def _why_not(member: Member, addresses: Iterable[str]) -> list[str]:
    why = [one for address in addresses for one in erasing.where(address, member.tenant)]
    if DirectoryUser.objects.filter(member__tenant=member.tenant_id, member__user=member.user_id).exists():
        why.append(_("a directory still names them"))
    return list(dict.fromkeys(why))


def _addresses_of(member: Member) -> list[str]:
    """Return each address by which the organisation has known a former member."""
    tenant, user = member.tenant, member.user
    pks = Member.everybody.filter(tenant=tenant, user=user).values_list("pk", flat=True)
    known = [
        *_logged(tenant, user, list(pks)),
        *Invitation.objects.of(tenant).filter(member__in=pks).values_list("email", flat=True),
        *SignOnIdentity.objects.filter(member__in=pks).values_list("email", flat=True),
    ]
    kept = {one.casefold(): one for one in known or [user.email] if one and not words.is_erased(one)}
    return list(kept.values())


def _logged(tenant: Tenant, user: User, numbers: Sequence[int]) -> Iterator[str]:
    """Yield each address that the log has of an account and its memberships."""
    about = Q(name="tenants.member.address_changed", payload__contains=f'"target":"{user.pk}"')
    for number in numbers:
        about |= Q(name__in=(*ENDED, *JOINED), payload__contains=f'"target":"{number}"')
    for line in AuditEvent.objects.of(tenant).filter(about):
        data = audit.data_of(line)
        yield from (str(data[field]) for field in ("email", "old") if data.get(field))


HELD["tenants.forget_member"] = Held(
    lazy("Forget {email}, who was a member"),
    lambda tenant, given, reason, actor: forget_member(
        former_member_of(tenant, given["member"]), reason=reason, actor=actor
    ),
)
