"""Which database may give out keys: the one that was admitted, and no earlier state of it.

A database that was restored from a backup, or a replica that was promoted, may not know of a stop that customers
were told of. So each process compares, whenever it looks what has changed, who the database is with who was admitted
and with what it saw itself:

- its incarnation. On PostgreSQL that is the cluster's system identifier, its timeline (which grows with each promotion
  and each recovery to a point in time), and the identifiers of the database and of one table (which change when they
  are restored from a dump). On SQLite it is a random number in the head of the file. The row `DatabaseAdmission` says
  which one a person admitted: a restored copy carries the row of the one before.
- its highest generation. Generations only grow, so a lower one than was seen is an earlier state of the same database.

Where one of them is not as it has to be, the process drops all that it holds and gives nothing out until somebody
has looked at the database and said so (`manage.py admit_database`). A fresh database, with no branch key in
it, admits itself.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from django.db import connection, transaction

from byokportal import visibility
from keys.models import BranchKey, DatabaseAdmission

log = structlog.get_logger(__name__)

INCARNATION = {
    # The timeline of the control file lags behind a promotion until the next checkpoint;
    # the name of the WAL file does not.
    "postgresql": """(SELECT system_identifier::text FROM pg_control_system())
        || '/' || CASE WHEN pg_is_in_recovery() THEN 'standby' ELSE left(pg_walfile_name(pg_current_wal_lsn()), 8) END
        || '/' || (SELECT oid::text FROM pg_database WHERE datname = current_database())
        || '/' || 'tenants_tenant'::regclass::oid::text""",
    "sqlite": "(SELECT 'sqlite/' || application_id FROM pragma_application_id)",
}
CLOCK = {
    "postgresql": "extract(epoch FROM clock_timestamp())::float8",
    "sqlite": "(julianday('now') - 2440587.5) * 86400.0",
}
QUESTION = """SELECT {clock}, {incarnation}, {snapshot}, coalesce((SELECT max(key_generation) FROM tenants_tenant), 0),
    a.id, a.incarnation, a.is_by_person
    FROM (SELECT 1) AS one LEFT JOIN
    (SELECT id, incarnation, is_by_person FROM keys_databaseadmission
     ORDER BY admitted_at DESC LIMIT 1) AS a ON 1 = 1"""

ANOTHER = "it is another database than the one that was admitted"
EARLIER = "it is an earlier state of the database: a generation is lower than one that was seen"
NEVER = "no database was admitted"


@dataclass(frozen=True, slots=True)
class Seen:
    """What the database says of itself.

    Args:
        seconds: its clock, since the epoch.
        highest: the highest generation of any tenant.
        admission: of the last one: its id, the incarnation that it admits, and whether a person said so.
        snapshot: the transactions that are seen by whoever asks now or later (`byokportal.visibility`).
    """

    seconds: float
    incarnation: str
    highest: int
    admission: tuple[uuid.UUID, str, bool] | None
    snapshot: str = ""


class Watch:
    """What one process has seen of its database; `why` says why it gives nothing out, "" when it does."""

    def __init__(self) -> None:
        self.why = ""
        self._known, self._highest = "", 0
        self._last: uuid.UUID | None = None  # the admission that was seen last …
        # … and the one that was there when it was refused: another has to come
        self._refused_with: uuid.UUID | None = None

    def judge(self, seen: Seen, *, descends: Callable[[str], bool]) -> bool:
        """Take in what was seen; return whether everything that is held has to go.

        Args:
            descends: tells whether this database says of itself that it once was that incarnation.
        """
        before = self.why
        self.why = self._reason(seen, descends)
        self._last = seen.admission[0] if seen.admission else None
        if self.why:
            if not before:
                self._refused_with = self._last
            return True
        is_another = bool(before) or self._known not in {"", seen.incarnation}
        self._known = seen.incarnation
        self._highest = seen.highest if is_another else max(seen.highest, self._highest)
        return is_another

    def refuse(self, why: str) -> None:
        """Refuse the database for what was found out by reading in it."""
        if not self.why:
            self.why, self._refused_with = why, self._last

    def admits_itself(self, seen: Seen) -> bool:
        """Tell whether this may be a fresh database: there is no admission, and none was ever seen here."""
        return seen.admission is None and not self._known and not self.why

    def _reason(self, seen: Seen, descends: Callable[[str], bool]) -> str:
        if seen.admission is None:
            return NEVER
        admission, incarnation, is_by_person = seen.admission
        if incarnation != seen.incarnation:
            return ANOTHER
        if self.why:
            return "" if is_by_person and admission != self._refused_with else self.why
        if self._known not in {"", seen.incarnation} and not (is_by_person and descends(self._known)):
            return ANOTHER
        return EARLIER if seen.highest < self._highest else ""


def ask() -> Seen:
    """Ask the database who it is, in one query.

    Raises:
        DatabaseError, InterfaceError: it does not say.
    """
    vendor = connection.vendor
    with connection.cursor() as cursor:
        cursor.execute(
            QUESTION.format(clock=CLOCK[vendor], incarnation=INCARNATION[vendor], snapshot=visibility.SNAPSHOT[vendor])
        )
        seconds, incarnation, snapshot, highest, admission, admitted, is_by_person = cursor.fetchone()
    last = (uuid.UUID(str(admission)), str(admitted), bool(is_by_person)) if admission is not None else None
    return Seen(float(seconds), str(incarnation), int(highest), last, visibility.kept(str(snapshot)))


def incarnation() -> str:
    """Return who the database is; a SQLite file that has no number yet gets one."""
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA application_id")
            if cursor.fetchone() == (0,):
                cursor.execute(f"PRAGMA application_id = {secrets.randbelow(2**31 - 1) + 1}")
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {INCARNATION[connection.vendor]}")
        (found,) = cursor.fetchone()
    return str(found)


def is_same_cluster(before: str, now: str) -> bool:
    """Tell whether a database may be the one of before, further along its WAL: all but the timeline is the same."""
    return _without_timeline(before) == _without_timeline(now)


def _without_timeline(incarnation: str) -> list[str]:
    parts = incarnation.split("/")
    return parts if len(parts) < 4 else [*parts[:1], *parts[2:]]


def admit_fresh() -> None:
    """Let a fresh database admit itself; one with a branch key in it needs a person."""
    with transaction.atomic():
        if DatabaseAdmission.objects.exists() or BranchKey.objects.exists():
            return
        made = DatabaseAdmission.objects.create(incarnation=incarnation(), admitted_by="itself, when it was fresh")
    log.info("database_admitted_itself", incarnation=made.incarnation)


def once_was(before: str) -> bool:
    """Tell whether this database was admitted as that incarnation before."""
    return DatabaseAdmission.objects.filter(incarnation=before).exists()
