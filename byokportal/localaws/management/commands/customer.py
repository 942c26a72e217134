"""Play the customer's engineer on the local AWS, so that a developer without an AWS console can click
through the portal."""

from __future__ import annotations

import json
import uuid
from typing import Any

import boto3
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from byokportal.errors import DomainError
from byokportal.localaws.engineer import Engineer
from byokportal.localaws.mistakes import MISTAKES
from byokportal.localaws.mistakes.definition import Mistake
from keys import services
from keys.policies import documents
from tenants.models import Tenant

ACCOUNT, LIST = "111122223333", "list"


class Command(BaseCommand):
    help = (
        "Does step 1, 2 or 3 of the guide in the customer's account of the local AWS and prints the ARN to give "
        "in the portal."
    )
    # They load every page of the portal, and a walk through the guide starts this once for each step.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tenant", default="", help="the tenant's id, as in its address in the portal")
        parser.add_argument("--step", type=int, choices=(1, 2, 3))
        parser.add_argument(
            "--break",
            dest="broken",
            default="",
            choices=["", LIST, *MISTAKES],
            metavar="WHAT",
            help="do it wrong in this way; `list` prints all of them. Doing the step again without it mends it",
        )
        parser.add_argument(
            "--account",
            default="",
            help=(
                f"the customer's account; default {ACCOUNT}, in step 3 the key's. With another one in step 1 the key "
                "lies elsewhere than the role, as in a bank: "
                "only then do permissions and key policy have to allow both"
            ),
        )
        parser.add_argument("--key-arn", default="", help="the CMK; default: the one in the registration")

    def handle(self, **options: Any) -> None:
        if settings.AWS_MODE != "local":
            raise CommandError("This plays on the local AWS only; AWS_MODE is not local.")
        step, broken = options["step"], options["broken"]
        if broken == LIST:
            self.stdout.write(json.dumps({name: _described(mistake) for name, mistake in MISTAKES.items()}, indent=2))
            return
        if not options["tenant"] or step is None:
            raise CommandError("--tenant and --step are needed.")
        if broken and MISTAKES[broken].step != step:
            raise CommandError(f"{broken} belongs to step {MISTAKES[broken].step}: {MISTAKES[broken].words}.")
        try:
            tenant = Tenant.objects.select_related("service_role").get(pk=uuid.UUID(options["tenant"]))
        except (ValueError, Tenant.DoesNotExist):
            raise CommandError("There is no such tenant.") from None
        try:
            answer = self._do(tenant, step, broken, options)
        except DomainError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(json.dumps({"tenant": str(tenant.pk), "step": step, "break": broken, **answer}))

    def _do(self, tenant: Tenant, step: int, broken: str, options: dict[str, Any]) -> dict[str, str]:
        registration = services.shown_registration(tenant)
        key_arn = options["key_arn"] or (registration.key_arn if registration else "")
        at_home = key_arn.split(":")[4] if step == 3 and key_arn else ACCOUNT
        engineer = _engineer(options["account"] or at_home)
        if step == 1:
            return {"key_arn": engineer.create_key(broken=broken)}
        if not key_arn:
            raise CommandError("Give the CMK ARN in the portal first (step 1), or with --key-arn.")
        if step == 2:
            is_theirs = registration is not None and key_arn == registration.key_arn
            return {
                "role_arn": engineer.create_role(
                    trust=services.document(tenant, "trust-policy"),
                    permissions=services.document(tenant, "permissions-policy")
                    if is_theirs
                    else documents.render(
                        documents.permissions_policy(key_arn, (), services.access_of(tenant, registration).actions)
                    ),
                    external_id=tenant.external_id,
                    broken=broken,
                )
            }
        engineer.grant(
            key_arn=key_arn,
            statement=services.document(tenant, "key-policy-statement"),
            trust=services.document(tenant, "trust-policy"),
            broken=broken,
        )
        return {"key_arn": key_arn}


def _described(mistake: Mistake) -> str:
    note = " (seen only where --account gives step 1 another account than step 2)" if mistake.across else ""
    return f"step {mistake.step}: {mistake.words}{note}"


def _engineer(account: str) -> Engineer:
    try:
        local = json.loads(settings.LOCALAWS_FILE.read_text())
    except FileNotFoundError:
        raise CommandError(f"{settings.LOCALAWS_FILE} is missing: start the local AWS first (make run).") from None
    if account not in local["accounts"]:
        raise CommandError(f"The local AWS has the accounts {', '.join(local['accounts'])}.")
    credentials = local["accounts"][account]
    session = boto3.Session(
        aws_access_key_id=credentials["access_key_id"], aws_secret_access_key=credentials["secret_access_key"]
    )
    return Engineer(session, local["endpoint"], account)
