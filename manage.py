#!/usr/bin/env python
"""Django's command line."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "byokportal.settings")
    if sys.argv[1:2] == ["migrate"]:  # runs beside the services, and its lines are read with theirs
        from byokportal import lines

        lines.every_line_is_json()
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
