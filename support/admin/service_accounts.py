"""Service accounts in the back office: made, changed, shut out;
a secret is shown once, on the page after the button."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin

from byokportal import clock
from support.admin.base import Answer, Operation, ReadOnlyAdmin, ShownOnce
from support.forms import NewServiceAccountForm, RotateForm, ServiceAccountForm
from tenants import services as tenant_services
from tenants.audit import Actor
from tenants.models import ServiceAccount

ROW = "tenants.manage_service_accounts"


def _create(_: None, data: dict[str, Any], actor: Actor) -> Answer:
    account, secret = tenant_services.create_service_account(
        data["name"],
        tenants=list(data["tenants"]),
        scopes=data["scopes"],
        has_all_tenants=data["has_all_tenants"],
        actor=actor,
    )
    return ShownOnce(
        f"The service account {account.name} is there", {"client_id": str(account.pk), "client_secret": secret}
    )


def _rotate(account: ServiceAccount, data: dict[str, Any], actor: Actor) -> Answer:
    secret = tenant_services.rotate_secret(account, hours=data["hours"], reason=data["reason"], actor=actor)
    return ShownOnce(f"{account.name} has a new client secret", {"client_id": str(account.pk), "client_secret": secret})


def _revoke_old(account: ServiceAccount, data: dict[str, Any], actor: Actor) -> Answer:
    tenant_services.revoke_old_secret(account, reason=data["reason"], actor=actor)
    return f"The old secret of {account.name} has ended. Tokens made with it end within 5 seconds."


def _disable(account: ServiceAccount, data: dict[str, Any], actor: Actor) -> Answer:
    tenant_services.disable_service_account(account, reason=data["reason"], actor=actor)
    return f"{account.name} is disabled. Its tokens end within 5 seconds, and it gets no new ones."


def _enable(account: ServiceAccount, data: dict[str, Any], actor: Actor) -> Answer:
    tenant_services.enable_service_account(account, reason=data["reason"], actor=actor)
    return f"{account.name} may ask for tokens again, with the secret that it has."


def _change(account: ServiceAccount, data: dict[str, Any], actor: Actor) -> Answer:
    tenant_services.change_service_account(
        account,
        scopes=data["scopes"],
        tenants=list(data["tenants"]),
        has_all_tenants=data["has_all_tenants"],
        reason=data["reason"],
        actor=actor,
    )
    return f"{account.name} is changed. What it lost, its tokens lose within 5 seconds."


def _as_it_is(account: ServiceAccount) -> dict[str, Any]:
    return {
        "scopes": account.scopes,
        "tenants": list(account.tenants.values_list("pk", flat=True)),
        "has_all_tenants": account.has_all_tenants,
    }


def _has_old_secret(account: ServiceAccount) -> bool:
    return account.secrets.valid(clock.now()).exclude(expires_at=None).exists()


def _is_enabled(account: ServiceAccount) -> bool:
    return account.disabled_at is None


def _is_disabled(account: ServiceAccount) -> bool:
    return account.disabled_at is not None


@admin.register(ServiceAccount)
class ServiceAccountAdmin(ReadOnlyAdmin):
    list_display = ("name", "id", "scopes", "has_all_tenants", "disabled_at", "created_at")
    search_fields = ("name", "=id", "tenants__name")
    fields = ("name", "id", "scopes", "has_all_tenants", "may_act_for", "secrets_now", "disabled_at", "created_at")
    operations: ClassVar[tuple[Operation, ...]] = (
        Operation(
            "rotate-secret",
            "Rotate the client secret",
            (
                "The new secret counts at once; the old one as long as you say, so that the service can change over. "
                "If the old one has leaked, let it end now."
            ),
            ROW,
            _rotate,
            form=RotateForm,
            is_destructive=True,
        ),
        Operation(
            "revoke-old-secret",
            "End the old secret now",
            (
                "The secret before the present one ends now, and every token made with it within 5 seconds. "
                "A service that still uses it is out."
            ),
            ROW,
            _revoke_old,
            is_offered=_has_old_secret,
            is_destructive=True,
        ),
        Operation(
            "re-scope",
            "Change permissions and tenants",
            "Tokens that are out lose within 5 seconds what the account loses here; what it gains, its next token has.",
            ROW,
            _change,
            form=ServiceAccountForm,
            initial=_as_it_is,
            is_destructive=True,
        ),
        Operation(
            "disable",
            "Disable the account",
            (
                "Its tokens end within 5 seconds and it gets no new ones: "
                "the service is out until the account is enabled again."
            ),
            ROW,
            _disable,
            is_offered=_is_enabled,
            is_destructive=True,
        ),
        Operation(
            "enable",
            "Enable the account",
            (
                "It may ask for tokens again, with the secret that it has. "
                "If that may be known to somebody, rotate it first."
            ),
            ROW,
            _enable,
            is_offered=_is_disabled,
        ),
    )
    list_operations: ClassVar[tuple[Operation, ...]] = (
        Operation(
            "create",
            "Create a service account",
            "A platform service gets data keys with it, for the tenants chosen here. Its secret is shown once.",
            ROW,
            _create,
            form=NewServiceAccountForm,
            is_destructive=True,
        ),
    )

    @admin.display
    def may_act_for(self, account: ServiceAccount) -> str:
        return (
            "all tenants"
            if account.has_all_tenants
            else ", ".join(account.tenants.values_list("name", flat=True)[:200])
        )

    @admin.display(description="client secrets")
    def secrets_now(self, account: ServiceAccount) -> str:
        """Return since when, and until when, each secret counts; digests are shown nowhere."""
        return "; ".join(
            f"the one of {one.created_at:%Y-%m-%d %H:%M} UTC"
            + (f", until {one.expires_at:%Y-%m-%d %H:%M} UTC" if one.expires_at else "")
            for one in account.secrets.valid(clock.now())
        )
