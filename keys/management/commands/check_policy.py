"""Read a policy from a file as the paste box does; prints one JSON object."""

from __future__ import annotations

import codecs
import json
import sys
from dataclasses import asdict
from typing import Any, get_args
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from keys import services
from keys.proof import pasted
from tenants.models import Tenant


class Command(BaseCommand):
    help = (
        "Says what a trust, permissions or key policy grants to Kore.ai, what is missing or too wide, on which line, "
        "and prints the corrected document: {verdict: ok, incomplete, unsafe or unreadable, findings: "
        "[{code, severity, line, text, fix}], corrected}. With the finding statement_alone, corrected is "
        "the one statement to add and no policy."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--kind", required=True, choices=get_args(pasted.Kind))
        parser.add_argument("--tenant", required=True, metavar="ID", help="the organisation's public id")
        parser.add_argument(
            "file", help="the policy, or the answer of the AWS CLI that holds it; - reads standard input"
        )

    def handle(self, **options: Any) -> None:
        text = _decoded(_read(options["file"]))
        reading = services.check_policy(_tenant(options["tenant"]), kind=options["kind"], text=text)
        findings = [asdict(finding) for finding in reading.findings]
        answer = {"verdict": reading.verdict, "findings": findings, "corrected": reading.corrected}
        self.stdout.write(json.dumps(answer, indent=2))


def _tenant(name: str) -> Tenant:
    try:
        return Tenant.objects.select_related("service_role").get(pk=UUID(name))
    except (ValueError, Tenant.DoesNotExist):
        raise CommandError(f"There is no tenant {name[:80]}.") from None


def _read(name: str) -> bytes:
    """Return the start of a file: one byte more than is read of a policy, so that a longer one is told to be."""
    most = 4 * pasted.json_document.MAX_TEXT + 4  # bytes; UTF-8 has at most four a character
    if name == "-":
        return sys.stdin.buffer.read(most)
    try:
        with open(name, "rb") as file:
            return file.read(most)
    except (OSError, ValueError) as error:
        raise CommandError(f"{name} cannot be read: {getattr(error, 'strerror', None) or error}.") from None


def _decoded(raw: bytes) -> str:
    """Return the text; what is not UTF-8 becomes signs that the reading names,
    and the byte order mark stays where it was."""
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # what PowerShell's > writes
        return "\ufeff" + raw.decode("utf-16", errors="replace")
    return raw.decode("utf-8", errors="replace")
