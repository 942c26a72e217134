"""Months that have left the database for a file, and what stays of them so that the rest of a log can be proved."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from django.db import models

from byokportal import clock
from tenants.models.log_trees import LogTree


class ArchivedMonthQuerySet(models.QuerySet["ArchivedMonth"]):
    def until(self, table: str) -> datetime | None:
        """Return the time before which the rows of a table are in the archive; None: none is."""
        gone = self.filter(table=table).exclude(detached_at=None)
        ends: datetime | None = gone.aggregate(ends=models.Max("ends"))["ends"]
        return ends


class ArchivedMonth(models.Model):
    """The rows of one partition in a file: declared when the file was written, detached some time after."""

    class Table(models.TextChoices):
        LOG = "tenants_auditevent", "lines of the log"
        USES = "keys_keyuse", "uses of keys"
        LOADS = "keys_branchkeyload", "unwraps of branch keys"

    table = models.CharField(max_length=40, choices=Table)
    begins = models.DateTimeField(null=True)  # null: with everything before
    ends = models.DateTimeField()  # the first instant that is not in it
    rows = models.PositiveBigIntegerField()
    file = models.CharField(max_length=100)  # its name in ARCHIVE_DIR
    sha256 = models.CharField(max_length=64)
    declared_at = models.DateTimeField(default=clock.now)
    detached_at = models.DateTimeField(null=True)  # since then the file counts, and its partition goes
    objects = ArchivedMonthQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["ends"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["table", "ends"], name="tenants_each_month_archived_once"),
        ]

    def __str__(self) -> str:
        return self.file


class ArchivedLog(models.Model):
    """How far one log is in the archive once a month is detached; a line of that log says the same."""

    month = models.ForeignKey(ArchivedMonth, on_delete=models.PROTECT, related_name="logs", db_index=False)
    tree = models.ForeignKey(LogTree, on_delete=models.PROTECT, related_name="archived")
    count = models.PositiveBigIntegerField()  # lines of this month
    through = models.PositiveBigIntegerField()  # every line up to this number is in the archive …
    beyond = models.JSONField(
        default=list
    )  # … and these numbers: they were written before others and sealed after them

    class Meta:
        ordering: ClassVar = ["through"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["month", "tree"], name="tenants_each_log_archived_once"),
        ]

    def __str__(self) -> str:
        return f"{self.tree_id} through {self.through}"


class ArchivedLeaf(models.Model):
    """The leaf of a line that is in the archive, where no complete subtree that is kept covers it (`LogNode`)."""

    tree = models.ForeignKey(LogTree, on_delete=models.PROTECT, related_name="archived_leaves", db_index=False)
    number = models.PositiveBigIntegerField()
    seal = models.CharField(max_length=64)

    class Meta:
        ordering: ClassVar = ["number"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tree", "number"], name="tenants_each_archived_leaf_once"),
        ]

    def __str__(self) -> str:
        return f"{self.tree_id}: {self.number}"
