"""Print the policies of our own principals, as docs/deploy.md says where each goes; prints one JSON object."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from keys.models import ServiceRolePolicy
from keys.policies import principals
from tenants.models import ServiceRole


class Command(BaseCommand):
    help = (
        "Prints what the base principal, the configuration worker and the canaries' writer may do, and the boundaries."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--partition", default="aws", help="aws, aws-us-gov or aws-cn")
        parser.add_argument("--configuration-principal", default="<ARN of the configuration worker's principal>")

    def handle(self, **options: Any) -> None:
        ours, canary, where = settings.AWS_ACCOUNT_ID, settings.CANARY_ACCOUNT_ID, options["partition"]
        known = [*ServiceRole.objects.values_list("arn", flat=True)]
        known += ServiceRolePolicy.objects.exclude(policy_arn="").values_list("policy_arn", flat=True)
        older = sorted(arn for arn in known if principals.PATH not in arn)
        answer = {
            "boundary_name": principals.BOUNDARY,
            "boundary": principals.boundary(ours, partition=where),
            "base_principal": principals.base_principal(ours, partition=where, older=older),
            "read_back": principals.read_back(ours, partition=where),
            "configuration_worker": principals.configuration_worker(ours, canary, partition=where, older=older),
            "canary_boundary": principals.canary_boundary(canary, partition=where),
            "canary_writer_name": principals.WRITER,
            "canary_writer": principals.canary_writer(canary, partition=where),
            "canary_writer_trust": principals.trust_of_canary_writer(options["configuration_principal"]),
        }
        self.stdout.write(json.dumps(answer))
