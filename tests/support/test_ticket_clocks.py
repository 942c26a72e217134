"""Tickets: clocks and reminders, who takes care, merging, closing and opening again by cause, ready answers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from conftest import Customer, acting, acting_staff, health_of
from django.contrib.auth.models import User
from django.core import mail
from django.db import IntegrityError, transaction
from django.db.models import F
from django.test import Client

from byokportal import clock
from byokportal.errors import InvalidInput, NotAllowed
from keys.models import EncryptionTest, KeyRegistration
from support import errors, follow, notices, reminders, services
from support.models import Notice, Ticket, TicketMessage, TicketMove
from support.tickets import clocks, waiting
from tenants import audit
from tenants import services as tenant_services
from tenants.audit import SYSTEM
from tenants.models import AuditEvent, Member, Tenant

TIMES = (
    "created_at", "since", "asked_at", "first_answer_due_at", "first_answered_at", "resolution_due_at", "due_at",
    "remind_at", "closed_at",
)  # fmt: skip


def later(ticket: Ticket, by: timedelta) -> None:
    """Let time pass for one ticket: all its times in the database lie so much further back."""
    Ticket.objects.filter(pk=ticket.pk).update(**{name: F(name) - by for name in TIMES})
    ticket.refresh_from_db()


@pytest.fixture
def ticket(tenant: Tenant, alice: Member) -> Ticket:
    return services.open_ticket(tenant, topic="question", subject="Which?", text="Ours?", actor=acting(alice))


def minutes(span: timedelta) -> int:
    return round(span.total_seconds() / 60)


# --- clocks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("priority", "answer", "settled"),
    [("urgent", 30, 480), ("high", 60, 1440), ("normal", 240, 4320), ("low", 1440, 10_080)],
)
def test_the_clocks_follow_the_priority(ticket: Ticket, sam: User, priority: str, answer: int, settled: int) -> None:
    services.change_ticket(ticket, topic="question", step=3, priority=priority, actor=acting_staff(sam))
    ticket.refresh_from_db()
    assert minutes(ticket.first_answer_due_at - ticket.asked_at) == answer
    assert minutes(ticket.resolution_due_at - ticket.created_at) == settled
    assert ticket.due_at == ticket.first_answer_due_at
    assert (ticket.step, ticket.priority) == (3, priority)


def test_the_clock_rests_while_we_wait_for_the_tenant(ticket: Ticket, alice: Member, sam: User) -> None:
    later(ticket, timedelta(hours=2))
    services.answer_ticket(ticket, text="Any.", actor=acting_staff(sam))
    ticket.refresh_from_db()
    assert (ticket.resolution_due_at, ticket.due_at, ticket.remind_at) == (None, None, None)
    assert minutes(ticket.resolution_left) == 4320 - 120
    later(ticket, timedelta(days=9))
    services.answer_ticket(ticket, text="And now?", actor=acting(alice))
    ticket.refresh_from_db()
    assert minutes(ticket.resolution_due_at - clock.now()) == 4320 - 120
    assert ticket.due_at == ticket.resolution_due_at and ticket.first_answered_at is not None


def test_an_internal_note_and_the_system_are_no_first_answer(ticket: Ticket, sam: User) -> None:
    services.answer_ticket(ticket, text="Hm.", is_internal=True, actor=acting_staff(sam))
    services.answer_ticket(ticket, text="By itself.", status="waiting_for_kore", actor=SYSTEM)
    ticket.refresh_from_db()
    assert ticket.first_answered_at is None and clocks.running(ticket)[0].what == clocks.FIRST_ANSWER


@pytest.mark.parametrize("is_answered", [False, True])
def test_a_ticket_that_is_opened_again_is_not_late_from_before(ticket: Ticket, sam: User, is_answered: bool) -> None:
    if is_answered:
        services.answer_ticket(ticket, text="So.", actor=acting_staff(sam))
    services.close_ticket(ticket, reason="a mistake", actor=acting_staff(sam))
    later(ticket, timedelta(days=9))
    services.reopen_ticket(ticket, reason="it was none", actor=acting_staff(sam))
    ticket.refresh_from_db()
    running = {one.what: minutes(one.due_at - clock.now()) for one in clocks.running(ticket)}
    assert running == {clocks.RESOLUTION: 4320} | ({} if is_answered else {clocks.FIRST_ANSWER: 240})
    services.change_ticket(ticket, topic="question", step=None, priority="urgent", actor=acting_staff(sam))
    assert min(one.due_at for one in clocks.running(ticket)) > clock.now(), "the priority counts from then too"


def test_what_the_system_opens_has_no_first_answer_until_somebody_writes(tenant: Tenant, alice: Member) -> None:
    ticket = services.open_ticket(tenant, topic="configuration", subject="5", text="Shared.", actor=SYSTEM)
    assert ticket.first_answer_due_at is None and ticket.due_at == ticket.resolution_due_at
    services.answer_ticket(ticket, text="Why so long?", actor=acting(alice))
    assert ticket.first_answer_due_at is not None


def test_somebody_is_reminded_before_a_clock_runs_out_and_when_it_does(ticket: Ticket, sam: User) -> None:
    assert reminders.remind_due() == 0
    later(ticket, timedelta(minutes=181))
    assert (reminders.remind_due(), reminders.remind_due()) == (1, 0)
    services.assign_ticket(ticket, to=sam, actor=acting_staff(sam))
    later(ticket, timedelta(minutes=60))
    assert (reminders.remind_due(), reminders.remind_due()) == (1, 0)
    told = list(Notice.objects.filter(template="ticket-due").order_by("pk"))
    assert [one.recipient for one in told] == ["byok-support@kore.example", "sam@kore.example"]
    assert [bool(one.context["is_late"]) for one in told] == [False, True]
    notices.send_due()
    subjects = [one.subject for one in mail.outbox]
    assert "Due soon: first answer to Acme Bank, Which?" in subjects
    assert "Late: first answer to Acme Bank, Which?" in subjects
    # Nobody is reminded of what rests, or is over.
    services.answer_ticket(ticket, text="Sorry.", actor=acting_staff(sam))
    later(ticket, timedelta(days=30))
    assert reminders.remind_due() == 0


def test_every_move_of_the_table_is_made_and_no_other(ticket: Ticket) -> None:
    assert set(waiting.MOVES) == set(Ticket.Status.values)
    for old, allowed in waiting.MOVES.items():
        for new in set(Ticket.Status.values) - {old}:
            one = Ticket(tenant=ticket.tenant, subject="s", opened_by="tests", status=old)
            waiting.begin(one, is_asked=False, actor=SYSTEM)
            assert new in allowed
            waiting.move(one, new, reason="why", actor=SYSTEM)
            assert one.moves.last().new_status == new and one.moves.count() == 2
    assert TicketMove.objects.filter(ticket=ticket).count() == 1


# --- who takes care, sorting, merging ------------------------------------------------------------------------------


def test_a_member_hands_out_sorts_merges_and_opens_again_nothing(ticket: Ticket, alice: Member) -> None:
    who = acting(alice)
    for attempt in (
        lambda: services.assign_ticket(ticket, to=None, actor=who),
        lambda: services.change_ticket(ticket, topic="key", step=None, priority="urgent", actor=who),
        lambda: services.merge_ticket(ticket, into=ticket, reason="r", actor=who),
        lambda: services.reopen_ticket(ticket, reason="r", actor=who),
    ):
        with pytest.raises(NotAllowed):
            attempt()


def test_a_ticket_is_handed_to_who_may_answer(ticket: Ticket, alice: Member, sam: User) -> None:
    with pytest.raises(InvalidInput):
        services.assign_ticket(ticket, to=alice.user, actor=acting_staff(sam))
    services.assign_ticket(ticket, to=sam, actor=acting_staff(sam))
    assert services.people() == [sam]
    assert AuditEvent.objects.filter(name="support.ticket.assigned").count() == 1


def test_merged_messages_stand_in_order_and_the_portal_and_the_api_follow(
    ticket: Ticket, alice: Member, sam: User, browser_of: Callable[..., Client], api_of: Any
) -> None:
    other = services.open_ticket(ticket.tenant, topic="key", subject="Other", text="second", actor=acting(alice))
    services.answer_ticket(ticket, text="third", actor=acting(alice))
    services.merge_ticket(ticket, into=other, reason="the same", actor=acting_staff(sam))
    texts = [message.text for message in other.messages.all()]
    assert texts == ["Ours?", "second", "third", "“Which?” was merged into this ticket: the same"]
    page = browser_of(alice).get(f"/tenants/{ticket.tenant_id}/tickets/{ticket.pk}/", follow=True)
    assert page.redirect_chain[-1][0].endswith(f"/tickets/{other.pk}/") and "third" in page.content.decode()
    base = f"/api/v1/tenants/{ticket.tenant_id}/tickets"
    listed = {one["id"]: one for one in api_of(alice).get(base).json()["items"]}
    assert listed[str(ticket.pk)]["merged_into"] == str(other.pk)
    assert (listed[str(ticket.pk)]["whose_turn"], listed[str(other.pk)]["whose_turn"]) == ("nobody", "kore")
    answer = api_of(alice).post(f"{base}/{ticket.pk}/messages", {"text": "fourth"}, content_type="application/json")
    assert (answer.status_code, answer.json()["id"]) == (201, str(other.pk))
    with pytest.raises(errors.TicketClosed):
        services.reopen_ticket(ticket, reason="r", actor=acting_staff(sam))


def test_what_cannot_be_merged(ticket: Ticket, mallory: Member, sam: User) -> None:
    theirs = services.open_ticket(mallory.tenant, topic="key", subject="s", text="t", actor=acting(mallory))
    system = services.open_ticket(
        ticket.tenant, topic="key", subject="s", text="t", registration_id=ticket.pk, actor=SYSTEM
    )
    closed = services.open_ticket(ticket.tenant, topic="key", subject="s", text="t", actor=SYSTEM)
    services.close_ticket(closed, reason="r", actor=SYSTEM)
    for one, into in ((ticket, theirs), (ticket, ticket), (ticket, closed), (closed, ticket), (system, ticket)):
        with pytest.raises(errors.TicketsNotMerged):
            services.merge_ticket(one, into=into, reason="r", actor=acting_staff(sam))
    with pytest.raises(IntegrityError), transaction.atomic():
        Ticket.objects.filter(pk=ticket.pk).update(merged_into=system)


# --- causes --------------------------------------------------------------------------------------------------------


def test_a_refusal_opens_a_good_probe_closes_and_the_next_refusal_opens_the_same_again(
    active: KeyRegistration, probe_now: Callable[[KeyRegistration], KeyRegistration], customer: Customer
) -> None:
    for _ in range(2):
        customer.kms.disable_key(KeyId=customer.key_arn)
        for _ in range(3):
            probe_now(active)
        assert (active.status, active.suspended_by) == ("suspended", "aws")
        follow.follow()
        ticket = Ticket.objects.get(topic="key")
        assert ticket.status == Ticket.Status.WAITING_FOR_TENANT
        assert customer.key_arn in ticket.messages.last().text
        customer.kms.enable_key(KeyId=customer.key_arn)
        health_of(active)
        for _ in range(4):
            probe_now(active)
            if active.status == "active":
                break
        assert active.status == "active"
        follow.follow()
        ticket.refresh_from_db()
        assert ticket.status == Ticket.Status.CLOSED
        assert ticket.messages.last().text.startswith("Closed: AWS lets us use your key again")
    assert (ticket.reopened, Ticket.objects.filter(topic="key").count()) == (1, 1)


def test_after_a_month_a_cause_gets_a_new_ticket(tenant: Tenant) -> None:
    registration = KeyRegistration.objects.create(
        tenant=tenant,
        key_arn="arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
        role_arn="arn:aws:iam::111122223333:role/AIforWorkByokAccessRole",
        status="configuring",
    )

    def fail() -> None:
        audit.record("keys.registration.rejected", tenant=tenant, actor=SYSTEM, target=registration, step=3, reason="r")
        follow.follow()

    fail()
    ticket = Ticket.objects.get()
    services.close_ticket(ticket, reason="r", actor=SYSTEM)
    fail()
    ticket.refresh_from_db()
    assert (ticket.status, ticket.reopened) == ("waiting_for_tenant", 1)
    services.close_ticket(ticket, reason="r", actor=SYSTEM)
    later(ticket, timedelta(days=31))
    fail()
    assert Ticket.objects.count() == 2


# --- the back office -----------------------------------------------------------------------------------------------


@pytest.fixture
def failed(tenant: Tenant, alice: Member, customer: Customer, work: Callable[[], None]) -> EncryptionTest:
    from keys import services as key_services

    customer.follow_the_guide(tenant, acting(alice))
    customer.kms.disable_key(KeyId=customer.key_arn)
    key_services.submit_registration(tenant, actor=acting(alice))
    work()
    test = EncryptionTest.objects.get()
    assert test.verdict == EncryptionTest.Verdict.FAIL
    return test


def test_a_ready_answer_is_the_failed_check_in_their_own_values(
    failed: EncryptionTest, ticket: Ticket, customer: Customer, sam: User, browser_of: Callable[..., Client]
) -> None:
    browser = browser_of(sam)
    page = browser.get(f"/admin/tenants/tenant/{ticket.tenant_id}/change/").content.decode()
    assert "Begun from the failed check" in page and customer.role_arn in page
    form = browser.get(f"/admin/support/ticket/{ticket.pk}/operations/answer/?ready=1").content.decode()
    assert "Ours?" in form and customer.key_arn in form and ticket.tenant.external_id not in form


def test_a_ready_answer_comes_in_the_language_of_whoever_asked_too(
    failed: EncryptionTest,
    ticket: Ticket,
    alice: Member,
    customer: Customer,
    sam: User,
    browser_of: Callable[..., Client],
) -> None:
    address = f"/admin/support/ticket/{ticket.pk}/operations/answer/"
    browser = browser_of(sam)
    assert "in German" not in browser.get(address).content.decode()
    tenant_services.choose_language(alice.user, "de")
    page = browser.get(f"/admin/tenants/tenant/{ticket.tenant_id}/change/", HTTP_ACCEPT_LANGUAGE="de")
    assert "The encryption test found something to change in step 1" in page.content.decode()
    page = browser.get(address)
    assert "Step 1, CMK, in German" in page.content.decode()
    text = browser.get(f"{address}?ready=1-de").context["form"].initial["text"]
    assert text.startswith("Der Verschlüsselungstest hat in Schritt 1")
    assert customer.key_arn in text and ticket.tenant.external_id not in text
    english = browser.get(f"{address}?ready=1", HTTP_ACCEPT_LANGUAGE="de").context["form"].initial["text"]
    assert english.startswith("The encryption test found") and len(english.split("\n\n")) == len(text.split("\n\n"))
    for line in english.splitlines():
        assert line not in text or not line or "arn:" in line, line


def test_the_queue_shows_tickets_by_clock_page_by_page(
    tenant: Tenant, sam: User, browser_of: Callable[..., Client], django_assert_max_num_queries: Any
) -> None:
    now = clock.now()
    Ticket.objects.bulk_create(
        Ticket(
            tenant=tenant,
            subject=f"No. {number}",
            opened_by="tests",
            due_at=now + timedelta(minutes=number),
            resolution_due_at=now + timedelta(minutes=number),
        )
        for number in range(120)
    )
    browser, seen, query = browser_of(sam), [], ""
    for _ in range(3):
        with django_assert_max_num_queries(12):
            page = browser.get(f"/admin/tickets/?{query}")
        seen += [row["ticket"].subject for row in page.context["rows"]]
        query = page.context["next"]
    assert seen == [f"No. {number}" for number in range(120)] and query == ""
    for odd in ("after=x", "after=99999999999999999-" + "f" * 32, "status=x&who=y&priority=z", "status=closed"):
        assert browser.get(f"/admin/tickets/?{odd}").status_code == 200


def test_an_explanation_answers_or_opens_a_ticket(ticket: Ticket, sam: User, browser_of: Callable[..., Client]) -> None:
    from support.fleet import projection

    projection.refresh([ticket.tenant_id])
    browser, url = browser_of(sam), "/admin/explain-aws-error/answer/"
    page = browser.post(url, {"text": "AWS says no.", "to": "Acme Bank"}).content.decode()
    assert "AWS says no." in page and "Answer “Which?”" in page and "Ours?" in page
    assert browser.post(url, {"text": "Do this.", "to": "x", "where": f"ticket:{ticket.pk}"}).status_code == 302
    assert ticket.messages.last().text == "Do this."
    given = {"text": "Do that.", "to": "x", "where": f"tenant:{ticket.tenant_id}", "subject": "What AWS said"}
    assert browser.post(url, given).status_code == 302
    opened = Ticket.objects.get(subject="What AWS said")
    assert (opened.status, opened.opened_by) == ("waiting_for_tenant", "kore:sam@kore.example")
    assert browser.post(url, given | {"text": ""}).status_code == 200
    assert browser.post(url, given | {"where": "tenant:nonsense"}).status_code == 302
    assert browser.post(url, {"text": "x", "to": "nobody"}).status_code == 200
    assert browser_of(sam, is_fresh=False).post(url, given).status_code == 302
    assert Ticket.objects.count() == 2


@pytest.mark.parametrize("where", ["ticket", "tenant"])
@pytest.mark.parametrize("is_internal", [False, True])
def test_a_note_only_for_us_reaches_no_customer_wherever_it_is_put(
    tenant: Tenant, alice: Member, sam: User, browser_of: Callable[..., Client], where: str, is_internal: bool
) -> None:
    from support.fleet import projection

    browser, url = browser_of(sam), "/admin/explain-aws-error/answer/"
    projection.refresh([tenant.pk])
    assert "Only for us" not in browser.post(url, {"text": "t", "to": "Acme Bank"}).content.decode(), (
        "no ticket is open"
    )
    ticket = services.open_ticket(tenant, topic="question", subject="Which?", text="Ours?", actor=acting(alice))
    assert "Only for us" in browser.post(url, {"text": "t", "to": "Acme Bank"}).content.decode()
    while follow.follow():
        pass
    before = set(Notice.objects.values_list("pk", flat=True))
    target = {"ticket": ticket.pk, "tenant": tenant.pk}[where]
    given = {"text": "Their policy is odd.", "to": "Acme Bank", "where": f"{where}:{target}", "subject": "s"}
    answer = browser.post(url, given | ({"is_internal": "on"} if is_internal else {}))
    while follow.follow():
        pass
    is_refused = is_internal and where == "tenant"
    assert answer.status_code == (200 if is_refused else 302)
    assert ("needs an open ticket" in answer.content.decode()) is is_refused
    written = TicketMessage.objects.filter(tenant=tenant, text="Their policy is odd.")
    assert [one.is_internal for one in written] == ([] if is_refused else [is_internal])
    assert Notice.objects.exclude(pk__in=before).exists() is not is_internal


def test_each_operation_of_a_ticket_has_its_button_and_works(
    ticket: Ticket, alice: Member, sam: User, browser_of: Callable[..., Client]
) -> None:
    other = services.open_ticket(ticket.tenant, topic="key", subject="Other", text="t", actor=acting(alice))
    browser, base = browser_of(sam), f"/admin/support/ticket/{ticket.pk}/operations/"
    for name, given in (
        ("take", {}),
        ("assign", {"chosen": ""}),
        ("assign", {"chosen": str(sam.pk)}),
        ("sort", {"topic": "setup", "step": "3", "priority": "urgent"}),
        ("answer", {"text": "hello"}),
        ("close", {"reason": "done"}),
        ("reopen", {"reason": "not done"}),
        ("merge", {"chosen": str(other.pk), "reason": "the same"}),
    ):
        assert browser.get(f"{base}{name}/").status_code == 200, name
        answer = browser.post(f"{base}{name}/", given)
        assert answer.status_code == 302, answer.content.decode()
    ticket.refresh_from_db()
    assert (ticket.merged_into_id, ticket.assignee, ticket.step) == (other.pk, sam, 3)
    assert browser.get(f"/admin/support/ticket/{ticket.pk}/change/").status_code == 200
