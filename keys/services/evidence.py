"""What an auditor of a tenant needs in one document: keys, tests with what they refused, drills, outages, who did what,
uses, and how to check the log. Read from rows; nothing is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Count, Sum
from django.utils import translation

from byokportal import clock
from byokportal.errors import InvalidInput, NotFound
from byokportal.translation import translate as _
from keys.models import CheckResult, EncryptionTest, KeyRegistration, KeyUseHour, RegistrationMove, RevocationDrill
from keys.overview import outages
from tenants import audit, log_archive, log_proofs, persons, roles
from tenants.audit import Actor
from tenants.models import AuditEvent, Tenant

LONGEST = 400  # days of a period
USUAL = 90  # days of the period that nobody chose
REGISTRATIONS, TESTS, DRILLS, MOVES, COUNTED, SERVICES = 100, 100, 100, 2_000, 500, 200
# The checks that ask for what AWS has to refuse: the role without our External ID or with another one, another context.
NEGATIVE = frozenset(
    {
        "external_id.required",
        "external_id.exact",
        "role.refuses_others",
        "use.context_is_bound",
        "hygiene.key_policy",
    }
)
Finished = EncryptionTest.Status.FINISHED


def period(since: str, until: str) -> tuple[date, date]:
    """Return the days that two texts name, both included; empty: the last ninety days, until today.

    Raises:
        InvalidInput: one is no day, they stand in the wrong order, or lie more than `LONGEST` days apart.
    """
    today = clock.now().astimezone(UTC).date()
    last = _day(until, "to") if until else today
    first = _day(since, "from") if since else last - timedelta(days=USUAL - 1)
    if first > last:
        raise InvalidInput(errors={"from": [_("The first day comes before the last.")]})
    if (last - first).days >= LONGEST:
        raise InvalidInput(errors={"from": [_("A period has at most %(days)s days.", days=LONGEST)]})
    return first, last


def _day(text: str, field: str) -> date:
    try:
        found = date.fromisoformat(text) if len(text) == 10 else None
    except ValueError:
        found = None
    if found is None or not 2000 <= found.year <= 2999:
        raise InvalidInput(errors={field: [_("This is no day, like 2026-01-31.")]})
    return found


def evidence(tenant: Tenant, *, since: date, until: date, actor: Actor) -> dict[str, Any]:
    """Return the evidence of a period, in English whatever the reader's language: its digest is of these words.

    Args:
        since, until: days in UTC, both included.
    """
    roles.require(actor, "tenants.read", tenant)
    begins, ends = _midnight(since), _midnight(until + timedelta(days=1))
    archived = log_archive.until(tenant)  # what is from before is in files, and is not counted
    with translation.override(settings.LANGUAGE_CODE):
        found = {
            "what": "Evidence about the encryption of one organisation's data under its own key",
            "version": 1,
            "made_at": _written(clock.now()),
            "made_by": settings.BASE_URL,
            "organisation": {"id": str(tenant.pk), "name": tenant.name},
            "our_side": {
                "service_role_arn": tenant.service_role.arn,
                "aws_account_id": tenant.service_role.account_id,
                "revocation_latency_seconds": tenant.revocation_latency,
            },
            "period": {"since": since.isoformat(), "until": until.isoformat(), "timezone": "UTC"},
            "registrations": _registrations(tenant),
            "tests": _tests(tenant, begins, ends),
            "drills": _drills(tenant, begins, ends),
            "outages": _outages(tenant, begins, ends),
            "who_did_what": _lines_by_whom(tenant, begins, ends, archived),
            "uses": _uses(tenant, begins, ends),
            "log": _log(tenant, archived),
        }
    return {**found, "sha256": digest(found)}


def digest(evidence: dict[str, Any]) -> str:
    """Return the SHA-256, hex, of the canonical JSON of evidence without its own digest."""
    body = {name: value for name, value in evidence.items() if name != "sha256"}
    return hashlib.sha256(audit.canonical(body).encode()).hexdigest()


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _written(at: datetime | None) -> str | None:
    return at.astimezone(UTC).isoformat(timespec="seconds") if at else None


def _part(rows: Iterable[dict[str, Any]], most: int, *, is_whole: bool = True) -> dict[str, Any]:
    """Return rows with whether they are all; the caller asks for one more than `most`.

    Args:
        is_whole: nothing is missing of what the rows are made from.
    """
    items = list(rows)
    return {"items": items[:most], "is_complete": is_whole and len(items) <= most}


def _registrations(tenant: Tenant) -> dict[str, Any]:
    rows = list(KeyRegistration.objects.of(tenant).order_by("-created_at")[: REGISTRATIONS + 1])
    moves: dict[object, list[dict[str, Any]]] = {}
    newest = list(RegistrationMove.objects.filter(tenant=tenant).order_by("-id")[: MOVES + 1])
    for move in reversed(newest[:MOVES]):
        moves.setdefault(move.registration_id, []).append(
            {
                "at": _written(move.at),
                "from": move.old_status,
                "to": move.new_status,
                "by": move.actor,
                "reason": move.reason,
            }
        )
    return _part(
        (
            {
                "id": str(row.pk),
                "key_arn": row.key_arn,
                "role_arn": row.role_arn,
                "status": row.status,
                "suspended_by": row.suspended_by or None,
                "reason": row.reason,
                "since": _written(row.moved_at),
                "activated_at": _written(row.activated_at),
                "moves": moves.get(row.pk, []),
            }
            for row in rows
        ),
        REGISTRATIONS,
        is_whole=len(newest) <= MOVES,
    )


def _tests(tenant: Tenant, begins: datetime, ends: datetime) -> dict[str, Any]:
    finished = EncryptionTest.objects.of(tenant).filter(status=Finished, finished_at__gte=begins, finished_at__lt=ends)
    rows = list(finished.order_by("-finished_at").prefetch_related("checks")[: TESTS + 1])
    return _part(map(_test, rows), TESTS)


def _test(test: EncryptionTest) -> dict[str, Any]:
    checks = [
        {
            "code": check.code,
            "asks": check.title,
            "verdict": check.verdict,
            "is_refusal": _is_refusal(check),
            "at": _written(check.at),
            "aws_code": check.evidence.get("aws_code", ""),
            "aws_request_id": check.evidence.get("request_id", ""),
            "warning": check.evidence.get("warning", ""),
            "note": check.evidence.get("note", ""),
        }
        for check in test.checks.all()
    ]
    return {
        "id": str(test.pk),
        "registration": str(test.registration_id),
        "asked_for_by": test.requested_by,
        "began_at": _written(test.started_at or test.created_at),
        "finished_at": _written(test.finished_at),
        "verdict": test.verdict,
        "passed": sum(check["verdict"] == "pass" for check in checks),
        "checks": checks,
    }


def _is_refusal(check: CheckResult) -> bool:
    """Tell whether AWS refused here whom or what it has to refuse.

    A check that passes may have shown none: it warns of an answer that it got, or notes that our own side refused.
    """
    facts = check.evidence
    is_passed = check.code in NEGATIVE and check.verdict == EncryptionTest.Verdict.PASS
    return is_passed and bool(facts.get("aws_code")) and not facts.get("note")


def _drills(tenant: Tenant, begins: datetime, ends: datetime) -> dict[str, Any]:
    rows = RevocationDrill.objects.of(tenant).filter(started_at__gte=begins, started_at__lt=ends)
    return _part(
        (
            {
                "id": str(drill.pk),
                "registration": str(drill.registration_id),
                "began_by": drill.started_by,
                "began_at": _written(drill.started_at),
                "status": drill.status,
                "aws_refused_at": _written(drill.refused_at),
                "last_process_stopped_at": _written(drill.stopped_at),
                "stopped_after_seconds": _seconds(drill.stopped_after),
                "has_to_stop_within_seconds": drill.bound_seconds,
                "served_again_at": _written(drill.served_at),
                "finished_at": _written(drill.finished_at),
            }
            for drill in rows.order_by("-started_at")[: DRILLS + 1]
        ),
        DRILLS,
    )


def _seconds(value: float | None) -> str | None:
    """Return seconds as text: one number has one spelling in what is hashed."""
    return None if value is None else f"{value:.1f}"


def _outages(tenant: Tenant, begins: datetime, ends: datetime) -> dict[str, Any]:
    moves = list(RegistrationMove.objects.filter(tenant=tenant, at__lt=ends).order_by("-id")[: MOVES + 1])
    found = outages.of(reversed(moves[:MOVES]), since=begins)
    return _part(
        (
            {
                "began_at": _written(one.began_at),
                "ended_at": _written(one.ended_at),
                "whose": str(one.whose),
                "reason": one.reason,
                "by": one.by,
                "resumed_by": one.resumed_by,
            }
            for one in found
            if one.ended_at is None or one.ended_at >= begins
        ),
        MOVES,
        is_whole=len(moves) <= MOVES or moves[MOVES].at < begins,
    )


def _lines_by_whom(tenant: Tenant, begins: datetime, ends: datetime, archived: datetime | None) -> dict[str, Any]:
    """Who did what how often; the log itself has each line."""
    lines = AuditEvent.objects.of(tenant).filter(at__gte=begins, at__lt=ends).order_by()
    counted = list(lines.values("actor", "name").annotate(count=Count("pk")).order_by("actor", "name")[: COUNTED + 1])
    names = persons.of(row["actor"] for row in counted)
    rows: Iterator[dict[str, Any]] = (
        {"by": persons.shown(row["actor"], names, tenant.pk), "what": row["name"], "times": row["count"]}
        for row in counted
    )
    is_whole = archived is None or begins >= archived
    return _part(sorted(rows, key=lambda row: (row["by"], row["what"])), COUNTED, is_whole=is_whole)


def _uses(tenant: Tenant, begins: datetime, ends: datetime) -> dict[str, Any]:
    hours = KeyUseHour.objects.filter(tenant=tenant, hour__gte=begins, hour__lt=ends).order_by()
    counted = hours.values("service", "operation").annotate(r=Sum("requests"), k=Sum("keys"))
    rows: Iterator[dict[str, Any]] = (
        {"service": row["service"], "operation": row["operation"], "requests": row["r"], "data_keys": row["k"]}
        for row in counted.order_by("service", "operation")[: SERVICES + 1]
    )
    return _part(rows, SERVICES)


def _log(tenant: Tenant, archived: datetime | None) -> dict[str, Any]:
    """The newest signed head that holds this log, and how one checks an export by it."""
    try:
        head, entry = log_proofs.entry_in(tenant)
    except NotFound:
        return {"head": None, "how_to_check": "No head has been signed yet; the first one comes within an hour."}
    return {
        "head": {
            "number": head.number,
            "at": _written(head.at),
            "first_line": entry.first,
            "lines": entry.size,
            "root": entry.root,
        },
        "how_to_check": (
            "Download the log as JSON Lines and this head, get the public key as your contract says, and run "
            "verify_log.py with the three; it names each line that is not as it was signed."
        ),
        "archived_until": _written(archived),
    }
