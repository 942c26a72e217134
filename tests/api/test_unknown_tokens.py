"""A bearer token that nobody has costs one query, and strangers who send many push no caller out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext

from byokportal.errors import NotAuthenticated
from tenants import authentication, memory, tokens
from tenants.models import ServiceAccount, Tenant


@pytest.fixture(autouse=True)
def _anew() -> None:
    authentication.forget_all()


def _ask(path: str, token: str) -> tuple[int, int]:
    """Return the status and the number of queries."""
    with CaptureQueriesContext(
        connection,
    ) as queries:
        answer = Client().get(path, headers={"authorization": f"Bearer {token}"})
    return answer.status_code, len(queries)


@pytest.mark.parametrize("rest", ["key", "data-keys", "events"])
def test_an_unknown_token_is_looked_up_once(tenant: Tenant, rest: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authentication, "REFUSED", 60.0)  # however slow this machine is
    path, token = f"/api/v1/tenants/{tenant.pk}/{rest}", tokens.new_secret()
    assert _ask(path, token) == (401, 1)
    assert {_ask(path, token) for _ in range(20)} == {(401, 0)}


def test_it_is_looked_up_again_after_a_few_seconds(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    path, token = f"/api/v1/tenants/{tenant.pk}/key", tokens.new_secret()
    monkeypatch.setattr(authentication, "REFUSED", 0.0)
    assert _ask(path, token) == (401, 1)
    assert _ask(path, token) == (401, 1)


def test_a_flood_of_made_up_tokens_pushes_no_caller_out_and_is_bounded(
    service: ServiceAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    def caller(token: str) -> authentication.Caller:
        return authentication.caller_of(RequestFactory(headers={"authorization": f"Bearer {token}"}).get("/"))

    monkeypatch.setattr(memory, "AGAIN", 60.0)  # however slow this machine is
    monkeypatch.setattr(memory, "SECONDS", 60.0)
    monkeypatch.setattr(authentication._unknown, "_at_most", 50)
    monkeypatch.setattr(authentication._known._found, "_at_most", 50)
    _, mine = tokens.issue(service, scopes=service.scopes)
    known = caller(mine)
    for _ in range(200):
        with pytest.raises(NotAuthenticated):
            caller(tokens.new_secret())
    assert len(authentication._unknown) == 50
    with CaptureQueriesContext(connection) as queries:
        assert caller(mine) is known
    assert len(queries) == 0


def test_a_token_works_as_soon_as_it_is_made(tenant: Tenant, service: ServiceAccount) -> None:
    path = f"/api/v1/tenants/{tenant.pk}/key"
    assert _ask(path, tokens.new_secret())[0] == 401
    _, raw = tokens.issue(service, scopes=service.scopes)
    assert _ask(path, raw)[0] == 200


def test_a_caller_who_is_known_is_not_refused_for_what_was_unknown_before(
    tenant: Tenant, service: ServiceAccount, api_of: Callable[[ServiceAccount], Client]
) -> None:
    """The refusals are looked at only where nobody is known."""
    path = f"/api/v1/tenants/{tenant.pk}/key"
    token, raw = tokens.issue(service, scopes=service.scopes)
    assert _ask(path, raw)[0] == 200
    token.delete()
    authentication._known.clear()
    assert _ask(path, raw) == (401, 1)
    assert _ask(path, raw) == (401, 0)
