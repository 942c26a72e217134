"""The backup horizon: how long an old role and an old key are needed after every branch key has moved away from them.

A backup of the database from before the move holds branch keys wrapped by the old key. Restored, it opens only with
the old key, through the old role, named in our policy. So a registration stays `retiring` for as long as backups are
kept (BACKUP_RETENTION_DAYS).
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Count, Exists, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce, Now
from django.utils import translation
from django.utils.formats import number_format

from byokportal import clock, words
from byokportal.translation import ngettext
from byokportal.translation import translate as _
from keys.models import BranchKey, BranchKeyWrapping, KeyRegistration
from tenants.models import Tenant

Status = KeyRegistration.Status


@dataclass(frozen=True, slots=True)
class Kept:
    """An old key that nothing is wrapped by any more, and that a restored backup would need.

    Args:
        count: branch keys that a backup from before the move holds under it.
        since: when the last of them moved.
    """

    registration_id: uuid.UUID
    key_arn: str
    role_arn: str
    count: int
    since: datetime
    until: datetime

    @property
    def why(self) -> str:
        """Return why it is needed, as a sentence."""
        return _(
            "Every branch key has moved, but a backup of our database from before %(since)s opens only with this key, "
            "through this role. Backups are kept for %(days)s.",
            since=written(self.since),
            days=days(),
        )

    @property
    def loses(self) -> str:
        """Return what is lost if we have to restore such a backup without the key."""
        return ngettext(
            "A backup of our database from before %(since)s holds %(count)s branch key that only this key opens. "
            "If we have to restore one before %(until)s, everything that was encrypted under it stays closed for ever: "
            "no copy of the key, no other role and nobody at Kore.ai can open it. What you use now is not touched.",
            "A backup of our database from before %(since)s holds %(count)s branch keys that only this key opens. "
            "If we have to restore one before %(until)s, everything that was encrypted under them stays closed for "
            "ever: no copy of the key, no other role and nobody at Kore.ai can open it. What you use now is not "
            "touched.",
            self.count,
            since=written(self.since),
            until=written(self.until),
            count=number_format(self.count, force_grouping=True),
        )


def days() -> str:
    """Return for how long backups are kept, in words."""
    number = settings.BACKUP_RETENTION_DAYS
    return ngettext("%(count)s day", "%(count)s days", int(number) if number == int(number) else 2, count=f"{number:g}")


def recorded(at: datetime) -> str:
    """Return a time as a row keeps it: in English, whoever's request it is."""
    with translation.override("en"):
        return written(at)


def written(at: datetime) -> str:
    """Return a time as a sentence says it."""
    return words.instant(at)


def keep(row: BranchKey) -> None:
    """Keep the wrapping that a branch key is moved away from; call it in the transaction of the move.

    Args:
        row: as it stood before the move.
    """
    now = clock.now()
    BranchKeyWrapping.objects.create(
        tenant_id=row.tenant_id,
        branch_key_id=row.pk,
        registration_id=row.registration_id,
        key_arn=row.key_arn,
        wrapped=bytes(row.wrapped),
        replaced_at=now,
        kept_until=now + timedelta(days=settings.BACKUP_RETENTION_DAYS),
    )
    if row.registration_id is not None:
        KeyRegistration.objects.filter(pk=row.registration_id).update(last_moved_at=now)


def is_over(registration: KeyRegistration) -> bool:
    """Tell whether no backup needs the registration any more; one that wrapped nothing never had a horizon."""
    return registration.last_moved_at is None or registration.last_moved_at <= clock.now() - _retention()


def over(now: datetime | Now | None = None) -> Q:
    """Return the condition for registrations of which `is_over` is true.

    Args:
        now: None reads the clock; `Now()` leaves the time to the database.
    """
    return Q(last_moved_at=None) | Q(last_moved_at__lte=(now or clock.now()) - _retention())


def kept(tenant: Tenant) -> list[Kept]:
    """Return the old keys of a tenant that only backups need, the one that is needed longest last."""
    rows = KeyRegistration.objects.of(tenant).filter(status=Status.RETIRING).exclude(over())
    waiting = rows.filter(~Exists(BranchKey.objects.filter(registration=OuterRef("pk"))))
    wrapped = BranchKeyWrapping.objects.filter(registration=OuterRef("pk")).order_by().values("registration")
    counted = wrapped.annotate(count=Count("branch_key", distinct=True)).values("count")
    found = []
    for one in waiting.annotate(branch_key_count=Coalesce(Subquery(counted), 0)).order_by("last_moved_at"):
        since, until = one.last_moved_at, one.needed_until
        if since is not None and until is not None:
            # the count is annotated
            count: int = one.branch_key_count  # type: ignore[attr-defined]
            found.append(Kept(one.pk, one.key_arn, one.role_arn, count, since, until))
    return found


def forget(registration: KeyRegistration) -> None:
    """Remove the wrappings of a registration that is retired: nobody may open a restored backup by them any more."""
    BranchKeyWrapping.objects.filter(registration=registration).delete()


def clear(limit: int = 5_000) -> int:
    """Remove the wrappings whose time has passed; return how many."""
    ids = list(BranchKeyWrapping.objects.filter(kept_until__lte=clock.now()).values_list("pk", flat=True)[:limit])
    BranchKeyWrapping.objects.filter(pk__in=ids).delete()
    return len(ids)


def _retention() -> timedelta:
    return timedelta(days=settings.BACKUP_RETENTION_DAYS)
