"""After a restore an organisation is asked unless signed heads prove what its log said up to the moment of the loss."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import time_machine
from conftest import acting
from django.core.management import CommandError, call_command
from django.utils import timezone
from emptied_database import triggers_aside
from restores import check, line

from keys import datakeys, head_signing, log_heads, services
from keys.models import KeyRegistration, KeyUse, RestoreHold
from tenants import log_trees
from tenants.models import AuditEvent, LogHead, LogTree, Member, Tenant, TenantHead


def publish(at: datetime) -> None:
    with time_machine.travel(at, tick=False):
        log_trees.seal()
        assert log_heads.publish_due() is not None


class Lost:
    """Acme's database went back to before its second head: two lines of it are lost, and one of them was a Suspend."""

    def __init__(self, tenant: Tenant, alice: Member, exported: Callable[[], Path]) -> None:
        self.tenant, self.began = tenant, timezone.now()
        publish(self.began)
        trees, last = list(LogTree.objects.values()), AuditEvent.objects.latest("pk").pk
        before = KeyRegistration.objects.values().get(tenant=tenant)
        services.suspend(tenant, reason="a stolen laptop", actor=acting(alice))
        services.drop_caches(tenant, reason="and its caches", actor=acting(alice))
        self.head_at = self.began + timedelta(hours=2)
        publish(self.head_at)
        self.file = exported()
        with triggers_aside():
            TenantHead.objects.filter(head=2).delete()
            LogHead.objects.filter(pk=2).delete()
            AuditEvent.objects.filter(pk__gt=last).delete()
        LogTree.objects.exclude(pk__in=[row["id"] for row in trees]).delete()
        for row in trees:
            LogTree.objects.filter(pk=row.pop("id")).update(**row)
        KeyRegistration.objects.filter(pk=before.pop("id")).update(**before)

    def reopen(self, *, export: bool) -> None:
        signer = head_signing.signer()
        assert signer is not None
        facts = {"public_key": base64.b64encode(signer.public).decode(), "decided_by": "Lee", "reason": "a drill"}
        given = [str(self.file)] if export else []
        with time_machine.travel(self.head_at + timedelta(minutes=1), tick=False):
            call_command("reopen_logs", export=given, declare_loss=True, stdout=StringIO(), **facts)

    def check(self, *files: Path, minutes: int = 0, state: str = "restored") -> dict[str, Any]:
        """Check it, as if it was lost so many minutes after the newest head."""
        with time_machine.travel(self.head_at + timedelta(hours=1), tick=False):
            return check(*files, state=state, until=self.head_at + timedelta(minutes=minutes))


@pytest.fixture
def lost(tenant: Tenant, alice: Member, active: KeyRegistration, exported: Callable[[], Path]) -> Lost:
    return Lost(tenant, alice, exported)


def test_whose_log_signed_heads_prove_up_to_the_loss_is_not_asked(lost: Lost, mallory: Member) -> None:
    lost.reopen(export=True)
    done = lost.check()
    assert (done["held"], done["unchecked"]) == ([], []), "nor whose log had not grown"
    assert done["known_until"] == lost.head_at.isoformat() and len(done["suspended"]) == 1


def test_without_the_moment_of_the_loss_everybody_is_asked(lost: Lost) -> None:
    lost.reopen(export=True)
    with time_machine.travel(lost.head_at + timedelta(hours=1), tick=False):
        assert check(lost.file)["held"] == [str(lost.tenant.pk)]
    assert lost.check()["released"] == [str(lost.tenant.pk)], "it is said after all"
    hold = RestoreHold.objects.get()
    assert hold.ended_as == "log" and hold.lost_from and hold.lost_from < lost.head_at, "what the log has, not we"


def test_what_may_have_come_after_the_newest_head_is_asked(lost: Lost) -> None:
    lost.reopen(export=True)
    done = lost.check(lost.file, minutes=1)
    assert done["held"] == [str(lost.tenant.pk)] and len(done["suspended"]) == 1
    assert lost.check(lost.file, minutes=2)["released"] == []


def test_of_whom_something_could_not_be_followed_is_asked(lost: Lost) -> None:
    lost.reopen(export=True)
    file = lost.file.with_name("more.jsonl")
    file.write_text(line(10**6, "tenants.tenant.closed", str(lost.tenant.pk), str(lost.tenant.pk)))
    done = lost.check(file)
    assert (done["held"], len(done["left"])) == ([str(lost.tenant.pk)], 1)


def test_a_declared_loss_is_asked_about(lost: Lost) -> None:
    lost.reopen(export=False)
    assert lost.check()["held"] == [str(lost.tenant.pk)]


def test_a_file_that_lacks_a_lost_line_or_has_another_in_its_place_proves_nothing(lost: Lost) -> None:
    lost.reopen(export=False)
    text = lost.file.read_text()
    rows = [row for row in text.splitlines() if "keys.key.suspended" not in row]
    lost.file.write_text("\n".join(rows))
    assert lost.check(lost.file)["held"] == [str(lost.tenant.pk)]
    lost.file.write_text(text.replace("a stolen laptop", "somebody else's"))
    assert lost.check(lost.file)["released"] == []


def test_an_export_that_comes_later_ends_the_hold_where_it_has_what_was_signed(lost: Lost) -> None:
    lost.reopen(export=False)
    assert lost.check()["held"] == [str(lost.tenant.pk)]
    with time_machine.travel(lost.head_at + timedelta(minutes=61), tick=False):
        call_command("admit_database", reason="looked at", stdout=StringIO())
    with time_machine.travel(lost.head_at + timedelta(hours=3), tick=False):
        done = check(lost.file, state="admitted", until=lost.head_at)
    assert done["released"] == [str(lost.tenant.pk)] and len(done["suspended"]) == 1
    assert RestoreHold.objects.get().ended_as == "log"


def test_a_line_that_somebody_made_up_ends_no_hold(lost: Lost) -> None:
    lost.reopen(export=False)
    lost.check()
    made_up = json.loads(lost.file.read_text().splitlines()[0])
    payload = {**json.loads(made_up["payload"]), "at": "2090-01-01T00:00:00+00:00"}
    lost.file.write_text(json.dumps({**made_up, "id": 10**6, "number": None, "payload": json.dumps(payload)}))
    done = lost.check(lost.file)
    assert (done["released"], done["unchecked"]) == ([], [str(lost.tenant.pk)])


def test_where_no_head_was_taken_everybody_is_asked(tenant: Tenant, active: KeyRegistration) -> None:
    publish(timezone.now())
    done = check(until=timezone.now() - timedelta(seconds=1))
    assert (done["held"], done["known_until"]) == ([str(tenant.pk)], "")


@pytest.mark.parametrize(
    ("until", "why"), [("2090-01-01T00:00:00+00:00", "ahead"), ("2026-01-01T00:00:00", "offset"), ("soon", "isoformat")]
)
def test_a_moment_that_cannot_be_that_of_the_loss_is_refused(until: str, why: str, tenant: Tenant) -> None:
    with pytest.raises(CommandError, match=why):
        call_command("restore_check", reason="r", state="restored", until=until, stdout=StringIO())
    assert not AuditEvent.objects.filter(name="keys.database.checked").exists()


def test_a_moment_from_before_the_last_admission_is_refused(lost: Lost) -> None:
    lost.reopen(export=True)
    with time_machine.travel(lost.head_at + timedelta(minutes=2), tick=False):
        call_command("admit_database", reason="looked at", stdout=StringIO())
    with pytest.raises(CommandError, match="has admitted the database since"):
        lost.check()


def test_a_moment_before_a_use_that_the_backup_knows_is_refused(tenant: Tenant, used: datetime) -> None:
    with pytest.raises(CommandError, match="lost later"):
        check(until=used - timedelta(seconds=1))


@pytest.fixture
def used(tenant: Tenant, active: KeyRegistration) -> datetime:
    """When a service used Acme's key."""
    datakeys.generate(tenant, [{}], caller="tests", request_id="r")
    at: datetime = KeyUse.objects.latest("pk").at
    return at
