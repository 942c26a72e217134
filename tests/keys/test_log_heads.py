"""Signed heads of all logs: hourly, published outside the database, and refused where the database went back."""

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
from django.db import connection
from django.test import Client
from django.utils import timezone
from emptied_database import triggers_aside

from byokportal import leaves, merkle
from keys import head_signing, log_heads, use_rollups
from keys.models import KeyUse, KeyUseRollUp
from tenants import audit, log_trees, published_heads
from tenants.models import AuditEvent, LogHead, LogTree, Member, Sealer, Tenant, TenantHead

pytestmark = pytest.mark.django_db
SCRIPT = Path(__file__).parents[2] / "docs" / "examples" / "verify_log.py"


@pytest.fixture(autouse=True)
def heads_folder(settings: Any, tmp_path: Path) -> Path:
    settings.SEAL_HEADS_DIR = str(tmp_path / "heads")
    return tmp_path / "heads"


def lines(tenant: Tenant | None, count: int) -> None:
    for number in range(count):
        audit.record("tenants.tenant.created", tenant=tenant, actor=audit.SYSTEM, name=f"n{number}")
    log_trees.seal()


def an_hour_later() -> Any:
    return time_machine.travel(timezone.now() + timedelta(hours=1, seconds=1), tick=False)


def verify_all() -> None:
    """See that each head is signed and the continuation of the one before."""
    before: dict[str, Any] = {"size": 0, "root": merkle.EMPTY.hex()}
    for head in LogHead.objects.published():
        public, signature = base64.b64decode(head.public_key), base64.b64decode(head.signature)
        assert head_signing.verifies(public, signature, leaves.canonical(head.facts).encode())
        roots = bytes.fromhex(before["root"]), bytes.fromhex(head.facts["root"])
        proof = [bytes.fromhex(one) for one in json.loads(head.consistency)]
        assert merkle.verify_consistency(before["size"], head.facts["size"], *roots, proof)
        before = head.facts


def test_a_head_is_signed_every_hour_also_when_nothing_happened(tenant: Tenant, heads_folder: Path) -> None:
    lines(tenant, 3)
    lines(None, 2)
    first = log_heads.publish_due()
    assert first is not None and first.number == 1
    assert first.facts["size"] == LogTree.objects.exclude(name=LogTree.HEADS).count()
    assert log_heads.publish_due() is None
    with an_hour_later():
        second = log_heads.publish_due()
    assert second is not None and second.number == 2
    assert second.facts["root"] == first.facts["root"]
    assert second.facts["at"] > first.facts["at"]
    lines(tenant, 1)
    with time_machine.travel(timezone.now() + timedelta(hours=3), tick=False):
        third = log_heads.publish_due()
    assert third is not None and third.facts["size"] == first.facts["size"] + 1
    verify_all()
    assert sorted(path.name for path in heads_folder.iterdir()) == [f"{number:012}.json" for number in (1, 2, 3)]


def test_without_a_key_nothing_is_signed(tenant: Tenant, settings: Any) -> None:
    settings.EMBEDDED = False
    lines(tenant, 1)
    assert log_heads.publish_due() is None
    assert not LogHead.objects.exists()


def test_a_process_that_was_killed_at_any_point_is_finished_by_the_next(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: Any) -> None:
        raise Killed

    lines(tenant, 1)
    signer = head_signing.signer()
    assert signer is not None
    monkeypatch.setattr(head_signing.Signer, "sign", property(lambda self: killed), raising=False)
    monkeypatch.undo()
    real = published_heads.Folder.write
    monkeypatch.setattr(published_heads.Folder, "write", killed)
    with pytest.raises(Killed):  # before it is published
        log_heads.publish_due()
    assert LogHead.objects.get().published_at is None

    def write_and_die(*given: Any) -> None:
        real(*given)
        raise Killed

    monkeypatch.setattr(published_heads.Folder, "write", write_and_die)
    with pytest.raises(Killed):  # behind it, before the row says so
        log_heads.publish_due()
    monkeypatch.undo()
    assert LogHead.objects.get().published_at is None
    head = log_heads.publish_due()
    assert head is not None and head.number == 1
    verify_all()
    assert LogHead.objects.count() == 1


# --- refused ---------------------------------------------------------------------------------------------------------


def refused(why: str) -> None:
    before = LogHead.objects.published().count()
    with time_machine.travel(timezone.now() + timedelta(days=2), tick=False):
        assert log_heads.publish_due() is None
        assert log_heads.publish_due() is None
    assert LogHead.objects.published().count() == before
    assert why in Sealer.objects.get().refused_why
    event = AuditEvent.objects.get(name="keys.log_head.refused")
    assert why in str(audit.data_of(event)["why"])


@pytest.fixture
def two_heads(tenant: Tenant) -> Tenant:
    lines(tenant, 300)
    log_heads.publish_due()
    lines(tenant, 5)
    with an_hour_later():
        log_heads.publish_due()
    assert LogHead.objects.published().count() == 2
    return tenant


def test_a_database_that_is_older_than_what_was_published_signs_nothing(two_heads: Tenant) -> None:
    TenantHead.objects.filter(head=2).delete()
    LogHead.objects.filter(pk=2).delete()
    refused("head 2 was published, and ours is 1")


def test_a_head_that_was_written_over_in_the_database_is_noticed(two_heads: Tenant) -> None:
    head = LogHead.objects.get(pk=2)
    LogHead.objects.filter(pk=2).update(body=leaves.canonical({**head.facts, "root": "0" * 64}))
    refused("with another content")


def test_a_publication_that_is_gone_is_noticed(two_heads: Tenant, heads_folder: Path) -> None:
    (heads_folder / f"{2:012}.json").unlink()
    refused("not where heads are published")


def test_a_log_that_became_smaller_is_not_signed(two_heads: Tenant) -> None:
    tree = LogTree.objects.get(name=str(two_heads.pk))
    LogTree.objects.filter(pk=tree.pk).update(size=tree.size - 1)
    refused("were signed")


def test_a_log_whose_signed_rows_were_rewritten_is_not_signed(two_heads: Tenant) -> None:
    """The owner of the database changes hashes of rows and of the tree alike."""
    with triggers_aside(), connection.cursor() as cursor:
        cursor.execute(
            "UPDATE tenants_auditevent SET seal = %s WHERE tenant_id = %s AND seal_number = 290",
            ["0" * 64, two_heads.pk.hex if connection.vendor == "sqlite" else two_heads.pk],
        )
    lines(two_heads, 1)
    refused("does not begin with")


def test_the_tree_over_all_is_the_continuation_of_the_signed_one(two_heads: Tenant) -> None:
    TenantHead.objects.filter(position=0).update(leaf="0" * 64)
    refused("not the continuation of head 2")


# --- who reads them --------------------------------------------------------------------------------------------------


def test_everybody_reads_the_newest_head(tenant: Tenant, client: Client) -> None:
    assert client.get("/.well-known/byok-log").status_code == 404
    lines(tenant, 1)
    log_heads.publish_due()
    answer = client.get("/.well-known/byok-log")
    assert answer.status_code == 200
    assert answer["Cache-Control"] == "public, max-age=60"
    assert "Set-Cookie" not in answer
    body = answer.json()
    public, signature = base64.b64decode(body["public_key"]), base64.b64decode(body["signature"])
    assert head_signing.verifies(public, signature, leaves.canonical(body["head"]).encode())
    assert body["key_id"] == head_signing.key_id(public)
    assert str(tenant.pk) not in answer.content.decode()
    assert client.post("/.well-known/byok-log").status_code == 405


def use(tenant: Tenant, **facts: Any) -> KeyUse:
    return KeyUse.objects.create(
        tenant=tenant, operation="generate", count=2, caller="service:search", context_digest="0" * 64, **facts
    )


def test_an_auditor_verifies_the_exported_log_and_the_uses(
    alice: Member, bob: Member, mallory: Member, api_of: Callable[[Member], Client], tmp_path: Path
) -> None:
    tenant = alice.tenant
    two_hours_ago = timezone.now() - timedelta(hours=2)
    uses = [use(tenant, at=two_hours_ago) for _ in range(7)]
    use(mallory.tenant, at=two_hours_ago)
    assert use_rollups.roll_up() == 8
    assert use_rollups.roll_up() == 0
    log_trees.seal()
    log_heads.publish_due()
    auditor, base = api_of(bob), f"/api/v1/tenants/{tenant.pk}"
    log_trees.seal()

    def save(name: str, path: str) -> str:
        answer = auditor.get(f"{base}/{path}")
        assert answer.status_code == 200, answer
        content = b"".join(answer) if answer.streaming else answer.content
        (tmp_path / name).write_bytes(content)
        return str(tmp_path / name)

    export, head = save("log.jsonl", "events/export"), save("head.json", "log/head")
    key = auditor.get("/.well-known/byok-log").json()["public_key"]
    command = [sys.executable, str(SCRIPT), export, "--head", head, "--public-key", key]
    command += ["--uses", save("uses.jsonl", "key-uses/export")]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "7 uses are sealed, 0 wait" in ran.stdout
    text = Path(export).read_text()
    Path(export).write_text(text.replace('"requests": 7', '"requests": 6'))
    assert subprocess.run(command, capture_output=True, text=True, check=False).returncode == 1
    Path(export).write_text(text)
    used = Path(tmp_path / "uses.jsonl")
    used.write_text(used.read_text().replace('"keys": 2', '"keys": 1', 1))
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 1 and "seals other uses than those" in ran.stdout

    # one line, one use
    line = AuditEvent.objects.of(tenant).get(name="keys.uses.rolled_up")
    proof = auditor.get(f"{base}/events/{line.pk}/inclusion").json()
    entry, way = proof["entry"], [bytes.fromhex(one) for one in proof["proof"]]
    root = bytes.fromhex(entry["root"])
    assert merkle.verify_inclusion(bytes.fromhex(proof["leaf"]), proof["index"], entry["size"], way, root)
    proof = auditor.get(f"{base}/key-uses/{uses[3].pk}/inclusion").json()
    hashed, way = leaves.use_leaf(proof["use"], proof["salt"]), [bytes.fromhex(one) for one in proof["proof"]]
    assert merkle.verify_inclusion(hashed, proof["index"], proof["count"], way, bytes.fromhex(proof["root"]))
    assert (proof["event"], proof["root"]) == (line.pk, audit.data_of(line)["root"])
    assert KeyUseRollUp.objects.count() == 2

    # what is not there
    theirs = api_of(mallory)
    for path in ("log/head", "log/heads", f"events/{line.pk}/inclusion", f"key-uses/{uses[3].pk}/inclusion"):
        assert theirs.get(f"{base}/{path}").status_code == 404
    own = f"/api/v1/tenants/{mallory.tenant_id}"
    assert theirs.get(f"{own}/events/{line.pk}/inclusion").status_code == 404
    assert theirs.get(f"{own}/key-uses/{uses[3].pk}/inclusion").status_code == 404
    for bad in ("x", "-1", "99999999999999999999999", ""):
        assert auditor.get(f"{base}/events/{bad or 'x'}/inclusion").status_code == 404
        assert auditor.get(f"{base}/key-uses/{bad or 'x'}/inclusion").status_code == 404
        assert auditor.get(f"{base}/log/heads/{bad or 'x'}").status_code == 404


def test_the_heads_of_a_log_are_paged_and_each_can_be_kept(two_heads: Tenant, api_of: Callable[..., Client]) -> None:
    owner = two_heads.members.first()
    if owner is None:
        from conftest import owner_of

        owner = owner_of(two_heads)
    api, base = api_of(owner), f"/api/v1/tenants/{two_heads.pk}/log"
    listed = api.get(f"{base}/heads").json()
    assert [one["number"] for one in listed["items"]] == [2, 1]
    kept = [api.get(f"{base}/heads/{number}").json() for number in (1, 2)]
    assert [one["entry"]["size"] for one in kept] == [one["size"] for one in reversed(listed["items"])]
    assert kept[1] == api.get(f"{base}/head").json()
    for one in kept:
        hashed, head = leaves.head_leaf(one["entry"]), one["head"]
        way = [bytes.fromhex(each) for each in one["proof"]]
        assert merkle.verify_inclusion(hashed, one["index"], head["size"], way, bytes.fromhex(head["root"]))
    assert api.get(f"{base}/heads/3").status_code == 404


def test_a_key_in_kms_signs(aws: Any, settings: Any) -> None:
    key = aws.client(settings.AWS_ACCOUNT_ID, "kms", "eu-central-1").create_key(
        KeySpec="ECC_NIST_EDWARDS25519", KeyUsage="SIGN_VERIFY"
    )["KeyMetadata"]["Arn"]
    settings.SEAL_KMS_KEY_ARN = key
    signer = head_signing.signer()
    assert signer is not None
    assert head_signing.verifies(signer.public, signer.sign(b"a head"), b"a head")
    assert not head_signing.verifies(signer.public, signer.sign(b"a head"), b"another")
