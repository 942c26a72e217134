"""After a restore without its log an organisation gets no data keys until an owner, or two leads, say that it may."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from conftest import a_log_stream, a_webhook, acting, acting_staff, invited, let_in
from django.contrib.auth.models import Group, User
from django.core import mail
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.test import Client
from receiver import Receiver

from byokportal import beat, clock
from byokportal.errors import DomainError, NotAllowed, NotFound
from keys import datakeys, errors, holds, services
from keys.datakeys import Engine, admission
from keys.models import DatabaseAdmission, KeyRegistration, RestoreHold
from support import backlog, follow, mailed, notices
from support import services as support_services
from support.webhooks import deliveries
from tenants import audit, head_mailings, log_trees
from tenants import services as tenant_services
from tenants.errors import FreshSignInNeeded
from tenants.log_streams import sending as log_streams
from tenants.models import (
    AuditEvent,
    Directory,
    HeadMailing,
    LogStream,
    Member,
    ServiceAccount,
    SignOnConnection,
    Tenant,
)

Probe = Callable[[KeyRegistration], KeyRegistration]


def check(state: str = "restored", export: str = "") -> dict[str, Any]:
    out = StringIO()
    call_command("restore_check", reason="the disk died", state=state, export=[export] if export else [], stdout=out)
    return dict(json.loads(out.getvalue()))


def admit() -> None:
    call_command("admit_database", reason="looked at", stdout=StringIO())
    datakeys.start_anew()


def tried(tenant: Tenant, engine: Engine | None = None) -> str:
    engine = engine or Engine(now=time.time, monotonic=time.time)
    try:
        datakeys.generate(tenant, [{}], caller="tests", request_id="r", engine=engine)
    except DomainError as error:
        return error.code
    return "made"


def confirm(tenant: Tenant, owner: Member) -> RestoreHold:
    return services.confirm_restore(tenant, digest=services.review_of(tenant).digest, actor=acting(owner))


def names(tenant: Tenant) -> list[str]:
    mine = AuditEvent.objects.of(tenant).filter(name__startswith="keys.restore.").order_by("pk")
    return [name.rpartition(".")[2] for name in mine.values_list("name", flat=True)]


@pytest.fixture
def held(tenant: Tenant, active: KeyRegistration) -> RestoreHold:
    """Acme Bank on hold, in a database that was admitted."""
    running = Engine(now=time.time, monotonic=time.time)
    assert tried(tenant, running) == "made"
    assert str(tenant.pk) in check()["held"]
    running.snapshots.look()
    assert len(running.keys) == 0, "what a process holds is dropped too"
    assert tried(tenant, running) == "restore_not_confirmed"
    admit()
    return RestoreHold.objects.get(tenant=tenant)


@pytest.fixture
def lee(db: None) -> User:
    """A second support lead."""
    user = User.objects.create_user("lee@kore.example", "lee@kore.example", "x", is_staff=True)
    user.groups.add(Group.objects.get(name="Support lead"))
    return user


def test_an_owner_confirms_and_a_good_probe_lets_it_have_keys(
    tenant: Tenant, alice: Member, active: KeyRegistration, held: RestoreHold, probe_now: Probe
) -> None:
    assert tried(tenant) == "restore_not_confirmed"
    assert holds.end_proven() == 0, "nobody has confirmed"
    assert confirm(tenant, alice).status == "confirmed"
    assert holds.end_proven() == 0, "no probe since the admission"
    assert tried(tenant) == "restore_not_confirmed"
    engine = Engine(now=time.time, monotonic=time.time)
    assert tried(tenant, engine) == "restore_not_confirmed"
    probe_now(active)
    assert holds.end_proven() == 1
    assert (tried(tenant), tried(tenant, engine)) == ("made", "made")
    held.refresh_from_db()
    assert (held.status, held.ended_as, held.ended_by) == ("ended", "owner", "member:alice@acme.example")
    assert names(tenant) == ["held", "confirmed", "ended"]
    with pytest.raises(errors.HoldOver):
        confirm(tenant, alice)


def test_those_that_cannot_be_proven_yet_keep_nobody_waiting(
    tenant: Tenant,
    alice: Member,
    mallory: Member,
    active: KeyRegistration,
    held: RestoreHold,
    probe_now: Probe,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(holds, "CHUNK", 1)
    admission = DatabaseAdmission.objects.filter(is_by_person=True).latest("admitted_at")
    earlier = {"held_at": admission.admitted_at + timedelta(days=1), "confirmed_at": admission.admitted_at}
    assert RestoreHold.objects.of(mallory.tenant).update(status="confirmed", **earlier) == 1
    confirm(tenant, alice)
    probe_now(active)
    assert holds.end_proven() == 1
    assert list(RestoreHold.objects.confirmed().values_list("tenant", flat=True)) == [mallory.tenant_id]


def test_a_probe_that_was_good_first_ends_it_with_the_confirmation(
    tenant: Tenant, alice: Member, active: KeyRegistration, held: RestoreHold, probe_now: Probe
) -> None:
    probe_now(active)
    assert confirm(tenant, alice).status == "ended"
    assert tried(tenant) == "made"


def test_a_good_probe_from_before_the_admission_proves_nothing(
    tenant: Tenant, alice: Member, active: KeyRegistration, held: RestoreHold, probe_now: Probe
) -> None:
    probe_now(active)
    admit()
    assert confirm(tenant, alice).status == "confirmed"
    assert tried(tenant) == "restore_not_confirmed"


def test_a_key_that_aws_refuses_does_not_come_back_by_a_confirmation(
    tenant: Tenant, alice: Member, active: KeyRegistration, held: RestoreHold, probe_now: Probe, customer: Any
) -> None:
    customer.kms.disable_key(KeyId=customer.key_arn)
    probe_now(active)
    confirm(tenant, alice)
    assert holds.end_proven() == 0
    assert tried(tenant) == "restore_not_confirmed"


def test_a_suspended_key_stays_suspended_and_ends_the_hold_once_it_is_resumed(
    tenant: Tenant, alice: Member, active: KeyRegistration, held: RestoreHold, probe_now: Probe
) -> None:
    services.suspend(tenant, reason="stolen laptop", actor=acting(alice))
    confirm(tenant, alice)
    probe_now(active)
    assert holds.end_proven() == 0
    services.resume(tenant, reason="found", actor=acting(alice))
    probe_now(active)
    assert holds.end_proven() == 1


def test_where_no_key_serves_the_confirmation_is_enough(mallory: Member) -> None:
    check()
    admit()
    assert confirm(mallory.tenant, mallory).status == "ended"


def test_what_is_confirmed_is_what_was_read(
    tenant: Tenant, alice: Member, held: RestoreHold, service: ServiceAccount
) -> None:
    read = services.review_of(tenant)
    assert [one.user.email for one in read.members] == ["alice@acme.example"]
    assert [one.name for one in read.service_accounts] == ["search"]
    for change in (
        lambda: tenant_services.invite(tenant, email="eve@acme.example", role="auditor", actor=acting(alice)),
        lambda: tenant_services.mint_token(alice, name="t", actor=acting(alice)),
        lambda: tenant_services.disable_service_account(service, reason="r", actor=audit.COMMAND),
        lambda: services.suspend(tenant, reason="r", actor=acting(alice)),
    ):
        change()
        with pytest.raises(errors.ReviewChanged):
            services.confirm_restore(tenant, digest=read.digest, actor=acting(alice))
        read = services.review_of(tenant)
    services.confirm_restore(tenant, digest=read.digest, actor=acting(alice))


def test_only_an_owner_who_has_just_signed_in_confirms(
    tenant: Tenant, alice: Member, bob: Member, mallory: Member, sam: User, held: RestoreHold
) -> None:
    digest = services.review_of(tenant).digest
    carol = invited(tenant, "carol@acme.example", "admin")
    token, _ = tenant_services.mint_token(
        alice, name="t", permissions={"operate", "setup", "read"}, days=30, may_change_serving_key=True,
        actor=acting(alice),
    )  # fmt: skip
    for actor, refusal in (
        (acting(bob), NotAllowed),
        (acting(carol), NotAllowed),
        (acting(mallory), NotFound),
        (acting_staff(sam), NotAllowed),
        (audit.Actor.of_member(alice, via="api", token=token), NotAllowed),
        (audit.Actor.of_member(alice, via="portal", signed_in_at=None), FreshSignInNeeded),
    ):
        with pytest.raises(refusal):
            services.confirm_restore(tenant, digest=digest, actor=actor)
    held.refresh_from_db()
    assert held.status == "held"


def test_two_leads_may_do_without_and_every_owner_hears_of_it(
    tenant: Tenant, alice: Member, held: RestoreHold, sam: User, lee: User
) -> None:
    ann = invited(tenant, "ann@acme.example", "owner")
    mailed.choose(ann, [])
    with pytest.raises(errors.HoldOver):
        services.approve_release(held, reason="nobody asked", actor=acting_staff(lee))
    services.request_release(held, reason="no owner answers", actor=acting_staff(sam))
    with pytest.raises(errors.ReleaseAsked):
        services.request_release(held, reason="again", actor=acting_staff(lee))
    with pytest.raises(errors.SecondLeadNeeded):
        services.approve_release(held, reason="I say so", actor=acting_staff(sam))
    let_in(lee, by=acting_staff(sam))
    with pytest.raises(errors.SecondLeadNeeded):
        services.approve_release(held, reason="whom I made", actor=acting_staff(lee))
    let_in(lee, by=audit.COMMAND)
    assert tried(tenant) == "restore_not_confirmed"
    services.refuse_release(held, reason="not yet", actor=acting_staff(lee))
    services.request_release(held, reason="still nobody", actor=acting_staff(sam))
    services.approve_release(held, reason="a ward waits", actor=acting_staff(lee))
    assert tried(tenant) == "made"
    held.refresh_from_db()
    assert held.ended_as == "leads" and "sam@kore.example" in held.ended_by and "lee@kore.example" in held.ended_by
    mail.outbox.clear()
    while follow.follow():
        pass
    notices.send_due()
    told = [one for one in mail.outbox if one.subject.endswith(": keys are given out again")]
    assert sorted(one.to[0] for one in told) == ["alice@acme.example", "ann@acme.example"]
    assert all("still nobody" in one.body and "a ward waits" in one.body for one in told)


def test_support_without_the_permission_releases_nothing(held: RestoreHold, alice: Member, db: None) -> None:
    kim = User.objects.create_user("kim@kore.example", is_staff=True)
    kim.groups.add(Group.objects.get(name="Support"))
    for actor in (acting_staff(kim), acting(alice)):
        for operation in (services.request_release, services.approve_release, services.refuse_release):
            with pytest.raises(NotAllowed):
                operation(held, reason="r", actor=actor)


def test_the_owners_are_told_at_once_and_what_was_lost(tenant: Tenant, alice: Member, held: RestoreHold) -> None:
    mail.outbox.clear()
    while follow.follow():
        pass
    notices.send_due()
    (told,) = [one for one in mail.outbox if "before keys are given out again" in one.subject]
    assert told.to == ["alice@acme.example"]
    assert f"/tenants/{tenant.pk}/key/confirm-restore/" in told.body
    assert held.lost_from is not None and holds.minute(held.lost_from) in told.body


def test_services_and_automation_are_told_by_a_problem_of_its_own(
    tenant: Tenant, alice: Member, held: RestoreHold, service: ServiceAccount, api_of: Callable[[Any], Client]
) -> None:
    answer = api_of(service).post(f"/api/v1/tenants/{tenant.pk}/data-keys", "{}", content_type="application/json")
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (423, "restore_not_confirmed")
    assert (problem["whose_turn"], problem["retryable"]) == ("tenant", False)
    state = api_of(alice).get(f"/api/v1/tenants/{tenant.pk}/key").json()
    assert state["held_since"] and state["whose_turn"] == "tenant"


def test_the_page_shows_what_is_confirmed_and_takes_it(
    tenant: Tenant, alice: Member, bob: Member, held: RestoreHold, browser_of: Callable[..., Client]
) -> None:
    where = f"/tenants/{tenant.pk}/key/confirm-restore/"
    owner, page = browser_of(alice), None
    for _ in range(2):
        page = owner.get(where)
        assert "alice@acme.example" in page.content.decode() and "bob@acme.example" in page.content.decode()
    assert where in owner.get(f"/tenants/{tenant.pk}/key/").content.decode()
    assert 'name="sure"' not in browser_of(bob).get(where).content.decode()
    assert browser_of(bob).post(where, {"digest": "0" * 64, "sure": "on"}).status_code == 403
    unread = owner.post(where, {"digest": "0" * 64, "sure": "on"})
    assert unread.status_code == 200 and "changed since you opened the page" in unread.content.decode()
    digest = services.review_of(tenant).digest
    assert digest in unread.content.decode()
    stale = browser_of(alice, is_fresh=False).post(where, {"digest": digest, "sure": "on"})
    assert stale.status_code == 302 and "reauthenticate" in stale["Location"]
    assert owner.post(where, {"digest": digest, "sure": "on"}).status_code == 302
    held.refresh_from_db()
    assert held.status == "confirmed"
    assert "alice@acme.example" in owner.get(where).content.decode()


def test_the_back_office_asks_two(
    tenant: Tenant, held: RestoreHold, sam: User, lee: User, browser_of: Callable[..., Client]
) -> None:
    def press(who: User, name: str) -> int:
        where = f"/admin/keys/restorehold/{held.pk}/operations/{name}/"
        return int(browser_of(who).post(where, {"reason": "no owner answers"}).status_code)

    assert browser_of(sam).get(f"/admin/keys/restorehold/{held.pk}/change/").status_code == 200
    assert press(sam, "request-release") == 302
    press(sam, "approve-release")
    held.refresh_from_db()
    assert held.status == "held"
    assert press(lee, "approve-release") == 302
    held.refresh_from_db()
    assert held.ended_as == "leads"


def test_it_is_safe_to_repeat(tenant: Tenant, alice: Member, active: KeyRegistration, probe_now: Probe) -> None:
    assert check()["held"] == [str(tenant.pk)]
    again = check()
    assert (again["held"], again["unchecked"]) == ([], [str(tenant.pk)])
    assert RestoreHold.objects.count() == 1
    admit()
    probe_now(active)
    confirm(tenant, alice)
    assert check()["held"] == [str(tenant.pk)], "it came back once more"
    with pytest.raises(IntegrityError), transaction.atomic():
        RestoreHold.objects.create(tenant=tenant)


def test_what_was_confirmed_of_one_database_is_not_of_the_next(
    tenant: Tenant, alice: Member, active: KeyRegistration, held: RestoreHold, probe_now: Probe
) -> None:
    confirm(tenant, alice)
    assert check()["held"] == [str(tenant.pk)]
    admit()
    probe_now(active)
    assert holds.end_proven() == 0
    assert tried(tenant) == "restore_not_confirmed"
    assert confirm(tenant, alice).status == "ended"


def test_a_person_says_how_a_database_came_back_that_looks_like_the_admitted_one(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    datakeys.start_anew()
    assert tried(tenant) == "key_not_active", "it admits itself"
    with pytest.raises(CommandError, match="It is the database that was admitted"):
        check("")
    assert check("admitted")["held"] == [] and check("last-commit")["held"] == []
    assert not RestoreHold.objects.exists()
    was = admission.incarnation()
    monkeypatch.setitem(admission.INCARNATION, connection.vendor, f"(SELECT '{was}0')")
    for state, why in (("admitted", "another database"), ("last-commit", "did not come back by WAL")):
        with pytest.raises(CommandError, match=why):
            check(state)
    assert check("")["held"] == [str(tenant.pk)], "of another one nobody has to say so"
    line = AuditEvent.objects.filter(name="keys.database.checked").latest("pk")
    assert audit.data_of(line)["held"] == 1


def test_another_timeline_may_be_the_last_commit_and_other_tables_are_not() -> None:
    was = "7449/00000001/16384/16390"
    assert admission.is_same_cluster(was, "7449/00000002/16384/16390")
    for other in ("7449/00000002/16384/20001", "7450/00000001/16384/16390", "", "sqlite/1"):
        assert not admission.is_same_cluster(was, other)


def test_our_own_tenants_wait_for_nobody(tenant: Tenant) -> None:
    ours = Tenant.objects.create(name="Ours", service_role=tenant.service_role, is_canary=True)
    assert str(ours.pk) not in check()["held"]


# --- what else reaches in or out ------------------------------------------------------------------------------------


WAYS = ("sign_on", "domains", "directory", "directory_tokens", "links", "webhooks", "log_streams", "head_recipients")


@pytest.fixture
def reached(tenant: Tenant, alice: Member, held: RestoreHold) -> dict[str, Any]:
    """Acme Bank on hold, with one of everything that reaches in or out: list → the row."""
    actor = acting(alice)
    directory = tenant_services.set_directory(tenant, actor=actor)
    token, _ = tenant_services.make_directory_token(directory, actor=actor)
    link, _ = services.make_link(tenant, name="Dora of AWS", actor=actor)
    return {
        "sign_on": SignOnConnection.objects.create(tenant=tenant, issuer="https://directory.example", client_id="c"),
        "domains": tenant_services.add_domain(tenant, name="acme.example", actor=actor),
        "directory": directory,
        "directory_tokens": token,
        "links": link,
        "webhooks": a_webhook(alice),
        "log_streams": a_log_stream(alice),
        "head_recipients": tenant_services.add_head_recipient(tenant, email="head@acme.example", actor=actor),
    }


def test_the_page_shows_what_reaches_in_or_out_with_its_end(
    tenant: Tenant, alice: Member, bob: Member, reached: dict[str, Any], browser_of: Callable[..., Client]
) -> None:
    address = f"/tenants/{tenant.pk}/key/confirm-restore/"
    shown = browser_of(alice).get(address).content.decode()
    for name, row in reached.items():
        part = shown.split(f'id="list-{name}"')[1].split("</section>")[0]
        assert part.count("<li>") == 1 and f"{_since(row):%Y-%m-%d}" in part, name
        assert name == "sign_on" or "by alice@acme.example" in part, name
    for what in ("https://directory.example", "Dora of AWS", "head@acme.example", "Being tried", "acme.example"):
        assert what in shown
    read = browser_of(bob).get(address).content.decode().split('id="list-sign_on"')[1]
    assert "Remove<" not in read and "End it<" not in read, "an auditor reads"


def _since(row: Any) -> datetime:
    return getattr(row, "created_at", None) or row.added_at


def test_each_is_ended_from_the_page_and_the_confirmation_asks_for_another_look(
    tenant: Tenant, alice: Member, reached: dict[str, Any], browser_of: Callable[..., Client]
) -> None:
    client, address = browser_of(alice), f"/tenants/{tenant.pk}/key/confirm-restore/"
    for name in ("directory_tokens", *(one for one in WAYS if one != "directory_tokens")):  # they go with the directory
        read = services.review_of(tenant)
        shown = client.get(address).content.decode()
        part = shown.split(f'id="list-{name}"')[1].split("</section>")[0]
        [end] = re.findall(r'(?:action|href)="([^"]+/(?:remove|revoke)/)"', part)
        answer = client.post(end, {"reason": "not ours any more"})
        assert answer.status_code == 302, name
        assert "None." in client.get(address).content.decode().split(f'id="list-{name}"')[1].split("</section>")[0]
        with pytest.raises(errors.ReviewChanged):
            services.confirm_restore(tenant, digest=read.digest, actor=acting(alice))
    assert tried(tenant) == "restore_not_confirmed"
    assert confirm(tenant, alice).status == "confirmed"


def test_nothing_reaches_out_until_an_owner_has_confirmed(
    tenant: Tenant, alice: Member, held: RestoreHold, settings: Any
) -> None:
    """A receiver that was removed after the backup may be back; what waits is not lost."""
    receiver, actor = Receiver(settings), acting(alice)
    facts = {"description": "d", "actor": actor}
    webhook, receiver.secret = support_services.add_webhook(
        tenant, format="standard", address=f"{receiver.origin}/hook", kinds=["key"], **facts
    )
    tenant_services.add_log_stream(tenant, format="webhook", address=f"{receiver.origin}/log", **facts)
    LogStream.objects.update(sealed_secret=webhook.sealed_secret)
    tenant_services.add_head_recipient(tenant, email="head@acme.example", actor=actor)
    try:
        audit.record("keys.latency.changed", tenant=tenant, actor=actor, seconds=60)
        log_trees.seal()
        follow.follow()
        for _ in range(2):
            log_streams.send_due()
            deliveries.deliver_due()
            assert receiver.heard == []
            assert not beat.may_be_due("tenants.due.log_streams") and not beat.may_be_due("support.due.deliveries")
            support_services.test_webhook(webhook, actor=actor)  # a person asked for it, and it says nothing
            assert deliveries.deliver_due() == 1
            assert [path_of(one) for one in receiver.heard] == ["/hook"] and "test" in str(receiver.took[0])
            receiver.heard.clear()
            receiver.took.clear()
        assert head_mailings.write_due() == 0 and not HeadMailing.objects.due(clock.now())
        for kind in ("log_stream", "webhook"):  # and nobody is called for what waits as it has to
            assert not backlog.WORK[kind].due(clock.now()).exists()

        confirm(tenant, alice)
        log_streams.send_due()
        deliveries.deliver_due()
        assert {path_of(one) for one in receiver.heard} == {"/hook", "/log"}
        assert receiver.refused == 0 and "keys.latency.changed" in str(receiver.took)
        assert HeadMailing.objects.due(clock.now()).exists()
    finally:
        receiver.close()


def path_of(heard: dict[str, str]) -> str:
    return heard["path"]


def test_what_is_added_after_it_was_read_is_not_confirmed(tenant: Tenant, alice: Member, held: RestoreHold) -> None:
    read = services.review_of(tenant)
    for change in (
        lambda: services.make_link(tenant, name="Eve", actor=acting(alice)),
        lambda: a_webhook(alice),
        lambda: a_log_stream(alice),
        lambda: tenant_services.set_directory(tenant, actor=acting(alice)),
        lambda: tenant_services.make_directory_token(Directory.objects.get(tenant=tenant), actor=acting(alice)),
        lambda: SignOnConnection.objects.create(tenant=tenant, issuer="https://evil.example", client_id="c"),
        lambda: SignOnConnection.objects.update(mode="offered"),
        lambda: tenant_services.add_domain(tenant, name="evil.example", actor=acting(alice)),
        lambda: tenant_services.add_head_recipient(tenant, email="eve@evil.example", actor=acting(alice)),
    ):
        change()
        with pytest.raises(errors.ReviewChanged):
            services.confirm_restore(tenant, digest=read.digest, actor=acting(alice))
        read = services.review_of(tenant)
        assert tried(tenant) == "restore_not_confirmed"
