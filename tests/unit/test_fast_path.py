"""The fast path remembers what the URL map knows, never what a stranger asked for."""

from __future__ import annotations

import uuid

import pytest
from django.urls import Resolver404, resolve

from keys.datakeys.http import fast_path


def test_addresses_that_strangers_ask_for_are_not_remembered() -> None:
    fast_path._route.cache_clear()
    for number in range(500):
        tenant = uuid.UUID(int=number)
        for route in ("", "/decrypt", "/rewrap"):
            match = fast_path._resolved(f"/api/v1/tenants/{tenant}/data-keys{route}")
            assert match.kwargs == {"tenant": str(tenant)}
        with pytest.raises(Resolver404):
            fast_path._resolved(f"/api/v1/tenants/{tenant}/data-keys/{'abcdefghij'[number % 10] * (1 + number % 16)}")
    assert fast_path._route.cache_info().currsize == 3


@pytest.mark.parametrize("route", ["", "/decrypt", "/rewrap"])
@pytest.mark.parametrize("tenant", ["5f8c1f0e-0000-4000-8000-000000000000", "data-keys", "x y", "%2e", "tenants"])
def test_the_short_way_finds_what_the_url_map_finds(tenant: str, route: str) -> None:
    path = f"/api/v1/tenants/{tenant}/data-keys{route}"
    short, common = fast_path._resolved(path), resolve(path)
    assert (short.func, short.kwargs, short.view_name, short.route) == (
        common.func,
        common.kwargs,
        common.view_name,
        common.route,
    )
