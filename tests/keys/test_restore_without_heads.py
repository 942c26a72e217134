"""A command after a restore that cannot see where heads and receipts are published refuses to go on."""

from __future__ import annotations

import base64
import shutil
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.utils import timezone

from keys import log_heads
from tenants import audit, log_trees
from tenants.models import AuditEvent, LogHead, Tenant

KEY = base64.b64encode(bytes(32)).decode()
COMMANDS = {
    "reopen_logs": {"public_key": KEY, "decided_by": "Lee", "reason": "a drill", "declare_loss": True},
    "restore_check": {"reason": "a drill", "state": "restored"},
    "rebuild_branch_keys": {"public_key": KEY, "reason": "a drill"},
}


@pytest.fixture
def folder(settings: Any, tenant: Tenant) -> Path:
    """Where two heads were published, both of which the database has."""
    for hours in (0, 2):
        audit.record("tenants.tenant.created", tenant=tenant, actor=audit.SYSTEM, name="n")
        with time_machine.travel(timezone.now() + timedelta(hours=hours), tick=False):
            log_trees.seal()
            assert log_heads.publish_due() is not None
    return Path(settings.SEAL_HEADS_DIR)


def run(name: str) -> None:
    before = AuditEvent.objects.count()
    try:
        call_command(name, stdout=StringIO(), **COMMANDS[name])
    finally:
        assert AuditEvent.objects.count() == before, "nothing was written"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_directory_that_lacks_what_was_published_is_refused(name: str, folder: Path, settings: Any) -> None:
    shutil.rmtree(folder)
    with pytest.raises(CommandError, match="SEAL_HEADS_DIR is no directory here"):
        run(name)
    folder.mkdir()
    with pytest.raises(CommandError, match="Head 2 was published, and SEAL_HEADS_DIR lacks it"):
        run(name)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_backup_from_before_the_first_head_needs_the_directory_too(name: str, settings: Any, tenant: Tenant) -> None:
    settings.SEAL_HEADS_DIR += "-elsewhere"
    with pytest.raises(CommandError, match="SEAL_HEADS_DIR is no directory here"):
        run(name)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_gap_in_what_was_published_is_refused(name: str, folder: Path) -> None:
    (folder / f"{3:012}.json").write_text("{}")
    (folder / f"{4:012}.json").write_text("{}")
    (folder / f"{3:012}.json").unlink()
    with pytest.raises(CommandError, match="has head 4 and lacks head 3"):
        run(name)


def test_nothing_is_sealed_where_the_published_heads_cannot_be_seen(folder: Path, settings: Any) -> None:
    settings.SEAL_HEADS_DIR += "-elsewhere"
    audit.record("tenants.tenant.created", tenant=None, actor=audit.SYSTEM, name="n")
    assert log_trees.seal() == 0 and LogHead.objects.count() == 2
    settings.SEAL_HEADS_DIR = str(folder)
    assert log_trees.seal() == 1
