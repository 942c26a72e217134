"""How far a tenant has come: the six steps with their reasons."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import OuterRef, Subquery, Value
from django.db.models.functions import Coalesce

from tenants import onboarding
from tenants.models import OnboardingMove, OnboardingStep, Tenant
from tenants.onboarding import StepView

# The tenant reads "Waiting for you"; staff read who that is.
LABELS = {"waiting_for_tenant": "Waiting for the tenant"}


@dataclass(frozen=True, slots=True)
class StepProgress:
    """One step of one tenant, with the words that staff read."""

    step: StepView
    label: str
    why: str


def label(status: str, default: str) -> str:
    return LABELS.get(status, default)


def of(tenant: Tenant) -> list[StepProgress]:
    """Return the six steps, each with the reason of its last change."""
    newest = OnboardingMove.objects.filter(step=OuterRef("pk")).order_by("-at", "-id").values("reason")[:1]
    rows = OnboardingStep.objects.filter(tenant=tenant).order_by("number")
    steps = list(rows.annotate(why=Coalesce(Subquery(newest), Value(""))))
    return [
        StepProgress(view, label(view.status, view.label), getattr(step, "why", ""))
        for step, view in zip(steps, onboarding.views(steps), strict=True)
    ]
