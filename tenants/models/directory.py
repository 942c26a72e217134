"""What a tenant's directory says by SCIM: who is there and in which groups, and the tokens that it says it with."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any, ClassVar, Self

from django.db import models
from django.db.models import Exists, OuterRef, Q

from byokportal import clock
from tenants.models.organisations import Tenant
from tenants.models.people import Member, Role


class DirectoryQuerySet(models.QuerySet["Directory"]):
    def of(self, tenant: Tenant) -> Self:
        return self.filter(tenant=tenant)


class Directory(models.Model):
    """A tenant's directory that tells us by SCIM (RFC 7643, RFC 7644) who belongs to it; one of each tenant."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.OneToOneField(Tenant, on_delete=models.PROTECT, related_name="directory")
    # For whoever is in no group that has a role; empty: no membership.
    default_role = models.CharField(max_length=16, choices=Role, blank=True)
    may_make_owners = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    objects = DirectoryQuerySet.as_manager()

    def __str__(self) -> str:
        return f"directory of {self.tenant_id}"


class DirectoryTokenQuerySet(models.QuerySet["DirectoryToken"]):
    def valid(self, now: datetime) -> Self:
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=now), revoked_at=None)


class DirectoryToken(models.Model):
    """What the directory proves itself with, known by its digest only; two at most: one follows the other."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    directory = models.ForeignKey(Directory, on_delete=models.CASCADE, related_name="tokens")
    digest = models.CharField(max_length=64, unique=True)  # SHA-256, hex
    made_by = models.CharField(max_length=200)  # as the log names who did it
    last_used_at = models.DateTimeField(null=True, blank=True)  # to the minute or so
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    objects = DirectoryTokenQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-created_at"]

    def __str__(self) -> str:
        return f"token of {self.directory_id}"


class DirectoryUserQuerySet(models.QuerySet["DirectoryUser"]):
    def present(self) -> Self:
        return self.filter(deleted_at=None)


class DirectoryUser(models.Model):
    """A person as the directory describes it, and the membership that follows from it.

    Who it is here is decided by `tenants.services.directory_rules`; an address alone makes nobody a member.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    directory = models.ForeignKey(Directory, on_delete=models.CASCADE, related_name="users", db_index=False)
    user_name = models.CharField(max_length=256)
    user_name_key = models.CharField(max_length=256)  # in lower case: the directory's names have no case
    external_id = models.CharField(max_length=256, blank=True)
    # The address that counts, in lower case; empty: it names none. Whether it is one of the tenant's is asked at use.
    email = models.CharField(max_length=150, blank=True)
    is_active = models.BooleanField()
    resource = models.JSONField()  # what else it said, as `tenants.scim.shapes.User` keeps it
    # Whom it is here, or was last. Of who was in already the directory can end the membership, and no more.
    member = models.OneToOneField(
        Member, null=True, blank=True, on_delete=models.PROTECT, related_name="directory_user"
    )
    # The membership came by the directory, so its role follows the groups.
    is_given = models.BooleanField(default=False)
    # The directory ended the membership, and it stays: the owner who gets in without the sign-on.
    is_kept = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    changed_at = models.DateTimeField(default=clock.now)
    # The directory sees it no more; the row waits for the membership that is kept.
    deleted_at = models.DateTimeField(null=True, blank=True)
    objects = DirectoryUserQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["created_at", "id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["directory", "user_name_key"],
                condition=Q(deleted_at=None),
                name="tenants_one_directory_user_per_name",
            ),
            models.UniqueConstraint(
                fields=["directory", "email"],
                condition=~Q(email="") & Q(deleted_at=None),
                name="tenants_one_directory_user_per_address",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["directory", "external_id"], name="tenants_directory_user_ext"),
            models.Index(fields=["email"], name="tenants_directory_user_email"),
        ]

    def __str__(self) -> str:
        return self.user_name

    @property
    def is_in(self) -> bool:
        """Tell whether the person is a member now; `member` is loaded."""
        return self.member is not None and self.member.removed_at is None


class DirectoryGroup(models.Model):
    """A group of the directory, and the role that an owner gave it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    directory = models.ForeignKey(Directory, on_delete=models.CASCADE, related_name="groups", db_index=False)
    display_name = models.CharField(max_length=256)
    external_id = models.CharField(max_length=256, blank=True)
    # Kept by an owner and by nobody else; a group that is made again has none.
    role = models.CharField(max_length=16, choices=Role, blank=True)
    users: models.ManyToManyField[DirectoryUser, Any] = models.ManyToManyField(DirectoryUser, related_name="groups")
    created_at = models.DateTimeField(default=clock.now, editable=False)
    changed_at = models.DateTimeField(default=clock.now)

    class Meta:
        ordering: ClassVar = ["created_at", "id"]
        indexes: ClassVar = [models.Index(fields=["directory", "external_id"], name="tenants_directory_group_ext")]

    def __str__(self) -> str:
        return self.display_name


def is_by_directory() -> Exists:
    """Return, for a query of members, whether the directory gave the membership."""
    return Exists(DirectoryUser.objects.filter(member=OuterRef("pk"), is_given=True))
