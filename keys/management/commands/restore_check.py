"""Let a database that was restored from a backup follow the log again; prints one JSON object."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from keys import services
from keys.management.after_a_restore import texts, told
from tenants import audit

SHOWN = 1_000  # of each list


class Command(BaseCommand):
    help = (
        "After a restore, before admit_database: stops, removes and shuts out again what the log says was stopped, "
        "removed and shut out since the backup, and names the branch keys that are lost (docs/restore.md). "
        "Exits 1 when anything is lost or could not be done."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--export", action="append", default=[], help="an export of a log as JSON Lines; repeats")
        parser.add_argument(
            "--state",
            default="",
            choices=["", *services.STATES],
            help="how the database came back: restored (who is unchecked gets no keys until an owner confirms), by WAL "
            "to the last-commit (nobody waits), or it is the admitted one (exports alone are followed)",
        )
        parser.add_argument("--reason", required=True, help="stands in the log of each organisation")

    def handle(self, **options: Any) -> None:
        with told():
            read = map(services.read_line, texts(options["export"]))
            lines = (line for line in read if line is not None)
            done = services.restore_check(lines, reason=options["reason"], state=options["state"], actor=audit.COMMAND)
        found = asdict(done)
        counts = {f"{name}_count": len(rows) for name, rows in found.items()}
        self.stdout.write(json.dumps({**{name: rows[:SHOWN] for name, rows in found.items()}, **counts}))
        if done.lost or done.left:
            raise SystemExit(1)
