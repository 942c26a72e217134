"""Months that leave the database: written, declared, detached; what is left is proved, and nothing is lost."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection

from byokportal import exports, keyset, merkle
from byokportal.archive_files import Folder
from byokportal.errors import InvalidInput, MovedToArchive
from byokportal.postgresql import partitions
from keys import key_uses, load_archive, log_heads, services, usage, use_rollups
from keys.models import BranchKeyLoad, KeyRegistration, KeyUse
from keys.services import archiving
from tenants import audit, log, log_archive, log_proofs, log_trees
from tenants.models import ArchivedLeaf, ArchivedMonth, AuditEvent, LogTree, ServiceRole, Tenant

SCRIPT = Path(__file__).parents[2] / "docs" / "examples" / "verify_log.py"
NOVEMBER, DECEMBER = datetime(2031, 11, 30, 23, 0, tzinfo=UTC), datetime(2031, 12, 2, 12, 0, tzinfo=UTC)
LATER = datetime(2033, 1, 15, tzinfo=UTC)  # November is older than 401 days, December is not
MUCH_LATER = datetime(2033, 2, 20, tzinfo=UTC)  # December is older too, and two weeks later January is not
KEY = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ROLE = "arn:aws:iam::111122223333:role/r"
on_postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="partitions of PostgreSQL")


@contextmanager
def at(moment: datetime) -> Iterator[None]:
    with time_machine.travel(moment, tick=False):
        yield


def maintain() -> list[tuple[str, str]]:
    out = io.StringIO()
    call_command("maintain_partitions", stdout=out)
    return [(one["month"], one["done"]) for one in json.loads(out.getvalue())["archive"]]


def lines(tenant: Tenant | None, *names: str) -> None:
    for name in names:
        audit.record("tenants.tenant.created", tenant=tenant, actor=audit.SYSTEM, name=name)


def uses(tenant: Tenant, count: int, load: BranchKeyLoad) -> None:
    facts = {"operation": "generate", "count": 1, "caller": "service:s", "context_digest": "d", "load": load.pk}
    for _ in range(count):
        KeyUse.objects.create(tenant=tenant, **facts)


def unwrapped(tenant: Tenant, request_id: str) -> BranchKeyLoad:
    where = {"region": "eu-central-1", "session_name": f"byok-data-keys-{tenant.pk}"}
    facts = {"branch_key_id": uuid.uuid4(), "process": uuid.uuid4(), **where}
    return BranchKeyLoad.objects.create(tenant=tenant, aws_request_id=request_id, **facts)


def sign() -> None:
    usage.roll_up()
    use_rollups.roll_up()
    AuditEvent.objects.not_followed().update(followed_at=datetime.now(UTC))
    log_trees.seal()
    assert log_heads.publish_due() is not None


@pytest.fixture
def folder(settings: Any, tmp_path: Path) -> Path:
    settings.SEAL_HEADS_DIR, settings.ARCHIVE_DIR = str(tmp_path / "heads"), str(tmp_path / "archive")
    settings.AUDIT_RETENTION_DAYS, settings.SEAL_USES_SECONDS = 401, 0
    (tmp_path / "archive").mkdir()
    return tmp_path / "archive"


@pytest.fixture
def schema(transactional_db: None) -> Iterator[None]:
    """Put back the partitions that there were: a test of months leaves others."""
    before = partitions_now()
    yield
    after = partitions_now()
    with connection.cursor() as cursor:
        for schema, table in set(after) - set(before):
            if ("public", table) not in before:
                cursor.execute(f"DROP TABLE {schema}.{table}")
        for (_, table), (parent, bound) in before.items():
            if ("archived", table) in after:
                cursor.execute(f"ALTER TABLE archived.{table} SET SCHEMA public")
                cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT {table}_at_check")
                cursor.execute(f"ALTER TABLE {parent} ATTACH PARTITION {table} {bound}")
    assert partitions_now() == before


PARTITIONS_NOW = """
    SELECT relnamespace::regnamespace::text, relname, inhparent::regclass::text, pg_get_expr(relpartbound, pg_class.oid)
    FROM pg_class LEFT JOIN pg_inherits ON inhrelid = pg_class.oid
    WHERE relkind = 'r' AND (inhparent IS NOT NULL OR relnamespace::regnamespace::text = 'archived')
"""


def partitions_now() -> dict[tuple[str, str], tuple[str | None, str | None]]:
    if connection.vendor != "postgresql":
        return {}
    with connection.cursor() as cursor:
        cursor.execute(PARTITIONS_NOW)
        return {(schema, table): (parent, bound) for schema, table, parent, bound in cursor.fetchall()}


@pytest.fixture
def acme(schema: None, folder: Path) -> Tenant:
    """An organisation with 300 lines of November, 230 of December, and uses in both, of an unwrap of November; heads
    cover all of it."""
    role = ServiceRole.objects.create(name="r", arn="arn:aws:iam::999900001111:role/r", unique_id="AROA1")
    tenant = Tenant.objects.create(name="Acme", service_role=role)
    with at(NOVEMBER):
        make()
        lines(tenant, *(f"november {number}" for number in range(290)))
        load = unwrapped(tenant, "aws-november")
        uses(tenant, 5, load)
        lines(tenant, *(f"late november {number}" for number in range(10)))
        sign()
    with at(DECEMBER):
        make()
        lines(tenant, *(f"december {number}" for number in range(230)))
        uses(tenant, 3, load)
        unwrapped(tenant, "aws-december")
        sign()
    with at(LATER):
        make()
    return tenant


def make() -> None:
    """Make partitions, and archive nothing."""
    for table in partitions.TABLES:
        partitions.make(table)


def export(tenant: Tenant, to: Path, source: Any = log) -> Path:
    wanted = source.Wanted()
    to.write_text("".join(exports.texts(source.file(tenant, wanted), "", extension="jsonl")))
    return to


def verify(*files: Path, head: Path, uses: tuple[Path, ...] = ()) -> subprocess.CompletedProcess[str]:
    found = json.loads(head.read_text())
    command = [sys.executable, str(SCRIPT), *map(str, files), "--head", str(head), "--public-key", found["public_key"]]
    command += ["--uses", *map(str, uses)] if uses else []
    return subprocess.run(command, capture_output=True, text=True, check=False)


def read_archive(tenant: Tenant, file: str, to: Path, of: str = "log") -> Path:
    out = io.StringIO()
    call_command("read_archive", "--tenant", str(tenant.pk), "--file", file, "--of", of, stdout=out)
    to.write_text(out.getvalue())
    return to


# --- files ----------------------------------------------------------------------------------------------------------


def test_a_file_is_whole_and_never_another_one(tmp_path: Path) -> None:
    folder, rows = Folder(tmp_path), [{"n": number} for number in range(3)]
    written = folder.write("a.jsonl.gz", rows)
    assert written[0] == 3 and list(folder.read("a.jsonl.gz", sha256=written[1])) == rows
    assert folder.write("a.jsonl.gz", rows) == written
    with pytest.raises(InvalidInput, match=""):
        folder.write("a.jsonl.gz", rows[:2])
    assert list(folder.read("a.jsonl.gz")) == rows
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl.gz"]


def test_what_was_done_to_a_file_is_seen(tmp_path: Path) -> None:
    folder, place = Folder(tmp_path), tmp_path / "a.jsonl.gz"
    _, digest = folder.write("a.jsonl.gz", [{"n": 1}, {"n": 2}])
    whole = place.read_bytes()
    for bytes_of in (whole[:-9], b"", b"no gzip", gzip.compress(b'{"n": 1}\n'), gzip.compress(b"[")):
        place.write_bytes(bytes_of)
        for known in (digest, ""):
            with pytest.raises(InvalidInput):
                list(folder.read("a.jsonl.gz", sha256=known))
    place.unlink()
    with pytest.raises(InvalidInput):
        list(folder.read("a.jsonl.gz"))


def test_without_its_directory_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        Folder(tmp_path / "missing").write("a.jsonl.gz", [])
    assert not (tmp_path / "missing").exists()


@pytest.mark.django_db
def test_sqlite_keeps_everything(folder: Path) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("of SQLite")
    assert maintain() == []


# --- months ---------------------------------------------------------------------------------------------------------


@on_postgresql
@pytest.mark.django_db(transaction=True)
def test_a_month_is_declared_then_detached_and_the_rest_is_proved(acme: Tenant, folder: Path, tmp_path: Path) -> None:
    newest = AuditEvent.objects.of(acme).latest("pk")
    with at(LATER):
        # The partition of before has nothing of this organisation; each month takes two runs.
        assert maintain()[0][1] == "declared"
        sign()
    for day in range(1, 9):
        with at(LATER + timedelta(days=day)):
            if "tenants_auditevent_2031_11" in {name for name, done in maintain() if done == "detached"}:
                break
            sign()
    else:
        raise AssertionError("November was not detached")
    assert not AuditEvent.objects.of(acme).filter(at__lt=datetime(2031, 12, 1, tzinfo=UTC)).exists()
    declared = AuditEvent.objects.of(acme).filter(name="keys.log.archived").latest("pk")
    month = ArchivedMonth.objects.get(file="tenants_auditevent-2031-11.jsonl.gz")
    assert audit.data_of(declared)["sha256"] == month.sha256
    tree = LogTree.objects.get(tenant=acme)
    assert ArchivedLeaf.objects.filter(tree=tree).count() < 256

    with at(LATER + timedelta(days=20)):
        lines(acme, "after")
        sign()  # the signing reads what is left, and finds the log to be the continuation of what was signed
        proof = log_proofs.inclusion(acme, newest.pk)
        head = tmp_path / "head.json"
        head.write_text(json.dumps(log_proofs.head(acme)))
    with at(LATER + timedelta(days=21)):
        rest = export(acme, tmp_path / "rest.jsonl")
    assert merkle.verify_inclusion(
        bytes.fromhex(proof["leaf"]),
        proof["index"],
        proof["entry"]["size"],
        [bytes.fromhex(one) for one in proof["proof"]],
        bytes.fromhex(proof["entry"]["root"]),
    )
    alone = verify(rest, head=head)
    assert alone.returncode == 0, alone.stdout
    assert "ARCHIVED: lines 1 to" in alone.stdout
    kept = read_archive(acme, month.file, tmp_path / "november.jsonl")
    together = verify(kept, rest, head=head)
    assert together.returncode == 0 and "ARCHIVED" not in together.stdout, together.stdout


@on_postgresql
@pytest.mark.django_db(transaction=True)
def test_uses_leave_behind_the_lines_that_seal_them(acme: Tenant, folder: Path, tmp_path: Path) -> None:
    with at(LATER):
        was = export(acme, tmp_path / "uses-before.jsonl", key_uses).read_text().splitlines()
    detached: set[str] = set()
    for day in range(14):
        with at(MUCH_LATER + timedelta(days=day)):
            detached |= {name for name, done in maintain() if done == "detached"}
            sign()
    assert {"tenants_auditevent_2031_11", "tenants_auditevent_2031_12", "keys_keyuse_2031_11"} <= detached
    assert "keys_keyuse_2031_12" not in detached
    with at(MUCH_LATER + timedelta(days=20)):
        head = tmp_path / "head.json"
        head.write_text(json.dumps(log_proofs.head(acme)))
        rest, left = export(acme, tmp_path / "rest.jsonl"), export(acme, tmp_path / "uses.jsonl", key_uses)
    found = verify(rest, head=head, uses=(left,))
    assert found.returncode == 0, found.stdout
    files = [
        read_archive(acme, f"tenants_auditevent-2031-{month}.jsonl.gz", tmp_path / month) for month in ("11", "12")
    ]
    gone = read_archive(acme, "keys_keyuse-2031-11.jsonl.gz", tmp_path / "gone", "uses")
    found = verify(*files, rest, head=head, uses=(gone, left))
    assert found.returncode == 0 and "8 uses are sealed, 0 wait" in found.stdout, found.stdout
    assert gone.read_text().splitlines()[:-1] + left.read_text().splitlines()[:-1] == was[:-1]


def cloudtrail(tenant: Tenant, request_id: str) -> bytes:
    session = f"arn:aws:sts::111122223333:assumed-role/r/byok-data-keys-{tenant.pk}"
    record = {
        "eventTime": NOVEMBER.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "eventSource": "kms.amazonaws.com",
        "eventName": "Decrypt",
        "awsRegion": "eu-central-1",
        "requestID": request_id,
        "userIdentity": {"type": "AssumedRole", "arn": session},
        "requestParameters": {"keyId": KEY},
    }
    return json.dumps([record]).encode()


@on_postgresql
@pytest.mark.django_db(transaction=True)
def test_unwraps_leave_behind_the_uses_that_may_name_them(acme: Tenant, folder: Path, tmp_path: Path) -> None:
    load = BranchKeyLoad.objects.get(aws_request_id="aws-november")
    KeyRegistration.objects.create(tenant=acme, key_arn=KEY, role_arn=ROLE)
    export_of_theirs = cloudtrail(acme, "aws-november")
    with at(LATER):
        was = export(acme, tmp_path / "uses-before.jsonl", key_uses).read_text().splitlines()
        assert services.reconcile(acme, [export_of_theirs], actor=audit.COMMAND).counts == {"matched": 1}
    detached: list[str] = []
    for day in [*range(14), *range(40, 55)]:
        with at(MUCH_LATER + timedelta(days=day)):
            detached += [name for name, done in maintain() if done == "detached"]
            sign()
            if day == 13:
                # Uses of December name an unwrap of November.
                assert "keys_keyuse_2031_11" in detached
                assert "keys_branchkeyload_2031_11" not in detached
                assert BranchKeyLoad.objects.filter(pk=load.pk).exists()
    assert detached.index("keys_keyuse_2031_12") < detached.index("keys_branchkeyload_2031_11")
    assert not BranchKeyLoad.objects.filter(pk=load.pk).exists()
    assert ("archived", "keys_branchkeyload_2031_11") in partitions_now()

    month = ArchivedMonth.objects.get(file="keys_branchkeyload-2031-11.jsonl.gz")
    (declared,) = [
        facts
        for facts in map(audit.data_of, AuditEvent.objects.filter(name="keys.loads.archived", tenant=None))
        if facts["file"] == month.file
    ]
    assert (declared["sha256"], declared["unwraps"]) == (month.sha256, 1)
    (kept, end) = read_archive(acme, month.file, tmp_path / "loads", "loads").read_text().splitlines()
    facts = json.loads(kept)
    assert (facts["id"], facts["at"], facts["aws_request_id"]) == (str(load.pk), load.at.isoformat(), "aws-november")
    assert json.loads(end) == {"complete": True, "count": 1}

    with at(MUCH_LATER + timedelta(days=60)):
        # What the uses said of their unwrap, their files say.
        files = [f"keys_keyuse-2031-{number}.jsonl.gz" for number in (11, 12)]
        gone = [read_archive(acme, file, tmp_path / file, "uses").read_text().splitlines()[:-1] for file in files]
        assert [*gone[0], *gone[1]] == was[:-1]
        assert all(json.loads(use)["unwrap"]["aws_request_id"] == "aws-november" for use in was[:-1])
        assert key_uses.page(acme, key_uses.Wanted(aws_request_id="aws-november"), "").items == []
        # What their CloudTrail has of that time is neither explained nor somebody else's.
        found = services.reconcile(acme, [export_of_theirs], actor=audit.COMMAND)
        assert (found.counts, list(found.unknown)) == ({"archived": 1}, [])
        assert found.archived_until is not None and found.archived_until >= month.ends


@pytest.mark.django_db
def test_unwraps_that_were_read_back_are_compared_with_the_table() -> None:
    role = ServiceRole.objects.create(name="r", arn="arn:aws:iam::999900001111:role/r", unique_id="AROA1")
    tenant = Tenant.objects.create(name="Acme", service_role=role)
    begins, ends = datetime(2031, 11, 1, tzinfo=UTC), datetime(2031, 12, 1, tzinfo=UTC)
    with at(begins - timedelta(days=1)):
        make()
    for moment, name in ((begins - timedelta(microseconds=1), "a"), (begins, "b"), (NOVEMBER, "c"), (ends, "d")):
        with at(moment):
            unwrapped(tenant, name)
    kept = list(load_archive.lines(begins, ends))
    assert [line["load"]["aws_request_id"] for line in kept] == ["b", "c"]
    assert [line["load"]["aws_request_id"] for line in load_archive.lines(None, ends)] == ["a", "b", "c"]
    load_archive.check(kept, begins, ends)
    changed = {"tenant": kept[1]["tenant"], "load": kept[1]["load"] | {"session_name": "another"}}
    for other in ([], kept[:1], kept[::-1], [*kept, kept[1]], [kept[0], changed], [kept[0], {}]):
        with pytest.raises(InvalidInput):
            load_archive.check(other, begins, ends)


@on_postgresql
@pytest.mark.django_db(transaction=True)
def test_while_a_month_is_being_detached_an_export_is_proved(
    acme: Tenant, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Detaching waits for whoever reads the table, for as long as that takes."""

    class Waits(BaseException):
        pass

    detach = partitions.detach

    def wait(table: str, name: str) -> None:
        if name == "tenants_auditevent_2031_12":
            raise Waits
        detach(table, name)

    monkeypatch.setattr(partitions, "detach", wait)
    with pytest.raises(Waits):
        for day in range(14):
            with at(MUCH_LATER + timedelta(days=day)):
                maintain()
                sign()
    with at(MUCH_LATER + timedelta(days=20)):
        head = tmp_path / "head.json"
        head.write_text(json.dumps(log_proofs.head(acme)))
        found = verify(export(acme, tmp_path / "rest.jsonl"), head=head)
    assert found.returncode == 0, found.stdout


@on_postgresql
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("source", [log, key_uses], ids=["log", "uses"])
def test_an_export_beside_which_a_month_leaves_says_so(
    acme: Tenant, folder: Path, monkeypatch: pytest.MonkeyPatch, source: Any
) -> None:
    """Between two pieces of a file, and between two files."""
    monkeypatch.setattr(exports, "BATCH", 2)
    with at(MUCH_LATER + timedelta(days=20)):
        wanted = source.Wanted()
        under_way = exports.texts(source.file(acme, wanted), "", extension="jsonl")
        begun = [next(under_way), next(under_way)]  # its head, and two rows
        row = json.loads(begun[1].splitlines()[-1])
        written = json.loads(row["payload"])["at"] if source is log else row["at"]
        place = keyset.Position(datetime.fromisoformat(written), row["id"])
    for day in range(14):
        with at(MUCH_LATER + timedelta(days=day)):
            maintain()
            sign()
    with at(MUCH_LATER + timedelta(days=20)):
        last = json.loads("".join(under_way).splitlines()[-1])
        assert (last["complete"], last["code"], "next" in last) == (False, "moved_to_archive", False)
        another = "".join(exports.texts(source.file(acme, wanted), str(place), extension="jsonl"))
        assert json.loads(another) == {"complete": False, "count": 0, "code": "moved_to_archive"}
        with pytest.raises(MovedToArchive):
            exports.answer(source.file(acme, wanted), str(place), extension="csv")
        whole = "".join(exports.texts(source.file(acme, wanted), "", extension="jsonl")).splitlines()
        assert json.loads(whole[-1])["complete"]


@on_postgresql
@pytest.mark.django_db(transaction=True)
def test_an_export_that_begins_while_a_month_leaves_says_so(
    acme: Tenant, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the beginning of a file, which stands for what has left, and its first rows."""
    beginning = log_archive.beginning

    def and_then_it_leaves(tenant: Tenant) -> list[dict[str, Any]]:
        found = beginning(tenant)
        for day in range(14):
            with at(MUCH_LATER + timedelta(days=day)):
                maintain()
                sign()
        return found

    monkeypatch.setattr(log_archive, "beginning", and_then_it_leaves)
    with at(MUCH_LATER + timedelta(days=20)), pytest.raises(MovedToArchive):
        exports.answer(log.file(acme, log.Wanted()), "", extension="jsonl")


@on_postgresql
@pytest.mark.django_db(transaction=True)
def test_a_line_that_was_numbered_after_midnight_stays_provable(schema: None, folder: Path, tmp_path: Path) -> None:
    """A transaction that began before midnight may commit behind one of the next month."""
    role = ServiceRole.objects.create(name="r", arn="arn:aws:iam::999900001111:role/r", unique_id="AROA1")
    tenant = Tenant.objects.create(name="Acme", service_role=role)
    midnight = datetime(2031, 12, 1, tzinfo=UTC)
    with at(NOVEMBER):
        make()
        lines(tenant, "one", "two")
        sign()
    for moment in (midnight + timedelta(seconds=1), midnight - timedelta(seconds=1), midnight + timedelta(seconds=2)):
        with at(moment):
            lines(tenant, f"at {moment}")
            log_trees.seal()
    with at(DECEMBER):
        sign()
    with at(LATER):
        make()
    for day in range(8):
        with at(LATER + timedelta(days=day)):
            maintain()
            sign()
    assert list(AuditEvent.objects.of(tenant).order_by("pk").values_list("seal_number", flat=True))[:2] == [3, 5]
    with at(LATER + timedelta(days=9)):
        head = tmp_path / "head.json"
        head.write_text(json.dumps(log_proofs.head(tenant)))
        rest = export(tenant, tmp_path / "rest.jsonl")
    assert [json.loads(text)["archived"]["first"] for text in rest.read_text().splitlines()[:2]] == [1, 4]
    found = verify(rest, head=head)
    assert found.returncode == 0, found.stdout
    kept = read_archive(tenant, "tenants_auditevent-2031-11.jsonl.gz", tmp_path / "november")
    assert verify(kept, rest, head=head).returncode == 0


@on_postgresql
@pytest.mark.django_db(transaction=True)
def test_what_is_not_proved_does_not_leave(acme: Tenant, folder: Path) -> None:
    with at(LATER):
        (folder / "tenants_auditevent-2031-11.jsonl.gz").write_bytes(b"somebody's own")
        rows = AuditEvent.objects.count()
        for _ in range(3):  # no head is signed meanwhile: the declaration of the first stands in none
            maintain()
        assert AuditEvent.objects.filter(at__lt=DECEMBER).count() >= 300
        assert AuditEvent.objects.count() >= rows
        lines(acme, "not sealed")
        assert log_archive.reasons_to_wait(None, LATER + timedelta(days=1))
    with at(LATER + timedelta(days=1)):
        sign()
        with pytest.raises(CommandError, match="another"):
            for _ in range(3):
                maintain()
                sign()


@on_postgresql
@pytest.mark.django_db(transaction=True)
def test_a_file_that_was_changed_after_its_declaration_keeps_the_month(acme: Tenant, folder: Path) -> None:
    file = folder / "tenants_auditevent-2031-11.jsonl.gz"
    for day in range(8):
        with at(LATER + timedelta(days=day)):
            maintain()
            sign()
        if file.exists():
            break
    file.write_bytes(gzip.compress(b'{"complete": true, "count": 0}\n'))
    with at(LATER + timedelta(days=9)), pytest.raises(CommandError, match="not the file that was written"):
        maintain()
    assert AuditEvent.objects.of(acme).filter(at__lt=datetime(2031, 12, 1, tzinfo=UTC)).count() >= 300


@on_postgresql
@pytest.mark.django_db(transaction=True)
def test_a_detaching_that_was_cancelled_in_the_middle_is_ended(acme: Tenant, folder: Path) -> None:
    """PostgreSQL waits for who reads the table between the two halves of it."""
    for day in range(3):
        with at(LATER + timedelta(days=day)):
            maintain()
            sign()
    reader = connection.copy()
    with reader.cursor() as reading:
        reading.execute("BEGIN")
        reading.execute("SELECT count(*) FROM tenants_auditevent")
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = '2s'")
        with at(LATER + timedelta(days=3)), pytest.raises(OperationalError):
            for _ in range(3):
                maintain()
                sign()
        reading.execute("ROLLBACK")
    reader.close()
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        cursor.execute(partitions.PENDING, ["tenants_auditevent"])
        assert len(cursor.fetchall()) == 1
    with at(LATER + timedelta(days=4)):
        maintain()
    with connection.cursor() as cursor:
        cursor.execute(partitions.PENDING, ["tenants_auditevent"])
        assert cursor.fetchall() == []
    gone = ArchivedMonth.objects.exclude(detached_at=None).latest("ends")
    assert not AuditEvent.objects.filter(at__lt=gone.ends).exists()


@on_postgresql
@pytest.mark.django_db(transaction=True)
def test_what_was_interrupted_is_ended_by_the_next_run(
    acme: Tenant, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: Any, **__: Any) -> None:
        raise Killed

    points = [(archiving, "_write"), (partitions, "detach"), (partitions, "put_away"), (log_archive, "keep_leaves")]
    done: set[str] = set()
    for day in range(24):
        with at(LATER + timedelta(days=day)):
            place, name = points[day % len(points)]
            with monkeypatch.context() as patched:
                patched.setattr(place, name, killed)
                with suppress(Killed):
                    maintain()
            done |= {month for month, what in maintain() if what == "detached"}
            sign()
    assert not AuditEvent.objects.of(acme).filter(at__lt=datetime(2031, 12, 1, tzinfo=UTC)).exists()
    months = ArchivedMonth.objects.filter(table="tenants_auditevent")
    assert not months.filter(detached_at=None, ends__lte=datetime(2031, 12, 1, tzinfo=UTC)).exists()
    declared = [audit.data_of(one)["file"] for one in AuditEvent.objects.of(acme).filter(name="keys.log.archived")]
    assert len(declared) == len(set(declared)) >= 1
    assert ("archived", "tenants_auditevent_2031_11") in partitions_now()
