"""Revoke automation tokens of an organisation, one or all of them; prints one JSON object."""

from __future__ import annotations

import json
import uuid
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from byokportal import clock
from tenants import audit, services
from tenants.models import AccessToken, Tenant


class Command(BaseCommand):
    help = "Revokes automation tokens of an organisation, where its owners cannot; they stop working within 5 seconds."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tenant", required=True, help="the tenant's id")
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("--token", action="append", default=[], help="a token's id; repeat for more")
        which.add_argument("--all", action="store_true", help="all that still work")

    def handle(self, **options: Any) -> None:
        try:
            tenant = Tenant.objects.get(pk=uuid.UUID(options["tenant"]))
            wanted = {uuid.UUID(text) for text in options["token"]}
        except (ValueError, Tenant.DoesNotExist):
            raise CommandError("There is no such tenant, or an id has another form.") from None
        works = AccessToken.objects.of(tenant).valid(clock.now())
        found = list(works.select_related("member__tenant", "invitation__tenant"))
        chosen = [token for token in found if options["all"] or token.pk in wanted]
        missing = wanted - {token.pk for token in chosen}
        if missing:
            raise CommandError(f"The tenant has no such token that works: {', '.join(sorted(map(str, missing)))}.")
        for token in chosen:
            services.revoke_token(token, actor=audit.COMMAND)
        self.stdout.write(json.dumps({"revoked": [{"id": str(token.pk), "name": token.name} for token in chosen]}))
