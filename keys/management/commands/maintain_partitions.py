"""Make the partitions of the months ahead, and archive those that are old; each day, as the owner of the tables. Prints
one JSON object."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error

from byokportal import database
from byokportal.postgresql import partitions
from keys import services
from keys.management.after_a_restore import told as refusals_told
from tenants import audit


class Command(BaseCommand):
    help = (
        "Makes the monthly partitions that are missing of this month and the three after it (docs/deploy.md). "
        "Months that are older than AUDIT_RETENTION_DAYS go to files in ARCHIVE_DIR (docs/archive.md). "
        "On SQLite there is one table, and nothing to do."
    )

    def handle(self, **options: Any) -> None:
        try:
            made = {table: partitions.make(table) for table in partitions.TABLES}
            ends = {table: partitions.until(table) for table in partitions.TABLES}
        except Error as error:
            raise CommandError(f"No partition could be made: {database.why(error)}") from error
        found: dict[str, Any] = {
            table: {"made": made[table], "until": end.isoformat() if end else None} for table, end in ends.items()
        }
        try:
            with refusals_told():
                steps = services.archive_months(actor=audit.COMMAND)
            found["archive"] = [{"month": one.month, "done": one.done, "waits_for": one.why} for one in steps]
        finally:  # partitions were made, whatever becomes of the archive
            self.stdout.write(json.dumps(found))
