"""Rows of the support app: tickets, their messages, notices to be sent, and what the back office reads of the fleet."""

from __future__ import annotations

from typing import ClassVar, Self

from django.conf import settings
from django.db import models
from django.db.models import Q

from byokportal import clock
from keys.models import Incident
from support.bulk.bulk_rows import BulkItem, BulkOperation
from support.oncall.records import AffectedTenant, IncidentResponse, OnCallMessage
from support.tickets.ticket_rows import InboundMail, Ticket, TicketMessage, TicketMove
from support.webhooks.rows import WebhookDelivery, WebhookEndpoint
from tenants.models import AuditEvent, Member, ServiceRole, Tenant

__all__ = [
    "AffectedTenant",
    "BulkItem",
    "BulkOperation",
    "FleetFigures",
    "FleetRow",
    "Heartbeat",
    "InboundMail",
    "IncidentResponse",
    "MailChoice",
    "Notice",
    "OnCallMessage",
    "SavedView",
    "StaffReview",
    "Ticket",
    "TicketMessage",
    "TicketMove",
    "WebhookDelivery",
    "WebhookEndpoint",
]


class NoticeQuerySet(models.QuerySet["Notice"]):
    def failing(self) -> Self:
        """Mails that could not be sent so far, or that were given up."""
        return self.filter(sent_at=None, attempts__gt=0, claimed_at=None)

    def held(self) -> Self:
        """Mails that wait for the end of an incident of ours, or for a decision."""
        return self.filter(held_for__isnull=False, due_at=None, sent_at=None, dropped_at=None)


class Notice(models.Model):
    """A mail to be sent because of an event: the row is the job."""

    # No constraint: PostgreSQL has none to a partitioned table by the id alone (docs/adr/0031).
    event = models.ForeignKey(
        AuditEvent, null=True, on_delete=models.PROTECT, related_name="notices", db_index=False, db_constraint=False
    )
    tenant = models.ForeignKey(Tenant, null=True, on_delete=models.PROTECT, related_name="notices")
    template = models.CharField(max_length=40)  # emails/<template>.subject.txt and .txt
    recipient = models.EmailField()
    context = models.JSONField(default=dict)  # words and ids; never a secret
    due_at = models.DateTimeField(null=True, default=clock.now)
    claimed_at = models.DateTimeField(null=True)
    attempts = models.PositiveIntegerField(default=0)
    sent_at = models.DateTimeField(null=True)
    # The incident of ours that holds or held it back, and when it was decided that it is not sent.
    held_for = models.ForeignKey(
        Incident, null=True, on_delete=models.PROTECT, related_name="held_notices", db_index=False
    )
    dropped_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(default=clock.now, editable=False)

    objects = NoticeQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["event", "template", "recipient"], name="support_each_notice_once"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["due_at"], condition=Q(sent_at=None), name="support_notice_due"),
            models.Index(fields=["held_for"], condition=Q(held_for__isnull=False), name="support_notice_held"),
        ]

    def __str__(self) -> str:
        return f"{self.template} to {self.recipient}"


class MailChoice(models.Model):
    """Whether a member wants the mails of one kind; without a row their role's default holds (`support.mailed`)."""

    member = models.ForeignKey(Member, on_delete=models.CASCADE, related_name="mail_choices", db_index=False)
    kind = models.CharField(max_length=16)  # of support.kinds
    is_wanted = models.BooleanField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["member", "kind"], name="support_one_choice_per_kind"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} for {self.member_id}"


class FleetRow(models.Model):
    """Where one tenant stands, in one narrow row with an index for each filter: what the back office lists.

    It is made from the rows that decide (`support.fleet.state`) and never decides anything itself.
    """

    class State(models.TextChoices):
        NEEDS_CHANGE = "needs_change", "Needs a change"
        WAITS_FOR_TENANT = "waits_for_tenant", "Waits for them"
        WAITS_FOR_KORE = "waits_for_kore", "Waits for us"
        WORKING = "working", "Under way"
        ACTIVE = "active", "Active"
        CANNOT_TELL = "cannot_tell", "Cannot tell"
        SUSPENDED_BY_AWS = "suspended_by_aws", "Suspended by AWS"
        SUSPENDED_BY_TENANT = "suspended_by_tenant", "Suspended by them"
        SUSPENDED_BY_KORE = "suspended_by_kore", "Suspended by us"

    class Turn(models.TextChoices):
        TENANT = "tenant", "Them"
        KORE = "kore", "Us"
        NOBODY = "nobody", "Nobody"

    class LastTest(models.TextChoices):
        NONE = "", "Not yet"
        PASS = "pass", "Passed"
        FAIL = "fail", "Failed"
        UNKNOWN = "unknown", "No answer"
        OPEN = "open", "Running"

    tenant = models.OneToOneField(Tenant, primary_key=True, on_delete=models.CASCADE, related_name="fleet_row")
    name = models.CharField(max_length=120)
    # 1 to 6; 0: all done
    step = models.PositiveSmallIntegerField()
    step_since = models.DateTimeField()
    state = models.CharField(max_length=24, choices=State)
    waits_for = models.CharField(max_length=8, choices=Turn)
    # a document, an error code or a label of `state.CAUSES`; "": nothing is wrong
    cause = models.CharField(max_length=80, blank=True)
    since = models.DateTimeField()
    # of the key; "" until it is given
    region = models.CharField(max_length=64, blank=True)
    # of the role, and of the key where that is another one
    account = models.CharField(max_length=12, blank=True)
    key_account = models.CharField(max_length=12, blank=True)
    key_id = models.CharField(max_length=64, blank=True)
    service_role = models.ForeignKey(ServiceRole, on_delete=models.PROTECT, related_name="+", db_index=False)
    last_test = models.CharField(max_length=8, choices=LastTest, blank=True)
    last_test_at = models.DateTimeField(null=True)
    # when AWS deletes the key
    deletes_at = models.DateTimeField(null=True)
    # since when it is a tenant
    created_at = models.DateTimeField()
    looked_at = models.DateTimeField(default=clock.now)

    class Meta:
        ordering: ClassVar = ["name", "tenant"]
        indexes: ClassVar = [
            models.Index(fields=["name", "tenant"], name="support_fleet_by_name"),
            models.Index(fields=["step", "name", "tenant"], name="support_fleet_by_step"),
            models.Index(fields=["state", "name", "tenant"], name="support_fleet_by_state"),
            models.Index(fields=["waits_for", "name", "tenant"], name="support_fleet_by_turn"),
            models.Index(fields=["cause", "name", "tenant"], name="support_fleet_by_cause"),
            models.Index(fields=["region", "name", "tenant"], name="support_fleet_by_region"),
            models.Index(fields=["account", "name", "tenant"], name="support_fleet_by_account"),
            models.Index(fields=["key_account", "name", "tenant"], name="support_fleet_by_key_account"),
            models.Index(fields=["service_role", "name", "tenant"], name="support_fleet_by_role"),
            models.Index(fields=["last_test", "name", "tenant"], name="support_fleet_by_test"),
            models.Index(fields=["key_id"], condition=~Q(key_id=""), name="support_fleet_by_key"),
            models.Index(fields=["since"], name="support_fleet_by_age"),
            models.Index(fields=["waits_for", "since"], name="support_fleet_waiting"),
            models.Index(fields=["deletes_at"], condition=Q(deletes_at__isnull=False), name="support_fleet_deleted"),
            models.Index(fields=["looked_at"], name="support_fleet_looked_at"),
        ]

    def __str__(self) -> str:
        return self.name


class FleetFigures(models.Model):
    """What the worker last counted of the fleet, and up to which line of the log its rows are made; there is one."""

    figures = models.JSONField(default=dict)
    counted_at = models.DateTimeField(null=True)
    # id of the last line of the log that is followed for certain
    through = models.PositiveBigIntegerField(default=0)

    class Meta:
        verbose_name_plural = "fleet figures"

    def __str__(self) -> str:
        return f"counted at {self.counted_at}"


class SavedView(models.Model):
    """Filters of the fleet that one of our people keeps under a name."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="fleet_views", db_index=False
    )
    name = models.CharField(max_length=60)
    query = models.CharField(max_length=500)
    # the others of our people see it too
    is_shared = models.BooleanField(default=False, db_default=False)
    created_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["user", "name"], name="support_each_view_name_once")]
        indexes: ClassVar = [models.Index(fields=["name"], condition=Q(is_shared=True), name="support_views_shared")]

    def __str__(self) -> str:
        return self.name


class StaffReview(models.Model):
    """One of our people has looked at who of us may do what."""

    reviewed_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    people = models.PositiveIntegerField()
    # and what was changed because of it
    found = models.CharField(max_length=200)
    at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        ordering: ClassVar = ["-at"]
        indexes: ClassVar = [models.Index(fields=["-at"], name="support_review_newest")]

    def __str__(self) -> str:
        return f"review at {self.at}"


class Heartbeat(models.Model):
    """When a kind of process was last seen at work: beat, or a worker that took a message of one queue."""

    kind = models.CharField(max_length=32)
    name = models.CharField(max_length=200)
    seen_at = models.DateTimeField(default=clock.now)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["kind", "name"], name="support_each_heartbeat_once")]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"
