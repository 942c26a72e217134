"""What a tenant chose for the documents of steps 2 and 3."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy

from byokportal import clock
from keys.actions import Variant
from keys.policies.choices import DEFAULT, Choices
from tenants.models import Tenant

# What people read of the two variants.
ACTIONS = [
    (Variant.GUIDE.value, gettext_lazy("The guide’s five actions")),
    (
        Variant.NARROW.value,
        gettext_lazy("Only what serving needs: Decrypt, GenerateDataKeyWithoutPlaintext and DescribeKey"),
    ),
]


class DocumentChoices(models.Model):
    """One tenant's choices; without a row they are `keys.policies.choices.DEFAULT`."""

    tenant = models.OneToOneField(Tenant, on_delete=models.PROTECT, related_name="document_choices")
    role_path = models.CharField(max_length=512, default="/")
    permissions_boundary = models.CharField(max_length=2048, blank=True)
    tags = models.JSONField(default=list)  # [[key, value], …]
    makes_key = models.BooleanField(default=False)
    # of the registration that is shared next; one that is shared has its own
    actions = models.CharField(
        max_length=8, choices=ACTIONS, default=Variant.GUIDE.value, db_default=Variant.GUIDE.value
    )
    changed_at = models.DateTimeField(default=clock.now)

    class Meta:
        verbose_name_plural: ClassVar = "document choices"

    def __str__(self) -> str:
        return f"{self.tenant_id}: {self.role_path}"

    @property
    def value(self) -> Choices:
        tags = tuple((key, value) for key, value in self.tags)
        return Choices(self.role_path, self.permissions_boundary, tags, self.makes_key, self.actions)


def choices_of(tenant: Tenant) -> Choices:
    """Return what the tenant chose."""
    row = DocumentChoices.objects.filter(tenant=tenant).first()
    return row.value if row else DEFAULT
