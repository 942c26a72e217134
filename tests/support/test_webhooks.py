"""Webhooks: an event arrives signed and once, whatever its receiver, its neighbours and our workers do."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from conftest import acting, invited
from django.contrib.auth.models import User
from django.core import mail
from django.db import connection
from django.test import Client
from receiver import Receiver
from standardwebhooks import Webhook

from byokportal import clock, receiver_runs
from byokportal.errors import InvalidInput, NotAllowed, NotFound
from support import backlog, due, errors, follow, notices, reactions, services
from support.models import Notice, WebhookDelivery, WebhookEndpoint
from support.webhooks import deliveries, formats
from tenants import audit, audit_events, sealing
from tenants import services as tenant_services
from tenants.audit import SYSTEM, Actor
from tenants.errors import FreshSignInNeeded
from tenants.models import AuditEvent, Member, Tenant

pytestmark = pytest.mark.django_db
ALL = ["key", "setup", "people", "sign_on", "approvals", "tickets"]
Made = Callable[..., tuple[Receiver, WebhookEndpoint]]


@pytest.fixture
def made(alice: Member, settings: Any) -> Iterator[Made]:
    """Return a function that starts a receiver, and adds a webhook to it that is one of Acme Bank's or of another."""
    receivers = []

    def start(tenant: Tenant | None = None, format: str = "standard", **more: Any) -> tuple[Receiver, WebhookEndpoint]:
        receivers.append(Receiver(settings))
        facts = {"description": "SIEM", "kinds": ALL, "address": f"{receivers[-1].origin}/take?t=sesame", **more}
        actor = acting(alice) if tenant is None else audit.COMMAND
        webhook, receivers[-1].secret = services.add_webhook(
            tenant or alice.tenant, format=format, **facts, actor=actor
        )
        AuditEvent.objects.not_followed().update(followed_at=clock.now())
        return receivers[-1], webhook

    yield start
    for receiver in receivers:
        receiver.close()


def happens(tenant: Tenant, count: int = 1, name: str = "keys.latency.changed", **data: Any) -> list[AuditEvent]:
    facts = data or {"seconds": 60}
    return [audit.record(name, tenant=tenant, actor=SYSTEM, **facts) for _ in range(count)]


def delivered() -> int:
    follow.follow()
    return deliveries.deliver_due()


def all_due() -> None:
    """Let the time of every pause and of every wait be over."""
    WebhookEndpoint.objects.update(next_at=None)
    WebhookDelivery.objects.filter(status="pending").update(due_at=clock.now())


def states(webhook: WebhookEndpoint) -> list[str]:
    return sorted(webhook.deliveries.values_list("status", flat=True))


# --- it works -------------------------------------------------------------------------------------------------------


def test_an_event_arrives_signed_and_says_what_the_log_says(tenant: Tenant, made: Made) -> None:
    receiver, webhook = made()
    (event,) = happens(tenant)
    assert delivered() == 1
    ((message_id, body),) = receiver.took
    assert (receiver.refused, states(webhook)) == (0, ["delivered"])
    assert message_id == str(webhook.deliveries.get())
    assert receiver.heard[0]["path"] == "/take?t=sesame"
    assert receiver.heard[0]["content-type"] == "application/json"
    assert body == {
        "version": 1,
        "type": "keys.latency.changed",
        "timestamp": event.at.isoformat(),
        "tenant": str(tenant.pk),
        "event_id": str(event.pk),
        "kind": "key",
        "sentence": "The revocation latency is now 60 seconds.",
        "actor": "the system",
        "data": {"seconds": 60},
        "log_url": body["log_url"],
    }
    assert delivered() == 0, "once"


def test_another_secret_does_not_verify(tenant: Tenant, made: Made) -> None:
    receiver, webhook = made()
    receiver.secret = "whsec_" + "A" * 43
    happens(tenant)
    assert delivered() == 0
    assert (receiver.refused, webhook.deliveries.get().answer_status) == (1, 401)


def test_only_the_kinds_that_were_chosen_arrive_and_nothing_of_others(
    tenant: Tenant, made: Made, mallory: Member
) -> None:
    receiver, _webhook = made(kinds=["tickets"])
    happens(tenant)
    happens(tenant, name="support.ticket.opened", subject="s")
    happens(mallory.tenant, name="support.ticket.opened", subject="theirs")
    follow.follow()
    assert deliveries.deliver_due() == 1
    assert [body["type"] for _, body in receiver.took] == ["support.ticket.opened"]
    assert not AuditEvent.objects.not_followed().exists()


def test_an_event_without_a_mail_is_followed_all_the_same(tenant: Tenant, made: Made) -> None:
    assert "keys.latency.changed" not in reactions.REACTIONS
    receiver, _webhook = made()
    happens(tenant, 3)
    assert delivered() == 3
    assert [body["event_id"] for _, body in receiver.took] == sorted(
        (body["event_id"] for _, body in receiver.took), key=int
    ), "in the order of the log"


def test_no_row_and_no_page_holds_the_address_or_a_secret(
    alice: Member, made: Made, browser_of: Callable[..., Client]
) -> None:
    receiver, webhook = made()
    row = str(WebhookEndpoint.objects.filter(pk=webhook.pk).values().get()) + str(list(AuditEvent.objects.values()))
    assert "sesame" not in row and receiver.secret not in row
    assert sealing.unseal(WebhookEndpoint.objects.get(pk=webhook.pk).sealed_secret) == receiver.secret
    for page in ("", f"{webhook.pk}/"):
        shown = browser_of(alice).get(f"/tenants/{alice.tenant_id}/webhooks/{page}").content.decode()
        assert receiver.origin in shown
        assert "sesame" not in shown and receiver.secret not in shown


def test_the_external_id_is_never_sent(tenant: Tenant, made: Made) -> None:
    receiver, _ = made()
    happens(tenant, name="keys.registration.withdrawn", reason=f"it was {tenant.external_id}")
    assert delivered() == 1
    assert tenant.external_id not in json.dumps(receiver.took)


# --- who may --------------------------------------------------------------------------------------------------------


def test_who_may(alice: Member, bob: Member, mallory: Member, made: Made) -> None:
    _, webhook = made()
    carol = invited(alice.tenant, "carol@acme.example", "admin")
    services.test_webhook(webhook, actor=acting(carol))
    stale = Actor.of_member(alice, via="portal", signed_in_at=clock.now() - timedelta(hours=1))
    changes: list[Callable[[Actor], Any]] = [
        lambda actor: services.remove_webhook(webhook, actor=actor),
        lambda actor: services.switch_webhook(webhook, is_on=False, actor=actor),
        lambda actor: services.rotate_webhook_secret(webhook, actor=actor),
        lambda actor: services.change_webhook(webhook, description="d", kinds=["key"], actor=actor),
    ]
    for actor, error in ((acting(bob), NotAllowed), (acting(mallory), NotFound), (stale, FreshSignInNeeded)):
        for change in changes:
            with pytest.raises(error):
                change(actor)
    assert WebhookEndpoint.objects.get(pk=webhook.pk).status == "on"


def test_the_owners_are_mailed_about_a_new_webhook(alice: Member, settings: Any) -> None:
    services.add_webhook(
        alice.tenant,
        format="standard",
        address="https://hooks.acme.example/x",
        description="SIEM",
        kinds=["key"],
        actor=acting(alice),
    )
    follow.follow()
    told = [one for one in Notice.objects.filter(template="people-changed") if "hooks.acme" in one.context["sentence"]]
    assert [one.recipient for one in told] == ["alice@acme.example"]


# --- what is refused ------------------------------------------------------------------------------------------------

HOSTILE = [
    "http://hooks.acme.example/",
    "https://127.0.0.1/",
    "https://169.254.169.254/latest/meta-data/",
    "https://[::1]/",
    "https://localhost/",
    "https://user:pw@hooks.acme.example/",
    "https://hooks.acme.example/\r\nX: 1",
    "https://hooks.acme.example/\x00",
    "ftp://hooks.acme.example/",
    "",
    "x" * 3000,
]


@pytest.mark.parametrize("address", HOSTILE)
def test_an_address_that_we_do_not_call_is_refused_with_the_reason(alice: Member, address: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        services.add_webhook(
            alice.tenant, format="standard", address=address, description="d", kinds=["key"], actor=acting(alice)
        )
    assert list(refused.value.errors) == ["address"]


def test_a_name_that_leads_inside_is_not_called(tenant: Tenant, made: Made, settings: Any, tmp_path: Any) -> None:
    zone = tmp_path / "dns.json"
    zone.write_text(json.dumps({"inside.acme.example": {"A": ["10.0.0.1"]}}))
    settings.DNS_RESOLVER = f"file:{zone}"
    _, webhook = made(address="https://inside.acme.example/")
    happens(tenant)
    assert delivered() == 0
    assert "public internet" in webhook.deliveries.get().why


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"format": "xml"}, "format"),
        ({"description": ""}, "description"),
        ({"description": "x" * 121}, "description"),
        ({"description": "a\x00b"}, "description"),
        ({"kinds": []}, "kinds"),
        ({"kinds": ["key", "nothing"]}, "kinds"),
        ({"routing_key": "0" * 32}, "routing_key"),
        ({"format": "pagerduty", "address": "", "routing_key": "0" * 31}, "routing_key"),
        ({"format": "pagerduty", "address": "", "routing_key": "é" * 32}, "routing_key"),
    ],
)
def test_what_does_not_fit_is_refused(alice: Member, given: dict[str, Any], field: str) -> None:
    facts = {"format": "standard", "address": "https://a.example/", "description": "d", "kinds": ["key"], **given}
    with pytest.raises(InvalidInput) as refused:
        services.add_webhook(alice.tenant, **facts, actor=acting(alice))
    assert list(refused.value.errors) == [field]


def test_an_organisation_has_ten(alice: Member) -> None:
    facts = {"format": "slack", "address": "https://a.example/", "description": "d", "kinds": ["key"]}
    for _ in range(services_limit := 10):
        services.add_webhook(alice.tenant, **facts, actor=acting(alice))
    with pytest.raises(errors.TooManyWebhooks):
        services.add_webhook(alice.tenant, **facts, actor=acting(alice))
    services.remove_webhook(services.webhooks_of(alice.tenant)[0], actor=acting(alice))
    services.add_webhook(alice.tenant, **facts, actor=acting(alice))
    assert services.webhooks_of(alice.tenant).count() == services_limit


# --- a receiver that fails ------------------------------------------------------------------------------------------


def test_a_thousand_deliveries_and_a_receiver_that_dies_in_the_middle(tenant: Tenant, made: Made) -> None:
    _thousand(tenant, made, 100)


@pytest.mark.slow
def test_really_a_thousand(tenant: Tenant, made: Made) -> None:
    _thousand(tenant, made, 1000)


def _thousand(tenant: Tenant, made: Made, count: int) -> None:
    receiver, webhook = made()
    is_dead = threading.Event()
    receiver.status = lambda number: is_dead.set() or 503 if number == count // 3 or is_dead.is_set() else 200
    events = happens(tenant, count)
    while follow.follow():
        pass
    for attempt in range(1, 6):
        deliveries.deliver_due()
        assert len(receiver.heard) == count // 3 + attempt, "it is asked once a turn, not once for each event"
        all_due()
    receiver.status = lambda number: 200
    while deliveries.deliver_due():
        pass
    assert states(webhook) == ["delivered"] * count
    ids = [message for message, _ in receiver.took]
    assert len(ids) == len(set(ids)) == count
    assert {body["event_id"] for _, body in receiver.took} == {str(event.pk) for event in events}
    assert len(receiver.heard) == count + 5
    assert WebhookEndpoint.objects.get(pk=webhook.pk).failing_since is None


def test_what_is_tried_again_has_the_same_id_later_each_time(tenant: Tenant, made: Made) -> None:
    receiver, webhook = made()
    receiver.status = lambda number: 500
    happens(tenant)
    waits = []
    for _ in range(4):
        delivered()
        waits.append(webhook.deliveries.get().due_at - clock.now())
        all_due()
    assert timedelta(seconds=3) < waits[0] < waits[1] < waits[2] < waits[3] < timedelta(hours=1)
    receiver.status = lambda number: 200
    assert delivered() == 1
    assert len({heard["webhook-id"] for heard in receiver.heard}) == 1
    assert len(receiver.heard) == 5


def test_after_about_a_day_it_is_given_up_and_the_owners_hear_of_it_once(tenant: Tenant, made: Made) -> None:
    receiver, webhook = made()
    receiver.status, receiver.text = lambda number: 500, b"<b>boom</b>\x00" + b"x" * 1000
    happens(tenant)
    for _ in range(len(deliveries.WAITS) + 1):
        delivered()
        all_due()
    one = webhook.deliveries.get()
    assert (one.status, one.attempts, one.answer_status) == ("dead", 10, 500)
    assert one.answer.startswith("<b>boom</b> x") and len(one.answer) == 500
    assert timedelta(hours=20) < sum(deliveries.WAITS, timedelta()) < timedelta(hours=30)
    happens(tenant)
    WebhookEndpoint.objects.update(failing_since=clock.now() - timedelta(days=2))
    WebhookDelivery.objects.filter(status="pending").update(queued_at=clock.now() - timedelta(days=2))
    delivered()
    follow.follow()
    assert Notice.objects.filter(template="webhook-failing").count() == 1


def test_what_waited_a_day_for_a_receiver_that_took_nothing_is_given_up_together(tenant: Tenant, made: Made) -> None:
    receiver, webhook = made()
    receiver.status = lambda number: 500
    happens(tenant, 20)
    follow.follow()
    WebhookDelivery.objects.update(queued_at=clock.now() - timedelta(hours=25))
    WebhookEndpoint.objects.update(failing_since=clock.now() - timedelta(hours=25), failures=10)
    deliveries.deliver_due()
    assert (states(webhook), len(receiver.heard)) == (["dead"] * 20, 1)


def test_our_own_pause_of_days_gives_nothing_up(tenant: Tenant, made: Made) -> None:
    receiver, webhook = made()
    receiver.status = lambda number: 500 if number == 0 else 200
    happens(tenant, 5)
    follow.follow()
    WebhookDelivery.objects.update(queued_at=clock.now() - timedelta(days=3))
    deliveries.deliver_due()
    all_due()
    assert (deliveries.deliver_due(), states(webhook)) == (5, ["delivered"] * 5)


@pytest.mark.parametrize(
    ("days", "failures", "status", "off"),
    [(4, 30, 500, True), (2, 30, 500, False), (4, 3, 500, False), (0, 0, 410, True)],
)
def test_a_receiver_that_fails_for_days_or_is_gone_is_switched_off_and_the_owners_hear_of_it(
    tenant: Tenant, made: Made, days: int, failures: int, status: int, off: bool
) -> None:
    receiver, webhook = made()
    receiver.status = lambda number: status
    if days:
        WebhookEndpoint.objects.update(failing_since=clock.now() - timedelta(days=days), failures=failures)
    happens(tenant)
    delivered()
    assert (WebhookEndpoint.objects.get(pk=webhook.pk).status == "failing") == off
    if off:
        assert states(webhook) == ["dead"]
        happens(tenant)
        assert delivered() == 0 and webhook.deliveries.count() == 1
        follow.follow()
        notices.send_due()
        assert any("was switched off: its receiver" in message.body for message in mail.outbox)


def test_what_a_paused_receiver_is_to_get_is_not_work_that_nobody_does(tenant: Tenant, made: Made) -> None:
    receiver, webhook = made()
    happens(tenant, 2)
    follow.follow()
    hours = clock.now() - timedelta(hours=3)
    webhook.deliveries.update(due_at=hours)
    assert backlog.WORK["webhook"].oldest().get() == hours, "no worker serves it"
    receiver.status = lambda number: 500
    deliveries.deliver_due()
    webhook.refresh_from_db()
    assert webhook.next_at is not None
    assert backlog.WORK["webhook"].oldest().get() >= webhook.next_at > clock.now()
    assert not backlog.WORK["webhook"].due(clock.now()).exists()
    assert not any(rows.exists() for rows in due.deliveries()), "beat sends no worker"
    over = clock.now() - timedelta(seconds=1)
    WebhookEndpoint.objects.update(next_at=over)
    WebhookDelivery.objects.update(due_at=hours)
    assert backlog.WORK["webhook"].oldest().get() == over, "late since the pause ended"
    assert any(rows.exists() for rows in due.deliveries())
    services.switch_webhook(webhook, is_on=False, actor=SYSTEM)
    assert not backlog.WORK["webhook"].oldest().exists()


def test_retry_after_is_heard_and_bounded(tenant: Tenant, made: Made) -> None:
    receiver, webhook = made()
    receiver.status, receiver.headers = lambda number: 429, {"Retry-After": "600"}
    began = clock.now()
    happens(tenant)
    delivered()
    assert began + timedelta(seconds=590) < webhook.deliveries.get().due_at < clock.now() + timedelta(seconds=610)
    assert WebhookEndpoint.objects.get().next_at > began + timedelta(seconds=590)
    receiver.headers = {"Retry-After": "999999"}
    all_due()
    delivered()
    assert webhook.deliveries.get().due_at < clock.now() + timedelta(hours=2)


@pytest.mark.parametrize("strange", ["-1", "1e9", "soon", "٣", "", "9" * 50])
def test_a_strange_retry_after_is_not_heard(tenant: Tenant, made: Made, strange: str) -> None:
    receiver, webhook = made()
    receiver.status, receiver.headers = lambda number: 503, {"Retry-After": strange.encode().decode("latin-1")}
    happens(tenant)
    delivered()
    assert webhook.deliveries.get().due_at < clock.now() + timedelta(minutes=1)


def test_one_event_that_is_refused_holds_up_no_other(tenant: Tenant, made: Made) -> None:
    receiver, webhook = made()
    receiver.status = lambda number: 400 if number == 0 else 200
    happens(tenant, 4)
    delivered()
    WebhookEndpoint.objects.update(next_at=None)
    assert deliveries.deliver_due() == 3
    assert states(webhook) == ["delivered"] * 3 + ["pending"]


# --- several receivers, several workers -----------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_receivers_that_never_answer_keep_nobody_waiting(
    tenant: Tenant, made: Made, mallory: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "SECONDS", 2.0)
    never = [made(mallory.tenant) for _ in range(10)]
    arrived = threading.Event()
    for receiver, _ in never:
        # Each holds its answer back until the good one has had its events, or the time of the call is over.
        receiver.status = lambda number: 200 if arrived.wait(1.9) else 504
    good, webhook = made()
    good.status = lambda number: arrived.set() or 200 if number == 4 else 200
    happens(mallory.tenant, 5)
    happens(tenant, 5)
    delivered()
    assert states(webhook) == ["delivered"] * 5
    assert arrived.is_set()
    first = min(one.deliveries.filter(status="delivered").count() for _, one in never)
    assert first == 5, "none of them had to give up: the good one was served beside them"


@pytest.mark.django_db(transaction=True)
def test_an_organisation_has_three_receivers_served_at_once(tenant: Tenant, made: Made, mallory: Member) -> None:
    lock, running, most = threading.Lock(), [0], [0]
    gate = threading.Event()

    def counting(number: int) -> int:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
            if most[0] >= 4:
                gate.set()
        gate.wait(0.1)
        with lock:
            running[0] -= 1
        return 200

    for _ in range(6):
        receiver, _webhook = made(mallory.tenant)
        receiver.status = counting
    happens(mallory.tenant)
    assert delivered() == 6
    assert most[0] == 3


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_deliver_each_event_once(tenant: Tenant, made: Made) -> None:
    found = [made() for _ in range(3)]
    happens(tenant, 20)
    follow.follow()
    counts, start = [], threading.Barrier(2)

    def worker() -> None:
        start.wait()
        try:
            counts.append(deliveries.deliver_due())
        finally:
            connection.close()

    workers = [threading.Thread(target=worker) for _ in range(2)]
    for one in workers:
        one.start()
    for one in workers:
        one.join()
    assert sum(counts) == 60
    for receiver, webhook in found:
        assert len(receiver.heard) == 20
        assert states(webhook) == ["delivered"] * 20


def test_what_a_lost_worker_had_is_delivered_after_its_claim(tenant: Tenant, made: Made) -> None:
    receiver, _webhook = made()
    happens(tenant)
    follow.follow()
    now = clock.now()
    WebhookEndpoint.objects.update(claimed_at=now)
    WebhookDelivery.objects.update(attempts=1, due_at=now + receiver_runs.CLAIM_LASTS)
    assert deliveries.deliver_due() == 0
    WebhookEndpoint.objects.update(claimed_at=now - receiver_runs.CLAIM_LASTS - timedelta(seconds=1))
    WebhookDelivery.objects.update(due_at=now)
    assert deliveries.deliver_due() == 1
    assert len(receiver.took) == 1


def test_following_twice_writes_one_delivery(tenant: Tenant, made: Made) -> None:
    _, webhook = made()
    (event,) = happens(tenant)
    deliveries.write(event, tenant)
    deliveries.write(event, tenant)
    follow.follow()
    assert webhook.deliveries.count() == 1


# --- secrets, switches, tests, replays ------------------------------------------------------------------------------


def test_after_a_rotation_both_secrets_verify_until_the_old_one_ends(alice: Member, made: Made) -> None:
    receiver, webhook = made()
    old = receiver.secret
    new = services.rotate_webhook_secret(webhook, hours=24, actor=acting(alice))
    assert new != old
    AuditEvent.objects.not_followed().update(followed_at=clock.now())
    happens(alice.tenant)
    assert delivered() == 1, "by the old one"
    assert len(receiver.heard[0]["webhook-signature"].split()) == 2
    receiver.secret = new
    happens(alice.tenant)
    assert delivered() == 1, "by the new one"
    WebhookEndpoint.objects.update(old_secret_until=clock.now())
    receiver.secret = old
    happens(alice.tenant)
    assert (delivered(), receiver.refused) == (0, 1)
    deliveries.prune()
    assert WebhookEndpoint.objects.get(pk=webhook.pk).sealed_old_secret == ""


def test_a_leaked_secret_ends_at_once_and_hours_are_bounded(alice: Member, made: Made) -> None:
    receiver, webhook = made()
    receiver.secret = services.rotate_webhook_secret(webhook, hours=0, actor=acting(alice))
    AuditEvent.objects.not_followed().update(followed_at=clock.now())
    happens(alice.tenant)
    assert delivered() == 1
    assert len(receiver.heard[0]["webhook-signature"].split()) == 1
    for hours in (-1, 169):
        with pytest.raises(InvalidInput):
            services.rotate_webhook_secret(webhook, hours=hours, actor=acting(alice))


def test_switched_off_nothing_goes_out_and_what_was_given_up_is_sent_again(alice: Member, made: Made) -> None:
    _receiver, webhook = made()
    happens(alice.tenant, 3)
    follow.follow()
    services.switch_webhook(webhook, is_on=False, actor=acting(alice))
    assert (delivered(), states(webhook)) == (0, ["dead"] * 3)
    with pytest.raises(errors.WebhookNotOn):
        services.replay_failed(webhook, since=clock.now() - timedelta(days=1), actor=acting(alice))
    services.switch_webhook(webhook, is_on=True, actor=acting(alice))
    AuditEvent.objects.not_followed().update(followed_at=clock.now())
    assert services.replay_failed(webhook, since=clock.now(), actor=acting(alice)) == 0
    assert services.replay_failed(webhook, since=clock.now() - timedelta(days=1), actor=acting(alice)) == 3
    AuditEvent.objects.not_followed().update(followed_at=clock.now())
    assert (delivered(), states(webhook)) == (3, ["delivered"] * 3)


def test_a_delivery_is_sent_again_by_the_same_id(alice: Member, made: Made) -> None:
    receiver, webhook = made()
    happens(alice.tenant)
    delivered()
    services.replay_delivery(services.delivery_of(webhook, webhook.deliveries.get().message_id), actor=acting(alice))
    AuditEvent.objects.not_followed().update(followed_at=clock.now())
    assert delivered() == 1
    assert receiver.took[0] == receiver.took[1]


def test_a_removed_webhook_forgets_its_secrets_and_goes_with_its_deliveries(alice: Member, made: Made) -> None:
    receiver, webhook = made()
    happens(alice.tenant)
    follow.follow()
    services.remove_webhook(webhook, actor=acting(alice))
    assert (delivered(), receiver.heard) == (0, [])
    row = WebhookEndpoint.objects.get(pk=webhook.pk)
    assert (row.sealed_address, row.sealed_secret, row.sealed_old_secret) == ("", "", "")
    with pytest.raises(NotFound):
        services.webhook_of(alice.tenant, webhook.pk)
    assert deliveries.prune() == 0
    WebhookDelivery.objects.update(created_at=clock.now() - timedelta(days=31))
    assert deliveries.prune() == 1
    assert not WebhookEndpoint.objects.exists()


@pytest.mark.parametrize("is_on", [True, False])
def test_a_test_is_tried_once_whatever_the_state_and_says_nothing_to_others(
    alice: Member, made: Made, is_on: bool
) -> None:
    receiver, webhook = made()
    receiver.status = lambda number: 500
    services.switch_webhook(webhook, is_on=is_on, actor=acting(alice))
    WebhookEndpoint.objects.update(next_at=clock.now() + timedelta(hours=1))
    services.test_webhook(webhook, actor=acting(alice))
    with pytest.raises(errors.WebhookTestWaits):
        services.test_webhook(webhook, actor=acting(alice))
    assert (deliveries.deliver_due(), states(webhook)) == (0, ["dead"])
    assert WebhookEndpoint.objects.get(pk=webhook.pk).failures == 0
    receiver.status = lambda number: 200
    services.test_webhook(webhook, actor=acting(alice))
    assert deliveries.deliver_due() == 1
    assert receiver.took[0][1]["type"] == formats.TEST
    for _ in range(18):
        services.test_webhook(webhook, actor=acting(alice))
        WebhookDelivery.objects.update(status="delivered")
    with pytest.raises(errors.WebhookTestWaits):
        services.test_webhook(webhook, actor=acting(alice))


# --- formats --------------------------------------------------------------------------------------------------------


def test_slack_gets_a_message_that_mentions_and_formats_nothing(tenant: Tenant, made: Made) -> None:
    receiver, _ = made(format="slack")
    assert receiver.secret == ""
    happens(tenant, name="support.ticket.opened", subject="<!channel> & *bold* " + "x" * 5000)
    assert delivered() == 1
    body = receiver.took[0][1]
    # docs.slack.dev: `text`, and blocks of type section (text object, 3,000 characters) and context (elements).
    assert set(body) == {"text", "blocks"}
    section, context = body["blocks"]
    assert section["type"] == "section" and section["text"]["type"] == "plain_text"
    assert len(section["text"]["text"]) <= 3000
    assert "<!channel>" not in body["text"] and "&lt;!channel&gt; &amp; " in body["text"]
    assert context["type"] == "context" and context["elements"][0]["type"] == "mrkdwn"
    assert "webhook-signature" not in receiver.heard[0]


SEVERITIES = {"critical", "error", "warning", "info"}


def test_pagerduty_gets_an_alert_and_its_end_and_nothing_else(tenant: Tenant, made: Made) -> None:
    receiver, webhook = made(format="pagerduty", routing_key="R" * 32)
    receiver.status = lambda number: 202
    happens(tenant)
    happens(tenant, name="keys.key.suspended", suspended_by="aws", reason="kms_access_denied" + "x" * 2000)
    happens(tenant, name="keys.key.recovered", x=1)
    assert delivered() == 2
    trigger, resolve = (body for _, body in receiver.took)
    # developer.pagerduty.com: routing_key of 32 characters, event_action, dedup_key ≤ 255, payload with summary of at
    # most 1,024, source and severity; resolve needs routing_key, event_action and dedup_key only.
    assert (trigger["event_action"], resolve["event_action"]) == ("trigger", "resolve")
    assert trigger["dedup_key"] == resolve["dedup_key"] and len(trigger["dedup_key"]) <= 255
    assert trigger["routing_key"] == resolve["routing_key"] == "R" * 32
    assert set(resolve) == {"routing_key", "event_action", "dedup_key"}
    payload = trigger["payload"]
    assert payload["severity"] in SEVERITIES and payload["source"] and 0 < len(payload["summary"]) <= 1024
    assert set(trigger["links"][0]) == {"href", "text"}
    assert "R" * 32 not in str(WebhookEndpoint.objects.filter(pk=webhook.pk).values())


def test_the_alarms_are_events_and_their_severities_pagerdutys() -> None:
    assert set(formats.ALARMS) <= set(audit_events.EVENTS)
    assert {alarm.severity for alarm in formats.ALARMS.values()} <= SEVERITIES | {""}
    opened = {alarm.about for alarm in formats.ALARMS.values() if alarm.severity}
    assert {alarm.about for alarm in formats.ALARMS.values()} == opened, "what ends, begins"


def test_a_webhook_hears_nothing_of_itself_and_others_do(alice: Member, made: Made) -> None:
    one, webhook = made()
    other, _ = made()
    services.switch_webhook(webhook, is_on=False, actor=acting(alice))
    services.switch_webhook(webhook, is_on=True, actor=acting(alice))
    delivered()
    assert one.took == []
    assert [body["type"] for _, body in other.took] == ["support.webhook.switched_off", "support.webhook.switched_on"]


# --- pages and API --------------------------------------------------------------------------------------------------


def test_an_owner_adds_tests_and_removes_one_on_the_pages(
    alice: Member, settings: Any, browser_of: Callable[..., Client]
) -> None:
    receiver, client = Receiver(settings), browser_of(alice)
    page = f"/tenants/{alice.tenant_id}/webhooks/"
    given = {"format": "standard", "description": "SIEM", "address": receiver.origin, "kinds": ["key"]}
    bad = client.post(page, {**given, "address": "http://10.0.0.1/"})
    assert bad.status_code == 200 and "It begins with https://." in bad.content.decode()
    shown = client.post(page, given, follow=True).content.decode()
    receiver.secret = re.search(r"whsec_[A-Za-z0-9+/=]+", shown).group(0)
    webhook = WebhookEndpoint.objects.get()
    own = f"{page}{webhook.pk}/"
    assert "whsec_" not in client.get(own).content.decode(), "once"
    client.post(f"{own}test/")
    assert deliveries.deliver_due() == 1 and len(receiver.took) == 1
    assert "A test" in client.get(own).content.decode()
    client.post(own, {"description": "Our SIEM", "kinds": ["key", "people"]})
    assert WebhookEndpoint.objects.get().kinds == ["key", "people"]
    new = client.post(f"{own}rotate/", {"hours": "24"}, follow=True).content.decode()
    assert receiver.secret not in new and "whsec_" in new
    client.post(f"{own}switch/", {"to": "off"})
    assert WebhookEndpoint.objects.get().status == "off"
    client.post(f"{own}switch/", {"to": "on"})
    client.post(f"{own}remove/")
    assert client.get(own).status_code == 404
    names = set(AuditEvent.objects.filter(name__startswith="support.webhook.").values_list("name", flat=True))
    wanted = {"added", "tested", "changed", "secret_rotated", "switched_off", "switched_on", "removed"}
    assert names == {f"support.webhook.{one}" for one in wanted}
    receiver.close()


def test_what_a_receiver_answers_is_shown_as_text(alice: Member, made: Made, browser_of: Callable[..., Client]) -> None:
    receiver, webhook = made()
    receiver.status, receiver.text = lambda number: 500, b"<script>alert(1)</script>"
    happens(alice.tenant)
    delivered()
    page = browser_of(alice).get(f"/tenants/{alice.tenant_id}/webhooks/{webhook.pk}/").content.decode()
    assert "<script>alert" not in page and "&lt;script&gt;alert(1)" in page


def test_an_auditor_reads_and_has_no_button(alice: Member, bob: Member, made: Made, browser_of: Any) -> None:
    _, webhook = made()
    happens(alice.tenant)
    delivered()
    page = f"/tenants/{alice.tenant_id}/webhooks/{webhook.pk}/"
    text = browser_of(bob).get(page).content.decode()
    assert "msg_" in text and "Send a test" not in text and "Send again" not in text
    assert browser_of(bob).post(f"{page}test/").status_code == 403


def test_a_program_does_the_same_by_the_api(alice: Member, settings: Any, api_of: Callable[..., Client]) -> None:
    receiver, api = Receiver(settings), api_of(alice)
    root = f"/api/v1/tenants/{alice.tenant_id}/webhooks"
    given = {"format": "standard", "description": "SIEM", "address": receiver.origin, "kinds": ["key"]}
    once = {"idempotency-key": "k1"}
    made = api.post(root, given, content_type="application/json", headers=once)
    assert made.status_code == 201 and made["Location"].endswith(made.json()["id"])
    receiver.secret = made.json()["secret"]
    again = api.post(root, given, content_type="application/json", headers=once)
    assert (again.json()["id"], again.json()["secret"]) == (made.json()["id"], None)
    own = f"{root}/{made.json()['id']}"
    assert "secret" not in api.get(own).json()
    happens(alice.tenant)
    assert delivered() == 1
    (row,) = api.get(f"{own}/deliveries").json()["items"]
    assert (row["status"], row["webhook_id"]) == ("delivered", receiver.took[0][0])
    assert api.post(f"{own}/deliveries/{row['id']}/replay").status_code == 202
    assert deliveries.deliver_due() == 1
    rotated = api.post(f"{own}/rotate", {"hours": 1}, content_type="application/json").json()
    assert Webhook(rotated["secret"]) and rotated["secret"] != receiver.secret
    assert api.post(f"{own}/switch-off").json()["status"] == "off"
    assert (
        api.post(f"{own}/replay", {"since": "2020-01-01T00:00:00Z"}, content_type="application/json").json()["code"]
        == "webhook_not_on"
    )
    assert api.post(f"{own}/switch-on").json()["status"] == "on"
    assert api.post(f"{own}/test").status_code == 202
    changed = api.put(own, {"description": "d", "kinds": ["people"]}, content_type="application/json")
    assert changed.json()["kinds"] == ["people"]
    assert api.delete(own).status_code == 204 and api.get(own).status_code == 404
    receiver.close()


@pytest.mark.parametrize(
    "body",
    [
        "[" * 100_000,
        '{"format": 1, "description": "d", "kinds": ["key"]}',
        '{"format": "standard", "description": "d", "kinds": "key"}',
        '{"format": "standard", "description": "a\\u0000b", "address": "https://a.example/", "kinds": ["key"]}',
        '{"format": "standard", "description": "\\ud800", "address": "https://a.example/", "kinds": ["key"]}',
        '{"format": "standard", "description": "d", "address": "https://a.example/\\u0000", "kinds": ["key"]}',
        '{"format": "standard", "description": "d", "address": "https://a.example/\\udfff", "kinds": ["\\ud800"]}',
    ],
)
def test_hostile_bodies_are_refused(alice: Member, api_of: Callable[..., Client], body: str) -> None:
    answer = api_of(alice).post(f"/api/v1/tenants/{alice.tenant_id}/webhooks", body, content_type="application/json")
    assert 400 <= answer.status_code < 500
    assert not WebhookEndpoint.objects.exists()


def test_a_switched_off_account_and_support_see_what_they_may(
    alice: Member, made: Made, sam: User, browser_of: Any
) -> None:
    _, webhook = made()
    happens(alice.tenant)
    delivered()
    shown = browser_of(sam).get(f"/admin/support/webhookendpoint/{webhook.pk}/change/").content.decode()
    assert webhook.origin in shown and "sealed" not in shown and "sesame" not in shown
    assert browser_of(sam).get("/admin/support/webhookdelivery/").status_code == 200


def test_a_tenants_events_are_followed_while_another_has_a_webhook(made: Made, mallory: Member) -> None:
    made()
    happens(mallory.tenant)
    follow.follow()
    assert not AuditEvent.objects.not_followed().exists()
    assert not WebhookDelivery.objects.exists()


def test_creating_an_organisation_sends_nothing(made: Made) -> None:
    made()
    tenant_services.create_tenant("Other", owner_email="o@other.example", actor=audit.COMMAND)
    follow.follow()
    assert not WebhookDelivery.objects.exists()
