"""Brings a fresh database to one tenant with its key in service and one platform service;
prints what a client needs."""

from __future__ import annotations

import io
import json

import django


def main() -> None:
    django.setup()
    from django.core.management import call_command
    from django.utils import timezone

    from keys import services
    from keys.arns import KeyArn, RoleArn
    from keys.configuration import apply
    from keys.models import EncryptionTest, KeyRegistration, RoleConfiguration
    from keys.proof.encryption_test import runner
    from tenants import audit, roles, tokens
    from tenants import services as tenant_services
    from tenants.models import Tenant

    def command(name: str, *arguments: str) -> dict[str, str]:
        out = io.StringIO()
        call_command(name, *arguments, stdout=out)
        return dict(json.loads(out.getvalue()))

    call_command("migrate", verbosity=0)
    command("open_service_role")
    tenant_id = command("create_tenant", "--name", "Acme", "--owner", "alice@acme.example")["tenant"]
    tenant = Tenant.objects.get(pk=tenant_id)
    for step, name, kind in ((1, "key_arn", KeyArn), (2, "role_arn", RoleArn)):
        made = command("customer", "--tenant", tenant_id, "--step", str(step))
        services.save_draft(tenant, **{name: kind.parse(made[name])}, actor=audit.COMMAND)
    command("customer", "--tenant", tenant_id, "--step", "3")
    services.submit_registration(tenant, actor=audit.COMMAND)
    for _ in range(60):
        for configuration in RoleConfiguration.objects.due(timezone.now()):
            apply.apply(str(configuration.pk))
        for test in EncryptionTest.objects.due(timezone.now()):
            runner.run(str(test.pk))
    registration = KeyRegistration.objects.get(tenant=tenant)
    assert registration.status == "active", registration.reason
    account, _ = tenant_services.create_service_account(
        "bench", tenants=[tenant], scopes=roles.SCOPES, actor=audit.COMMAND
    )
    _, token = tokens.issue(account, scopes=account.scopes)
    print(json.dumps({"tenant": tenant_id, "token": token}))


if __name__ == "__main__":
    main()
