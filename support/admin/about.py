"""What the page of one tenant reads of it once, so that no button and no heading asks again."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet, Subquery, Value

from keys.models import BranchKey, KeyHealth, KeyRegistration, RoleConfiguration
from tenants import persons
from tenants.audit import Actor
from tenants.models import AuditEvent, Member, Role, Tenant

# What a page shows of each at most.
REGISTRATIONS, PEOPLE = 50, 200


class About:
    """Facts of one tenant, each as it was when it was first asked for."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant

    @cached_property
    def registrations(self) -> list[KeyRegistration]:
        """Newest first, each with `health_facts`: what DescribeKey said last of its key."""
        facts = KeyHealth.objects.filter(registration=OuterRef("pk")).values("key_facts")[:1]
        rows = KeyRegistration.objects.of(self._tenant).order_by("-created_at")
        return list(rows.annotate(health_facts=Subquery(facts))[:REGISTRATIONS])

    @cached_property
    def everybody(self) -> list[Member]:
        """Members, those who were removed too."""
        people = Member.everybody.filter(tenant=self._tenant).select_related("user")
        return list(people.order_by("removed_at", "created_at")[:PEOPLE])

    @cached_property
    def _flags(self) -> Any:
        tenant = self._tenant
        return tenant if hasattr(tenant, "flag_approval") else with_flags(Tenant.objects.filter(pk=tenant.pk)).get()

    @property
    def has_branch_keys(self) -> bool:
        return bool(self._flags.flag_branch_keys)

    @property
    def waits_for_approval(self) -> bool:
        return bool(self._flags.flag_approval)

    @property
    def members(self) -> list[Member]:
        return [member for member in self.everybody if member.removed_at is None]

    @property
    def owners(self) -> int:
        """How many can act as an owner: one whose sign-in is switched off cannot."""
        return sum(member.role == Role.OWNER and member.user.is_active for member in self.members)

    @property
    def serving(self) -> KeyRegistration | None:
        return next((one for one in self.registrations if one.status in KeyRegistration.SERVING), None)

    @property
    def preparing(self) -> KeyRegistration | None:
        return next((one for one in self.registrations if one.status in KeyRegistration.IN_PREPARATION), None)

    @property
    def present(self) -> list[KeyRegistration]:
        return [one for one in self.registrations if one.status != KeyRegistration.Status.RETIRED]


def with_flags(tenants: QuerySet[Tenant]) -> QuerySet[Tenant]:
    """Return tenants with what only has to be there or not: it needs no question of its own then."""
    waiting = RoleConfiguration.Status.WAITING_FOR_APPROVAL
    return tenants.annotate(
        flag_branch_keys=Exists(BranchKey.objects.filter(tenant=OuterRef("pk"))),
        flag_approval=Exists(RoleConfiguration.objects.filter(tenant=OuterRef("pk"), status=waiting)),
    )


def with_last_look(tenants: QuerySet[Tenant], *, actor: Actor) -> QuerySet[Tenant]:
    """Return tenants with `looked_at`: when this person last looked, by the tenant's log; null: never."""
    person = Value(actor.label.removeprefix("kore:"))
    looks = AuditEvent.objects.filter(tenant=OuterRef("pk"), name="tenants.tenant.viewed")
    return tenants.annotate(looked_at=persons.newest_by_staff(looks.order_by("-at"), person, person, "at"))


def of(tenant: Tenant) -> About:
    """Return the facts of a tenant; asked once for one object."""
    known: About | None = tenant.__dict__.get("_about")
    if known is None:
        known = tenant.__dict__["_about"] = About(tenant)
    return known
