"""A tenant's connection to its own directory, whom it knows, and the sign-ins that it made."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, Self

from django.conf import settings
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.utils.translation import gettext_lazy

from byokportal import clock
from tenants.models.domains import MailDomain
from tenants.models.organisations import Tenant
from tenants.models.people import Member, Role

if TYPE_CHECKING:
    from django.contrib.auth.models import User

ATTEMPT_LASTS = timedelta(minutes=10)


class SignOnConnectionQuerySet(models.QuerySet["SignOnConnection"]):
    def of(self, tenant: Tenant) -> Self:
        return self.filter(tenant=tenant)

    def present(self) -> Self:
        return self.filter(removed_at=None)

    def open(self) -> Self:
        """Return those by which people sign in."""
        return self.present().exclude(mode=SignOnConnection.Mode.DRAFT)

    def required(self) -> Self:
        return self.present().filter(mode=SignOnConnection.Mode.REQUIRED)


class SignOnConnection(models.Model):
    """How people of a tenant sign in by its directory. Protocol and issuer never change: people are known by them."""

    class Protocol(models.TextChoices):
        OIDC = "oidc", gettext_lazy("OpenID Connect")
        SAML = "saml", gettext_lazy("SAML 2.0")

    class Mode(models.TextChoices):
        DRAFT = "draft", gettext_lazy("Being tried")
        OFFERED = "offered", gettext_lazy("Offered")
        REQUIRED = "required", gettext_lazy("Required")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="sign_on_connections")
    protocol = models.CharField(max_length=8, choices=Protocol, default=Protocol.OIDC)
    mode = models.CharField(max_length=16, choices=Mode, default=Mode.DRAFT)
    issuer = models.CharField(max_length=500)  # with SAML the entity id
    client_id = models.CharField(max_length=200, blank=True)  # empty with SAML, and the secret too
    sealed_secret = models.TextField(blank=True)  # tenants.sealing
    # What the directory says of itself: endpoints; with SAML address, certificates, and where the metadata stands.
    provider = models.JSONField(default=dict)
    role_claim = models.CharField(max_length=120, blank=True)
    role_values = models.JSONField(default=dict)  # value of that claim → role
    default_role = models.CharField(
        max_length=16, choices=Role, blank=True
    )  # for who has no such value; empty: refused
    may_make_owners = models.BooleanField(default=False)
    # Of amr or acr, or AuthnContextClassRef, that say: with a second factor.
    factor_values = models.JSONField(default=list)
    break_glass = models.ForeignKey(Member, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    # What the directory says of itself is read again each day; and how many days before the end of its last certificate
    # the owners were told so.
    looked_at = models.DateTimeField(null=True)
    next_look_at = models.DateTimeField(default=clock.now, db_index=True)
    look_problem = models.CharField(max_length=300, blank=True)
    warned_days = models.SmallIntegerField(null=True)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    removed_at = models.DateTimeField(null=True, blank=True)
    objects = SignOnConnectionQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["tenant"], condition=Q(removed_at=None), name="tenants_one_sign_on_connection"
            ),
            models.CheckConstraint(
                condition=~Q(mode="required") | Q(break_glass__isnull=False), name="tenants_required_has_break_glass"
            ),
        ]

    def __str__(self) -> str:
        return self.issuer


class SignOnIdentity(models.Model):
    """Whom a connection knows: by its issuer and the subject, never by an address."""

    connection = models.ForeignKey(
        SignOnConnection, on_delete=models.PROTECT, related_name="identities", db_index=False
    )
    issuer = models.CharField(max_length=500)
    subject = models.CharField(max_length=255)
    member = models.ForeignKey(Member, on_delete=models.PROTECT, related_name="sign_on_identities")
    email = models.CharField(max_length=150)  # what the connection last asserted
    # The account came by the connection: it has no other way in, and belongs to no other tenant.
    made_account = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["connection", "issuer", "subject"], name="tenants_one_identity_per_subject"
            ),
            models.UniqueConstraint(fields=["connection", "member"], name="tenants_one_identity_per_member"),
        ]

    def __str__(self) -> str:
        return f"{self.subject} at {self.issuer}"


class SignOnAttempt(models.Model):
    """A sign-in that was begun in one browser, and what the directory answered. Each step of it is done once."""

    class Purpose(models.TextChoices):
        SIGN_IN = "sign_in", gettext_lazy("Sign in")
        LINK = "link", gettext_lazy("Link an account")
        AGAIN = "again", gettext_lazy("Sign in again")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    connection = models.ForeignKey(SignOnConnection, on_delete=models.CASCADE, related_name="attempts")
    purpose = models.CharField(max_length=16, choices=Purpose)
    browser = models.CharField(max_length=64, unique=True)  # SHA-256 of what the browser's cookie holds, hex
    state = models.CharField(max_length=64, unique=True)
    nonce = models.CharField(max_length=64)
    verifier = models.CharField(max_length=128)  # of PKCE (RFC 7636)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE, related_name="+")
    next_page = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    expires_at = models.DateTimeField(db_index=True)
    answered_at = models.DateTimeField(null=True)  # the directory's answer came, right or wrong
    # Of SAML, whose answer comes without cookies: what it said, and the SHA-256 of what the browser that brought it
    # was given. It counts for nothing until that browser turns out to be the one that began.
    delivered = models.JSONField(null=True)
    delivered_to = models.CharField(max_length=64, blank=True)
    asserted = models.JSONField(null=True)  # tenants.asserted.Asserted, once it was found right
    finished_at = models.DateTimeField(null=True)

    if TYPE_CHECKING:
        user: models.ForeignKey[User | None]  # type: ignore[no-redef]

    def __str__(self) -> str:
        return f"{self.purpose} at {self.connection_id}"


class SignOnAssertion(models.Model):
    """An assertion of SAML that was taken, until it is too old to be taken again."""

    connection = models.ForeignKey(SignOnConnection, on_delete=models.CASCADE, related_name="+", db_index=False)
    digest = models.CharField(max_length=64)  # SHA-256 of its id, hex
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["connection", "digest"], name="tenants_one_use_of_an_assertion"),
        ]

    def __str__(self) -> str:
        return self.digest


class SignOnSessionQuerySet(models.QuerySet["SignOnSession"]):
    def live(self) -> Self:
        """Return those that still count: connection, domain, member and account are all still there."""
        return self.filter(
            ended_at=None,
            identity__connection__removed_at=None,
            identity__member__removed_at=None,
            identity__member__user__is_active=True,
            domain__removed_at=None,
            domain__status=MailDomain.Status.VERIFIED,
        ).exclude(identity__connection__mode=SignOnConnection.Mode.DRAFT)


class SignOnSession(models.Model):
    """A sign-in that a connection made. It reaches that tenant only, and is looked up at every request."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    identity = models.ForeignKey(SignOnIdentity, on_delete=models.PROTECT, related_name="sessions")
    domain = models.ForeignKey(MailDomain, on_delete=models.PROTECT, related_name="+")  # of the asserted address
    has_second_factor = models.BooleanField()  # the connection said so
    created_at = models.DateTimeField(default=clock.now, editable=False)
    ended_at = models.DateTimeField(null=True)
    objects = SignOnSessionQuerySet.as_manager()

    def __str__(self) -> str:
        return f"session of {self.identity_id}"


def needs_sign_on() -> Exists:
    """Return, for a query of members, whether the tenant lets this member in by its connection alone."""
    return Exists(
        SignOnConnection.objects.required().filter(tenant=OuterRef("tenant_id")).exclude(break_glass=OuterRef("pk"))
    )


def came_by_sign_on() -> Exists:
    """Return, for a query of members, whether the account was made by a connection of the tenant."""
    return Exists(SignOnIdentity.objects.filter(member=OuterRef("pk"), made_account=True))
