"""Operations of platform services: make, open and move data keys."""

from __future__ import annotations

from collections.abc import Sequence

from byokportal.errors import DomainError
from keys import datakeys, errors
from keys.datakeys import Context, NewDataKey, OpenedDataKey
from keys.models import KeyRegistration, RoleConfiguration
from tenants.audit import Actor
from tenants.models import OnboardingStep, Tenant

Status = KeyRegistration.Status
Step = OnboardingStep.Status
Configuration = RoleConfiguration


def generate_data_keys(
    tenant: Tenant, contexts: Sequence[Context], *, actor: Actor, request_id: str
) -> list[NewDataKey]:
    """Make one data key for each context; see `keys.datakeys.generate` for what is raised."""
    return datakeys.generate(tenant, contexts, caller=actor.label, request_id=request_id)


def require_unstopped(tenant: Tenant, keys: Sequence[NewDataKey]) -> None:
    """Raise when the tenant's key was stopped or dropped since these keys were made: between making and answering was a wait.

    Raises:
        DomainError: what `keys.datakeys.generate` raises now, or KeyUnreachable after a drop: ask again.
    """
    for generation in {key.generation for key in keys}:
        if not datakeys.here().is_still(tenant.pk, generation, new=True):
            raise errors.KeyUnreachable(retry_after=1)


def open_data_keys(
    tenant: Tenant, items: Sequence[tuple[bytes, Context]], *, actor: Actor, request_id: str
) -> list[OpenedDataKey | DomainError]:
    """Open wrapped data keys; a failed item is the error in its place."""
    return datakeys.open_wrapped(tenant, items, caller=actor.label, request_id=request_id)


def rewrap_data_keys(
    tenant: Tenant, items: Sequence[tuple[bytes, Context]], *, actor: Actor, request_id: str
) -> list[bytes | DomainError]:
    """Move wrapped data keys to the current branch key; a failed item is the error in its place."""
    return datakeys.rewrap(tenant, items, caller=actor.label, request_id=request_id)
