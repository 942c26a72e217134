"""Inject faults into the running local AWS: delays, throttling, time-outs, errors, resets."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from byokportal.localaws import fault_socket, faults


class Command(BaseCommand):
    help = "Adds, clears or lists the rules by which the local AWS misbehaves; prints one JSON object."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        operations = parser.add_subparsers(dest="do", required=True)
        add = operations.add_parser("add", help="let a rule stand")
        add.add_argument("fault", choices=list(faults.FAULTS))
        add.add_argument(
            "value",
            nargs="?",
            help="; ".join(f"{fault}: {words[0]}" for fault, words in faults.FAULTS.items() if words[0]),
        )
        add.add_argument("--account", help="the caller's account, or the one of the role or key that is asked for")
        add.add_argument("--key", help="id or ARN of a key")
        add.add_argument("--operation", help="like kms:Decrypt; * and ? are wildcards")
        add.add_argument("--share", type=float, help="which part of the calls, at random: 0.2 is every fifth")
        add.add_argument("--times", type=int, help="how many calls; without it until cleared")
        clear = operations.add_parser("clear", help="take a rule back, or all")
        clear.add_argument("number", nargs="?", type=int)
        operations.add_parser("list", help="print the rules that stand")

    def handle(self, **options: Any) -> None:
        if settings.AWS_MODE != "local":
            raise CommandError("Faults can be injected into the local AWS alone; AWS_MODE is not local.")
        question: dict[str, Any] = {"do": options["do"]}
        if options["do"] == "add":
            names = ("fault", "value", "account", "key", "operation", "times", "share")
            question["rule"] = {name: options[name] for name in names if options.get(name) is not None}
        elif options["do"] == "clear":
            question["number"] = options["number"]
        try:
            answer = fault_socket.ask(settings.VAR_DIR / fault_socket.NAME, question)
        except (OSError, ValueError):
            raise CommandError("No local AWS runs here: start it first (make run).") from None
        if "error" in answer:
            raise CommandError(answer["error"])
        self.stdout.write(json.dumps(answer))
