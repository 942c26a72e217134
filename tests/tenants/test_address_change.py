"""A mail address changes by the link that was mailed to the new one,
with a mail to the old one and a row in every log."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from allauth.account.models import EmailAddress
from conftest import PASSWORD, acting, invited
from django.contrib.auth.models import User
from django.core import mail
from django.test import Client

from byokportal import clock
from support import follow, notices
from tenants import errors, services
from tenants.models import AddressChange, AuditEvent, Member, Tenant


def mails() -> dict[str, list[str]]:
    while follow.follow():
        pass
    mail.outbox.clear()
    notices.send_due()
    told: dict[str, list[str]] = {}
    for message in mail.outbox:
        told.setdefault(message.to[0], []).append(str(message.body))
    return told


def link(to: str) -> str:
    return re.search(r"http://[^/\s]+(/addresses/\S+)", "".join(mails()[to])).group(1)


def test_the_new_address_counts_once_its_link_is_used(
    tenant: Tenant, alice: Member, bob: Member, mallory: Member, browser_of: Callable[..., Client]
) -> None:
    invitation = services.invite(mallory.tenant, email="bob@acme.example", role="auditor", actor=acting(mallory))
    services.accept_invitation(services.new_link(invitation), user=bob.user)
    browser = browser_of(bob)
    assert browser.post("/address/", {"email": "Bob.New@acme.example"})["Location"] == "/address/"
    bob.user.refresh_from_db()
    assert bob.user.email == "bob@acme.example"
    path = link("bob.new@acme.example")
    assert browser.get(path)["Location"] == "/address/confirm/"
    assert "bob.new@acme.example" in browser.get("/address/confirm/").content.decode()
    bob.user.refresh_from_db()
    assert bob.user.email == "bob@acme.example"  # looking changes nothing
    assert browser.post("/address/confirm/").status_code == 302
    bob.user.refresh_from_db()
    assert bob.user.email == "bob.new@acme.example"
    assert [(one.email, one.verified) for one in EmailAddress.objects.filter(user=bob.user)] == [
        ("bob.new@acme.example", True)
    ]
    told = mails()
    assert any("bob@acme.example became bob.new@acme.example" in body for body in told["bob@acme.example"])
    assert {"alice@acme.example", "mallory@evil.example"} <= set(told)
    logs = AuditEvent.objects.filter(name="tenants.member.address_changed").values_list("tenant", flat=True)
    assert set(logs) == {tenant.pk, mallory.tenant_id}
    assert browser.post("/address/confirm/").status_code == 404  # once
    signed_in = Client()
    assert (
        signed_in.post("/accounts/login/", {"login": "bob.new@acme.example", "password": PASSWORD}).status_code == 302
    )
    assert Client().post("/accounts/login/", {"login": "bob@acme.example", "password": PASSWORD}).status_code == 200


def test_the_link_serves_only_who_asked(
    alice: Member, bob: Member, mallory: Member, browser_of: Callable[..., Client]
) -> None:
    browser_of(bob).post("/address/", {"email": "new@acme.example"})
    path = link("new@acme.example")
    for other in (browser_of(mallory), browser_of(alice)):
        other.get(path)
        assert other.post("/address/confirm/").status_code == 404
    stranger = Client()
    stranger.get(path)
    assert stranger.post("/address/confirm/")["Location"].startswith("/accounts/login/")
    assert not User.objects.filter(email="new@acme.example").exists()


def test_a_sign_in_of_long_ago_is_asked_again(bob: Member, browser_of: Callable[..., Client]) -> None:
    answer = browser_of(bob, is_fresh=False).post("/address/", {"email": "new@acme.example"})
    assert answer["Location"].startswith("/accounts/reauthenticate/")
    assert not AddressChange.objects.exists()


def test_an_address_of_somebody_else_is_never_taken(
    tenant: Tenant, alice: Member, bob: Member, browser_of: Callable[..., Client]
) -> None:
    browser = browser_of(bob)
    browser.post("/address/", {"email": "carol@acme.example"})
    path = link("carol@acme.example")
    invited(tenant, "carol@acme.example", "owner")  # proves it meanwhile
    browser.get(path)
    assert browser.post("/address/confirm/").status_code == 409
    bob.user.refresh_from_db()
    assert bob.user.email == "bob@acme.example"


@pytest.mark.parametrize(
    "address", ["sam@kore.example", "bob@acme.example", "no address", "é@acme.example", "\u212aim@acme.example"]
)
def test_what_cannot_be_ones_address_is_refused(
    bob: Member, sam: User, address: str, browser_of: Callable[..., Client]
) -> None:
    page = browser_of(bob).post("/address/", {"email": address})
    assert page.status_code == 200
    assert page.context["form"].errors
    assert not AddressChange.objects.exists()


def test_staff_do_not_take_a_members_address(alice: Member, sam: User) -> None:
    with pytest.raises(errors.MemberAddress):
        services.request_address_change(sam, email="alice@acme.example", signed_in_at=clock.now())


def test_a_newer_request_ends_the_one_before(bob: Member, browser_of: Callable[..., Client]) -> None:
    browser = browser_of(bob)
    browser.post("/address/", {"email": "one@acme.example"})
    first = link("one@acme.example")
    browser.post("/address/", {"email": "two@acme.example"})
    browser.get(first)
    assert browser.post("/address/confirm/").status_code == 404
    for number in range(5):
        page = browser.post("/address/", {"email": f"n{number}@acme.example"})
    assert page.status_code == 200
    assert AddressChange.objects.count() == 5
