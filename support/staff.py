"""Kore.ai's own people as a review looks at them: groups, permissions, sign-ins, second factors, looks at tenants."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from allauth.mfa.models import Authenticator
from django.contrib.auth.models import User
from django.db.models import Count, Max, OuterRef, QuerySet

from byokportal import clock
from tenants import persons, roles
from tenants.models import AuditEvent

# How often somebody has to look at who may do what.
QUARTER = timedelta(days=91)
AT_MOST = 1_000  # people of a page or file
LOOKED_AT = 500  # tenants that a file names for one person
VIEWED = "tenants.tenant.viewed"
FACTORS = {"totp": "an authenticator app", "webauthn": "a passkey"}


@dataclass(frozen=True, slots=True)
class Look:
    """A tenant that a person looked at, how often in the time asked for, and when last."""

    tenant: str
    count: int
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Looks:
    """What a person looked at in the time asked for.

    Attributes:
        newest: the `LOOKED_AT` tenants of the newest looks, at the most.
        total: tenants, whether they stand there or not.
    """

    newest: tuple[Look, ...]
    total: int

    @property
    def more(self) -> int:
        return self.total - len(self.newest)


@dataclass(frozen=True, slots=True)
class Person:
    """One of our people.

    Attributes:
        permissions: labels of the table of operations, by way of the groups or their own; of a superuser all.
        own: of any kind, given to the person alone: there should be none, for no table says why.
        factors: in words; "" is none, and nobody of ours comes in without one.
        looked_at, looked_at_tenant: their newest look at a tenant.
    """

    user: User
    groups: tuple[str, ...]
    permissions: tuple[str, ...]
    own: tuple[str, ...]
    factors: str
    looked_at: datetime | None
    looked_at_tenant: str


def people() -> list[Person]:
    """Return our people, those who may sign in first, by address."""
    look = persons.newest_by_staff(_looks().order_by("-at"), OuterRef("username"), OuterRef(OuterRef("username")), "pk")
    users = User.objects.filter(is_staff=True).prefetch_related("groups", "user_permissions__content_type")
    users = users.annotate(look=look).order_by("-is_active", "email")
    found = list(users[:AT_MOST])
    seen = AuditEvent.objects.filter(pk__in=[user.look for user in found if user.look]).select_related("tenant")
    newest = {event.pk: event for event in seen}
    factors = _factors([user.pk for user in found])
    return [_person(user, newest.get(user.look), factors.get(user.pk, "")) for user in found]


def looks_of(user: User, *, since: datetime) -> Looks:
    """Return the tenants that a person looked at since then, the newest look first, and how many they are."""
    mine = _looks().filter(actor__in=persons.labels_of([persons.STAFF], user.username, None), at__gte=since).order_by()
    # By tenant: two organisations may have one name.
    groups = mine.values("tenant", "tenant__name").annotate(count=Count("pk"), last=Max("at")).order_by("-last")
    found = [Look(group["tenant__name"], group["count"], group["last"]) for group in groups[:LOOKED_AT]]
    total = len(found) if len(found) < LOOKED_AT else mine.values("tenant").distinct().count()
    return Looks(tuple(found), total)


def a_quarter_ago() -> datetime:
    return clock.now() - QUARTER


def _looks() -> QuerySet[AuditEvent]:
    return AuditEvent.objects.filter(name=VIEWED)


def _person(user: User, look: AuditEvent | None, factors: str) -> Person:
    groups = tuple(sorted(group.name for group in user.groups.all()))
    tenant = look.tenant.name if look and look.tenant else ""
    given = {f"{one.content_type.app_label}.{one.codename}": one.name for one in user.user_permissions.all()}
    held = roles.STAFF_PERMISSIONS
    may = tuple(one.label for one in held if user.is_superuser or one.groups & set(groups) or one.name in given)
    return Person(user, groups, may, tuple(sorted(given.values())), factors, look.at if look else None, tenant)


def _factors(users: list[int]) -> dict[int, str]:
    kinds: dict[int, set[str]] = {}
    for user, kind in Authenticator.objects.filter(user__in=users).values_list("user", "type"):
        if kind in FACTORS:
            kinds.setdefault(user, set()).add(FACTORS[kind])
    return {user: " and ".join(sorted(found)) for user, found in kinds.items()}
