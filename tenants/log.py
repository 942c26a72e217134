"""The log as people read it: what kinds of lines there are, which lines somebody asks for, a page of them, a file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from django.conf import settings
from django.db.models import Q
from django.utils import translation

from byokportal import clock, exports, keyset, words
from byokportal.keyset import Fits, Page
from byokportal.translation import lazy
from tenants import audit, audit_events, log_archive, persons
from tenants.models import AuditEvent, Tenant

# What people call a kind, and how the names of its events begin; the longest beginning decides.
KINDS = {
    "key": (lazy("The key"), ("keys.", "keys.registration.activated", "keys.registration.kept")),
    "tests": (lazy("Tests and drills"), ("keys.test.", "keys.drill.")),
    "setup": (
        lazy("Setup"),
        (
            "tenants.tenant.",
            "tenants.step.",
            "keys.documents.",
            "keys.link.",
            "keys.arns.",
            "keys.registration.",
            "keys.configuration.",
        ),
    ),
    "people": (lazy("People and sign-in"), ("tenants.",)),
    "tokens": (lazy("Tokens and services"), ("tenants.token.", "tenants.service_account.", "tenants.client.")),
    "tickets": (lazy("Tickets"), ("support.",)),
    "seal": (
        lazy("Seal and uses"),
        ("keys.uses.", "keys.log.", "keys.log_head.", "tenants.head_recipient.", "tenants.log_stream."),
    ),
    "kore": (lazy("Kore.ai looked"), ("tenants.tenant.viewed",)),
}
KORE = "kore"  # of `who`: everybody at Kore.ai
WORDS = 8  # words that a text may have
COLUMNS = ("id", "at", "kind", "what", "who", "actor", "request_id", "name", "data")


def kind_of(name: str) -> str:
    """Return the kind of an event by its name; "" of one that no app of ours records."""
    found = [(len(one), kind) for kind, (_, begins) in KINDS.items() for one in begins if name.startswith(one)]
    return max(found)[1] if found else ""


def names_of(kind: str) -> list[str]:
    """Return the names of the events of a kind."""
    return [name for name in audit_events.EVENTS if kind_of(name) == kind]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which lines somebody asks for; what is empty asks for nothing.

    Attributes:
        kind: of `KINDS`.
        who: an actor as the line has it (`member:a@b.example`, `system`), a mail address, or `KORE`.
        since, until: the period; its end is not in it.
        text: words that all have to be in what is read of the line: sentence, person, data, request id.
        request_id: of the request in which the line was written.
    """

    kind: str = ""
    who: str = ""
    since: datetime | None = None
    until: datetime | None = None
    text: str = ""
    request_id: str = ""

    @property
    def is_everything(self) -> bool:
        return self == Wanted()


def page(tenant: Tenant, wanted: Wanted, cursor: str) -> Page:
    """Return a page of the lines that are wanted, newest first.

    Raises:
        InvalidInput: the cursor is none of ours.
    """
    rows, fits = _found_by(tenant, wanted)
    return keyset.page(rows, cursor, fits=fits)


def newest(tenant: Tenant, wanted: Wanted) -> AuditEvent | None:
    """Return the newest line that is wanted but for its time, as far as one page finds it."""
    items = page(tenant, replace(wanted, since=None, until=None), "").items
    return items[0] if items else None


def file(tenant: Tenant, wanted: Wanted) -> exports.Source:
    """Return what a file of the lines that are wanted is made of, up to now."""
    rows, fits = _found_by(tenant, replace(wanted, until=wanted.until or clock.now()))
    begins = partial(log_archive.beginning, tenant) if wanted.is_everything else tuple
    shapes = {"jsonl": exported, "csv": _cells}
    archived_until = partial(log_archive.until, tenant)
    return exports.Source(rows, fits, COLUMNS, shapes, f"log-{tenant.pk}", begins, archived_until)


def facts_of(event: AuditEvent) -> dict[str, Any]:
    """Return a line as the API shows it."""
    return {
        "id": event.pk,
        "name": event.name,
        "kind": kind_of(event.name),
        "sentence": audit.sentence(event),
        "actor": audit.actor_of(event),
        "at": event.at.isoformat(),
        "request_id": event.request_id,
        "data": audit.data_of(event),
    }


@translation.override("en")
def exported(events: Sequence[AuditEvent]) -> list[dict[str, Any]]:
    """Return lines as a file in JSON has them; files are English, whoever asks for them."""
    return [
        {**facts_of(event), "payload": event.payload, "persons": persons.proofs_of(event), **_seal_of(event)}
        for event in events
    ]


def _seal_of(event: AuditEvent) -> dict[str, Any]:
    """Return what a verifier needs of a line: its number, the salt of its fields and its leaf (docs/seal.md)."""
    return {"number": event.seal_number, "salt": event.seal_salt or "", "seal": event.seal}


@translation.override("en")
def _cells(events: Sequence[AuditEvent]) -> list[dict[str, Any]]:
    return [
        {
            "id": event.pk,
            "at": event.at.isoformat(),
            "kind": KINDS.get(kind_of(event.name), ("",))[0],
            "what": audit.sentence(event),
            "who": words.person(audit.actor_of(event)),
            "actor": audit.actor_of(event),
            "request_id": event.request_id,
            "name": event.name,
            "data": json.dumps(audit.data_of(event)),
        }
        for event in events
    ]


def _found_by(tenant: Tenant, wanted: Wanted) -> tuple[list[Any], Fits | None]:
    """Return what one index finds, the most selective one, and what the lines have to be besides."""
    mine = AuditEvent.objects.of(tenant)
    if wanted.since is not None:
        mine = mine.filter(at__gte=wanted.since)
    if wanted.until is not None:
        mine = mine.filter(at__lt=wanted.until)
    actors = [] if wanted.who == KORE else _labels(wanted.who, tenant)
    if wanted.request_id:
        asked, left = [Q(request_id=wanted.request_id)], replace(wanted, request_id="")
    elif actors:
        asked, left = [Q(actor=actor) for actor in actors], replace(wanted, who="")
    elif wanted.kind:
        asked, left = [Q(name=name) for name in names_of(wanted.kind)], replace(wanted, kind="")
    else:
        asked, left = [Q()], wanted
    return [mine.filter(one) for one in asked], _fits(left, tenant)


def _fits(left: Wanted, tenant: Tenant) -> Fits | None:
    needles = left.text.casefold().split()[:WORDS]
    actors, reader = set(_labels(left.who, tenant)), translation.get_language() or settings.LANGUAGE_CODE
    if not (left.kind or left.who or needles):
        return None

    def fits(event: AuditEvent) -> bool:
        if left.kind and kind_of(event.name) != left.kind:
            return False
        if left.who and not (event.actor.startswith("kore:") if left.who == KORE else event.actor in actors):
            return False
        if not needles:
            return True
        with translation.override(reader):  # the lines of a file are looked at when the request is over
            text = "\n".join(_read_of(event)).casefold()
        return all(needle in text for needle in needles)

    return fits


def _labels(who: str, tenant: Tenant) -> list[str]:
    """Return the actors that somebody means: one, or a person in each of the ways in which a person may act."""
    kind, colon, name = who.partition(":")
    if colon and kind in persons.KINDS:
        return persons.labels_of([kind], name, tenant)
    if who and not colon and ("@" in who or words.ERASED.search(who)):
        return persons.labels_of(persons.KINDS, who, tenant)
    return [who] if who else []


def _read_of(event: AuditEvent) -> Iterator[str]:
    actor = audit.actor_of(event)
    yield from (audit.sentence(event), actor, words.person(actor), event.request_id, event.name)
    yield from (str(value) for value in audit.data_of(event).values())
