"""Our people on one page: groups and permissions from the one table, sign-ins, looks, the quarterly review."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from conftest import acting_staff, lines_by
from django.apps import apps
from django.contrib.auth.models import Group, Permission, User
from django.test import Client

from byokportal import clock
from support import groups, services, staff
from support.fleet import counting
from support.models import StaffReview
from tenants import audit, persons, roles
from tenants import services as tenant_services
from tenants.audit import COMMAND
from tenants.models import AuditEvent, Member, Tenant

PAGE, FILE = "/admin/people/", "/admin/people/export/"


@pytest.fixture
def desk(sam: User, browser_of: Callable[[User], Client]) -> Client:
    return browser_of(sam)


@pytest.fixture
def ada(db: None) -> User:
    """An auditor of ours."""
    user = User.objects.create_user("ada@kore.example", "ada@kore.example", "x", is_staff=True)
    user.groups.add(Group.objects.get(name="Auditor"))
    return user


def test_the_page_shows_the_table_and_everybody_of_ours(
    desk: Client, sam: User, ada: User, alice: Member, tenant: Tenant
) -> None:
    services.record_view(tenant, actor=acting_staff(ada))
    TOTP.activate(ada, generate_totp_secret())
    page = desk.get(PAGE).content.decode()
    for words in ("ada@kore.example", "An authenticator app", "Acme Bank", "none yet", *roles.GROUPS):
        assert words in page, words
    for permission in roles.STAFF_PERMISSIONS:
        assert permission.label.replace("'", "&#x27;") in page
    assert "alice@acme.example" not in page, "customers’ members are no people of ours"
    people = {one.user.email: one for one in staff.people()}
    assert people["ada@kore.example"].permissions == ()
    assert len(people["sam@kore.example"].permissions) == len(roles.STAFF_PERMISSIONS)
    looks = desk.get(PAGE, {"looks": str(ada.pk)}).content.decode()
    assert "looked at in a quarter" in looks and "1 time," in looks
    for value in ("\x00", "9" * 400, "nobody"):
        assert desk.get(PAGE, {"looks": value}).status_code == 200


def test_the_files_hold_everybody_and_our_log_says_who_took_them(
    desk: Client, sam: User, ada: User, tenant: Tenant
) -> None:
    User.objects.create_user("=cmd()@kore.example", "=cmd()@kore.example", is_staff=True)
    services.record_view(tenant, actor=acting_staff(ada))
    lines = list(csv.reader(io.StringIO(desk.get(f"{FILE}csv/").content.decode("utf-8-sig"))))
    assert [line[0] for line in lines[1:]] == [
        "'=cmd()@kore.example",
        "ada@kore.example",
        "sam@kore.example",
        "#complete",
    ]
    found = json.loads(desk.get(f"{FILE}json/").content)
    by_mail = {one["email"]: one for one in found["people"]}
    assert by_mail["ada@kore.example"]["looks"][0]["organisation"] == tenant.name
    assert by_mail["sam@kore.example"]["groups"] == ["Support lead"] and found["complete"]
    assert set(found["permissions"]) == {one.label for one in roles.STAFF_PERMISSIONS}
    assert len(lines_by("kore:sam@kore.example", "support.staff.exported")) == 2
    assert desk.get(f"{FILE}exe/").status_code == 404


def test_who_looked_at_more_than_a_file_names_is_not_taken_for_less(
    desk: Client, ada: User, tenant: Tenant, mallory: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staff, "LOOKED_AT", 2)
    namesake = tenant_services.create_tenant(tenant.name, owner_email="o@other.example", actor=COMMAND)
    for one in (tenant, tenant, namesake):
        audit.record("tenants.tenant.viewed", tenant=one, actor=acting_staff(ada), target=one)

    def hers() -> dict[str, Any]:
        found = json.loads(desk.get(f"{FILE}json/").content)
        return {**next(one for one in found["people"] if one["email"] == ada.email), "complete": found["complete"]}

    assert [look["count"] for look in hers()["looks"]] == [1, 2], "two organisations of one name are two"
    assert (hers()["looked_at"], hers()["looks_complete"], hers()["complete"]) == (2, True, True)
    services.record_view(mallory.tenant, actor=acting_staff(ada))
    assert (hers()["looked_at"], hers()["looks_complete"], hers()["complete"]) == (3, False, False)
    lines = list(csv.DictReader(io.StringIO(desk.get(f"{FILE}csv/").content.decode("utf-8-sig"))))
    assert {one["mail address"]: one["organisations looked at in a quarter"] for one in lines}[ada.email] == "3"
    assert "And 1 more: 3 in all." in desk.get(PAGE, {"looks": str(ada.pk)}).content.decode()


def test_a_permission_of_one_person_alone_is_seen_and_ends_with_the_next_migrate(desk: Client, ada: User) -> None:
    assert "nobody holds a permission on their own" in desk.get(PAGE).content.decode()
    for codename in ("suspend_key", "add_session"):
        ada.user_permissions.add(Permission.objects.get(codename=codename))
    page = desk.get(PAGE).content.decode()
    assert "nobody holds a permission on their own" not in page and "ada@kore.example holds on their own" in page
    (hers,) = [one for one in json.loads(desk.get(f"{FILE}json/").content)["people"] if one["email"] == ada.email]
    assert hers["permissions"] == ["Can suspend a tenant's key"]
    assert hers["permissions_of_their_own"] == ["Can add session", "Can suspend a tenant's key"]
    assert "Can suspend a tenant's key" in desk.get(f"{FILE}csv/").content.decode()
    groups.make(apps.get_app_config("support"), using="default")
    assert not roles.staff_may(User.objects.get(pk=ada.pk), "keys.suspend")
    (person,) = [one for one in staff.people() if one.user == ada]
    assert (person.permissions, person.own) == ((), ("Can add session",)), "what is no operation of ours is shown"


def test_a_review_is_recorded_and_asked_for_again_after_a_quarter(
    desk: Client, sam: User, ada: User, browser_of: Callable[[User], Client]
) -> None:
    counting.count()
    assert "Look at who of us may do what" not in desk.get("/admin/").content.decode()
    User.objects.update(date_joined=clock.now() - staff.QUARTER - timedelta(days=1))
    counting.count()
    assert "Look at who of us may do what" in desk.get("/admin/").content.decode()
    assert "The quarterly review is due since" in desk.get(PAGE).content.decode()
    address = "/admin/auth/user/operations/record-review/"
    assert browser_of(ada).post(address, {"reason": "r"}).status_code == 403
    assert desk.post(address, {"reason": ""}).status_code == 200 and not StaffReview.objects.exists()
    assert desk.post(address, {"reason": "All as it should be"}).status_code == 302
    review = StaffReview.objects.get()
    assert (review.reviewed_by, review.people, review.found) == (sam, 2, "All as it should be")
    assert AuditEvent.objects.filter(name="support.staff.reviewed", tenant=None).count() == 1
    counting.count()
    assert "Look at who of us may do what" not in desk.get("/admin/").content.decode()
    assert "All as it should be" in browser_of(ada).get(PAGE).content.decode()


def test_a_look_is_found_by_its_index(desk: Client, ada: User, tenant: Tenant) -> None:
    services.record_view(tenant, actor=acting_staff(ada))
    labels = persons.labels_of([persons.STAFF], ada.username, None)
    looks = AuditEvent.objects.filter(name=staff.VIEWED, actor__in=labels[1:]).order_by("-at")
    assert len(looks) == 1
    assert "tenants_event_looks" in looks.explain()


def test_who_is_no_staff_sees_none_of_it(alice: Member, browser_of: Callable[[Member], Client]) -> None:
    for path in (PAGE, f"{FILE}csv/", f"{FILE}json/"):
        assert browser_of(alice).get(path).status_code in {302, 403}
