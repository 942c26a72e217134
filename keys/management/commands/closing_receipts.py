"""Print the signed receipts of a closing, one JSON object each on a line of its own."""

from __future__ import annotations

import json
import uuid
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from keys import services
from tenants.models import Tenant


class Command(BaseCommand):
    help = "Prints the signed receipts of an organisation's closing, the first one first (docs/closing.md)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tenant", required=True, help="the tenant's id")

    def handle(self, **options: Any) -> None:
        try:
            tenant = Tenant.objects.get(pk=uuid.UUID(options["tenant"]))
        except (ValueError, Tenant.DoesNotExist):
            raise CommandError("There is no such tenant, or its id has another form.") from None
        found = services.receipts_of(tenant)
        if not found:
            raise CommandError("There is no receipt of this tenant.")
        for document in found:
            self.stdout.write(json.dumps(document))
