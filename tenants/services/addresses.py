"""Changing one's own mail address: the new one counts once the link mailed to it was used; the old one is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from allauth.account.models import EmailAddress

from byokportal import clock
from byokportal.errors import InvalidInput
from byokportal.translation import translate as _
from tenants import audit, fresh, tokens, transactions
from tenants.audit import Actor
from tenants.errors import AddressChangeOver, AddressTaken, MemberAddress
from tenants.models import ADDRESS_CHANGE_LASTS, AddressChange, Invitation, Member
from tenants.services import invitations
from tenants.services.people import members_logs

if TYPE_CHECKING:
    from datetime import datetime

    from django.contrib.auth.models import User

CHANGES = 5  # that a person may ask for in the time that one lasts


@transactions.atomic
def request_address_change(user: User, *, email: str, signed_in_at: datetime | None) -> AddressChange:
    """Ask for another address; the mail with the link follows from the log. A request before it ends.

    Raises:
        FreshSignInNeeded: the person signed in too long ago.
        InvalidInput: it is no address, the same, or too many were asked for.
        StaffAddress, MemberAddress: staff and members never take each other's addresses.
    """
    fresh.require_at(signed_in_at)
    email = invitations.address_of(email)
    if email == user.email.lower():
        raise InvalidInput(errors={"email": [_("This is your address already.")]})
    _refuse(user, email)
    mine = AddressChange.objects.filter(user=user)
    if mine.filter(created_at__gt=clock.now() - ADDRESS_CHANGE_LASTS).count() >= CHANGES:
        raise InvalidInput(
            errors={"email": [_("You asked for %(changes)s changes today. Try again tomorrow.", changes=CHANGES)]}
        )
    mine.filter(used_at=None).update(expires_at=clock.now())
    change = AddressChange.objects.create(user=user, email=email, expires_at=clock.now() + ADDRESS_CHANGE_LASTS)
    audit.record(
        "tenants.address.change_requested", tenant=None, actor=Actor.of_account(user), target=change, email=email
    )
    return change


def new_address_link(change: AddressChange) -> str:
    """Return the secret of a fresh link for the new address; only its digest is kept, and the link before ends."""
    raw = tokens.new_secret()
    AddressChange.objects.filter(pk=change.pk).update(digest=tokens.digest(raw))
    return raw


def address_change_by_link(raw: str, user: User) -> AddressChange:
    """Return the change that a link confirms, for the person who asked for it.

    Raises:
        AddressChangeOver: there is none for this person.
    """
    open_ones = AddressChange.objects.filter(used_at=None, expires_at__gt=clock.now(), user=user)
    change = open_ones.filter(digest=tokens.digest(raw)).select_related("user").first()
    if change is None:
        raise AddressChangeOver
    return change


@transactions.atomic
def confirm_address_change(raw: str, *, user: User) -> str:
    """Make the new address the person's, everywhere at once, and return it.

    Raises:
        AddressChangeOver: the link was used, replaced or has expired, or belongs to somebody else.
        AddressTaken, StaffAddress, MemberAddress: the address cannot be this person's any more.
    """
    change = address_change_by_link(raw, user)
    _refuse(user, change.email)
    if EmailAddress.objects.filter(email=change.email, verified=True).exclude(user=user).exists():
        raise AddressTaken
    if not AddressChange.objects.filter(pk=change.pk, used_at=None).update(used_at=clock.now()):
        raise AddressChangeOver
    old = user.email
    EmailAddress.objects.filter(user=user).delete()
    EmailAddress.objects.create(user=user, email=change.email, verified=True, primary=True)
    user.email = change.email
    user.save(update_fields=["email"])
    for tenant in members_logs(user):
        audit.record(
            "tenants.member.address_changed",
            tenant=tenant,
            actor=Actor.of_account(user),
            target=user,
            old=old,
            email=change.email,
        )
    return change.email


def _refuse(user: User, email: str) -> None:
    if user.is_staff:
        if (
            Member.objects.filter(user__email__iexact=email).exists()
            or Invitation.objects.open().filter(email=email).exists()
        ):
            raise MemberAddress
    else:
        invitations.refuse_staff(email)
