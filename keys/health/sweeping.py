"""Probe many registrations at once: claim a chunk, ask AWS in threads, write what is as it was in one statement.

A task for each tenant costs milliseconds before anything is asked, and a statement for each row more than the
asking. So a worker takes thousands of rows, and only what changes goes through `judging` one by one.
"""

from __future__ import annotations

import json
import uuid
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime

import structlog
from django.db import DatabaseError, connection, transaction
from django.db.models import F

from byokportal import clock, database
from byokportal.errors import DomainError, Kind
from keys.errors import RoleNotAssumable
from keys.health import asking, blame, judging, pauses, questions, row, timing
from keys.health.asking import Answer, Question
from keys.models import KeyHealth, KeyHealthQuerySet, KeyRegistration, pause_after

log = structlog.get_logger(__name__)
Status = KeyRegistration.Status

CHUNK = 2_000  # registrations of one sweep
# calls under way at once: 1,000 tenants a second wait for three of 30 ms each;
# one that hangs takes a thread for seconds
THREADS = 96
BUDGET = 10.0  # seconds in which new questions are asked; the last of them may hang for 20 s more
WELL = (Status.ACTIVE, Status.RETIRING)
MOVED = (Status.ACTIVE, Status.UNREACHABLE)  # what a refusal would suspend


def probe(registration_id: uuid.UUID | str) -> None:
    """Probe one registration now, if its probe is due and no living worker holds it."""
    _sweep(KeyHealth.objects.filter(registration__pk=registration_id), 1)


def sweep(limit: int = CHUNK) -> int:
    """Probe what is due, those that wait longest first; safe to run anywhere, by several workers at once.

    Returns:
        how many were asked.
    """
    return _sweep(KeyHealth.objects.all(), limit)


def _sweep(rows: KeyHealthQuerySet, limit: int) -> int:
    claim, claimed = _claim(rows, limit)
    if not claimed:
        return 0
    asked: list[tuple[KeyHealth, Answer]] = []
    not_asked: list[int] = []
    for health, (was_asked, answer) in zip(claimed, _ask(questions.of(claimed, with_trust=True)), strict=True):
        if answer is not None:
            asked.append((health, answer))
        elif not was_asked:
            not_asked.append(health.pk)
        else:
            _put_off(health, claim)
    KeyHealth.objects.filter(pk__in=not_asked, probe_claimed_at=claim).update(probe_claimed_at=None)
    changed = [(h, a) for h, a in asked if not _is_as_it_was(h, a)]
    well = [(h, a) for h, a in asked if _is_as_it_was(h, a)]
    try:
        changed += _write(well, claim)
    except DatabaseError as error:  # one row that the database does not take must not cost all the others their probe
        log.error("probes_not_written_together", why=database.why(error))
        changed += well
    _judge(changed, asked, claim)
    return len(asked)


def _put_off(health: KeyHealth, claim: datetime) -> None:
    """Give a row back whose probe ended in an error that nobody expects:
    it comes later each time, and support sees the count."""
    next_at = clock.now() + pause_after(health.probe_failures)
    KeyHealth.objects.filter(pk=health.pk, probe_claimed_at=claim).update(
        probe_claimed_at=None, next_probe_at=next_at, probe_failures=F("probe_failures") + 1
    )


@contextmanager
def _each(rows: Iterable[KeyHealth], claim: datetime) -> Iterator[None]:
    """Let an error that nobody expects cost these rows their probe and the others nothing."""
    try:
        yield
    except Exception as error:
        if database.is_unusable(error):
            log.error("probe_not_written", why=database.why(error))  # the claim ends by itself
            return
        for health in rows:
            log.exception("probe_broke", registration=str(health.registration_id))
            _put_off(health, claim)


def _claim(rows: KeyHealthQuerySet, limit: int) -> tuple[datetime, list[KeyHealth]]:
    now = clock.now()
    with transaction.atomic():
        due = rows.due_for_probe(now).order_by("next_probe_at")
        if connection.features.has_select_for_update_skip_locked:  # SQLite has one writer at a time anyway
            due = due.select_for_update(no_key=True, skip_locked=True, of=("self",))
        ids = [health.pk for health in due.only("pk")[:limit]]
        KeyHealth.objects.filter(pk__in=ids).update(probe_claimed_at=now)
    return now, list(KeyHealth.objects.filter(pk__in=ids).select_related("registration__tenant__service_role"))


def _ask(asked: Sequence[Question]) -> list[tuple[bool, Answer | None]]:
    """Return for each question in its order whether it was asked (there may be no time), and the answer.

    None to one that was asked is a bug of ours: it is put off.
    """
    until = clock.monotonic() + BUDGET
    answers: list[tuple[bool, Answer | None]] = [(False, None)] * len(asked)
    waiting = deque(enumerate(asked))

    def ask_on() -> None:
        while clock.monotonic() < until:
            try:
                number, question = waiting.popleft()
            except IndexError:
                return
            try:
                answers[number] = True, asking.ask(question)
            except Exception:  # it must not cost the others their probe
                log.exception("probe_broke", registration=str(question.registration_id))
                answers[number] = True, None

    if len(asked) == 1:
        ask_on()
        return answers
    # Each thread takes the next question by itself:
    # a future for each would wake this thread thousands of times, between their calls.
    count = min(THREADS, len(asked))
    with ThreadPoolExecutor(count, thread_name_prefix="probe") as pool:
        for _ in range(count):
            pool.submit(ask_on)
    return answers


# --- what is as it was ------------------------------------------------------------------------------------------------


def _is_as_it_was(health: KeyHealth, answer: Answer) -> bool:
    """Tell whether a good answer changes nothing but times and a counter."""
    return (
        answer.error is None
        and answer.is_narrow is not False
        and health.registration.status in WELL
        and health.denied_probes == 0
        and health.refused_since is None
        and health.insecure_since is None
        and health.key_facts == row.facts_of(answer)
    )


# One statement for the chunk, compare-and-set on claim and status;
# who asked for a probe meanwhile gets another one soon; `bulk_update` would write a CASE for each row and column.
UPDATE = """
{first}
UPDATE keys_keyhealth AS h
SET probe_claimed_at = NULL, probe_failures = 0, good_probes = h.good_probes + 1, last_probe_at = asked.at,
    next_probe_at = CASE WHEN h.is_probe_awaited AND h.probe_asked_at > h.probe_claimed_at
                         THEN %s ELSE asked.next_at END,
    is_probe_awaited = (h.is_probe_awaited AND h.probe_asked_at > h.probe_claimed_at),
    trust_looked_at = COALESCE(asked.looked_at, h.trust_looked_at)
FROM {asked}, keys_keyregistration AS r
WHERE h.id = asked.id AND h.probe_claimed_at = %s AND r.id = h.registration_id AND r.status IN ('active', 'retiring')
{last}
"""
# A row that somebody holds at this moment is left out: the others of the chunk do not wait for it.
POSTGRESQL = UPDATE.format(
    first="WITH free AS (SELECT id FROM keys_keyhealth WHERE id = ANY(%s) FOR NO KEY UPDATE SKIP LOCKED)",
    asked=(
        "unnest(%s::bigint[], %s::timestamptz[], %s::timestamptz[], %s::timestamptz[]) "
        "AS asked(id, at, next_at, looked_at) JOIN free USING (id)"
    ),
    last="RETURNING h.id",
)
SQLITE = UPDATE.format(
    first="",
    last="",
    asked=(
        "(SELECT value ->> 0 AS id, value ->> 1 AS at, value ->> 2 AS next_at, value ->> 3 AS looked_at "
        "FROM json_each(%s)) AS asked"
    ),
)


def _write(well: Sequence[tuple[KeyHealth, Answer]], claim: datetime) -> list[tuple[KeyHealth, Answer]]:
    """Note good probes: compare-and-set on the claim and the status, in one statement.

    Returns:
        Those that were not written, because somebody holds the row, or moved it: they are looked at one by one.
    """
    if not well:
        return []
    ids = [health.pk for health, _ in well]
    ats = [answer.at for _, answer in well]
    nexts = [pauses.next_at(pauses.when_well(health)) for health, _ in well]
    looks = [answer.at if answer.is_narrow else None for _, answer in well]
    soon = clock.now() + timing.APART
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(POSTGRESQL, [ids, soon, ids, ats, nexts, looks, claim])
            written = {one[0] for one in cursor.fetchall()}
            return [(health, answer) for health, answer in well if health.pk not in written]
        stored = connection.ops.adapt_datetimefield_value
        rows = [
            [pk, stored(at), stored(next_at), stored(look)]
            for pk, at, next_at, look in zip(ids, ats, nexts, looks, strict=True)
        ]
        cursor.execute(SQLITE, [stored(soon), json.dumps(rows), stored(claim)])
    return []


# --- what changes -----------------------------------------------------------------------------------------------------


def _judge(
    changed: Sequence[tuple[KeyHealth, Answer]],
    asked: Sequence[tuple[KeyHealth, Answer]],
    claim: datetime,
) -> None:
    """Settle first whose doing the refusals are, then move one registration after the other."""
    verdicts = _whose_doing(asked, claim)
    for health, answer in changed:
        if is_refused(health, answer) and health.pk not in verdicts:
            continue  # nobody could tell whose doing it is: put off
        with _each([health], claim):
            judging.judge(health, answer, claim=claim, ours=verdicts.get(health.pk))
    for service_role in {
        health.registration.tenant.service_role for health, answer in changed if answer.error is not None
    }:
        with _each([], claim):
            blame.note_if_many(service_role)


def is_refused(health: KeyHealth, answer: Answer) -> bool:
    """Tell whether the answer is a refusal that may move the registration."""
    return answer.error is not None and answer.error.kind is Kind.KEY_REFUSED and health.registration.status in MOVED


def _whose_doing(asked: Sequence[tuple[KeyHealth, Answer]], claim: datetime) -> dict[int, DomainError | None]:
    """Ask once for each policy of ours and kind of refusal;
    return what it means for each refused registration, where that could be told."""
    refused = [(h, a.error) for h, a in asked if a.error is not None and is_refused(h, a)]
    if not refused:
        return {}
    service_roles = {health.registration.tenant.service_role for health, _ in refused}
    policy_of, looked = blame.policies(service_roles), blame.looked_at(service_roles)

    def named_by(health: KeyHealth) -> tuple[int, int | None]:
        registration = health.registration
        return registration.tenant.service_role_id, policy_of.get(registration.role_arn)

    let_in = {named_by(health) for health, answer in asked if answer.error is None}
    groups: dict[tuple[object, ...], list[tuple[KeyHealth, DomainError]]] = defaultdict(list)
    for health, error in refused:
        groups[*named_by(health), type(error), blame.is_settled(health, looked)].append((health, error))
    verdicts: dict[int, DomainError | None] = {}
    for group in groups.values():
        first, error = group[0]
        with _each([h for h, _ in group], claim):
            ours = blame.of(
                first.registration.tenant.service_role,
                error,
                refused=[h for h, _ in group],
                is_anybody_let_in=named_by(first) in let_in,
            )
            verdicts |= {health.pk: ours for health, _ in group}
    blamed = [h for h, error in refused if isinstance(error, RoleNotAssumable) and verdicts.get(h.pk, error) is None]
    with _each(blamed, claim):
        return verdicts | blame.shut_out(blamed)
    return {pk: verdict for pk, verdict in verdicts.items() if pk not in {health.pk for health in blamed}}
