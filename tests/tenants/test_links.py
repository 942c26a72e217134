"""The secrets of mailed links: each opens its own page and no other, once, however many use it at the same moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from conftest import PASSWORD, acting, acting_staff
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client

from byokportal import clock
from tenants import audit, services
from tenants.models import AddressChange, AuditEvent, Member, OwnerRecovery, Tenant

PAGES = {"invitation": "/invitation/", "address": "/address/confirm/", "recovery": "/recovery/"}


@pytest.fixture
def secrets(tenant: Tenant, alice: Member, bob: Member, sam: User) -> dict[str, str]:
    """One working link of each kind."""
    invitation = services.invite(tenant, email="carol@acme.example", role="auditor", actor=acting(alice))
    change = services.request_address_change(bob.user, email="new@acme.example", signed_in_at=clock.now())
    kim = User.objects.create_user("kim@kore.example", "kim@kore.example", is_staff=True)
    kim.groups.add(Group.objects.get(name="Support lead"))
    recovery = services.request_second_factor(tenant, reason="r", actor=acting_staff(sam))
    services.approve_recovery(recovery, reason="r", actor=acting_staff(kim))
    return {
        "invitation": services.new_link(invitation),
        "address": services.new_address_link(change),
        "recovery": services.new_objection_link(recovery, "bob@acme.example"),
    }


def state() -> tuple[Any, ...]:
    return (
        Member.objects.count(),
        list(User.objects.order_by("pk").values_list("email")),
        list(OwnerRecovery.objects.values_list("status")),
        AddressChange.objects.filter(used_at=None).count(),
    )


def test_a_link_of_one_kind_opens_nothing_of_another(
    secrets: dict[str, str],
    bob: Member,
    alice: Member,
    api_of: Callable[..., Client],
    browser_of: Callable[..., Client],
) -> None:
    token = services.mint_token(alice, name="t", actor=acting(alice))[1]
    before = state()
    for kind, page in PAGES.items():
        for secret in [secrets[other] for other in PAGES if other != kind] + [token, ""]:
            for browser in (Client(), browser_of(bob)):
                browser.cookies[kind] = secret
                assert browser.post(page, {"password": PASSWORD}).status_code in {302, 404, 409}, (kind, page)
    assert state() == before
    for secret in secrets.values():
        assert (
            Client(headers={"authorization": f"Bearer {secret}"})
            .get(f"/api/v1/tenants/{bob.tenant_id}/setup")
            .status_code
            == 401
        )


def test_whatever_is_not_a_post_uses_nothing_up(
    secrets: dict[str, str], bob: Member, browser_of: Callable[..., Client]
) -> None:
    before = state()
    for kind, page in PAGES.items():
        for browser in (Client(), browser_of(bob)):
            browser.cookies[kind] = secrets[kind]
            for method in ("get", "head", "options", "put", "patch", "delete"):
                assert getattr(browser, method)(page).status_code < 500
    assert state() == before


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", PAGES)
def test_two_uses_at_the_same_moment_are_one(
    secrets: dict[str, str], bob: Member, browser_of: Callable[..., Client], kind: str
) -> None:
    start, statuses = threading.Barrier(3), []

    def use(browser: Client) -> None:
        start.wait()
        try:
            answer = browser.post(PAGES[kind], {"password": PASSWORD})
            statuses.append((answer.status_code, answer.get("Location", "")))
        finally:
            connection.close()

    browsers = [browser_of(bob) if kind == "address" else Client() for _ in range(3)]
    for browser in browsers:
        browser.cookies[kind] = secrets[kind]
    threads = [threading.Thread(target=use, args=[browser]) for browser in browsers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(status == 302 for status, _ in statuses) == 1, statuses
    assert {status for status, _ in statuses} <= {200, 302, 404, 409, 503}
    name, who = {
        "invitation": ("tenants.member.joined", "carol@acme.example"),
        "address": ("tenants.member.address_changed", "new@acme.example"),
        "recovery": ("tenants.recovery.objected", "bob@acme.example"),
    }[kind]
    assert sum(who in str(audit.data_of(one)) for one in AuditEvent.objects.filter(name=name)) == 1
