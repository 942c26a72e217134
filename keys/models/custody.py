"""What wraps data keys, each use of them, and what the processes that hold them have dropped."""

from __future__ import annotations

import uuid
from typing import ClassVar, Self

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy

from byokportal import clock
from keys.models.jobs import JobQuerySet
from keys.models.registration import KeyRegistration
from keys.models.scopes import DEFAULT_SCOPE
from tenants.models import Tenant


class BranchKeyQuerySet(JobQuerySet):
    def of(self, tenant: Tenant) -> Self:
        return self.filter(tenant=tenant)


class BranchKey(models.Model):
    """A tenant's intermediate key, wrapped by the CMK; it wraps data keys. Losing these rows loses customers' data."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="branch_keys")
    # null: platform key
    registration = models.ForeignKey(KeyRegistration, null=True, on_delete=models.PROTECT, related_name="branch_keys")
    data_scope = models.CharField(max_length=64, default=DEFAULT_SCOPE, db_default=DEFAULT_SCOPE)
    key_arn = models.CharField(max_length=2048)  # the CMK that wraps it
    wrapped = models.BinaryField()
    is_current = models.BooleanField(default=True)  # wraps new data keys
    created_at = models.DateTimeField(default=clock.now, editable=False)
    # the job: rotated while it is current, moved when another key protects the tenant (`keys.branchkeys`)
    due_at = models.DateTimeField(null=True)
    claimed_at = models.DateTimeField(null=True)
    attempts = models.PositiveIntegerField(default=0)
    failures = models.PositiveIntegerField(default=0)  # runs in a row that ended in an error nobody expects
    woken_at = models.DateTimeField(null=True)  # when a worker was last sent a message about it
    reason = models.CharField(max_length=200, blank=True)  # error code of the last attempt
    # the copy outside the database (`keys.escrow`): since when it is wrapped like this, and until when the copy waits
    wrapped_at = models.DateTimeField(null=True, default=clock.now)
    escrowed_at = models.DateTimeField(null=True)  # null: there is no copy of this wrapping
    escrow_due_at = models.DateTimeField(null=True)
    escrow_attempts = models.PositiveIntegerField(default=0, db_default=0)
    objects = BranchKeyQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-created_at"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["tenant", "data_scope"],
                condition=Q(is_current=True),
                name="keys_one_current_branch_key_per_tenant_scope",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["due_at"], name="keys_branch_key_due"),
            models.Index(
                fields=["escrow_due_at"], condition=Q(escrow_due_at__isnull=False), name="keys_branch_key_escrow_due"
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)


class BranchKeyWrapping(models.Model):
    """An earlier wrapping of a branch key: a database restored from before the move opens only with it.

    Insert only, by a trigger of the database;
    it may be removed once `kept_until` has passed, its registration is retired or its organisation is closed.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="branch_key_wrappings")
    branch_key = models.ForeignKey(BranchKey, on_delete=models.PROTECT, related_name="wrappings")
    # null: platform key
    registration = models.ForeignKey(KeyRegistration, null=True, on_delete=models.PROTECT, related_name="wrappings")
    key_arn = models.CharField(max_length=2048)  # the CMK that this wrapping opens with
    wrapped = models.BinaryField()
    replaced_at = models.DateTimeField(default=clock.now)  # when the branch key was wrapped by another key
    kept_until = models.DateTimeField()

    class Meta:
        ordering: ClassVar = ["id"]
        indexes: ClassVar = [models.Index(fields=["kept_until"], name="keys_wrapping_kept_until")]

    def __str__(self) -> str:
        return f"{self.branch_key_id} under {self.key_arn}"


class BranchKeyLoad(models.Model):
    """One unwrap of a branch key by the KMS, written before the plaintext is used. Append-only by a database trigger.

    By session name and request id the tenant finds it in their CloudTrail. A probe's unwrap is none: what it opens is
    thrown away.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    # The index below begins with the tenant; nobody looks loads up by branch key.
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="branch_key_loads", db_index=False)
    # No constraint in the database: the row stays when the branch key is destroyed (`keys.closing`).
    branch_key = models.ForeignKey(
        BranchKey, on_delete=models.DO_NOTHING, related_name="loads", db_index=False, db_constraint=False
    )
    data_scope = models.CharField(max_length=64, default=DEFAULT_SCOPE)
    # of the `ServingProcess`, which is removed before this row is; null: a worker, which keeps no branch key
    process = models.UUIDField(null=True)
    region = models.CharField(max_length=64)
    # the role session that called KMS; "": the platform's own key, which needs none
    session_name = models.CharField(max_length=64, blank=True)
    aws_request_id = models.CharField(max_length=128)
    at = models.DateTimeField(default=clock.recent)

    class Meta:
        ordering: ClassVar = ["at"]
        indexes: ClassVar = [
            models.Index(fields=["tenant", "at"], name="keys_load_by_tenant"),
            models.Index(fields=["tenant", "aws_request_id"], name="keys_load_by_request"),
            models.Index(fields=["aws_request_id"], name="keys_load_by_request_alone"),
        ]

    def __str__(self) -> str:
        return f"{self.branch_key_id} at {self.at}"


class KeyUse(models.Model):
    """The row that is committed before a plaintext data key leaves: one a request.
    Append-only by a database trigger."""

    class Operation(models.TextChoices):
        GENERATE = "generate", gettext_lazy("Generate")
        DECRYPT = "decrypt", gettext_lazy("Decrypt")
        REWRAP = "rewrap", gettext_lazy("Rewrap")

    id = models.BigAutoField(primary_key=True)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="key_uses", db_index=False)
    operation = models.CharField(max_length=8, choices=Operation)
    count = models.PositiveSmallIntegerField()  # data keys in this request
    caller = models.CharField(max_length=200)
    context_digest = models.CharField(max_length=64)  # SHA-256, hex, over the contexts of the request
    request_id = models.CharField(max_length=64, blank=True)
    # The database fills it in too: the ledger inserts rows past the ORM.
    data_scope = models.CharField(max_length=64, default=DEFAULT_SCOPE, db_default=DEFAULT_SCOPE)
    # The `BranchKeyLoad` of the branch key that was used, of the first one where a request used several; null: a row
    # from before loads were written. No foreign key: the check would cost each row a look-up.
    load = models.UUIDField(null=True)
    at = models.DateTimeField(default=clock.now)

    class Meta:
        ordering: ClassVar = ["id"]
        indexes: ClassVar = [
            models.Index(fields=["tenant", "id"], name="keys_use_by_tenant"),
            # What people look one use up by, with the order in which it is shown (keys.key_uses). Every row pays for
            # each of them: service and operation have none, and are looked for within a time.
            models.Index(fields=["tenant", "at", "id"], name="keys_use_by_time"),
            models.Index(fields=["tenant", "context_digest", "at", "id"], name="keys_use_by_digest"),
            models.Index(fields=["tenant", "request_id", "at", "id"], name="keys_use_by_request"),
            models.Index(fields=["load", "at", "id"], name="keys_use_by_load"),
        ]

    def __str__(self) -> str:
        return f"{self.operation} {self.count}"


class ServingProcess(models.Model):
    """A process of ours that gives out data keys, while it lives:
    its heartbeat, and how it says what it has forgotten."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)  # drawn anew by each process
    name = models.CharField(max_length=200)  # host and process number, for people
    started_at = models.DateTimeField(default=clock.now)
    seen_at = models.DateTimeField(default=clock.now)  # when it last read what has changed (keys.datakeys.snapshots)
    started_snapshot = models.TextField(default="")  # what it had seen when it began (byokportal.visibility) …
    seen_snapshot = models.TextField(default="")  # … and with that last reading: the stops in it are dropped there

    class Meta:
        ordering: ClassVar = ["started_at"]
        indexes: ClassVar = [models.Index(fields=["seen_at"], name="keys_process_seen")]

    def __str__(self) -> str:
        return self.name


class CacheDrop(models.Model):
    """A process has seen this generation of a tenant, or a later one, and holds no branch key from before it."""

    # No constraint in the database: a process writes down the drops of all tenants at once,
    # and the check would wait for a locked one.
    tenant = models.ForeignKey(
        Tenant, on_delete=models.PROTECT, related_name="cache_drops", db_constraint=False, db_index=False
    )
    process = models.ForeignKey(ServingProcess, on_delete=models.CASCADE, related_name="drops")
    generation = models.PositiveBigIntegerField()
    count = models.PositiveSmallIntegerField()  # branch keys that it forgot; 0: it held none
    at = models.DateTimeField(default=clock.now)  # when they were gone from its memory

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "process", "generation"], name="keys_each_drop_once"),
        ]
        indexes: ClassVar = [models.Index(fields=["tenant", "generation"], name="keys_drop_by_generation")]

    def __str__(self) -> str:
        return f"{self.process_id} dropped {self.tenant_id} at generation {self.generation}"


class DatabaseAdmission(models.Model):
    """That this database may give out keys (`keys.datakeys.admission`). The last row counts;
    the ones before say who it once was."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    incarnation = models.CharField(max_length=200)
    admitted_at = models.DateTimeField(default=clock.now)
    admitted_by = models.CharField(max_length=200)
    is_by_person = models.BooleanField(default=False)
    reason = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering: ClassVar = ["-admitted_at"]

    def __str__(self) -> str:
        return self.incarnation
