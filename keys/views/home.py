"""The home page of an organisation: its key at a glance."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from byokportal import clock, words
from byokportal.translation import lazy, ngettext
from byokportal.translation import translate as _
from keys import services
from keys.forms import ReasonForm
from keys.overview import costs
from keys.overview.outages import Outage, Whose
from keys.views import plots
from tenants import access, portal

TOLD = {Whose.OURS: lazy("It was us"), Whose.UNCLEAR: lazy("We could not tell"), Whose.PERSON: lazy("Suspended")}
SHOWN = 8  # outages that the list names


@dataclass(frozen=True, slots=True)
class Event:
    """One outage in words."""

    outage: Outage
    lasted: str
    headline: str
    sentence: str
    ending: str


@login_required
@require_GET
def home(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Show what the key does, what it did, what it costs and what comes next."""
    member = access.member_for(request, tenant)
    found = services.overview(member.tenant)
    if found is None:
        return render(request, "portal/overview.html", portal.page(member, overview=None))
    use = [(one, plots.bars(one.days, found.use_days), _average(one)) for one in found.use]
    context = portal.page(
        member,
        overview=found,
        events=[_event(one) for one in found.outages[:SHOWN]],
        disturbed=sum(day.whose is not None for day in found.health),
        health_bars=plots.health(found.health),
        middle=found.health[len(found.health) // 2].on,
        use=use,
        table=[(day, [one.days[at] for one in found.use]) for at, day in enumerate(found.use_days)][::-1],
        costs=costs,
        reason_form=ReasonForm(),
    )
    return render(request, "portal/overview.html", context)


def _average(use: services.ServiceUse) -> int:
    return round(use.keys / len(use.days))


def _event(outage: Outage) -> Event:
    role = outage.reason.startswith("role_") or outage.reason == "insecure_trust"
    told = TOLD.get(outage.whose)
    headline = _(told) if told else _("Your role said no") if role else _("Your key said no")
    match outage.whose:
        case Whose.PERSON:
            sentence = (
                _("By %(person)s: %(reason)s.", person=words.person(outage.by), reason=outage.reason)
                if outage.by
                else f"{outage.reason}."
            )
        case Whose.OURS:
            sentence = _("Something on Kore.ai’s side kept us from your key. You had nothing to change.")
        case Whose.UNCLEAR:
            why = words.label(outage.reason) if outage.reason else _("No answer")
            sentence = _("%(why)s. Copies in use carried on until they ran out.", why=why)
        case _:
            sentence = _("%(label)s. Nothing opened until AWS let us in again.", label=words.label(outage.reason))
    if outage.ended_at is None:
        ending = _("It goes on.")
    elif outage.resumed_by:
        ending = _("Resumed by %(person)s.", person=words.person(outage.resumed_by))
    elif outage.whose == Whose.OURS:
        ending = _("Corrected by Kore.ai.")
    elif outage.whose == Whose.THEIRS:
        ending = _("Corrected in your AWS account; your CloudTrail says by whom.")
    else:
        ending = _("Ended by itself.")
    return Event(outage, _lasted(outage.seconds(clock.now())), headline, sentence, ending)


def _lasted(seconds: float) -> str:
    if seconds < 90:
        return ngettext("%(number)s second", "%(number)s seconds", round(seconds))
    if seconds < 2 * 3600:
        return ngettext("%(number)s minute", "%(number)s minutes", round(seconds / 60))
    if seconds < timedelta(days=2).total_seconds():
        return ngettext("%(number)s hour", "%(number)s hours", round(seconds / 3600))
    return ngettext("%(number)s day", "%(number)s days", round(seconds / 86_400))
