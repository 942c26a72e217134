"""Say that the database may give out keys again; prints one JSON object."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from byokportal.errors import DomainError
from keys import services
from tenants import audit
from tenants.models import Tenant


class Command(BaseCommand):
    help = (
        "Says that the database may give out keys, after it was restored or promoted and somebody has looked at it "
        "(docs/runbook.md). Every process drops its unwrapped keys."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--reason", default="admitted by manage.py admit_database", help="kept in the log")

    def handle(self, **options: Any) -> None:
        try:
            made = services.admit_database(reason=options["reason"], actor=audit.COMMAND)
        except DomainError as error:
            raise CommandError(str(error)) from error
        answer = {
            "incarnation": made.incarnation,
            "admitted_at": made.admitted_at.isoformat(),
            "tenants": Tenant.objects.count(),
        }
        self.stdout.write(json.dumps(answer))
