"""Copies of wrapped branch keys: written after each wrapping, refused when forged, and enough to rebuild lost rows."""

from __future__ import annotations

import base64
import contextlib
import json
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from io import StringIO
from typing import Any

import boto3
import pytest
from conftest import Customer, acting, acting_staff, save_draft
from django.core.management import CommandError, call_command
from django.db import connection
from moto.server import ThreadedMotoServer

from byokportal import clock
from byokportal.errors import NotAllowed
from byokportal.localaws.testing import LocalAws
from keys import branchkeys, datakeys, escrow, head_signing, services
from keys.aws import escrow_store
from keys.models import BranchKey, BranchKeyWrapping, KeyRegistration
from keys.policies import documents
from support import figures
from tenants import audit, published_heads
from tenants.models import AuditEvent, Member, Tenant

BUCKET = "byok-escrow"
Work = Callable[[], None]


@pytest.fixture(scope="module")
def _s3() -> Iterator[str]:
    """A store that speaks S3; the local AWS has none, as nothing else of ours needs one."""
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def bucket(_s3: str, settings: Any) -> Any:
    settings.ESCROW_BUCKET, settings.ESCROW_ENDPOINT_URL, settings.ESCROW_REGION = BUCKET, _s3, "us-east-1"
    settings.ESCROW_ACCESS_KEY_ID, settings.ESCROW_SECRET_ACCESS_KEY = "escrow", "a secret of tests"
    keys = {"aws_access_key_id": "escrow", "aws_secret_access_key": "a secret of tests"}
    made = boto3.resource("s3", endpoint_url=_s3, region_name="us-east-1", **keys).Bucket(BUCKET)
    made.create()
    made.objects.all().delete()
    return made


def public() -> str:
    signer = head_signing.signer()
    assert signer is not None
    return base64.b64encode(signer.public).decode()


def rebuild(**options: Any) -> dict[str, Any]:
    out = StringIO()
    options = {"public_key": public(), "reason": "the disk died", **options}
    with contextlib.suppress(SystemExit):  # something was left out
        call_command("rebuild_branch_keys", stdout=out, **options)
    return dict(json.loads(out.getvalue()))


def made(tenant: Tenant) -> Any:
    datakeys.start_anew()
    (key,) = datakeys.generate(tenant, [{"object": "1"}], caller="tests", request_id="r")
    return key


def opens(tenant: Tenant, key: Any) -> bool:
    datakeys.start_anew()
    (opened,) = datakeys.open_wrapped(tenant, [(key.wrapped_key, {"object": "1"})], caller="tests", request_id="r")
    return bool(opened.plaintext == key.plaintext)


def lose(*rows: BranchKey) -> None:
    """Take rows out, as a backup from before they were made does."""
    with connection.cursor() as cursor:
        for row in rows:
            pk = row.pk.hex if connection.vendor == "sqlite" else str(row.pk)
            cursor.execute("DELETE FROM keys_branchkey WHERE id = %s", [pk])


# --- writing -------------------------------------------------------------------------------------------------------


def test_each_wrapping_has_a_copy_within_a_run_and_off_there_is_none(
    tenant: Tenant, active: KeyRegistration, bucket: Any, settings: Any
) -> None:
    settings.ESCROW_BUCKET = ""
    first = branchkeys.make(tenant, active)
    assert (first.escrow_due_at, escrow.write_due()) == (None, 0)
    settings.ESCROW_BUCKET = BUCKET
    out = StringIO()
    call_command("escrow_branch_keys", stdout=out)
    assert json.loads(out.getvalue()) == {"due": 1}
    second = branchkeys.make(tenant, active, instead_of=first)
    assert escrow.write_due() == 2 and escrow.write_due() == 0
    names = [one.key for one in bucket.objects.all()]
    assert {name.split("/")[2] for name in names} == {str(first.pk), str(second.pk)}
    assert not BranchKey.objects.filter(escrowed_at=None).exists()
    line = json.loads(bucket.Object(names[0]).get()["Body"].read())
    assert set(line) == {"body", "key_id", "signature"} and "plaintext" not in json.dumps(line)


def test_a_store_that_does_not_answer_is_asked_again_later(
    tenant: Tenant, active: KeyRegistration, bucket: Any, settings: Any
) -> None:
    there, settings.ESCROW_ENDPOINT_URL = settings.ESCROW_ENDPOINT_URL, "http://127.0.0.1:1"
    branchkeys.make(tenant, active)
    assert made(tenant).plaintext, "the copy holds nobody up"
    assert escrow.write_due() == 0
    row = BranchKey.objects.get()
    assert (row.escrow_attempts, row.escrowed_at) == (1, None)
    assert row.escrow_due_at is not None and row.escrow_due_at > clock.now()
    settings.ESCROW_ENDPOINT_URL = there
    assert escrow.write_due() == 0, "not before its time"
    BranchKey.objects.update(escrow_due_at=clock.now())
    assert escrow.write_due() == 1


def test_one_that_is_wrapped_anew_while_its_copy_is_written_stays_due(
    tenant: Tenant, active: KeyRegistration, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    branchkeys.make(tenant, active)
    put = escrow.escrow_store.put

    def while_it_is_wrapped_anew(name: str, body: bytes) -> None:
        BranchKey.objects.update(wrapped=b"another wrapping", **escrow.of_another_wrapping())
        put(name, body)

    monkeypatch.setattr(escrow.escrow_store, "put", while_it_is_wrapped_anew)
    assert escrow.write_due() == 0
    row = BranchKey.objects.get()
    assert row.escrowed_at is None and row.escrow_due_at is not None


# --- rebuilding ----------------------------------------------------------------------------------------------------


def test_rows_that_are_lost_come_back_and_every_blob_opens(
    tenant: Tenant, alice: Member, active: KeyRegistration, bucket: Any
) -> None:
    old = made(tenant)
    first = BranchKey.objects.get()
    branchkeys.make(tenant, active, instead_of=first)
    new = made(tenant)
    escrow.write_due()
    generation = Tenant.objects.get(pk=tenant.pk).key_generation
    rows = list(BranchKey.objects.all())
    lose(*rows)
    assert not BranchKey.objects.exists()
    assert rebuild() == {"restored": 2, "rewrapped": 0, "known": 0, "left_out": 0, "why": {}}
    assert opens(tenant, old) and opens(tenant, new)
    assert BranchKey.objects.get(is_current=True).pk == rows[0].pk, "the later one wraps again"
    assert Tenant.objects.get(pk=tenant.pk).key_generation > generation
    assert AuditEvent.objects.of(tenant).latest("pk").name == "keys.branch_keys.rebuilt"
    events = AuditEvent.objects.count()
    assert rebuild() == {"restored": 0, "rewrapped": 0, "known": 2, "left_out": 0, "why": {}}
    assert AuditEvent.objects.count() == events


def test_a_backup_from_before_the_move_gets_the_wrapping_of_the_present_key(
    tenant: Tenant,
    alice: Member,
    active: KeyRegistration,
    aws: LocalAws,
    customer: Customer,
    work: Work,
    bucket: Any,
    settings: Any,
) -> None:
    settings.BACKUP_RETENTION_DAYS = 35
    key = made(tenant)
    before = BranchKey.objects.get()
    second = Customer(aws, role_name="SecondRole")
    save_draft(tenant, key_arn=second.create_key(), actor=acting(alice))
    permissions = documents.render(documents.permissions_policy(second.key_arn))
    second.create_role(services.document(tenant, "trust-policy"), permissions)
    second.add_key_statement(documents.key_policy_statement(second.role_arn))
    save_draft(tenant, role_arn=second.role_arn, actor=acting(alice))
    services.submit_registration(tenant, actor=acting(alice))
    work()
    escrow.write_due()
    moved = BranchKey.objects.get()
    assert moved.key_arn == second.key_arn != before.key_arn
    facts = {name: getattr(before, name) for name in ("wrapped", "key_arn", "registration", "wrapped_at")}
    BranchKey.objects.update(**facts)
    assert rebuild()["rewrapped"] == 1
    again = BranchKey.objects.get()
    assert (bytes(again.wrapped), again.key_arn) == (bytes(moved.wrapped), moved.key_arn)
    assert opens(tenant, key)


def test_what_is_newer_or_another_organisations_is_not_touched(
    tenant: Tenant, active: KeyRegistration, mallory: Member, bucket: Any
) -> None:
    branchkeys.make(tenant, active)
    escrow.write_due()
    BranchKey.objects.update(wrapped=b"later", wrapped_at=clock.now() + timedelta(seconds=1))
    assert rebuild()["known"] == 1
    assert bytes(BranchKey.objects.get().wrapped) == b"later"
    BranchKey.objects.update(tenant=mallory.tenant, registration=None)
    found = rebuild()
    assert (found["left_out"], found["restored"], found["rewrapped"]) == (1, 0, 0)
    assert "another organisation" in next(iter(found["why"].values()))


def test_without_its_registration_a_branch_key_is_named_and_left_out(
    tenant: Tenant, active: KeyRegistration, bucket: Any
) -> None:
    row = branchkeys.make(tenant, active)
    escrow.write_due()
    lose(row)
    KeyRegistration.objects.filter(pk=active.pk).update(status="retired", role_claim=None)
    found = rebuild()
    assert found["left_out"] == 1 and "retired" in found["why"][str(row.pk)].lower()
    assert not BranchKey.objects.exists()


@pytest.mark.parametrize("names", [True, False])
def test_what_a_receipt_names_that_nothing_proves_is_left_out_and_said(
    names: bool, tenant: Tenant, active: KeyRegistration, mallory: Member, bucket: Any
) -> None:
    row = branchkeys.make(tenant, active)
    escrow.write_due()
    lose(row)
    name = f"closing-{uuid.uuid4()}-1.json"
    body = {"tenant": str(tenant.pk if names else mallory.tenant_id)}
    assert published_heads.folder().write_receipt(name, {"body": body, "signature": "", "public_key": ""})
    found = rebuild()
    assert "not proved" in found["why"].pop(name)
    assert list(found["why"]) == ([str(row.pk)] if names else [])
    assert found["restored"] == (0 if names else 1)


def test_a_line_that_somebody_else_wrote_is_refused(tenant: Tenant, active: KeyRegistration, bucket: Any) -> None:
    row = branchkeys.make(tenant, active)
    escrow.write_due()
    (written,) = bucket.objects.all()
    line = json.loads(written.get()["Body"].read())
    lose(row)

    def says(change: Callable[[dict[str, Any]], Any], name: str = written.key) -> str:
        forged = json.loads(json.dumps(line))
        body = change(forged)
        bucket.Object(name).put(Body=json.dumps(forged if body is None else body).encode())
        found = rebuild()
        assert (found["restored"], found["left_out"]) == (0, 1)
        bucket.Object(name).delete()
        return str(next(iter(found["why"].values())))

    prefix, tenant_id, key_id, _ = written.key.rsplit("/", 3)
    assert "signature" in says(lambda it: it["body"].update(key_arn="arn:aws:kms:eu-central-1:1:key/x"))
    assert "signature" in says(lambda it: it["body"].update(tenant=key_id))
    assert "name of another" in says(lambda it: None, f"{prefix}/{tenant_id}/{key_id}/{'0' * 64}.json")
    for odd in ([], "x", {}, {"body": []}, {"body": {}, "signature": "!"}, {"body": {"what": 1}, "signature": ""}):
        assert says(lambda it, odd=odd: odd) in {"it is no line of ours in form", "its signature is not of that key"}
    bucket.Object(written.key).put(Body=b"[" * 70_000)
    assert "longer" in next(iter(rebuild()["why"].values()))
    bucket.Object(written.key).put(Body=b"\xff" * 10)
    assert "no line of ours" in next(iter(rebuild()["why"].values()))
    bucket.Object(f"{prefix}/nothing of ours").put(Body=b"x")
    assert rebuild()["left_out"] == 1
    with pytest.raises(CommandError):
        rebuild(public_key="!")
    assert rebuild(public_key=base64.b64encode(bytes(32)).decode())["restored"] == 0


def test_another_systems_copies_are_refused(
    tenant: Tenant, active: KeyRegistration, bucket: Any, settings: Any
) -> None:
    row = branchkeys.make(tenant, active)
    settings.BASE_URL = "https://another.example"
    escrow.write_due()
    settings.BASE_URL = "http://localhost:8000"
    lose(row)
    assert "another system" in next(iter(rebuild()["why"].values()))


def test_only_the_command_line_rebuilds(tenant: Tenant, alice: Member, sam: Any) -> None:
    for actor in (acting(alice), acting_staff(sam)):
        with pytest.raises(NotAllowed):
            services.rebuild_branch_keys(public_key=bytes(32), reason="r", actor=actor)
    assert audit.COMMAND.kind == "system"


# --- what no test held -----------------------------------------------------------------------------------------


def signed(body: dict[str, Any]) -> bytes:
    signer = head_signing.signer()
    assert signer is not None
    signature = base64.b64encode(signer.sign(audit.canonical(body).encode())).decode()
    return audit.canonical({"body": body, "key_id": "", "signature": signature}).encode()


def test_an_object_is_never_replaced(tenant: Tenant, active: KeyRegistration, bucket: Any) -> None:
    branchkeys.make(tenant, active)
    escrow.write_due()
    (one,) = bucket.objects.all()
    before = one.get()["Body"].read()
    escrow_store.put(one.key, b"something else")
    assert bucket.Object(one.key).get()["Body"].read() == before
    BranchKey.objects.update(escrowed_at=None, escrow_due_at=clock.now())
    assert escrow.write_due() == 1, "one that is there already counts as written"


def test_a_move_after_the_copy_is_copied_too_and_the_later_of_two_is_taken(
    tenant: Tenant, alice: Member, active: KeyRegistration, aws: LocalAws, work: Work, bucket: Any, settings: Any
) -> None:
    settings.BACKUP_RETENTION_DAYS = 35
    key = made(tenant)
    assert escrow.write_due() == 1
    before = BranchKey.objects.get()
    second = Customer(aws, role_name="SecondRole")
    save_draft(tenant, key_arn=second.create_key(), actor=acting(alice))
    second.create_role(
        services.document(tenant, "trust-policy"), documents.render(documents.permissions_policy(second.key_arn))
    )
    second.add_key_statement(documents.key_policy_statement(second.role_arn))
    save_draft(tenant, role_arn=second.role_arn, actor=acting(alice))
    services.submit_registration(tenant, actor=acting(alice))
    work()
    escrow.write_due()
    moved = BranchKey.objects.get()
    assert moved.escrowed_at and len(list(bucket.objects.all())) == 2
    BranchKey.objects.update(**{n: getattr(before, n) for n in ("wrapped", "key_arn", "registration", "wrapped_at")})
    kept = BranchKeyWrapping.objects.count()
    assert rebuild()["rewrapped"] == 1
    assert bytes(BranchKey.objects.get().wrapped) == bytes(moved.wrapped) and opens(tenant, key)
    assert BranchKeyWrapping.objects.count() == kept + 1, "the earlier one is kept beside"
    lose(BranchKey.objects.get())
    assert rebuild()["restored"] == 1
    assert bytes(BranchKey.objects.get().wrapped) == bytes(moved.wrapped) and opens(tenant, key)


def test_the_later_branch_key_stays_the_current_one(tenant: Tenant, active: KeyRegistration, bucket: Any) -> None:
    first = branchkeys.make(tenant, active)
    escrow.write_due()  # its copy says that it is current
    second = branchkeys.make(tenant, active, instead_of=first)
    lose(first)
    assert rebuild()["restored"] == 1
    assert BranchKey.objects.get(is_current=True).pk == second.pk


@pytest.mark.parametrize(("field", "why"), [("tenant", "organisation"), ("key_arn", "another key"), ("what", "")])
def test_lines_signed_by_us_that_do_not_fit(
    tenant: Tenant, active: KeyRegistration, bucket: Any, field: str, why: str
) -> None:
    row = branchkeys.make(tenant, active)
    escrow.write_due()
    (one,) = bucket.objects.all()
    body = json.loads(one.get()["Body"].read())["body"]
    lose(row)
    one.delete()
    body[field] = "00000000-0000-4000-8000-000000000000" if field == "tenant" else "another"
    bucket.Object(one.key.replace(str(tenant.pk), body["tenant"])).put(Body=signed(body))
    out = StringIO()
    with pytest.raises(SystemExit) as stopped:
        call_command("rebuild_branch_keys", public_key=public(), reason="r", stdout=out)
    found = json.loads(out.getvalue())
    assert (stopped.value.code, found["left_out"], found["restored"]) == (1, 1, 0)
    assert why in next(iter(found["why"].values()))


def test_time_of_a_row_without_wrapped_at(tenant: Tenant, active: KeyRegistration, bucket: Any) -> None:
    """The oldest waiting one is found where wrapped_at is null."""
    first = branchkeys.make(tenant, active)
    branchkeys.make(tenant, active, instead_of=first)
    BranchKey.objects.filter(pk=first.pk).update(wrapped_at=None, created_at=clock.now() - timedelta(hours=2))
    BranchKey.objects.exclude(pk=first.pk).update(wrapped_at=clock.now())
    (sample,) = figures._escrow_age().samples
    assert sample.value > 7000
