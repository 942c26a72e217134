"""Bring branch keys that a database has lost back from their copies; prints one JSON object."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from keys import services
from keys.management.after_a_restore import public_key, told
from tenants import audit


class Command(BaseCommand):
    help = (
        "After a restore: takes the branch keys that the database does not have, or has in an earlier wrapping, from "
        "the bucket of ESCROW_BUCKET (docs/escrow.md). Exits 1 when a copy was left out."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--public-key", required=True, help="by which the copies were signed, base64 of 32 bytes")
        parser.add_argument("--reason", required=True, help="stands in the log of each organisation")

    def handle(self, **options: Any) -> None:
        with told():
            key = public_key(options["public_key"])
            done = services.rebuild_branch_keys(public_key=key, reason=options["reason"], actor=audit.COMMAND)
        found = {"restored": done.restored, "rewrapped": done.rewrapped, "known": done.known}
        self.stdout.write(json.dumps({**found, "left_out": done.left_count, "why": done.left}))
        if done.left_count:
            raise SystemExit(1)
