"""Print the template that quick-create links open; put it into S3, and its address into CFN_TEMPLATE_URL."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from keys.policies import cloudformation


class Command(BaseCommand):
    help = "Prints the CloudFormation template for CFN_TEMPLATE_URL: the same for every tenant."
    requires_system_checks: tuple[str, ...] = ()

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(cloudformation.hosted_template())
