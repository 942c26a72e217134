"""What the probes of a key have found: its hottest row, apart from the registration that people read and change."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar, Self
from uuid import UUID

from django.db import models
from django.db.models import Q

from keys.models.jobs import CLAIM_LASTS
from keys.models.registration import KeyRegistration
from keys.models.scopes import DEFAULT_SCOPE
from tenants.models import Tenant


class KeyHealthQuerySet(models.QuerySet["KeyHealth"]):
    def of(self, tenant: Tenant) -> Self:
        return self.filter(tenant=tenant)

    def known(self, registration: KeyRegistration) -> KeyHealth:
        """Return what is known of the key; a blank row that is not saved while the key has not come into service."""
        row = self.filter(registration=registration).first() or KeyHealth(tenant_id=registration.tenant_id)
        row.registration = registration
        return row

    def known_of(self, registrations: Sequence[KeyRegistration]) -> dict[UUID, KeyHealth]:
        """Return the same of several, by registration, with one query."""
        rows = {one.pk: KeyHealth(tenant_id=one.tenant_id) for one in registrations}
        rows |= {row.registration_id: row for row in self.filter(registration__in=rows)} if rows else {}
        for one in registrations:
            rows[one.pk].registration = one
        return rows

    def probed(self) -> Self:
        return self.filter(registration__status__in=KeyRegistration.PROBED)

    def due_for_probe(self, now: datetime) -> Self:
        """Rows whose probe is due and held by no living worker."""
        return (
            self.probed()
            .filter(next_probe_at__lte=now)
            .filter(Q(probe_claimed_at=None) | Q(probe_claimed_at__lt=now - CLAIM_LASTS))
        )

    def broken(self) -> Self:
        """Rows whose last probe ended in an error nobody expects."""
        return self.filter(probe_failures__gt=0).select_related("registration")

    def awaited(self) -> Self:
        """Rows whose next probe somebody waits for: asked for by hand or by a refused request, or on the way back."""
        return self.exclude(is_probe_awaited=False, good_since=None)


class KeyHealth(models.Model):
    """What probes have found of one registration's key in one Region, and when the next one is.

    Activation makes the row; a registration that never served has none. Each probe writes it, so it is kept narrow and
    apart from the registration. A transaction that locks both locks the registration first.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="key_health")
    # The constraint's index begins with it; each probe would write a second one.
    registration = models.ForeignKey(KeyRegistration, on_delete=models.PROTECT, related_name="health", db_index=False)
    data_scope = models.CharField(max_length=64, default=DEFAULT_SCOPE)
    # The Region of the key ARN.
    region = models.CharField(max_length=64)
    # null: never, because the registration is retired
    next_probe_at = models.DateTimeField(null=True)
    probe_claimed_at = models.DateTimeField(null=True)
    last_probe_at = models.DateTimeField(null=True)
    # Somebody asked for a probe: a person, or a request that AWS refused.
    # It is awaited until one that began later is answered.
    probe_asked_at = models.DateTimeField(null=True)
    is_probe_awaited = models.BooleanField(default=False)
    # when a worker was last sent a message about an awaited probe
    woken_at = models.DateTimeField(null=True)
    # probes in a row that ended in an error nobody expects
    probe_failures = models.PositiveIntegerField(default=0)
    # in a row
    good_probes = models.PositiveIntegerField(default=0)
    # the first of them, while the key is on its way back to service
    good_since = models.DateTimeField(null=True)
    # in a row
    denied_probes = models.PositiveIntegerField(default=0)
    # AWS's first refusal in a row; null: its last answer was none
    refused_since = models.DateTimeField(null=True)
    # of its last refusal, whoever is to blame for it
    refused_code = models.CharField(max_length=64, blank=True)
    # the first of the last refusals that a policy decided; stays when it is over
    denied_since = models.DateTimeField(null=True)
    # its last yes to a probe before that refusal
    allowed_until = models.DateTimeField(null=True)
    # its first yes to a probe after a refusal; null while it refuses
    allowed_since = models.DateTimeField(null=True)
    # what DescribeKey said last that people have to know: `keys.health.notes`
    key_facts = models.JSONField(default=dict)
    # when the External ID was last seen to be required, and exactly ours
    trust_looked_at = models.DateTimeField(null=True)
    # the role let us in without it: the first of two looks
    insecure_since = models.DateTimeField(null=True)
    # a drill is on: asked every few seconds
    dense_until = models.DateTimeField(null=True)
    objects = KeyHealthQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["registration", "data_scope", "region"], name="keys_one_health_per_key_scope_region"
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["next_probe_at"], name="keys_health_next_probe")]
        verbose_name_plural = "key health"

    def __str__(self) -> str:
        return f"{self.registration_id} in {self.region}"
