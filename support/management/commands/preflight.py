"""Ask every part that production needs whether it answers; exit 1 if anything would hurt in service."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from support import preflight


class Command(BaseCommand):
    help = (
        "Looks at settings, servers, clocks and AWS: a line for each, what is wrong and what to do. Exits 1 on a fail."
    )
    # A part that is wrong is a line of its answer, not the end of it.
    requires_system_checks: list[str] = []

    def handle(self, **options: Any) -> None:
        hurts = False
        for found in preflight.look():
            hurts |= found.level == "fail"
            self.stdout.write(" ".join(filter(None, (f"{found.level:4} {found.part}:", found.text, found.remedy))))
        if hurts:
            raise SystemExit(1)
