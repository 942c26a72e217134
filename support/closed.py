"""What follows from the closing of an organisation: webhooks and tickets end, and its owners get the receipts."""

from __future__ import annotations

import json

from byokportal.translation import lazy
from keys.models import Closing
from support import notices, services
from support.models import Ticket, WebhookEndpoint
from tenants import audit
from tenants.audit import SYSTEM
from tenants.models import AuditEvent, Tenant

# What is followed of an organisation that is closed.
FOLLOWED = frozenset({"tenants.tenant.closed", "keys.closing.receipt_signed"})


def ended(event: AuditEvent, tenant: Tenant) -> None:
    """End what belongs to this app: webhooks and tickets."""
    for webhook in WebhookEndpoint.objects.of(tenant).present():
        services.end_webhook(webhook)
    for ticket in Ticket.objects.of(tenant).open().select_related("tenant"):
        services.close_ticket(ticket, reason=lazy("The organisation was closed."), actor=SYSTEM)


def signed(event: AuditEvent, tenant: Tenant) -> None:
    """Mail a receipt to those who were owners; after the second one their addresses are needed no more."""
    closing = Closing.objects.get(pk=str(json.loads(event.payload)["target"]))
    number = str(audit.data_of(event)["number"])
    for address in closing.addresses:
        context = {"closing": str(closing.pk), "number": number}
        notices.write(event, f"closing-receipt-{number}", address, context, tenant=tenant)
    if number == "2":
        Closing.objects.filter(pk=closing.pk).update(addresses=[])
