"""A database that went back: nothing is sealed or signed, until its lines come from an export or are declared lost."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone
from emptied_database import triggers_aside

from keys import log_heads
from tenants import audit, log_proofs, log_trees
from tenants.models import AuditEvent, LogHead, LogTree, Member, PersonName, Sealer, Tenant, TenantHead

pytestmark = pytest.mark.django_db
SCRIPT = Path(__file__).parents[2] / "docs" / "examples" / "verify_log.py"


@pytest.fixture(autouse=True)
def _heads(settings: Any, tmp_path: Path) -> None:
    settings.SEAL_HEADS_DIR = str(tmp_path / "heads")


def lines(tenant: Tenant | None, count: int) -> None:
    for number in range(count):
        audit.record("tenants.tenant.created", tenant=tenant, actor=audit.SYSTEM, name=f"n{number}")


class Lost:
    """Acme's log with two heads, an export of all of it, and a database from before the second head."""

    def __init__(self, alice: Member, api: Client, folder: Path) -> None:
        self.tenant, self.api, self.folder = alice.tenant, api, folder
        self.base = f"/api/v1/tenants/{self.tenant.pk}"
        lines(self.tenant, 5)
        log_trees.seal()
        assert log_heads.publish_due()
        self.first = self.save("head1.json", "log/head")
        before = list(LogTree.objects.values())
        last = AuditEvent.objects.latest("pk").pk
        lines(self.tenant, 7)
        log_trees.seal()
        with time_machine.travel(timezone.now() + timedelta(hours=1, seconds=1), tick=False):
            assert log_heads.publish_due()
        self.second, self.export = self.save("head2.json", "log/head"), self.save("log.jsonl", "events/export")
        self.size = LogTree.objects.get(name=str(self.tenant.pk)).size
        self.key = api.get("/.well-known/byok-log").json()["public_key"]
        with triggers_aside():
            TenantHead.objects.filter(head=2).delete()
            LogHead.objects.filter(pk=2).delete()
            AuditEvent.objects.filter(pk__gt=last).delete()
        LogTree.objects.exclude(pk__in=[row["id"] for row in before]).delete()
        for row in before:
            LogTree.objects.filter(pk=row.pop("id")).update(**row)
        self.kept = LogTree.objects.get(name=str(self.tenant.pk)).size

    def save(self, name: str, path: str) -> Path:
        answer = self.api.get(f"{self.base}/{path}")
        assert answer.status_code == 200, answer.content
        content = b"".join(answer) if answer.streaming else answer.content
        (self.folder / name).write_bytes(content)
        return self.folder / name

    def reopen(self, *more: str, export: bool = True) -> dict[str, Any]:
        given = ["--public-key", self.key, "--decided-by", "Lee of Kore.ai", "--reason", "disk of db-1 died", *more]
        given += ["--export", str(self.export)] if export else []
        out = self.folder / "answer.json"
        with out.open("w") as stdout:
            call_command("reopen_logs", *given, stdout=stdout)
        return dict(json.loads(out.read_text()))

    def verify(self, *heads: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(SCRIPT), str(self.save("again.jsonl", "events/export")), "--head"]
        command += [*map(str, heads), "--public-key", self.key]
        return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def lost(alice: Member, api_of: Callable[[Member], Client], tmp_path: Path) -> Lost:
    return Lost(alice, api_of(alice), tmp_path)


def next_head() -> LogHead | None:
    with time_machine.travel(timezone.now() + timedelta(hours=3), tick=False):
        log_trees.seal()
        return log_heads.publish_due()


def test_until_somebody_has_decided_nothing_is_sealed_and_nothing_signed(lost: Lost) -> None:
    lines(lost.tenant, 1)
    assert log_trees.seal() == 0
    assert next_head() is None
    assert "head 2 was published, and ours is 1" in Sealer.objects.get().refused_why
    with pytest.raises(CommandError, match="in no export"):
        lost.reopen(export=False)
    assert LogHead.objects.count() == 1


def test_the_people_of_lines_come_back_with_them_each_as_the_line_refers_to_them(
    alice: Member, api_of: Callable[[Member], Client], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_people(tenant: Tenant | None, count: int) -> None:
        for number in range(count):
            audit.record(
                "tenants.member.left", tenant=tenant, actor=audit.SYSTEM, email=f"n{count}{number}@acme.example"
            )

    monkeypatch.setitem(globals(), "lines", with_people)
    lost = Lost(alice, api_of(alice), tmp_path)
    PersonName.objects.filter(text__in=["n70@acme.example", "n71@acme.example"]).delete()
    PersonName.objects.filter(text="n72@acme.example").update(text="", salt="", erased_at=timezone.now())
    text = lost.export.read_text()
    lost.export.write_text(text.replace("n70@acme.example", "eve@acme.example"))
    with pytest.raises(CommandError, match="none of a log's export"):
        lost.reopen()
    lost.export.write_text(text)
    lost.reopen()
    left = [audit.sentence(one) for one in AuditEvent.objects.filter(name="tenants.member.left").order_by("pk")][5:]
    assert left[:2] == [f"n7{number}@acme.example left the organisation." for number in (0, 1)]
    assert left[2].startswith("an erased person ("), "what was erased here stays erased, whatever an export says"
    assert next_head() is not None
    ran = lost.verify(lost.first, lost.second, lost.save("head3.json", "log/head"))
    assert ran.returncode == 0 and "people whose names were erased: 1" in ran.stdout, ran.stdout


def test_lines_come_back_from_an_export_and_the_old_heads_still_prove_them(lost: Lost) -> None:
    done = lost.reopen()
    assert done == {"heads": 1, "restored": {str(lost.tenant.pk): lost.size - lost.kept}, "lost": {}}
    third = next_head()
    assert third is not None and third.number == 3
    ran = lost.verify(lost.first, lost.second, lost.save("head3.json", "log/head"))
    assert ran.returncode == 0, ran.stdout
    assert "DECLARED" not in ran.stdout
    assert not Sealer.objects.exclude(refused_at=None).exists()
    assert AuditEvent.objects.filter(name="keys.log.restored", tenant=lost.tenant).exists()


def test_a_changed_export_is_not_taken(lost: Lost) -> None:
    text = lost.export.read_text()
    lost.export.write_text(text.replace("n6", "n9"))
    with pytest.raises(CommandError, match="was changed"):
        lost.reopen()
    lost.export.write_text(text)
    lost.key = base64.b64encode(b"k" * 32).decode()
    with pytest.raises(CommandError, match="not signed by this key"):
        lost.reopen()
    assert LogTree.objects.get(name=str(lost.tenant.pk)).size == lost.kept


def test_a_loss_is_declared_in_the_first_line_of_the_tree_that_goes_on(lost: Lost) -> None:
    written = AuditEvent.objects.of(lost.tenant).latest("pk")
    done = lost.reopen("--declare-loss", export=False)
    assert done["lost"] == {str(lost.tenant.pk): [lost.kept + 1, lost.size]}
    lines(lost.tenant, 2)
    third = next_head()
    assert third is not None and third.number == 3
    declared = AuditEvent.objects.get(name="keys.log.loss_declared", tenant=lost.tenant)
    assert declared.seal_number == lost.size + 1
    data = audit.data_of(declared)
    assert (data["lost_from"], data["lost_to"], data["head"]) == (lost.kept + 1, lost.size, 2)
    assert data["decided_by"] == "Lee of Kore.ai"
    ran = lost.verify(lost.first, lost.second, lost.save("head3.json", "log/head"))
    assert ran.returncode == 0, ran.stdout
    assert f"DECLARED LOSS: lines {lost.kept + 1} to {lost.size} (Lee of Kore.ai: disk of db-1 died)" in ran.stdout
    # What is left of the old tree is proved by the heads from before the loss, the new one by those after it.
    assert log_proofs.inclusion(lost.tenant, written.pk)["head"] == 1
    assert log_proofs.inclusion(lost.tenant, declared.pk)["head"] == 3
    with triggers_aside():
        AuditEvent.objects.filter(tenant=lost.tenant, seal_number=2).delete()
    assert lost.verify(lost.first).returncode == 1


def test_an_organisation_that_is_younger_than_the_backup_stands_in_nobodys_way(
    alice: Member, api_of: Callable[[Member], Client], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = lines
    young: list[Tenant] = []

    def with_another(tenant: Tenant | None, count: int) -> None:
        before(tenant, count)
        if count == 7:
            young.append(Tenant.objects.create(name="Young", service_role=alice.tenant.service_role))
            before(young[0], 3)

    monkeypatch.setitem(globals(), "lines", with_another)
    lost = Lost(alice, api_of(alice), tmp_path)
    name = str(young[0].pk)
    young[0].delete()
    with pytest.raises(CommandError, match="younger than this backup, which has nothing of it"):
        lost.reopen()
    done = lost.reopen("--declare-loss")
    assert done["restored"] == {str(lost.tenant.pk): lost.size - lost.kept}, "Acme's lines come from the export"
    assert done["lost"] == {name: [1, 3]}
    declared = AuditEvent.objects.get(name="keys.log.organisation_lost")
    assert (declared.tenant_id, audit.data_of(declared)["organisation"]) == (None, name)
    assert name in audit.sentence(declared)
    third = next_head()
    assert third is not None and third.number == 3, "heads are signed again"
    assert not Sealer.objects.exclude(refused_at=None).exists()
    ran = lost.verify(lost.first, lost.second, lost.save("head3.json", "log/head"))
    assert ran.returncode == 0, ran.stdout
    assert TenantHead.objects.get(tree__name=name).entry["log"] == name
    tree = LogTree.objects.get(name=name)
    assert (tree.closed_at is not None, tree.size) == (True, 0)
