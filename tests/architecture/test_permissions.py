"""The table of `tenants.roles`, and everything made from it:
Django's permissions, groups of staff, buttons, scopes of services."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.core.management import call_command
from django.db.models import Model

from byokportal import clock
from byokportal.errors import NotAllowed
from keys.models import DriftResolution, Incident, ServiceRolePolicy
from support.groups import permissions_of
from support.models import BulkOperation, Ticket
from tenants import roles
from tenants.audit import Actor
from tenants.errors import FreshSignInNeeded
from tenants.models import Member, Role, ServiceAccount, ServiceRole, Tenant

BUTTONS: list[tuple[type[Model], Any]] = [
    (model, button)
    for model, options in admin.site._registry.items()
    for button in (*options.operations, *options.list_operations)  # type: ignore[attr-defined]
]


def held() -> dict[str, set[str]]:
    """Return the permissions of each group in the database."""
    return {
        group.name: {f"{one.content_type.app_label}.{one.codename}" for one in group.permissions.all()}
        for group in Group.objects.all()
    }


@pytest.mark.django_db
def test_the_permissions_in_the_database_are_those_of_the_table() -> None:
    of_django = {f"{verb}_ticket" for verb in ("add", "change", "delete", "view")}
    rows = Permission.objects.filter(content_type__app_label="support", content_type__model="ticket")
    made = set(rows.exclude(codename__in=of_django).values_list("codename", "name"))
    assert made == set(Ticket._meta.permissions) == {(one.codename, one.label) for one in roles.STAFF_PERMISSIONS}


@pytest.mark.django_db
def test_a_new_installation_has_exactly_the_groups_of_the_table() -> None:
    assert held() == {name: permissions_of(name) for name in roles.GROUPS}


@pytest.mark.django_db
def test_a_migration_brings_the_groups_back_to_the_table() -> None:
    suspend = Permission.objects.get(codename="suspend_key")
    view = Permission.objects.get(codename="view_ticket")
    Group.objects.get(name=roles.AUDITOR).permissions.add(suspend)
    Group.objects.get(name=roles.LEAD).permissions.clear()
    Group.objects.get(name=roles.SUPPORT).delete()
    Group.objects.create(name="Made in a shell").permissions.add(suspend, view)
    call_command("migrate", verbosity=0)
    assert held() == {name: permissions_of(name) for name in roles.GROUPS} | {
        "Made in a shell": {"support.view_ticket"}
    }


def test_a_lead_may_do_what_support_may_and_an_auditor_looks_only() -> None:
    assert permissions_of(roles.SUPPORT) < permissions_of(roles.LEAD)
    assert all(".view_" in one for one in permissions_of(roles.AUDITOR))


def test_every_permission_of_the_table_is_used_by_a_row_and_held_by_a_group() -> None:
    assert {row.staff for row in roles.OPERATIONS.values() if row.staff} == set(roles.STAFF_PERMISSIONS)
    assert all(one.groups and one.groups <= set(roles.GROUPS) for one in roles.STAFF_PERMISSIONS)


def test_every_button_names_a_row_for_staff_and_every_row_for_staff_has_a_button() -> None:
    assert {button.row for _, button in BUTTONS} == {name for name, row in roles.OPERATIONS.items() if row.staff}


@pytest.mark.parametrize(
    ("model", "button"), BUTTONS, ids=lambda one: getattr(one, "name", getattr(one, "__name__", one))
)
def test_a_button_names_the_row_that_its_service_asks_for(model: type[Model], button: Any, tenant: Tenant) -> None:
    nobody = Actor.staff(User.objects.create_user("kim@kore.example", is_staff=True), signed_in_at=clock.now())
    role = tenant.service_role
    policy = ServiceRolePolicy.objects.create(service_role=role, slot=0, found="not attached")
    obj = {
        Tenant: tenant,
        User: nobody.user,
        ServiceAccount: ServiceAccount(),
        Incident: Incident(service_role=role),
        ServiceRole: role,
        DriftResolution: DriftResolution(policy=policy),
        BulkOperation: BulkOperation(kind="suspend", total=1, requested_by=nobody.user),
    }.get(model) or model(tenant=tenant)
    data: dict[str, Any] = {
        "name": "N",
        "email": "e@new.example",
        "person": "e@new.example",
        "owner_email": "o@new.example",
        "role": "owner",
        "reason": "r",
        "text": "t",
        "text_back": "t",
        "is_internal": False,
        "scopes": roles.SCOPES,
        "tenants": [],
        "has_all_tenants": True,
        "hours": 1,
        "groups": [],
        "slot": 0,
        "topic": "question",
        "subject": "s",
        "step": None,
        "priority": "high",
        "chosen": "",
        "choice": "take_ours",
    }
    with pytest.raises(NotAllowed) as refused:
        button.do(obj, data, nobody)
    assert refused.value.params["permission"] == button.row


WITHOUT_FLAG = {
    "keys_replace": "the form of steps 1 and 2, which asks for keys.register",
    "tenants_decide": "each approval says who may decide it",
    "tenants_withdraw_approval": "each approval says whose it is",
}


def test_every_row_for_some_of_the_members_has_its_button_in_the_portal() -> None:
    pages = "".join(path.read_text() for path in Path(settings.BASE_DIR, "templates").rglob("*.html"))
    asked = set(re.findall(r"\bmay\.(\w+)", pages))
    some = {name.replace(".", "_") for name, row in roles.OPERATIONS.items() if row.members - {Role.AUDITOR}}
    everybody = {name.replace(".", "_") for name, row in roles.OPERATIONS.items() if row.members == roles.ALL}
    assert some - everybody - asked == set(WITHOUT_FLAG)
    assert asked <= some, "a name that there is not shows its button to nobody"


def test_every_page_of_the_back_office_is_one_that_the_groups_may_look_at() -> None:
    shown = {model._meta.label_lower for model in admin.site._registry}
    assert shown - set(roles.VIEWED) == set(), "name the model in VIEWED of tenants/roles.py"
    assert set(roles.VIEWED) - shown == set(), "import its module in SupportAdminConfig.ready"


def test_every_scope_of_a_service_opens_an_operation() -> None:
    assert {row.scope for row in roles.OPERATIONS.values() if row.scope} == set(roles.SCOPES)


def test_nobody_but_the_table_asks_django_for_a_permission_or_spells_a_scope() -> None:
    spelled = re.compile(r"has_perm\(|" + "|".join(f'"{scope}"' for scope in roles.SCOPES))
    found = {
        str(path.relative_to(settings.BASE_DIR))
        for app in ("tenants", "keys", "support")
        for path in Path(settings.BASE_DIR, app).rglob("*.py")
        if "migrations" not in path.parts and spelled.search(path.read_text())
    }
    assert found == {"tenants/roles.py"}


def test_a_mail_does_what_the_table_lets_mails_do_and_asks_for_no_sign_in(tenant: Tenant, alice: Member) -> None:
    by_page, by_mail = Actor.of_member(alice, via="portal"), Actor.of_member(alice, via=roles.MAIL)
    allowed = {name for name in roles.OPERATIONS if roles.allowed(by_page, name, tenant)}
    taken = {name for name in roles.OPERATIONS if roles.allowed(by_mail, name, tenant)}
    assert taken == {"support.answer_ticket"} < allowed
    roles.require(by_mail, "support.answer_ticket", tenant)


def test_what_the_table_calls_fresh_is_refused_to_an_old_sign_in_in_the_service_itself(
    tenant: Tenant, alice: Member, sam: User
) -> None:
    def refused(actor: Actor) -> set[str]:
        found = set()
        for name in roles.OPERATIONS:
            try:
                roles.require(actor, name, tenant)
            except FreshSignInNeeded:
                found.add(name)
            except NotAllowed:
                pass
        return found

    old = clock.now() - timedelta(seconds=settings.FRESH_SIGN_IN_SECONDS + 1)
    for at in (old, None):
        of_owners = {name for name, row in roles.OPERATIONS.items() if row.is_fresh and Role.OWNER in row.members}
        assert refused(Actor.of_member(alice, via="portal", signed_in_at=at)) == of_owners
        assert refused(Actor.staff(sam, signed_in_at=at)) == {
            name for name in roles.OPERATIONS if roles.staff_may(sam, name)
        }
    assert refused(Actor.of_member(alice, via="portal", signed_in_at=clock.now())) == set()
