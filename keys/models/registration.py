"""The registration: one Role ARN and one CMK ARN of a tenant, and each change of its status."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import ClassVar, Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import translation
from django.utils.translation import gettext_lazy

from byokportal import clock, visibility
from keys import arns
from keys.access import Access
from keys.actions import Variant
from keys.models.choices import ACTIONS
from keys.policies.documents import Beside
from tenants.models import Tenant


class KeyRegistrationQuerySet(models.QuerySet["KeyRegistration"]):
    def of(self, tenant: Tenant) -> Self:
        return self.filter(tenant=tenant)

    def serving(self) -> Self:
        return self.filter(status__in=KeyRegistration.SERVING)

    def in_preparation(self) -> Self:
        return self.filter(status__in=KeyRegistration.IN_PREPARATION)

    def due_for_activation(self, now: datetime) -> Self:
        return self.filter(activation_due_at__lte=now).order_by("activation_due_at")

    def replacement(self) -> KeyRegistration | None:
        """The one in preparation that is to take over from one that serves."""
        return self.in_preparation().exclude(replaces=None).select_related("replaces").first()

    def beside(self, registration: KeyRegistration) -> Beside:
        """What its documents have to name too:
        keys and roles of others that still open, and that share its role or its key."""
        return registration.beside_among(self.probed().filter(tenant=registration.tenant_id))

    def keys_of_role(self, registration: KeyRegistration) -> tuple[str, ...]:
        """Return the keys that still open and that the role of a registration reaches, its own among them."""
        with_role = self.probed().filter(tenant=registration.tenant_id, role_arn=registration.role_arn)
        return tuple(
            dict.fromkeys(with_role.exclude(role_arn="").order_by("created_at").values_list("key_arn", flat=True))
        )

    def not_retired(self) -> Self:
        """The few of a tenant that are prepared, serve or still open something."""
        return self.exclude(status=KeyRegistration.Status.RETIRED)

    def probed(self) -> Self:
        """What health looks at: everything that serves or still opens old data."""
        return self.filter(status__in=KeyRegistration.PROBED)


class KeyRegistration(models.Model):
    """One Role ARN and one CMK ARN that a tenant offers; its moves are in `keys.lifecycle`."""

    class Status(models.TextChoices):
        DRAFT = "draft", gettext_lazy("Draft")
        SUBMITTED = "submitted", gettext_lazy("Shared")
        CONFIGURING = "configuring", gettext_lazy("Being configured")
        TESTING = "testing", gettext_lazy("Being tested")
        REJECTED = "rejected", gettext_lazy("Needs a change")
        ACTIVE = "active", gettext_lazy("Active")
        UNREACHABLE = "unreachable", gettext_lazy("Unreachable")
        SUSPENDED = "suspended", gettext_lazy("Suspended")
        RETIRING = "retiring", gettext_lazy("Retiring")
        RETIRED = "retired", gettext_lazy("Retired")

    class SuspendedBy(models.TextChoices):
        AWS = "aws", "AWS"
        TENANT = "tenant", gettext_lazy("your organisation")
        KORE = "kore", "Kore.ai"

    class Activation(models.TextChoices):
        """When a tested registration goes into service."""

        WHEN_TESTED = "when_tested", gettext_lazy("As soon as the test passes")
        AT_TIME = "at_time", gettext_lazy("At a time that you choose")
        BY_BUTTON = "by_button", gettext_lazy("When you press Activate")

    class Missed(models.TextChoices):
        """Why it did not go into service at the time that was chosen."""

        NOT_TESTED = "not_tested", gettext_lazy("no test had passed by then")
        TEST_FAILED = "test_failed", gettext_lazy("the test found something to change")
        SUSPENDED = "suspended", gettext_lazy("the key that it replaces is suspended")
        TAKEN = "taken", gettext_lazy("its role cannot be used")

    SERVING = ("active", "unreachable", "suspended")
    PROBED = (*SERVING, "retiring")
    IN_PREPARATION = ("draft", "submitted", "configuring", "testing", "rejected")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="registrations", db_index=False)
    key_arn = models.CharField(max_length=2048, blank=True)
    role_arn = models.CharField(max_length=2048, blank=True)
    status = models.CharField(max_length=16, choices=Status, default=Status.DRAFT)
    reason = models.CharField(max_length=200, blank=True)  # an error or check code, "" while all is well
    suspended_by = models.CharField(max_length=8, choices=SuspendedBy, blank=True)
    moved_at = models.DateTimeField(default=clock.now)  # "since"
    changed_at = models.DateTimeField(default=clock.now)  # on the tenant's or our side: IAM needs time after it
    # "account/lower-cased role name", from the first passed test on; unique where it is set, so "" will not do.
    role_claim = models.CharField(max_length=200, null=True, unique=True)  # noqa: DJ001
    replaces = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="replaced_by")
    submitted_at = models.DateTimeField(null=True)
    activated_at = models.DateTimeField(null=True)
    last_moved_at = models.DateTimeField(null=True)  # when the last branch key moved away from it; null: none ever did
    created_at = models.DateTimeField(default=clock.now, editable=False)
    # The tenant's own Suspend, also while Kore.ai's stands above it: only the tenant's Resume takes it back.
    tenant_suspended_at = models.DateTimeField(null=True)
    warnings = models.JSONField(default=list)
    activation = models.CharField(
        max_length=16, choices=Activation, default=Activation.WHEN_TESTED, db_default=Activation.WHEN_TESTED
    )
    # The time that was chosen, or when the button was pressed; null: neither yet.
    activate_at = models.DateTimeField(null=True)
    # Which actions its role and key allow us: the tenant's choice when it was shared.
    actions = models.CharField(
        max_length=8, choices=ACTIONS, default=Variant.GUIDE.value, db_default=Variant.GUIDE.value
    )
    activation_due_at = models.DateTimeField(null=True)  # when a worker looks next; null: nothing to do
    activation_missed = models.CharField(max_length=16, choices=Missed, blank=True, db_default="")
    tested_at = models.DateTimeField(null=True)  # when a test of role and key as they stand now passed last
    objects = KeyRegistrationQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-created_at"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["tenant"],
                condition=Q(status__in=("active", "unreachable", "suspended")),
                name="keys_one_serving_registration_per_tenant",
            ),
            models.UniqueConstraint(
                fields=["tenant"],
                condition=Q(status__in=("draft", "submitted", "configuring", "testing", "rejected")),
                name="keys_one_registration_in_preparation_per_tenant",
            ),
            models.CheckConstraint(
                condition=~Q(status__in=("active", "unreachable", "suspended", "retiring"))
                | Q(activated_at__isnull=False, role_claim__isnull=False),
                name="keys_serving_means_proven_and_claimed",
            ),
            models.CheckConstraint(
                condition=Q(status="suspended") ^ Q(suspended_by=""), name="keys_suspended_says_by_whom"
            ),
            models.CheckConstraint(
                condition=Q(status__in=("draft", "retired")) | (~Q(key_arn="") & ~Q(role_arn="")),
                name="keys_shared_means_both_arns",
            ),
            models.CheckConstraint(
                condition=~Q(activation="at_time") | Q(activate_at__isnull=False), name="keys_at_time_says_when"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["tenant", "status"], name="keys_registration_by_status"),
            models.Index(fields=["activation_due_at"], name="keys_activation_due"),
            # The back office: newest first, and whose an ARN is.
            models.Index(fields=["-created_at"], name="keys_registration_newest"),
            models.Index(fields=["key_arn"], name="keys_registration_by_key"),
            models.Index(fields=["role_arn"], name="keys_registration_by_role"),
        ]

    def __str__(self) -> str:
        key = arns.parts(self.key_arn)
        where = f", {key.region}, key …{key.resource[-8:]}" if key else ""
        return f"{self.tenant}{where}, {self.get_status_display().lower()}"

    @property
    def status_in_english(self) -> str:
        """The status as a refusal has it (`keys.errors.RegistrationBusy`), in small letters."""
        with translation.override("en"):
            return self.get_status_display().lower()

    @property
    def suspended_by_in_english(self) -> str:
        """Who suspended it, as a refusal has it."""
        with translation.override("en"):
            return self.get_suspended_by_display()

    def access(self, tenant: Tenant) -> Access:
        """Return how our service role reaches the key.

        Args:
            tenant: its own, which the caller has loaded.

        Raises:
            ArnRefused: the row holds what is no ARN.
        """
        return Access.of_texts(
            tenant=str(tenant.pk),
            service_role_arn=tenant.service_role.arn,
            external_id=tenant.external_id,
            role_arn=self.role_arn,
            key_arn=self.key_arn,
            variant=self.actions,
        )

    def beside_among(self, rows: Iterable[KeyRegistration]) -> Beside:
        """Return what its documents have to name too: keys and roles of those rows that still open, and that share its
        role or its key.

        Args:
            rows: registrations of its tenant.
        """
        others = [row for row in rows if row.pk != self.pk and row.status in self.PROBED]
        others.sort(key=lambda row: row.created_at)
        return Beside(
            keys=tuple(row.key_arn for row in others if row.role_arn == self.role_arn and row.key_arn != self.key_arn),
            roles=tuple(
                row.role_arn for row in others if row.key_arn == self.key_arn and row.role_arn != self.role_arn
            ),
        )

    @property
    def is_stopped_by_a_person(self) -> bool:
        """Whether a button is pressed, the organisation's or Kore.ai's."""
        return self.suspended_by in {self.SuspendedBy.TENANT, self.SuspendedBy.KORE}

    @property
    def waits_for_activation(self) -> bool:
        """Whether its test has passed and it goes into service at the tenant's word."""
        return self.status == self.Status.TESTING and self.tested_at is not None

    def is_to_serve(self, now: datetime) -> bool:
        """Tell whether a test that passes now puts it in service.

        Args:
            now: the database's time.
        """
        return self.activation == self.Activation.WHEN_TESTED or (
            self.activate_at is not None and self.activate_at <= now
        )

    @property
    def needed_until(self) -> datetime | None:
        """Until when old role and old key have to stay, because a backup from before the move opens only with both;
        None: nobody can say, or no more."""
        if self.status != self.Status.RETIRING or self.last_moved_at is None:
            return None
        return self.last_moved_at + timedelta(days=settings.BACKUP_RETENTION_DAYS)


class RegistrationMove(models.Model):
    """One change of status of one registration."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="registration_moves")
    registration = models.ForeignKey(KeyRegistration, on_delete=models.PROTECT, related_name="moves")
    old_status = models.CharField(max_length=16)
    new_status = models.CharField(max_length=16)
    reason = models.CharField(max_length=500, blank=True)
    actor = models.CharField(max_length=200)
    generation = models.PositiveBigIntegerField(default=0)
    # what services are told is told by it
    transaction = models.BigIntegerField(db_default=visibility.CurrentTransaction())
    at = models.DateTimeField(default=clock.now)

    class Meta:
        ordering: ClassVar = ["id"]
        indexes: ClassVar = [
            models.Index(fields=["at"], name="keys_move_by_time"),
            models.Index(fields=["transaction", "id"], name="keys_move_by_transaction"),
        ]

    def __str__(self) -> str:
        return f"{self.old_status} → {self.new_status}"
