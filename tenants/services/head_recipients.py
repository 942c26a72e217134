"""To whom a tenant's signed log heads are mailed once a day: addresses that an owner names, in or outside of it."""

from __future__ import annotations

from byokportal import clock
from byokportal.errors import InvalidInput, NotFound
from byokportal.translation import translate as _
from tenants import audit, roles, transactions
from tenants.audit import Actor
from tenants.models import HeadMailing, HeadRecipient, Tenant
from tenants.services import guards, invitations


def head_recipient_of(tenant: Tenant, number: int) -> HeadRecipient:
    """Return one of the tenant's recipients.

    Raises:
        NotFound: it has none of that number.
    """
    found = HeadRecipient.objects.filter(tenant=tenant, pk=number).first()
    if found is None:
        raise NotFound
    return found


@transactions.atomic
def add_head_recipient(tenant: Tenant, *, email: str, actor: Actor) -> HeadRecipient:
    """Have the signed head of the log mailed to an address, from the next head on.

    Raises:
        InvalidInput: it is no address, is named already, or there are as many as there can be.
    """
    actor = guards.as_now(actor)
    roles.require(actor, "tenants.change_head_recipients", tenant)
    email = invitations.address_of(email)
    mine = HeadRecipient.objects.filter(tenant=tenant)
    if mine.filter(email=email).exists():
        raise InvalidInput(errors={"email": [_("The head is mailed to this address already.")]})
    if mine.count() >= HeadRecipient.AT_MOST:
        why = _("The head is mailed to %(AT_MOST)s addresses at most. Remove one first.", AT_MOST=HeadRecipient.AT_MOST)
        raise InvalidInput(errors={"email": [why]})
    recipient = HeadRecipient.objects.create(tenant=tenant, email=email)
    HeadMailing.objects.get_or_create(tenant=tenant, defaults={"due_at": clock.now()})
    audit.record("tenants.head_recipient.added", tenant=tenant, actor=actor, target=recipient, email=email)
    return recipient


@transactions.atomic
def remove_head_recipient(recipient: HeadRecipient, *, actor: Actor) -> None:
    """Mail the head of the log to an address no longer."""
    tenant = recipient.tenant
    actor = guards.as_now(actor)
    roles.require(actor, "tenants.change_head_recipients", tenant)
    if not HeadRecipient.objects.filter(pk=recipient.pk).delete()[0]:
        raise NotFound
    if not HeadRecipient.objects.filter(tenant=tenant).exists():
        HeadMailing.objects.filter(tenant=tenant).delete()
    audit.record(
        "tenants.head_recipient.removed", tenant=tenant, actor=actor, target=recipient.pk, email=recipient.email
    )
