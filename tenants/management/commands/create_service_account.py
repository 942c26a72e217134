"""Create a platform service's account; prints one JSON object."""

from __future__ import annotations

import json
import uuid
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from byokportal.errors import DomainError
from tenants import audit, roles, services
from tenants.models import Tenant


class Command(BaseCommand):
    help = "Creates the account of a platform service and prints its client credentials; the secret is shown this once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--name", required=True)
        parser.add_argument("--tenant", action="append", default=[], help="a tenant's id; repeat for more")
        parser.add_argument("--all-tenants", action="store_true")
        parser.add_argument("--scope", action="append", default=[], help=f"repeat; of {', '.join(roles.SCOPES)}")

    def handle(self, **options: Any) -> None:
        try:
            account, secret = services.create_service_account(
                options["name"],
                tenants=[_tenant(text) for text in options["tenant"]],
                scopes=options["scope"],
                has_all_tenants=options["all_tenants"],
                actor=audit.COMMAND,
            )
        except DomainError as error:
            raise CommandError(
                "; ".join([str(error), *(text for texts in error.errors.values() for text in texts)])
            ) from error
        self.stdout.write(json.dumps({"client_id": str(account.pk), "client_secret": secret}))


def _tenant(text: str) -> Tenant:
    try:
        return Tenant.objects.get(pk=uuid.UUID(text))
    except (ValueError, Tenant.DoesNotExist):
        raise CommandError(f"There is no tenant {text}.") from None
