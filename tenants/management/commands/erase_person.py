"""Erase a person who is nowhere in any more; prints one JSON object."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from byokportal.errors import DomainError
from tenants import audit, services


class Command(BaseCommand):
    help = (
        "Erases the names of a person in all logs, the account, and what other rows say of the person. "
        "What the person did stays in the logs, and every signed head still proves it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--person", required=True, help="a mail address, or a name as the log has it")
        parser.add_argument("--reason", required=True, help="for the log; without the name of the person")

    def handle(self, **options: Any) -> None:
        try:
            done = services.erase_person(options["person"], reason=options["reason"], actor=audit.COMMAND)
        except DomainError as error:
            told = [text for texts in error.errors.values() for text in texts]
            raise CommandError("; ".join(told) or str(error)) from error
        self.stdout.write(
            json.dumps({"names": [name.pk for name in done.names], "rows": done.rows, "accounts": done.accounts})
        )
