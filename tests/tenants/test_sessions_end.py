"""Sessions end by themselves; what a page asks for by itself keeps none alive,
and no request writes more than it has to."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from byokportal import clock
from tenants.models import Member, Tenant

POLL = {"hx-request": "true", "hx-current-url": "http://testserver/page?a=1"}


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return a function that sets our clock forward by seconds."""

    def move(by: float) -> None:
        before = clock.now

        def now() -> datetime:
            return before() + timedelta(seconds=by)

        monkeypatch.setattr(clock, "now", now)

    return move


@pytest.fixture
def alices(alice: Member, browser_of: Callable[[Member], Client]) -> Client:
    return browser_of(alice)


def is_in(alices: Client, tenant: Tenant) -> bool:
    return alices.get(f"/tenants/{tenant.pk}/").status_code == 200


def test_whoever_does_something_stays_in(alices: Client, tenant: Tenant, later: Callable[[float], None]) -> None:
    for _ in range(5):
        later(settings.SESSION_IDLE_SECONDS * 0.9)
        assert is_in(alices, tenant)


def test_whoever_does_nothing_is_out(alices: Client, tenant: Tenant, later: Callable[[float], None]) -> None:
    assert is_in(alices, tenant)
    later(settings.SESSION_IDLE_SECONDS + 1)
    answer = alices.get(f"/tenants/{tenant.pk}/", follow=True)
    assert answer.redirect_chain == [(f"/accounts/login/?next=/tenants/{tenant.pk}/", 302)]
    assert "You were signed out because nothing happened for a while" in answer.content.decode()
    assert not is_in(alices, tenant)


def test_a_page_that_asks_for_news_by_itself_keeps_nobody_in(
    alices: Client, tenant: Tenant, later: Callable[[float], None]
) -> None:
    live = f"/tenants/{tenant.pk}/key/live/"
    for _ in range(10):
        later(settings.SESSION_IDLE_SECONDS / 9)
        answer = alices.get(live, headers=POLL)
        assert answer.status_code == 200 or "HX-Redirect" in answer  # never a sign-in in a corner of the page
    assert answer["HX-Redirect"] == "/accounts/login/?next=%2Fpage%3Fa%3D1"
    assert not is_in(alices, tenant)


def test_a_form_that_comes_too_late_does_nothing(
    alices: Client, tenant: Tenant, later: Callable[[float], None]
) -> None:
    later(settings.SESSION_IDLE_SECONDS + 1)
    page = f"http://testserver/tenants/{tenant.pk}/tokens/"
    answer = alices.post(f"/tenants/{tenant.pk}/key/suspend/", {"reason": "x"}, headers={"referer": page})
    assert answer["Location"].startswith("/accounts/login/?next=http%3A%2F%2Ftestserver%2Ftenants")


def test_a_session_has_an_end_whatever_is_done(alices: Client, tenant: Tenant, later: Callable[[float], None]) -> None:
    step = settings.SESSION_IDLE_SECONDS / 2
    for _ in range(int(settings.SESSION_COOKIE_AGE / step)):
        assert is_in(alices, tenant)
        later(step)
    later(1)
    assert not is_in(alices, tenant)


def test_not_every_request_writes(alices: Client, tenant: Tenant, later: Callable[[float], None]) -> None:
    assert is_in(alices, tenant)
    with CaptureQueriesContext(
        connection,
    ) as asked:
        for _ in range(5):
            assert is_in(alices, tenant)
        later(61)
        for _ in range(5):
            assert is_in(alices, tenant)
            alices.get(f"/tenants/{tenant.pk}/key/live/", headers=POLL)
    written = [
        query["sql"] for query in asked if "django_session" in query["sql"] and not query["sql"].startswith("SELECT")
    ]
    assert len(written) == 1, written
    assert Session.objects.count() == 1
