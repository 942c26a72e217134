"""Makes what the embedded run shows at once: a tenant with its owner, and a support lead."""

from __future__ import annotations

import json
import os
from typing import Any

from django.contrib.auth.models import Group, User
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from byokportal.errors import DomainError
from keys.configuration import opening
from tenants import roles, services
from tenants.audit import COMMAND
from tenants.models import ServiceRole, Tenant

TENANT = "Acme Bank"
OWNER = "owner@acme.example"
SUPPORT = "support@kore.example"


def _password(name: str) -> str:
    password = os.environ.get(name, "")
    if not password:
        raise CommandError(f"{name} is missing: it is the password of a sign-in that this command makes.")
    return password


class Command(BaseCommand):
    help = "Makes the demonstration tenant and its sign-ins, with DEMO_OWNER_PASSWORD and DEMO_SUPPORT_PASSWORD."

    def handle(self, *args: Any, **options: Any) -> None:
        owner_password, support_password = _password("DEMO_OWNER_PASSWORD"), _password("DEMO_SUPPORT_PASSWORD")
        try:
            if not ServiceRole.objects.filter(is_open=True).exists():
                opening.open_service_role()
            tenant = self._rows(owner_password, support_password)
        except DomainError as error:
            raise CommandError(f"{error.title}. {error}") from error
        about = {
            "tenant": str(tenant.pk),
            "external_id": tenant.external_id,
            "service_role_arn": tenant.service_role.arn,
            "owner": OWNER,
            "support": SUPPORT,
        }
        self.stdout.write(json.dumps(about))

    @transaction.atomic
    def _rows(self, owner_password: str, support_password: str) -> Tenant:
        tenant = Tenant.objects.filter(name=TENANT, members__user__email=OWNER).select_related("service_role").first()
        if tenant is None:
            tenant = services.create_tenant(TENANT, owner_email=OWNER, actor=COMMAND)
            services.accept_invitation(services.new_link(tenant.invitations.get()), password=owner_password)
        support, _ = User.objects.get_or_create(username=SUPPORT, defaults={"email": SUPPORT, "is_staff": True})
        support.groups.add(Group.objects.get(name=roles.LEAD))
        for user, password in ((User.objects.get(email=OWNER), owner_password), (support, support_password)):
            if not user.check_password(password):  # a hash written again would end the sessions of the last run
                user.set_password(password)
                user.save(update_fields=["password"])
        return tenant
