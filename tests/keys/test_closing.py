"""The end of an organisation: refused while anything serves, then its keys are gone for good, and that is signed."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import boto3
import pytest
import time_machine
from celery.exceptions import SoftTimeLimitExceeded
from conftest import REGION, acting, acting_staff
from django.contrib.auth.models import Group, User
from django.core import mail
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.test import Client
from moto.server import ThreadedMotoServer

from byokportal import clock
from byokportal.errors import NotAllowed, NotFound
from byokportal.localaws.testing import LocalAws
from keys import branchkeys, datakeys, errors, escrow, head_signing, key_uses, services
from keys.closing import copies, files, receipts
from keys.models import (
    BranchKey,
    BranchKeyWrapping,
    Closing,
    ClosingReceipt,
    KeyRegistration,
    RegistrationMove,
    RoleConfiguration,
    ServiceRolePolicy,
)
from support import closings, follow, notices
from support.fleet import projection
from support.models import FleetRow, Ticket, WebhookEndpoint
from tenants import access, audit, authentication, published_heads
from tenants import services as tenant_services
from tenants.errors import OrganisationClosed
from tenants.models import (
    AccessToken,
    AuditEvent,
    Directory,
    HeadRecipient,
    Invitation,
    LogStream,
    MailDomain,
    Member,
    ServiceAccount,
    ServiceRole,
    SignOnConnection,
    Tenant,
)

Work = Callable[[], None]
Sign = Callable[[Any], Client]
VERIFIER = Path(__file__).parents[2] / "docs" / "examples" / "verify_receipt.py"
Status = Closing.Status


@pytest.fixture(autouse=True)
def _as_in_production(service_role: ServiceRole, settings: Any, aws: LocalAws, tmp_path: Path) -> None:
    settings.BACKUP_RETENTION_DAYS = 35
    settings.CLOSING_EXPORT_DIR = str(tmp_path)
    settings.CLOSING_QUIET_HOURS = 0
    ours = aws.client(settings.AWS_ACCOUNT_ID, "kms", REGION)
    settings.PLATFORM_KEY_ARN = ours.create_key()["KeyMetadata"]["Arn"]


@pytest.fixture
def lea(db: None) -> User:
    """Another support lead."""
    user = User.objects.create_user("lea@kore.example", "lea@kore.example", "lea-password-of-tests", is_staff=True)
    user.groups.add(Group.objects.get(name="Support lead"))
    return user


def made(tenant: Tenant) -> Any:
    datakeys.start_anew()
    (key,) = datakeys.generate(tenant, [{"object": "1"}], caller="tests", request_id="r")
    return key


def close(tenant: Tenant, folder: object = None, **options: Any) -> dict[str, Any]:
    out = StringIO()
    given = {"reason": "the contract ended", "who": "Sam and Lea", "for_good": True, **options}
    try:
        call_command("close_tenant", tenant=str(tenant.pk), export_to=str(folder or ""), stdout=out, **given)
    except SystemExit as left:
        return {**json.loads(out.getvalue()), "exit": left.code}
    return dict(json.loads(out.getvalue()))


@pytest.fixture
def left(tenant: Tenant, alice: Member, active: KeyRegistration, work: Work) -> Any:
    """A data key of Acme Bank, which has given up its own key: the platform's opens it, backups need the old one."""
    key = made(tenant)
    services.leave(tenant, reason="the contract ends", actor=acting(alice))
    work()
    active.refresh_from_db()
    assert active.status == "retiring" and BranchKeyWrapping.objects.filter(tenant=tenant).exists()
    return key


def wrapped_bytes(tenant: Tenant) -> int:
    """Count what could be opened, past the ORM."""
    found = 0
    with connection.cursor() as cursor:
        for table in ("keys_branchkey", "keys_branchkeywrapping"):
            pk = tenant.pk.hex if connection.vendor == "sqlite" else str(tenant.pk)
            cursor.execute(f"SELECT COUNT(wrapped) FROM {table} WHERE tenant_id = %s", [pk])
            found += cursor.fetchone()[0]
    return found


def public() -> str:
    signer = head_signing.signer()
    assert signer is not None
    return base64.b64encode(signer.public).decode()


def verify(*files: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(VERIFIER), *map(str, files), "--public-key", public()]
    return subprocess.run(command, capture_output=True, text=True, check=False)


class Backup:
    """A state of the database that one can come back to: a savepoint that is rolled back."""

    def __enter__(self) -> None:
        self.point = transaction.savepoint()

    def __exit__(self, *_: object) -> None:
        transaction.savepoint_rollback(self.point)


# --- refused ---------------------------------------------------------------------------------------------------------


def test_it_is_refused_while_the_key_serves(tenant: Tenant, active: KeyRegistration, tmp_path: Path) -> None:
    looked = close(tenant, for_good=False)
    assert looked["exit"] == 1 and active.key_arn in looked["blockers"][0] and not looked["is_done"]
    with pytest.raises(CommandError, match="cannot be closed yet"):
        close(tenant, tmp_path)
    assert not Closing.objects.exists() and not list(tmp_path.iterdir())
    tenant.refresh_from_db()
    assert tenant.closed_at is None


def test_it_is_refused_while_a_registration_is_under_way_and_while_services_use_a_key(
    tenant: Tenant, active: KeyRegistration, settings: Any, tmp_path: Path, left: Any
) -> None:
    settings.CLOSING_QUIET_HOURS = 24
    with pytest.raises(CommandError, match="No service may have done that for 24 hours"):
        close(tenant, tmp_path)
    settings.CLOSING_QUIET_HOURS = 0
    KeyRegistration.objects.create(tenant=tenant, key_arn=active.key_arn, role_arn=active.role_arn, status="submitted")
    with pytest.raises(CommandError, match="It is withdrawn first"):
        close(tenant, tmp_path)
    assert wrapped_bytes(tenant) == 2


def test_without_a_folder_nothing_is_destroyed(tenant: Tenant, left: Any, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="is not there"):
        close(tenant, tmp_path / "not there")
    assert wrapped_bytes(tenant) == 2
    assert Closing.objects.get().status == Status.STOPPED
    assert AuditEvent.objects.of(tenant).filter(name="keys.closing.stopped").exists()
    with pytest.raises(CommandError, match="who decided so"):
        close(tenant, tmp_path, who="")


def _not_signed(settings: Any, aws: LocalAws, tmp_path: Path) -> dict[str, Callable[[], None]]:
    kms = aws.client(settings.AWS_ACCOUNT_ID, "kms", REGION)

    def denied() -> None:
        key = kms.create_key(KeySpec="ECC_NIST_EDWARDS25519", KeyUsage="SIGN_VERIFY")["KeyMetadata"]
        kms.disable_key(KeyId=key["KeyId"])
        settings.SEAL_KMS_KEY_ARN = key["Arn"]

    def of_another_spec() -> None:
        key = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]
        settings.SEAL_KMS_KEY_ARN = key["Arn"]

    def no_pem() -> None:
        settings.SEAL_KEY = "no PEM"

    def nowhere_to_publish() -> None:
        (tmp_path / "a file").write_text("")
        settings.SEAL_HEADS_DIR = str(tmp_path / "a file" / "heads")

    return {one.__name__: one for one in (denied, of_another_spec, no_pem, nowhere_to_publish)}


@pytest.mark.parametrize("why", ["denied", "of_another_spec", "no_pem", "nowhere_to_publish"])
def test_without_a_receipt_nothing_is_destroyed(
    tenant: Tenant, left: Any, sam: User, lea: User, tmp_path: Path, settings: Any, aws: LocalAws, why: str
) -> None:
    """That a key is set says nothing about whether it signs."""
    _not_signed(settings, aws, tmp_path)[why]()
    with pytest.raises(CommandError, match="Nothing was destroyed"):
        close(tenant, tmp_path)
    closing = services.request_closing(tenant, reason="r", actor=acting_staff(sam))
    services.approve_closing(closing, reason="yes", actor=acting_staff(lea))
    closings.attend_due()
    closing.refresh_from_db()
    assert closing.status == Status.STOPPED and "Nothing was destroyed" in closing.why
    assert wrapped_bytes(tenant) == 2
    tenant.refresh_from_db()
    assert tenant.closed_at is None
    assert not list(Path(settings.SEAL_HEADS_DIR).glob(".*")) if Path(settings.SEAL_HEADS_DIR).is_dir() else True


def test_a_key_that_stops_signing_during_the_export_stops_the_closing(
    tenant: Tenant, left: Any, tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = files.write

    def write(*args: Any, **named: Any) -> Path:
        settings.SEAL_KEY = "no PEM"
        return written(*args, **named)

    monkeypatch.setattr(files, "write", write)
    with pytest.raises(CommandError, match="Nothing was destroyed"):
        close(tenant, tmp_path)
    assert wrapped_bytes(tenant) == 2


def test_a_canary_of_ours_is_not_closed(service_role: ServiceRole, tmp_path: Path) -> None:
    canary = tenant_services.create_canary_tenant(service_role, region=REGION, actor=audit.SYSTEM)
    assert "canary" in close(canary, for_good=False)["blockers"][0]


# --- done ------------------------------------------------------------------------------------------------------------


def test_what_is_closed_is_gone_for_good(
    tenant: Tenant, alice: Member, bob: Member, left: Any, work: Work, tmp_path: Path, service: ServiceAccount
) -> None:
    tenant_services.invite(tenant, email="carol@acme.example", role="admin", actor=acting(alice))
    token, _ = tenant_services.mint_token(
        alice, name="ci", permissions={"read"}, days=30, may_change_serving_key=False, actor=acting(alice)
    )
    MailDomain.objects.create(tenant=tenant, name="acme.example", token="t", status="verified")
    SignOnConnection.objects.create(
        tenant=tenant, issuer="https://login.acme.example", client_id="c", mode="offered", default_role="auditor"
    )
    Directory.objects.create(tenant=tenant)
    HeadRecipient.objects.create(tenant=tenant, email="h@acme.example")
    LogStream.objects.create(
        tenant=tenant, format="webhook", description="SIEM", origin="https://siem.acme.example", sealed_address="x"
    )
    Ticket.objects.create(tenant=tenant, subject="s", opened_by="tests")
    WebhookEndpoint.objects.create(tenant=tenant, format="standard", origin="https://hooks.acme.example")
    registration, before = KeyRegistration.objects.get(tenant=tenant), Tenant.objects.get(pk=tenant.pk)
    projection.refresh([tenant.pk])
    looked = close(tenant, for_good=False)
    assert looked["blockers"] == [] and len(looked["destroyed"]["branch_keys"]) == 1
    mail.outbox.clear()

    said = close(tenant, tmp_path)

    assert said["is_done"] and wrapped_bytes(tenant) == 0
    assert not BranchKey.objects.exists() and not BranchKeyWrapping.objects.exists()
    datakeys.start_anew()
    with pytest.raises(errors.KeyNotActive):
        datakeys.open_wrapped(tenant, [(left.wrapped_key, {"object": "1"})], caller="tests", request_id="r")
    with pytest.raises(errors.KeyNotActive):
        datakeys.generate(tenant, [{"object": "1"}], caller="tests", request_id="r")
    assert not Member.objects.of(tenant).exists()
    assert Member.everybody.filter(tenant=tenant).count() == 2, "the log knows who was there"
    assert not Invitation.objects.of(tenant).open().exists()
    assert AccessToken.objects.get(pk=token.pk).revoked_at is not None
    assert ServiceAccount.objects.get(pk=service.pk).disabled_at is not None
    assert not SignOnConnection.objects.filter(removed_at=None).exists() and not Directory.objects.exists()
    assert not HeadRecipient.objects.exists()
    stream = LogStream.objects.get()
    assert (stream.status, stream.sealed_address) == ("removed", "")
    tenant.refresh_from_db()
    assert tenant.closed_at is not None
    assert (tenant.external_id, tenant.name) == (before.external_id, before.name)
    assert tenant.key_generation > before.key_generation
    registration.refresh_from_db()
    assert (registration.status, registration.role_claim) == ("retired", None)
    work()
    assert registration.role_arn not in {arn for row in ServiceRolePolicy.objects.all() for arn in row.role_arns}
    assert not Ticket.objects.of(tenant).open().exists() and not WebhookEndpoint.objects.of(tenant).present().exists()
    projection.refresh([tenant.pk])
    assert not FleetRow.objects.filter(tenant=tenant).exists()
    Closing.objects.update(due_at=clock.now())
    closings.attend_due()
    assert Closing.objects.get().status == Status.CLOSED


def test_nobody_of_it_finds_it_any_more_and_its_domain_is_free(
    tenant: Tenant,
    alice: Member,
    left: Any,
    service: ServiceAccount,
    browser_of: Sign,
    api_of: Sign,
    tmp_path: Path,
    mallory: Member,
) -> None:
    page, api = browser_of(alice), api_of(service)
    theirs, url = api_of(alice), f"/api/v1/tenants/{tenant.pk}"
    assert page.get(f"/tenants/{tenant.pk}/key/").status_code == 200
    assert theirs.get(f"{url}/key").status_code == 200
    everybody, _ = tenant_services.create_service_account(
        "all", tenants=[], has_all_tenants=True, scopes=["key:read"], actor=audit.COMMAND
    )
    for_all = api_of(everybody)
    MailDomain.objects.create(tenant=tenant, name="acme.example", token="t", status="verified")
    close(tenant, tmp_path)
    authentication.forget_all()  # what a process remembers of a token, it remembers for five seconds
    access.forget_all()
    assert page.get(f"/tenants/{tenant.pk}/key/").status_code in {302, 404}
    again = browser_of(alice).get(f"/tenants/{tenant.pk}/key/")
    not_there = browser_of(alice).get("/tenants/00000000-0000-4000-8000-000000000000/key/")
    assert (again.status_code, not_there.status_code) == (404, 404)
    assert theirs.get(f"{url}/key").status_code == 401
    assert api.post(f"{url}/data-keys", {}, content_type="application/json").status_code == 401
    assert for_all.get(f"{url}/key").status_code in {403, 404}
    assert for_all.get("/api/v1/key-states").status_code == 200
    assert RegistrationMove.objects.filter(tenant=tenant, reason="closed", new_status="retired").exists()
    MailDomain.objects.create(tenant=mallory.tenant, name="acme.example", token="t", status="verified")
    tenant.refresh_from_db()
    for operation in (
        lambda: services.save_draft(tenant, actor=audit.COMMAND),
        lambda: tenant_services.invite(tenant, email="x@x.example", role="owner", actor=audit.COMMAND),
    ):
        with pytest.raises(OrganisationClosed):
            operation()
    with pytest.raises(NotFound):
        services.save_draft(tenant, actor=acting(alice))


def test_the_export_is_there_before_the_keys_are_gone(tenant: Tenant, left: Any, tmp_path: Path) -> None:
    said = close(tenant, tmp_path)
    folder = Path(said["export"])
    names = {path.name for path in folder.iterdir()}
    assert {"log-001.jsonl", "key-uses-001.jsonl", "evidence.json", "evidence.pdf", "receipt-1.json"} <= names
    lines = (folder / "log-001.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["complete"] and "keys.key.left" in "".join(lines)
    assert json.loads((folder / "key-uses-001.jsonl").read_text().splitlines()[-1])["count"] == 1
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.iterdir())


def test_what_its_customer_took_back_in_aws_is_closed_too(
    tenant: Tenant, active: KeyRegistration, tmp_path: Path, sam: User, work: Work
) -> None:
    """It could not be left: nothing can be moved away from a key that AWS refuses."""
    made(tenant)
    services.suspend(tenant, reason="the key was deleted", actor=acting_staff(sam))
    close(tenant, tmp_path)
    work()
    active.refresh_from_db()
    assert active.status == "retired" and wrapped_bytes(tenant) == 0
    assert active.role_arn not in {arn for row in ServiceRolePolicy.objects.all() for arn in row.role_arns}


def test_the_database_keeps_it_closed(tenant: Tenant, left: Any, tmp_path: Path) -> None:
    row = BranchKeyWrapping.objects.get(tenant=tenant)
    with pytest.raises(DatabaseError), transaction.atomic():
        row.delete()  # before its time
    close(tenant, tmp_path)
    for change in (
        lambda: Tenant.objects.filter(pk=tenant.pk).update(closed_at=None),
        lambda: Tenant.objects.filter(pk=tenant.pk).update(closed_at=clock.now() + timedelta(days=1)),
        lambda: BranchKey.objects.create(tenant=tenant, key_arn="k", wrapped=b"x"),
        lambda: ClosingReceipt.objects.update(body="{}"),
        lambda: ClosingReceipt.objects.all().delete(),
    ):
        with pytest.raises(DatabaseError), transaction.atomic():
            change()
    with pytest.raises(errors.KeyNotActive):
        branchkeys.make(tenant, None)
    with pytest.raises(CommandError, match="closed for good"):
        close(tenant, tmp_path)


def test_a_command_that_broke_off_is_begun_again(
    tenant: Tenant, left: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("keys.closing.files._write_parts", killed)
        close(tenant, tmp_path)
    assert wrapped_bytes(tenant) == 2 and Closing.objects.get().status == Status.QUEUED
    close(tenant, tmp_path)
    assert wrapped_bytes(tenant) == 0


@pytest.mark.django_db(transaction=True)
def test_who_had_loaded_it_before_it_was_closed_finds_that_it_is() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer at a time")
    role = ServiceRole.objects.create(name="r", arn="arn:aws:iam::999900001111:role/r", unique_id="AROA1")
    stale = Tenant.objects.create(name="Acme", service_role=role)
    tenant_services.end_organisation(Tenant.objects.get(pk=stale.pk), reason="r", actor=audit.COMMAND)
    with pytest.raises(OrganisationClosed):
        services.save_draft(stale, actor=audit.COMMAND)
    assert not KeyRegistration.objects.exists()


# --- receipts --------------------------------------------------------------------------------------------------------


def test_the_first_receipt_names_every_place_with_its_date_and_any_changed_byte_is_seen(
    tenant: Tenant, alice: Member, left: Any, tmp_path: Path, settings: Any
) -> None:
    said = close(tenant, tmp_path)
    out = StringIO()
    call_command("closing_receipts", tenant=str(tenant.pk), stdout=out)
    (line,) = out.getvalue().splitlines()
    body = json.loads(line)["body"]
    places = {one["place"]: one for one in body["places"]}
    assert set(places) == {"database", "memory", "services", "backups", "replicas"}
    assert places["database"]["how"] == "verified" and places["backups"]["how"] == "declared"
    assert body["last_copy_ends_at"] == places["backups"]["until"]
    closing = Closing.objects.get()
    assert closing.erased_at is not None and said["last_copy_ends_at"] is not None
    assert closing.ends_at == (closing.erased_at + timedelta(days=35)).replace(microsecond=0)
    under = {one["is_ours"]: one for one in body["destroyed"]["under"]}
    assert (under[True]["key_arn"], under[True]["branch_keys"]) == (settings.PLATFORM_KEY_ARN, 1)
    assert under[False]["wrappings"] == 1, "the wrapping that backups needed"
    file = tmp_path / "receipt.json"
    file.write_text(line)
    assert verify(file).returncode == 0
    signed = json.loads(line)
    for name, value in body.items():
        other = {**body, name: f"{value}x" if isinstance(value, str) else None}
        with pytest.raises(receipts.ReceiptRefused):
            receipts.verified({**signed, "body": other}, public=base64.b64decode(public()))
    file.write_text(line.replace('"wrappings": 1', '"wrappings": 0'))
    assert verify(file).returncode == 1
    assert published_heads.folder().receipt(f"closing-{closing.pk}-1.json") == signed
    while follow.follow():
        pass
    notices.send_due()
    (letter,) = [one for one in mail.outbox if "keep this receipt" in one.subject]
    assert letter.to == [alice.user.email] and signed["signature"] in letter.body
    assert "the contract ended" in letter.body and tenant.external_id not in letter.body


def test_a_receipt_that_is_longer_than_kms_signs_is_signed_by_its_digest(
    tenant: Tenant, left: Any, tmp_path: Path, settings: Any, aws: LocalAws
) -> None:
    """A hundred branch keys, as an organisation with many data scopes has them."""
    row = BranchKey.objects.get(tenant=tenant)
    for number in range(100):
        BranchKey.objects.create(
            tenant=tenant, data_scope=f"s{number}", key_arn=row.key_arn, wrapped=b"x", registration=row.registration
        )
    kms = aws.client(settings.AWS_ACCOUNT_ID, "kms", REGION)
    key = kms.create_key(KeySpec="ECC_NIST_EDWARDS25519", KeyUsage="SIGN_VERIFY")["KeyMetadata"]
    settings.SEAL_KMS_KEY_ARN = key["Arn"]
    folder = Path(close(tenant, tmp_path)["export"])
    (receipt,) = services.receipts_of(tenant)
    assert len(audit.canonical(receipt["body"])) > 4096 and len(receipt["body"]["destroyed"]["branch_keys"]) == 101
    assert verify(folder / "receipt-1.json").returncode == 0
    text = (folder / "receipt-1.json").read_text()
    (folder / "receipt-1.json").write_text(text.replace('"wrappings": 1', '"wrappings": 0'))
    assert verify(folder / "receipt-1.json").returncode == 1
    closed, refused = receipts.published()
    assert set(closed) == {tenant.pk} and not refused


def test_the_second_receipt_follows_when_the_last_copy_is_gone(
    tenant: Tenant, alice: Member, left: Any, tmp_path: Path, work: Work
) -> None:
    said = close(tenant, tmp_path)
    work()
    Closing.objects.update(due_at=clock.now())
    closings.attend_due()
    closing = Closing.objects.get()
    assert (closing.status, closing.due_at) == (Status.CLOSED, closing.ends_at)
    assert closings.attend_due() == 0, "not before its time"
    with time_machine.travel(clock.now() + timedelta(days=35, minutes=1)):
        assert closings.attend_due() == 1
        closing.refresh_from_db()
        assert (closing.status, closing.due_at) == (Status.ENDED, None)
        while follow.follow():
            pass
        notices.send_due()
    first, second = services.receipts_of(tenant)
    assert second["body"]["first"]["signature"] == first["signature"]
    assert {one["state"] for one in second["body"]["places"]} == {"ended"}
    folder = Path(said["export"])
    assert verify(folder / "receipt-1.json", folder / "receipt-2.json").returncode == 0
    (letter,) = [one for one in mail.outbox if "the last copy of your keys is gone" in one.subject]
    assert letter.to == [alice.user.email] and second["signature"] in letter.body
    closing.refresh_from_db()
    assert closing.addresses == []


def test_the_second_receipt_waits_while_our_policies_name_a_role(tenant: Tenant, left: Any, tmp_path: Path) -> None:
    """No worker takes the role out of our policy: the tombstone is not complete, whatever the date."""
    close(tenant, tmp_path)
    with time_machine.travel(clock.now() + timedelta(days=40)):
        Closing.objects.update(due_at=clock.now())
        closings.attend_due()
        closing = Closing.objects.get()
        assert (closing.status, closing.receipts.count()) == (Status.ERASED, 1)
        assert "still name a role" in closing.why


def test_a_removal_that_failed_is_no_removal(tenant: Tenant, left: Any, tmp_path: Path) -> None:
    close(tenant, tmp_path)
    RoleConfiguration.objects.filter(tenant=tenant, action="remove").update(status="failed", due_at=None)
    Closing.objects.update(due_at=clock.now())
    closings.attend_due()
    closing = Closing.objects.get()
    assert closing.status == Status.ERASED and "still name a role" in closing.why


@pytest.mark.parametrize(("reason", "ends"), [("aws_surprise", Status.CLOSED), ("policy_drift", Status.ERASED)])
def test_a_removal_that_failed_is_tried_again_without_a_person(
    tenant: Tenant, left: Any, tmp_path: Path, work: Work, reason: str, ends: str
) -> None:
    """Nobody of a closed organisation can. What somebody changed in our policy is looked at by a person first."""
    close(tenant, tmp_path)
    removal = RoleConfiguration.objects.filter(tenant=tenant, action="remove")
    removal.update(status="failed", reason=reason, due_at=None, finished_at=clock.now())

    def attend() -> None:
        Closing.objects.update(due_at=clock.now())
        closings.attend_due()

    attend()
    assert removal.get().status == "failed", "not at once"
    with time_machine.travel(clock.now() + timedelta(hours=2)):
        attend()
        work()
        attend()
    assert Closing.objects.get().status == ends


def test_a_worker_that_is_killed_after_it_signed_leaves_one_receipt(
    tenant: Tenant, left: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = published_heads.Folder.write_receipt

    def killed(self: published_heads.Folder, name: str, document: dict[str, Any]) -> bool:
        published(self, name, document)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(published_heads.Folder, "write_receipt", killed)
        close(tenant, tmp_path)
    closing = Closing.objects.get()
    assert (closing.status, closing.receipts.count(), wrapped_bytes(tenant)) == (Status.ERASED, 0, 0)
    with time_machine.travel(clock.now() + timedelta(minutes=7)):
        closings.attend_due()
    (receipt,) = services.receipts_of(tenant)
    assert receipt == published_heads.folder().receipt(f"closing-{closing.pk}-1.json")


# --- copies in a bucket ----------------------------------------------------------------------------------------------


BUCKET = "byok-closing"


@pytest.fixture(scope="module")
def _s3() -> Iterator[str]:
    """A store that speaks S3; the local AWS has none, as nothing else of ours needs one."""
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def store(_s3: str, settings: Any) -> Any:
    """A bucket with versions and Object Lock."""
    settings.ESCROW_BUCKET, settings.ESCROW_ENDPOINT_URL, settings.ESCROW_REGION = BUCKET, _s3, "us-east-1"
    settings.ESCROW_RETENTION_DAYS = 400
    settings.ESCROW_ACCESS_KEY_ID, settings.ESCROW_SECRET_ACCESS_KEY = "escrow", "a secret of tests"
    keys = {"aws_access_key_id": "escrow", "aws_secret_access_key": "a secret of tests"}
    client = boto3.client("s3", endpoint_url=_s3, region_name="us-east-1", **keys)
    if BUCKET not in {one["Name"] for one in client.list_buckets()["Buckets"]}:
        client.create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
    return client


def of_tenant(store: Any, tenant: Tenant) -> list[dict[str, Any]]:
    found = store.list_object_versions(Bucket=BUCKET, Prefix=f"branch-keys/{tenant.pk}/")
    return [*found.get("Versions", []), *found.get("DeleteMarkers", [])]


def rebuild() -> dict[str, Any]:
    out = StringIO()
    with suppress(SystemExit):
        call_command("rebuild_branch_keys", public_key=public(), reason="the disk died", stdout=out)
    return dict(json.loads(out.getvalue()))


def test_copies_are_deleted_with_the_keys_and_bring_nothing_back(
    tenant: Tenant, left: Any, tmp_path: Path, store: Any
) -> None:
    call_command("escrow_branch_keys", stdout=StringIO())
    assert escrow.write_due() == 1 and len(of_tenant(store, tenant)) == 1
    kept = store.get_object(Bucket=BUCKET, Key=of_tenant(store, tenant)[0]["Key"])["Body"].read()
    name = of_tenant(store, tenant)[0]["Key"]
    with Backup():
        close(tenant, tmp_path)
        body = services.receipts_of(tenant)[0]["body"]
    assert of_tenant(store, tenant) == []
    (place,) = [one for one in body["places"] if one["place"] == "copies"]
    assert (place["state"], place["how"]) == ("ended", "verified")
    # Somebody has kept a copy, and the database is one from before the closing.
    store.put_object(Bucket=BUCKET, Key=name, Body=kept)
    done = rebuild()
    assert (done["restored"], done["known"]) == (0, 0) and "closed" in str(done["why"])
    check()
    assert of_tenant(store, tenant) == [], "what closes it again deletes that copy too"
    store.put_object(Bucket=BUCKET, Key=name, Body=kept)
    done = rebuild()
    assert done["restored"] == 0 and "closed" in str(done["why"]) and wrapped_bytes(tenant) == 0


def test_a_locked_copy_is_a_date_and_the_second_receipt_waits_for_it(
    tenant: Tenant, left: Any, tmp_path: Path, store: Any, work: Work
) -> None:
    call_command("escrow_branch_keys", stdout=StringIO())
    assert escrow.write_due() == 1
    (version,) = of_tenant(store, tenant)
    until, name = clock.now() + timedelta(days=90), version["Key"]
    retention = {"Mode": "COMPLIANCE", "RetainUntilDate": until}
    store.put_object_retention(Bucket=BUCKET, Key=name, VersionId=version["VersionId"], Retention=retention)
    close(tenant, tmp_path)
    work()
    body = services.receipts_of(tenant)[0]["body"]
    (place,) = [one for one in body["places"] if one["place"] == "copies"]
    assert (place["state"], place["how"]) == ("held", "declared")
    assert body["last_copy_ends_at"] == place["until"] == until.isoformat(timespec="seconds")
    Closing.objects.update(due_at=clock.now(), ends_at=clock.now())
    closings.attend_due()
    closing = Closing.objects.get()
    assert (closing.status, closing.receipts.count()) == (Status.CLOSED, 1)
    assert "1 copies are left" in closing.why and closing.due_at is not None and closing.due_at > clock.now()


def test_a_bucket_that_cannot_be_listed_is_not_called_empty(
    tenant: Tenant, left: Any, tmp_path: Path, store: Any, settings: Any, work: Work
) -> None:
    call_command("escrow_branch_keys", stdout=StringIO())
    assert escrow.write_due() == 1
    settings.ESCROW_BUCKET = "another-one"
    close(tenant, tmp_path)
    work()
    body = services.receipts_of(tenant)[0]["body"]
    (place,) = [one for one in body["places"] if one["place"] == "copies"]
    assert place["state"] == "held" and "cannot be told" in place["text"]
    Closing.objects.update(due_at=clock.now(), ends_at=clock.now())
    closings.attend_due()
    assert Closing.objects.get().receipts.count() == 1


def test_without_a_date_for_its_copies_nobody_is_closed(
    tenant: Tenant, left: Any, tmp_path: Path, store: Any, settings: Any
) -> None:
    """A receipt is signed: it names no date that nobody has said."""
    settings.ESCROW_RETENTION_DAYS = None
    with pytest.raises(CommandError, match="ESCROW_RETENTION_DAYS is not set"):
        close(tenant, tmp_path)
    settings.ESCROW_BUCKET = ""
    BranchKey.objects.update(escrowed_at=clock.now())
    with pytest.raises(CommandError, match="ESCROW_RETENTION_DAYS is not set"):
        close(tenant, tmp_path)
    assert wrapped_bytes(tenant) == 2


def test_copies_that_could_not_be_looked_for_are_tried_each_day(
    tenant: Tenant, left: Any, tmp_path: Path, store: Any, settings: Any, work: Work
) -> None:
    call_command("escrow_branch_keys", stdout=StringIO())
    assert escrow.write_due() == 1
    settings.ESCROW_BUCKET = "another-one"
    close(tenant, tmp_path)
    work()
    Closing.objects.update(due_at=clock.now())
    closings.attend_due()
    closing = Closing.objects.get()
    assert closing.due_at is not None and closing.due_at < clock.now() + timedelta(days=1, minutes=1)
    settings.ESCROW_BUCKET = BUCKET
    with time_machine.travel(clock.now() + timedelta(days=1, minutes=1)):
        assert closings.attend_due() == 1
    assert of_tenant(store, tenant) == []


def test_the_date_of_a_receipt_is_no_guess_where_more_versions_are_locked_than_are_asked(
    tenant: Tenant, left: Any, tmp_path: Path, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "ASKED", 1)
    for name, days in (("a", 10), ("b", 300)):
        key = f"branch-keys/{tenant.pk}/{name}.json"
        put = store.put_object(Bucket=BUCKET, Key=key, Body=b"{}")
        until = {"Mode": "COMPLIANCE", "RetainUntilDate": clock.now() + timedelta(days=days)}
        store.put_object_retention(Bucket=BUCKET, Key=key, VersionId=put["VersionId"], Retention=until)
    close(tenant, tmp_path)
    body = services.receipts_of(tenant)[0]["body"]
    assert body["last_copy_ends_at"] > (clock.now() + timedelta(days=300)).isoformat()


# --- two leads -------------------------------------------------------------------------------------------------------


def test_two_leads_close_it_in_the_back_office(
    tenant: Tenant, left: Any, sam: User, lea: User, browser_of: Sign, work: Work, tmp_path: Path
) -> None:
    office = "/admin/tenants/tenant"
    asked = browser_of(sam).post(f"{office}/{tenant.pk}/operations/close/", {"reason": "the contract ended"})
    assert asked.status_code == 302
    closing = Closing.objects.get()
    assert (closing.status, closings.attend_due()) == (Status.WAITING, 0)
    approve = f"/admin/keys/closing/{closing.pk}/operations/approve/"
    refused = browser_of(sam).post(approve, {"reason": "mine"})
    assert "Another support lead approves" in refused.content.decode()
    closing.refresh_from_db()
    assert closing.status == Status.WAITING and wrapped_bytes(tenant) == 2
    assert browser_of(lea).post(approve, {"reason": "looked at it"}).status_code == 302
    assert closings.attend_due() == 1
    work()
    closing.refresh_from_db()
    assert closing.status in Closing.DONE and wrapped_bytes(tenant) == 0
    page = browser_of(lea).get(f"/admin/keys/closing/{closing.pk}/change/").content.decode()
    assert services.receipts_of(tenant)[0]["signature"].split("=")[0][:20] in page
    names = AuditEvent.objects.of(tenant).filter(name__startswith="keys.closing.").values_list("name", flat=True)
    assert {"keys.closing.requested", "keys.closing.approved", "keys.closing.receipt_signed"} <= set(names)
    assert browser_of(lea).get(f"{office}/{tenant.pk}/change/").status_code == 200


def test_who_may_not_and_what_is_refused(
    tenant: Tenant, alice: Member, left: Any, sam: User, lea: User, settings: Any
) -> None:
    supporter = User.objects.create_user("kim@kore.example", "kim@kore.example", is_staff=True)
    supporter.groups.add(Group.objects.get(name="Support"))
    for actor in (acting_staff(supporter), acting(alice)):
        with pytest.raises(NotAllowed):
            services.request_closing(tenant, reason="r", actor=actor)
    with pytest.raises(NotAllowed):  # the command line is for whoever operates the system
        services.close_tenant(tenant, export_to="/", reason="r", actor=acting_staff(sam))
    closing = services.request_closing(tenant, reason="r", actor=acting_staff(sam))
    with pytest.raises(errors.ClosingMoved):
        services.request_closing(tenant, reason="r", actor=acting_staff(lea))
    services.refuse_closing(closing, reason="no", actor=acting_staff(lea))
    with pytest.raises(errors.ClosingMoved):
        services.approve_closing(closing, reason="yes", actor=acting_staff(lea))
    settings.CLOSING_EXPORT_DIR = ""
    with pytest.raises(errors.ExportNotWritten):
        services.request_closing(tenant, reason="r", actor=acting_staff(sam))
    assert wrapped_bytes(tenant) == 2


def test_a_lead_who_let_the_other_one_in_does_not_approve(tenant: Tenant, left: Any, sam: User) -> None:
    second = tenant_services.create_staff(
        "second@kore.example", groups=["Support lead"], reason="help", actor=acting_staff(sam)
    )
    closing = services.request_closing(tenant, reason="r", actor=acting_staff(sam))
    with pytest.raises(errors.ClosingNeedsTwo):
        services.approve_closing(closing, reason="yes", actor=acting_staff(User.objects.get(pk=second.pk)))


def test_a_key_that_serves_again_stops_what_was_approved(
    tenant: Tenant, active: KeyRegistration, left: Any, sam: User, lea: User
) -> None:
    closing = services.request_closing(tenant, reason="r", actor=acting_staff(sam))
    services.approve_closing(closing, reason="yes", actor=acting_staff(lea))
    KeyRegistration.objects.create(
        tenant=tenant,
        key_arn=active.key_arn,
        role_arn=active.role_arn,
        status="active",
        activated_at=clock.now(),
        role_claim="x",
    )
    closings.attend_due()
    closing.refresh_from_db()
    assert closing.status == Status.STOPPED and "serves" in closing.why and wrapped_bytes(tenant) == 2


# --- a worker that exports -------------------------------------------------------------------------------------------


@pytest.fixture
def approved(tenant: Tenant, left: Any, sam: User, lea: User) -> Closing:
    closing = services.request_closing(tenant, reason="r", actor=acting_staff(sam))
    services.approve_closing(closing, reason="yes", actor=acting_staff(lea))
    return closing


def during_the_export(monkeypatch: pytest.MonkeyPatch, does: Callable[[], object]) -> None:
    """Let something happen while the uses of keys are written."""
    source = key_uses.file

    def file(tenant: Tenant, wanted: Any) -> Any:
        found = source(tenant, wanted)

        def shape(rows: Any) -> Any:
            does()
            return found.shapes["jsonl"](rows)

        return replace(found, shapes={**found.shapes, "jsonl": shape})

    monkeypatch.setattr(key_uses, "file", file)


def test_a_worker_whose_claim_another_one_has_stops_exporting(
    tenant: Tenant, approved: Closing, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    taken_over = clock.now() + timedelta(seconds=1)
    with monkeypatch.context() as patch:
        during_the_export(patch, lambda: Closing.objects.update(claimed_at=taken_over))
        closings.attend_due()
    approved.refresh_from_db()
    assert (approved.status, approved.claimed_at, approved.failures) == (Status.QUEUED, taken_over, 0)
    assert wrapped_bytes(tenant) == 2
    with time_machine.travel(clock.now() + timedelta(minutes=7)):
        closings.attend_due()
    approved.refresh_from_db()
    assert approved.status in Closing.DONE and wrapped_bytes(tenant) == 0
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == [Path(approved.folder)], "no half export stays"


def test_an_error_that_nobody_expects_behind_an_export_puts_the_closing_off(
    tenant: Tenant, approved: Closing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr("keys.closing.destroying.destroy", broken)
    closings.attend_due()
    approved.refresh_from_db()
    assert (approved.status, approved.claimed_at, approved.failures) == (Status.QUEUED, None, 1)
    assert approved.due_at is not None and approved.due_at > clock.now() and wrapped_bytes(tenant) == 2
    assert Closing.objects.failing().filter(pk=approved.pk).exists()


def test_an_error_that_nobody_expects_behind_the_destruction_puts_the_receipt_off(
    tenant: Tenant, approved: Closing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr("keys.closing.receipts.issue", broken)
    closings.attend_due()
    approved.refresh_from_db()
    assert (approved.status, approved.claimed_at, approved.failures) == (Status.ERASED, None, 1)
    assert approved.due_at is not None and approved.due_at > clock.now()


def test_an_export_that_takes_longer_than_a_worker_has_says_so(
    tenant: Tenant, approved: Closing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_long() -> None:
        raise SoftTimeLimitExceeded

    during_the_export(monkeypatch, too_long)
    closings.attend_due()
    approved.refresh_from_db()
    assert approved.status == Status.STOPPED and "takes longer than a worker has" in approved.why
    assert wrapped_bytes(tenant) == 2


# --- a restore afterwards --------------------------------------------------------------------------------------------


def check(*files: Path) -> dict[str, Any]:
    out = StringIO()
    try:
        call_command(
            "restore_check", reason="the disk died", state="restored", export=[str(one) for one in files], stdout=out
        )
    except SystemExit as left:
        return {**json.loads(out.getvalue()), "exit": left.code}
    return {**json.loads(out.getvalue()), "exit": 0}


def test_a_restore_does_not_bring_it_back(
    tenant: Tenant, alice: Member, active: KeyRegistration, tmp_path: Path, sam: User
) -> None:
    """The backup is from before its owner gave the key up: it has the key as serving."""
    key = made(tenant)
    with Backup():
        services.suspend(tenant, reason="x", actor=acting_staff(sam))
        close(tenant, tmp_path)
    tenant = Tenant.objects.get(pk=tenant.pk)
    assert tenant.closed_at is None and wrapped_bytes(tenant) == 1 and Member.objects.of(tenant).exists()
    done = check()
    assert (done["closed"], done["left"], done["lost"], done["exit"]) == ([str(tenant.pk)], [], [], 0)
    assert str(tenant.pk) not in done["unchecked"]
    tenant.refresh_from_db()
    assert tenant.closed_at is not None and wrapped_bytes(tenant) == 0
    datakeys.start_anew()
    with pytest.raises(errors.KeyNotActive):
        datakeys.open_wrapped(tenant, [(key.wrapped_key, {"object": "1"})], caller="tests", request_id="r")
    active.refresh_from_db()
    assert active.status == "retired"
    assert len(list(published_heads.folder().receipts())) == 2, "the new closing has its own dates"
    again = check()
    assert (again["closed"], again["left"], again["exit"]) == ([], [], 0)


def test_a_line_that_only_a_file_has_destroys_nothing(tenant: Tenant, left: Any, tmp_path: Path) -> None:
    facts = {"name": "tenants.tenant.closed", "tenant": str(tenant.pk), "target": "x", "actor": "system"}
    payload = json.dumps({**facts, "at": "2090-01-01T00:00:00+00:00", "data": {}})
    file = tmp_path / "log.jsonl"
    file.write_text(json.dumps({"id": 10**6, "payload": payload}) + "\n")
    done = check(file)
    assert done["closed"] == [] and "only a file" in done["left"][0]["why"] and done["exit"] == 1
    assert wrapped_bytes(tenant) == 2


def test_a_forged_receipt_closes_nobody(tenant: Tenant, left: Any, mallory: Member, tmp_path: Path) -> None:
    close(tenant, tmp_path)
    ((name, document),) = published_heads.folder().receipts()
    forged = {**document, "body": {**document["body"], "tenant": str(mallory.tenant_id)}}
    (Path(published_heads.folder().path) / name.replace("-1.json", "-2.json")).write_text(json.dumps(forged))
    done = check()
    assert done["closed"] == [] and "did not sign it" in done["left"][0]["why"]
    assert done["left"][0]["tenant"] == str(mallory.tenant_id) and str(mallory.tenant_id) in done["held"]
    assert Tenant.objects.get(pk=mallory.tenant_id).closed_at is None
