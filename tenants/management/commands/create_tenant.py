"""Create an organisation and an automation token of its owner; prints one JSON object."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.urls import reverse

from byokportal.errors import DomainError
from tenants import audit, roles, services

PRODUCTION = (roles.READ, roles.SETUP)
# On a developer's machine whoever runs the command is the owner too, so its token may do what a joined owner's may.
EMBEDDED = (roles.READ, roles.SETUP, roles.OPERATE)


class Command(BaseCommand):
    help = "Creates an organisation, invites its owner and prints what automation needs; the token is shown this once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--name", required=True)
        parser.add_argument("--owner", required=True, help="the owner's mail address")

    def handle(self, **options: Any) -> None:
        try:
            with transaction.atomic():
                tenant = services.create_tenant(options["name"], owner_email=options["owner"], actor=audit.COMMAND)
                invitation = tenant.invitations.get()
                link = services.new_link(invitation)
                _, raw = services.mint_token_of_invitation(
                    invitation,
                    name="made by create_tenant",
                    permissions=EMBEDDED if settings.EMBEDDED else PRODUCTION,
                    may_change_serving_key=settings.EMBEDDED,
                    actor=audit.COMMAND,
                )
        except DomainError as error:
            raise CommandError(
                "; ".join([str(error), *(text for texts in error.errors.values() for text in texts)])
            ) from error
        answer = {
            "tenant": str(tenant.pk),
            "external_id": tenant.external_id,
            "service_role_arn": tenant.service_role.arn,
            "automation_token": raw,
            "invitation_url": settings.BASE_URL + reverse("portal:invitation-link", args=[link]),
        }
        self.stdout.write(json.dumps(answer))
