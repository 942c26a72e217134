"""oauth/token: wrong secrets are counted and written down, the right one always passes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from byokportal import addresses
from tenants import audit, services
from tenants.models import AuditEvent, ServiceAccount, Tenant

HOME, STRANGER = "198.51.100.7", "203.0.113.9"


@pytest.fixture
def client(tenant: Tenant, settings: Any) -> tuple[str, str]:
    """The id and the secret of a service account; everybody comes through one proxy of ours."""
    settings.PROXIES = addresses.proxies("1")
    account, secret = services.create_service_account(
        "search", tenants=[tenant], scopes=["key:read"], actor=audit.COMMAND
    )
    return str(account.pk), secret


def ask(address: str, client_id: str, secret: str) -> Any:
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
    body = "&".join(f"{name}={value}" for name, value in form.items())
    kind = "application/x-www-form-urlencoded"
    return Client().post(
        "/api/v1/oauth/token", body, content_type=kind, REMOTE_ADDR="10.0.0.2", headers={"x-forwarded-for": address}
    )


def rows() -> list[dict[str, Any]]:
    return [json.loads(event.payload)["data"] for event in AuditEvent.objects.filter(name="tenants.client.refused")]


def test_the_right_secret_passes_whatever_came_before(client: tuple[str, str]) -> None:
    client_id, secret = client
    answers = [ask(HOME, client_id, "wrong") for _ in range(15)]
    assert [answer.status_code for answer in answers] == [401] * 10 + [429] * 5
    assert {answer.json()["error"] for answer in answers} == {"invalid_client"}
    assert answers[-1]["Retry-After"] == "60"
    for address in (HOME, STRANGER):
        assert ask(address, client_id, secret).status_code == 200


def test_failures_count_by_client_and_address(client: tuple[str, str]) -> None:
    client_id, _ = client
    for _ in range(11):
        last = ask(STRANGER, client_id, "wrong")
    assert last.status_code == 429
    assert ask(HOME, client_id, "wrong").status_code == 401
    assert ask(STRANGER, "5f8c1f0e-0000-4000-8000-000000000000", "wrong").status_code == 401


def test_successes_do_not_count(client: tuple[str, str]) -> None:
    for _ in range(30):
        assert ask(HOME, *client).status_code == 200
    assert not rows()


def test_a_flood_leaves_few_rows(client: tuple[str, str]) -> None:
    client_id, secret = client
    for _ in range(120):
        ask(STRANGER, client_id, "a-wrong-secret")
    assert [row["count"] for row in rows()] == [1, 10, 100]
    assert {(row["client"], row["address"]) for row in rows()} == {("the service account search", STRANGER)}
    for number in range(150):
        ask(f"192.0.2.{number}", f"nobody-{number}", "a-wrong-secret")
    assert len(rows()) == 100
    assert rows()[-1]["client"] == "an unknown service account"
    kept = str(list(AuditEvent.objects.values()))
    assert "a-wrong-secret" not in kept and "nobody-" not in kept and secret not in kept


@pytest.mark.parametrize("client_id", ["", "x", "\0", "'", "%00", "🙂" * 50])
def test_an_id_that_is_none_is_refused_like_a_wrong_secret(client: tuple[str, str], client_id: str) -> None:
    assert ask(HOME, client_id, "wrong").status_code == 401


def test_a_disabled_service_account_is_told_nothing_more(client: tuple[str, str]) -> None:
    client_id, secret = client
    wrong = ask(HOME, client_id, "wrong")
    from byokportal import clock

    ServiceAccount.objects.update(disabled_at=clock.now())
    refused = ask(HOME, client_id, secret)
    assert (refused.status_code, refused.json()) == (wrong.status_code, wrong.json())
