"""Open a service role, so that tenants can be created; prints one JSON object."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from byokportal.errors import DomainError
from keys.configuration import opening


class Command(BaseCommand):
    help = "Creates one of our IAM roles that tenants name in their trust policy, with its canary."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--name", default=None, help="byok-service-…; default: the next number")
        parser.add_argument("--canary-tenant", action="store_true", help="make the tenant of our own on it too")

    def handle(self, **options: Any) -> None:
        try:
            role = opening.open_service_role(options["name"], with_canary_tenant=options["canary_tenant"])
        except DomainError as error:
            raise CommandError(str(error)) from error
        answer: dict[str, object] = {
            "service_role_arn": role.arn,
            "name": role.name,
            "unique_id": role.unique_id,
            "canary_role_arn": role.canary_role_arn,
        }
        if settings.AWS_MODE == "real":  # in the canary account nobody of ours acts: the operator creates that role
            answer["canary_trust_policy"] = opening.canary_trust(role.arn, role.canary_external_id)
            answer["canary_permissions_policy"] = opening.canary_permission()
        self.stdout.write(json.dumps(answer))
