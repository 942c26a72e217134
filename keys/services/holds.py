"""Operations of holds after a restore: an owner confirms what the database knows, or two leads do without."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from django.db.models import Q, QuerySet

from byokportal import clock
from keys import errors, health, holds, tasks
from keys.models import KeyRegistration, RestoreHold
from keys.services.reviewed import SHOWN, Way, ways_of
from tenants import audit, roles, transactions
from tenants.audit import Actor
from tenants.models import AccessToken, Invitation, Member, ServiceAccount, Tenant
from tenants.services import acting_person, guards, is_second_lead, reason_of

Status, End = RestoreHold.Status, RestoreHold.End
READ = 100_000  # rows of all lists together that count for `digest`


@dataclass(frozen=True, slots=True)
class Review:
    """What the restored database knows of an organisation, and its owner confirms.

    Attributes:
        digest: of all that is listed, also what is more than `SHOWN`: an owner confirms that and nothing else.
    """

    members: list[Member]
    invitations: list[Invitation]
    registrations: list[KeyRegistration]
    tokens: list[AccessToken]
    service_accounts: list[ServiceAccount]
    ways: dict[str, list[Way]]
    digest: str


def hold_of(tenant: Tenant) -> RestoreHold | None:
    """Return the open hold of an organisation; None: it is served."""
    return RestoreHold.objects.of(tenant).open().first()


def review_of(tenant: Tenant) -> Review:
    """Return what an owner confirms: who is in, who is invited, what is suspended, which tokens and services work, and
    what else reaches in or out (`keys.services.reviewed`)."""
    members = Member.objects.of(tenant).order_by("pk")
    invitations = Invitation.objects.of(tenant).pending().order_by("pk")
    registrations = KeyRegistration.objects.of(tenant).not_retired().order_by("pk")
    tokens = AccessToken.objects.of(tenant).valid(clock.now()).order_by("pk")
    mine = Q(tenants=tenant) | Q(has_all_tenants=True)
    accounts = ServiceAccount.objects.filter(mine, disabled_at=None).distinct().order_by("pk")
    ways = ways_of(tenant, at_most=READ)
    read = chain(
        _rows(members, "pk", "user__email", "role"),
        _rows(invitations, "pk", "email", "role"),
        _rows(registrations, "pk", "status", "suspended_by"),
        _rows(tokens, "pk", "name", "permissions"),
        _rows(accounts, "pk", "name", "scopes"),
        ((name, *way.facts) for name, listed in ways.items() for way in listed),
    )
    digest = hashlib.sha256()
    for row in islice(read, READ):
        digest.update(json.dumps(row, default=str).encode() + b"\n")
    return Review(
        list(members.select_related("user")[:SHOWN]),
        list(invitations[:SHOWN]),
        list(registrations[:SHOWN]),
        list(tokens.select_related("member__user", "invitation")[:SHOWN]),
        list(accounts[:SHOWN]),
        {name: listed[:SHOWN] for name, listed in ways.items()},
        digest.hexdigest(),
    )


def _rows(found: QuerySet[Any], *names: str) -> Iterator[tuple[Any, ...]]:
    return chain([names], found.values_list(*names).iterator())


@transactions.atomic
def confirm_restore(tenant: Tenant, *, digest: str, actor: Actor) -> RestoreHold:
    """Confirm, as an owner, that what the restored database knows is right; a good probe then ends the hold.

    Args:
        digest: of the `Review` that the person has read.

    Raises:
        HoldOver: there is no hold that waits for an owner.
        ReviewChanged: something of it is not as they read it.
    """
    actor = guards.as_now(actor)
    roles.require(actor, "keys.confirm_restore", tenant)
    hold = RestoreHold.objects.of(tenant).open().select_related("tenant").first()
    if hold is None:
        raise errors.HoldOver
    if review_of(tenant).digest != digest:
        raise errors.ReviewChanged
    holds.move(hold, Status.CONFIRMED, confirmed_by=actor.label[:200], confirmed_at=clock.now())
    audit.record("keys.restore.confirmed", tenant=tenant, actor=actor, target=hold, digest=digest)
    hold.refresh_from_db()
    if holds.is_proven(hold):
        holds.end(hold, End.OWNER, by=hold.confirmed_by, reason=holds.confirmed(hold), actor=actor)
        hold.refresh_from_db()
        return hold
    for registration in KeyRegistration.objects.of(tenant).serving():
        if health.ask_again(registration, is_a_person=True):
            tasks.enqueue(tasks.probe, registration_id=str(registration.pk))
    return hold


@transactions.atomic
def request_release(hold: RestoreHold, *, reason: str, actor: Actor) -> None:
    """Ask another lead to serve an organisation without its owners, whom nobody reaches.

    Raises:
        HoldOver: it has ended.
        ReleaseAsked: another lead was asked already.
    """
    found = _held_for_leads(hold, actor)
    reason = reason_of(reason)
    mine = RestoreHold.objects.open().filter(pk=found.pk, requested_by="")
    person = acting_person(actor, "keys.release_hold")
    if not mine.update(requested_by=actor.label[:200], asked=person, request_reason=reason[:200]):
        raise errors.ReleaseAsked
    audit.record("keys.restore.release_requested", tenant=found.tenant, actor=actor, target=found, reason=reason)


@transactions.atomic
def approve_release(hold: RestoreHold, *, reason: str, actor: Actor) -> None:
    """Serve the organisation, as the second lead; all its owners get a mail with both reasons.

    Raises:
        HoldOver: it has ended, or nobody has asked.
        SecondLeadNeeded: the actor asked for it, or one of the two let the other one in.
    """
    found = _held_for_leads(hold, actor)
    reason = reason_of(reason)
    if not found.requested_by:
        raise errors.HoldOver
    if found.asked is None or not is_second_lead(found.asked, actor, "keys.release_hold"):
        raise errors.SecondLeadNeeded
    decided = f"{found.request_reason} / {reason}"
    by = f"{found.requested_by}, {actor.label}"
    holds.end(found, End.LEADS, by=by, reason=decided, actor=actor)


@transactions.atomic
def refuse_release(hold: RestoreHold, *, reason: str, actor: Actor) -> None:
    """Refuse what a lead asked for; who asked may also take it back in this way.

    Raises:
        HoldOver: it has ended, or nobody has asked.
    """
    found = _held_for_leads(hold, actor)
    reason = reason_of(reason)
    asked = RestoreHold.objects.open().filter(pk=found.pk).exclude(requested_by="")
    if not asked.update(requested_by="", asked=None, request_reason=""):
        raise errors.HoldOver
    audit.record("keys.restore.release_refused", tenant=found.tenant, actor=actor, target=found, reason=reason)


def _held_for_leads(hold: RestoreHold, actor: Actor) -> RestoreHold:
    roles.require(actor, "keys.release_hold")
    found = RestoreHold.objects.select_related("tenant", "asked").get(pk=hold.pk)
    if found.status == Status.ENDED:
        raise errors.HoldOver
    return found
