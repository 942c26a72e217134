"""Drills on PostgreSQL: the database goes back to a `pg_dump`, with copies of branch keys and without, or to the last
commit by WAL; a person follows docs/restore.md, and nothing that was stopped or removed since comes back."""

from __future__ import annotations

import base64
import contextlib
import glob
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import boto3
import pytest
import time_machine
from conftest import acting, acting_staff, invited
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection, connections
from django.test import Client
from django.utils import timezone
from moto.server import ThreadedMotoServer
from wal_server import WalServer, wal_server

from byokportal.errors import DomainError
from keys import branchkeys, datakeys, errors, escrow, head_signing, health, log_heads, services
from keys.models import BranchKey, KeyHealth, KeyRegistration, KeyUse
from tenants import audit, log_trees
from tenants import services as tenant_services
from tenants.models import AuditEvent, Member, ServiceAccount, Tenant

Api = Callable[[Any], Client]
pytestmark = [
    pytest.mark.servers,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="drills on PostgreSQL"),
]


def program(name: str) -> str:
    found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"))
    return found[-1] if found else shutil.which(name) or pytest.skip(f"{name} is not on this machine")


def run(name: str, *arguments: str) -> None:
    facts = connection.settings_dict
    host, port = facts["HOST"] or "127.0.0.1", str(facts["PORT"] or 5432)
    where = ["-h", host, "-p", port, "-U", facts["USER"], "-d", facts["NAME"]]
    environment = {**os.environ, "PGPASSWORD": facts["PASSWORD"] or ""}
    connections.close_all()
    subprocess.run([program(name), *where, *arguments], env=environment, check=True, capture_output=True)


@pytest.fixture
def bucket(settings: Any) -> Iterator[None]:
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    try:
        settings.ESCROW_ENDPOINT_URL = "http://{}:{}".format(*server.get_host_and_port())
        settings.ESCROW_BUCKET, settings.ESCROW_REGION = "byok-drill", "us-east-1"
        settings.ESCROW_ACCESS_KEY_ID, settings.ESCROW_SECRET_ACCESS_KEY = "escrow", "a secret of tests"
        keys = {"aws_access_key_id": "escrow", "aws_secret_access_key": "a secret of tests"}
        s3: Any = boto3.client("s3", endpoint_url=settings.ESCROW_ENDPOINT_URL, region_name="us-east-1", **keys)
        s3.create_bucket(Bucket="byok-drill")
        yield
    finally:
        server.stop()


def command(name: str, **options: Any) -> dict[str, Any]:
    out = StringIO()
    with contextlib.suppress(SystemExit):
        call_command(name, stdout=out, **options)
    return dict(json.loads(out.getvalue()))


def public_key() -> str:
    signer = head_signing.signer()
    assert signer is not None
    return base64.b64encode(signer.public).decode()


def head(*, hours: int) -> None:
    with time_machine.travel(timezone.now() + timedelta(hours=hours), tick=False):
        log_trees.seal()
        assert log_heads.publish_due() is not None


def made(tenant: Tenant) -> Any:
    (key,) = datakeys.generate(tenant, [{"object": "1"}], caller="tests", request_id="r")
    return key


def opened(tenant: Tenant, key: Any) -> bytes | str:
    """Return the plaintext, or the code of what is said in its place."""
    try:
        (one,) = datakeys.open_wrapped(tenant, [(key.wrapped_key, {"object": "1"})], caller="tests", request_id="r")
    except DomainError as error:
        return error.code
    return one.code if isinstance(one, DomainError) else bytes(one.plaintext)


class Drill:
    """Acme Bank before and after the backup: two keys, a stop of each side and the end of one, somebody removed,
    and a secret that was rotated."""

    def __init__(
        self,
        tenant: Tenant,
        alice: Member,
        active: KeyRegistration,
        service: ServiceAccount,
        sam: User,
        api: Client,
        folder: Path,
        *,
        back_up: Callable[[], None] | None = None,
    ) -> None:
        self.tenant, self.alice, self.active, self.folder = tenant, alice, active, folder
        self.service = service
        self.carol = invited(tenant, "carol@acme.example", "admin")
        self.before = made(tenant)
        first = BranchKey.objects.get()
        head(hours=0)
        # It is in the backup, and not sealed yet.
        services.drop_caches(tenant, reason="a moment before the backup", actor=acting(alice))
        back_up() if back_up else run("pg_dump", "--format=custom", f"--file={folder / 'backup'}")
        self.second = branchkeys.make(tenant, active, instead_of=first)
        datakeys.start_anew()
        self.after = made(tenant)
        escrow.write_due()
        services.suspend(tenant, reason="a stolen laptop", actor=acting(alice))
        services.suspend(tenant, reason="we look too", actor=acting_staff(sam))
        services.resume(tenant, reason="nothing here", actor=acting_staff(sam))
        tenant_services.remove_member(self.carol, reason="left", actor=acting(alice))
        tenant_services.rotate_secret(service, reason="leaked", actor=audit.COMMAND)
        head(hours=2)
        (folder / "log.jsonl").write_bytes(
            b"".join(api.get(f"/api/v1/tenants/{tenant.pk}/events/export").streaming_content)
        )

    def come_back(self) -> float:
        """Lose the database, restore the backup and follow docs/restore.md up to the check; returns when it began."""
        began, self.lost_at = time.monotonic(), timezone.now()
        # Not `--clean`: it drops each index of a partition by itself, which PostgreSQL refuses.
        run("psql", "-v", "ON_ERROR_STOP=1", "-qc", "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        run("pg_restore", str(self.folder / "backup"))
        datakeys.start_anew()
        self.active.refresh_from_db()
        assert self.active.status == "active" and Member.objects.filter(pk=self.carol.pk).exists()
        assert opened(self.tenant, self.before) == "database_not_admitted", (
            "nothing is given out before a person looked"
        )
        return began

    def reopen(self) -> dict[str, Any]:
        """Put the lines back that the published heads cover; of our own log there is no export."""
        export, said = [str(self.folder / "log.jsonl")], {"decided_by": "Lee", "reason": "a drill"}
        return command("reopen_logs", export=export, public_key=public_key(), declare_loss=True, **said)

    def check(self) -> dict[str, Any]:
        export, until = [str(self.folder / "log.jsonl")], self.lost_at.isoformat()
        return command("restore_check", reason="a drill", export=export, until=until)

    def admit(self) -> None:
        command("admit_database", reason="a drill")
        datakeys.start_anew()
        assert opened(self.tenant, self.before) == "suspended"
        assert not Member.objects.filter(pk=self.carol.pk).exists()
        services.resume(self.tenant, reason="over", actor=acting(self.alice))
        for _ in range(2):
            KeyHealth.objects.update(next_probe_at=timezone.now())
            health.probe(str(self.active.pk))
        datakeys.start_anew()


@pytest.fixture
def drill(
    tenant: Tenant,
    alice: Member,
    bob: Member,
    active: KeyRegistration,
    service: ServiceAccount,
    sam: User,
    api_of: Api,
    settings: Any,
    tmp_path: Path,
) -> Any:
    settings.SEAL_HEADS_DIR = str(tmp_path / "heads")
    return lambda **more: Drill(tenant, alice, active, service, sam, api_of(bob), tmp_path, **more)


def test_a_dump_with_copies_loses_no_blob_and_forgets_no_stop(drill: Callable[[], Drill], bucket: None) -> None:
    it = drill()
    began = it.come_back()
    assert str(it.tenant.pk) in it.reopen()["restored"]
    found = it.check()
    assert (found["disabled"], found["unchecked"]) == ([str(it.service.pk)], [])
    assert found["suspended"] == [str(it.active.pk)] and found["removed"] == [str(it.carol.pk)]
    assert [one["branch_key"] for one in found["lost"]] == [str(it.second.pk)]
    assert it.check()["lost"] == found["lost"], "it stays lost until a copy is taken back"
    assert command("rebuild_branch_keys", public_key=public_key(), reason="a drill")["restored"] == 1
    assert it.check()["lost"] == []
    it.admit()
    assert (opened(it.tenant, it.before), opened(it.tenant, it.after)) == (it.before.plaintext, it.after.plaintext)
    print(f"restored in {time.monotonic() - began:.1f} s")


def test_a_dump_alone_names_what_is_lost_and_forgets_no_stop(drill: Callable[[], Drill]) -> None:
    it = drill()
    it.come_back()
    it.reopen()
    found = it.check()
    assert (found["suspended"], found["removed"]) == ([str(it.active.pk)], [str(it.carol.pk)])
    (lost,) = found["lost"]
    assert (lost["branch_key"], lost["tenant"]) == (str(it.second.pk), str(it.tenant.pk)) and lost["wrapped_since"]
    it.admit()
    assert opened(it.tenant, it.before) == it.before.plaintext
    assert opened(it.tenant, it.after) == errors.BlobUnreadable.code


@pytest.fixture
def wal(transactional_db: None, tmp_path: Path, active: KeyRegistration) -> Iterator[WalServer]:
    """A server whose disk can be lost, with what the test began with; Django speaks to it until the test ends."""
    facts = connection.settings_dict
    with wal_server(Path(program("postgres")).parent) as server:
        run("pg_dump", "--format=custom", f"--file={tmp_path / 'begin'}")
        theirs = {name: facts[name] for name in ("HOST", "PORT", "USER", "NAME")}
        facts.update({"HOST": "127.0.0.1", "PORT": server.port, "USER": "byok", "NAME": "postgres"})
        try:
            run("pg_restore", "--no-owner", str(tmp_path / "begin"))
            command("admit_database", reason="a drill begins")
            datakeys.start_anew()
            yield server
        finally:
            connections.close_all()
            facts.update(theirs)
            datakeys.start_anew()


def test_by_wal_nothing_is_lost_to_the_last_commit(wal: WalServer, drill: Callable[..., Drill]) -> None:
    it = drill(back_up=wal.back_up)
    log, uses = AuditEvent.objects.count(), KeyUse.objects.count()
    connections.close_all()
    wal.lose_the_disk()
    began = time.monotonic()
    wal.recover()
    datakeys.start_anew()
    assert opened(it.tenant, it.before) == "database_not_admitted", "it is another one, whatever it has"
    assert (AuditEvent.objects.count(), KeyUse.objects.count()) == (log, uses)
    found = command("restore_check", reason="a drill", state="last-commit")
    assert found["held"] == [] and found["unchecked"], "nothing is lost, so nobody is asked"
    done = ("suspended", "removed", "disabled", "revoked", "lost", "left")
    assert not any(found[name] for name in done), "there is nothing to do again"
    it.active.refresh_from_db()
    assert it.active.status == "suspended"
    it.admit()
    assert (opened(it.tenant, it.before), opened(it.tenant, it.after)) == (it.before.plaintext, it.after.plaintext)
    print(f"restored by WAL in {time.monotonic() - began:.1f} s")
