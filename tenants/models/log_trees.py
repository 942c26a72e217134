"""The Merkle trees over the logs, and the signed heads of all of them together."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, ClassVar, Self

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from byokportal import clock, merkle
from tenants.models.organisations import Tenant


class Sealer(models.Model):
    """Who seals holds the lock of this row, the only one; what stands in the way of a signature stands in it."""

    sealed_at = models.DateTimeField(null=True)  # when nothing was left to be sealed
    # why no head is signed any more: what was published is larger than what we have, or another
    refused_at = models.DateTimeField(null=True)
    refused_why = models.CharField(max_length=500, blank=True)

    def __str__(self) -> str:
        return self.refused_why or "seals"


class LogTree(models.Model):
    """The Merkle tree over one log: a tenant's, our own (`OURS`), or the heads of all of them (`HEADS`).

    After a loss that was declared a log goes on with another tree, whose first row has the number behind the last one
    that the old tree was published with.
    """

    OURS, HEADS = "kore", "heads"

    name = models.CharField(max_length=36)  # the tenant's id, or one of the two
    tenant = models.ForeignKey(Tenant, null=True, on_delete=models.PROTECT, related_name="log_trees")
    first = models.PositiveBigIntegerField(default=1)  # the number of its first row
    size = models.PositiveBigIntegerField(default=0)  # leaves
    peaks = models.TextField(default="", blank=True)  # of its complete subtrees (byokportal.merkle), hex
    signed_size = models.PositiveBigIntegerField(default=0)  # with which it stands in the last head
    closed_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["name"], condition=Q(closed_at=None), name="tenants_one_open_tree_for_each_log"
            ),
            models.UniqueConstraint(fields=["name", "first"], name="tenants_each_tree_once"),
        ]

    def __str__(self) -> str:
        return f"{self.name} from {self.first}: {self.size}"

    @property
    def hashes(self) -> list[bytes]:
        text = bytes.fromhex(self.peaks)
        return [text[at : at + merkle.SIZE] for at in range(0, len(text), merkle.SIZE)]

    @property
    def root(self) -> str:
        return merkle.root(self.hashes).hex()


class LogNode(models.Model):
    """A complete subtree of every eighth level, so that a proof reads a few rows."""

    tree = models.ForeignKey(LogTree, on_delete=models.PROTECT, related_name="nodes", db_index=False)
    level = models.PositiveSmallIntegerField()
    index = models.PositiveBigIntegerField()
    hash = models.CharField(max_length=64)

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tree", "level", "index"], name="tenants_each_subtree_once"),
        ]

    def __str__(self) -> str:
        return f"{self.tree_id} {self.level}/{self.index}"


class LogHeadQuerySet(models.QuerySet["LogHead"]):
    def published(self) -> LogHeadQuerySet:
        return self.exclude(published_at=None)


class LogHead(models.Model):
    """The signed head of the tree over the heads of all logs: made, then signed and published, each once."""

    number = models.PositiveBigIntegerField(primary_key=True)
    at = models.DateTimeField()
    body = models.TextField()  # canonical JSON: what is signed
    consistency = models.TextField(default="[]")  # the proof from the head before, JSON of hex
    signature = models.CharField(max_length=200, default="", blank=True)  # base64
    public_key = models.CharField(max_length=200, default="", blank=True)  # base64 of the 32 bytes
    published_at = models.DateTimeField(null=True)
    objects = LogHeadQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["number"]

    def __str__(self) -> str:
        return f"head {self.number}"

    @property
    def facts(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


class TenantHead(models.Model):
    """One log's head as it stands in a signed one: a leaf of the tree over all; only what has grown has a new one."""

    head = models.ForeignKey(LogHead, on_delete=models.PROTECT, related_name="entries")
    tenant = models.ForeignKey(
        Tenant, null=True, on_delete=models.PROTECT, related_name="log_heads", db_index=False
    )  # null: ours
    tree = models.ForeignKey(LogTree, on_delete=models.PROTECT, related_name="heads", db_index=False)
    position = models.PositiveBigIntegerField(unique=True)  # among the leaves
    first = models.PositiveBigIntegerField()
    size = models.PositiveBigIntegerField()
    root = models.CharField(max_length=64)
    leaf = models.CharField(max_length=64)
    at = models.DateTimeField(default=clock.now)

    class Meta:
        ordering: ClassVar = ["position"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tree", "size"], name="tenants_each_size_signed_once"),
        ]
        indexes: ClassVar = [models.Index(fields=["tenant", "at", "id"], name="tenants_head_by_tenant")]

    def __str__(self) -> str:
        return f"{self.tree_id}: {self.size} in head {self.head_id}"

    @property
    def entry(self) -> dict[str, Any]:
        """What its leaf is made of (byokportal.leaves.head_leaf)."""
        # An organisation that a restored database does not have is named by its tree alone.
        log = str(self.tenant_id) if self.tenant_id else self.tree.name
        return {"log": log, "first": self.first, "size": self.size, "root": self.root}


class HeadRecipient(models.Model):
    """An address to which a tenant has the head of its log mailed once a day: whoever keeps the mails needs no trust
    in our database."""

    AT_MOST = 5  # of one tenant

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="head_recipients", db_index=False)
    email = models.EmailField()
    added_at = models.DateTimeField(default=clock.now)

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant", "email"], name="tenants_each_head_recipient_once"),
        ]

    def __str__(self) -> str:
        return self.email


class HeadMailingQuerySet(models.QuerySet["HeadMailing"]):
    def due(self, now: datetime | Now) -> Self:
        """Those for which it is time, but for organisations that wait for an owner after a restore."""
        return self.filter(due_at__lte=now).exclude(tenant__in=Tenant.objects.waiting_for_an_owner())


class HeadMailing(models.Model):
    """When a tenant's head was mailed last; a row while it has recipients."""

    tenant = models.OneToOneField(Tenant, on_delete=models.PROTECT, related_name="head_mailing")
    due_at = models.DateTimeField()
    objects = HeadMailingQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["due_at"]
        indexes: ClassVar = [models.Index(fields=["due_at"], name="tenants_head_mailing_due")]

    def __str__(self) -> str:
        return f"{self.tenant_id} at {self.due_at}"
