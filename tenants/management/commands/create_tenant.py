"""Create an organisation and an automation token of its owner; prints one JSON object."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from byokportal.errors import DomainError
from tenants import audit, services


class Command(BaseCommand):
    help = "Creates an organisation, invites its owner and prints what automation needs; the token is shown this once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--name", required=True)
        parser.add_argument("--owner", required=True, help="the owner's mail address")

    def handle(self, **options: Any) -> None:
        try:
            with transaction.atomic():
                tenant = services.create_tenant(options["name"], owner_email=options["owner"], actor=audit.COMMAND)
                _, raw = services.mint_token(tenant.members.get(), name="made by create_tenant", actor=audit.COMMAND)
        except DomainError as error:
            raise CommandError(
                "; ".join([str(error), *(text for texts in error.errors.values() for text in texts)])
            ) from error
        answer = {
            "tenant": str(tenant.pk),
            "external_id": tenant.external_id,
            "service_role_arn": tenant.service_role.arn,
            "automation_token": raw,
        }
        self.stdout.write(json.dumps(answer))
