"""After a restore the database follows the log again: nothing that was stopped or removed comes back."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import acting, acting_staff
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from restores import Backup, check, line

from byokportal.errors import NotAllowed
from keys import branchkeys, services
from keys.models import BranchKey, KeyRegistration
from keys.services.log_lines import NOT_FOLLOWED, SAYS
from tenants import audit, audit_events, published_heads
from tenants import services as tenant_services
from tenants.models import (
    AccessToken,
    AuditEvent,
    Directory,
    DirectoryToken,
    Invitation,
    Member,
    PersonName,
    ServiceAccount,
    Tenant,
)

Api = Callable[[Any], Client]


def test_what_was_stopped_removed_and_shut_out_since_the_backup_is_so_again(
    tenant: Tenant,
    alice: Member,
    bob: Member,
    active: KeyRegistration,
    service: ServiceAccount,
    exported: Callable[[], Path],
    sam: User,
) -> None:
    carol = tenant_services.accept_invitation(
        tenant_services.new_link(
            tenant_services.invite(tenant, email="carol@acme.example", role="admin", actor=acting(alice))
        ),
        password="a long passphrase of tests",
    )
    token, _ = tenant_services.mint_token(
        alice, name="ci", permissions={"read"}, days=30, may_change_serving_key=False, actor=acting(alice)
    )
    other, _ = tenant_services.create_service_account(
        "other", tenants=[tenant], scopes=["key:read"], actor=audit.COMMAND
    )
    with Backup():
        services.suspend(tenant, reason="stolen laptop", actor=acting(alice))
        tenant_services.remove_member(carol, reason="left", actor=acting(alice))
        tenant_services.revoke_token(token, actor=acting(alice))
        tenant_services.disable_service_account(service, reason="r", actor=acting_staff(sam))
        tenant_services.rotate_secret(other, reason="leaked", actor=acting_staff(sam))
        file = exported()
    active.refresh_from_db()
    assert active.status == "active" and Member.objects.filter(pk=carol.pk).exists(), "the backup knows nothing of it"
    done = check(file)
    assert done["suspended"] == [str(active.pk)] and done["removed"] == [str(carol.pk)]
    assert sorted(done["disabled"]) == sorted([str(service.pk), str(other.pk)])
    assert done["revoked"] == [str(token.pk)]
    assert (done["lost"], done["left"], done["exit"]) == ([], [], 0)
    assert done["held"] == [str(tenant.pk)], "what a file says is followed, and proves not that it is all"
    active.refresh_from_db()
    assert (active.status, active.suspended_by) == ("suspended", "tenant"), "the tenant's own Resume ends it"
    assert not Member.objects.filter(pk=carol.pk).exists()
    assert AccessToken.objects.get(pk=token.pk).revoked_at is not None
    assert not ServiceAccount.objects.filter(disabled_at=None).exists()
    lines = AuditEvent.objects.of(tenant).filter(name="keys.key.suspended")
    assert "restored from a backup" in json.loads(lines.latest("pk").payload)["data"]["reason"]
    again = check(file)
    assert not any(again[name] for name in ("suspended", "removed", "disabled", "revoked", "left"))


def test_who_was_erased_since_the_backup_is_erased_again(
    tenant: Tenant, alice: Member, mallory: Member, exported: Callable[[], Path]
) -> None:
    for owner in (alice, mallory):
        invitation = tenant_services.invite(owner.tenant, email="carol@acme.example", role="admin", actor=acting(owner))
        if owner == mallory:
            tenant_services.withdraw_invitation(invitation, reason="r", actor=acting(owner))
    carol = tenant_services.accept_invitation(
        tenant_services.new_link(Invitation.objects.open().get(tenant=tenant, email="carol@acme.example")),
        password="a long passphrase of tests",
    )
    with Backup():
        tenant_services.remove_member(carol, reason="left", actor=acting(alice))
        tenant_services.erase_person("carol@acme.example", reason="asked for", actor=audit.COMMAND)
        file = exported()
    assert "carol" not in file.read_text()
    named = PersonName.objects.filter(text="carol@acme.example")
    assert named.count() == 2 and Member.objects.filter(pk=carol.pk).exists(), "the backup knows her"
    done = check(file)
    assert done["removed"] == [str(carol.pk)] and len(done["erased"]) == 1 and done["left"] == []
    assert [one.tenant for one in named] == [mallory.tenant], "an organisation's file erases in its own rows alone"
    assert Invitation.objects.filter(tenant=mallory.tenant, email="carol@acme.example").exists()
    assert not Invitation.objects.filter(tenant=tenant, email="carol@acme.example").exists()
    assert not any(check(file)[name] for name in ("removed", "erased", "left"))


def test_what_the_database_knows_as_undone_stays_undone(
    tenant: Tenant, alice: Member, active: KeyRegistration, service: ServiceAccount, exported: Callable[[], Path]
) -> None:
    services.suspend(tenant, reason="x", actor=acting(alice))
    services.resume(tenant, reason="x", actor=acting(alice))
    tenant_services.disable_service_account(service, reason="r", actor=audit.COMMAND)
    tenant_services.enable_service_account(service, reason="r", actor=audit.COMMAND)
    tenant_services.rotate_secret(service, reason="r", actor=audit.COMMAND)
    done = check(exported())
    assert not any(done[name] for name in ("suspended", "disabled", "left"))


def test_what_only_a_file_says_ends_no_stop(
    tenant: Tenant, alice: Member, active: KeyRegistration, service: ServiceAccount, exported: Callable[[], Path]
) -> None:
    with Backup():
        services.suspend(tenant, reason="x", actor=acting(alice))
        services.resume(tenant, reason="x", actor=acting(alice))
        tenant_services.disable_service_account(service, reason="r", actor=audit.COMMAND)
        tenant_services.enable_service_account(service, reason="r", actor=audit.COMMAND)
        file = exported()
    done = check(file)
    assert (done["suspended"], done["disabled"]) == ([str(active.pk)], [str(service.pk)])


def test_a_later_refusal_of_aws_does_not_hide_a_pressed_stop(
    tenant: Tenant, alice: Member, active: KeyRegistration, exported: Callable[[], Path]
) -> None:
    with Backup():
        services.suspend(tenant, reason="x", actor=acting(alice))
        file = exported()
    refused = line(10**6, "keys.key.suspended", str(active.pk), str(tenant.pk), suspended_by="AWS")
    file.write_text(file.read_text() + refused)
    assert check(file)["suspended"] == [str(active.pk)]


def test_a_stop_of_a_key_that_is_younger_than_the_backup_stops_the_one_that_serves(
    tenant: Tenant, active: KeyRegistration, tmp_path: Path
) -> None:
    file = tmp_path / "log.jsonl"
    younger = "00000000-0000-4000-8000-000000000000"
    file.write_text(line(10**6, "keys.key.suspended", younger, str(tenant.pk), suspended_by="Kore.ai"))
    assert check(file)["suspended"] == [str(active.pk)]
    active.refresh_from_db()
    assert (active.status, active.suspended_by) == ("suspended", "kore")


def test_lines_whose_ids_were_given_out_again_are_read(
    tenant: Tenant, alice: Member, active: KeyRegistration, exported: Callable[[], Path], mallory: Member
) -> None:
    kept = branchkeys.make(tenant, active)
    with Backup():
        branchkeys.make(tenant, active, instead_of=BranchKey.objects.get(pk=kept.pk))
        services.suspend(tenant, reason="x", actor=acting(alice))
        file = exported()
    before = AuditEvent.objects.latest("pk").pk
    with connection.cursor() as cursor:  # as a restored dump does
        if connection.vendor == "sqlite":
            cursor.execute("UPDATE sqlite_sequence SET seq = %s WHERE name = 'tenants_auditevent'", [before])
        else:
            cursor.execute("SELECT setval(pg_get_serial_sequence('tenants_auditevent', 'id'), %s)", [before])
    for number in range(50):
        audit.record(
            "tenants.token.revoked", tenant=mallory.tenant, actor=audit.SYSTEM, target=active, name=f"n{number}"
        )
    first, second = check(file), check(file)
    assert first["suspended"] == [str(active.pk)]
    assert second["lost"] == first["lost"] and second["exit"] == 1, "it is as lost as before"


def test_an_account_for_all_is_shut_out_by_our_own_log(tenant: Tenant, tmp_path: Path) -> None:
    account, _ = tenant_services.create_service_account(
        "all", tenants=[], has_all_tenants=True, scopes=["key:read"], actor=audit.COMMAND
    )
    tenant_services.disable_service_account(account, reason="r", actor=audit.COMMAND)
    ServiceAccount.objects.update(disabled_at=None)  # what a dump that was made in between has
    assert check()["disabled"] == [str(account.pk)]


def test_a_file_of_one_organisation_shuts_out_no_service_of_another(
    tenant: Tenant, service: ServiceAccount, mallory: Member, tmp_path: Path
) -> None:
    file = tmp_path / "log.jsonl"
    file.write_text(line(10**6, "tenants.service_account.disabled", str(service.pk), str(mallory.tenant_id)))
    done = check(file)
    assert done["disabled"] == [] and len(done["left"]) == 1


@pytest.mark.parametrize("of", ["", "00000000-0000-4000-8000-000000000000"])
def test_a_file_that_speaks_of_another_organisation_or_of_ours_is_refused(
    of: str, tenant: Tenant, service: ServiceAccount, exported: Callable[[], Path]
) -> None:
    file = exported()
    file.write_text(file.read_text() + line(10**6, "tenants.service_account.disabled", str(service.pk), of))
    with pytest.raises(CommandError, match="is not of the organisation"):
        check(file)
    file.write_text(line(10**6, "tenants.service_account.disabled", str(service.pk), ""))
    with pytest.raises(CommandError, match="is not of the organisation"):
        check(file)


def test_it_comes_after_the_log(tenant: Tenant, settings: Any, tmp_path: Path) -> None:
    settings.SEAL_HEADS_DIR = str(tmp_path / "heads")
    published_heads.folder().write(1, {"head": {"number": 1}})
    with pytest.raises(CommandError, match="Run reopen_logs first"):
        check()


def test_a_file_lets_nobody_in_and_starts_nothing(
    tenant: Tenant, alice: Member, active: KeyRegistration, service: ServiceAccount, exported: Callable[[], Path]
) -> None:
    services.suspend(tenant, reason="x", actor=acting(alice))
    tenant_services.disable_service_account(service, reason="r", actor=audit.COMMAND)
    with Backup():
        services.resume(tenant, reason="x", actor=acting(alice))
        tenant_services.enable_service_account(service, reason="r", actor=audit.COMMAND)
        file = exported()
    check(file)
    active.refresh_from_db()
    service.refresh_from_db()
    assert active.status == "suspended" and service.disabled_at is not None


def test_branch_keys_that_the_log_names_and_the_database_lacks_are_named(
    tenant: Tenant, active: KeyRegistration, exported: Callable[[], Path]
) -> None:
    kept = branchkeys.make(tenant, active)
    with Backup():
        lost = branchkeys.make(tenant, active, instead_of=BranchKey.objects.get(pk=kept.pk))
        file = exported()
    done = check(file)
    (named,) = done["lost"]
    assert (named["branch_key"], named["tenant"], done["exit"]) == (str(lost.pk), str(tenant.pk), 1)


def test_without_an_export_the_organisation_is_named_as_unchecked(tenant: Tenant, mallory: Member) -> None:
    done = check()
    both = sorted([str(tenant.pk), str(mallory.tenant_id)])
    assert sorted(done["unchecked"]) == sorted(done["held"]) == both and done["exit"] == 0


def test_a_line_about_what_is_not_there_is_named(tenant: Tenant, mallory: Member, tmp_path: Path) -> None:
    nobody = "00000000-0000-4000-8000-000000000000"
    theirs = str(mallory.pk)
    files = {
        nobody: [line(10**9, "keys.key.suspended", nobody, nobody, suspended_by="Kore.ai")],
        str(tenant.pk): [
            line(10**9 + 1, "tenants.member.removed", theirs, str(tenant.pk), email="mallory@evil.example"),
            line(10**9 + 3, "tenants.member.removed", "x", str(tenant.pk)),
            line(10**9 + 4, "keys.key.suspended", "x", str(tenant.pk), suspended_by="Kore.ai"),
        ],
        str(mallory.tenant_id): [
            line(10**9 + 2, "tenants.member.removed", theirs, str(mallory.tenant_id), email="somebody@else.example"),
            json.dumps({"complete": True}),
        ],
    }
    for name, rows in files.items():
        (tmp_path / name).write_text("\n".join(rows))
    done = check(*(tmp_path / name for name in files))
    assert len(done["left"]) == 4 and done["exit"] == 1
    assert Member.objects.filter(pk=mallory.pk).exists(), "a line of one organisation removes nobody of another"


@pytest.mark.parametrize(
    "text", ["x", "[]", '{"payload": "x"}', '{"payload": "{}"}', '{"payload": "[" }', "[" * 100_000]
)
def test_a_file_that_is_no_export_is_refused(tenant: Tenant, tmp_path: Path, text: str) -> None:
    file = tmp_path / "odd.jsonl"
    file.write_text(text)
    with pytest.raises(CommandError):
        check(file)
    with pytest.raises(CommandError):
        check(tmp_path / "not there")


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+00:00", "9999-12-31T23:59:59-23:59", "2026-11-29T00:00:00", 5])
def test_a_line_with_no_time_of_a_log_is_refused(
    at: Any, tenant: Tenant, service: ServiceAccount, tmp_path: Path
) -> None:
    facts = {"name": "tenants.service_account.secret_rotated", "tenant": str(tenant.pk), "target": str(service.pk)}
    file = tmp_path / "odd.jsonl"
    payload = json.dumps({**facts, "actor": "system", "at": at, "data": {}})
    file.write_text(json.dumps({"id": 1, "payload": payload}))
    with pytest.raises(CommandError, match="none of a log's export"):
        check(file)


@pytest.mark.parametrize("text", ["5", "[]", '"payload"', "{", "[" * 100_000, "x" * 1_000_001])
def test_a_file_that_is_no_export_is_refused_by_both_commands(text: str, tenant: Tenant, tmp_path: Path) -> None:
    file = tmp_path / "odd.jsonl"
    file.write_text(text)
    with pytest.raises(CommandError):
        check(file)
    key = base64.b64encode(bytes(32)).decode()
    facts = {"public_key": key, "decided_by": "Lee", "reason": "a drill"}
    with pytest.raises(CommandError):
        call_command("reopen_logs", export=[str(file)], **facts)


@pytest.mark.parametrize("text", ["", "x", "AAAA", base64.b64encode(bytes(33)).decode()])
def test_a_public_key_that_is_none_is_refused(text: str, db: None) -> None:
    for name, facts in (("reopen_logs", {"decided_by": "Lee", "export": []}), ("rebuild_branch_keys", {})):
        with pytest.raises(CommandError, match="32 bytes"):
            call_command(name, public_key=text, reason="a drill", **facts)


def test_only_the_command_line_checks(tenant: Tenant, alice: Member, sam: User) -> None:
    for actor in (acting(alice), acting_staff(sam)):
        with pytest.raises(NotAllowed):
            services.restore_check([], reason="r", actor=actor)
        with pytest.raises(NotAllowed):
            tenant_services.remove_as_logged(alice, reason="r", actor=actor)
    assert connection.vendor


def test_a_stop_that_was_pressed_in_german_is_followed(
    tenant: Tenant,
    alice: Member,
    active: KeyRegistration,
    browser_of: Callable[..., Client],
    exported: Callable[[], Path],
) -> None:
    with Backup():
        pressed = browser_of(alice).post(
            f"/tenants/{tenant.pk}/key/suspend/", {"reason": "Laptop weg"}, headers={"accept-language": "de"}
        )
        assert pressed.status_code == 302
        file = exported()
    assert check(file)["suspended"] == [str(active.pk)]
    assert "your organisation" in file.read_text(), "the log is English"


def test_what_lets_somebody_in_and_was_ended_since_is_ended_again(
    tenant: Tenant, alice: Member, service: ServiceAccount, sam: User, exported: Callable[[], Path]
) -> None:
    invitation = tenant_services.invite(tenant, email="dan@acme.example", role="owner", actor=acting(alice))
    link, _ = services.make_link(tenant, name="Dan", actor=acting(alice))
    directory = Directory.objects.create(tenant=tenant)
    token = DirectoryToken.objects.create(directory=directory, digest="d", made_by="member:alice@acme.example")
    tenant_services.rotate_secret(service, hours=24, reason="yearly", actor=acting_staff(sam))
    with Backup():
        tenant_services.withdraw_invitation(invitation, reason="wrong Dan", actor=acting(alice))
        services.revoke_link(link, actor=acting(alice))
        tenant_services.revoke_directory_token(token, actor=acting(alice))
        tenant_services.revoke_old_secret(service, reason="leaked", actor=acting_staff(sam))
        file = exported()
    done = check(file)
    assert sorted(done["revoked"]) == sorted([str(link.pk), str(token.pk), str(service.pk)])
    assert (done["withdrawn"], done["disabled"], done["left"]) == ([str(invitation.pk)], [], [])
    assert not Invitation.objects.open().filter(pk=invitation.pk).exists()
    assert not DirectoryToken.objects.filter(revoked_at=None).exists()
    assert service.secrets.filter(revoked_at=None).count() == 1, "the present one counts"
    assert not any(check(file)[name] for name in ("revoked", "withdrawn", "left"))


def test_what_takes_something_away_is_followed_or_named_in_the_document() -> None:
    text = (Path(__file__).parents[2] / "docs" / "restore.md").read_text()
    ends = ("revoked", "removed", "withdrawn", "disabled", "rotated", "reset", "shut_out", "unlinked", "switched_off")
    other = {"tenants.recovery.withdrawn", "tenants.approval.withdrawn", "keys.configuration.removed"}
    taking = {name for name in audit_events.EVENTS if name.endswith(ends)} - other
    assert taking <= SAYS.keys() | NOT_FOLLOWED
    assert not NOT_FOLLOWED & SAYS.keys() and audit_events.EVENTS.keys() >= NOT_FOLLOWED
    assert [name for name in sorted(NOT_FOLLOWED) if f"`{name}`" not in text] == []
