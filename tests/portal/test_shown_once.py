"""What a POST makes is shown by the page after it:
once, to the person who made it, in that browser, within five minutes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client, override_settings

from tenants import shown_once, tasks
from tenants.models import AccessToken, Member, SealedValues, Tenant


@pytest.fixture
def portal(alice: Member, browser_of: Callable[[Member], Client]) -> Client:
    return browser_of(alice)


def _mint(portal: Client, tenant: Tenant) -> Any:
    answer = portal.post(
        f"/tenants/{tenant.pk}/automation/", {"name": "terraform", "permissions": ["read"], "days": "90"}
    )
    assert answer.status_code == 302
    return answer


def _token(page: Any) -> str:
    return str(page.context["shown"].values.get("token", ""))


def test_the_page_after_the_post_shows_it_and_a_reload_makes_and_shows_nothing(portal: Client, tenant: Tenant) -> None:
    page = _mint(portal, tenant)["Location"]
    first, again = portal.get(page), portal.get(page)
    assert _token(first)
    assert not _token(again)
    assert "shown already" in again.content.decode()
    assert AccessToken.objects.count() == 1
    assert not SealedValues.objects.exists()


def test_the_secret_is_in_no_address_no_row_and_no_cookie(portal: Client, tenant: Tenant) -> None:
    answer = _mint(portal, tenant)
    row, cookies = SealedValues.objects.get(), answer.cookies.output()
    raw = _token(portal.get(answer["Location"]))
    assert raw not in answer["Location"] + cookies + answer.content.decode() + str(dict(portal.session))
    assert raw.encode() not in bytes(row.sealed)
    (name,) = [name for name in answer.cookies if name.startswith("shown-")]
    cookie = answer.cookies[name]
    assert cookie["httponly"]
    assert (cookie["samesite"], cookie["path"], cookie["max-age"]) == ("Strict", "/", 300)
    assert cookie.value.encode() not in bytes(row.sealed)  # the database alone opens nothing
    assert str(row.pk) in answer["Location"]


def test_over_https_the_cookie_is_bound_to_the_host(portal: Client, tenant: Tenant) -> None:
    with override_settings(SESSION_COOKIE_SECURE=True):
        answer = portal.post(
            f"/tenants/{tenant.pk}/automation/", {"name": "terraform", "permissions": ["read"], "days": "90"}
        )
        assert [name for name in answer.cookies if name.startswith("__Host-shown-") and answer.cookies[name]["secure"]]
        assert _token(portal.get(answer["Location"]))


def test_nobody_else_sees_it_and_who_tries_does_not_use_it_up(
    portal: Client, tenant: Tenant, alice: Member, bob: Member, browser_of: Callable[[Member], Client]
) -> None:
    page = _mint(portal, tenant)["Location"]
    another_browser, colleague = browser_of(alice), browser_of(bob)
    colleague.cookies.update({name: value for name, value in portal.cookies.items() if name.startswith("shown-")})
    assert not _token(another_browser.get(page))
    assert not _token(colleague.get(page))
    assert portal.head(page).status_code == 405
    assert Client().get(page).status_code == 302
    assert _token(portal.get(page))


def test_it_belongs_to_one_page(portal: Client, tenant: Tenant, mallory: Member, alice: Member) -> None:
    Member.objects.create(tenant=mallory.tenant, user=alice.user, role="owner")
    page = _mint(portal, tenant)["Location"]
    assert not _token(portal.get(page.replace(str(tenant.pk), str(mallory.tenant_id))))
    assert _token(portal.get(page))


def test_two_tabs_do_not_take_each_others(portal: Client, tenant: Tenant) -> None:
    one, other = _mint(portal, tenant)["Location"], _mint(portal, tenant)["Location"]
    shown = {_token(portal.get(one)), _token(portal.get(other))}
    assert len(shown - {""}) == 2


def test_what_nobody_looks_at_runs_out_and_is_bounded(portal: Client, tenant: Tenant) -> None:
    page = _mint(portal, tenant)["Location"]
    SealedValues.objects.update(
        expires_at=SealedValues.objects.get().expires_at - shown_once.LASTS - timedelta(seconds=1)
    )
    assert not _token(portal.get(page))
    tasks.clear_expired()
    assert not SealedValues.objects.exists()
    for _ in range(shown_once.AT_MOST + 3):
        AccessToken.objects.all().delete()
        _mint(portal, tenant)
    assert SealedValues.objects.count() == shown_once.AT_MOST


@pytest.mark.parametrize("number", ["", "x", "5f8c1f0e-0000-4000-8000-000000000000", "%00", "A" * 5000])
def test_any_number_in_the_address_is_taken(portal: Client, tenant: Tenant, number: str) -> None:
    assert portal.get(f"/tenants/{tenant.pk}/automation/?shown={number}").status_code == 200


@pytest.mark.django_db(transaction=True)
def test_of_two_looks_at_the_same_moment_one_shows_it(portal: Client, tenant: Tenant) -> None:
    page, seen, start = _mint(portal, tenant)["Location"], [], threading.Barrier(4)

    def look() -> None:
        browser = Client()
        browser.cookies.update(portal.cookies)
        start.wait()
        try:
            seen.append("raw-token" in browser.get(page).content.decode())  # the context is of all threads
        finally:
            connection.close()

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == [False, False, False, True]
