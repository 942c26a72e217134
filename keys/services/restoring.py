"""A database that was restored from a backup follows the log again: what people stopped, removed or shut out since then
is stopped, removed and shut out once more, and what is lost is named."""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from byokportal import clock
from byokportal.errors import DomainError, InvalidInput
from keys import holds
from keys.closing import receipts
from keys.datakeys import admission
from keys.models import DatabaseAdmission, KeyUse, RestoreHold
from keys.services import closing, following
from keys.services.following import Restored
from keys.services.log_lines import SAYS, LogLine, line_of
from keys.services.told import Known
from tenants import audit, log_trees, persons, roles
from tenants.audit import Actor
from tenants.models import AuditEvent, Tenant
from tenants.services import reason_of

# How the database came back: restored from a backup; by WAL to its last commit; not at all, it is the admitted one.
RESTORED, LAST_COMMIT, ADMITTED = "restored", "last-commit", "admitted"
STATES = (RESTORED, LAST_COMMIT, ADMITTED)
BATCH = 2_000  # lines whose people are looked up together
SOON = timedelta(seconds=1)  # a secret is made within this before the line that says so


def restore_check(
    lines: Iterable[LogLine], *, reason: str, actor: Actor, state: str = "", until: datetime | None = None
) -> Restored:
    """Let the database follow the log once more; run it before the database is admitted. Safe to repeat.

    Args:
        lines: of exports that are newer than the backup. They can only stop, remove and shut out.
        state: one of `STATES`; "": restored, where the database is another one than was admitted.
        until: the last instant at which the lost database may have taken anything. Whose log is known up to it, as
            signed heads prove (`keys.services.told`), is not asked; None: nobody's is.

    Raises:
        InvalidInput: `until` cannot be; a published head is newer than the database, or not to be seen where it is
            published; or the database cannot have come back as `state` says.
    """
    roles.require(actor, "keys.restore_check")
    state = _state(state)
    _require_possible(until, state)
    log_trees.require_heads()
    if log_trees.is_behind():
        # Whatever is written before that takes the ids of lines which then cannot be put back.
        raise InvalidInput(errors={"export": ["A newer head was published than is here. Run reopen_logs first."]})
    reason = f"restored from a backup, the log says so: {reason_of(reason)}"
    here = list(_here())
    known = {line.facts for line in here}
    given: dict[tuple[object, ...], LogLine] = {}
    log = Known.now()
    for line in lines:
        log.note(line)
        if line.name in SAYS and line.facts not in known:
            given[line.facts] = line
    last: dict[tuple[str, str, str], LogLine] = {}
    newest: dict[tuple[str, str], LogLine] = {}  # of each log about each service account's secret
    # Nothing proves what only a file says, so it can stop and shut out, and not say that a stop was ended.
    stops = (line for line in given.values() if SAYS[line.name][1])
    for line in sorted([*here, *stops], key=lambda one: (one.at, one.id)):
        if line.about[0] == "account secret":
            place = line.tenant, line.target
            before, newest[place] = newest.get(place), line
            line = replace(line, after=before.at if before else line.at - SOON)
        last[line.about] = line
    done = Restored(known_until=log.until.isoformat() if log.until else "")
    closed = _close_again(last.values(), done, reason, actor)
    for line in last.values():
        if SAYS[line.name][1] and line.tenant not in closed:
            following.follow(line, done, reason, actor)
    told = log.told(until) - {one["tenant"] for one in done.left}
    everybody = Tenant.objects.filter(is_canary=False, closed_at=None).order_by("pk").values_list("pk", flat=True)
    done.unchecked = [str(pk) for pk in everybody if str(pk) not in told]
    _release(told, until, done, reason, actor)
    if state == RESTORED:
        _hold(done, reason, actor)
    facts = {"state": state, "held": len(done.held), "until": until.isoformat() if until else ""}
    audit.record("keys.database.checked", tenant=None, actor=actor, **facts, reason=reason)
    return done


def _close_again(lines: Iterable[LogLine], done: Restored, reason: str, actor: Actor) -> set[str]:
    """Close the organisations again that were closed since the backup, before anything else is followed: of these
    nothing else matters. A published receipt says so, or a line that a signed head proves; destroying is for good, so a
    line that only a file has does not.

    Returns:
        the ids of all that are closed now.
    """
    published, refused = receipts.published()
    for name, doubt in refused.items():
        done.left.append({"tenant": str(doubt.tenant or ""), "line": name, "what": "receipt", "why": doubt.why})
    proved = {line.tenant for line in lines if line.name == "tenants.tenant.closed" and line.is_here}
    for pk in sorted({str(pk) for pk in published} | proved):
        tenant = Tenant.objects.filter(pk=uuid.UUID(pk)).select_related("service_role").first()
        if tenant is not None and tenant.closed_at is None:
            try:
                closing.close_again(tenant, reason=reason, actor=actor)
                done.closed.append(pk)
            except DomainError as error:
                done.left.append({"tenant": pk, "line": "", "what": "closing", "why": str(error)[:300]})
    return {str(pk) for pk in Tenant.objects.exclude(closed_at=None).values_list("pk", flat=True)}


def _state(given: str) -> str:
    """Return how the database came back. Who it is tells a dump from the admitted one; nothing tells a copy of its
    files from it, or the last commit from an earlier one: a person says so."""
    last, now = DatabaseAdmission.objects.first(), admission.incarnation()
    was = last.incarnation if last else ""
    if given not in {"", *STATES}:
        raise InvalidInput(errors={"state": [f"Choose one of {', '.join(STATES)}."]})
    if not given and was == now:
        raise InvalidInput(
            errors={
                "state": [
                    "It is the database that was admitted. Say --state restored where it came back from a copy of its "
                    "files, and --state admitted where it did not: nobody is put on hold then."
                ]
            }
        )
    if given == ADMITTED and was != now:
        raise InvalidInput(errors={"state": ["It is another database than the one that was admitted."]})
    if given == LAST_COMMIT and not admission.is_same_cluster(was, now):
        raise InvalidInput(errors={"state": ["It did not come back by WAL: its tables are new ones."]})
    return given or RESTORED


def _hold(done: Restored, reason: str, actor: Actor) -> None:
    """Put on hold of whom not everything is known up to the loss, once for each time that the database came back."""
    last = DatabaseAdmission.objects.filter(is_by_person=True).first()
    since = RestoreHold.objects.filter(held_at__gt=last.admitted_at) if last else RestoreHold.objects.all()
    # What was confirmed of the database before this one is not confirmed of this one.
    had = {str(pk) for pk in since.exclude(status=RestoreHold.Status.CONFIRMED).values_list("tenant_id", flat=True)}
    wanted = set(done.unchecked) - had
    for tenant in Tenant.objects.order_by("pk").iterator():
        if str(tenant.pk) in wanted:
            following.hold(tenant, done, reason, actor)


def _require_possible(until: datetime | None, state: str) -> None:
    """Refuse a moment of the loss that the database itself is younger than: it is a slip, and would ask too few."""
    if until is None:
        return
    why = "Say it with its offset, as 2026-11-29T14:05:00+00:00." if until.tzinfo is None else ""
    if not why and until > clock.now():
        why = "It is ahead."
    last = KeyUse.objects.order_by("-pk").values_list("at", flat=True).first() if state == RESTORED else None
    if not why and last is not None and until < last:
        why = f"The backup knows a use of a key from {last.isoformat()}, so the database was lost later."
    if not why and state == RESTORED and not _is_of_this_loss(until, clock.now()):
        why = "A person has admitted the database since."
    if why:
        raise InvalidInput(errors={"until": [why]})


def _is_of_this_loss(until: datetime | None, came_back: datetime) -> bool:
    """Tell whether a moment is that of the loss before the database came back: it had been admitted before that."""
    before = DatabaseAdmission.objects.filter(is_by_person=True, admitted_at__lt=came_back).first()
    return until is not None and (before is None or until > before.admitted_at)


def _release(told: set[str], until: datetime | None, done: Restored, reason: str, actor: Actor) -> None:
    """End the holds of those whose log is known after all: what it says has just been followed."""
    for hold in RestoreHold.objects.open().select_related("tenant"):
        if str(hold.tenant_id) not in told or not _is_of_this_loss(until, hold.held_at):
            continue
        holds.end(hold, RestoreHold.End.LOG, by=actor.label, reason=reason, actor=actor)
        done.released.append(str(hold.tenant_id))


def _here() -> Iterable[LogLine]:
    rows = AuditEvent.objects.filter(name__in=SAYS).order_by("pk").iterator(chunk_size=BATCH)
    while events := list(itertools.islice(rows, BATCH)):
        names = persons.of(text for event in events for text in (event.actor, event.payload))
        for event in events:
            payload = persons.shown(json.loads(event.payload), names, event.tenant_id)
            yield line_of(event.pk, payload, is_here=True)
