"""What rows keep in English is German on German pages and in German mails, in every state that a scenario reaches.

The catalog marks what it has (`test_every_sentence_is_translated.py`): what is outside the marks is data, or English.
"""

# ruff: noqa: F401, F811  fixtures are imported by name

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from architecture.test_query_budgets import portal_pages
from conftest import Customer, acting, invited
from django.db import transaction
from django.test import Client
from django.utils import translation
from portal.test_every_sentence_is_translated import Page, left_over, marked

from byokportal import clock, stored_sentences, words
from keys import services as key_services
from keys.health import kept, measuring
from keys.models import KeyHealth, KeyRegistration, RevocationDrill
from support import follow, mails, notices
from support import services as support_services
from support.models import Notice, Ticket
from tenants import audit, errors, services
from tenants.models import Approval, AuditEvent, MailDomain, Member, Role, SignOnConnection, Tenant

pytestmark = pytest.mark.django_db

DOCUMENT = re.compile(r"^\{$.*?^\}$", re.DOTALL | re.MULTILINE)


def read(tenant: Tenant, browser: Client, **rows: Any) -> None:
    """Assert that no page of the tenant and no mail to it holds English in German."""
    named = dict.fromkeys(
        ("ticket", "drill", "domain", "approval", "webhook", "stream", "test", "number", "former"), tenant
    )
    first = {"ticket": Ticket, "drill": RevocationDrill, "approval": Approval}
    named |= {"tenant": tenant} | {
        name: row for name, kind in first.items() if (row := kind.objects.filter(tenant=tenant).first())
    }
    wanted = re.compile(r"/(log|tickets|approvals|key|drills|sign-on|people|steps/5)/(<\w+>/)?$")
    pages = [one for one in portal_pages(named | rows) if wanted.search(one[0]) or one[0] == "/tenants/<tenant>/"]
    found: dict[str, list[str]] = left_over(browser, iter(pages))
    follow.follow()
    for notice in Notice.objects.filter(tenant=tenant):
        with translation.override("de"):
            message = notices._compose(notice, notices._sentences(notice))
        if message is not None and not mails.MAILS[notice.template].is_for_staff:
            page = Page()
            page.handle_data(DOCUMENT.sub(" ", f"{message.subject}\n{message.body}"))
            if page.left:
                found[f"mail {notice.template}"] = page.left
    assert not found, "\n".join(f"{where}: {said}" for where, said in found.items())


@pytest.fixture
def browser(alice: Member, browser_of: Callable[[Member], Client]) -> Client:
    return browser_of(alice)


def _ask(do: Callable[[], Any]) -> None:
    with pytest.raises(errors.SecondPersonNeeded) as told, transaction.atomic():
        do()
    assert services.ask_second_person(told.value) is not None


def test_what_waits_for_a_second_person(
    marked: None, tenant: Tenant, alice: Member, active: KeyRegistration, browser: Client
) -> None:
    anna = invited(tenant, "anna@acme.example", Role.OWNER)
    bob = invited(tenant, "bob@acme.example", Role.AUDITOR)
    Member.objects.update(created_at=clock.now() - timedelta(30), role_since=clock.now() - timedelta(30))
    services.require_second_person(tenant, actor=acting(alice))
    domain = MailDomain.objects.create(tenant=tenant, name="login.acme.example", token="t", status="verified")
    by, also = acting(alice), acting(anna)
    directory = {"default_role": "auditor", "may_make_owners": True}
    oidc: dict[str, Any] = {
        "issuer": "https://login.acme.example",
        "client_id": "byok",
        "client_secret": "first-secret-of-tests",
        "provider": {"authorization_endpoint": "https://login.acme.example/a"},
        "role_claim": "byok",
        "role_values": {},
        "default_role": "",
        "may_make_owners": False,
        "factor_values": [],
    }
    for do in (
        lambda: key_services.set_latency(tenant, seconds=900, actor=by),
        lambda: services.add_domain(tenant, name="byok.acme.example", actor=by),
        lambda: services.remove_domain(domain, reason="because", actor=by),
        lambda: services.set_directory(tenant, **directory, actor=by),
        lambda: services.set_connection(tenant, **oidc, actor=by),
        lambda: services.invite(tenant, email="dora@acme.example", role=Role.OWNER, actor=also),
        lambda: services.change_role(bob, role=Role.OWNER, actor=also),
        lambda: services.add_log_stream(
            tenant, format="webhook", address="https://siem.acme.example/x", description="byok", actor=also
        ),
        lambda: services.drop_second_person(tenant, reason="because", actor=also),
    ):
        _ask(do)
    asked = list(Approval.objects.order_by("created_at"))
    assert len(asked) == 9
    services.approve(asked[0], actor=also)
    services.refuse(asked[1], reason="because", actor=also)
    services.withdraw_approval(asked[2], actor=by)
    read(tenant, browser, approval=asked[3])


def test_a_drill_that_was_cancelled_and_one_that_a_stop_ended(
    marked: None, tenant: Tenant, alice: Member, active: KeyRegistration, browser: Client
) -> None:
    drill = key_services.start_drill(tenant, actor=acting(alice))
    key_services.cancel_drill(drill, actor=acting(alice))
    read(tenant, browser, drill=drill)
    drill = key_services.start_drill(tenant, actor=acting(alice))
    key_services.suspend(tenant, reason="because", actor=acting(alice))
    measuring.follow(drill.pk)
    read(tenant, browser, drill=drill)


def test_a_set_up_that_was_refused(
    marked: None, tenant: Tenant, alice: Member, customer: Customer, work: Callable[[], None], browser: Client
) -> None:
    customer.follow_the_guide(tenant, acting(alice))
    right = key_services.document(tenant, "trust-policy")
    customer.set_trust(right.replace(tenant.external_id, "another-one"))
    key_services.submit_registration(tenant, actor=acting(alice))
    work()
    read(tenant, browser)
    customer.set_trust(right.replace("StringEquals", "StringNotEquals"))
    key_services.start_test(tenant, actor=acting(alice))
    work()
    assert Notice.objects.filter(template="registration-rejected").exists()
    read(tenant, browser)


def test_a_key_that_aws_refuses_and_gives_back(
    marked: None,
    tenant: Tenant,
    alice: Member,
    active: KeyRegistration,
    customer: Customer,
    work: Callable[[], None],
    browser: Client,
    probe_now: Callable[[KeyRegistration], KeyRegistration],
) -> None:
    customer.kms.disable_key(KeyId=customer.key_arn)
    for _ in range(3):
        probe_now(active)
    work()
    assert Ticket.objects.of(tenant).filter(topic="key").exists()
    read(tenant, browser, ticket=Ticket.objects.of(tenant).get(topic="key"))
    customer.kms.enable_key(KeyId=customer.key_arn)
    for _ in range(3):
        probe_now(active)
    work()
    read(tenant, browser, ticket=Ticket.objects.of(tenant).get(topic="key"))


def test_a_directory_and_a_receiver_that_do_not_answer(
    marked: None, tenant: Tenant, alice: Member, browser: Client
) -> None:
    problem = str(
        errors.DirectoryUnfit(
            why="The metadata {error}. Paste the file as your directory exports it.".format(error="is no XML")
        )
    )
    SignOnConnection.objects.create(
        tenant=tenant,
        mode="offered",
        issuer="https://login.acme.example",
        client_id="byok",
        sealed_secret="",
        look_problem=problem,
    )
    audit.record(
        "tenants.sign_on.look_failed",
        tenant=tenant,
        actor=audit.SYSTEM,
        issuer="https://login.acme.example",
        problem=problem,
    )
    audit.record(
        "tenants.sign_on.directory_changed",
        tenant=tenant,
        actor=audit.SYSTEM,
        issuer="https://login.acme.example",
        what="its certificates, its address for sign-in",
    )
    read(tenant, browser)


def test_a_key_that_backups_need(
    marked: None, tenant: Tenant, alice: Member, active: KeyRegistration, browser: Client
) -> None:
    until = words.instant(clock.now())
    facts = {"key_arn": active.key_arn, "role_arn": active.role_arn, "until": until, "days": "35 days"}
    audit.record("keys.registration.kept", tenant=tenant, actor=audit.SYSTEM, target=active, **facts)
    why = kept.SILENT.format(key_arn=active.key_arn, what="AWS refused access to the key")
    audit.record(
        "keys.kept_key.at_risk", tenant=tenant, actor=audit.SYSTEM, key_arn=active.key_arn, until=until, why=why
    )
    read(tenant, browser)
