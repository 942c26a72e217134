"""The fleet: its rows follow the log, are found by what one has in hand, filtered, paged, kept as views, exported."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from datetime import timedelta

import pytest
from conftest import acting, lines_by
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client

from byokportal import clock
from keys import services as key_services
from keys.models import KeyRegistration
from support import seeding
from support.fleet import counting, heartbeats, projection, search
from support.fleet.filters import Filters
from support.models import FleetFigures, FleetRow, Heartbeat, SavedView
from tenants.models import AuditEvent, Member, ServiceRole, Tenant

HOSTILE = ("\x00", "[" * 100_000, "9" * 400, "' OR 1=1 --", "%", "=cmd()", "ünïcode")


@pytest.fixture
def desk(sam: User, browser_of: Callable[[User], Client]) -> Client:
    return browser_of(sam)


@pytest.fixture
def fleet(db: None) -> list[FleetRow]:
    seeding.seed(60, uses_each=0)
    return list(FleetRow.objects.select_related("tenant"))


def test_a_row_follows_the_log(tenant: Tenant, alice: Member, active: KeyRegistration) -> None:
    projection.follow()
    row = FleetRow.objects.get(pk=tenant.pk)
    assert (row.step, row.state, row.waits_for, row.last_test) == (0, "active", "nobody", "pass")
    assert (row.region, row.account, row.cause) == ("eu-central-1", "111122223333", "")
    key_services.suspend(tenant, reason="exercise", actor=acting(alice))
    projection.follow()
    row.refresh_from_db()
    assert (row.state, row.waits_for) == ("suspended_by_tenant", "tenant")


def test_a_new_tenant_waits_for_its_key_and_a_canary_has_no_row(tenant: Tenant) -> None:
    projection.follow()
    row = FleetRow.objects.get(pk=tenant.pk)
    assert (row.step, row.state, row.cause) == (1, "waits_for_tenant", "no_key_yet")
    Tenant.objects.create(name="Ours", service_role=tenant.service_role, is_canary=True)
    assert projection.refresh(Tenant.objects.values_list("pk", flat=True)) == 0
    assert FleetRow.objects.count() == 1


def test_a_line_that_lands_late_is_not_passed_over(tenant: Tenant, alice: Member) -> None:
    projection.follow()
    assert FleetFigures.objects.get().through == 0, "all lines are young: one with a lower id may still be committed"
    FleetRow.objects.update(state="active")
    projection.follow()
    assert FleetRow.objects.get().state == "waits_for_tenant", "read again until the cursor has passed"


def test_what_one_has_in_hand_leads_to_its_tenant(desk: Client, fleet: list[FleetRow]) -> None:
    row = next(one for one in fleet if one.state == "active")
    registration = row.tenant.registrations.get()
    check = row.tenant.check_results.first()
    event = AuditEvent.objects.of(row.tenant).first()
    assert check is not None and event is not None
    hands = [
        row.name,
        str(row.pk),
        str(registration.pk),
        registration.key_arn,
        registration.role_arn,
        row.account,
        row.key_id,
        row.tenant.members.get().user.email,
        check.evidence["request_id"],
        event.request_id,
    ]
    for hand in hands:
        assert [one.pk for one in search.rows(hand)] == [row.pk], hand
        answer = desk.get("/admin/fleet/", {"q": hand})
        assert answer.status_code == 302 and str(row.pk) in answer["Location"], hand


@pytest.mark.parametrize(
    "name", ["q", "step", "turn", "state", "cause", "age", "region", "account", "role", "test", "after"]
)
def test_whatever_an_address_asks_gets_a_page(desk: Client, name: str, fleet: list[FleetRow]) -> None:
    for value in HOSTILE:
        assert desk.get("/admin/fleet/", {name: value[:3_000]}).status_code == 200, (name, value[:20])


def test_each_filter_shows_only_what_is_asked(fleet: list[FleetRow]) -> None:
    for name, column in (("step", "step"), ("state", "state"), ("turn", "waits_for"), ("region", "region")):
        value = getattr(fleet[0], column)
        if value == "":
            continue
        found = list(Filters.of({name: str(value)}).rows())
        assert found == sorted(
            (one for one in fleet if getattr(one, column) == value), key=lambda one: (one.name, one.pk)
        )


def test_pages_hold_every_tenant_once(desk: Client, fleet: list[FleetRow]) -> None:
    filters, seen = Filters.of({}), []
    while True:
        page, more = filters.page()
        seen += [row.pk for row in page]
        if not more:
            break
        filters = Filters.of({"after": str(page[-1].pk)})
    assert len(seen) == len(set(seen)) == len(fleet)
    assert "Next" in desk.get("/admin/fleet/").content.decode()


def test_a_view_is_kept_replaced_and_removed_by_its_person_only(desk: Client, sam: User, fleet: list[FleetRow]) -> None:
    for query in ("step=2&nonsense=1", "step=3"):
        desk.post("/admin/fleet/views/", {"name": "Mine", "query": query})
    view = SavedView.objects.get()
    assert (view.user, view.name, view.query) == (sam, "Mine", "step=3")
    assert "Mine" in desk.get("/admin/fleet/").content.decode()
    refused = desk.post("/admin/fleet/views/", {"name": "All", "query": ""}, follow=True)
    assert "Choose a filter first" in refused.content.decode()
    assert not view.is_shared
    other = User.objects.create_user("kim@kore.example", "kim@kore.example", "x", is_staff=True)
    SavedView.objects.filter(pk=view.pk).update(user=other)
    desk.post(f"/admin/fleet/views/{view.pk}/remove/")
    assert SavedView.objects.filter(pk=view.pk).exists()
    assert "Mine" not in desk.get("/admin/fleet/").content.decode(), "it is another person's own now"
    SavedView.objects.filter(pk=view.pk).update(is_shared=True)
    assert "of kim@kore.example" in desk.get("/admin/fleet/").content.decode()
    desk.post("/admin/fleet/views/", {"name": "For all", "query": "step=3", "is_shared": "1"})
    assert SavedView.objects.get(user=sam).is_shared


def test_the_csv_runs_no_formula_and_our_log_says_who_took_it(desk: Client, fleet: list[FleetRow]) -> None:
    FleetRow.objects.filter(pk=fleet[0].pk).update(name="=HYPERLINK(1)")
    answer = desk.get("/admin/fleet/csv/", {"q": ""})
    text = b"".join(answer.streaming_content).decode("utf-8-sig")  # type: ignore[attr-defined]
    lines = list(csv.reader(io.StringIO(text)))
    assert len(lines) == len(fleet) + 2
    assert lines[-1][:2] == ["#complete", str(len(fleet))]
    assert "'=HYPERLINK(1)" in {line[1] for line in lines}
    assert not any(cell.startswith(("=", "+", "-", "@")) for line in lines for cell in line)
    assert len(lines_by("kore:sam@kore.example", "support.fleet.exported")) == 1


def test_a_key_that_aws_deletes_is_on_the_desk_whatever_else_waits(desk: Client, fleet: list[FleetRow]) -> None:
    FleetRow.objects.update(waits_for="tenant", deletes_at=None)
    pks = list(FleetRow.objects.order_by("pk").values_list("pk", flat=True))
    long_ago, now = clock.now() - timedelta(days=90), clock.now()
    FleetRow.objects.filter(pk__in=pks).update(
        waits_for="kore", state="suspended_by_kore", since=long_ago, deletes_at=None
    )
    waiting = desk.get("/admin/").context["waiting"]
    assert not [one for one in waiting if "Suspended by us" in one.what], (
        "what we stopped on purpose is late for nobody"
    )
    FleetRow.objects.filter(pk__in=pks[:25]).update(state="cannot_tell", since=long_ago)
    FleetRow.objects.filter(pk__in=pks[25:40]).update(since=now, deletes_at=now + timedelta(days=9))
    FleetRow.objects.filter(pk=pks[40]).update(since=now, deletes_at=now + timedelta(days=7))
    waiting = desk.get("/admin/").context["waiting"]
    assert len(waiting) == 25
    called = [one for one in waiting if one.button == "Call"]
    assert len(called) == 10 and called[0].due == now + timedelta(days=7), "the nearest first"


def test_the_desk_shows_the_figures_that_the_worker_counted(desk: Client, fleet: list[FleetRow]) -> None:
    counted = counting.count()
    assert counted["all"] == len(fleet) == sum(counted["states"].values())
    assert counted["funnel"]["steps"][0]["reached"] == counted["funnel"]["begun"]
    page = desk.get("/admin/").content.decode()
    for words in ("Through the six steps", "Where tenants stand", "byok-seeded-000", "Trust policy", "not seen yet"):
        assert words in page
    heartbeats.beat("beat", "here:1")
    heartbeats.beat("checks", "there@1")
    assert "1 alive" in desk.get("/admin/").content.decode()
    Heartbeat.objects.update(seen_at=clock.now() - heartbeats.GONE_AFTER * 2)
    assert "gone" in desk.get("/admin/").content.decode()


def test_a_page_of_a_seeded_tenant_shows_where_it_stands(desk: Client, fleet: list[FleetRow]) -> None:
    for row in {one.state: one for one in fleet}.values():
        page = desk.get(f"/admin/tenants/tenant/{row.pk}/change/").content.decode()
        assert row.get_state_display() in page and row.name in page
        for show in ("tests", "ours", "key", "people", "tickets", "nonsense"):
            address = f"/admin/tenants/tenant/{row.pk}/change/"
            assert desk.get(address, {"show": show, "before": "2026-01-01T00:00:00+00:00"}).status_code == 200
            assert desk.get(address, {"show": show, "before": "\x00"}).status_code == 200


def test_what_they_sent_is_read_in_place_and_kept_nowhere(desk: Client, fleet: list[FleetRow]) -> None:
    address = f"/admin/tenants/tenant/{fleet[0].pk}/explain/"
    error = (
        "An error occurred (AccessDenied) when calling the AssumeRole operation: User: arn:aws:sts::999900001111:"
        "assumed-role/byok-service-1/x is not authorized to perform: sts:AssumeRole on resource: "
        "arn:aws:iam::111122223333:role/AIforWorkByokAccessRole"
    )
    policy = (
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}]}'
    )
    assert "trust policy" in desk.post(address, {"text": error}).content.decode()
    assert "lets others in" in desk.post(address, {"text": policy}).content.decode()
    for text in HOSTILE:
        assert desk.post(address, {"text": text}).status_code == 200
    secret = "AKIA" + "A" * 16 + " " + "s" * 40
    assert "A" * 16 not in desk.post(address, {"text": f"aws_access_key_id = {secret}"}).content.decode()


def test_seeding_is_refused_where_customers_are(settings: object, db: None) -> None:
    settings.AWS_MODE = "real"  # type: ignore[attr-defined]
    with pytest.raises(CommandError, match="AWS_MODE=local"):
        call_command("seed_fleet", "--tenants", "1")
    assert not Tenant.objects.exists() and not ServiceRole.objects.exists()
