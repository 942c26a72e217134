"""Probe many registrations at once: claim a chunk, ask AWS in threads, write what is as it was in one statement.

A task for each tenant costs milliseconds before anything is asked, and a statement for each row more than the
asking. So a worker takes thousands of rows, and only what changes goes through `judging` one by one.
"""

from __future__ import annotations

import json
import time
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
from keys.health import asking, blame, judging, questions, timing
from keys.health.asking import Answer, Question
from keys.models import KeyRegistration, KeyRegistrationQuerySet, pause_after

log = structlog.get_logger(__name__)
Status = KeyRegistration.Status

CHUNK = 2_000  # registrations of one sweep
# calls under way at once: 1,000 tenants a second wait for three of 30 ms each;
# one that hangs takes a thread for seconds
THREADS = 96
BUDGET = 20.0  # seconds in which new questions are asked; the last of them may hang for half a minute more
WELL = (Status.ACTIVE, Status.RETIRING)
MOVED = (Status.ACTIVE, Status.UNREACHABLE)  # what a refusal would suspend


def probe(registration_id: uuid.UUID | str) -> None:
    """Probe one registration now, if its probe is due and no living worker holds it."""
    _sweep(KeyRegistration.objects.filter(pk=registration_id), 1)


def sweep(limit: int = CHUNK) -> int:
    """Probe what is due, those that wait longest first; safe to run anywhere, by several workers at once.

    Returns:
        how many were asked.
    """
    return _sweep(KeyRegistration.objects.all(), limit)


def _sweep(rows: KeyRegistrationQuerySet, limit: int) -> int:
    claim, claimed = _claim(rows, limit)
    if not claimed:
        return 0
    asked: list[tuple[KeyRegistration, Answer]] = []
    not_asked: list[uuid.UUID] = []
    for registration, (was_asked, answer) in zip(claimed, _ask(questions.of(claimed, with_trust=True)), strict=True):
        if answer is not None:
            asked.append((registration, answer))
        elif not was_asked:
            not_asked.append(registration.pk)
        else:
            _put_off(registration, claim)
    KeyRegistration.objects.filter(pk__in=not_asked, probe_claimed_at=claim).update(probe_claimed_at=None)
    changed = [(r, a) for r, a in asked if not _is_as_it_was(r, a)]
    well = [(r, a) for r, a in asked if _is_as_it_was(r, a)]
    try:
        changed += _write(well, claim)
    except DatabaseError as error:  # one row that the database does not take must not cost all the others their probe
        log.error("probes_not_written_together", why=database.why(error))
        changed += well
    _judge(changed, asked, claim)
    return len(asked)


def _put_off(registration: KeyRegistration, claim: datetime) -> None:
    """Give a registration back whose probe ended in an error that nobody expects:
    it comes later each time, and support sees the count."""
    next_at = clock.now() + pause_after(registration.probe_failures)
    KeyRegistration.objects.filter(pk=registration.pk, probe_claimed_at=claim).update(
        probe_claimed_at=None, next_probe_at=next_at, probe_failures=F("probe_failures") + 1
    )


@contextmanager
def _each(registrations: Iterable[KeyRegistration], claim: datetime) -> Iterator[None]:
    """Let an error that nobody expects cost these registrations their probe and the others nothing."""
    try:
        yield
    except Exception as error:
        if database.is_unusable(error):
            log.error("probe_not_written", why=database.why(error))  # the claim ends by itself
            return
        for registration in registrations:
            log.exception("probe_broke", registration=str(registration.pk))
            _put_off(registration, claim)


def _claim(rows: KeyRegistrationQuerySet, limit: int) -> tuple[datetime, list[KeyRegistration]]:
    now = clock.now()
    with transaction.atomic():
        due = rows.due_for_probe(now).order_by("next_probe_at")
        if connection.features.has_select_for_update_skip_locked:  # SQLite has one writer at a time anyway
            due = due.select_for_update(no_key=True, skip_locked=True)
        ids = list(due.values_list("pk", flat=True)[:limit])
        KeyRegistration.objects.filter(pk__in=ids).update(probe_claimed_at=now)
    return now, list(KeyRegistration.objects.filter(pk__in=ids).select_related("tenant__service_role"))


def _ask(asked: Sequence[Question]) -> list[tuple[bool, Answer | None]]:
    """Return for each question in its order whether it was asked (there may be no time), and the answer.

    None to one that was asked is a bug of ours: it is put off.
    """
    until = time.monotonic() + BUDGET
    answers: list[tuple[bool, Answer | None]] = [(False, None)] * len(asked)
    waiting = deque(enumerate(asked))

    def ask_on() -> None:
        while time.monotonic() < until:
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


def _is_as_it_was(registration: KeyRegistration, answer: Answer) -> bool:
    """Tell whether a good answer changes nothing but times and a counter."""
    return (
        answer.error is None
        and answer.is_narrow is not False
        and registration.status in WELL
        and registration.denied_probes == 0
        and registration.refused_since is None
        and registration.insecure_since is None
        and registration.key_facts == judging.facts_of(answer)
    )


# One statement for the chunk, compare-and-set on claim and status;
# who asked for a probe meanwhile gets another one soon; `bulk_update` would write a CASE for each row and column.
UPDATE = """
{first}
UPDATE keys_keyregistration AS r
SET probe_claimed_at = NULL, probe_failures = 0, good_probes = r.good_probes + 1, last_probe_at = asked.at,
    next_probe_at = CASE WHEN r.is_probe_awaited AND r.probe_asked_at > r.probe_claimed_at THEN %s ELSE asked.next_at END,
    is_probe_awaited = (r.is_probe_awaited AND r.probe_asked_at > r.probe_claimed_at),
    trust_looked_at = COALESCE(asked.looked_at, r.trust_looked_at)
FROM {asked}
WHERE r.id = asked.id AND r.probe_claimed_at = %s AND r.status IN ('active', 'retiring')
{last}
"""
# A row that an operation of its tenant holds at this moment is left out: the others of the chunk do not wait for it.
POSTGRESQL = UPDATE.format(
    first="WITH free AS (SELECT id FROM keys_keyregistration WHERE id = ANY(%s) FOR NO KEY UPDATE SKIP LOCKED)",
    asked=(
        "unnest(%s::uuid[], %s::timestamptz[], %s::timestamptz[], %s::timestamptz[]) AS asked(id, at, next_at, "
        "looked_at) JOIN free USING (id)"
    ),
    last="RETURNING r.id",
)
SQLITE = UPDATE.format(
    first="",
    last="",
    asked=(
        "(SELECT value ->> 0 AS id, value ->> 1 AS at, value ->> 2 AS next_at, "
        "value ->> 3 AS looked_at FROM json_each(%s)) AS asked"
    ),
)


def _write(well: Sequence[tuple[KeyRegistration, Answer]], claim: datetime) -> list[tuple[KeyRegistration, Answer]]:
    """Note good probes: compare-and-set on the claim and the status, in one statement.

    Returns:
        Those that were not written, because somebody holds the row, or moved it: they are looked at one by one.
    """
    if not well:
        return []
    ids = [registration.pk for registration, _ in well]
    ats = [answer.at for _, answer in well]
    nexts = [judging.next_at(judging.pause_when_well(registration)) for registration, _ in well]
    looks = [answer.at if answer.is_narrow else None for _, answer in well]
    soon = clock.now() + timing.APART
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(POSTGRESQL, [ids, soon, ids, ats, nexts, looks, claim])
            written = {row[0] for row in cursor.fetchall()}
            return [(registration, answer) for registration, answer in well if registration.pk not in written]
        stored = connection.ops.adapt_datetimefield_value
        rows = [
            [pk.hex, stored(at), stored(next_at), stored(look)]
            for pk, at, next_at, look in zip(ids, ats, nexts, looks, strict=True)
        ]
        cursor.execute(SQLITE, [stored(soon), json.dumps(rows), stored(claim)])
    return []


# --- what changes -----------------------------------------------------------------------------------------------------


def _judge(
    changed: Sequence[tuple[KeyRegistration, Answer]],
    asked: Sequence[tuple[KeyRegistration, Answer]],
    claim: datetime,
) -> None:
    """Settle first whose doing the refusals are, then move one registration after the other."""
    verdicts = _whose_doing(asked, claim)
    for registration, answer in changed:
        if is_refused(registration, answer) and registration.pk not in verdicts:
            continue  # nobody could tell whose doing it is: put off
        with _each([registration], claim):
            judging.judge(registration, answer, claim=claim, ours=verdicts.get(registration.pk))
    for service_role in {r.tenant.service_role for r, answer in changed if answer.error is not None}:
        with _each([], claim):
            blame.note_if_many(service_role)


def is_refused(registration: KeyRegistration, answer: Answer) -> bool:
    """Tell whether the answer is a refusal that may move the registration."""
    return answer.error is not None and answer.error.kind is Kind.KEY_REFUSED and registration.status in MOVED


def _whose_doing(
    asked: Sequence[tuple[KeyRegistration, Answer]], claim: datetime
) -> dict[uuid.UUID, DomainError | None]:
    """Ask once for each policy of ours and kind of refusal;
    return what it means for each refused registration, where that could be told."""
    refused = [(r, a.error) for r, a in asked if a.error is not None and is_refused(r, a)]
    if not refused:
        return {}
    service_roles = {registration.tenant.service_role for registration, _ in refused}
    policy_of, looked = blame.policies(service_roles), blame.looked_at(service_roles)

    def named_by(registration: KeyRegistration) -> tuple[int, int | None]:
        return registration.tenant.service_role_id, policy_of.get(registration.role_arn)

    let_in = {named_by(registration) for registration, answer in asked if answer.error is None}
    groups: dict[tuple[object, ...], list[tuple[KeyRegistration, DomainError]]] = defaultdict(list)
    for registration, error in refused:
        groups[*named_by(registration), type(error), blame.is_settled(registration, looked)].append(
            (registration, error)
        )
    verdicts: dict[uuid.UUID, DomainError | None] = {}
    for group in groups.values():
        first, error = group[0]
        with _each([r for r, _ in group], claim):
            ours = blame.of(
                first.tenant.service_role,
                error,
                refused=[r for r, _ in group],
                is_anybody_let_in=named_by(first) in let_in,
            )
            verdicts |= {registration.pk: ours for registration, _ in group}
    blamed = [r for r, error in refused if isinstance(error, RoleNotAssumable) and verdicts.get(r.pk, error) is None]
    with _each(blamed, claim):
        return verdicts | blame.shut_out(blamed)
    return {pk: verdict for pk, verdict in verdicts.items() if pk not in {r.pk for r in blamed}}
