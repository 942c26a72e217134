"""Let a database that was restored from a backup follow the log again; prints one JSON object."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from itertools import chain
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
        parser.add_argument(
            "--until",
            default="",
            help="the last instant at which the lost database may have taken anything, as 2026-11-29T14:05:00+00:00: "
            "only whose log signed heads prove up to it is not put on hold; without it everybody is",
        )
        parser.add_argument("--reason", required=True, help="stands in the log of each organisation")

    def handle(self, **options: Any) -> None:
        with told():
            lines = chain.from_iterable(services.read_export(texts([file])) for file in options["export"])
            until = datetime.fromisoformat(options["until"]) if options["until"] else None
            done = services.restore_check(
                lines, reason=options["reason"], state=options["state"], until=until, actor=audit.COMMAND
            )
        found = asdict(done)
        rows = {name: value for name, value in found.items() if isinstance(value, list)}
        counts = {f"{name}_count": len(value) for name, value in rows.items()}
        self.stdout.write(
            json.dumps({**found, **{name: value[:SHOWN] for name, value in rows.items()}, **counts}, default=str)
        )
        if done.lost or done.left:
            raise SystemExit(1)
