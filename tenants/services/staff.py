"""Kore.ai's own people: made, put into groups, switched off; never members of an organisation."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from allauth.account.forms import default_token_generator
from allauth.account.models import EmailAddress
from allauth.account.utils import user_pk_to_url_str
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.urls import reverse

from byokportal.errors import InvalidInput
from tenants import audit, roles, transactions
from tenants.audit import Actor
from tenants.errors import AlreadyStaff, MemberAddress, NotOneself
from tenants.models import Invitation, Member, Role, Tenant
from tenants.services import approvals, endings, people, second_factors
from tenants.services.invitations import address_of
from tenants.services.words import reason_of

if TYPE_CHECKING:
    from django.contrib.auth.models import User


@transactions.atomic
def create_staff(email: str, *, groups: Collection[str], reason: str, actor: Actor) -> User:
    """Make an account for one of Kore.ai's people; the mail with the link to choose a password follows from the log.

    Args:
        groups: names of groups of the back office.

    Raises:
        MemberAddress: the address belongs to a member of an organisation, or is invited to one.
        AlreadyStaff: there is such an account.
    """
    roles.require(actor, "tenants.manage_staff")
    email, wanted, reason = address_of(email), _groups(groups), reason_of(reason)
    users = get_user_model().objects
    if users.filter(is_staff=True, email__iexact=email).exists():
        raise AlreadyStaff(email=email)
    known = users.filter(email__iexact=email) | users.filter(username__iexact=email)
    proved = EmailAddress.objects.filter(email=email)
    if known.exists() or proved.exists() or Invitation.objects.open().filter(email=email).exists():
        raise MemberAddress(errors={"email": [MemberAddress.detail]})
    user = users.create_user(username=email, email=email, is_staff=True)
    user.groups.set(wanted)
    audit.record(
        "tenants.staff.created",
        tenant=None,
        actor=actor,
        target=user,
        email=email,
        groups=sorted(groups),
        reason=reason,
    )
    return user


def password_link(user: User) -> str:
    """Return the path of a link by which the person chooses a password; using it proves the address."""
    key = default_token_generator.make_token(user)
    return reverse("account_reset_password_from_key", kwargs={"uidb36": user_pk_to_url_str(user), "key": key})


@transactions.atomic
def regroup_staff(user: User, *, groups: Collection[str], reason: str, actor: Actor) -> None:
    """Put one of our people into these groups and no other; it counts from the next request on."""
    _require(user, actor)
    wanted, reason = _groups(groups), reason_of(reason)
    user.groups.set(wanted)
    audit.record(
        "tenants.staff.regrouped",
        tenant=None,
        actor=actor,
        target=user,
        email=user.email,
        groups=sorted(groups),
        reason=reason,
    )


@transactions.atomic
def switch_off(user: User, *, reason: str, actor: Actor) -> list[Tenant]:
    """Switch off an account: one of our people, or a member who is no owner. Sessions and tokens end within 5 s.

    A stolen account waits for nobody, also where it leaves an organisation that wants a second person with fewer than
    two who could approve anything: its log says so, and its owners are mailed.

    Returns:
        those organisations.

    Raises:
        MemberAddress: the person is an owner; only the organisation's owners remove one.
        NotOneself: nobody switches off their own account.
    """
    _require(user, actor, is_staff_only=False)
    reason = reason_of(reason)
    # Held so that nobody is made the only owner of an organisation at this moment.
    transactions.hold(*Member.objects.filter(user=user).values_list("tenant", flat=True))
    memberships = list(Member.objects.filter(user=user).select_related("user", "tenant"))
    if any(member.role == Role.OWNER for member in memberships):
        raise MemberAddress(errors={"reason": ["The person is an owner: staff never remove an owner."]})
    get_user_model().objects.filter(pk=user.pk).update(is_active=False)
    endings.end_sessions(user.pk)
    for member in memberships:
        endings.end_access(member, reason=reason, actor=actor)
    for tenant in people.members_logs(user):
        audit.record(
            "tenants.account.switched_off", tenant=tenant, actor=actor, target=user, email=user.email, reason=reason
        )
    short = [member.tenant for member in memberships if not approvals.has_approvers(member.tenant, member)]
    for tenant in short:
        audit.record("tenants.second_person.short", tenant=tenant, actor=actor, target=user, email=user.email)
    return short


@transactions.atomic
def switch_on(user: User, *, reason: str, actor: Actor) -> None:
    """Let a switched-off account sign in again; no session and no token of before comes back."""
    _require(user, actor, is_staff_only=False)
    reason = reason_of(reason)
    get_user_model().objects.filter(pk=user.pk).update(is_active=True)
    for tenant in people.members_logs(user):
        audit.record(
            "tenants.account.switched_on", tenant=tenant, actor=actor, target=user, email=user.email, reason=reason
        )


@transactions.atomic
def reset_staff_second_factor(user: User, *, reason: str, actor: Actor) -> None:
    """Take away the second factors of one of our people, by another; the next sign-in sets up a new one."""
    _require(user, actor)
    reason = reason_of(reason)
    second_factors.remove_second_factors(user.pk)
    audit.record("tenants.second_factor.reset", tenant=None, actor=actor, target=user, email=user.email, reason=reason)


def _require(user: User, actor: Actor, *, is_staff_only: bool = True) -> None:
    roles.require(actor, "tenants.manage_staff")
    if actor.user is not None and actor.user.pk == user.pk:
        raise NotOneself
    if is_staff_only and not user.is_staff:
        raise MemberAddress


def _groups(names: Collection[str]) -> list[Group]:
    found = list(Group.objects.filter(name__in=names))
    if not found or len(found) != len(set(names)):
        choices = ", ".join(Group.objects.order_by("name").values_list("name", flat=True))
        raise InvalidInput(errors={"groups": [f"Choose from {choices}."]})
    return found


def staff_of(pk_or_email: str) -> User | None:
    """Return one of our people by mail address or number, None when there is none."""
    staff = get_user_model().objects.filter(is_staff=True)
    by_number = staff.filter(pk=int(pk_or_email)) if pk_or_email.isdecimal() else staff.none()
    found: User | None = (by_number | staff.filter(email__iexact=pk_or_email)).first()
    return found
