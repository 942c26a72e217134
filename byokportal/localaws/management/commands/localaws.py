"""Start the local AWS: a thin entry point to `python -m byokportal.localaws`."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from byokportal.localaws import __main__ as process


class Command(BaseCommand):
    help = "Runs the local AWS (IAM, STS, KMS) on the loopback address until it is stopped."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", default="5005")
        parser.add_argument("--var-dir", default=str(settings.VAR_DIR))
        parser.add_argument("--account", action="append", default=[])

    def handle(self, **options: Any) -> None:
        accounts = [part for account in options["account"] for part in ("--account", account)]
        process.main(["--port", options["port"], "--var-dir", options["var_dir"], *accounts])
