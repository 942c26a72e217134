"""Mail domains: shown by a DNS record to be a tenant's own, by one tenant at a time, and looked at again."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from conftest import acting, invited
from django.core import mail
from django.test import Client

from byokportal import clock
from byokportal.errors import DomainError, NotAllowed, NotFound
from support import follow, notices
from tenants import domain_looks, errors, services
from tenants.audit import Actor
from tenants.models import AuditEvent, MailDomain, Member, Tenant

BrowserOf = Callable[..., Client]


class Zone:
    """The DNS as the test says it is."""

    def __init__(self, file: Path) -> None:
        self._file, self._records = file, {}

    def set(self, name: str, *records: str) -> None:
        self._records[name] = list(records)
        self._file.write_text(json.dumps(self._records))

    def show(self, domain: MailDomain) -> None:
        self.set(domain.record_name, f"TXT {domain.record_value}")

    def hide(self, domain: MailDomain) -> None:
        self.set(domain.record_name)


@pytest.fixture
def zone(tmp_path: Path, settings: Any) -> Zone:
    settings.DNS_RESOLVER = f"file:{tmp_path / 'dns.json'}"
    return Zone(tmp_path / "dns.json")


@pytest.fixture
def domain(alice: Member, zone: Zone) -> MailDomain:
    return services.add_domain(alice.tenant, name="acme.example", actor=acting(alice))


def look(domain: MailDomain) -> MailDomain:
    """Look as the worker does when the row is due."""
    MailDomain.objects.filter(pk=domain.pk).update(next_look_at=clock.now())
    domain_looks.look(str(domain.pk))
    domain.refresh_from_db()
    return domain


# --- it works -------------------------------------------------------------------------------------------------


def test_a_domain_counts_once_its_record_was_seen(domain: MailDomain, zone: Zone, tenant: Tenant) -> None:
    assert look(domain).status == "pending"
    assert domain.problem == "missing"
    zone.show(domain)
    assert look(domain).status == "verified"
    assert domain.problem == ""
    names = list(AuditEvent.objects.of(tenant).filter(name__startswith="tenants.domain").values_list("name", flat=True))
    assert names == ["tenants.domain.added", "tenants.domain.verified"]


def test_other_records_beside_it_do_no_harm(domain: MailDomain, zone: Zone) -> None:
    zone.set(domain.record_name, "TXT v=spf1 -all", f"TXT {domain.record_value}")
    assert look(domain).status == "verified"


@pytest.mark.parametrize("wrong", ["{v}x", "x{v}", "", "kore-byok-domain=", "KORE-BYOK-DOMAIN={t}"])
def test_another_text_shows_nothing(domain: MailDomain, zone: Zone, wrong: str) -> None:
    zone.set(domain.record_name, f"TXT {wrong.format(v=domain.record_value, t=domain.token)}")
    assert look(domain).status == "pending"


def test_the_record_of_the_domain_itself_or_of_another_tenant_shows_nothing(
    domain: MailDomain, zone: Zone, mallory: Member
) -> None:
    theirs = services.add_domain(mallory.tenant, name="acme.example", actor=acting(mallory))
    zone.set("acme.example", f"TXT {domain.record_value}")
    zone.show(theirs)
    assert look(domain).status == "pending"


# --- one tenant at a time ----------------------------------------------------------------------------------------


def test_naming_a_domain_keeps_nobody_else_from_it(domain: MailDomain, zone: Zone, mallory: Member) -> None:
    services.add_domain(mallory.tenant, name="acme.example", actor=acting(mallory))
    zone.show(domain)
    assert look(domain).status == "verified"


def test_a_verified_domain_belongs_to_one_tenant(domain: MailDomain, zone: Zone, mallory: Member) -> None:
    zone.show(domain)
    look(domain)
    theirs = services.add_domain(mallory.tenant, name="acme.example", actor=acting(mallory))
    zone.set(domain.record_name, f"TXT {domain.record_value}", f"TXT {theirs.record_value}")
    assert look(theirs).status == "pending"
    assert theirs.problem == "taken"
    services.remove_domain(domain, reason="sold", actor=acting(Member.objects.of(domain.tenant).get()))
    assert look(theirs).status == "verified"


def test_the_database_holds_that_too(domain: MailDomain, mallory: Member) -> None:
    from django.db import IntegrityError, transaction

    MailDomain.objects.filter(pk=domain.pk).update(status="verified")
    with pytest.raises(IntegrityError), transaction.atomic():
        MailDomain.objects.create(tenant=mallory.tenant, name="acme.example", token="x", status="verified")


# --- looked at again ------------------------------------------------------------------------------------------------


def test_it_is_looked_at_again_every_day_and_lapses_when_the_record_is_gone_for_a_day(
    domain: MailDomain, zone: Zone, tenant: Tenant
) -> None:
    zone.show(domain)
    look(domain)
    assert domain.next_look_at is not None
    assert domain.next_look_at - clock.now() <= timedelta(days=1)
    zone.hide(domain)
    with time_machine.travel(clock.now() + timedelta(days=1)):
        assert look(domain).status == "verified"
        assert domain.problem == "missing"
        assert domain.next_look_at - clock.now() <= timedelta(hours=1)
        first = clock.now()
    with time_machine.travel(first + timedelta(hours=23)):
        assert look(domain).status == "verified"
    with time_machine.travel(first + timedelta(hours=25)):
        assert look(domain).status == "lapsed"
        zone.show(domain)
        assert look(domain).status == "verified"
    assert AuditEvent.objects.of(tenant).filter(name="tenants.domain.lapsed").count() == 1


def test_a_record_that_comes_back_within_the_day_changes_nothing(domain: MailDomain, zone: Zone) -> None:
    zone.show(domain)
    look(domain)
    zone.hide(domain)
    look(domain)
    zone.show(domain)
    assert look(domain).missing_since is None
    zone.hide(domain)
    with time_machine.travel(clock.now() + timedelta(days=2)):
        assert look(domain).status == "verified"


def test_a_dns_that_does_not_answer_ends_a_domain_after_a_week_only(
    domain: MailDomain, zone: Zone, settings: Any
) -> None:
    zone.show(domain)
    look(domain)
    settings.DNS_RESOLVER = "127.0.0.1:1"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(domain_looks, "SECONDS", 0.05)
        with time_machine.travel(clock.now() + timedelta(days=6)):
            assert look(domain).status == "verified"
            assert domain.problem == "unknown"
        with time_machine.travel(clock.now() + timedelta(days=8)):
            assert look(domain).status == "lapsed"


def test_a_domain_that_nobody_sets_up_is_given_up_until_somebody_asks(domain: MailDomain, alice: Member) -> None:
    with time_machine.travel(clock.now() + timedelta(days=31)):
        assert look(domain).next_look_at is None
        services.look_at_domain_again(domain, actor=acting(alice))
        assert domain_looks.due() == [str(domain.pk)]


def test_of_two_workers_one_looks(domain: MailDomain, zone: Zone) -> None:
    zone.show(domain)
    domain_looks.look(str(domain.pk))
    looked_at = MailDomain.objects.get(pk=domain.pk).looked_at
    domain_looks.look(str(domain.pk))
    assert MailDomain.objects.get(pk=domain.pk).looked_at == looked_at


# --- which domains ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("ACME.example", "acme.example"),
        (" @acme.example. ", "acme.example"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("ａｃｍｅ.example", "acme.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ],
)
def test_a_domain_is_kept_in_one_form(alice: Member, given: str, kept: str) -> None:
    assert services.add_domain(alice.tenant, name=given, actor=acting(alice)).name == kept


@pytest.mark.parametrize(
    "name",
    ["", "acme", "acme.", ".example", "a..b", "-a.example", "a_b.example", "10.0.0.1", "acme.example/x", "a b.example",
     "acme.example\x00", "*.example", "alice@acme.example", "x" * 64 + ".example", "a.1", "a." * 120 + "example"],
)  # fmt: skip
def test_what_is_no_mail_domain_is_refused(alice: Member, name: str) -> None:
    with pytest.raises(DomainError) as raised:
        services.add_domain(alice.tenant, name=name, actor=acting(alice))
    assert raised.value.code == "invalid_input"


@pytest.mark.parametrize(
    "name",
    ["kore.example", "mail.kore.example", "KORE.example.", "gmail.com", "Gmail.com", "outlook.com", "x.onmicrosoft.com",
     "gmx.de", "qq.com", "ｇmail.com"],
)  # fmt: skip
def test_ours_and_public_mail_domains_are_refused(alice: Member, name: str) -> None:
    with pytest.raises(errors.DomainNotYours):
        services.add_domain(alice.tenant, name=name, actor=acting(alice))


def test_a_domain_that_only_ends_like_ours_is_another_one(alice: Member) -> None:
    assert services.add_domain(alice.tenant, name="notkore.example", actor=acting(alice)).name == "notkore.example"


# --- who may not -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["admin", "auditor"])
def test_only_an_owner_changes_domains(tenant: Tenant, domain: MailDomain, role: str) -> None:
    person = acting(invited(tenant, "carol@acme.example", role))
    for do in (
        lambda: services.add_domain(tenant, name="b.example", actor=person),
        lambda: services.look_at_domain_again(domain, actor=person),
        lambda: services.remove_domain(domain, reason="r", actor=person),
    ):
        with pytest.raises(NotAllowed):
            do()


def test_an_owner_whose_sign_in_is_old_does_not(alice: Member, domain: MailDomain) -> None:
    with pytest.raises(errors.FreshSignInNeeded):
        services.remove_domain(domain, reason="r", actor=Actor.of_member(alice, via="portal"))


def test_another_tenants_domain_does_not_exist(domain: MailDomain, mallory: Member, browser_of: BrowserOf) -> None:
    with pytest.raises(NotFound):
        services.remove_domain(domain, reason="r", actor=acting(mallory))
    with pytest.raises(NotFound):
        services.mail_domain_of(mallory.tenant, domain.pk)
    browser = browser_of(mallory)
    page = f"/tenants/{mallory.tenant_id}/sign-on/domains/{domain.pk}/remove/"
    assert browser.post(page, {"reason": "r"}).status_code == 404
    domain.refresh_from_db()
    assert domain.removed_at is None


# --- the page and the API ---------------------------------------------------------------------------------------------


def test_the_page_shows_the_record_and_takes_a_domain(alice: Member, zone: Zone, browser_of: BrowserOf) -> None:
    browser, page = browser_of(alice), f"/tenants/{alice.tenant_id}/sign-on/"
    answer = browser.post(f"{page}domains/", {"name": "acme.example"})
    assert answer.status_code == 302
    domain = MailDomain.objects.get()
    shown = browser.get(page).content.decode()
    assert domain.record_name in shown
    assert domain.record_value in shown
    zone.show(domain)
    browser.post(f"{page}domains/{domain.pk}/look/")
    look(domain)
    assert "Verified" in browser.get(page).content.decode()
    assert browser.get(f"{page}domains/{domain.pk}/remove/").status_code == 200
    assert browser.post(f"{page}domains/{domain.pk}/remove/", {"reason": "sold"}).status_code == 302
    assert "None yet" in browser.get(page).content.decode()


def test_a_refusal_stands_beside_the_field(alice: Member, browser_of: BrowserOf) -> None:
    page = f"/tenants/{alice.tenant_id}/sign-on/domains/"
    assert "everybody can have an address there" in browser_of(alice).post(page, {"name": "gmail.com"}).content.decode()


def test_an_auditor_sees_the_page_and_no_form(bob: Member, browser_of: BrowserOf) -> None:
    text = browser_of(bob).get(f"/tenants/{bob.tenant_id}/sign-on/").content.decode()
    assert "Owners change" in text
    assert "<button" not in text.partition("<main")[2].partition("</main>")[0]


def test_the_api_does_the_same(alice: Member, zone: Zone, api_of: Callable[..., Client]) -> None:
    api, base = api_of(alice), f"/api/v1/tenants/{alice.tenant_id}/domains"
    made = api.post(base, {"name": "acme.example"}, content_type="application/json")
    assert made.status_code == 201
    assert made.json()["status"] == "pending"
    one = made["Location"].removeprefix("http://testserver")
    assert api.get(one).json()["record_name"] == "_kore-byok.acme.example"
    assert api.post(f"{one}/look").status_code == 202
    assert [each["name"] for each in api.get(base).json()["items"]] == ["acme.example"]
    assert api.post(base, {"name": "gmail.com"}, content_type="application/json").json()["code"] == "domain_not_yours"
    assert api.delete(one, {"reason": "sold"}, content_type="application/json").status_code == 204
    assert api.get(one).status_code == 404


def test_every_owner_gets_a_mail_about_each_change(alice: Member, domain: MailDomain, zone: Zone) -> None:
    zone.show(domain)
    look(domain)
    services.remove_domain(domain, reason="sold", actor=acting(alice))
    while follow.follow():
        pass
    mail.outbox.clear()
    notices.send_due()
    about = [one.body for one in mail.outbox if "sign in to Acme Bank" in one.subject]
    assert len(about) == 3
    assert all("/sign-on/" in body for body in about)
    assert any("sold" in body for body in about)
