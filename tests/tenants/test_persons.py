"""The log names people by reference: their names stand in a table of their own, and readers put them back."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from conftest import acting, acting_staff, lines_by
from django.contrib.auth.models import User
from django.test import Client
from django.utils import translation

from byokportal import clock, logs, words
from tenants import audit, log, log_trees, persons, services
from tenants.models import AuditEvent, Member, PersonName, Tenant

pytestmark = pytest.mark.django_db


def rows_of(tenant: Tenant | None) -> str:
    return str(list(AuditEvent.objects.filter(tenant=tenant).values_list("actor", "payload")))


def erase(text: str) -> None:
    PersonName.objects.filter(text=text).update(text="", salt="", erased_at=clock.now())


def lines(client: Client, tenant: Tenant, **query: str) -> list[dict[str, Any]]:
    answer = client.get(f"/api/v1/tenants/{tenant.pk}/events/export", query)
    found = b"".join(answer.streaming_content).decode().splitlines()  # type: ignore[attr-defined]
    return [json.loads(one) for one in found][:-1]


# --- what a line holds ------------------------------------------------------------------------------------------------


def test_no_line_holds_an_address_and_every_reader_sees_it(tenant: Tenant, alice: Member, bob: Member) -> None:
    reason = "Ask bob@acme.example (or carol.o'neil@sub.acme.example), not <dave@acme.example>."
    services.invite(tenant, email="erin@acme.example", role="auditor", actor=acting(alice))
    services.remove_member(bob, reason=reason, actor=acting(alice))
    assert "@" not in rows_of(tenant)
    [event] = lines_by("member:alice@acme.example", "tenants.member.removed")
    assert audit.data_of(event) == {"email": "bob@acme.example", "reason": reason}
    assert audit.sentence(event) == f"bob@acme.example was removed: {reason}"
    assert PersonName.objects.filter(tenant=tenant, text="bob@acme.example").count() == 1
    [joined] = lines_by("member:bob@acme.example", "tenants.member.joined")
    assert audit.data_of(joined)["invited_by"] == "member:alice@acme.example"


@pytest.mark.parametrize(
    "text",
    [
        "arn:aws:iam::111122223333:role/alice@acme.example",
        "https://alice@acme.example/path",
        "a name without one",
        "two@ones",
        "@acme.example",
    ],
)
def test_what_is_no_address_of_a_person_stays(tenant: Tenant, text: str) -> None:
    event = audit.record("keys.key.unreachable", tenant=tenant, actor=audit.SYSTEM, reason=text)
    assert json.loads(event.payload)["data"] == {"reason": text}


def test_names_without_an_address_are_referred_to_as_well(tenant: Tenant) -> None:
    link = audit.Actor(label="link:Kim from the cloud team", kind="link")
    event = audit.record("keys.link.opened", tenant=tenant, actor=link, name="Kim from the cloud team")
    assert "Kim" not in event.actor + event.payload
    assert audit.actor_of(event) == "link:Kim from the cloud team"
    assert audit.sentence(event) == "The link for Kim from the cloud team was opened."
    command = audit.record("tenants.token.minted", tenant=tenant, actor=audit.COMMAND, name="Kim")
    assert (command.actor, audit.data_of(command)) == ("kore:command line", {"name": "Kim"})


def test_a_person_in_two_organisations_is_two_ids_and_one_of_ours_is_one(
    tenant: Tenant, mallory: Member, sam: User
) -> None:
    for one in (tenant, mallory.tenant):
        audit.record("tenants.member.left", tenant=one, actor=acting_staff(sam), email="x@both.example")
        audit.record("tenants.member.left", tenant=one, actor=acting_staff(sam), email="x@both.example")
    ids = PersonName.objects.filter(text="x@both.example").values_list("tenant", flat=True)
    assert sorted(map(str, ids)) == sorted([str(tenant.pk), str(mallory.tenant_id)])
    assert PersonName.objects.get(text="sam@kore.example").tenant is None
    assert len(lines_by("kore:sam@kore.example", "tenants.member.left")) == 4


def test_a_reference_of_another_log_shows_nothing(tenant: Tenant, mallory: Member, alice: Member) -> None:
    theirs = persons.reference(PersonName.objects.filter(tenant=tenant, text=alice.user.email)[0])
    event = audit.record("keys.key.unreachable", tenant=mallory.tenant, actor=audit.SYSTEM, reason=f"who is {theirs}?")
    assert audit.data_of(event)["reason"] == f"who is {theirs}?"
    mine = audit.record("keys.key.unreachable", tenant=tenant, actor=audit.SYSTEM, reason=f"who is {theirs}?")
    assert audit.data_of(mine)["reason"] == "who is alice@acme.example?"


def test_what_was_written_before_is_read_and_found_as_it_stands(tenant: Tenant, alice: Member) -> None:
    payload = audit.canonical({"name": "tenants.member.left", "data": {"email": "old@acme.example"}})
    event = AuditEvent.objects.create(
        tenant=tenant, name="tenants.member.left", actor="member:alice@acme.example", payload=payload, at=clock.now()
    )
    assert (audit.actor_of(event), audit.sentence(event)) == (event.actor, "old@acme.example left the organisation.")
    assert log.page(tenant, log.Wanted(who="alice@acme.example"), "").items[0] == event


# --- reading ----------------------------------------------------------------------------------------------------------


def test_a_page_of_the_log_asks_once_for_all_its_people(
    tenant: Tenant, alice: Member, django_assert_num_queries: Any
) -> None:
    for number in range(30):
        audit.record("tenants.member.left", tenant=tenant, actor=acting(alice), email=f"p{number}@acme.example")
    rows = list(AuditEvent.objects.of(tenant))
    with django_assert_num_queries(1):
        read = [audit.actor_of(one) + audit.sentence(one) for one in rows]
    assert read[-1] == "member:alice@acme.examplep29@acme.example left the organisation."
    with django_assert_num_queries(2):
        assert len(log.page(tenant, log.Wanted(text="p7@acme"), "").items) == 1


def test_lines_are_found_by_the_person_in_pages_and_files(
    tenant: Tenant, alice: Member, bob: Member, api_of: Callable[[Member], Client]
) -> None:
    event = audit.record("keys.key.asked_again", tenant=tenant, actor=acting(bob))
    for who in ("bob@acme.example", "member:bob@acme.example", event.actor):
        found = lines(api_of(alice), tenant, who=who)
        assert event.pk in {one["id"] for one in found}, who
        assert {one["actor"] for one in found} == {"member:bob@acme.example"}, who
    erase("bob@acme.example")
    assert not lines(api_of(alice), tenant, who="bob@acme.example")
    label = audit.actor_of(AuditEvent.objects.get(pk=event.pk))
    assert event.pk in {one["id"] for one in lines(api_of(alice), tenant, who=label)}
    assert event.pk in {one["id"] for one in lines(api_of(alice), tenant, who=words.person(label))}


# --- erased -----------------------------------------------------------------------------------------------------------


def test_an_erased_person_is_nobody_any_more_and_still_told_from_another(tenant: Tenant, alice: Member) -> None:
    for name in ("eve@acme.example", "dan@acme.example"):
        audit.record("tenants.member.left", tenant=tenant, actor=acting(alice), email=name)
        erase(name)
    one, two = map(audit.sentence, AuditEvent.objects.filter(name="tenants.member.left").order_by("pk"))
    assert one != two and one.startswith("an erased person (") and one.endswith(") left the organisation.")
    with translation.override("de"):
        german = audit.sentence(AuditEvent.objects.filter(name="tenants.member.left").order_by("pk")[0])
    assert "gelöschte Person" in german and one.split("(")[1][:8] in german
    again = audit.record("tenants.member.left", tenant=tenant, actor=acting(alice), email="eve@acme.example")
    assert "eve@acme.example" in audit.sentence(again), "who comes back is somebody new to the log"


def test_erasing_changes_no_leaf_and_the_export_proves_who_is_left(
    tenant: Tenant, alice: Member, api_of: Callable[[Member], Client]
) -> None:
    audit.record("tenants.member.left", tenant=tenant, actor=acting(alice), email="eve@acme.example")
    log_trees.seal()
    sealed = AuditEvent.objects.exclude(seal="").order_by("pk")
    seals = list(sealed.values_list("pk", "seal"))
    [before] = lines(api_of(alice), tenant, q="eve@acme.example")
    assert {one["name"] for one in before["persons"].values()} == {"alice@acme.example", "eve@acme.example"}
    for reference, proof in before["persons"].items():
        assert persons.commitment(proof["name"], proof["salt"]) == reference
        assert f"{{p:{reference}}}" in before["payload"]
    erase("eve@acme.example")
    [after] = [one for one in lines(api_of(alice), tenant) if one["id"] == before["id"]]
    assert list(sealed.filter(pk__lte=seals[-1][0]).values_list("pk", "seal")) == seals
    assert (after["payload"], after["salt"], after["seal"]) == (before["payload"], before["salt"], before["seal"])
    assert "eve@" not in json.dumps(after) and None in after["persons"].values()
    assert after["data"]["email"].startswith("an erased person (")
    with pytest.raises(ValueError, match="changed"):
        persons.proven({pk: {**one, "name": "x"} for pk, one in before["persons"].items()}, tenant.pk)


# --- the lines that processes print -----------------------------------------------------------------------------------


def test_no_printed_line_names_a_person(caplog: pytest.LogCaptureFixture) -> None:
    for text in (
        "GET /api/v1/tenants/7/events?who=member%3Aalice%40acme.example&q=1",
        "mail to <alice@acme.example> bounced",
        'filter userName eq "alice@acme.example"',
    ):
        line = logs.render_json(None, "", {"event": text})
        assert "alice" not in line and "acme" not in line and "[address]" in line
    arn = "arn:aws:iam::111122223333:role/alice@acme.example"
    assert arn in logs.render_json(None, "", {"event": arn})
