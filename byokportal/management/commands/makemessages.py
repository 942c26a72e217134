"""Django's `makemessages`, with one catalog, the same whenever and wherever it is written (`make messages`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.commands import makemessages

# What nobody reads in another language: the back office, commands, the local AWS, the demo; and what is no code.
LEFT_OUT = (
    "templates/admin/*",
    "support/admin/*",
    "*/management/*",
    "byokportal/localaws/*",
    "byokportal/embedded/*",
    "byokportal/demo/*",
    "tests/*",
    "docs/*",
    "deploy/*",
    "static/*",
    "var/*",
    "[A-Z]*.md",
    "requirements*",
)


class Command(makemessages.Command):
    # A changed sentence is translated anew: what gettext guesses looks right too often.
    msgmerge_options = [*makemessages.Command.msgmerge_options, "--no-fuzzy-matching"]
    xgettext_options = [*makemessages.Command.xgettext_options, "--keyword=lazy"]

    def handle(self, *args: Any, **options: Any) -> None:
        options |= {"all": True, "extensions": ["html,txt,md,py"], "no_location": True, "no_wrap": True}
        options |= {"no_obsolete": True, "ignore_patterns": [*options["ignore_patterns"], *LEFT_OUT]}
        super().handle(*args, **options)

    def write_po_file(self, potfile: str, locale: str) -> None:
        super().write_po_file(potfile, locale)
        written = Path(potfile).parent / locale / "LC_MESSAGES" / f"{self.domain}.po"
        lines = written.read_text(encoding="utf-8").splitlines(keepends=True)
        written.write_text(
            "".join(line for line in lines if not line.startswith('"POT-Creation-Date:')), encoding="utf-8"
        )
