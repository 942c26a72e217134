"""Invitations: a mailed link makes the person whose address it proves a member, once."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from allauth.account.models import EmailAddress
from django.conf import settings
from django.contrib.auth import get_user_model, password_validation
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db.models import QuerySet

from byokportal import clock
from byokportal.errors import InvalidInput, NotFound
from byokportal.translation import lazy
from byokportal.translation import translate as _
from tenants import approvals, audit, roles, tokens, transactions
from tenants.approvals import HELD, Held
from tenants.audit import Actor
from tenants.errors import (
    AccountSwitchedOff,
    AlreadyInvited,
    AlreadyMember,
    InvitationOver,
    NotFirstOwner,
    SignInForInvitation,
    StaffAddress,
    TooManyInvitations,
    WrongAccountForInvitation,
)
from tenants.models import (
    INVITATION_LASTS,
    AccessToken,
    Invitation,
    InvitationLink,
    Member,
    Role,
    Tenant,
    came_by_sign_on,
)
from tenants.services import guards
from tenants.services.words import reason_of

if TYPE_CHECKING:
    from django.contrib.auth.models import User

OPEN_INVITATIONS = 500  # of one organisation
MAILS = 10  # of one invitation


def address_of(email: str) -> str:
    """Return a mail address as we keep it, in lower case.

    Raises:
        InvalidInput: it is none, or not one of at most 150 ASCII characters.
    """
    email = email.strip()
    try:
        validate_email(email)
    except ValidationError:
        raise InvalidInput(errors={"email": [_("This is not a mail address.")]}) from None
    # before it is in lower case: that makes an ASCII letter of the sign for kelvin
    if not email.isascii() or len(email) > 150:
        raise InvalidInput(errors={"email": [_("A mail address here has at most 150 ASCII characters.")]})
    return email.lower()


def role_of(role: str) -> Role:
    """Return the role of that name.

    Raises:
        InvalidInput: there is none.
    """
    if role not in Role.values:
        raise InvalidInput(errors={"role": [_("The role is one of %(names)s.", names=", ".join(Role.values))]})
    return Role(role)


@transactions.atomic
def invite(tenant: Tenant, *, email: str, role: str, actor: Actor) -> Invitation:
    """Invite a person; the mail with the link follows from the log. The person is a member once the link was used.

    Raises:
        AlreadyMember, AlreadyInvited: the address is in the organisation, or has an invitation that can still be used.
        StaffAddress: the address is one of Kore.ai's.
        NotFirstOwner: staff invite the first owner of an organisation that never had one, and nobody else.
    """
    tenant = Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)
    actor = guards.as_now(actor)
    roles.require(actor, "tenants.invite", tenant)
    if role == Role.OWNER:
        approvals.require(actor, "tenants.invite", tenant, email=address_of(email), role=str(role))
    return add_invitation(tenant, email=email, role=role, actor=actor)


def add_invitation(tenant: Tenant, *, email: str, role: str, actor: Actor) -> Invitation:
    """Write the invitation; the caller holds the tenant's row and has asked who may."""
    if tenant.is_canary:
        raise NotFound  # for people it does not exist
    email, role = address_of(email), role_of(role)
    if actor.kind == "staff" and (role != Role.OWNER or Member.everybody.filter(tenant=tenant).exists()):
        raise NotFirstOwner
    refuse_staff(email)
    if member_with(tenant, email) is not None:
        raise AlreadyMember(email=email)
    open_ones = Invitation.objects.of(tenant).open()
    for old in open_ones.filter(email=email):
        if not old.is_expired:
            raise AlreadyInvited(email=email)
        _withdraw(old, reason=lazy("it had expired, and another one takes its place"), actor=actor)
    if open_ones.count() >= OPEN_INVITATIONS:
        raise TooManyInvitations(limit=OPEN_INVITATIONS)
    invitation = Invitation.objects.create(
        tenant=tenant,
        email=email,
        role=role,
        invited_by=actor.label[:200],
        inviter=actor.member,
        expires_at=clock.now() + INVITATION_LASTS,
    )
    audit.record("tenants.member.invited", tenant=tenant, actor=actor, target=invitation, email=email, role=role)
    return invitation


@transactions.atomic
def resend_invitation(invitation: Invitation, *, actor: Actor) -> None:
    """Send the invitation again, with a new link and seven more days; the links before end.

    Raises:
        InvitationOver: it was used or withdrawn.
        TooManyInvitations: it was sent too often.
    """
    invitation = _held(invitation, actor)
    if invitation.sent >= MAILS:
        raise TooManyInvitations(limit=MAILS)
    invitation.links.all().delete()
    if invitation.is_expired:  # its token ended with it, and does not come back
        _end_tokens(invitation)
    Invitation.objects.filter(pk=invitation.pk).update(
        sent=invitation.sent + 1, expires_at=clock.now() + INVITATION_LASTS
    )
    audit.record(
        "tenants.invitation.resent", tenant=invitation.tenant, actor=actor, target=invitation, email=invitation.email
    )


@transactions.atomic
def withdraw_invitation(invitation: Invitation, *, reason: str, actor: Actor) -> None:
    """Withdraw an invitation: its links end now, and the tokens made with it within 5 s.

    Raises:
        InvitationOver: it was used or withdrawn before.
    """
    reason = reason_of(reason)
    _withdraw(_held(invitation, actor), reason=reason, actor=actor)


def withdraw_invitations_by(member: Member, *, reason: str, actor: Actor) -> None:
    """Withdraw the open invitations that a member made who may invite no more; the caller holds the tenant's row."""
    for invitation in Invitation.objects.open().filter(inviter=member).select_related("tenant"):
        _withdraw(invitation, reason=reason, actor=actor)


def withdraw_invitations_to(member: Member, *, reason: str, actor: Actor) -> None:
    """Withdraw the open invitations of the organisation to an address of a member who goes;
    the caller holds the tenant's row."""
    for invitation in open_invitations_to(member):
        _withdraw(invitation, reason=reason, actor=actor)


def open_invitations_to(member: Member) -> QuerySet[Invitation]:
    """Return the open invitations of the organisation to an address that a member has proved."""
    mine = Invitation.objects.open().filter(tenant=member.tenant_id, email__in=proved_addresses(member.user))
    return mine.select_related("tenant")


def withdraw_with_organisation(invitation: Invitation, *, reason: str, actor: Actor) -> None:
    """Withdraw an invitation to an organisation that is closed; the caller holds the tenant's row."""
    _withdraw(invitation, reason=reason, actor=actor)


def withdraw_owner_invitations(tenant: Tenant, *, reason: str, actor: Actor) -> None:
    """Withdraw the open invitations of owners; the caller holds the tenant's row."""
    for invitation in Invitation.objects.of(tenant).open().filter(role=Role.OWNER):
        _withdraw(invitation, reason=reason, actor=actor)


def withdraw_by_system(invitation: Invitation) -> None:
    """Withdraw an invitation that something else takes the place of; the caller holds the tenant's row."""
    _withdraw(invitation, reason=lazy("another invitation takes its place"), actor=audit.SYSTEM)


def _held(invitation: Invitation, actor: Actor) -> Invitation:
    """Return the open invitation with its tenant's row held, after asking who may."""
    tenant = Tenant.objects.select_for_update(no_key=True).get(pk=invitation.tenant_id)
    actor = guards.as_now(actor)
    roles.require(actor, "tenants.invite", tenant)
    found = Invitation.objects.select_for_update(no_key=True).select_related("tenant").get(pk=invitation.pk)
    if actor.kind == "staff" and Member.everybody.filter(tenant=tenant).exists():
        raise NotFirstOwner
    if found.status != Invitation.Status.PENDING:
        raise InvitationOver
    return found


def _withdraw(invitation: Invitation, *, reason: str, actor: Actor) -> None:
    _close(invitation)
    audit.record(
        "tenants.invitation.withdrawn",
        tenant=invitation.tenant,
        actor=actor,
        target=invitation,
        email=invitation.email,
        reason=reason,
    )


def _close(invitation: Invitation) -> None:
    now = clock.now()
    Invitation.objects.filter(pk=invitation.pk, status=Invitation.Status.PENDING).update(
        status=Invitation.Status.WITHDRAWN, closed_at=now
    )
    invitation.links.all().delete()
    _end_tokens(invitation)


def _end_tokens(invitation: Invitation) -> None:
    AccessToken.objects.filter(invitation=invitation, revoked_at=None).update(revoked_at=clock.now())


# --- the link ---------------------------------------------------------------------------------------------------


def new_link(invitation: Invitation) -> str:
    """Return the secret of a fresh link; only its digest is kept,
    and every link of a pending invitation works until one was used."""
    raw = tokens.new_secret("il")
    InvitationLink.objects.create(invitation=invitation, digest=tokens.digest(raw))
    return raw


def invitation_by_link(raw: str) -> Invitation:
    """Return the pending invitation that a link belongs to; looking uses nothing up.

    Raises:
        InvitationOver: there is none: used, withdrawn, expired or never made.
    """
    found = (
        Invitation.objects.pending()
        .filter(links__digest=tokens.digest(raw))
        .select_related("tenant", "inviter__user")
        .first()
    )
    if found is None:
        raise InvitationOver
    return found


def inviter_of(invitation: Invitation) -> str:
    """Return who invites, as people read it."""
    return invitation.inviter.user.email if invitation.inviter else "Kore.ai support"


def needs_password(invitation: Invitation) -> bool:
    """Tell whether the invited address has no account that anybody can sign in to:
    then the link lets the person choose a password."""
    account = _account(invitation.email)
    return account is None or not account.has_usable_password()


@transactions.atomic
def accept_invitation(raw: str, *, user: User | None = None, password: str = "") -> Member:
    """Make the person a member whose address the link proves.

    Args:
        raw: the secret of the mailed link.
        user: who is signed in. An account that exists joins only through an address of its own that was proved.
        password: what a person without an account chose.

    Raises:
        InvitationOver: the link is not, or no longer, valid; a second use of it too.
        SignInForInvitation: there is an account for the address; its owner signs in first.
        WrongAccountForInvitation: another account is signed in.
        InvalidInput: the password is too weak.
        StaffAddress, AlreadyMember: the account cannot be a member, or is one.
    """
    invitation = invitation_by_link(raw)
    tenant = Tenant.objects.select_for_update(no_key=True).get(pk=invitation.tenant_id)
    person = _who_accepts(invitation, user, password)
    if person.is_staff or is_staff_address(invitation.email):
        raise StaffAddress
    if Member.objects.of(tenant).filter(user=person).exists():
        raise AlreadyMember(email=invitation.email)
    member = Member.objects.create(tenant=tenant, user=person, role=invitation.role)
    used = (
        Invitation.objects.pending()
        .filter(pk=invitation.pk)
        .update(status=Invitation.Status.USED, member=member, closed_at=clock.now())
    )
    if not used:  # another use of the link, or a withdrawal, was first
        raise InvitationOver
    invitation.links.all().delete()
    AccessToken.objects.filter(invitation=invitation).update(invitation=None, member=member)
    audit.record(
        "tenants.member.joined",
        tenant=tenant,
        actor=Actor.of_member(member, via="portal"),
        target=member,
        email=person.email,
        role=member.role,
        invited_by=invitation.invited_by,
    )
    return member


def _who_accepts(invitation: Invitation, user: User | None, password: str) -> User:
    if user is not None:
        if invitation.email not in proved_addresses(user):
            raise WrongAccountForInvitation(email=invitation.email)
        return user
    account = _account(invitation.email)
    if account is not None and not account.is_active:
        raise AccountSwitchedOff
    if account is not None and account.has_usable_password():
        raise SignInForInvitation(email=invitation.email)
    users = get_user_model().objects
    try:
        password_validation.validate_password(password, account or get_user_model()(email=invitation.email))
    except ValidationError as error:
        raise InvalidInput(errors={"password": list(error.messages)}) from None
    if account is None:
        # The user name is nothing that anybody types: an address can pass to another person, a name stays.
        account = users.create_user(username=str(uuid.uuid4()), email=invitation.email, password=password)
    else:
        account.set_password(password)
        account.email = invitation.email
        account.save(update_fields=["password", "email"])
    _prove(account, invitation.email)
    return account


def _prove(user: User, email: str) -> None:
    """Write down that the user has proved the address."""
    EmailAddress.objects.filter(user=user).exclude(email__iexact=email).filter(verified=False).delete()
    address, _ = EmailAddress.objects.get_or_create(user=user, email=email)
    EmailAddress.objects.filter(pk=address.pk).update(verified=True, primary=True)


def _account(email: str) -> User | None:
    """Return the account that the address was proved for, or that was made for it and never used."""
    proved = EmailAddress.objects.filter(email=email, verified=True).select_related("user").first()
    if proved is not None:
        return proved.user  # type: ignore[no-any-return]
    made: User | None = get_user_model().objects.filter(username=email).first()
    return made if made is not None and not made.has_usable_password() else None


def member_with(tenant: Tenant, email: str) -> Member | None:
    """Return the member of the organisation who has proved the address, or came with it by the sign-on."""
    came = Member.objects.of(tenant).filter(user__email__iexact=email).annotate(came=came_by_sign_on())
    if (found := came.filter(came=True).select_related("user").first()) is not None:
        return found
    account = _account(email)
    return Member.objects.of(tenant).filter(user=account).select_related("user").first() if account else None


def is_switched_off(email: str) -> bool:
    """Tell whether the address has an account that is switched off."""
    account = _account(email)
    return account is not None and not account.is_active


def proved_addresses(user: User) -> list[str]:
    """Return the addresses that the user has proved, in lower case."""
    return [
        address.lower()
        for address in EmailAddress.objects.filter(user=user, verified=True).values_list("email", flat=True)
    ]


def has_proved(user: User, email: str) -> bool:
    """Tell whether the address is one that the user has proved."""
    return email in proved_addresses(user)


def refuse_staff(email: str) -> None:
    """Raise if the address is one of Kore.ai's.

    Raises:
        StaffAddress: it is.
    """
    if is_staff_address(email):
        raise StaffAddress(errors={"email": [StaffAddress.detail]})


def is_staff_address(email: str) -> bool:
    """Tell whether an address is one of Kore.ai's: of a domain of ours, or of somebody who is staff."""
    domain = email.rpartition("@")[2]
    if domain in settings.STAFF_EMAIL_DOMAINS:
        return True
    staff = get_user_model().objects.filter(is_staff=True)
    return (
        staff.filter(email__iexact=email).exists()
        or staff.filter(username__iexact=email).exists()
        or EmailAddress.objects.filter(email=email, user__is_staff=True).exists()
    )


def invitation_of(tenant: Tenant, pk: uuid.UUID) -> Invitation:
    """Return an invitation of the tenant.

    Raises:
        NotFound: it has none with that id.
    """
    found = Invitation.objects.of(tenant).filter(pk=pk).select_related("tenant").first()
    if found is None:
        raise NotFound
    return found


HELD["tenants.invite"] = Held(
    lazy("Invite {email} as {role}"),
    lambda tenant, given, reason, actor: invite(tenant, email=given["email"], role=given["role"], actor=actor),
)
