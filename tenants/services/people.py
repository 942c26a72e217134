"""Who is in an organisation: inviting, and the roles."""

from __future__ import annotations

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction

from byokportal.errors import InvalidInput
from tenants import audit, roles
from tenants.audit import Actor
from tenants.errors import AlreadyMember, LastOwner
from tenants.models import Member, Role, Tenant


@transaction.atomic
def invite(tenant: Tenant, *, email: str, role: str, actor: Actor) -> Member:
    """Make a person a member; the invitation mail follows from the log.

    Raises:
        AlreadyMember: the person is in the organisation.
    """
    roles.require(actor, "tenants.invite", tenant)
    return add_member(tenant, email=email, role=role, actor=actor)


def add_member(tenant: Tenant, *, email: str, role: str, actor: Actor) -> Member:
    email = email.strip().lower()
    try:
        validate_email(email)
    except ValidationError:
        raise InvalidInput(errors={"email": ["This is not a mail address."]}) from None
    if not email.isascii() or len(email) > 150:
        raise InvalidInput(errors={"email": ["A mail address here has at most 150 ASCII characters."]})
    if role not in Role.values:
        raise InvalidInput(errors={"role": [f"The role is one of {', '.join(Role.values)}."]})
    users = get_user_model().objects
    user = users.filter(email__iexact=email).first()
    if user is None:
        user = users.create_user(
            username=email, email=email
        )  # without a password: the invitation lets the person set one
    if Member.objects.filter(tenant=tenant, user=user).exists():
        raise AlreadyMember(email=email)
    member = Member.objects.create(tenant=tenant, user=user, role=role)
    audit.record("tenants.member.invited", tenant=tenant, actor=actor, target=member, email=email, role=role)
    return member


@transaction.atomic
def change_role(member: Member, *, role: str, actor: Actor) -> None:
    """Give a member another role.

    Raises:
        LastOwner: an organisation keeps at least one owner.
    """
    tenant = Tenant.objects.select_for_update(no_key=True).get(pk=member.tenant_id)
    roles.require(actor, "tenants.change_role", tenant)
    if role not in Role.values:
        raise InvalidInput(errors={"role": [f"The role is one of {', '.join(Role.values)}."]})
    owners = Member.objects.of(tenant).filter(role=Role.OWNER)
    if member.role == Role.OWNER and role != Role.OWNER and owners.count() == 1:
        raise LastOwner
    Member.objects.filter(pk=member.pk).update(role=role)
    member.role = role
    audit.record(
        "tenants.member.role_changed", tenant=tenant, actor=actor, target=member, email=member.user.email, role=role
    )
