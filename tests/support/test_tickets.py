"""Tickets: opened and answered by the tenant, answered and closed by support."""

from __future__ import annotations

import pytest
from conftest import acting_staff, lines_by
from django.contrib.auth.models import User
from django.core import mail

from byokportal.errors import InvalidInput, NotAllowed, NotFound, SecretPasted
from support import errors, follow, notices, services
from support.models import BulkOperation, Ticket, TicketMessage, TicketMove
from tenants import audit
from tenants.audit import SYSTEM, Actor
from tenants.errors import ReasonMissing
from tenants.models import AuditEvent, Member, Tenant


def _of(member: Member) -> Actor:
    return Actor.of_member(member, via="portal")


@pytest.fixture
def ticket(tenant: Tenant, alice: Member) -> Ticket:
    return services.open_ticket(
        tenant, topic="question", subject="Which Region?", text="Ours is eu-central-1.", actor=_of(alice)
    )


def test_a_ticket_opens_with_its_first_message_and_waits_for_kore(ticket: Ticket, tenant: Tenant) -> None:
    assert ticket.status == Ticket.Status.WAITING_FOR_KORE
    assert [message.text for message in ticket.messages.all()] == ["Ours is eu-central-1."]
    assert [one.tenant for one in lines_by("member:alice@acme.example", "support.ticket.opened")] == [tenant]


def test_whose_turn_it_is_follows_from_who_wrote(ticket: Ticket, alice: Member, sam: User) -> None:
    services.answer_ticket(ticket, text="Any of ours.", actor=acting_staff(sam))
    assert ticket.status == Ticket.Status.WAITING_FOR_TENANT
    services.answer_ticket(ticket, text="Thanks, and the role?", actor=_of(alice))
    assert ticket.status == Ticket.Status.WAITING_FOR_KORE
    services.answer_ticket(ticket, text="Ask the IAM team.", is_internal=True, actor=acting_staff(sam))
    assert ticket.status == Ticket.Status.WAITING_FOR_KORE


def test_another_tenant_does_not_see_the_ticket(ticket: Ticket, mallory: Member) -> None:
    with pytest.raises(NotFound):
        services.answer_ticket(ticket, text="Hello?", actor=_of(mallory))


def test_a_member_writes_no_internal_message_and_closes_nothing(ticket: Ticket, alice: Member) -> None:
    with pytest.raises(NotAllowed):
        services.answer_ticket(ticket, text="Psst", is_internal=True, actor=_of(alice))
    with pytest.raises(NotAllowed):
        services.close_ticket(ticket, reason="done", actor=_of(alice))


def test_staff_without_the_permission_answer_nothing(ticket: Ticket, db: None) -> None:
    visitor = User.objects.create_user("visitor@kore.example", "visitor@kore.example", is_staff=True)
    with pytest.raises(NotAllowed):
        services.answer_ticket(ticket, text="Hello", actor=acting_staff(visitor))


def test_a_closed_ticket_says_why_and_takes_no_more_messages(ticket: Ticket, alice: Member, sam: User) -> None:
    with pytest.raises(ReasonMissing):
        services.close_ticket(ticket, reason="  ", actor=acting_staff(sam))
    services.close_ticket(ticket, reason="answered", actor=acting_staff(sam))
    assert ticket.closed_at is not None
    assert ticket.messages.last().text == "Closed: answered"
    with pytest.raises(errors.TicketClosed):
        services.answer_ticket(ticket, text="One more", actor=_of(alice))
    with pytest.raises(errors.TicketClosed):
        services.close_ticket(ticket, reason="again", actor=acting_staff(sam))
    assert ticket.messages.count() == 2


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"topic": "configuration"}, "topic"),
        ({"topic": "nonsense"}, "topic"),
        ({"subject": "   "}, "subject"),
        ({"subject": "x" * 201}, "subject"),
        ({"text": ""}, "text"),
        ({"text": "x" * 10_001}, "text"),
        ({"text": "nul \x00"}, "text"),
        ({"text": "half a letter \ud800"}, "text"),
    ],
)
def test_words_that_do_not_fit_are_refused_on_their_field(
    tenant: Tenant, alice: Member, given: dict[str, str], field: str
) -> None:
    words = {"topic": "question", "subject": "Which Region?", "text": "Ours."} | given
    with pytest.raises(InvalidInput) as refusal:
        services.open_ticket(tenant, **words, actor=_of(alice))
    assert list(refusal.value.errors) == [field]
    assert not Ticket.objects.exists()


@pytest.mark.parametrize("is_bulk", [False, True])
def test_a_secret_of_which_subject_and_text_have_a_half_each_is_refused(
    tenant: Tenant, alice: Member, sam: User, is_bulk: bool
) -> None:
    words = {
        "subject": "AKIAIOSFODNN7EXAMPLE gets AccessDenied",
        "text": "our secret is wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    }
    with pytest.raises(SecretPasted):
        if is_bulk:
            given = {"kind": "ask", "tenants": [tenant.pk], "facts": words, "reason": "r"}
            services.begin_bulk(**given, actor=acting_staff(sam))
        else:
            services.open_ticket(tenant, topic="question", **words, actor=_of(alice))
    assert not Ticket.objects.exists() and not BulkOperation.objects.exists()


def test_the_external_id_stands_in_no_part_of_a_ticket_its_log_or_its_mails(
    tenant: Tenant, alice: Member, sam: User
) -> None:
    said, lead = f"Is {tenant.external_id} right?", acting_staff(sam)
    # A reason is cut at its limit: no half of it stays.
    long = "x" * (190 - len(tenant.external_id) // 2) + said
    other = services.open_ticket(tenant, topic="question", subject=said, text=said, actor=_of(alice))
    one = services.open_ticket(tenant, topic="question", subject=f"1 {said}", text=said, actor=lead)
    services.answer_ticket(one, text=said, actor=lead)
    services.close_ticket(one, reason=long, actor=lead)
    services.reopen_ticket(one, reason=long, actor=lead)
    services.assign_ticket(one, to=sam, actor=lead)
    services.answer_ticket(one, text=said, actor=_of(alice))
    services.change_ticket(one, topic="key", step=None, priority="low", actor=lead)
    # A subject of before this release still has it.
    Ticket.objects.filter(pk=other.pk).update(subject=said)
    services.answer_ticket(other, text="Yes.", actor=lead)
    while follow.follow():
        pass
    services.merge_ticket(
        one,
        into=services.open_ticket(tenant, topic="question", subject=said, text="t", actor=lead),
        reason=long,
        actor=lead,
    )
    while notices.send_due():
        pass
    kept = [*TicketMessage.objects.values_list("text", flat=True), *TicketMove.objects.values_list("reason", flat=True)]
    kept += Ticket.objects.exclude(pk=other.pk).values_list("subject", flat=True)
    kept += AuditEvent.objects.filter(name__startswith="support.").values_list("payload", flat=True)
    kept += [part for sent in mail.outbox for part in (sent.subject, str(sent.body))]
    assert len(mail.outbox) > 4 and any("(your External ID)" in sent.subject for sent in mail.outbox)
    beginning = tenant.external_id[: len(tenant.external_id) // 2]
    assert [text for text in kept if beginning in text] == []


def test_there_is_nothing_to_approve_before_the_arns_are_shared(tenant: Tenant, sam: User) -> None:
    with pytest.raises(errors.NothingToApprove):
        services.approve_configuration(tenant, reason="looks right", actor=acting_staff(sam))


def test_a_look_at_a_tenant_is_recorded_once_an_hour_for_each_person(tenant: Tenant, sam: User) -> None:
    other = User.objects.create_user("kim@kore.example", "kim@kore.example", is_staff=True)
    for user in (sam, sam, other):
        services.record_view(tenant, actor=acting_staff(user))
    viewed = AuditEvent.objects.of(tenant).filter(name="tenants.tenant.viewed")
    assert sorted(map(audit.actor_of, viewed)) == ["kore:kim@kore.example", "kore:sam@kore.example"]


def test_the_system_opens_the_ticket_of_step_5(tenant: Tenant) -> None:
    ticket = services.open_ticket(tenant, topic="configuration", subject="Step 5", text="Shared.", actor=SYSTEM)
    assert ticket.topic == Ticket.Topic.CONFIGURATION
