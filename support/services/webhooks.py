"""Operations on webhooks: added, changed, rotated, switched off and on, removed, tested, sent again."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from byokportal import clock, outbound, receivers
from byokportal.errors import AddressRefused, InvalidInput, NotFound
from byokportal.translation import lazy
from byokportal.translation import translate as _
from keys import services as key_services
from support import kinds as event_kinds
from support.errors import TooManyWebhooks, WebhookNotOn, WebhookTestWaits
from support.models import WebhookDelivery, WebhookEndpoint
from support.webhooks import deliveries
from tenants import audit, roles, sealing, transactions
from tenants import services as tenant_services
from tenants.audit import Actor
from tenants.models import Tenant

WEBHOOKS, TESTS = 10, 20  # of one organisation; of one webhook in an hour
OLD_SECRET_HOURS, LONGEST_OLD_SECRET_HOURS = 24, 24 * 7
ROUTING_KEY = re.compile(r"[A-Za-z0-9]{32}", re.ASCII)
PAGERDUTY = "https://events.pagerduty.com/v2/enqueue"
Status, Format = WebhookEndpoint.Status, WebhookEndpoint.Format


def webhooks_of(tenant: Tenant) -> QuerySet[WebhookEndpoint]:
    """Return the webhooks of an organisation."""
    return WebhookEndpoint.objects.of(tenant).present().select_related("tenant")


def webhook_of(tenant: Tenant, number: UUID) -> WebhookEndpoint:
    """Return a webhook of an organisation.

    Raises:
        NotFound: it has none by that id.
    """
    found = webhooks_of(tenant).filter(pk=number).first()
    if found is None:
        raise NotFound
    return found


def delivery_of(webhook: WebhookEndpoint, number: UUID) -> WebhookDelivery:
    """Return a delivery of a webhook by its message id.

    Raises:
        NotFound: it has none by that id.
    """
    found = webhook.deliveries.filter(message_id=number).select_related("event", "endpoint__tenant").first()
    if found is None:
        raise NotFound
    return found


@transactions.atomic
def add_webhook(
    tenant: Tenant,
    *,
    format: str,
    address: str,
    description: str,
    kinds: Collection[str],
    routing_key: str = "",
    actor: Actor,
) -> tuple[WebhookEndpoint, str]:
    """Add a webhook; nothing is sent until something happens, or a test is asked for.

    Args:
        address: of the receiver; for PagerDuty empty is its own.
        kinds: of `support.kinds.KINDS`.
        routing_key: the integration key of PagerDuty's; for no other format.

    Returns:
        the webhook and its secret, which is shown once; empty where the format has no signature.

    Raises:
        InvalidInput: with the reason under its field.
        TooManyWebhooks: the organisation has as many as it may.
    """
    roles.require(actor, "support.change_webhooks", tenant)
    if format not in Format.values:
        raise InvalidInput(errors={"format": [_("Choose from %(names)s.", names=", ".join(Format.values))]})
    description, chosen = tenant_services.name_of(description, field="description"), _kinds(kinds)
    target = _target(address or (PAGERDUTY if format == Format.PAGERDUTY else ""))
    if format == Format.PAGERDUTY and not ROUTING_KEY.fullmatch(routing_key):
        why = _("The integration key of an Events API v2 integration has 32 letters and digits.")
        raise InvalidInput(errors={"routing_key": [why]})
    if format != Format.PAGERDUTY and routing_key:
        raise InvalidInput(errors={"routing_key": [_("Only PagerDuty has an integration key. Leave it empty.")]})
    if webhooks_of(tenant).count() >= WEBHOOKS:
        raise TooManyWebhooks(limit=WEBHOOKS)
    secret = receivers.new_secret() if format == Format.STANDARD else ""
    webhook = WebhookEndpoint.objects.create(
        tenant=tenant,
        format=format,
        description=description,
        origin=target.origin,
        kinds=chosen,
        sealed_address=sealing.seal(target.origin + target.path),
        sealed_secret=sealing.seal(secret) if secret else "",
        sealed_routing_key=sealing.seal(routing_key) if routing_key else "",
        made_by=actor.label[:200],
    )
    _record("support.webhook.added", webhook, actor, format=format, kinds=chosen)
    return webhook, secret


@transactions.atomic
def change_webhook(webhook: WebhookEndpoint, *, description: str, kinds: Collection[str], actor: Actor) -> None:
    """Change what a webhook is called and what it gets. Another address is another webhook.

    Raises:
        InvalidInput: with the reason under its field.
    """
    roles.require(actor, "support.change_webhooks", webhook.tenant)
    facts: dict[str, Any] = {
        "description": tenant_services.name_of(description, field="description"),
        "kinds": _kinds(kinds),
    }
    _update(webhook, **facts)
    _record("support.webhook.changed", webhook, actor, kinds=facts["kinds"])


@transactions.atomic
def rotate_webhook_secret(webhook: WebhookEndpoint, *, hours: int = OLD_SECRET_HOURS, actor: Actor) -> str:
    """Make a new secret; for some hours deliveries are signed by both. One from an earlier rotation ends at once.

    Args:
        hours: for which the old one signs too, 0 to 168.

    Returns:
        the new secret, which is shown once.

    Raises:
        InvalidInput: other hours, or a format without a signature.
    """
    roles.require(actor, "support.change_webhooks", webhook.tenant)
    if not 0 <= hours <= LONGEST_OLD_SECRET_HOURS:
        raise InvalidInput(
            errors={
                "hours": [
                    _(
                        "The old secret may sign for 0 to %(longest_old_secret_hours)s hours.",
                        longest_old_secret_hours=LONGEST_OLD_SECRET_HOURS,
                    )
                ]
            }
        )
    current = webhooks_of(webhook.tenant).filter(pk=webhook.pk).first()
    if current is None:
        raise NotFound
    if current.format != Format.STANDARD:
        raise InvalidInput(errors={"hours": [_("Only Standard Webhooks have a secret. Make another webhook instead.")]})
    secret = receivers.new_secret()
    _update(
        webhook,
        sealed_secret=sealing.seal(secret),
        sealed_old_secret=current.sealed_secret if hours else "",
        old_secret_until=clock.now() + timedelta(hours=hours) if hours else None,
    )
    _record("support.webhook.secret_rotated", webhook, actor, hours=hours)
    return secret


@transactions.atomic
def switch_webhook(webhook: WebhookEndpoint, *, is_on: bool, actor: Actor) -> None:
    """Switch a webhook off, or on again. What waits when it goes off is given up, and what happens meanwhile is not
    sent; both stand in the log."""
    roles.require(actor, "support.change_webhooks", webhook.tenant)
    old = [Status.OFF, Status.FAILING] if is_on else [Status.ON]
    if not WebhookEndpoint.objects.filter(pk=webhook.pk, status__in=old).update(
        status=Status.ON if is_on else Status.OFF, failures=0, failing_since=None, next_at=None, told_at=None
    ):
        return
    if not is_on:
        deliveries.give_up_waiting(webhook, why=lazy("The webhook was switched off."))
    name = "support.webhook.switched_on" if is_on else "support.webhook.switched_off"
    _record(name, webhook, actor)


@transactions.atomic
def remove_webhook(webhook: WebhookEndpoint, *, actor: Actor) -> None:
    """Remove a webhook: its address and its secrets are forgotten at once, its deliveries after thirty days."""
    roles.require(actor, "support.change_webhooks", webhook.tenant)
    if end_webhook(webhook):
        _record("support.webhook.removed", webhook, actor)


def end_webhook(webhook: WebhookEndpoint) -> bool:
    """Forget address and secrets of a webhook, and what waits to be delivered to it; it is part of an operation, or of
    the closing of its organisation. False: it was removed before."""
    empty = dict.fromkeys(("sealed_address", "sealed_secret", "sealed_old_secret", "sealed_routing_key"), "")
    present = WebhookEndpoint.objects.present().filter(pk=webhook.pk)
    if not present.update(status=Status.REMOVED, old_secret_until=None, **empty):
        return False
    deliveries.give_up_waiting(webhook, why=lazy("The webhook was removed."))
    return True


@transactions.atomic
def test_webhook(webhook: WebhookEndpoint, *, actor: Actor) -> WebhookDelivery:
    """Send a test, to one that is switched off too. It is tried once.

    Raises:
        WebhookTestWaits: one is under way, or there were many within the hour.
    """
    roles.require(actor, "support.send_webhooks", webhook.tenant)
    tests = WebhookDelivery.objects.filter(endpoint=webhook, event=None)
    lately = tests.filter(created_at__gt=clock.now() - timedelta(hours=1)).count()
    if tests.filter(status=WebhookDelivery.Status.PENDING).exists() or lately >= TESTS:
        raise WebhookTestWaits(limit=TESTS, retry_after=60)
    delivery = WebhookDelivery.objects.create(tenant=webhook.tenant, endpoint=webhook)
    _record("support.webhook.tested", webhook, actor)
    return delivery


@transactions.atomic
def replay_delivery(delivery: WebhookDelivery, *, actor: Actor) -> None:
    """Send a delivery again, by the same id. One that still waits is tried at once.

    Raises:
        WebhookNotOn: its webhook is switched off.
    """
    webhook = delivery.endpoint
    roles.require(actor, "support.send_webhooks", webhook.tenant)
    if delivery.event_id is None:
        raise InvalidInput(errors={"delivery": [_("A test is not sent again. Send a new one.")]})
    _send_again(webhook, WebhookDelivery.objects.filter(pk=delivery.pk), actor)


@transactions.atomic
def replay_failed(webhook: WebhookEndpoint, *, since: datetime, actor: Actor) -> int:
    """Send again all that was given up, of events since then.

    Returns:
        how many deliveries that are.

    Raises:
        WebhookNotOn: it is switched off.
    """
    roles.require(actor, "support.send_webhooks", webhook.tenant)
    dead = WebhookDelivery.objects.filter(
        endpoint=webhook, status=WebhookDelivery.Status.DEAD, created_at__gte=since
    ).exclude(event=None)
    return _send_again(webhook, dead, actor)


def _send_again(webhook: WebhookEndpoint, found: QuerySet[WebhookDelivery], actor: Actor) -> int:
    if not WebhookEndpoint.objects.on().filter(pk=webhook.pk).update(next_at=None):
        raise WebhookNotOn
    now = clock.now()
    count = found.update(status=WebhookDelivery.Status.PENDING, attempts=0, due_at=now, queued_at=now)
    _record("support.webhook.replayed", webhook, actor, count=count)
    return count


def _target(address: str) -> outbound.Target:
    try:
        return outbound.target_of(address)
    except AddressRefused as error:
        raise InvalidInput(errors={"address": [str(error)]}) from None


def _kinds(given: Collection[str]) -> list[str]:
    chosen = sorted(set(given))
    if not chosen or set(chosen) - event_kinds.KINDS.keys():
        raise InvalidInput(errors={"kinds": [_("Choose from %(names)s.", names=", ".join(event_kinds.KINDS))]})
    return chosen


def _record(name: str, webhook: WebhookEndpoint, actor: Actor, **data: Any) -> None:
    facts = {"origin": webhook.origin, "description": webhook.description}
    audit.record(name, tenant=webhook.tenant, actor=actor, target=webhook, **facts, **data)


def _update(webhook: WebhookEndpoint, **facts: Any) -> None:
    if not WebhookEndpoint.objects.present().filter(pk=webhook.pk).update(**facts):
        raise NotFound  # it was removed meanwhile
    for name, value in facts.items():
        setattr(webhook, name, value)


def _ways(tenant: Tenant) -> Iterator[key_services.Way]:
    for one in WebhookEndpoint.objects.filter(tenant=tenant).present().order_by("pk"):
        label = str(one.get_status_display())
        yield key_services.Way(str(one.pk), one.description, one.origin, one.created_at, one.status, label, one.made_by)


# What an owner looks at after a restore.
key_services.WAYS["webhooks"] = _ways
