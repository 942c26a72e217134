"""What services are told of their tenants' keys: as soon as it is committed, nothing left out, nobody else's."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction

from byokportal import visibility
from keys.models import KeyRegistration, RegistrationMove
from keys.services import key_states
from tenants import audit
from tenants import services as tenant_services
from tenants.models import Member, ServiceAccount, Tenant

ApiOf = Callable[[Any], Any]
ON_POSTGRESQL = pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")


@pytest.fixture
def account(tenant: Tenant) -> ServiceAccount:
    made, _ = tenant_services.create_service_account(
        "all", tenants=[], has_all_tenants=True, scopes=["key:read"], actor=audit.COMMAND
    )
    return made


@pytest.fixture
def registration(tenant: Tenant) -> KeyRegistration:
    return KeyRegistration.objects.create(tenant=tenant)


def move(registration: KeyRegistration, generation: int) -> None:
    RegistrationMove.objects.create(
        tenant=registration.tenant,
        registration=registration,
        old_status="active",
        new_status="suspended",
        actor="system",
        generation=generation,
    )


class Open:
    """A transaction that has written a move and is not committed yet, in a thread of its own."""

    def __init__(self, registration: KeyRegistration, generation: int) -> None:
        self._has_written, self._may_commit = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, args=(registration, generation))
        self._thread.start()
        assert self._has_written.wait(30)

    def _run(self, registration: KeyRegistration, generation: int) -> None:
        try:
            with transaction.atomic():
                move(registration, generation)
                self._has_written.set()
                self._may_commit.wait(30)
        finally:
            self._has_written.set()
            connection.close()

    def commit(self) -> None:
        self._may_commit.set()
        self._thread.join(30)


class Follower:
    """A service that asks again and again."""

    def __init__(self, account: ServiceAccount) -> None:
        self.account, self.since = account, ""

    def page(self) -> list[int]:
        rows, self.since = key_states.read_key_states(self.account, since=self.since)
        return [row.generation for row in rows]

    def all(self) -> list[int]:
        told: list[int] = []
        while page := self.page():
            told += page
            if len(page) < key_states.AT_MOST:
                break
        return told


@ON_POSTGRESQL
@pytest.mark.django_db(transaction=True)
def test_what_commits_out_of_order_across_the_borders_of_pages_is_told_each_time_at_once(
    account: ServiceAccount, registration: KeyRegistration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_states, "AT_MOST", 3)
    follower = Follower(account)
    early = Open(registration, 1)  # open all the time: nothing that comes after waits for it
    for generation in range(2, 8):
        move(registration, generation)
    middle = Open(registration, 8)
    move(registration, 9)
    assert follower.page() == [2, 3, 4]
    late = Open(registration, 10)
    assert follower.page() == [5, 6, 7]
    middle.commit()  # it wrote before 9 did, and commits behind the border of a page
    rest = follower.all()
    assert {8, 9} <= set(rest)
    late.commit()
    move(registration, 11)
    assert {10, 11} <= set(follower.all())
    early.commit()
    assert follower.all() == [1]
    assert follower.all() == []
    assert follower.all() == []


@ON_POSTGRESQL
@pytest.mark.django_db(transaction=True)
def test_what_stays_open_for_long_makes_nothing_come_again_and_again(
    account: ServiceAccount, registration: KeyRegistration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_states, "AT_MOST", 3)
    follower = Follower(account)
    early = Open(registration, 1)
    for generation in range(2, 12):
        move(registration, generation)
    assert follower.all() == list(range(2, 12))
    assert follower.all() == []
    # a snapshot that is too long for an address: more comes twice, nothing is left out
    monkeypatch.setattr(visibility, "LONG", 1)
    assert follower.all() == []
    assert set(follower.all()) == set(range(2, 12))
    early.commit()
    assert 1 in follower.all()


@ON_POSTGRESQL
@pytest.mark.django_db(transaction=True)
def test_many_writers_at_once_and_a_follower_that_never_stops(
    account: ServiceAccount, registration: KeyRegistration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_states, "AT_MOST", 5)
    follower, told = Follower(account), set()

    def write(number: int) -> None:
        try:
            for each in range(20):
                with transaction.atomic():
                    move(registration, number * 100 + each)
        finally:
            connection.close()

    writers = [threading.Thread(target=write, args=(number,)) for number in range(1, 6)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        told.update(follower.page())
    told.update(follower.all())
    told.update(follower.all())
    assert told == {number * 100 + each for number in range(1, 6) for each in range(20)}


@pytest.mark.django_db
def test_pages_follow_each_other(
    account: ServiceAccount, registration: KeyRegistration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_states, "AT_MOST", 2)
    for generation in range(1, 6):
        move(registration, generation)
    follower = Follower(account)
    assert [follower.page() for _ in range(3)] == [[1, 2], [3, 4], [5]]
    move(registration, 6)
    assert 6 in follower.all()


@pytest.mark.django_db
def test_it_is_told_of_its_own_tenants_alone(
    tenant: Tenant, mallory: Member, registration: KeyRegistration, api_of: ApiOf
) -> None:
    theirs, _ = tenant_services.create_service_account(
        "theirs", tenants=[mallory.tenant], scopes=["key:read"], actor=audit.COMMAND
    )
    mine, _ = tenant_services.create_service_account("mine", tenants=[tenant], scopes=["key:read"], actor=audit.COMMAND)
    move(registration, 1)
    answer = api_of(theirs).get("/api/v1/key-states").json()
    assert answer["items"] == []
    assert api_of(theirs).get("/api/v1/key-states", {"since": answer["next"]}).json()["items"] == []
    assert [item["tenant"] for item in api_of(mine).get("/api/v1/key-states").json()["items"]] == [str(tenant.pk)]
    # A cursor of somebody who is told more opens nothing either.
    more, _ = tenant_services.create_service_account(
        "all", tenants=[], has_all_tenants=True, scopes=["key:read"], actor=audit.COMMAND
    )
    cursor = api_of(more).get("/api/v1/key-states").json()["next"]
    assert api_of(theirs).get("/api/v1/key-states", {"since": cursor}).json()["items"] == []


INFINITE = base64.urlsafe_b64encode(b'["a","","",[Infinity,1]]').decode().rstrip("=")


@pytest.mark.django_db
@pytest.mark.parametrize(
    "since",
    ["x", "W10", "eyJhIjoxfQ", "WyJhIiwiMTsgRFJPUCIsIiIsWzAsMF1d", "Ω", "2026-01-31", "W1tbW1tb" * 500, INFINITE],
)
def test_no_cursor_of_ours_is_refused(since: str, account: ServiceAccount, api_of: ApiOf) -> None:
    answer = api_of(account).get("/api/v1/key-states", {"since": since})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_input")


@pytest.mark.django_db
def test_a_time_as_cursors_once_were_and_a_cursor_of_another_database_tell_all_again(
    account: ServiceAccount, registration: KeyRegistration
) -> None:
    move(registration, 1)
    rows, cursor = key_states.read_key_states(account, since="")
    at = rows[0].at.isoformat().replace("+00:00", "Z")
    assert [row.generation for row in key_states.read_key_states(account, since=at)[0]] == [1]
    found = key_states._parsed(cursor)
    assert found is not None
    other = found._replace(database="another", after=(10**9, 10**9)).text()
    assert [row.generation for row in key_states.read_key_states(account, since=other)[0]] == [1]
