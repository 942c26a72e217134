"""Sign-ins by a tenant's directory: begun, answered, and what follows: a session, a new member, a linked account.

A person is who the connection, the issuer and the subject say. An address lets nobody in: it only has to lie in a
verified domain of the connection's own tenant, and an account that exists is linked by its own fresh sign-in alone.
"""

from __future__ import annotations

import secrets
import uuid
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from byokportal import clock
from byokportal.errors import NotFound
from byokportal.translation import lazy
from byokportal.translation import translate as _
from tenants import audit, fresh, tokens, transactions
from tenants.asserted import Asserted
from tenants.audit import Actor
from tenants.errors import SignOnOver, SignOnRefused, StaffAddress
from tenants.models import (
    ATTEMPT_LASTS,
    MailDomain,
    Member,
    Role,
    SignOnAttempt,
    SignOnConnection,
    SignOnIdentity,
    SignOnSession,
    Tenant,
    needs_sign_on,
)
from tenants.services import directory_rules, invitations, sign_on_members

if TYPE_CHECKING:
    from datetime import datetime

    from django.contrib.auth.models import User

Purpose, Mode, Protocol = SignOnAttempt.Purpose, SignOnConnection.Mode, SignOnConnection.Protocol
AGAIN_LEEWAY = timedelta(seconds=30)  # that the directory's clock may be behind ours
NOT_AGAIN = lazy("Your organisation's sign-on did not ask you anew who you are. Tell an owner of your organisation.")


def connection_for(email: str) -> SignOnConnection | None:
    """Return the connection by which the people of an address's domain sign in; None if there is none."""
    domain = MailDomain.objects.verified().filter(name=email.rpartition("@")[2].strip().lower()).first()
    return SignOnConnection.objects.open().filter(tenant=domain.tenant_id).first() if domain else None


@transactions.atomic
def begin_sign_on(
    connection: SignOnConnection, *, purpose: str, user: User | None = None, next_page: str = ""
) -> tuple[SignOnAttempt, str]:
    """Write down that a browser begins a sign-in, and return it with what the browser keeps.

    Args:
        user: who is signed in, for linking and for signing in again.
    """
    raw = tokens.new_secret()
    attempt = SignOnAttempt.objects.create(
        connection=connection,
        purpose=purpose,
        browser=tokens.digest(raw),
        state=secrets.token_urlsafe(32),
        nonce=secrets.token_urlsafe(32),
        verifier=secrets.token_urlsafe(48),
        user=user,
        next_page=next_page[:500],
        expires_at=clock.now() + ATTEMPT_LASTS,
    )
    return attempt, raw


def attempt_of(raw: str) -> SignOnAttempt:
    """Return the sign-in that a browser has begun and not finished.

    Raises:
        SignOnOver: there is none.
    """
    open_ones = SignOnAttempt.objects.filter(
        finished_at=None, expires_at__gt=clock.now(), connection__removed_at=None, browser=tokens.digest(raw)
    )
    found = open_ones.select_related("connection__tenant", "user").first()
    if found is None:
        raise SignOnOver
    return found


@transactions.atomic
def take_answer(raw: str, *, tenant_id: uuid.UUID, state: str) -> SignOnAttempt:
    """Return the sign-in that an answer of a directory belongs to; each one is answered once.

    Raises:
        SignOnOver: this browser began none with that state, or it was answered before.
    """
    attempt = attempt_of(raw)
    is_its = attempt.connection.tenant_id == tenant_id and attempt.connection.protocol == Protocol.OIDC
    if not is_its or not secrets.compare_digest(attempt.state.encode(), state.encode("utf-8", "replace")):
        raise SignOnOver
    unanswered = SignOnAttempt.objects.filter(pk=attempt.pk, answered_at=None)
    if not unanswered.update(answered_at=clock.now()):
        raise SignOnOver
    return attempt


@transactions.atomic
def note_answer(attempt: SignOnAttempt, *, asserted: Asserted) -> None:
    """Keep what a directory said, once it was found right.

    Raises:
        SignOnRefused: the address is not one that this connection may assert.
    """
    email = sign_on_members.address_of(asserted)
    sign_on_members.domain_of(attempt.connection, email)
    sign_on_members.require_organization(attempt.connection, asserted)
    rows = SignOnAttempt.objects.filter(pk=attempt.pk, asserted__isnull=True, finished_at=None)
    if not rows.update(asserted=replace(asserted, email=email).as_json()):
        raise SignOnOver


@transactions.atomic
def sign_on(attempt: SignOnAttempt) -> SignOnSession | None:
    """Do what a right answer leads to: a session of the person that the connection knows, or of a new member.

    Returns:
        None when there is an account of that address: its owner signs in to it and links it.

    Raises:
        SignOnRefused: the person cannot come in by this connection.
        StaffAddress: the address is one of Kore.ai's.
    """
    connection, asserted = _taken(attempt, Purpose.SIGN_IN)
    if connection.mode == Mode.DRAFT:
        raise SignOnRefused(why=_("This sign-on is still being tried. Sign in as you did before."))
    domain = sign_on_members.domain_of(connection, asserted.email)
    known = sign_on_members.identity_of(connection, asserted)
    if known is not None and directory_rules.come_back(known.member, actor=audit.SYSTEM) is not None:
        known = sign_on_members.identity_of(connection, asserted)
    if known is None or known.member.removed_at is not None:
        if known is None and not sign_on_members.has_account(asserted.email):
            known = sign_on_members.join(connection, asserted)
        elif sign_on_members.has_account(asserted.email):
            return None
        else:
            raise SignOnRefused(why=_(sign_on_members.ENDED))
    else:
        sign_on_members.follow(connection, known, asserted)
    _finish(attempt)
    return _session(known, domain, asserted)


@transactions.atomic
def link_account(attempt: SignOnAttempt, *, user: User, signed_in_at: datetime | None) -> Member:
    """Let the connection know an account that exists, by that account's own fresh sign-in.

    Args:
        user: who is signed in to it, not by a connection.

    Raises:
        FreshSignInNeeded: the sign-in is too old.
        SignOnRefused: the address is none that the account has proved, or somebody else is known by it.
        StaffAddress: one of Kore.ai's people.
    """
    fresh.require_at(signed_in_at)
    connection, asserted = _taken(attempt, Purpose.SIGN_IN, Purpose.LINK)
    if attempt.user_id is not None and attempt.user_id != user.pk:
        raise SignOnOver
    if user.is_staff or invitations.is_staff_address(asserted.email):
        raise StaffAddress
    if not user.is_active or not invitations.has_proved(user, asserted.email):
        raise SignOnRefused(
            why=_(
                "Your organisation's sign-on knows you as %(email)s, which is no address of the account that "
                "you are signed in with.",
                email=asserted.email,
            )
        )
    sign_on_members.domain_of(connection, asserted.email)
    member = Member.objects.of(connection.tenant).filter(user=user).select_related("user").first()
    known = sign_on_members.identity_of(connection, asserted)
    if connection.mode == Mode.DRAFT and (member is None or member.role != Role.OWNER):
        raise SignOnRefused(why=_("This sign-on is still being tried by the owners."))
    if member is None:
        # Whoever was shown out stays out, under another account too.
        out = Member.everybody.filter(directory_rules.shown_out(connection.tenant))
        if known is not None and known.member.user_id != user.pk:
            raise SignOnRefused(why=_(sign_on_members.ENDED))
        if out.filter(user=user).exists():
            raise SignOnRefused(why=_(sign_on_members.ENDED))
        member = sign_on_members.new_member(connection, user, asserted)
    if known is not None and known.member.removed_at is None and known.member_id != member.pk:
        raise SignOnRefused(why=_("Somebody else of your organisation is known by this sign-on already."))
    if (
        SignOnIdentity.objects.filter(connection=connection, member=member)
        .exclude(pk=known.pk if known else 0)
        .exists()
    ):
        raise SignOnRefused(
            why=_("Your account is known by another person of your directory. An owner removes that link first.")
        )
    if known is None:
        known = SignOnIdentity(connection=connection, issuer=asserted.issuer, subject=asserted.subject)
    known.member, known.email, known.made_account = member, asserted.email, False
    known.save()
    _finish(attempt)
    audit.record(
        "tenants.sign_on.linked",
        tenant=connection.tenant,
        actor=Actor.of_member(member, via="portal"),
        target=member,
        email=user.email,
        issuer=connection.issuer,
    )
    return member


@transactions.atomic
def sign_on_again(attempt: SignOnAttempt, *, session: SignOnSession) -> None:
    """Take a right answer as a fresh proof of who sits in front of a session that the connection made.

    Raises:
        SignOnRefused: another person answered, or the directory did not ask anew.
    """
    connection, asserted = _taken(attempt, Purpose.AGAIN)
    identity = session.identity
    if attempt.user_id != identity.member.user_id or connection.pk != identity.connection_id:
        raise SignOnOver
    if (asserted.issuer, asserted.subject) != (identity.issuer, identity.subject):
        raise SignOnRefused(why=_("Somebody else signed in at your organisation's sign-on. Sign in as yourself."))
    if asserted.authenticated_at is None or asserted.authenticated_at < attempt.created_at - AGAIN_LEEWAY:
        raise SignOnRefused(why=_(NOT_AGAIN))
    if session.has_second_factor and not asserted.has_second_factor:
        raise SignOnRefused(why=_(NOT_AGAIN))
    _finish(attempt)


@transactions.atomic
def unlink_account(member: Member, *, actor: Actor) -> None:
    """Let the connection forget one's own account; the sessions that it made end."""
    Tenant.objects.select_for_update(no_key=True).get(pk=member.tenant_id)
    mine = SignOnIdentity.objects.filter(member=member, connection__removed_at=None, made_account=False)
    if actor.member is None or actor.member.pk != member.pk or not mine.exists():
        raise NotFound
    SignOnSession.objects.filter(identity__in=mine).delete()
    mine.delete()
    audit.record("tenants.sign_on.unlinked", tenant=member.tenant, actor=actor, target=member, email=member.user.email)


def only_by_sign_on(user: User) -> bool:
    """Tell whether an account is let in by a directory alone: no password, passkey or mailed link of it counts.

    So it is with an account that a connection made, and with one that a connection knows and whose every tenant
    requires its connection. One that is not linked yet signs in to be linked, and gets no further.
    """
    mine = Member.objects.filter(user=user)
    if SignOnIdentity.objects.filter(member__user=user, made_account=True).exists():
        return True
    shut = mine.annotate(needs=needs_sign_on()).filter(
        needs=True, sign_on_identities__connection__removed_at=None, sign_on_identities__isnull=False
    )
    count = mine.count()
    return count > 0 and shut.distinct().count() == count


def session_of(pk: str) -> SignOnSession | None:
    """Return a session that a connection made, if it still counts."""
    try:
        number = uuid.UUID(pk)
    except (ValueError, TypeError, AttributeError):
        return None
    live = SignOnSession.objects.live().filter(pk=number)
    return live.select_related("identity__connection__tenant", "identity__member__user").first()


def _taken(attempt: SignOnAttempt, *purposes: str) -> tuple[SignOnConnection, Asserted]:
    """Return connection and answer of an attempt, the tenant's row held; both as they stand now."""
    Tenant.objects.select_for_update(no_key=True).get(pk=attempt.connection.tenant_id)
    held = SignOnAttempt.objects.filter(pk=attempt.pk, finished_at=None, expires_at__gt=clock.now())
    found = held.filter(asserted__isnull=False).select_related("connection__tenant").first()
    if found is None or found.connection.removed_at is not None or found.purpose not in purposes:
        raise SignOnOver
    asserted = Asserted.of_json(found.asserted or {})
    if asserted.issuer != found.connection.issuer:
        raise SignOnOver
    return found.connection, asserted


def _finish(attempt: SignOnAttempt) -> None:
    if not SignOnAttempt.objects.filter(pk=attempt.pk, finished_at=None).update(finished_at=clock.now()):
        raise SignOnOver


def _session(known: SignOnIdentity, domain: MailDomain, asserted: Asserted) -> SignOnSession:
    SignOnIdentity.objects.filter(pk=known.pk).update(email=asserted.email, used_at=clock.now())
    session = SignOnSession.objects.create(identity=known, domain=domain, has_second_factor=asserted.has_second_factor)
    audit.record(
        "tenants.member.signed_on",
        tenant=known.member.tenant,
        actor=Actor.of_member(known.member, via="portal"),
        target=known.member,
        email=known.member.user.email,
    )
    return session
