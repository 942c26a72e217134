"""A tenant's connection to its own directory: set up, offered, required, removed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from allauth.mfa.models import Authenticator
from django.conf import settings
from django.utils.crypto import salted_hmac

from byokportal import clock
from byokportal.errors import InvalidInput, NotFound
from byokportal.translation import lazy
from byokportal.translation import translate as _
from tenants import approvals, audit, connection_looks, roles, saml_metadata, sealing, transactions
from tenants.approvals import HELD, Held
from tenants.audit import Actor
from tenants.errors import BreakGlassOwner, LastOwner, SignOnNotReady
from tenants.models import (
    AccessToken,
    MailDomain,
    Member,
    Role,
    SignOnConnection,
    SignOnIdentity,
    SignOnSession,
    Tenant,
    came_by_sign_on,
)
from tenants.services import directory_rules, guards, invitations
from tenants.services.approvals import require_approvers
from tenants.services.words import reason_of

VALUES, FACTORS = 50, 20  # of one claim that name roles; that count as a second factor
# What a second person approves.
NEW_SECRET = lazy("set up {issuer} with the client {client_id} and a new secret")
SAME_SECRET = lazy("set up {issuer} with the client {client_id} and the same secret")
SET_UP_SAML = lazy("set up {issuer} (SAML 2.0), which signs by {certificates}")
SET_UP_SAML_AT = lazy("set up {issuer} (SAML 2.0), which signs by {certificates} and publishes that at {address}")
BY_CLAIM, EVERYBODY_ELSE = lazy("roles by the claim “{claim}”: {given}"), lazy("everybody else: {default_role}")
OWNERS, FACTORS_BY = lazy("owners by the claim: {may_make_owners}"), lazy("second factor by: {given}")
SWITCH = lazy("make it {mode}; {break_glass} signs in without it")
REMOVE = lazy("remove {issuer}, and with it {count} people who came by it")
Mode, Protocol = SignOnConnection.Mode, SignOnConnection.Protocol


def _events() -> dict[str, tuple[str, str]]:
    """Return which event says that a connection was made, and which that it was changed."""
    return {
        Protocol.OIDC: ("tenants.sign_on.set_up", "tenants.sign_on.changed"),
        Protocol.SAML: ("tenants.sign_on.saml_set_up", "tenants.sign_on.saml_changed"),
    }


def connection_of(tenant: Tenant) -> SignOnConnection:
    """Return the connection of a tenant.

    Raises:
        NotFound: it has none.
    """
    found = SignOnConnection.objects.of(tenant).present().select_related("tenant", "break_glass__user").first()
    if found is None:
        raise NotFound
    return found


@transactions.atomic
def set_connection(
    tenant: Tenant,
    *,
    protocol: str = Protocol.OIDC,
    issuer: str,
    client_id: str = "",
    client_secret: str = "",
    provider: Mapping[str, Any],
    role_claim: str,
    role_values: Mapping[str, str],
    default_role: str,
    may_make_owners: bool,
    factor_values: Collection[str],
    actor: Actor,
) -> SignOnConnection:
    """Set up the connection of a tenant, or change what it is known by; a new one is tried first.

    Args:
        issuer: with SAML the directory's entity id.
        client_id: empty with SAML, and so is the secret; an empty secret keeps the one before.
        provider: what `tenants.oidc.discover` or `tenants.saml_metadata.read` found of the issuer.
        role_values: value of the claim → role.
        default_role: for who has no such value; empty refuses them.

    Raises:
        InvalidInput: with the reason under its field; another issuer is another connection.
    """
    tenant, actor = _held(tenant, actor)
    old = SignOnConnection.objects.of(tenant).present().first()
    if protocol not in Protocol.values:
        raise InvalidInput(errors={"protocol": [_("Choose from %(names)s.", names=", ".join(Protocol.values))]})
    if old is not None and old.protocol != protocol:
        raise InvalidInput(errors={"protocol": [_("Remove the present connection first, then set up another.")]})
    if old is not None and old.issuer != issuer:
        why = _("People are known by the issuer, so it stays. Remove this connection, then set up another.")
        raise InvalidInput(errors={"issuer": [why]})
    _check(issuer, role_claim, role_values, factor_values)
    if protocol == Protocol.OIDC:
        _check_client(client_id, client_secret or (old is not None and "kept"))
    if default_role not in {"", Role.ADMIN, Role.AUDITOR}:
        raise InvalidInput(errors={"default_role": [_("Choose admin, auditor, or nobody.")]})
    approvals.require(
        actor,
        "tenants.change_sign_on",
        tenant,
        what=f"{_in_words(protocol, issuer, provider, client_id, client_secret)}; "
        + _roles_in_words(role_claim, role_values, default_role, may_make_owners, factor_values),
        protocol=str(protocol),
        client_id=client_id,
        issuer=issuer,
        # What is approved is this secret; of it a digest under SECRET_KEY stands in the row.
        secret=salted_hmac("tenants.sign_on", client_secret).hexdigest() if client_secret else "",
        provider=dict(provider),
        role_claim=role_claim,
        role_values=dict(role_values),
        default_role=default_role,
        may_make_owners=may_make_owners,
        factor_values=sorted(set(factor_values)),
    )
    facts: dict[str, Any] = {
        "client_id": client_id,
        "provider": dict(provider),
        "role_claim": role_claim,
        "role_values": dict(role_values),
        "default_role": default_role,
        "may_make_owners": may_make_owners,
        "factor_values": sorted(set(factor_values)),
        "look_problem": "",
        "warned_days": None,
        "looked_at": clock.now(),
        "next_look_at": clock.now() + connection_looks.A_DAY,
    } | ({"sealed_secret": sealing.seal(client_secret)} if client_secret else {})
    if old is None:
        connection = SignOnConnection.objects.create(tenant=tenant, protocol=protocol, issuer=issuer, **facts)
    else:
        SignOnConnection.objects.filter(pk=old.pk).update(**facts)
        connection = SignOnConnection.objects.get(pk=old.pk)
    made, changed = _events()[protocol]
    audit.record(
        made if old is None else changed,
        tenant=tenant,
        actor=actor,
        target=connection,
        issuer=issuer,
        client_id=client_id,
        new_secret=bool(client_secret),
        certificates=_fingerprints(provider),
        sso_url=provider.get("sso_url", ""),
        metadata_url=provider.get("metadata_url", ""),
        role_claim=role_claim,
        role_values=dict(role_values),
        default_role=default_role,
        may_make_owners=may_make_owners,
        factor_values=sorted(set(factor_values)),
    )
    return connection


@transactions.atomic
def set_sign_on_mode(
    connection: SignOnConnection, *, mode: str, break_glass: Member | None = None, actor: Actor
) -> SignOnConnection:
    """Offer the connection to people of the tenant, require it of them, or take it back to being tried.

    Args:
        break_glass: with `required` the owner who still signs in without it.

    Raises:
        SignOnNotReady: no verified domain, nobody has tried it, or that owner could not sign in.
    """
    tenant, actor = _held(connection.tenant, actor)
    held = _present(tenant, connection)
    if mode not in Mode.values:
        raise InvalidInput(errors={"mode": [_("Choose from %(names)s.", names=", ".join(Mode.values))]})
    if mode != Mode.DRAFT:
        if not MailDomain.objects.of(tenant).verified().exists():
            raise SignOnNotReady(why=_("None of your mail domains is verified. Verify one first."))
        if not held.identities.filter(member__role=Role.OWNER, member__removed_at=None).exists():
            raise SignOnNotReady(why=_("No owner has linked an account by it. Link yours first: that tries it."))
    keeper = _break_glass(tenant, break_glass) if mode == Mode.REQUIRED else None
    who = keeper.user.email if keeper else "nobody"
    approvals.require(
        actor,
        "tenants.change_sign_on",
        tenant,
        what=SWITCH.format(mode=mode, break_glass=who),
        connection=str(held.pk),
        mode=str(mode),
        break_glass=keeper.pk if keeper else None,
    )
    SignOnConnection.objects.filter(pk=held.pk).update(mode=mode, break_glass=keeper)
    held.mode, held.break_glass = mode, keeper
    audit.record(
        "tenants.sign_on.mode_changed",
        tenant=tenant,
        actor=actor,
        target=held,
        mode=mode,
        break_glass=who,
    )
    directory_rules.settle_kept(tenant)
    return held


@transactions.atomic
def remove_connection(connection: SignOnConnection, *, reason: str, actor: Actor) -> None:
    """Remove the connection: the sessions that it made end, and the people whose account it made leave.

    Raises:
        LastOwner: no owner would be left.
    """
    tenant, actor = _held(connection.tenant, actor)
    held, reason = _present(tenant, connection), reason_of(reason)
    theirs = Member.objects.of(tenant).filter(
        sign_on_identities__connection=held, sign_on_identities__made_account=True
    )
    going = list(theirs.select_related("user"))
    if not Member.objects.of(tenant).owners().exclude(pk__in=[one.pk for one in going]).exists():
        raise LastOwner
    require_approvers(tenant, *going, actor=actor)
    approvals.require(
        actor,
        "tenants.change_sign_on",
        tenant,
        reason=reason,
        what=REMOVE.format(issuer=held.issuer, count=len(going)),
        connection=str(held.pk),
    )
    now = clock.now()
    SignOnConnection.objects.filter(pk=held.pk).update(removed_at=now, mode=Mode.DRAFT, break_glass=None)
    SignOnSession.objects.filter(identity__connection=held, ended_at=None).update(ended_at=now)
    Member.objects.filter(pk__in=[one.pk for one in going]).update(removed_at=now)
    AccessToken.objects.filter(member__in=going, revoked_at=None).update(revoked_at=now)
    for one in going:
        invitations.withdraw_invitations_by(one, reason=reason, actor=actor)
        invitations.withdraw_invitations_to(one, reason=reason, actor=actor)
        audit.record("tenants.member.left_with_sign_on", tenant=tenant, actor=actor, target=one, email=one.user.email)
    audit.record(
        "tenants.sign_on.removed",
        tenant=tenant,
        actor=actor,
        target=held,
        issuer=held.issuer,
        count=len(going),
        reason=reason,
    )
    directory_rules.settle_kept(tenant)


def require_not_break_glass(member: Member) -> None:
    """Raise if the tenant's way in for an emergency is this member; every way out of being an owner asks this.

    Raises:
        BreakGlassOwner: it is.
    """
    if SignOnConnection.objects.required().filter(break_glass=member).exists():
        raise BreakGlassOwner


def no_longer_required(tenant: Tenant) -> None:
    """Offer a connection that was required; the caller holds the tenant's row.

    A recovery by Kore.ai lets an owner in whom the directory may not know.
    """
    for connection in SignOnConnection.objects.required().filter(tenant=tenant):
        SignOnConnection.objects.filter(pk=connection.pk).update(mode=Mode.OFFERED, break_glass=None)
        audit.record(
            "tenants.sign_on.mode_changed",
            tenant=tenant,
            actor=audit.SYSTEM,
            target=connection,
            mode=Mode.OFFERED.value,
            break_glass="nobody",
        )
        directory_rules.settle_kept(tenant)


def _held(tenant: Tenant, actor: Actor) -> tuple[Tenant, Actor]:
    held = Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)
    actor = guards.as_now(actor)
    roles.require(actor, "tenants.change_sign_on", held)
    if held.is_canary:
        raise NotFound
    return held, actor


def _present(tenant: Tenant, connection: SignOnConnection) -> SignOnConnection:
    held = SignOnConnection.objects.of(tenant).present().filter(pk=connection.pk).first()
    if held is None:
        raise NotFound
    return held


def _break_glass(tenant: Tenant, member: Member | None) -> Member:
    """Return the owner who keeps their own sign-in, if they have one.

    Raises:
        SignOnNotReady: it is no such owner.
    """
    owners = Member.objects.of(tenant).owners().select_related("user")
    keeper = owners.filter(pk=member.pk).first() if member else None
    if keeper is None:
        raise SignOnNotReady(why=_("Choose the owner who still signs in without it."))
    factors = Authenticator.objects.filter(user=keeper.user_id)
    has_passkey = factors.filter(type=Authenticator.Type.WEBAUTHN).exists()
    came = Member.objects.filter(came_by_sign_on(), pk=keeper.pk).exists()
    if came or not (keeper.user.has_usable_password() or has_passkey):
        raise SignOnNotReady(why=_("That owner has no password and no passkey. Choose one who can sign in without it."))
    if settings.MFA_REQUIRED and not factors.exclude(type=Authenticator.Type.RECOVERY_CODES).exists():
        raise SignOnNotReady(why=_("That owner has no second factor. Let them set one up first."))
    return keeper


def _check_client(client_id: str, has_secret: object) -> None:
    errors: dict[str, list[str]] = {}
    if not 1 <= len(client_id) <= 200 or not client_id.isprintable():
        errors["client_id"] = [_("Give the client id that your directory gave this application.")]
    if not has_secret:
        errors["client_secret"] = [_("Give the client secret that your directory gave this application.")]
    if errors:
        raise InvalidInput(errors=errors)


def _check(
    issuer: str,
    role_claim: str,
    role_values: Mapping[str, str],
    factor_values: Collection[str],
) -> None:
    errors: dict[str, list[str]] = {}
    if not 1 <= len(issuer) <= 500:
        errors["issuer"] = [_("Give the issuer's address.")]
    if len(role_claim) > 120 or not role_claim.isprintable():
        errors["role_claim"] = [_("The name of a claim has at most 120 printable characters.")]
    if role_values and not role_claim:
        errors["role_claim"] = [_("Name the claim in which these values stand.")]
    if len(role_values) > VALUES or any(not 1 <= len(value) <= 200 for value in role_values):
        errors["role_values"] = [_("At most %(values)s values, each of at most 200 characters.", values=VALUES)]
    if any(role not in Role.values for role in role_values.values()):
        errors["role_values"] = [_("A role is one of %(names)s.", names=", ".join(Role.values))]
    if len(factor_values) > FACTORS or any(not 1 <= len(value) <= 200 for value in factor_values):
        errors["factor_values"] = [_("At most %(factors)s values, each of at most 200 characters.", factors=FACTORS)]
    if errors:
        raise InvalidInput(errors=errors)


def _in_words(protocol: str, issuer: str, provider: Mapping[str, Any], client_id: str, client_secret: str) -> str:
    """Return which directory a second person approves, and by what we know it."""
    if protocol == Protocol.OIDC:
        return (NEW_SECRET if client_secret else SAME_SECRET).format(issuer=issuer, client_id=client_id)
    where, certificates = provider.get("metadata_url"), _fingerprints(provider)
    sentence = SET_UP_SAML_AT if where else SET_UP_SAML
    return sentence.format(issuer=issuer, certificates=certificates, address=where)


def _fingerprints(provider: Mapping[str, Any]) -> str:
    return ", ".join(one.fingerprint for one in saml_metadata.certificates_of(provider))


def _roles_in_words(
    role_claim: str,
    role_values: Mapping[str, str],
    default_role: str,
    may_make_owners: bool,
    factor_values: Collection[str],
) -> str:
    """Return what follows from what the directory says of a person."""
    by_claim = ", ".join(f"“{value}” → {role}" for value, role in sorted(role_values.items()))
    factors = ", ".join(sorted(set(factor_values)))
    said = (
        BY_CLAIM.format(claim=role_claim, given=by_claim or lazy("none")),
        EVERYBODY_ELSE.format(default_role=default_role or lazy("refused")),
        OWNERS.format(may_make_owners=lazy("yes") if may_make_owners else lazy("no")),
        FACTORS_BY.format(given=factors or lazy("nothing")),
    )
    return "; ".join(said)


def identity_of(member: Member) -> SignOnIdentity | None:
    """Return by what the tenant's present connection knows a member."""
    return SignOnIdentity.objects.filter(member=member, connection__removed_at=None).first()


# Who asked for it does it again, and finds the approval: the facts are many, and one of them is a secret.
HELD["tenants.change_sign_on"] = Held(lazy("Change the sign-on: {what}"))
