"""Write an organisation's lines, uses or unwraps of an archived month, for whoever verifies or compares them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from byokportal import archive_files, exports
from keys.management.after_a_restore import told
from tenants import log, log_archive
from tenants.models import ArchivedMonth, Tenant

TABLES = {"log": ArchivedMonth.Table.LOG, "uses": ArchivedMonth.Table.USES, "loads": ArchivedMonth.Table.LOADS}
FACTS = {"uses": "use", "loads": "load"}  # where a line of the file has what is written
PIECE = 500


class Command(BaseCommand):
    help = (
        "Writes an organisation's lines of the log, or its uses, of one archived month as its export has them, as JSON "
        "Lines: docs/examples/verify_log.py takes the file before the export. Or its unwraps of branch keys, with the "
        "request ids that its CloudTrail shows (docs/archive.md)."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tenant", required=True, type=uuid.UUID)
        parser.add_argument("--of", choices=TABLES, default="log")
        parser.add_argument("--file", required=True, help="the name of the file in ARCHIVE_DIR, as the log names it")

    def handle(self, **options: Any) -> None:
        tenant = Tenant.objects.filter(pk=options["tenant"]).first()
        month = ArchivedMonth.objects.filter(table=TABLES[options["of"]], file=options["file"]).first()
        if tenant is None or month is None:
            raise CommandError("There is no such organisation, or no month was archived under that name.")
        kept = archive_files.folder().read(month.file, sha256=month.sha256)
        mine, count = (line for line in kept if line["tenant"] == str(tenant.pk)), 0
        wanted = _lines(mine, tenant) if options["of"] == "log" else (line[FACTS[options["of"]]] for line in mine)
        notation = exports.JsonLines()
        with told():
            for facts in wanted:
                self.stdout.write(notation.row(facts))
                count += 1
        self.stdout.write(notation.end(exports.Ending(True, count), ()))


def _lines(mine: Iterator[Mapping[str, Any]], tenant: Tenant) -> Iterator[Mapping[str, Any]]:
    while piece := list(islice(mine, PIECE)):
        events = [log_archive.event_of(line, json.loads(line["payload"])) for line in piece]
        for event in events:
            event.tenant, event.batch = tenant, events
        yield from log.exported(events)
