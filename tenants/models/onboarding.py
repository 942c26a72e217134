"""The six steps of an organisation, and how each one moved."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy

from byokportal import clock
from tenants.models.organisations import Tenant


class OnboardingStep(models.Model):
    """One of the six steps of one tenant: where it stands, since when, and on whom it waits."""

    class Status(models.TextChoices):
        NOT_STARTED = "not_started", gettext_lazy("Not started")
        IN_PROGRESS = "in_progress", gettext_lazy("In progress")
        WAITING_FOR_TENANT = "waiting_for_tenant", gettext_lazy("Waiting for you")
        WAITING_FOR_KORE = "waiting_for_kore", gettext_lazy("Waiting for Kore.ai")
        DONE = "done", gettext_lazy("Done")
        FAILED = "failed", gettext_lazy("Needs a change")
        SKIPPED = "skipped", gettext_lazy("Skipped")

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="steps", db_index=False)
    number = models.PositiveSmallIntegerField()
    status = models.CharField(max_length=24, choices=Status, default=Status.NOT_STARTED)
    since = models.DateTimeField(default=clock.now)
    evidence = models.JSONField(default=dict)  # ids, ARNs and codes; never a secret

    class Meta:
        ordering: ClassVar = ["tenant", "number"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "number"], name="tenants_each_step_once"),
            models.CheckConstraint(condition=Q(number__gte=1, number__lte=6), name="tenants_six_steps"),
            models.CheckConstraint(condition=~Q(status="skipped") | Q(number=4), name="tenants_only_step_4_is_skipped"),
        ]

    def __str__(self) -> str:
        return f"step {self.number} of {self.tenant_id}"


class OnboardingMove(models.Model):
    """One change of one step."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="step_moves")
    step = models.ForeignKey(OnboardingStep, on_delete=models.PROTECT, related_name="moves", db_index=False)
    old_status = models.CharField(max_length=24)
    new_status = models.CharField(max_length=24)
    reason = models.CharField(max_length=500, blank=True)
    actor = models.CharField(max_length=200)
    at = models.DateTimeField(default=clock.now)

    class Meta:
        ordering: ClassVar = ["at", "id"]
        indexes: ClassVar = [
            models.Index(fields=["step", "at", "id"], name="tenants_move_of_step"),
            # How long steps take is read of the newest that were done.
            models.Index(fields=["new_status", "-at"], name="tenants_move_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.old_status} → {self.new_status}"
