"""Make an account for one of Kore.ai's people; prints one JSON object."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from byokportal.errors import DomainError
from tenants import audit, roles, services


class Command(BaseCommand):
    help = (
        "Creates the account of a support engineer, lead or auditor, or changes one with --disable, "
        "--enable or --regroup. Prints the link by which a new person chooses a password."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--email", required=True)
        parser.add_argument("--group", action="append", default=[], help=f"repeat; of {', '.join(roles.GROUPS)}")
        parser.add_argument("--reason", default="from the command line")
        change = parser.add_mutually_exclusive_group()
        change.add_argument("--disable", action="store_true", help="switch the account off: sessions end at once")
        change.add_argument("--enable", action="store_true")
        change.add_argument("--regroup", action="store_true", help="put the person into the groups named by --group")
        change.add_argument("--reset-second-factor", action="store_true")

    def handle(self, **options: Any) -> None:
        try:
            answer = self._do(options)
        except DomainError as error:
            raise CommandError(
                "; ".join([str(error), *(text for texts in error.errors.values() for text in texts)])
            ) from error
        self.stdout.write(json.dumps(answer))

    def _do(self, options: dict[str, Any]) -> dict[str, Any]:
        about = {"reason": options["reason"], "actor": audit.COMMAND}
        changes = ("disable", "enable", "regroup", "reset_second_factor")
        if not any(options[name] for name in changes):
            user = services.create_staff(options["email"], groups=options["group"], **about)
            link = settings.BASE_URL + services.password_link(user)
            return {"user": user.pk, "email": user.email, "groups": sorted(options["group"]), "password_url": link}
        found = services.staff_of(options["email"])
        if found is None:
            raise CommandError(f"There is no account of staff with the address {options['email']}.")
        if options["disable"]:
            services.switch_off(found, **about)
        elif options["enable"]:
            services.switch_on(found, **about)
        elif options["regroup"]:
            services.regroup_staff(found, groups=options["group"], **about)
        else:
            services.reset_staff_second_factor(found, **about)
        found.refresh_from_db()
        groups = sorted(found.groups.values_list("name", flat=True))
        return {"user": found.pk, "email": found.email, "groups": groups, "is_active": found.is_active}
