"""A database that is locked or falls silent is a 503 within half a second and no key, over HTTP,
with cold and warm caches."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import silence
from django.db import connections
from django.test import Client

from keys.datakeys.http import operations
from keys.datakeys.ledger import links, recording
from keys.models import KeyRegistration, KeyUse
from tenants import access, authentication
from tenants.models import ServiceAccount, Tenant

pytestmark = pytest.mark.django_db(transaction=True)
JSON = "application/json"
ApiOf = Callable[[ServiceAccount], Client]


def no_key_in_time(api: Client, path: str) -> None:
    """Assert that a request is a 503 while the database still does not answer,
    and that what it may wait for that is less than half a second."""
    assert max(recording.WAIT, links.COMMIT, operations.DATABASE) < 0.5
    answer = api.post(path, {}, content_type=JSON)
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
    assert answer["Retry-After"] == "2"


def test_a_locked_table(tenant: Tenant, active: KeyRegistration, service: ServiceAccount, api_of: ApiOf) -> None:
    api, path = api_of(service), f"/api/v1/tenants/{tenant.pk}/data-keys"
    assert api.post(path, {}, content_type=JSON).status_code == 200
    with silence.a_locked_table():
        no_key_in_time(api, path)
    time.sleep(0.1)
    assert api.post(path, {}, content_type=JSON).status_code == 200


def test_a_silent_server(tenant: Tenant, active: KeyRegistration, service: ServiceAccount, api_of: ApiOf) -> None:
    api, path = api_of(service), f"/api/v1/tenants/{tenant.pk}/data-keys"
    connections.close_all()
    with silence.wire_to_the_database() as wire:
        assert api.post(path, {}, content_type=JSON).status_code == 200
        uses = KeyUse.objects.count()
        wire.silent.set()
        no_key_in_time(api, path)  # everything remembered: the row is what fails
        authentication.forget_all()
        access.forget_all()
        no_key_in_time(api, path)  # nothing remembered: the first question fails
        connections.close_all()
        no_key_in_time(api, path)  # not even a connection
        wire.silent.clear()
        time.sleep(links.COMMIT)
        assert api.post(path, {}, content_type=JSON).status_code == 200
        assert KeyUse.objects.count() >= uses + 1
