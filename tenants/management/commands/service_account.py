"""Change a platform service's account: its secret, its permissions, its tenants, or whether it is let in;
prints one JSON object."""

from __future__ import annotations

import json
import uuid
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from byokportal import clock
from byokportal.errors import DomainError
from tenants import audit, roles, services
from tenants.models import ServiceAccount, Tenant


class Command(BaseCommand):
    help = (
        "Disables, enables or changes the account of a platform service, or rotates its client secret; "
        "a new secret is shown this once. Without any of these it prints the account as it is."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--id", required=True, help="the client_id")
        parser.add_argument("--reason", default="from the command line", help="stands in the log")
        change = parser.add_mutually_exclusive_group()
        change.add_argument("--disable", action="store_true", help="shut it out: its tokens end within 5 seconds")
        change.add_argument("--enable", action="store_true")
        change.add_argument("--rotate", action="store_true", help="make a new secret")
        change.add_argument("--revoke-old", action="store_true", help="end the secret before the present one now")
        parser.add_argument(
            "--hours", type=int, default=24, help="with --rotate: how long the old secret counts; 0 ends it now"
        )
        parser.add_argument(
            "--scope", action="append", help=f"all that it may do; repeat; of {', '.join(roles.SCOPES)}"
        )
        parser.add_argument("--tenant", action="append", help="all that it may act for, by id; repeat")
        parser.add_argument("--all-tenants", action="store_true")

    def handle(self, **options: Any) -> None:
        account = _account(options["id"])
        try:
            secret = self._do(account, options)
        except DomainError as error:
            raise CommandError(
                "; ".join([str(error), *(text for texts in error.errors.values() for text in texts)])
            ) from error
        self.stdout.write(json.dumps(_shown(_account(options["id"])) | secret))

    def _do(self, account: ServiceAccount, options: dict[str, Any]) -> dict[str, str]:
        about: dict[str, Any] = {"reason": options["reason"], "actor": audit.COMMAND}
        asks_for_change = options["scope"] or options["tenant"] or options["all_tenants"]
        if asks_for_change and any(options[name] for name in ("disable", "enable", "rotate", "revoke_old")):
            raise CommandError("Change permissions or tenants in a call of their own.")
        if options["rotate"]:
            return {"client_secret": services.rotate_secret(account, hours=options["hours"], **about)}
        if options["revoke_old"]:
            services.revoke_old_secret(account, **about)
        elif options["disable"]:
            services.disable_service_account(account, **about)
        elif options["enable"]:
            services.enable_service_account(account, **about)
        elif asks_for_change:
            names_tenants = bool(options["tenant"] or options["all_tenants"])
            services.change_service_account(
                account,
                scopes=options["scope"] or account.scopes,
                tenants=[_tenant(text) for text in options["tenant"] or ()]
                if names_tenants
                else list(account.tenants.all()),
                has_all_tenants=options["all_tenants"] if names_tenants else account.has_all_tenants,
                **about,
            )
        return {}


def _shown(account: ServiceAccount) -> dict[str, Any]:
    return {
        "client_id": str(account.pk),
        "name": account.name,
        "is_disabled": account.disabled_at is not None,
        "scopes": account.scopes,
        "has_all_tenants": account.has_all_tenants,
        "tenants": [str(pk) for pk in account.tenants.order_by("pk").values_list("pk", flat=True)],
        "secrets": [
            {
                "created_at": one.created_at.isoformat(),
                "expires_at": one.expires_at.isoformat() if one.expires_at else None,
            }
            for one in account.secrets.valid(clock.now())
        ],
    }


def _account(text: str) -> ServiceAccount:
    try:
        return ServiceAccount.objects.get(pk=uuid.UUID(text))
    except (ValueError, ServiceAccount.DoesNotExist):
        raise CommandError(f"There is no service account {text}.") from None


def _tenant(text: str) -> Tenant:
    try:
        return Tenant.objects.get(pk=uuid.UUID(text))
    except (ValueError, Tenant.DoesNotExist):
        raise CommandError(f"There is no tenant {text}.") from None
