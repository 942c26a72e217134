"""Which requests for data keys are answered as they came: over TLS, or from a proxy of ours that says so."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from byokportal import dispatch

NETWORKS = (ipaddress.ip_network("10.0.0.0/8"),)


@pytest.mark.parametrize(
    ("proxies", "peer", "scheme", "forwarded", "is_answered"),
    [
        (0, "203.0.113.5", "https", "", True),
        (0, "203.0.113.5", "http", "", False),
        (0, "203.0.113.5", "http", "https", False),
        (1, "203.0.113.5", "http", "https", True),
        (1, "203.0.113.5", "http", "http", False),
        (1, "203.0.113.5", "http", "https, http", True),
        (NETWORKS, "10.1.2.3", "http", "https", True),
        (NETWORKS, "203.0.113.5", "http", "https", False),
        (NETWORKS, None, "http", "https", False),
    ],
)
def test_a_key_leaves_over_tls_alone(
    settings: Any, proxies: Any, peer: str | None, scheme: str, forwarded: str, is_answered: bool
) -> None:
    settings.SECURE_SSL_REDIRECT, settings.PROXIES = True, proxies
    headers = [(b"x-forwarded-proto", forwarded.encode())] if forwarded else []
    scope = {"scheme": scheme, "client": peer and (peer, 1), "headers": headers}
    assert dispatch._is_secure_enough(scope) is is_answered
