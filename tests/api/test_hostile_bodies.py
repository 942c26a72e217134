"""Every API body that should never have been sent: a clear 4xx that says why, and nothing half-saved."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from keys.models import BranchKey, KeyRegistration, KeyUse
from tenants import authentication
from tenants.models import Member, ServiceAccount, Tenant

pytestmark = pytest.mark.django_db
ApiOf = Callable[[Member | ServiceAccount], Client]
JSON = "application/json"

# Name, body, content type, status, part of the reason.
BODIES: list[tuple[str, bytes, str, int, str]] = [
    ("nested brackets", b'{"context":' + b"[" * 30_000 + b"]" * 30_000 + b"}", JSON, 400, "nested"),
    ("nested objects", b'{"a":' * 5_000 + b"1" + b"}" * 5_000, JSON, 400, "nested"),
    ("a name twice", b'{"context": {}, "context": {}}', JSON, 400, "stands twice"),
    ("NaN", b'{"context": {"a": NaN}}', JSON, 400, "NaN"),
    ("Infinity", b'{"context": {"a": -Infinity}}', JSON, 400, "Infinity"),
    ("a huge number", b'{"context": ' + b"9" * 5_000 + b"}", JSON, 400, "too large"),
    ("a float too large", b'{"context": 1e999}', JSON, 400, "too large"),
    ("UTF-16", '{"context": {}}'.encode("utf-16"), JSON, 400, "not UTF-8"),
    ("UTF-16 declared", '{"context": {}}'.encode("utf-16"), "application/json; charset=utf-16", 415, "UTF-8"),
    ("UTF-7", b"+AHsAIg-a+ACI-:1+AH0-", "application/json; charset=utf-7", 415, "UTF-8"),
    ("a byte order mark", b'\xef\xbb\xbf{"context": {}}', JSON, 400, "byte order mark"),
    ("NUL", b'{"context": {"a": "\\u0000"}}', JSON, 400, "NUL"),
    ("NUL in a name", b'{"context": {"\\u0000": "a"}}', JSON, 400, "NUL"),
    ("half a surrogate pair", b'{"context": {"a": "\\ud800"}}', JSON, 400, "surrogate"),
    ("a form", b"context=1", "application/x-www-form-urlencoded", 415, "application/json"),
    (
        "multipart",
        b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--b--',
        "multipart/form-data; boundary=b",
        415,
        "json",
    ),
    ("no type", b'{"context": {}}', "", 415, "application/json"),
    ("an array", b"[]", JSON, 400, "not a JSON object"),
    ("a string", b'"x"', JSON, 400, "not a JSON object"),
    ("half a body", b'{"context": {', JSON, 400, "line 1"),
    ("an unknown field", b'{"contxt": {}}', JSON, 400, "contxt"),
    ("a context of numbers", b'{"context": {"a": 1}}', JSON, 400, "context"),
    ("a context that is a list", b'{"context": []}', JSON, 400, "context"),
    ("no items", b'{"items": []}', JSON, 400, "items"),
    ("items and context", b'{"items": [{}], "context": {}}', JSON, 400, "items"),
    ("101 items", json.dumps({"items": [{}] * 101}).encode(), JSON, 400, "items"),
    ("items of strings", b'{"items": ["x"]}', JSON, 400, "items"),
    ("another tenant's id", b'{"context": {"tenant": "x"}}', JSON, 400, "tenant"),
    ("17 pairs", json.dumps({"context": {str(n): "" for n in range(17)}}).encode(), JSON, 400, "16 pairs"),
    ("over 256 KiB", b'{"context": {"a": "' + b"x" * 270_000 + b'"}}', JSON, 413, "bytes"),
]


@pytest.mark.parametrize(
    ("body", "content_type", "status", "why"), [row[1:] for row in BODIES], ids=[row[0] for row in BODIES]
)
def test_a_hostile_body_is_refused_with_the_reason(
    tenant: Tenant, service: ServiceAccount, api_of: ApiOf, body: bytes, content_type: str, status: int, why: str
) -> None:
    answer = api_of(service).generic("POST", f"/api/v1/tenants/{tenant.pk}/data-keys", body, content_type=content_type)
    assert answer.status_code == status, answer.content
    problem = answer.json()
    assert answer["Content-Type"] == "application/problem+json"
    assert why in json.dumps(problem, ensure_ascii=False)
    assert problem["code"] and problem["request_id"] == answer["X-Request-ID"]
    assert not KeyUse.objects.exists() and not BranchKey.objects.exists()


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("role_arn", "arn:aws:iam::111122223333:role/*", "arn_refused"),
        ("role_arn", "arn:aws:iam::111122223333:role/a?b", "arn_refused"),
        ("role_arn", "arn:aws:iam::111122223333:role/${aws:username}", "arn_refused"),
        ("role_arn", "arn:aws:iam::999900001111:role/byok-service-1", "arn_refused"),
        ("role_arn", "arn:aws:iam::111122223333:role/\u0430dmin", "arn_refused"),
        ("role_arn", "arn:aws:iam::１１１１22223333:role/x", "arn_refused"),
        ("role_arn", "arn:aws:iam::111122223333:role/x\u200b", "arn_refused"),
        ("role_arn", "AKIAIOSFODNN7EXAMPLE", "secret_pasted"),
        ("key_arn", "-----BEGIN PRIVATE KEY-----\nabc", "secret_pasted"),
        (
            "key_arn",
            "arn:aws:kms:us-east-1.evil.com/#:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
            "arn_refused",
        ),
        ("key_arn", "arn:aws:kms:us-east-1:111122223333:alias/x", "arn_refused"),
        ("key_arn", "arn:aws:kms:us-east-1:111122223333:key/mrk-12", "arn_refused"),
        ("key_arn", "", "invalid_input"),
        ("key_arn", "x" * 5_000, "invalid_input"),
        ("key_arn", 17, "invalid_input"),
        ("key_arn", None, "invalid_input"),
        ("external_id", "byok-mine", "invalid_input"),
    ],
)
def test_a_hostile_arn_is_a_400_on_its_field_and_saves_nothing(
    tenant: Tenant, alice: Member, api_of: ApiOf, field: str, value: Any, code: str, capfd: pytest.CaptureFixture[str]
) -> None:
    answer = api_of(alice).put(f"/api/v1/tenants/{tenant.pk}/registration", {field: value}, content_type=JSON)
    assert (answer.status_code, answer.json()["code"]) == (400, code), answer.content
    assert field in answer.json()["errors"]
    assert not KeyRegistration.objects.exists()
    if code == "secret_pasted":
        shown = capfd.readouterr()
        assert str(value)[:20] not in answer.content.decode() + shown.out + shown.err


def test_the_external_id_is_never_taken_from_a_request(tenant: Tenant, alice: Member, api_of: ApiOf) -> None:
    before = tenant.external_id
    api_of(alice).put(f"/api/v1/tenants/{tenant.pk}/registration", {"external_id": "x"}, content_type=JSON)
    tenant.refresh_from_db()
    assert tenant.external_id == before


def test_a_registration_body_over_64_kib_is_a_413(tenant: Tenant, alice: Member, api_of: ApiOf) -> None:
    body = b'{"key_arn": "' + b"x" * 70_000 + b'"}'
    answer = api_of(alice).generic("PUT", f"/api/v1/tenants/{tenant.pk}/registration", body, content_type=JSON)
    assert answer.status_code == 413


# --- who calls ----------------------------------------------------------------------------------------------


def test_without_a_token_or_with_a_cookie_alone_nothing_is_shown(
    tenant: Tenant, alice: Member, browser_of: Callable[[Member], Client]
) -> None:
    for client in (Client(), browser_of(alice)):
        answer = client.get(f"/api/v1/tenants/{tenant.pk}/setup")
        assert (answer.status_code, answer["WWW-Authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize(
    "header", ["Bearer", "Bearer x", "Basic eDp5", "Bearer " + "a" * 43, "Bearer é" * 5, "Bearer " + "a" * 10_000]
)
def test_a_token_that_is_none_is_a_401(tenant: Tenant, header: str) -> None:
    answer = Client().get(f"/api/v1/tenants/{tenant.pk}/setup", HTTP_AUTHORIZATION=header)
    assert answer.status_code == 401


def token(form: dict[str, str], **headers: str) -> Any:
    return Client().post("/api/v1/oauth/token", form, headers=headers, content_type="application/x-www-form-urlencoded")


def test_client_credentials_give_a_bearer_token_for_a_quarter_of_an_hour(tenant: Tenant, sam: object) -> None:
    from urllib.parse import urlencode

    from tenants import audit, services

    account, secret = services.create_service_account("s", tenants=[tenant], scopes=["key:read"], actor=audit.COMMAND)
    form = {"grant_type": "client_credentials", "client_id": str(account.pk), "client_secret": secret}

    def ask(**changes: str) -> Any:
        body = urlencode({**form, **changes})
        return Client().generic("POST", "/api/v1/oauth/token", body, content_type="application/x-www-form-urlencoded")

    answer = ask()
    assert answer.status_code == 200
    assert {**answer.json(), "access_token": ""} == {
        "access_token": "",
        "token_type": "Bearer",
        "expires_in": 900,
        "scope": "key:read",
    }
    assert answer["Cache-Control"] == "no-store"
    bearer = {"authorization": f"Bearer {answer.json()['access_token']}"}
    assert Client(headers=bearer).get(f"/api/v1/tenants/{tenant.pk}/key").status_code == 200
    assert Client(headers=bearer).get(f"/api/v1/tenants/{tenant.pk}/setup").status_code == 403
    assert (
        Client(headers=bearer).post(f"/api/v1/tenants/{tenant.pk}/data-keys", {}, content_type=JSON).status_code == 403
    )
    assert (ask(client_secret="wrong").status_code, ask(client_secret="wrong").json()["error"]) == (
        401,
        "invalid_client",
    )
    assert ask(client_id="wrong").json()["error"] == "invalid_client"
    assert ask(grant_type="password").json()["error"] == "unsupported_grant_type"
    assert ask(scope="data-keys:generate").json()["error"] == "invalid_scope"

    services.rotate_secret(account, hours=0, reason="tests", actor=audit.COMMAND)
    authentication.forget_all()
    assert ask().status_code == 401
    assert Client(headers=bearer).get(f"/api/v1/tenants/{tenant.pk}/key").status_code == 401


def test_a_token_that_is_remembered_ends_with_its_time(tenant: Tenant, service: ServiceAccount, api_of: ApiOf) -> None:
    api, path = api_of(service), f"/api/v1/tenants/{tenant.pk}/key"
    with time_machine.travel(timezone.now(), tick=False) as clock:
        service.tokens.update(expires_at=timezone.now() + timedelta(seconds=2))
        assert api.get(path).status_code == 200
        clock.shift(1.9)
        assert api.get(path).status_code == 200
        clock.shift(0.1)  # far within the 5 seconds in which a caller is remembered
        assert api.get(path).status_code == 401


def test_a_member_gets_no_data_keys_and_a_service_sees_no_setup(
    tenant: Tenant, alice: Member, service: ServiceAccount, api_of: ApiOf
) -> None:
    assert api_of(alice).post(f"/api/v1/tenants/{tenant.pk}/data-keys", {}, content_type=JSON).status_code == 403
    for path in ("setup", "onboarding", "events", "tickets", "tests", "registration", "documents/trust-policy"):
        assert api_of(service).get(f"/api/v1/tenants/{tenant.pk}/{path}").status_code == 403


# --- Idempotency-Key ----------------------------------------------------------------------------------------


def test_an_idempotency_key_has_one_effect_and_what_is_stored_opens_nothing(
    tenant: Tenant, active: KeyRegistration, service: ServiceAccount, api_of: ApiOf
) -> None:
    from tenants.models import IdempotentRequest

    api, path = api_of(service), f"/api/v1/tenants/{tenant.pk}/data-keys"
    first = api.post(path, {}, content_type=JSON, headers={"idempotency-key": "k-1"})
    again = api.post(path, {}, content_type=JSON, headers={"idempotency-key": "k-1"})
    assert (first.status_code, again.status_code) == (200, 200)
    assert (again.json()["plaintext"], again.json()["wrapped_key"]) == (
        first.json()["plaintext"],
        first.json()["wrapped_key"],
    )
    assert [use.operation for use in KeyUse.objects.all()] == ["generate", "decrypt"]
    assert first.json()["plaintext"] not in json.dumps(IdempotentRequest.objects.get().answer)
    other = api.post(path, {"context": {"a": "b"}}, content_type=JSON, headers={"idempotency-key": "k-1"})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    bad = api.post(path, {}, content_type=JSON, headers={"idempotency-key": "a b"})
    assert (bad.status_code, bad.json()["code"]) == (400, "idempotency_key_invalid")


def test_a_batch_with_a_failed_item_stays_200(
    tenant: Tenant, active: KeyRegistration, service: ServiceAccount, api_of: ApiOf
) -> None:
    api, path = api_of(service), f"/api/v1/tenants/{tenant.pk}/data-keys"
    made = api.post(path, {"context": {"n": "1"}}, content_type=JSON).json()["wrapped_key"]
    items = [
        {"wrapped_key": made, "context": {"n": "1"}},
        {"wrapped_key": made, "context": {"n": "2"}},
        {"wrapped_key": "AAAA"},
    ]
    answer = api.post(f"{path}/decrypt", {"items": items}, content_type=JSON)
    assert answer.status_code == 200
    good, wrong, foreign = answer.json()["items"]
    assert set(good) == {"plaintext", "cache_until"}
    assert wrong["problem"]["code"] == foreign["problem"]["code"] == "wrapped_key_unreadable"
    assert answer["Cache-Control"] == "no-store"
    single = api.post(f"{path}/decrypt", {"wrapped_key": "AAAA"}, content_type=JSON)
    assert single.status_code == 422
