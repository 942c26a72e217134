"""Bring the logs of a database that went back up to the heads that were published; prints one JSON object."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from keys import services
from keys.management.after_a_restore import public_key, texts, told
from tenants import audit


class Command(BaseCommand):
    help = (
        "After a restore: takes the published heads into the database, with the lines that they cover from exports of "
        "the logs; what no export has can be declared lost (docs/seal.md)."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--export", action="append", default=[], help="an export of a log as JSON Lines; repeats")
        parser.add_argument("--public-key", required=True, help="of the heads, base64 of the 32 bytes")
        parser.add_argument("--declare-loss", action="store_true", help="go on without what no export has")
        parser.add_argument("--decided-by", required=True, help="the person; it stands in each log")
        parser.add_argument("--reason", required=True)

    def handle(self, **options: Any) -> None:
        with told():
            done = services.reopen_logs(
                _lines(options["export"]),
                may_lose=options["declare_loss"],
                decided_by=options["decided_by"],
                reason=options["reason"],
                public_key=public_key(options["public_key"]),
                actor=audit.COMMAND,
            )
        self.stdout.write(json.dumps({"heads": done.heads, "restored": done.restored, "lost": done.lost}))


def _lines(files: list[str]) -> Iterator[dict[str, Any]]:
    for text in texts(files):
        line = json.loads(text)
        # The last line of an export says whether it is complete; what is no object, the service refuses.
        if not isinstance(line, dict) or "payload" in line:
            yield line
