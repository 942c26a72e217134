"""One writer at a time for each service role: a lease that ends by itself when its holder is killed."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import timedelta

from django.db.models import F, Q

from byokportal import clock
from keys.errors import LeaseTaken
from tenants.models import ServiceRole

LASTS = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to change the policies of one service role, until it runs out."""

    service_role_id: int
    owner: str
    number: int  # grows with each lease: a holder that slept too long sees that it is another one's

    def hold(self) -> None:
        """Renew the lease; called before each IAM call.

        Raises:
            LeaseTaken: it ran out and somebody else has it.
        """
        held = ServiceRole.objects.filter(pk=self.service_role_id, lease_owner=self.owner, lease_number=self.number)
        if not held.update(lease_until=clock.now() + LASTS):
            raise LeaseTaken(service_role=str(self.service_role_id))

    def give_back(self) -> None:
        """End the lease, if it is still ours."""
        ServiceRole.objects.filter(pk=self.service_role_id, lease_owner=self.owner, lease_number=self.number).update(
            lease_owner="", lease_until=None
        )


def take(service_role: ServiceRole) -> Lease:
    """Take the lease of a service role.

    Raises:
        LeaseTaken: another worker has it.
    """
    owner, now = uuid.uuid4().hex, clock.now()
    free = ServiceRole.objects.filter(pk=service_role.pk).filter(Q(lease_until=None) | Q(lease_until__lt=now))
    if not free.update(lease_owner=owner, lease_until=now + LASTS, lease_number=F("lease_number") + 1):
        raise LeaseTaken(service_role=service_role.name)
    number = ServiceRole.objects.values_list("lease_number", flat=True).get(pk=service_role.pk, lease_owner=owner)
    return Lease(service_role.pk, owner, number)
