"""Operations of an incident as we handle it: who has taken it, what organisations are told, and a test of the page."""

from __future__ import annotations

from datetime import timedelta

from byokportal import clock
from byokportal.errors import InvalidInput
from keys.errors import IncidentOver
from keys.models import Incident
from support.errors import NobodyOnCall, NobodyToTell, WebhookTestWaits
from support.models import AffectedTenant, IncidentResponse, Notice, OnCallMessage
from support.oncall import paging
from support.services.texts import bounded_text
from tenants import audit, roles, transactions
from tenants import services as tenant_services
from tenants.audit import Actor

TEXT_LENGTH = 4_000  # characters
AT_ONCE = 2_000  # organisations that are told in one go; pressed again, it tells the rest
TESTS = 10  # of the page, an hour
Mails = IncidentResponse.Mails


@transactions.atomic
def take_incident(incident: Incident, *, reason: str, actor: Actor) -> None:
    """Say that one sees to an incident; whoever is on call is told that somebody does. The first one counts.

    Raises:
        IncidentOver: it is closed.
    """
    roles.require(actor, "support.take_incident")
    reason = tenant_services.reason_of(reason)
    response = _response_to(incident)
    mine = IncidentResponse.objects.filter(pk=response.pk, taken_at=None)
    if not mine.update(taken_at=clock.now(), taken_by=actor.label[:200]):
        return
    paging.write(incident, OnCallMessage.Action.ACKNOWLEDGE)
    _record("support.incident.taken", incident, actor, reason=reason)


@transactions.atomic
def decide_held_mails(incident: Incident, *, choice: str, reason: str, actor: Actor) -> int:
    """Let the mails go that an incident holds back, or drop them; those that come later go the same way.

    Returns:
        how many were held.

    Raises:
        IncidentOver: it is closed, and what was held is decided.
        InvalidInput: another choice.
    """
    roles.require(actor, "support.decide_held_mails")
    reason = tenant_services.reason_of(reason)
    if choice not in {Mails.RELEASED, Mails.DROPPED}:
        raise InvalidInput(errors={"choice": ["Choose whether they are sent or dropped."]})
    response = _response_to(incident)
    IncidentResponse.objects.filter(pk=response.pk).update(mails=choice)
    held, now = Notice.objects.held().filter(held_for=incident), clock.now()
    if choice == Mails.RELEASED:
        count = held.update(due_at=now)
        _record("support.incident.mails_released", incident, actor, count=count, reason=reason)
    else:
        count = held.update(dropped_at=now)
        _record("support.incident.mails_dropped", incident, actor, count=count, reason=reason)
    return count


def tell_affected(incident: Incident, *, text: str, text_back: str, actor: Actor) -> int:
    """Write to each organisation that an incident concerns and that was not told yet; each one once.

    It stands in the log of each of them; the mails are written from there. A row at a time: what was done is done when
    this breaks off, and pressed again it goes on with the rest.

    Args:
        text: for those whose key we cannot use at this moment.
        text_back: for those for whom it is over.

    Returns:
        how many were told.

    Raises:
        InvalidInput: words that do not fit.
        NobodyToTell: all of them have been told, or nobody is affected.
    """
    roles.require(actor, "support.tell_affected")
    text = bounded_text(text, field="text", limit=TEXT_LENGTH, lines=True)
    text_back = bounded_text(text_back, field="text_back", limit=TEXT_LENGTH, lines=True)
    waiting = AffectedTenant.objects.filter(incident=incident, told_at=None).select_related("tenant")
    told = sum(_tell(one, text, text_back, actor) for one in list(waiting.order_by("pk")[:AT_ONCE]))
    if not told:
        raise NobodyToTell
    return told


def _tell(affected: AffectedTenant, text: str, text_back: str, actor: Actor) -> bool:
    @transactions.atomic
    def tell(tenant: object) -> bool:
        if not AffectedTenant.objects.filter(pk=affected.pk, told_at=None).update(told_at=clock.now()):
            return False
        # Read under the tenant's lock: it may have come back since this began.
        is_back = AffectedTenant.objects.filter(pk=affected.pk, back_at__isnull=False).exists()
        said = text_back if is_back else text
        audit.record(
            "support.incident.told", tenant=affected.tenant, actor=actor, target=affected.incident_id, text=said
        )
        return True

    return tell(affected.tenant)


@transactions.atomic
def test_on_call(*, actor: Actor) -> list[OnCallMessage]:
    """Send a test to whoever is on call, by each way that the settings name. Each is tried once.

    Raises:
        NobodyOnCall: the settings name nobody.
        WebhookTestWaits: there were many within the hour.
    """
    roles.require(actor, "support.test_on_call")
    if not paging.channels():
        raise NobodyOnCall
    lately = OnCallMessage.objects.filter(
        incident=None, action=OnCallMessage.Action.TRIGGER, created_at__gt=clock.now() - timedelta(hours=1)
    )
    if lately.count() >= TESTS * len(paging.channels()):
        raise WebhookTestWaits(limit=TESTS, retry_after=60)
    rows = paging.write_test()
    audit.record("support.on_call.tested", tenant=None, actor=actor, channels=" and ".join(paging.channels()))
    return rows


def _response_to(incident: Incident) -> IncidentResponse:
    if not Incident.objects.filter(pk=incident.pk, closed_at=None).exists():
        raise IncidentOver
    response, _ = IncidentResponse.objects.get_or_create(incident=incident)
    return response


def _record(name: str, incident: Incident, actor: Actor, **data: object) -> None:
    arn = incident.service_role.arn
    audit.record(name, tenant=None, actor=actor, target=incident, service_role_arn=arn, **data)
