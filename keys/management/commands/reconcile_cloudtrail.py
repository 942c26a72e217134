"""Compare a tenant's CloudTrail with the calls that we made on its key and role; prints one JSON object."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from keys import services
from keys.reconciling import cloudtrail
from tenants import audit
from tenants.models import Tenant


class Command(BaseCommand):
    help = "Compares an export of a tenant's CloudTrail with the calls that we made (docs/reconciling.md)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tenant", required=True, help="the tenant's id")
        parser.add_argument("files", nargs="+", help="of a trail (.json.gz), JSON lines or `lookup-events`")

    def handle(self, **options: Any) -> None:
        try:
            tenant = Tenant.objects.get(pk=uuid.UUID(options["tenant"]))
        except (ValueError, ValidationError, Tenant.DoesNotExist):
            raise CommandError("There is no such tenant.") from None
        try:
            found = services.reconcile(tenant, [_read(name) for name in options["files"]], actor=audit.COMMAND)
        except cloudtrail.Unreadable as error:
            raise CommandError(str(error)) from None
        self.stdout.write(json.dumps(services.facts_of_reconciliation(found)))


def _read(name: str) -> bytes:
    try:
        with Path(name).open("rb") as file:
            data = file.read(cloudtrail.MOST_BYTES + 1)
    except OSError as error:
        raise CommandError(f"{name} cannot be read: {error.strerror}.") from None
    if len(data) > cloudtrail.MOST_BYTES:
        raise CommandError(f"{name} has more than {cloudtrail.MOST_BYTES} bytes.")
    return data
