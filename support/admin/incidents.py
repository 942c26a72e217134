"""Incidents in the back office: who is affected, who is back, the page to on-call, held mails, what people are told."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from byokportal import clock, words
from keys import services as key_services
from keys.models import Incident
from support import services
from support.admin.base import Answer, Operation, ReadOnlyAdmin
from support.forms import ClosingForm, ReasonForm
from support.models import AffectedTenant, IncidentResponse, Notice, OnCallMessage, Ticket
from support.oncall import paging
from tenants import roles
from tenants.audit import Actor

SHOWN = 200  # organisations of each list, and mails
TEXT = (
    "Hello,\n\n"
    "since {since} we cannot use the key that you gave us. It is a fault on our own side: nothing that you set up "
    "is wrong, and you need not change anything.\n\n"
    "New data keys are not given out for your organisation at the moment. What your services hold goes on working "
    "until it runs out, within the revocation latency that you chose; then data waits. Nothing is lost.\n\n"
    "We are working on it. You get one more mail from us when your key answers again.\n"
)
TEXT_BACK = (
    "Hello,\n\n"
    "from {since} on we could not use the key that you gave us, for a while. It was a fault on our own side: nothing "
    "that you had set up was wrong, and you need not change anything because of it.\n\n"
    "For your organisation it is over. Meanwhile new data keys were not given out for it. What your services held went "
    "on working until it ran out, within the revocation latency that you chose; then data waited. Nothing is lost.\n\n"
    "The log of your organisation has the times of your key.\n"
)


class MailsForm(ReasonForm):
    """What becomes of the mails that are held."""

    choice = forms.ChoiceField(
        label="The mails that are held, and those that come",
        choices=[("released", "are sent"), ("dropped", "are not sent")],
    )
    field_order = ("choice", "reason")


class TellForm(forms.Form):
    """What affected organisations are told."""

    text = forms.CharField(
        label="To those that are not back",
        max_length=services.INCIDENT_TEXT_LENGTH,
        widget=forms.Textarea(attrs={"rows": 14}),
        help_text="Read it once more, and change what is not so. It stands in the log of each organisation.",
    )
    text_back = forms.CharField(
        label="To those for which it is over",
        max_length=services.INCIDENT_TEXT_LENGTH,
        widget=forms.Textarea(attrs={"rows": 14}),
        help_text="Their key answers again, or AWS or a button has suspended it meanwhile. Read this too.",
    )


def _close(incident: Incident, data: dict[str, Any], actor: Actor) -> Answer:
    key_services.close_incident(incident, reason=data["reason"], actor=actor)
    return "The incident is closed. The keys that were held are asked again now; those that AWS refuses are suspended."


def _probe(incident: Incident, data: dict[str, Any], actor: Actor) -> Answer:
    count = key_services.probe_incident(incident, reason=data["reason"], actor=actor)
    if not count:
        return "Every key that is held was asked a moment ago. Look again in a few seconds."
    return f"{count} keys are asked from now on, some of them each second. This page shows who is back."


def _take(incident: Incident, data: dict[str, Any], actor: Actor) -> Answer:
    services.take_incident(incident, reason=data["reason"], actor=actor)
    return "Whoever is on call is told that somebody sees to it."


def _decide(incident: Incident, data: dict[str, Any], actor: Actor) -> Answer:
    count = services.decide_held_mails(incident, choice=data["choice"], reason=data["reason"], actor=actor)
    return f"{count} mails were held; they {'go out now' if data['choice'] == 'released' else 'are not sent'}."


def _tell(incident: Incident, data: dict[str, Any], actor: Actor) -> Answer:
    count = services.tell_affected(incident, text=data["text"], text_back=data["text_back"], actor=actor)
    return f"{count} organisations are told, each once. Whoever is affected later can be told with the same button."


def _text(incident: Incident) -> dict[str, Any]:
    since = words.minute(incident.opened_at, now=clock.now())
    return {"text": TEXT.format(since=since), "text_back": TEXT_BACK.format(since=since)}


def _test(nothing: None, data: dict[str, Any], actor: Actor) -> Answer:
    rows = services.test_on_call(actor=actor)
    ways = len({one.channel for one in rows})
    return f"{ways} tests are under way. The list of messages to on-call shows what came of them."


def _ticket(response: IncidentResponse | None) -> Ticket | None:
    if response is None or response.ticket_id is None:
        return None
    return Ticket.objects.filter(pk=response.ticket_id).first()


def _is_open(incident: Incident) -> bool:
    return incident.closed_at is None


def _is_free(incident: Incident) -> bool:
    return _is_open(incident) and not IncidentResponse.objects.filter(incident=incident).exclude(taken_at=None).exists()


def _has_untold(incident: Incident) -> bool:
    return AffectedTenant.objects.filter(incident=incident, told_at=None).exists()


@admin.register(Incident)
class IncidentAdmin(ReadOnlyAdmin):
    """What is our own doing: docs/runbook.md says what one does."""

    list_display = ("service_role", "why", "refused", "opened_at", "seen_at", "closed_at")
    list_filter = (("closed_at", admin.EmptyFieldListFilter),)
    list_select_related = ("service_role",)
    list_operations = (
        Operation(
            "test-on-call",
            "Send a test to whoever is on call",
            "By each way that the settings name, once. It says that it is a test; PagerDuty's is closed again at once.",
            "support.test_on_call",
            _test,
            form=forms.Form,
        ),
    )
    operations = (
        Operation(
            "take",
            "Take it: I see to it",
            "Whoever is on call is told that somebody sees to it, and nobody else has to get up.",
            "support.take_incident",
            _take,
            is_offered=_is_free,
        ),
        Operation(
            "probe",
            "Ask AWS about all of these now",
            "Every key that the incident holds is asked again, some each second, so that AWS is not flooded. One that "
            "answers is in service again at once. Press it when you have mended something.",
            "keys.probe_incident",
            _probe,
            is_offered=_is_open,
        ),
        Operation(
            "tell",
            "Tell the organisations affected",
            "A text that is ready goes by mail to the people of each organisation that is or was affected and was "
            "not told yet: one for those that are not back, another one for those for which it is over. Change them as "
            "you need them. Each organisation is told once.",
            "support.tell_affected",
            _tell,
            form=TellForm,
            initial=_text,
            is_offered=_has_untold,
        ),
        Operation(
            "mails",
            "Decide about the mails held back",
            "Mails that say “we cannot ask your key” wait until the incident is over: then whoever is back gets one "
            "mail instead of two. You can let them go now, or drop them; those that come later go the same way.",
            "support.decide_held_mails",
            _decide,
            form=MailsForm,
            is_offered=_is_open,
        ),
        Operation(
            "close",
            "Close the incident: it is the tenants' doing",
            "From now on what AWS refuses counts as the doing of each of these tenants: their keys are asked again at "
            "once, those that AWS refuses are suspended, and their owners get a mail. Close it only when you know "
            "that nothing on our side is broken. It ends by itself when AWS lets them in again. "
            "If the canary is refused, or AWS names a policy of ours, the next incident opens at once.",
            "keys.close_incident",
            _close,
            form=ClosingForm,
            is_offered=_is_open,
            is_destructive=True,
        ),
    )

    def object_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        if not self.has_view_permission(request) or request.method not in {"GET", "HEAD"}:
            raise PermissionDenied
        if not object_id.isascii() or not object_id.isdecimal() or len(object_id) > 18:
            raise Http404
        incident = self._object(request, object_id)
        assert isinstance(incident, Incident)
        context = {**self.admin_site.each_context(request), **self._context(request, incident)}
        return TemplateResponse(request, "admin/incident.html", context)

    def _context(self, request: HttpRequest, incident: Incident) -> dict[str, Any]:
        now = clock.now()
        affected = AffectedTenant.objects.filter(incident=incident).select_related("tenant")
        counts = {
            "left": affected.filter(back_at=None).count(),
            "back": affected.exclude(back_at=None).count(),
            "told": affected.exclude(told_at=None).count(),
        }
        response = IncidentResponse.objects.filter(incident=incident).first()
        mails = Notice.objects.filter(held_for=incident).select_related("tenant")
        messages = OnCallMessage.objects.filter(incident=incident)
        offered = [
            (one, self._operation_url(one, incident) if roles.staff_may(request.user, one.row) else "")
            for one in self.operations
            if one.is_offered(incident)
        ]
        sees_mails = roles.staff_sees(request.user, "support.notice")
        return {
            "title": f"Incident on {incident.service_role}",
            "now": now,
            "incident": incident,
            "is_open": incident.closed_at is None,
            "response": response,
            "ticket": _ticket(response),
            "counts": counts,
            "total": counts["left"] + counts["back"],
            "left": list(affected.filter(back_at=None).order_by("since", "pk")[:SHOWN]),
            "back": list(affected.exclude(back_at=None).order_by("-back_at", "pk")[:SHOWN]),
            "shown": SHOWN,
            "held": mails.filter(sent_at=None, due_at=None, dropped_at=None).count(),
            "mails": list(mails.order_by("-pk")[:SHOWN]) if sees_mails else [],
            "messages_to_on_call": list(messages.order_by("pk")),
            "is_anybody_on_call": bool(paging.channels()),
            "offered": offered,
        }


@admin.register(OnCallMessage)
class OnCallMessageAdmin(ReadOnlyAdmin):
    """What was sent to whoever is on call, tests among it; without addresses and secrets."""

    list_display = ("last_at", "incident", "channel", "action", "status", "attempts", "answer_status")
    list_filter = ("status", "channel", "action")
    list_select_related = ("incident__service_role",)
    ordering = ("-id",)
    fields = (
        "message_id",
        "incident",
        "channel",
        "action",
        "status",
        "attempts",
        "due_at",
        "last_at",
        "answer_status",
        "why",
        "created_at",
    )

    def named(self, obj: OnCallMessage) -> str:
        return f"{obj.get_action_display()} by {obj.get_channel_display()}, {obj.created_at:%Y-%m-%d %H:%M} UTC"
