"""People and their groups in the back office."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest

from support import services
from support.admin.base import Answer, Operation, ReadOnlyAdmin
from support.forms import ErasePersonForm, GroupsForm, NewStaffForm
from tenants import services as tenant_services
from tenants.audit import Actor
from tenants.models import Member


@admin.register(Member)
class MemberAdmin(ReadOnlyAdmin):
    list_display = ("person", "tenant", "role", "created_at")
    list_filter = ("role",)
    list_select_related = ("user", "tenant")
    search_fields = ("user__email", "tenant__name")
    tenant_path = "tenant"
    fields = ("person", "tenant", "role", "created_at")

    @admin.display(ordering="user__email")
    def person(self, member: Member) -> str:
        return member.user.email


def _create_staff(_: None, data: dict[str, Any], actor: Actor) -> Answer:
    user = tenant_services.create_staff(data["email"], groups=_names(data), reason=data["reason"], actor=actor)
    return f"{user.email} has an account. The mail with the link to choose a password is on its way."


def _regroup(user: User, data: dict[str, Any], actor: Actor) -> Answer:
    tenant_services.regroup_staff(user, groups=_names(data), reason=data["reason"], actor=actor)
    return f"{user.email} is in these groups now."


def _switch_off(user: User, data: dict[str, Any], actor: Actor) -> Answer:
    short = tenant_services.switch_off(user, reason=data["reason"], actor=actor)
    done = f"{user.email} is switched off. Sessions and tokens end within 5 seconds."
    if not short:
        return done
    names = ", ".join(tenant.name for tenant in short)
    return (
        f"{done} {names} wants a second person for its operations, and fewer than two who could approve are left: "
        "its owners have a mail that asks them to let somebody else in."
    )


def _switch_on(user: User, data: dict[str, Any], actor: Actor) -> Answer:
    tenant_services.switch_on(user, reason=data["reason"], actor=actor)
    return f"{user.email} may sign in again."


def _reset_second_factor(user: User, data: dict[str, Any], actor: Actor) -> Answer:
    tenant_services.reset_staff_second_factor(user, reason=data["reason"], actor=actor)
    return f"{user.email} sets up a new second factor at the next sign-in."


def _erase(_: None, data: dict[str, Any], actor: Actor) -> Answer:
    done = tenant_services.erase_person(data["person"], reason=data["reason"], actor=actor)
    return f"The person is erased: {len(done.names)} names in logs, {sum(done.rows.values())} other values."


def _review(_: None, data: dict[str, Any], actor: Actor) -> Answer:
    services.record_review(reason=data["reason"], actor=actor)
    return "The review is recorded. The desk reminds us in a quarter."


def _names(data: dict[str, Any]) -> list[str]:
    return [group.name for group in data["groups"]]


ROW = "tenants.manage_staff"


@admin.register(User)
class UserAdmin(ReadOnlyAdmin):
    list_display = ("email", "is_staff", "is_active", "in_groups", "last_login")
    list_filter = ("is_staff", "is_active", "groups")
    search_fields = ("email",)
    fields = ("email", "is_staff", "is_superuser", "is_active", "in_groups", "last_login", "date_joined")
    operations: ClassVar[tuple[Operation, ...]] = (
        Operation(
            "regroup",
            "Change the groups",
            "The person may do what these groups may, from the next page on.",
            ROW,
            _regroup,
            form=GroupsForm,
            is_offered=lambda user: user.is_staff,
        ),
        Operation(
            "switch-off",
            "Switch the account off",
            "Sessions and tokens end within 5 seconds. An owner of an organisation cannot be switched off here.",
            ROW,
            _switch_off,
            is_offered=lambda user: user.is_active,
            is_destructive=True,
        ),
        Operation(
            "switch-on",
            "Switch the account on",
            "The person may sign in again.",
            ROW,
            _switch_on,
            is_offered=lambda user: not user.is_active,
        ),
        Operation(
            "reset-second-factor",
            "Reset the second factor",
            "The person sets up a new one at the next sign-in. Make sure whom you talk to.",
            ROW,
            _reset_second_factor,
            is_offered=lambda user: user.is_staff,
            is_destructive=True,
        ),
    )
    list_operations: ClassVar[tuple[Operation, ...]] = (
        Operation(
            "create-staff",
            "Create an account for a colleague",
            (
                "A mail with a link to choose a password goes to the address. "
                "An address of a customer's member is refused."
            ),
            ROW,
            _create_staff,
            form=NewStaffForm,
        ),
        Operation(
            "erase-person",
            "Erase a person",
            "Somebody who is nowhere in any more, and asks for it. The names go from all logs and rows, and the "
            "account; what the person did stays. Nothing brings the name back. That an owner removed them is forgotten "
            "too: where a sign-on without SCIM still lists them, it lets them in again.",
            "tenants.erase_person",
            _erase,
            form=ErasePersonForm,
            is_destructive=True,
        ),
        Operation(
            "record-review",
            "Record that the review is done",
            "You have looked at who of us is in which group, signs in how, and looked at which tenants. Say what you "
            "found and changed. The next review is due in a quarter.",
            "support.review_staff",
            _review,
        ),
    )

    def named(self, obj: User) -> str:
        return obj.email or obj.username

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return super().get_queryset(request).prefetch_related("groups")

    @admin.display(description="groups")
    def in_groups(self, user: User) -> str:
        return ", ".join(group.name for group in user.groups.all())
