"""Whom a tenant's connection lets in: known by issuer and subject, in a verified domain; new members, and roles and
addresses that follow the directory. Parts of `sign_ons`, called in its transactions."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from allauth.account.models import EmailAddress
from django.contrib.auth import get_user_model
from django.db.models import Exists, OuterRef

from byokportal import clock
from byokportal.errors import InvalidInput
from byokportal.translation import lazy
from byokportal.translation import translate as _
from tenants import asserted as assertions
from tenants import audit
from tenants.approvals import APPROVERS
from tenants.asserted import Asserted
from tenants.audit import Actor
from tenants.errors import SignOnRefused, StaffAddress
from tenants.models import (
    Invitation,
    MailDomain,
    Member,
    Role,
    SignOnConnection,
    SignOnIdentity,
)
from tenants.services import directory_rules, invitations, people
from tenants.services.approvals import has_approvers

if TYPE_CHECKING:
    from django.contrib.auth.models import User


# Everybody may have an account there.
GOOGLE = "https://accounts.google.com"
ENDED = lazy("Your membership was ended. Ask an owner of your organisation to invite you.")
NOT_NAMED = lazy(
    "Your organisation's directory does not name you here, or gives you no role. Ask whoever looks after it to assign "
    "this application to you, and to put you into the right group."
)


def address_of(asserted: Asserted) -> str:
    """Return the address that a directory names, as we write it.

    Raises:
        SignOnRefused: it is no mail address.
    """
    try:
        return invitations.address_of(asserted.email)
    except InvalidInput:
        raise SignOnRefused(why=_("The mail address that your organisation's sign-on names for you is none.")) from None


def domain_of(connection: SignOnConnection, email: str) -> MailDomain:
    """Return the verified domain of the connection's tenant in which an address lies.

    Raises:
        SignOnRefused: it lies in none.
        StaffAddress: the address is one of Kore.ai's.
    """
    mine = MailDomain.objects.of(connection.tenant).verified()
    found = mine.filter(name=email.rpartition("@")[2]).first()
    if found is None:
        raise SignOnRefused(
            why=_(
                "Your organisation's sign-on knows you as %(email)s, and that is no verified domain of the "
                "organisation.",
                email=email,
            )
        )
    if invitations.is_staff_address(email):
        raise StaffAddress
    return found


def require_organization(connection: SignOnConnection, asserted: Asserted) -> None:
    """Raise unless the account is one of the organisation's, at an issuer where everybody may have one.

    A consumer's account at Google may carry an address of the organisation; only one of its own Workspace carries the
    claim `hd` (https://developers.google.com/identity/openid-connect/openid-connect, "ID token's payload").

    Raises:
        SignOnRefused: it is not.
    """
    if connection.issuer != GOOGLE:
        return
    if not MailDomain.objects.of(connection.tenant).verified().filter(name=asserted.hosted_domain).exists():
        raise SignOnRefused(
            why=_("This is no account of your organisation at Google. Choose the account of your work.")
        )


def identity_of(connection: SignOnConnection, asserted: Asserted) -> SignOnIdentity | None:
    """Return the person whom the connection knows by this issuer and subject, members who were shown out too."""
    known = SignOnIdentity.objects.filter(connection=connection, issuer=asserted.issuer, subject=asserted.subject)
    return known.select_related("member__user", "member__tenant").first()


def has_account(email: str) -> bool:
    """Tell whether the address is one of an account with a sign-in of its own."""
    if EmailAddress.objects.filter(email=email, verified=True).exists():
        return True
    made = SignOnIdentity.objects.filter(made_account=True).values("member__user")
    return get_user_model().objects.filter(email__iexact=email).exclude(pk__in=made).exists()


def _role(connection: SignOnConnection, asserted: Asserted) -> Role:
    if directory_rules.directory_of(connection.tenant) is not None:
        # It is the list of who is in: nobody comes in beside it.
        if (named := directory_rules.role_to_join(connection.tenant, asserted.email)) is None:
            raise SignOnRefused(why=_(NOT_NAMED))
        return named
    role = assertions.role_of(
        asserted.values,
        roles=connection.role_values,
        default=connection.default_role,
        may_make_owners=connection.may_make_owners,
    )
    if role is None:
        raise SignOnRefused(
            why=_("Your directory gives you no role here. Ask whoever looks after it to put you into the right group.")
        )
    return role


def join(connection: SignOnConnection, asserted: Asserted) -> SignOnIdentity:
    """Make a new member with an account of its own, which has no other way in.

    Raises:
        SignOnRefused: somebody else has the address, was shown out, or gets no role.
    """
    same = Member.objects.of(connection.tenant).filter(user__email__iexact=asserted.email)
    if same.exists():
        raise SignOnRefused(
            why=_(
                "Somebody else of your organisation is known as %(email)s. An owner removes them first.",
                email=asserted.email,
            )
        )
    # Whoever left with a connection, at the moment at which it was removed, may come by the next one; whoever was shown
    # out before may not.
    with_connection = SignOnIdentity.objects.filter(
        member=OuterRef("pk"), connection__removed_at=OuterRef("removed_at")
    )
    was_here = Member.everybody.filter(~Exists(with_connection), directory_rules.shown_out(connection.tenant))
    invited_as = was_here.filter(invitation__email=asserted.email)
    if invited_as.exists() or was_here.filter(user__email__iexact=asserted.email).exists():
        raise SignOnRefused(why=_(ENDED))
    user = get_user_model().objects.create_user(username=str(uuid.uuid4()), email=asserted.email)
    member = new_member(connection, user, asserted)
    return SignOnIdentity.objects.create(
        connection=connection,
        issuer=asserted.issuer,
        subject=asserted.subject,
        member=member,
        email=asserted.email,
        made_account=True,
    )


def new_member(connection: SignOnConnection, user: User, asserted: Asserted) -> Member:
    """Let an account in, in the role that the directory gives; open invitations of the address end.

    Raises:
        SignOnRefused: the directory gives no role.
    """
    tenant = connection.tenant
    member = Member.objects.create(tenant=tenant, user=user, role=_role(connection, asserted))
    directory_rules.arrived(member, asserted.email)
    for invitation in Invitation.objects.of(tenant).open().filter(email=asserted.email):
        invitations.withdraw_by_system(invitation)
    audit.record(
        "tenants.member.joined_by_sign_on",
        tenant=tenant,
        actor=Actor.of_member(member, via="portal"),
        target=member,
        email=user.email,
        role=member.role,
        issuer=connection.issuer,
    )
    return member


def follow(connection: SignOnConnection, known: SignOnIdentity, asserted: Asserted) -> None:
    """Let role and address of an account that the connection made follow the directory, and of no other account."""
    if not known.made_account:
        return
    member = known.member
    # Where a directory tells who is in, the role is its, or is for people to change. Without a claim the sign-on says
    # nothing of roles: the one that a person has came from people, from groups, or with the first sign-in.
    is_told = directory_rules.directory_of(connection.tenant) is not None
    role = _role(connection, asserted) if connection.role_claim and not is_told else Role(member.role)
    is_last = member.role == Role.OWNER and not people.has_another_owner(connection.tenant, member)
    if role not in APPROVERS:
        is_last = is_last or not has_approvers(connection.tenant, member)
    if role != member.role and not is_last:
        old, member.role = member.role, role
        Member.objects.filter(pk=member.pk).update(role=role, role_since=clock.now(), role_by=None)
        audit.record(
            "tenants.member.role_changed",
            tenant=connection.tenant,
            actor=audit.SYSTEM,
            target=member,
            email=member.user.email,
            role=role,
            old=old,
        )
        if old == Role.OWNER:
            invitations.withdraw_invitations_by(member, reason=lazy("the directory says: no owner"), actor=audit.SYSTEM)
    others = Member.objects.of(connection.tenant).exclude(pk=member.pk).filter(user__email__iexact=asserted.email)
    if asserted.email != member.user.email and not others.exists() and not has_account(asserted.email):
        before, member.user.email = member.user.email, asserted.email
        get_user_model().objects.filter(pk=member.user_id).update(email=asserted.email)
        audit.record(
            "tenants.member.address_changed",
            tenant=connection.tenant,
            actor=audit.SYSTEM,
            target=member.user,
            old=before,
            email=asserted.email,
        )
