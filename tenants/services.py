"""Deeds of the tenants app: organisations, people, tokens, service accounts, service roles."""

from __future__ import annotations

from collections.abc import Sequence

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.utils import timezone

from byokportal.errors import InvalidInput, NotFound
from tenants import audit, onboarding, roles, tokens
from tenants.audit import Actor
from tenants.errors import AlreadyMember, LastOwner, NoOpenServiceRole, ReasonMissing
from tenants.models import AccessToken, Member, Role, ServiceAccount, ServiceRole, Tenant

AUTOMATION_TOKENS = 20  # a member's valid tokens at most


def reason_of(reason: str) -> str:
    """Return the reason that a person gave, trimmed and bounded.

    Raises:
        ReasonMissing: it is empty.
    """
    reason = " ".join(reason.split())[:200]
    if not reason:
        raise ReasonMissing(errors={"reason": [ReasonMissing.detail]})
    return reason


def _name(name: str, *, field: str = "name") -> str:
    name = " ".join(name.split())
    if not name or len(name) > 120 or not name.isprintable():
        raise InvalidInput(errors={field: ["A name has 1 to 120 printable characters."]})
    return name


@transaction.atomic
def create_tenant(name: str, *, owner_email: str, actor: Actor) -> Tenant:
    """Create an organisation, pin it to an open service role and invite its owner.

    Raises:
        NoOpenServiceRole: none is open; it must exist in AWS before a tenant can name it.
        InvalidInput: the name or the address cannot be used.
    """
    roles.require(actor, "tenants.create")
    service_role = ServiceRole.objects.filter(is_open=True).order_by("created_at").first()
    if service_role is None:
        raise NoOpenServiceRole
    tenant = Tenant.objects.create(
        name=_name(name), service_role=service_role, revocation_latency=settings.DEFAULT_REVOCATION_LATENCY
    )
    audit.record("tenants.tenant.created", tenant=tenant, actor=actor, target=tenant, name=tenant.name)
    onboarding.begin(tenant, actor=actor)
    _add_member(tenant, email=owner_email, role=Role.OWNER, actor=actor)
    return tenant


@transaction.atomic
def invite(tenant: Tenant, *, email: str, role: str, actor: Actor) -> Member:
    """Make a person a member; the invitation mail follows from the log.

    Raises:
        AlreadyMember: the person is in the organisation.
    """
    roles.require(actor, "tenants.invite", tenant)
    return _add_member(tenant, email=email, role=role, actor=actor)


def _add_member(tenant: Tenant, *, email: str, role: str, actor: Actor) -> Member:
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
    tenant = Tenant.objects.select_for_update().get(pk=member.tenant_id)
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


@transaction.atomic
def mint_token(member: Member, *, name: str, actor: Actor) -> tuple[AccessToken, str]:
    """Make an automation token that acts as the member, only for its tenant; the raw token is shown once."""
    roles.require(actor, "tenants.mint_token", member.tenant)
    if actor.member is not None and actor.member.pk != member.pk:
        raise NotFound  # nobody makes tokens that act as somebody else
    now = timezone.now()
    if AccessToken.objects.filter(member=member).valid(now).count() >= AUTOMATION_TOKENS:
        raise InvalidInput(errors={"name": [f"You have {AUTOMATION_TOKENS} valid tokens. Revoke one first."]})
    raw = tokens.new_secret()
    token = AccessToken.objects.create(member=member, digest=tokens.digest(raw), name=_name(name))
    audit.record("tenants.token.minted", tenant=member.tenant, actor=actor, target=token, name=token.name)
    return token, raw


@transaction.atomic
def revoke_token(token: AccessToken, *, actor: Actor) -> None:
    """Revoke an automation token; every process has noticed after at most 5 s."""
    if token.member is None:
        raise NotFound
    roles.require(actor, "tenants.mint_token", token.member.tenant)
    if AccessToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now()):
        audit.record("tenants.token.revoked", tenant=token.member.tenant, actor=actor, target=token, name=token.name)


@transaction.atomic
def create_service_account(
    name: str, *, tenants: Sequence[Tenant], scopes: Sequence[str], has_all_tenants: bool = False, actor: Actor
) -> tuple[ServiceAccount, str]:
    """Create a platform service's account; the raw client secret is shown once."""
    roles.require(actor, "tenants.manage_service_accounts")
    unknown = sorted(set(scopes) - set(tokens.SCOPES))
    if unknown or not scopes:
        raise InvalidInput(errors={"scopes": [f"Choose from {', '.join(tokens.SCOPES)}."]})
    if not tenants and not has_all_tenants:
        raise InvalidInput(errors={"tenants": ["Name at least one tenant, or all of them."]})
    secret = tokens.new_secret()
    account = ServiceAccount.objects.create(
        name=_name(name),
        scopes=sorted(set(scopes)),
        has_all_tenants=has_all_tenants,
        secret_digest=tokens.digest(secret),
    )
    account.tenants.set(tenants)
    audit.record(
        "tenants.service_account.created",
        tenant=None,
        actor=actor,
        target=account,
        name=account.name,
        scopes=account.scopes,
    )
    for tenant in tenants:
        audit.record(
            "tenants.service_account.created",
            tenant=tenant,
            actor=actor,
            target=account,
            name=account.name,
            scopes=account.scopes,
        )
    return account, secret


@transaction.atomic
def rotate_secret(account: ServiceAccount, *, reason: str, actor: Actor) -> str:
    """Give a service account a new client secret; the old one and every token end now."""
    roles.require(actor, "tenants.manage_service_accounts")
    reason = reason_of(reason)
    secret = tokens.new_secret()
    ServiceAccount.objects.filter(pk=account.pk).update(secret_digest=tokens.digest(secret))
    AccessToken.objects.filter(service_account=account, revoked_at=None).update(revoked_at=timezone.now())
    audit.record(
        "tenants.service_account.secret_rotated",
        tenant=None,
        actor=actor,
        target=account,
        name=account.name,
        reason=reason,
    )
    return secret


def record_service_role(
    name: str, *, arn: str, unique_id: str, canary_role_arn: str, canary_external_id: str, actor: Actor
) -> ServiceRole:
    """Write down a service role that exists in AWS, so that tenants can be pinned to it; the same one twice is one row."""
    try:
        with transaction.atomic():
            service_role = ServiceRole.objects.create(
                name=name,
                arn=arn,
                unique_id=unique_id,
                canary_role_arn=canary_role_arn,
                canary_external_id=canary_external_id,
            )
            audit.record(
                "tenants.service_role.opened", tenant=None, actor=actor, target=service_role, service_role_arn=arn
            )
            return service_role
    except IntegrityError:
        return ServiceRole.objects.get(name=name, arn=arn, unique_id=unique_id)
