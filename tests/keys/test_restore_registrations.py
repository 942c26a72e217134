"""After a restore no key serves that was stopped while it was still being set up in the backup, and none comes back
that was withdrawn or given up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Customer, acting, save_draft
from restores import Backup, check, line

from keys import branchkeys, horizon, services
from keys.models import BranchKey, BranchKeyWrapping, KeyRegistration, RestoreHold
from tenants import audit
from tenants.models import AuditEvent, Member, Tenant

S = KeyRegistration.Status


def prepared(tenant: Tenant, alice: Member, customer: Customer) -> KeyRegistration:
    save_draft(tenant, key_arn=customer.create_key(), actor=acting(alice))
    return KeyRegistration.objects.of(tenant).in_preparation().get()


def stop_of(registration: KeyRegistration, folder: Path, by: str) -> Path:
    file = folder / "log.jsonl"
    facts = {"suspended_by": by}
    file.write_text(line(10**6, "keys.key.suspended", str(registration.pk), str(registration.tenant_id), **facts))
    return file


@pytest.mark.parametrize("by", ["your organisation", "Kore.ai"])
@pytest.mark.parametrize("status", KeyRegistration.IN_PREPARATION)
@pytest.mark.parametrize("serves", [True, False])
def test_a_stop_of_a_key_that_the_backup_has_in_preparation_lets_nothing_serve_by_itself(
    serves: bool,
    status: str,
    by: str,
    tenant: Tenant,
    alice: Member,
    active: KeyRegistration,
    customer: Customer,
    tmp_path: Path,
) -> None:
    second = prepared(tenant, alice, customer)
    KeyRegistration.objects.filter(pk=second.pk).update(status=status)
    if not serves:
        KeyRegistration.objects.filter(pk=active.pk).update(status=S.RETIRED)
    file = stop_of(second, tmp_path, by)
    for state in ("restored", "admitted"):
        done = check(file, state=state)
        assert [one["what"] for one in done["left"]] == ["keys.key.suspended"] and done["exit"] == 1
        assert RestoreHold.objects.of(tenant).open().exists()
        assert str(tenant.pk) not in done["released"]
    second.refresh_from_db()
    assert (second.status, second.activation, second.activation_due_at) == (status, "by_button", None)
    active.refresh_from_db()
    assert active.status == (S.SUSPENDED if serves else S.RETIRED)


def test_a_stop_that_nothing_can_be_pressed_for_holds_what_is_in_preparation(
    tenant: Tenant, alice: Member, customer: Customer, tmp_path: Path
) -> None:
    mine = prepared(tenant, alice, customer)
    younger = KeyRegistration(tenant=tenant)
    done = check(stop_of(younger, tmp_path, "Kore.ai"), state="restored")
    mine.refresh_from_db()
    assert (mine.activation, done["held"], len(done["left"])) == ("by_button", [str(tenant.pk)], 1)


@pytest.mark.parametrize("status", [S.RETIRING, S.RETIRED])
def test_a_stop_of_a_key_that_serves_no_more_stops_nothing(
    status: str, tenant: Tenant, alice: Member, active: KeyRegistration, customer: Customer, tmp_path: Path
) -> None:
    second = prepared(tenant, alice, customer)
    proven = {"activated_at": active.activated_at, "role_claim": "1/second"}
    KeyRegistration.objects.filter(pk=second.pk).update(status=status, **proven)
    done = check(stop_of(second, tmp_path, "your organisation"))
    assert (done["suspended"], done["left"]) == ([], [])


def test_what_was_withdrawn_since_the_backup_is_withdrawn_again(
    tenant: Tenant,
    alice: Member,
    active: KeyRegistration,
    customer: Customer,
    exported: Callable[[], Path],
) -> None:
    second = prepared(tenant, alice, customer)
    with Backup():
        services.withdraw(tenant, reason="wrong account", actor=acting(alice))
        file = exported()
    assert check(file)["withdrawn"] == [str(second.pk)]
    second.refresh_from_db()
    assert second.status == S.RETIRED
    assert not any(check(file)[name] for name in ("withdrawn", "left"))


def replaced(registration: KeyRegistration) -> None:
    """Let its branch key move to the platform's, as after a replacement."""
    row = BranchKey.objects.get(pk=branchkeys.make(registration.tenant, registration).pk)
    horizon.keep(row)
    BranchKey.objects.filter(pk=row.pk).update(registration=None)
    KeyRegistration.objects.filter(pk=registration.pk).update(status=S.RETIRING)


def test_an_old_key_that_was_given_up_is_given_up_again_or_named(
    tenant: Tenant, active: KeyRegistration, settings: Any
) -> None:
    settings.BACKUP_RETENTION_DAYS = 35
    facts = {"key_arn": active.key_arn, "since": "then", "count": 1, "reason": "compromised"}
    audit.record("keys.registration.horizon_ended", tenant=tenant, actor=audit.SYSTEM, target=active, **facts)
    done = check()
    assert (done["withdrawn"], len(done["left"]), done["exit"]) == ([], 1, 1), "it serves in this backup"
    replaced(active)
    done = check()
    assert (done["withdrawn"], done["left"]) == ([str(active.pk)], [])
    active.refresh_from_db()
    assert active.status == S.RETIRED and not BranchKeyWrapping.objects.exists()


def test_a_file_alone_gives_up_no_old_key(tenant: Tenant, active: KeyRegistration, tmp_path: Path) -> None:
    replaced(active)
    file = tmp_path / "log.jsonl"
    file.write_text(line(10**6, "keys.registration.horizon_ended", str(active.pk), str(tenant.pk)))
    done = check(file)
    assert (done["withdrawn"], len(done["left"])) == ([], 1)
    active.refresh_from_db()
    assert active.status == S.RETIRING
    assert not AuditEvent.objects.filter(name="keys.registration.horizon_ended").exists()
