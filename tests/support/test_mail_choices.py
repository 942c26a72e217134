"""Who gets which mails: each member chooses, and what has to be heard of is heard by an owner."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from conftest import acting, acting_staff, invited
from django.contrib.auth.models import User
from django.core import mail
from django.test import Client

from byokportal import clock
from byokportal.errors import InvalidInput, NotFound
from support import follow, kinds, mailed, mails, notices, reactions, services
from support.models import MailChoice, Notice
from tenants import audit, audit_events
from tenants.audit import SYSTEM
from tenants.models import AuditEvent, Member, Tenant

SUSPENDED = {"suspended_by": "aws", "reason": "kms_access_denied"}


def told(tenant: Tenant, name: str = "keys.key.suspended", **data: Any) -> list[str]:
    """Let something happen, and return who is mailed about it."""
    follow.follow()
    Notice.objects.all().delete()
    audit.record(name, tenant=tenant, actor=SYSTEM, **(data or SUSPENDED))
    follow.follow()
    return sorted(Notice.objects.values_list("recipient", flat=True))


def choose(member: Member, *wanted: str) -> None:
    services.choose_mails(member, kinds=wanted, actor=acting(member))


def test_without_a_choice_owners_get_all_and_admins_what_they_work_on(alice: Member, bob: Member) -> None:
    invited(alice.tenant, "carol@acme.example", "admin")
    assert told(alice.tenant) == ["alice@acme.example", "carol@acme.example"]
    changed = {"email": "carol@acme.example", "role": "admin"}
    assert told(alice.tenant, "tenants.sign_on.linked", email="x@acme.example", issuer="i") == [
        "alice@acme.example",
        "x@acme.example",
    ]
    assert told(alice.tenant, "tenants.member.role_changed", **changed) == ["alice@acme.example", "carol@acme.example"]


def test_an_auditor_may_want_what_they_read(alice: Member, bob: Member) -> None:
    choose(bob, "key")
    assert told(alice.tenant) == ["alice@acme.example", "bob@acme.example"]
    choose(bob)
    assert told(alice.tenant) == ["alice@acme.example"]


def test_an_owner_who_wants_none_is_spared_while_another_owner_hears_of_it(alice: Member) -> None:
    dora = invited(alice.tenant, "dora@acme.example", "owner")
    choose(alice)
    assert told(alice.tenant) == ["dora@acme.example"]
    choose(dora, "setup")
    assert told(alice.tenant) == ["alice@acme.example", "dora@acme.example"], "no owner wants it: all of them get it"
    assert told(alice.tenant, "support.webhook.given_up", origin="o", description="d") == [
        "alice@acme.example",
        "dora@acme.example",
    ]
    assert {one.kind for one in mailed.choices_of(alice) if one.is_kept} == mailed.KEPT


def test_an_admin_who_wants_it_does_not_stand_for_an_owner(alice: Member) -> None:
    invited(alice.tenant, "carol@acme.example", "admin")
    choose(alice)
    assert told(alice.tenant) == ["alice@acme.example", "carol@acme.example"]


def test_who_was_removed_gets_nothing_and_what_concerns_oneself_always_comes(alice: Member) -> None:
    carol = invited(alice.tenant, "carol@acme.example", "admin")
    choose(carol)
    changed = {"email": "carol@acme.example", "role": "auditor"}
    assert "carol@acme.example" in told(alice.tenant, "tenants.member.role_changed", **changed)
    choose(carol, "key")
    Member.objects.filter(pk=carol.pk).update(removed_at=clock.now())
    assert told(alice.tenant) == ["alice@acme.example"]


def test_nobody_chooses_for_others(alice: Member, bob: Member, mallory: Member) -> None:
    for actor in (acting(alice), acting(mallory), SYSTEM):
        with pytest.raises(NotFound):
            services.choose_mails(bob, kinds=["key"], actor=actor)
    with pytest.raises(InvalidInput):
        choose(bob, "key", "nothing")
    assert not MailChoice.objects.exists()


def test_the_page_shows_and_keeps_the_choice_and_the_log_says_it(
    alice: Member, bob: Member, browser_of: Callable[..., Client]
) -> None:
    client, page = browser_of(bob), f"/tenants/{alice.tenant_id}/mails/"
    assert "checked" not in client.get(page).content.decode()
    client.post(page, {"kinds": ["key", "tickets"]})
    assert client.get(page).content.decode().count("checked") == 2
    assert MailChoice.objects.filter(member=bob).count() == len(kinds.KINDS)
    event = AuditEvent.objects.get(name="support.mails.chosen")
    assert audit.data_of(event)["email"] == "bob@acme.example"
    owner = browser_of(alice)
    owner.post(page, {})
    assert "You still get: Your key" in owner.get(page).content.decode()
    assert client.post(page, {"kinds": ["\x00", "x" * 10_000]}).status_code == 200


def test_an_answer_of_support_is_mailed_as_a_link_and_an_internal_note_is_not(alice: Member, sam: User) -> None:
    ticket = services.open_ticket(alice.tenant, topic="question", subject="Why?", text="t", actor=acting(alice))
    services.answer_ticket(ticket, text="between us", is_internal=True, actor=acting_staff(sam))
    services.answer_ticket(ticket, text="a secret answer", actor=acting_staff(sam))
    services.answer_ticket(ticket, text="thanks", actor=acting(alice))
    follow.follow()
    notices.send_due()
    (message,) = [one for one in mail.outbox if "has written" in one.subject]
    assert f"/tickets/{ticket.pk}/" in message.body and "Why?" in message.subject
    assert "a secret answer" not in message.body
    assert f"/tenants/{alice.tenant_id}/mails/" in message.body


def test_every_event_has_a_kind_and_every_mail_one_of_them_or_none() -> None:
    assert {kinds.of_event(name) for name in audit_events.EVENTS} == set(kinds.KINDS)
    assert {one.kind for one in mails.MAILS.values()} <= {*kinds.KINDS, ""}
    assert set(kinds.BEGINNINGS.values()) == set(kinds.KINDS)
    always = {name for name, one in mails.MAILS.items() if not one.kind}
    assert {"invitation", "address-change", "sign-in-changed", "recovery-announced", "account-changed"} <= always
    assert json.dumps(sorted(mailed.KEPT)) == '["approvals", "key", "people", "sign_on"]'


# What a mail tells by another kind than a webhook: the mail is about a person, or about what has to be set up again.
TOLD_OTHERWISE = {
    "keys.activation.missed": ("setup", "key"),
    "tenants.sign_on.linked": ("people", "sign_on"),
    "tenants.sign_on.unlinked": ("people", "sign_on"),
    "tenants.second_person.short": ("people", "approvals"),
}


def test_a_webhook_gets_by_a_kind_what_the_mails_of_that_kind_tell() -> None:
    mails = {(name, kind) for name, reaction in reactions.REACTIONS.items() for kind in _kinds_mailed(reaction)}
    assert len(mails) > 40
    otherwise = {name: (kind, kinds.of_event(name)) for name, kind in mails if kind != kinds.of_event(name)}
    assert otherwise == TOLD_OTHERWISE


def _kinds_mailed(reaction: Callable[..., None]) -> set[str]:
    """Return the kinds of the mails that a reaction writes to members, as its source names them."""
    source = inspect.getsource(reaction)
    for name in re.findall(r"^    (_\w+)\(event", source, re.MULTILINE):
        source += inspect.getsource(getattr(reactions, name))
    templates = re.findall(r'tell\(\s*event,\s*tenant,\s*"([a-z-]+)"', source)
    return {mails.MAILS[template].kind for template in templates}
