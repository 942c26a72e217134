"""The encryption test and its verdicts, check by check."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import ClassVar, Self

from django.db import models
from django.db.models import Q
from django.db.models.fields.json import KeyTextTransform
from django.utils.translation import gettext_lazy

from byokportal import clock
from keys.models.jobs import Job, JobQuerySet
from keys.models.registration import KeyRegistration
from tenants.models import Tenant


class EncryptionTestQuerySet(JobQuerySet):
    def of(self, tenant: Tenant) -> Self:
        return self.filter(tenant=tenant)

    def open(self) -> Self:
        return self.filter(finished_at=None)


class EncryptionTest(Job):
    """One run of the encryption test (design.md 5); its verdicts are the `CheckResult` rows."""

    class Status(models.TextChoices):
        QUEUED = "queued", gettext_lazy("Queued")
        RUNNING = "running", gettext_lazy("Running")
        WAITING = "waiting", gettext_lazy("Waiting to try again")
        WAITING_FOR_KORE = (
            "waiting_for_kore",
            gettext_lazy("Waiting for Kore.ai"),
        )  # our own side does not work; it too tries again
        FINISHED = "finished", gettext_lazy("Finished")
        CANCELLED = "cancelled", gettext_lazy("Cancelled")

    class Verdict(models.TextChoices):
        PASS = "pass", gettext_lazy("Passed")
        FAIL = "fail", gettext_lazy("Failed")
        SKIPPED = "skipped", gettext_lazy("Skipped")
        UNKNOWN = "unknown", gettext_lazy("Cannot tell yet")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="tests", db_index=False)
    registration = models.ForeignKey(KeyRegistration, on_delete=models.PROTECT, related_name="tests", db_index=False)
    status = models.CharField(max_length=16, choices=Status, default=Status.QUEUED)
    verdict = models.CharField(max_length=8, choices=Verdict, blank=True)
    requested_by = models.CharField(max_length=200)
    keep_until = models.DateTimeField(null=True)  # "keep testing until …": a tenant that waits for its change window
    # when the External ID probes were first refused; the second look comes a gap later
    refused_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    objects = EncryptionTestQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-created_at"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["registration"], condition=Q(finished_at=None), name="keys_one_open_test_per_registration"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["due_at"], name="keys_test_due"),
            models.Index(fields=["tenant", "-created_at"], name="keys_test_newest"),
            models.Index(fields=["registration", "-created_at"], name="keys_test_of_registration"),
            models.Index(fields=["-created_at"], name="keys_test_newest_of_all"),
        ]

    def __str__(self) -> str:
        return f"Test of {self.tenant}, {self.created_at:%Y-%m-%d %H:%M} UTC"


class CheckResult(models.Model):
    """The verdict of one check in one test, with its evidence and, when it failed or is about to, its remedy."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="check_results")
    test = models.ForeignKey(EncryptionTest, on_delete=models.PROTECT, related_name="checks", db_index=False)
    position = models.PositiveSmallIntegerField()
    code = models.CharField(max_length=64)
    title = models.CharField(max_length=120, blank=True)  # what it asks, for people
    step = models.PositiveSmallIntegerField()  # of the guide
    verdict = models.CharField(max_length=8, choices=EncryptionTest.Verdict)
    causes = models.JSONField(default=list)  # labels still possible
    evidence = models.JSONField(default=dict)  # AWS code, request id, time; never a secret
    remedy = models.TextField(blank=True)  # the change in words
    document = models.CharField(max_length=40, blank=True)  # which document to change
    corrected = models.TextField(blank=True)  # that document in full, as it has to read
    # what stands there now, in full, as far as AWS's answers tell; "" when they do not
    inferred = models.TextField(blank=True, db_column="believed")
    # the one command whose output tells the causes apart; "" when only one is left
    decide = models.TextField(blank=True)
    at = models.DateTimeField(default=clock.now)

    class Meta:
        ordering: ClassVar = ["test", "position"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["test", "code"], name="keys_each_check_once_a_test")]
        # A customer names a call of ours by AWS's request id.
        indexes: ClassVar = [models.Index(KeyTextTransform("request_id", "evidence"), name="keys_check_by_request")]

    def __str__(self) -> str:
        return f"{self.code}: {self.verdict}"

    @property
    def final_at(self) -> datetime | None:
        """From when on the verdict counts, whatever comes of the test; None: it does, or nothing says when it will."""
        final_at = self.evidence.get("final_at") if self.verdict == EncryptionTest.Verdict.UNKNOWN else None
        return datetime.fromisoformat(str(final_at)) if final_at else None

    @property
    def counts_at(self) -> datetime | None:
        """The same while the test goes on; None once it is over: nothing is looked at again then."""
        return None if self.test.finished_at else self.final_at
