"""Who belongs to an organisation, and as what."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from django.conf import settings
from django.db import models

from byokportal import clock
from tenants.models.organisations import Tenant

if TYPE_CHECKING:
    from django.contrib.auth.models import User


class Role(models.TextChoices):
    """What a member may do; the permissions of each are in `tenants.roles`."""

    OWNER = "owner", "Owner"
    ADMIN = "admin", "Admin"
    AUDITOR = "auditor", "Auditor"


class MemberQuerySet(models.QuerySet["Member"]):
    def of(self, tenant: Tenant) -> Self:
        return self.filter(tenant=tenant)


class Member(models.Model):
    """A person in a tenant."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="members")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="memberships")
    role = models.CharField(max_length=16, choices=Role)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    objects = MemberQuerySet.as_manager()

    if TYPE_CHECKING:
        user: models.ForeignKey[User]  # type: ignore[no-redef]

    class Meta:
        ordering: ClassVar = ["created_at"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "user"], name="tenants_one_membership_per_person"),
        ]

    def __str__(self) -> str:
        return f"{self.user.email} ({self.get_role_display()})"
