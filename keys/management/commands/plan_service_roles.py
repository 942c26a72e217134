"""Say what so many tenants take in our AWS account, by the packing that runs; prints one JSON object."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from keys.configuration import plan, quotas
from keys.models import AccountQuotas

MOST = 1_000_000


class Command(BaseCommand):
    help = "Packs made-up Role ARNs as the configuration worker does, and counts service roles and policies."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tenants", type=int, required=True, help="how many, up to a million")
        parser.add_argument(
            "--shape",
            choices=["guide", "random"],
            default="guide",
            help="the guide's role name, or 35 to 606 characters",
        )
        parser.add_argument("--early", type=int, default=0, help="how many are pinned before their Role ARNs come")

    def handle(self, **options: Any) -> None:
        count, early = options["tenants"], options["early"]
        if not (0 <= count <= MOST and 0 <= early <= MOST):
            raise CommandError(f"--tenants and --early are between 0 and {MOST}.")
        make = plan.guide_shaped if options["shape"] == "guide" else plan.of_any_length
        played = plan.play(make(count), share=settings.SERVICE_ROLE_SHARE, early=early)
        known = AccountQuotas.objects.filter(pk=1).first()
        answer = {**played.as_dict(), "shape": options["shape"], "early": early}
        answer["more_service_roles_by_quota"] = quotas.more_service_roles(known) if known else None
        self.stdout.write(json.dumps(answer))
