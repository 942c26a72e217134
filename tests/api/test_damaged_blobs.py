"""Every bit of a wrapped key flipped, and every other length of it, over HTTP:
422 for each, never a 500, and no key."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from django.test import Client

from keys.datakeys import envelope
from keys.models import KeyRegistration, KeyUse
from tenants.models import Member, ServiceAccount, Tenant

JSON = "application/json"
CONTEXT = {"object": "1"}
ApiOf = Callable[[Member | ServiceAccount], Client]


@pytest.fixture
def blob(tenant: Tenant, active: KeyRegistration, service: ServiceAccount, api_of: ApiOf) -> bytes:
    answer = api_of(service).post(f"/api/v1/tenants/{tenant.pk}/data-keys", {"context": CONTEXT}, content_type=JSON)
    return base64.b64decode(answer.json()["wrapped_key"])


def flipped(blob: bytes) -> list[bytes]:
    return [
        bytes(byte ^ (1 << bit % 8) if at == bit // 8 else byte for at, byte in enumerate(blob))
        for bit in range(len(blob) * 8)
    ]


@pytest.mark.parametrize("operation", ["decrypt", "rewrap"])
def test_every_bit_flipped_and_every_other_length_is_a_422(
    tenant: Tenant, service: ServiceAccount, api_of: ApiOf, blob: bytes, operation: str
) -> None:
    api, path = api_of(service), f"/api/v1/tenants/{tenant.pk}/data-keys/{operation}"
    damaged = [*flipped(blob), *(blob[:length] for length in range(1, len(blob))), blob + b"\0", blob + b"\0" * 60]
    assert len(damaged) == 8 * 129 + 128 + 2
    *asked, whole = [{"wrapped_key": base64.b64encode(one).decode(), "context": CONTEXT} for one in [*damaged, blob]]
    rows, batches = KeyUse.objects.count(), [[*asked[at : at + 99], whole] for at in range(0, len(asked), 99)]
    for batch in batches:  # the last of each is whole: a damaged one takes nothing with it
        answer = api.post(path, {"items": batch}, content_type=JSON)
        assert answer.status_code == 200
        *refused, opened = answer.json()["items"]
        assert "problem" not in opened
        for number, item in enumerate(refused):
            assert set(item) == {"problem"}, batch[number]
            problem = item["problem"]
            assert (problem["status"], problem["code"]) == (422, "wrapped_key_unreadable"), batch[number]
            assert (problem["retryable"], problem["whose_turn"]) == (False, "caller"), batch[number]
    assert KeyUse.objects.count() == rows + len(batches)


def test_alone_it_is_the_status_of_the_answer(
    tenant: Tenant, service: ServiceAccount, api_of: ApiOf, blob: bytes
) -> None:
    api, path = api_of(service), f"/api/v1/tenants/{tenant.pk}/data-keys"
    rows = KeyUse.objects.count()
    for at in {0, 1, 16, 17, 48, 49, 80, 81, 112, 113, len(blob) - 1}:  # the ends of each field of the layout
        damaged = bytearray(blob)
        damaged[at] ^= 1
        for operation in ("decrypt", "rewrap"):
            body = {"wrapped_key": base64.b64encode(bytes(damaged)).decode(), "context": CONTEXT}
            answer = api.post(f"{path}/{operation}", body, content_type=JSON)
            assert (answer.status_code, answer.json()["code"]) == (422, "wrapped_key_unreadable"), (operation, at)
    assert KeyUse.objects.count() == rows
    assert envelope.branch_key_id(blob)  # the blob that they were made of is whole
