"""Who belongs to an organisation, as what, and who is invited to it."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext, gettext_lazy

from byokportal import clock
from tenants.models.organisations import Tenant

if TYPE_CHECKING:
    from django.contrib.auth.models import User


class Role(models.TextChoices):
    """What a member may do; the permissions of each are in `tenants.roles`."""

    OWNER = "owner", gettext_lazy("Owner")
    ADMIN = "admin", gettext_lazy("Admin")
    AUDITOR = "auditor", gettext_lazy("Auditor")


class MemberQuerySet(models.QuerySet["Member"]):
    def of(self, tenant: Tenant) -> Self:
        return self.filter(tenant=tenant)

    def owners(self) -> Self:
        """Return those who can act as an owner: one whose sign-in is switched off cannot."""
        return self.filter(role=Role.OWNER, user__is_active=True)


class PresentMembers(models.Manager["Member"]):
    """Those who are in; a removed member stays as a row, and whoever forgets about that must not see it."""

    def get_queryset(self) -> MemberQuerySet:
        return MemberQuerySet(self.model, using=self._db).filter(removed_at=None)

    def of(self, tenant: Tenant) -> MemberQuerySet:
        return self.get_queryset().of(tenant)


class Member(models.Model):
    """A person in a tenant; one who was removed keeps the row, so that the log and later mails know them."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="members")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="memberships")
    role = models.CharField(max_length=16, choices=Role)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    removed_at = models.DateTimeField(null=True, blank=True, editable=False)
    # The tenant's directory did that, and may undo it; what a person did it may not.
    is_ended_by_directory = models.BooleanField(default=False, editable=False)
    # Since when it has this role, and who gave it after the invitation; null: the invitation did.
    role_since = models.DateTimeField(default=clock.now, editable=False)
    role_by = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    objects = PresentMembers()
    everybody = MemberQuerySet.as_manager()  # also those who were removed

    if TYPE_CHECKING:
        user: models.ForeignKey[User]  # type: ignore[no-redef]

    class Meta:
        ordering: ClassVar = ["created_at"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["tenant", "user"], condition=Q(removed_at=None), name="tenants_one_membership_per_person"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user.email} ({self.get_role_display()})"


class PersonLanguage(models.Model):
    """The language that a person chose for pages and mails; without a row it is what the browser asks for."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, primary_key=True, on_delete=models.CASCADE, related_name="language"
    )
    language = models.CharField(max_length=8, choices=settings.LANGUAGES)

    def __str__(self) -> str:
        return self.language


INVITATION_LASTS = timedelta(days=7)


class InvitationQuerySet(models.QuerySet["Invitation"]):
    def of(self, tenant: Tenant) -> Self:
        return self.filter(tenant=tenant)

    def open(self) -> Self:
        """Return those that were neither used nor withdrawn; some of them may have expired."""
        return self.filter(status=Invitation.Status.PENDING)

    def pending(self) -> Self:
        return self.open().filter(expires_at__gt=clock.now())


class Invitation(models.Model):
    """Who was invited, as what, by whom, until when; the mailed link makes the invited person a member, once."""

    class Status(models.TextChoices):
        PENDING = "pending", gettext_lazy("Invited")
        USED = "used", gettext_lazy("Accepted")
        WITHDRAWN = "withdrawn", gettext_lazy("Withdrawn")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="invitations")
    email = models.CharField(max_length=150)  # lower case
    role = models.CharField(max_length=16, choices=Role)
    status = models.CharField(max_length=16, choices=Status, default=Status.PENDING)
    invited_by = models.CharField(max_length=200)  # as the log names who did it
    # null: Kore.ai
    inviter = models.ForeignKey(
        Member, null=True, blank=True, on_delete=models.PROTECT, related_name="invitations_made"
    )
    # who it became
    member = models.OneToOneField(Member, null=True, blank=True, on_delete=models.PROTECT, related_name="invitation")
    sent = models.PositiveSmallIntegerField(default=1)  # how often it was mailed
    created_at = models.DateTimeField(default=clock.now, editable=False)
    expires_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)  # used or withdrawn
    objects = InvitationQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-created_at"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["tenant", "email"],
                condition=Q(status="pending"),
                name="tenants_one_open_invitation_per_address",
            ),
            models.CheckConstraint(
                condition=Q(status="used", member__isnull=False) | ~Q(status="used") & Q(member=None),
                name="tenants_used_invitation_has_its_member",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.email} ({self.get_role_display()})"

    @property
    def is_expired(self) -> bool:
        return self.status == self.Status.PENDING and self.expires_at <= clock.now()

    @property
    def state(self) -> str:
        """Return its status, or `expired`."""
        return "expired" if self.is_expired else self.status

    @property
    def label(self) -> str:
        """Return what people read of it."""
        return gettext("Expired") if self.is_expired else str(self.get_status_display())


class InvitationLink(models.Model):
    """One mailed link of an invitation, known by the digest of its secret."""

    invitation = models.ForeignKey(Invitation, on_delete=models.CASCADE, related_name="links")
    digest = models.CharField(max_length=64, unique=True)  # SHA-256, hex
    created_at = models.DateTimeField(default=clock.now, editable=False)

    def __str__(self) -> str:
        return f"link of {self.invitation_id}"


ADDRESS_CHANGE_LASTS = timedelta(hours=24)


class AddressChange(models.Model):
    """A person asked for another mail address; it counts once the link that was mailed to it is used."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="address_changes")
    email = models.CharField(max_length=150)  # lower case
    digest = models.CharField(max_length=64, blank=True, db_index=True)  # SHA-256, hex; none until the mail is written
    created_at = models.DateTimeField(default=clock.now, editable=False)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.email
