"""Bring the database up to date and make the demonstration data, in one process: each Django start costs seconds."""

from __future__ import annotations

import django
from django.core.management import call_command


def main() -> None:
    """Migrate quietly, then print what `demonstration_data` prints."""
    django.setup()
    call_command("migrate", verbosity=0, skip_checks=True)
    call_command("demonstration_data", skip_checks=True)


if __name__ == "__main__":
    main()
