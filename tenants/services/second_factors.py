"""Resetting a second factor: never by the person alone."""

from __future__ import annotations

from collections.abc import Iterable

from allauth.mfa.models import Authenticator

from byokportal.errors import NotFound
from byokportal.translation import ngettext
from byokportal.translation import translate as _
from tenants import audit, roles, transactions
from tenants.audit import Actor
from tenants.errors import OwnSecondFactor, SharedAccount
from tenants.models import Member, Tenant
from tenants.services import endings, guards
from tenants.services.words import reason_of


@transactions.atomic
def reset_second_factor(member: Member, *, reason: str, actor: Actor) -> None:
    """Take away a member's second factors, by another owner who knows the person; the next sign-in sets up a new one.

    Raises:
        OwnSecondFactor: nobody resets their own.
        SharedAccount: the account belongs to another organisation too, whose owners have no say here.
    """
    tenant = Tenant.objects.select_for_update(no_key=True).get(pk=member.tenant_id)
    actor = guards.as_now(actor)
    roles.require(actor, "tenants.reset_second_factor", tenant)
    held = Member.objects.of(tenant).filter(pk=member.pk).select_related("user").first()
    if held is None:
        raise NotFound
    if actor.member is not None and actor.member.user_id == held.user_id:
        raise OwnSecondFactor
    if Member.objects.filter(user=held.user_id).exclude(tenant=tenant).exists():
        raise SharedAccount
    reason = reason_of(reason)
    remove_second_factors(held.user_id)
    audit.record(
        "tenants.second_factor.reset", tenant=tenant, actor=actor, target=held, email=held.user.email, reason=reason
    )


def second_factors_of(members: Iterable[Member]) -> dict[int, str]:
    """Return what second factors the accounts of some members have, as people read it, by the id of the account."""
    kinds: dict[int, list[str]] = {}
    rows = Authenticator.objects.filter(user__in=[member.user_id for member in members]).order_by("pk")
    for user_id, kind in rows.values_list("user_id", "type"):
        kinds.setdefault(user_id, []).append(kind)
    return {user_id: words for user_id, found in kinds.items() if (words := _in_words(found))}


def _in_words(kinds: list[str]) -> str:
    """Return the words for the authenticators of one account; codes for recovery alone are no second factor."""
    passkeys = kinds.count(Authenticator.Type.WEBAUTHN)
    has_app = Authenticator.Type.TOTP in kinds
    if passkeys and has_app:
        return ngettext("A passkey and an authenticator app", "%(number)s passkeys and an authenticator app", passkeys)
    if passkeys:
        return ngettext("A passkey", "%(number)s passkeys", passkeys)
    return _("An authenticator app") if has_app else ""


def remove_second_factors(user_id: int) -> None:
    """Remove every second factor of an account, recovery codes too, and sign it out everywhere."""
    Authenticator.objects.filter(user_id=user_id).delete()
    endings.end_sessions(user_id)
