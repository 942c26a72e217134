"""Old keys that branch keys or backups still need: what people have to know of them, and when they are warned."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from byokportal.errors import DomainError
from byokportal.translation import lazy
from byokportal.translation import translate as _
from keys import errors, horizon
from keys.arns import KeyArn
from keys.health import blame
from keys.health import notes as all_notes
from keys.health.notes import Note
from keys.models import KeyHealth, KeyRegistration
from tenants import audit
from tenants.models import Tenant

DELETES = lazy("On {at}, AWS deletes the old key {key_arn}.")
SILENT = lazy("The old key {key_arn} does not answer us: {what}.")


def notes(tenant: Tenant, known: Iterable[KeyHealth]) -> list[Note]:
    """Return what is to be known of the keys that a tenant had before, the most urgent first.

    Args:
        known: of all the tenant's keys that are not retired, each with its registration.
    """
    olds = [one for one in known if one.registration.status == KeyRegistration.Status.RETIRING]
    if not olds:
        return []
    found: list[Note] = []
    kept = {one.registration_id: one for one in horizon.kept(tenant)}
    for health in sorted(olds, key=lambda one: one.registration.moved_at or one.registration.created_at):
        old, at = health.registration, all_notes.deletion_date(health)
        one = kept.get(old.pk)
        if one is None:  # branch keys still open with it, or its time is over
            if at is not None and old.branch_keys.exists():
                found.append(all_notes.deletion(old, at))
            continue
        why = at_risk(health, one.until)
        if why and at is not None:
            text = f"{why} {one.loses} {_('Cancel the deletion and enable the key:')}"
            found.append(Note("old_key_pending_deletion", text, is_urgent=True, command=_cancel(old), at=at))
        elif why:
            found.append(Note("old_key_refused", f"{why} {one.loses}", is_urgent=True, at=one.until))
        until = horizon.written(one.until)
        keep = _(
            "Keep the old key %(key)s and the role %(role)s as they are until %(until)s.",
            key=one.key_arn,
            role=one.role_arn,
            until=until,
        )
        found.append(Note("old_key_needed", f"{keep} {one.why}", at=one.until))
    return sorted(found, key=lambda note: not note.is_urgent)


def at_risk(health: KeyHealth, until: datetime) -> str:
    """Return why a backup could not be opened by an old key now, or will not be before its time;
    "" when nothing is wrong."""
    old, at = health.registration, all_notes.deletion_date(health)
    if at is not None:
        return "" if at >= until else _(DELETES).format(at=horizon.written(at), key_arn=old.key_arn)
    error = errors.REFUSALS.get(health.refused_code)
    if health.refused_since is None or error is None:
        return ""
    return _(SILENT).format(key_arn=old.key_arn, what=_(error.title))


def warn(health: KeyHealth, error: DomainError) -> None:
    """Warn the owners once of what AWS says of an old key; call it in the transaction that notes the refusal.

    A refusal that our own policies can cause as well is shown on the pages and mailed to nobody.
    """
    old = health.registration
    until = old.needed_until
    if until is None or horizon.is_over(old) or isinstance(error, blame.DOUBTFUL):
        return
    why = at_risk(health, until)
    if why:
        audit.record(
            "keys.kept_key.at_risk",
            tenant=old.tenant,
            actor=audit.SYSTEM,
            target=old,
            key_arn=old.key_arn,
            until=horizon.written(until),
            why=why,
        )


def _cancel(old: KeyRegistration) -> str:
    arn = KeyArn.parse(old.key_arn)
    at = f"--region {arn.region} --key-id {old.key_arn}"
    return f"aws kms cancel-key-deletion {at} && aws kms enable-key {at}"
