"""Operations of the backup horizon: end it, because the old key is compromised."""

from __future__ import annotations

from typing import Any

from byokportal.errors import InvalidInput
from byokportal.translation import lazy
from byokportal.translation import translate as _
from keys import errors, horizon, retirement, tasks
from keys.models import KeyRegistration
from tenants import approvals, audit, roles, transactions
from tenants.approvals import HELD, Held
from tenants.audit import Actor
from tenants.models import Tenant
from tenants.services import reason_of


@transactions.atomic
def end_horizon(registration: KeyRegistration, *, accepts_loss: bool, reason: str, actor: Actor) -> None:
    """Give up a role and a key that only backups need, now: our policy lets go of the role, and the old wrappings go.

    Args:
        accepts_loss: the person has read what a restored backup then loses (`horizon.Kept.loses`).

    Raises:
        InvalidInput: it was not accepted.
        RegistrationBusy: it serves, or branch keys still open with it: more than backups would be lost.
    """
    tenant = registration.tenant
    roles.require(actor, "keys.end_horizon", tenant)
    reason = reason_of(reason)
    if not accepts_loss:
        raise InvalidInput(
            errors={"accepts_loss": [_("Read what a restored backup loses, then say that you accept it.")]}
        )
    kept = next((one for one in horizon.kept(tenant) if one.registration_id == registration.pk), None)
    if kept is None:
        raise errors.RegistrationBusy(status=registration.status_in_english, wanted="given up")
    facts = {"registration": str(registration.pk), "key_arn": kept.key_arn}
    approvals.require(actor, "keys.end_horizon", tenant, reason=reason, **facts)
    removal_id = retirement.end_horizon(registration, reason=reason, actor=actor)
    audit.record(
        "keys.registration.horizon_ended",
        tenant=tenant,
        actor=actor,
        target=registration,
        key_arn=kept.key_arn,
        since=horizon.recorded(kept.since),
        count=kept.count,
        reason=reason,
    )
    if removal_id is not None:
        tasks.enqueue(tasks.configure_service_role, configuration_id=str(removal_id))


def _end(tenant: Tenant, given: dict[str, Any], reason: str, actor: Actor) -> None:
    registration = KeyRegistration.objects.of(tenant).select_related("tenant").get(pk=given["registration"])
    end_horizon(registration, accepts_loss=True, reason=reason, actor=actor)


HELD["keys.end_horizon"] = Held(lazy("Give up the old key {key_arn} now; backups that need it no longer open"), _end)
