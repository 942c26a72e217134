"""Print a CloudFormation template of our own side; `deploy/aws` has them, and docs/deploy.md walks through."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from keys.policies import our_stacks


class Command(BaseCommand):
    help = "Prints the CloudFormation template of an account of ours: our-account, canary-account or escrow."
    requires_system_checks: tuple[str, ...] = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("stack", choices=sorted(our_stacks.STACKS))

    def handle(self, **options: Any) -> None:
        self.stdout.write(our_stacks.STACKS[options["stack"]]())
