"""How far a tenant has come: the step that it waits at (lists), and the six steps with their reasons (its page)."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import OuterRef, Subquery, Value
from django.db.models.functions import Coalesce

from tenants import onboarding
from tenants.models import OnboardingMove, OnboardingStep, Tenant
from tenants.onboarding import StepView

JOURNEY = (1, 2, 3, 6, 5)  # sharing comes before our side is configured; step 4 is optional and holds nobody up
OVER = {OnboardingStep.Status.DONE, OnboardingStep.Status.SKIPPED}
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


def waits_at(tenant: Tenant) -> StepView | None:
    """Return the step that the tenant is at, None when all is done; reads `tenant.steps.all()`, so prefetch it."""
    views = {step.number: onboarding.view(step) for step in tenant.steps.all()}
    failed = [view for view in views.values() if view.status == OnboardingStep.Status.FAILED]
    open_ = [views[number] for number in JOURNEY if number in views and views[number].status not in OVER]
    return next(iter(failed + open_), None)


def of(tenant: Tenant) -> list[StepProgress]:
    """Return the six steps, each with the reason of its last change."""
    newest = OnboardingMove.objects.filter(step=OuterRef("pk")).order_by("-at", "-id").values("reason")[:1]
    reasons = dict(
        OnboardingStep.objects.filter(tenant=tenant).values_list("number", Coalesce(Subquery(newest), Value("")))
    )
    return [
        StepProgress(step, label(step.status, step.label), reasons.get(step.number, ""))
        for step in onboarding.overview(tenant)
    ]
