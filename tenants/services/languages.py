"""The language of a person: chosen by themselves, for pages and mails."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings

from tenants.models import Member, PersonLanguage, Tenant

if TYPE_CHECKING:
    from django.contrib.auth.models import User


def choose_language(user: User, language: str) -> None:
    """Write down which language a person reads.

    Args:
        language: a code of `settings.LANGUAGES`.
    """
    # not update_or_create, which locks the row more than a change of it does
    if not PersonLanguage.objects.filter(user=user).update(language=language):
        PersonLanguage.objects.get_or_create(user=user, defaults={"language": language})


def language_of(email: str, *, or_of: str = "", tenant: Tenant | None = None) -> str:
    """Return the language in which somebody gets a mail: their own choice, else that of who invited them, else that of
    the organisation's owner who was in first and has chosen, else English.

    Args:
        email: the address that the mail goes to, of a person with an account or of somebody else.
        or_of: the address of the person who invited them.
        tenant: whose mail it is; None for one about the account alone.
    """
    theirs = _chosen_by(email) or _chosen_by(or_of)
    if theirs is None and tenant is not None:
        owners = Member.objects.of(tenant).owners().filter(user__language__isnull=False).order_by("created_at")
        theirs = owners.values_list("user__language__language", flat=True).first()
    return theirs if theirs in dict(settings.LANGUAGES) else settings.LANGUAGE_CODE


def chosen_language(user_id: int) -> str | None:
    """Return what a person chose; None when they chose nothing."""
    return PersonLanguage.objects.filter(user_id=user_id).values_list("language", flat=True).first()


def _chosen_by(email: str) -> str | None:
    chosen = PersonLanguage.objects.filter(user__email__iexact=email).values_list("language", flat=True)
    return chosen.first() if email else None
