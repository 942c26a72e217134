"""A restore as tests play it: a state of the database to come back to, lines of a file, and the check."""

from __future__ import annotations

import json
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Any

import worlds
from django.core.management import call_command
from django.db import transaction

from keys.datakeys import admission
from keys.models import DatabaseAdmission


def check(*files: Path, state: str = "restored", until: datetime | None = None) -> dict[str, Any]:
    """Return what the command printed, with its `exit`."""
    out = StringIO()
    if state == "admitted":
        be_admitted()
    try:
        given: dict[str, Any] = {"export": [str(one) for one in files], "state": state}
        given |= {"until": until.isoformat()} if until else {}
        call_command("restore_check", reason="the disk died", stdout=out, **given)
    except SystemExit as left:
        return {**json.loads(out.getvalue()), "exit": left.code}
    return {**json.loads(out.getvalue()), "exit": 0}


def be_admitted() -> None:
    """Let this database be the one that was admitted, also where none was."""
    worlds.be_admitted()
    if not DatabaseAdmission.objects.exists():
        DatabaseAdmission.objects.create(incarnation=admission.incarnation())


class Backup:
    """A state of the database that one can come back to: a savepoint that is rolled back."""

    def __enter__(self) -> None:
        self.point = transaction.savepoint()

    def __exit__(self, *_: object) -> None:
        transaction.savepoint_rollback(self.point)


def line(number: int, name: str, target: str, of: str, **data: str) -> str:
    facts = {"name": name, "tenant": of, "target": target, "actor": "system", "at": "2090-01-01T00:00:00+00:00"}
    return json.dumps({"id": number, "payload": json.dumps({**facts, "data": data})})
