"""Redis is gone: data keys go on, a stop still stops, an Idempotency-Key still counts,
and what an operation enqueues waits for beat."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret, hotp_value, yield_hotp_counters_from_time
from django.core.cache import caches
from django.test import Client
from kombu.exceptions import OperationalError
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from byokportal.celery import app
from keys import tasks
from keys.models import EncryptionTest, KeyRegistration, KeyUse
from tenants import limits
from tenants.models import Member, ServiceAccount, Tenant

JSON = "application/json"
NOBODY = "redis://127.0.0.1:1/0"  # a port that nothing listens on
ApiOf = Callable[[Member | ServiceAccount], Client]


@pytest.fixture
def nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What would look for Redis again after a pause fails here."""

    def wait(seconds: float) -> None:
        raise AssertionError(f"somebody waits {seconds} s for Redis")

    monkeypatch.setattr("kombu.utils.functional.sleep", wait)
    monkeypatch.setattr("redis.retry.sleep", wait)


@pytest.fixture
def redis_is_gone(active: KeyRegistration, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Take away the shared cache and the broker, once the tenant's key is in service."""
    options = {"socket_timeout": 0.2, "socket_connect_timeout": 0.2, "retry": Retry(NoBackoff(), 0)}
    backend = "django.core.cache.backends.redis.RedisCache"
    settings.CACHES = {"default": {"BACKEND": backend, "LOCATION": NOBODY, "OPTIONS": options}}
    limits.forget_all()
    monkeypatch.setenv("CELERY_BROKER_WRITE_URL", NOBODY)  # Celery asks the environment before its settings
    app.amqp._producer_pool = app._pool = None
    with pytest.raises(RedisError):
        caches["default"].get("x")
    with pytest.raises(OperationalError):
        tasks.enqueue_due_tests.delay()
    yield
    app.amqp._producer_pool = app._pool = None
    limits.forget_all()


def test_data_keys_go_on_each_with_its_row(
    redis_is_gone: None, nobody_waits: None, tenant: Tenant, service: ServiceAccount, api_of: ApiOf
) -> None:
    api, path, rows = api_of(service), f"/api/v1/tenants/{tenant.pk}/data-keys", KeyUse.objects.count()
    made = api.post(path, {}, content_type=JSON)
    opened = api.post(f"{path}/decrypt", {"wrapped_key": made.json()["wrapped_key"]}, content_type=JSON)
    assert (made.status_code, opened.json()["plaintext"]) == (200, made.json()["plaintext"])
    assert KeyUse.objects.count() == rows + 2


def test_shares_are_still_kept_by_each_process(
    redis_is_gone: None, tenant: Tenant, service: ServiceAccount, api_of: ApiOf, settings: Any
) -> None:
    settings.DATA_KEYS_PER_CALLER = 5
    api, path = api_of(service), f"/api/v1/tenants/{tenant.pk}/data-keys"
    answers = [api.post(path, {"items": [{}] * 5}, content_type=JSON) for _ in range(5)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused and refused[0].json()["code"] == "rate_limited"


def test_an_idempotency_key_still_has_one_effect(
    redis_is_gone: None, tenant: Tenant, service: ServiceAccount, api_of: ApiOf
) -> None:
    api, path = api_of(service), f"/api/v1/tenants/{tenant.pk}/data-keys"
    made = [api.post(path, {}, content_type=JSON, headers={"Idempotency-Key": "one"}).json() for _ in range(2)]
    assert made[0]["wrapped_key"] == made[1]["wrapped_key"]
    assert made[0]["plaintext"] == made[1]["plaintext"]


def test_a_stop_stops_at_once(
    redis_is_gone: None, tenant: Tenant, alice: Member, service: ServiceAccount, api_of: ApiOf
) -> None:
    path = f"/api/v1/tenants/{tenant.pk}"
    assert api_of(service).post(f"{path}/data-keys", {}, content_type=JSON).status_code == 200
    assert api_of(alice).post(f"{path}/key/suspend", {"reason": "x"}, content_type=JSON).status_code == 200
    refused = api_of(service).post(f"{path}/data-keys", {}, content_type=JSON)
    assert (refused.status_code, refused.json()["code"]) == (423, "suspended")


@pytest.mark.django_db(transaction=True)
def test_a_operation_whose_bell_nobody_hears_is_done_all_the_same(
    redis_is_gone: None, nobody_waits: None, tenant: Tenant, alice: Member, api_of: ApiOf
) -> None:
    api = api_of(alice)
    answer = api.post(f"/api/v1/tenants/{tenant.pk}/tests", {}, content_type=JSON)
    assert answer.status_code == 202
    assert EncryptionTest.objects.get(pk=answer.json()["id"]).due_at is not None  # beat finds it


def test_monitoring_hears_of_it(redis_is_gone: None) -> None:
    client = Client()
    assert client.get("/readyz").status_code == 503
    assert client.get("/healthz").status_code == 200


def test_people_sign_in_and_each_process_counts_what_fails(
    redis_is_gone: None, tenant: Tenant, alice: Member, browser_of: Callable[[Member], Client]
) -> None:
    assert browser_of(alice).get(f"/tenants/{tenant.pk}/key/").status_code == 200
    alice.user.set_password("a-password-of-tests-only")
    alice.user.save()
    secret = generate_totp_secret()
    TOTP.activate(alice.user, secret)
    code = f"{hotp_value(secret, next(yield_hotp_counters_from_time())):06}"
    form = {"login": alice.user.email, "password": "a-password-of-tests-only"}
    first, second = Client(), Client()
    for browser in (first, second):
        assert browser.post("/accounts/login/", form)["Location"].startswith("/accounts/2fa/authenticate/")
    assert first.post("/accounts/2fa/authenticate/", {"code": code}).status_code == 302
    assert first.get(f"/tenants/{tenant.pk}/key/").status_code == 200
    assert b"Incorrect code" in second.post("/accounts/2fa/authenticate/", {"code": code}).content  # it was used
    for _ in range(5):
        Client().post("/accounts/login/", {**form, "password": "wrong"})
    refused = Client().post("/accounts/login/", form)
    assert (refused.status_code, b"Too many attempts failed" in refused.content) == (200, True)
