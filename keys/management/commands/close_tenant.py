"""Close an organisation for good, or say what that would do; prints one JSON object."""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from keys import services
from keys.management.after_a_restore import told
from tenants import audit
from tenants.models import Tenant


class Command(BaseCommand):
    help = (
        "Closes an organisation: export, then its keys are destroyed and everybody loses their way in. "
        "docs/closing.md. Refused while anything serves it. Without --for-good it only says what would be done."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tenant", required=True, help="the tenant's id")
        parser.add_argument("--reason", default="", help="stands in its log and in the mail to its owners")
        parser.add_argument("--who", default="", help="who decided so, two people; stands in its log")
        parser.add_argument("--export-to", default="", help="a folder that is there; the export gets its own in it")
        parser.add_argument("--for-good", action="store_true", help="do it: nobody can undo that")

    def handle(self, **options: Any) -> None:
        try:
            tenant = Tenant.objects.select_related("service_role").get(pk=uuid.UUID(options["tenant"]))
        except (ValueError, Tenant.DoesNotExist):
            raise CommandError("There is no such tenant, or its id has another form.") from None
        with told():
            if not options["for_good"]:
                found = asdict(services.look_at_closing(tenant, actor=audit.COMMAND))
                found |= {"tenant": str(tenant.pk), "name": tenant.name, "is_done": False}
                self.stdout.write(json.dumps({**found, "backups_end_at": found["backups_end_at"].isoformat()}))
                if found["blockers"]:
                    raise SystemExit(1)
                return
            if not options["who"].strip() or not options["reason"].strip():
                raise CommandError("Say --who decided so, and the --reason.")
            reason = f"{options['reason'].strip()} (decided by {options['who'].strip()})"
            closing = services.close_tenant(tenant, export_to=options["export_to"], reason=reason, actor=audit.COMMAND)
        said = {
            "closing": str(closing.pk),
            "status": closing.status,
            "export": closing.folder,
            "waits_for": closing.why,
        }
        ends_at = closing.ends_at.isoformat() if closing.ends_at else None
        self.stdout.write(json.dumps({**said, "last_copy_ends_at": ends_at, "is_done": True}))
