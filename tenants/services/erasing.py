"""Operation on a person who is nowhere in any more: the name is erased, and what the person did stays."""

from __future__ import annotations

from django.db.models import Q

from byokportal.errors import InvalidInput
from byokportal.translation import translate as _
from tenants import audit, erasure, persons, roles, transactions
from tenants.audit import Actor
from tenants.erasure import Erased
from tenants.models import DirectoryUser, HeadRecipient, Invitation, Member, OwnerRecovery, PersonName, Tenant
from tenants.services.words import reason_of


@transactions.atomic
def erase_person(person: str, *, reason: str, actor: Actor) -> Erased:
    """Erase a person everywhere: the names in all logs, the account, and what other rows say of the person.

    No line of a log changes, and so no leaf and no head. Nothing brings the name back but a backup, which ends after
    BACKUP_RETENTION_DAYS.

    Args:
        person: a mail address, or a name as the log has it. Each address that the person had is one call.

    Raises:
        InvalidInput: the person is still in somewhere, nobody is known by that, or the reason names the person.
    """
    roles.require(actor, "tenants.erase_person")
    return _erase(person.strip(), None, reason=reason, actor=actor)


def erase_as_logged(name: PersonName, *, only: Tenant | None, reason: str, actor: Actor) -> Erased:
    """Erase a person once more whom the log has as erased, in a database that has forgotten it.

    Args:
        only: the organisation whose word it is; None: it is ours.

    Raises:
        InvalidInput: as `erase_person`.
    """
    roles.require(actor, "tenants.restore")
    return _erase(name.text, only, reason=reason, actor=actor)


def _erase(person: str, only: Tenant | None, *, reason: str, actor: Actor) -> Erased:
    reason = reason_that_names_nobody(reason, person)
    still = where(person, only)
    if still:
        raise InvalidInput(errors={"person": [f"This person cannot be erased yet: {'; '.join(still)}."]})
    done = erasure.erase(person, only=only) if person else Erased()
    if not (done.names or done.rows or done.accounts):
        raise InvalidInput(errors={"person": ["Nobody is known by this address or name."]})
    record(done, only, reason=reason, actor=actor)
    return done


def record(done: Erased, tenant: Tenant | None, *, reason: str, actor: Actor) -> None:
    """Write a line for each name that was erased, into the log that had it.

    Args:
        tenant: whose log says so where no log had the name; None: ours.
    """
    for name in done.names:
        audit.record(
            "tenants.person.erased",
            tenant=name.tenant,
            actor=actor,
            target=name,
            person=persons.reference(name),
            reason=reason,
        )
    if not done.names:
        audit.record("tenants.person.erased", tenant=tenant, actor=actor, person="somebody", reason=reason)


def reason_that_names_nobody(reason: str, *people: str) -> str:
    """Return the reason for erasing somebody.

    Raises:
        ReasonMissing, SecretPasted: as `reason_of`.
        InvalidInput: it names the person.
    """
    reason = reason_of(reason)
    if any(one and one.casefold() in reason.casefold() for one in people):
        why = _("The log keeps the reason for ever: give one that does not name them.")
        raise InvalidInput(errors={"reason": [why]})
    return reason


def where(person: str, only: Tenant | None) -> list[str]:
    """Return where somebody is still in, in words.

    Args:
        only: the organisation that is looked at, and nothing of anybody else; None: everything.
    """
    of = Q(tenant=only) if only else Q()
    in_directory = DirectoryUser.objects.filter(Q(email__iexact=person) | Q(user_name_key=person.lower()))
    users = erasure.accounts_of(person)
    found = {
        _("they are a member of an organisation"): Member.objects.filter(of, user__in=users),
        _("an invitation is open"): Invitation.objects.open().filter(of, email__iexact=person),
        _("a recovery is under way"): OwnerRecovery.objects.open().filter(of, email__iexact=person),
        _("a directory still names them"): in_directory.filter(directory__tenant=only) if only else in_directory,
        _("the head of a log is mailed to them"): HeadRecipient.objects.filter(of, email__iexact=person),
    }
    if only is None:
        found[_("they are one of Kore.ai's people")] = users.filter(is_staff=True)
    return [why for why, rows in found.items() if rows.exists()]
