"""Rows of the keys app: facts, constraints and the words to read them by."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any, ClassVar, Self

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from tenants.models import ServiceRole, Tenant

CLAIM_LASTS = timedelta(seconds=90)  # longer than any task may run (its hard time limit is 60 s): older means lost


class KeyRegistrationQuerySet(models.QuerySet["KeyRegistration"]):
    def of(self, tenant: Tenant) -> Self:
        return self.filter(tenant=tenant)

    def serving(self) -> Self:
        return self.filter(status__in=KeyRegistration.SERVING)

    def in_preparation(self) -> Self:
        return self.filter(status__in=KeyRegistration.IN_PREPARATION)

    def probed(self) -> Self:
        """What health looks at: everything that serves or still opens old data."""
        return self.filter(status__in=[*KeyRegistration.SERVING, KeyRegistration.Status.RETIRING])

    def due_for_probe(self, now: datetime) -> Self:
        """Registrations whose probe is due and held by no living worker; a button that was pressed is not probed away."""
        return (
            self.probed()
            .filter(next_probe_at__lte=now)
            .exclude(suspended_by__in=("tenant", "kore"))
            .filter(Q(probe_claimed_at=None) | Q(probe_claimed_at__lt=now - CLAIM_LASTS))
        )


class KeyRegistration(models.Model):
    """One Role ARN and one CMK ARN that a tenant offers; its moves are in `keys.lifecycle`."""

    class Status(models.TextChoices):
        DRAFT = "draft", "Draft"
        SUBMITTED = "submitted", "Shared"
        CONFIGURING = "configuring", "Being configured"
        TESTING = "testing", "Being tested"
        REJECTED = "rejected", "Needs a change"
        ACTIVE = "active", "Active"
        UNREACHABLE = "unreachable", "Unreachable"
        SUSPENDED = "suspended", "Suspended"
        RETIRING = "retiring", "Retiring"
        RETIRED = "retired", "Retired"

    class SuspendedBy(models.TextChoices):
        AWS = "aws", "AWS"
        TENANT = "tenant", "your organisation"
        KORE = "kore", "Kore.ai"

    SERVING = ("active", "unreachable", "suspended")
    IN_PREPARATION = ("draft", "submitted", "configuring", "testing", "rejected")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="registrations")
    key_arn = models.CharField(max_length=2048, blank=True)
    role_arn = models.CharField(max_length=2048, blank=True)
    status = models.CharField(max_length=16, choices=Status, default=Status.DRAFT)
    reason = models.CharField(max_length=200, blank=True)  # an error or check code, "" while all is well
    suspended_by = models.CharField(max_length=8, choices=SuspendedBy, blank=True)
    moved_at = models.DateTimeField(default=timezone.now)  # "since"
    changed_at = models.DateTimeField(default=timezone.now)  # on the tenant's or our side: IAM needs time after it
    # "account/lower-cased role name", from the first passed test on; unique where it is set, so "" will not do.
    role_claim = models.CharField(max_length=200, null=True, unique=True)  # noqa: DJ001
    replaces = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="replaced_by")
    submitted_at = models.DateTimeField(null=True)
    activated_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    # health
    next_probe_at = models.DateTimeField(null=True)
    probe_claimed_at = models.DateTimeField(null=True)
    last_probe_at = models.DateTimeField(null=True)
    good_probes = models.PositiveIntegerField(default=0)  # in a row
    denied_probes = models.PositiveIntegerField(default=0)  # in a row
    refused_since = models.DateTimeField(null=True)  # AWS's first refusal in a row; null: its last answer was none
    refused_code = models.CharField(max_length=64, blank=True)  # of its last refusal, whoever is to blame for it
    allowed_until = models.DateTimeField(null=True)  # its last yes to a probe before that refusal
    allowed_since = models.DateTimeField(null=True)  # its first yes to a probe after a refusal; null while it refuses
    key_facts = models.JSONField(
        default=dict
    )  # what DescribeKey said last that people have to know: `keys.health.notes`
    trust_looked_at = models.DateTimeField(
        null=True
    )  # when the External ID was last seen to be required, and exactly ours
    insecure_since = models.DateTimeField(null=True)  # the role let us in without it: the first of two looks
    dense_until = models.DateTimeField(null=True)  # a drill is on: asked every few seconds
    # The tenant's own Suspend, also while Kore.ai's stands above it: only the tenant's Resume takes it back.
    tenant_suspended_at = models.DateTimeField(null=True)
    warnings = models.JSONField(default=list)
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
        ]
        indexes: ClassVar = [models.Index(fields=["next_probe_at"], name="keys_registration_next_probe")]

    def __str__(self) -> str:
        return f"{self.tenant_id}: {self.get_status_display()}"


class RegistrationMove(models.Model):
    """One change of status of one registration."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="registration_moves")
    registration = models.ForeignKey(KeyRegistration, on_delete=models.PROTECT, related_name="moves")
    old_status = models.CharField(max_length=16)
    new_status = models.CharField(max_length=16)
    reason = models.CharField(max_length=500, blank=True)
    actor = models.CharField(max_length=200)
    generation = models.PositiveBigIntegerField(default=0)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["id"]
        indexes: ClassVar = [models.Index(fields=["at"], name="keys_move_by_time")]

    def __str__(self) -> str:
        return f"{self.old_status} → {self.new_status}"


class JobQuerySet(models.QuerySet[Any]):
    def due(self, now: datetime) -> Self:
        """Rows to ring for: their time has come and no living worker holds them."""
        return self.filter(due_at__lte=now).filter(Q(claimed_at=None) | Q(claimed_at__lt=now - CLAIM_LASTS))

    def claim(self, pk: object, now: datetime) -> bool:
        """Take the row for this worker; False when it is not due or somebody else has it."""
        return bool(self.filter(pk=pk).due(now).update(claimed_at=now, attempts=F("attempts") + 1))


class Job(models.Model):
    """A row that is the job: due at a time, claimed by one worker, found again when that worker is killed."""

    due_at = models.DateTimeField(null=True, default=timezone.now)  # null: nothing to do (any more)
    claimed_at = models.DateTimeField(null=True)
    attempts = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        abstract = True


class RoleConfigurationQuerySet(JobQuerySet):
    def of(self, tenant: Tenant) -> Self:
        return self.filter(tenant=tenant)


class RoleConfiguration(Job):
    """One change to a service role's permissions (guide step 5), and the proof that it took."""

    class Action(models.TextChoices):
        ADD = "add", "Add"
        REMOVE = "remove", "Remove"

    class Status(models.TextChoices):
        WAITING_FOR_APPROVAL = "waiting_for_approval", "Waiting for approval"
        QUEUED = "queued", "Queued"
        PROPAGATING = "propagating", "Propagating"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"
        CANCELLED = "cancelled", "Cancelled"

    OPEN = ("waiting_for_approval", "queued", "propagating")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="role_configurations")
    registration = models.ForeignKey(KeyRegistration, on_delete=models.PROTECT, related_name="configurations")
    service_role = models.ForeignKey(ServiceRole, on_delete=models.PROTECT, related_name="configurations")
    action = models.CharField(max_length=8, choices=Action)
    role_arn = models.CharField(max_length=2048)
    status = models.CharField(max_length=24, choices=Status)
    reason = models.CharField(max_length=200, blank=True)  # error code of the last attempt
    approved_by = models.CharField(max_length=200, blank=True)
    evidence = models.JSONField(default=dict)  # policy ARN, version, hash, request id
    objects = RoleConfigurationQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-created_at"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["registration", "action"],
                condition=Q(status__in=("waiting_for_approval", "queued", "propagating")),
                name="keys_one_open_configuration_per_registration",
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["due_at"], name="keys_configuration_due")]

    def __str__(self) -> str:
        return f"{self.get_action_display()} {self.role_arn}"


class ServiceRolePolicy(models.Model):
    """One managed policy of a service role: the role ARNs in it and the hash of what we last wrote to IAM."""

    service_role = models.ForeignKey(ServiceRole, on_delete=models.PROTECT, related_name="policies")
    slot = models.PositiveSmallIntegerField()  # 0 to 9: IAM attaches ten
    policy_arn = models.CharField(max_length=2048, blank=True)
    role_arns = models.JSONField(default=list)
    written_hash = models.CharField(max_length=64, blank=True)  # SHA-256, hex, of the canonical document
    written_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["service_role", "slot"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["service_role", "slot"], name="keys_each_slot_once"),
            models.CheckConstraint(condition=Q(slot__lte=9), name="keys_ten_policies_a_role"),
        ]

    def __str__(self) -> str:
        return f"{self.service_role} policy {self.slot}"


class EncryptionTestQuerySet(JobQuerySet):
    def of(self, tenant: Tenant) -> Self:
        return self.filter(tenant=tenant)

    def open(self) -> Self:
        return self.filter(finished_at=None)


class EncryptionTest(Job):
    """One run of the encryption test (design.md 5); its verdicts are the `CheckResult` rows."""

    class Status(models.TextChoices):
        QUEUED = "queued", "Queued"
        RUNNING = "running", "Running"
        WAITING = "waiting", "Waiting to try again"
        WAITING_FOR_KORE = "waiting_for_kore", "Waiting for Kore.ai"  # our own side does not work; it too tries again
        FINISHED = "finished", "Finished"
        CANCELLED = "cancelled", "Cancelled"

    class Verdict(models.TextChoices):
        PASS = "pass", "Passed"
        FAIL = "fail", "Failed"
        SKIPPED = "skipped", "Skipped"
        UNKNOWN = "unknown", "Cannot tell yet"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="tests")
    registration = models.ForeignKey(KeyRegistration, on_delete=models.PROTECT, related_name="tests")
    status = models.CharField(max_length=16, choices=Status, default=Status.QUEUED)
    verdict = models.CharField(max_length=8, choices=Verdict, blank=True)
    requested_by = models.CharField(max_length=200)
    keep_until = models.DateTimeField(null=True)  # "keep testing until …": a tenant that waits for its change window
    refused_at = models.DateTimeField(
        null=True
    )  # when the External ID probes were first refused; the second look comes a gap later
    started_at = models.DateTimeField(null=True)
    objects = EncryptionTestQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-created_at"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["registration"], condition=Q(finished_at=None), name="keys_one_open_test_per_registration"
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["due_at"], name="keys_test_due")]

    def __str__(self) -> str:
        return f"test {self.id}"


class CheckResult(models.Model):
    """The verdict of one check in one test, with its evidence and, when it failed, what mends it."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="check_results")
    test = models.ForeignKey(EncryptionTest, on_delete=models.PROTECT, related_name="checks")
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
    believed = models.TextField(
        blank=True
    )  # what stands there now, in full, as far as AWS's answers tell; "" when they do not
    decide = models.TextField(
        blank=True
    )  # the one command whose output tells the causes apart; "" when only one is left
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["test", "position"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["test", "code"], name="keys_each_check_once_a_test")]

    def __str__(self) -> str:
        return f"{self.code}: {self.verdict}"


class Incident(models.Model):
    """Refusals on one service role that are ours until a person has looked or they are over: no tenant is blamed meanwhile."""

    service_role = models.ForeignKey(ServiceRole, on_delete=models.PROTECT, related_name="incidents")
    why = models.CharField(max_length=200)
    refused = models.PositiveIntegerField(default=0)  # registrations that AWS refused, at the most
    opened_at = models.DateTimeField(default=timezone.now)
    seen_at = models.DateTimeField(default=timezone.now)  # the last evidence that it is ours
    closed_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["-opened_at"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["service_role"], condition=Q(closed_at=None), name="keys_one_open_incident_per_service_role"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.service_role}: {self.why}"


class RevocationDrillQuerySet(models.QuerySet["RevocationDrill"]):
    def of(self, tenant: Tenant) -> Self:
        return self.filter(tenant=tenant)

    def open(self) -> Self:
        return self.filter(finished_at=None)


class RevocationDrill(models.Model):
    """A rehearsal of revocation: the tenant takes its key back in AWS, we measure, it gives the key again, we measure."""

    class Status(models.TextChoices):
        WAITING_FOR_REFUSAL = "waiting_for_refusal", "Waiting for you to disable the key"
        STOPPING = "stopping", "AWS refuses us: our processes stop"
        WAITING_FOR_KEY = "waiting_for_key", "Stopped: waiting for you to enable the key"
        RECOVERING = "recovering", "AWS lets us in again: service comes back"
        DONE = "done", "Done"
        CANCELLED = "cancelled", "Cancelled"
        EXPIRED = "expired", "Ran out of time"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="drills")
    registration = models.ForeignKey(KeyRegistration, on_delete=models.PROTECT, related_name="drills")
    status = models.CharField(max_length=24, choices=Status, default=Status.WAITING_FOR_REFUSAL)
    reason = models.CharField(max_length=200, blank=True)  # why it ended before it was done
    started_by = models.CharField(max_length=200)
    bound_seconds = models.PositiveIntegerField()  # it must stop within this, from AWS's first refusal on
    started_at = models.DateTimeField(default=timezone.now)
    until = models.DateTimeField()  # it ends by itself then
    allowed_at = models.DateTimeField(null=True)  # AWS's last yes before its first no
    refused_at = models.DateTimeField(null=True)  # AWS's first no
    refused_code = models.CharField(max_length=64, blank=True)
    suspended_at = models.DateTimeField(null=True)  # we had judged it and told every process
    generation = models.PositiveBigIntegerField(null=True)  # of that stop: what the processes acknowledge
    processes = models.JSONField(
        default=dict
    )  # process → when it had dropped its keys, null while it has not; ISO 8601
    stopped_at = models.DateTimeField(null=True)  # the last process had dropped its keys
    answered_at = models.DateTimeField(null=True)  # AWS's first yes after it
    served_at = models.DateTimeField(null=True)  # the registration was active again
    finished_at = models.DateTimeField(null=True)
    objects = RevocationDrillQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-started_at"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["tenant"], condition=Q(finished_at=None), name="keys_one_open_drill_per_tenant"
            ),
        ]

    def __str__(self) -> str:
        return f"drill of {self.tenant_id}: {self.get_status_display()}"

    @property
    def stopped_after(self) -> float | None:
        """Seconds from AWS's first refusal until the last process of ours had stopped."""
        if self.refused_at is None or self.stopped_at is None:
            return None
        return round((self.stopped_at - self.refused_at).total_seconds(), 1)

    @property
    def is_within_bound(self) -> bool | None:
        return None if self.stopped_after is None else self.stopped_after <= self.bound_seconds

    @property
    def served_after(self) -> float | None:
        """Seconds from AWS's first yes until the key was in service again."""
        if self.answered_at is None or self.served_at is None:
            return None
        return round((self.served_at - self.answered_at).total_seconds(), 1)


class BranchKeyQuerySet(JobQuerySet):
    def of(self, tenant: Tenant) -> Self:
        return self.filter(tenant=tenant)


class BranchKey(models.Model):
    """A tenant's intermediate key, wrapped by the CMK; it wraps data keys. Losing these rows loses customers' data."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="branch_keys")
    registration = models.ForeignKey(
        KeyRegistration, null=True, on_delete=models.PROTECT, related_name="branch_keys"
    )  # null: platform key
    key_arn = models.CharField(max_length=2048)  # the CMK that wraps it
    wrapped = models.BinaryField()
    is_current = models.BooleanField(default=True)  # wraps new data keys
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    # the job: rotated while it is current, moved when another key protects the tenant (`keys.branchkeys`)
    due_at = models.DateTimeField(null=True)
    claimed_at = models.DateTimeField(null=True)
    attempts = models.PositiveIntegerField(default=0)
    reason = models.CharField(max_length=200, blank=True)  # error code of the last attempt
    objects = BranchKeyQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-created_at"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["tenant"], condition=Q(is_current=True), name="keys_one_current_branch_key_per_tenant"
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["due_at"], name="keys_branch_key_due")]

    def __str__(self) -> str:
        return str(self.id)


class KeyUse(models.Model):
    """The row that is committed before a plaintext data key leaves: one a request. Append-only by a database trigger."""

    class Operation(models.TextChoices):
        GENERATE = "generate", "Generate"
        DECRYPT = "decrypt", "Decrypt"
        REWRAP = "rewrap", "Rewrap"

    id = models.BigAutoField(primary_key=True)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="key_uses")
    operation = models.CharField(max_length=8, choices=Operation)
    count = models.PositiveSmallIntegerField()  # data keys in this request
    caller = models.CharField(max_length=200)
    context_digest = models.CharField(max_length=64)  # SHA-256, hex, over the contexts of the request
    request_id = models.CharField(max_length=64, blank=True)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["id"]
        indexes: ClassVar = [models.Index(fields=["tenant", "id"], name="keys_use_by_tenant")]

    def __str__(self) -> str:
        return f"{self.operation} {self.count}"


class ServingProcess(models.Model):
    """A process of ours that gives out data keys, while it lives: its heartbeat, and how it says what it has forgotten."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)  # drawn anew by each process
    name = models.CharField(max_length=200)  # host and process number, for people
    started_at = models.DateTimeField(default=timezone.now)
    seen_at = models.DateTimeField(default=timezone.now)  # when it last read what has changed (keys.standing)

    class Meta:
        ordering: ClassVar = ["started_at"]
        indexes: ClassVar = [models.Index(fields=["seen_at"], name="keys_process_seen")]

    def __str__(self) -> str:
        return self.name


class CacheDrop(models.Model):
    """A process has seen this generation of a tenant, or a later one, and holds no branch key from before it."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="cache_drops")
    process = models.ForeignKey(ServingProcess, on_delete=models.CASCADE, related_name="drops")
    generation = models.PositiveBigIntegerField()
    count = models.PositiveSmallIntegerField()  # branch keys that it forgot; 0: it held none
    at = models.DateTimeField(default=timezone.now)  # when they were gone from its memory

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "process", "generation"], name="keys_each_drop_once"),
        ]

    def __str__(self) -> str:
        return f"{self.process_id} dropped {self.tenant_id} at generation {self.generation}"
