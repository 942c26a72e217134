"""The bad night: our own role is changed, forty organisations fail at once, and all come back (docs/runbook.md)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from conftest import CUSTOMER, Customer, acting_staff, with_health
from django.contrib.auth.models import User
from django.core import mail
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from receiver import Receiver

from byokportal import clock
from byokportal.errors import NotAllowed
from byokportal.localaws.testing import LocalAws
from keys import health
from keys import services as key_services
from keys.errors import IncidentOver
from keys.models import Incident, KeyHealth, KeyRegistration, RegistrationMove, ServiceRolePolicy
from keys.policies import documents
from support import errors, follow, notices, services
from support.models import AffectedTenant, IncidentResponse, Notice, OnCallMessage, Ticket
from support.oncall import paging
from tenants import audit
from tenants import services as tenant_services
from tenants.models import AuditEvent, ServiceRole

FORTY = 40
SECRET = "whsec_" + "c2VjcmV0IG9mIHRlc3RzLCB0aGlydHktdHdvIGJ5dGVzIQ=="
ROUTING_KEY = "r" * 32
Status = KeyRegistration.Status


@pytest.fixture
def on_call(settings: Any) -> Iterator[Receiver]:
    """Whoever is on call: one receiver for the signed webhook and, at another path, for PagerDuty."""
    receiver = Receiver(settings)
    settings.ON_CALL_WEBHOOK_URL, settings.ON_CALL_WEBHOOK_SECRET = f"{receiver.origin}/page?t=sesame", SECRET
    settings.ON_CALL_PAGERDUTY_URL = f"{receiver.origin}/v2/enqueue"
    settings.ON_CALL_PAGERDUTY_ROUTING_KEY = ROUTING_KEY
    yield receiver
    receiver.close()


@pytest.fixture
def customers(service_role: ServiceRole, aws: LocalAws) -> list[KeyRegistration]:
    return in_service(service_role, aws, FORTY)


def in_service(service_role: ServiceRole, aws: LocalAws, count: int) -> list[KeyRegistration]:
    """Return so many organisations in service: a role each, one key, their ARNs in one policy of ours."""
    customer, made = Customer(aws), []
    key_arn = customer.create_key()
    for number in range(count):
        owner = f"owner@bank{number}.example"
        tenant = tenant_services.create_tenant(f"Bank {number}", owner_email=owner, actor=audit.COMMAND)
        customer.role_name = f"AIforWork-{number}"
        trust = documents.trust_policy(service_role.arn, tenant.external_id)
        customer.create_role(json.dumps(trust), json.dumps(documents.permissions_policy(key_arn)))
        facts = {"key_arn": key_arn, "role_arn": customer.role_arn, "role_claim": f"{CUSTOMER}/{number}"}
        registration = KeyRegistration.objects.create(
            tenant=tenant, status=Status.ACTIVE, activated_at=timezone.now(), **facts
        )
        made.append(with_health(registration, next_probe_at=timezone.now()))
    arns = [one.role_arn for one in made]
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": arns}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    arn = ours(aws, service_role).create_policy(PolicyName="byok-tenants", PolicyDocument=policy)["Policy"]["Arn"]
    ours(aws, service_role).attach_role_policy(RoleName=service_role.name, PolicyArn=arn)
    ServiceRolePolicy.objects.create(service_role=service_role, slot=0, policy_arn=arn, role_arns=arns)
    assert health.sweep() == count
    all_followed()
    Notice.objects.all().delete()
    mail.outbox.clear()
    return made


def ours(aws: LocalAws, service_role: ServiceRole) -> Any:
    return aws.client(service_role.account_id, "iam", "us-east-1")


def shut(aws: LocalAws, service_role: ServiceRole) -> Callable[[], None]:
    """Change our own role; return what gives back what it had."""
    arn = ServiceRolePolicy.objects.get(service_role=service_role).policy_arn
    ours(aws, service_role).detach_role_policy(RoleName=service_role.name, PolicyArn=arn)
    return lambda: ours(aws, service_role).attach_role_policy(RoleName=service_role.name, PolicyArn=arn)


def everybody_due() -> None:
    KeyHealth.objects.probed().update(next_probe_at=timezone.now(), probe_claimed_at=None)


def all_followed() -> None:
    while follow.follow():
        pass


def all_mailed() -> list[tuple[str, str]]:
    """Let every mail go whose time has come; return who got which, the oldest first."""
    mail.outbox.clear()
    while notices.send_due():
        pass
    return [(one.to[0], one.subject) for one in mail.outbox]


def to_tenants(mails: list[tuple[str, str]]) -> list[str]:
    return sorted(to for to, _ in mails if to.startswith("owner@"))


def statuses() -> dict[str, int]:
    found: dict[str, int] = {}
    for status in KeyRegistration.objects.filter(tenant__is_canary=False).values_list("status", flat=True):
        found[str(status)] = found.get(str(status), 0) + 1
    return found


def events_of(receiver: Receiver, *, routed: bool) -> list[Any]:
    return [body for _, body in receiver.took if ("routing_key" in body) is routed]


def page_of(client: Client, incident: Incident) -> str:
    answer = client.get(reverse("admin:keys_incident_change", args=[incident.pk]))
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def pressed(client: Client, incident: Incident, name: str, **data: str) -> str:
    url = reverse("admin:keys_incident_operation", args=[incident.pk, name])
    answer = client.post(url, data, follow=True)
    assert answer.redirect_chain, answer.content.decode()
    return " ".join(answer.content.decode().split())


# --- the whole night --------------------------------------------------------------------------------------------------


def test_the_bad_night(
    service_role: ServiceRole,
    aws: LocalAws,
    customers: list[KeyRegistration],
    on_call: Receiver,
    sam: User,
    browser_of: Callable[..., Client],
    settings: Any,
) -> None:
    on_call.secret = ""  # PagerDuty's are not signed; the signature has a test of its own
    give_back = shut(aws, service_role)

    # It happens: forty fail at once. Nobody is suspended, nobody is mailed, one person is called.
    for _ in range(3):
        everybody_due()
        health.sweep()
        health.close_incidents()
        all_followed()
        paging.send_due()
    assert statuses() == {"unreachable": FORTY}
    assert not RegistrationMove.objects.filter(new_status=Status.SUSPENDED).exists()
    incident = Incident.objects.get()
    ticket = Ticket.objects.get()
    assert (ticket.status, ticket.tenant.is_canary) == (Ticket.Status.WAITING_FOR_KORE, True)
    assert AffectedTenant.objects.filter(incident=incident, back_at=None).count() == FORTY
    mails = all_mailed()
    assert to_tenants(mails) == []
    assert [to for to, _ in mails] == [settings.SUPPORT_EMAIL]
    assert Notice.objects.held().filter(held_for=incident).count() == FORTY
    (page,) = events_of(on_call, routed=False)
    (alarm,) = events_of(on_call, routed=True)
    assert page["type"] == "incident.trigger" and page["details"]["refused"] == FORTY
    assert (alarm["event_action"], alarm["routing_key"]) == ("trigger", ROUTING_KEY)
    assert alarm["dedup_key"] == page["dedup_key"]
    assert "Bank" not in json.dumps([page, alarm])

    # Whoever was called takes it, and sees who is affected.
    browser = browser_of(sam)
    text = page_of(browser, incident)
    assert "It is us" in text and f"{FORTY} of {FORTY}" in text and f"{FORTY} held now" in text
    assert "told that somebody sees to it" in pressed(browser, incident, "take", reason="I am up")
    paging.send_due()
    assert [one["event_action"] for one in events_of(on_call, routed=True)] == ["trigger", "acknowledge"]

    # The organisations are told in our own words, each once.
    said = "Since 03:12 UTC we cannot use your key. It is us."
    assert f"{FORTY} organisations are told" in pressed(browser, incident, "tell", text=said, text_back="b")
    all_followed()
    mails = all_mailed()
    assert to_tenants(mails) == sorted(f"owner@bank{number}.example" for number in range(FORTY))
    assert said in mail.outbox[0].body
    with pytest.raises(errors.NobodyToTell):
        services.tell_affected(incident, text="Once more", text_back="b", actor=acting_staff(sam))
    assert AuditEvent.objects.filter(name="support.incident.told", tenant__isnull=False).count() == FORTY

    # It is mended, and half of them are asked at once: recovery is seen one by one.
    give_back()
    KeyHealth.objects.update(next_probe_at=timezone.now() + timedelta(hours=1), probe_claimed_at=None)
    some = [one.pk for one in customers[: FORTY // 2]]
    KeyHealth.objects.filter(registration__in=some).update(next_probe_at=timezone.now())
    health.sweep()
    health.close_incidents()
    all_followed()
    text = page_of(browser, incident)
    assert f"{FORTY // 2} of {FORTY}" in text
    assert to_tenants(all_mailed()) == [], "the incident is not over"
    KeyHealth.objects.update(probe_asked_at=None)
    assert f"{FORTY // 2} keys are asked" in pressed(browser, incident, "probe", reason="the policy is back")
    health.sweep()
    assert statuses() == {"active": FORTY}

    # It is over by itself: one more mail to each, the page and the ticket are closed.
    assert health.close_incidents() == 1
    all_followed()
    paging.send_due()
    mails = all_mailed()
    assert to_tenants(mails) == sorted(f"owner@bank{number}.example" for number in range(FORTY))
    assert {subject for to, subject in mails if to.startswith("owner@bank3.")} == {
        "The key of Bank 3 is in service again"
    }
    assert "by a fault of ours" in next(one for one in mail.outbox if one.to == ["owner@bank3.example"]).body
    actions = [one["event_action"] for one in events_of(on_call, routed=True)]
    assert actions == ["trigger", "acknowledge", "resolve"]
    assert len(events_of(on_call, routed=False)) == 3
    ticket.refresh_from_db()
    assert ticket.status == Ticket.Status.CLOSED
    assert not Notice.objects.held().exists()
    assert not AffectedTenant.objects.filter(back_at=None).exists()
    assert "It was us" in page_of(browser, incident)
    assert all_mailed() == []


# --- mails ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def incident(
    service_role: ServiceRole, aws: LocalAws, on_call: Receiver
) -> tuple[Incident, list[KeyRegistration], Callable[[], None]]:
    """An open incident that concerns six organisations, and what mends it."""
    customers = in_service(service_role, aws, 6)
    give_back = shut(aws, service_role)
    everybody_due()
    health.sweep()
    all_followed()
    return Incident.objects.get(), customers, give_back


Met = tuple[Incident, list[KeyRegistration], Callable[[], None]]


def test_mails_are_let_go_by_a_decision_and_later_ones_go_at_once(incident: Met, sam: User) -> None:
    met, _, give_back = incident
    assert Notice.objects.held().count() == 6
    all_mailed()
    assert services.decide_held_mails(met, choice="released", reason="It lasts", actor=acting_staff(sam)) == 6
    assert len(to_tenants(all_mailed())) == 6
    give_back()
    everybody_due()
    health.sweep()
    all_followed()
    assert len(to_tenants(all_mailed())) == 6, "they were told that it began, so they hear that it is over"


def test_mails_are_dropped_by_a_decision(incident: Met, sam: User) -> None:
    met, _, give_back = incident
    assert services.decide_held_mails(met, choice="dropped", reason="A drill", actor=acting_staff(sam)) == 6
    give_back()
    everybody_due()
    health.sweep()
    health.close_incidents()
    all_followed()
    assert to_tenants(all_mailed()) == []
    assert Notice.objects.exclude(dropped_at=None).count() == 12


def test_whoever_is_not_back_when_a_person_closes_it_is_told_so(
    incident: Met, sam: User, service_role: ServiceRole
) -> None:
    met, _, _ = incident
    key_services.close_incident(met, reason="They left", actor=acting_staff(sam))
    all_followed()
    assert len(to_tenants(all_mailed())) == 6
    assert not Notice.objects.held().exists()


def test_the_mail_of_the_first_waits_for_a_moment_and_is_held_when_an_incident_opens(
    service_role: ServiceRole, aws: LocalAws
) -> None:
    (registration,) = in_service(service_role, aws, 1)
    event = audit.record(
        "keys.key.unreachable",
        tenant=registration.tenant,
        actor=audit.SYSTEM,
        target=registration,
        reason="own_access_broken",
        whose_turn="kore",
    )
    KeyRegistration.objects.update(status="unreachable", reason="own_access_broken")
    all_followed()
    assert all_mailed() == []
    opened = Incident.objects.create(service_role=service_role, why="tests")
    audit.record(
        "keys.incident.opened",
        tenant=None,
        actor=audit.SYSTEM,
        target=opened,
        service_role_arn=service_role.arn,
        why="tests",
        count=1,
    )
    all_followed()
    assert Notice.objects.get(event=event).held_for == opened
    assert AffectedTenant.objects.get().tenant == registration.tenant


def test_without_an_incident_the_mail_goes_a_moment_later(service_role: ServiceRole, aws: LocalAws) -> None:
    (registration,) = in_service(service_role, aws, 1)
    facts = {"reason": "own_access_broken", "whose_turn": "kore"}
    audit.record("keys.key.unreachable", tenant=registration.tenant, actor=audit.SYSTEM, target=registration, **facts)
    all_followed()
    assert all_mailed() == []
    Notice.objects.update(due_at=timezone.now())
    assert len(to_tenants(all_mailed())) == 1


# --- the page ---------------------------------------------------------------------------------------------------------


def test_the_webhook_is_signed_and_a_page_is_sent_until_it_is_taken(
    service_role: ServiceRole, on_call: Receiver, settings: Any, caplog: Any
) -> None:
    settings.ON_CALL_PAGERDUTY_ROUTING_KEY = ""
    on_call.secret = SECRET
    on_call.status = lambda number: 503 if number < 3 else 200
    met = Incident.objects.create(service_role=service_role, why="tests")
    for _ in range(5):
        paging.write(met, "trigger")
        OnCallMessage.objects.filter(status="pending").update(due_at=clock.now())
        paging.send_due()
    assert (len(on_call.took), on_call.refused) == (1, 0)
    message = OnCallMessage.objects.get()
    assert (message.status, message.attempts) == ("delivered", 4)
    assert {one["webhook-id"] for one in on_call.heard} == {str(message)}, "the same page each time"
    for hidden in ("sesame", SECRET, on_call.origin):
        assert hidden not in caplog.text


def test_a_page_that_was_not_taken_in_time_is_not_sent_after_the_end(
    service_role: ServiceRole, on_call: Receiver
) -> None:
    on_call.secret = ""
    met = Incident.objects.create(service_role=service_role, why="tests")
    paging.write(met, "trigger")
    paging.write(met, "resolve")
    assert paging.send_due() == 0
    assert set(OnCallMessage.objects.values_list("action", "status")) == {("trigger", "not_needed")}


def test_acknowledge_waits_for_the_page(service_role: ServiceRole, on_call: Receiver, settings: Any) -> None:
    settings.ON_CALL_WEBHOOK_URL = ""
    on_call.status = lambda number: 503 if number == 0 else 200
    met = Incident.objects.create(service_role=service_role, why="tests")
    paging.write(met, "trigger")
    paging.write(met, "acknowledge")
    for _ in range(3):
        OnCallMessage.objects.filter(status="pending").update(due_at=clock.now())
        paging.send_due()
    assert [body["event_action"] for _, body in on_call.took] == ["trigger", "acknowledge"]


def test_nobody_on_call_is_said_and_writes_nothing(service_role: ServiceRole, sam: User) -> None:
    met = Incident.objects.create(service_role=service_role, why="tests")
    paging.write(met, "trigger")
    assert not OnCallMessage.objects.exists()
    with pytest.raises(errors.NobodyOnCall):
        services.test_on_call(actor=acting_staff(sam))
    with pytest.raises(CommandError, match="ON_CALL_WEBHOOK_URL"):
        call_command("test_on_call")


def test_a_test_reaches_each_way_and_closes_itself(on_call: Receiver, db: None, capsys: Any) -> None:
    on_call.secret = ""
    call_command("test_on_call")
    printed = json.loads(capsys.readouterr().out)
    assert {one["status"] for one in printed["messages"]} == {"delivered"}
    assert [one["event_action"] for one in events_of(on_call, routed=True)] == ["trigger", "resolve"]
    assert events_of(on_call, routed=True)[0]["payload"]["severity"] == "info"
    assert len(events_of(on_call, routed=False)) == 1
    assert ROUTING_KEY not in json.dumps(printed)


def test_the_button_sends_a_test(on_call: Receiver, sam: User, browser_of: Callable[..., Client]) -> None:
    url = reverse("admin:keys_incident_list_operation", args=["test-on-call"])
    assert "2 tests are under way" in browser_of(sam).post(url, follow=True).content.decode()
    assert OnCallMessage.objects.count() == 3


# --- who may, and what is over ----------------------------------------------------------------------------------------


def test_support_takes_and_probes_and_does_not_tell_organisations(service_role: ServiceRole, db: None) -> None:
    from django.contrib.auth.models import Group

    user = User.objects.create_user("kim@kore.example", "kim@kore.example", "kim-password-of-tests", is_staff=True)
    user.groups.add(Group.objects.get(name="Support"))
    actor = acting_staff(user)
    met = Incident.objects.create(service_role=service_role, why="tests")
    services.take_incident(met, reason="r", actor=actor)
    assert key_services.probe_incident(met, reason="r", actor=actor) == 0
    for do in (
        lambda: services.tell_affected(met, text="t", text_back="b", actor=actor),
        lambda: services.decide_held_mails(met, choice="dropped", reason="r", actor=actor),
        lambda: services.test_on_call(actor=actor),
    ):
        with pytest.raises(NotAllowed):
            do()


def test_what_is_over_takes_no_operation(service_role: ServiceRole, sam: User) -> None:
    met = Incident.objects.create(service_role=service_role, why="tests", closed_at=timezone.now())
    for do in (
        lambda: services.take_incident(met, reason="r", actor=acting_staff(sam)),
        lambda: services.decide_held_mails(met, choice="dropped", reason="r", actor=acting_staff(sam)),
        lambda: key_services.probe_incident(met, reason="r", actor=acting_staff(sam)),
    ):
        with pytest.raises(IncidentOver):
            do()
    assert not IncidentResponse.objects.exists()


def test_probing_all_is_spread_bounded_and_shared(incident: Met, sam: User, monkeypatch: pytest.MonkeyPatch) -> None:
    from keys.health import again

    met, _, _ = incident
    monkeypatch.setattr(again, "A_SECOND", 2)
    monkeypatch.setattr(again, "MOST", 5)
    later = timezone.now() + timedelta(hours=1)
    KeyHealth.objects.update(next_probe_at=later, probe_claimed_at=None, probe_asked_at=None)
    assert key_services.probe_incident(met, reason="r", actor=acting_staff(sam)) == 5
    due = sorted(KeyHealth.objects.filter(next_probe_at__lt=later).values_list("next_probe_at", flat=True))
    assert len(due) == 5
    assert [round((one - due[0]).total_seconds()) for one in due] == [0, 0, 1, 1, 2]
    assert key_services.probe_incident(met, reason="r", actor=acting_staff(sam)) == 1, "those asked a moment ago wait"
