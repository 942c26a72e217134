"""Makes a believable fleet of tenants at all steps and in all states, for benchmarks and demonstrations."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from support import seeding

MOST = 1_000_000


class Command(BaseCommand):
    help = "Adds tenants that nobody is: never with AWS_MODE=real, where customers are."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--tenants", type=int, required=True, help=f"how many, at most {MOST:,}")
        parser.add_argument("--uses", type=int, default=seeding.USES_EACH, help="uses of each key that serves")

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.AWS_MODE != "local":
            raise CommandError("This is a production: seed_fleet runs with AWS_MODE=local only.")
        if not 1 <= options["tenants"] <= MOST or not 0 <= options["uses"] <= 1_000:
            raise CommandError(f"--tenants is a number from 1 to {MOST:,}, --uses one from 0 to 1,000.")
        self.stdout.write(json.dumps(seeding.seed(options["tenants"], uses_each=options["uses"])))
