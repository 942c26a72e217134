"""Ask for a copy of each branch key that has none; prints one JSON object."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from keys import escrow


class Command(BaseCommand):
    help = "After ESCROW_BUCKET was set: lets the worker write a copy of each branch key (docs/escrow.md)."

    def handle(self, **options: Any) -> None:
        if not escrow.is_on():
            raise CommandError("ESCROW_BUCKET is not set: no copies are made.")
        self.stdout.write(json.dumps({"due": escrow.want_all()}))
