"""Whose request it is: from the right, as far as our own proxies wrote it."""

from __future__ import annotations

import pytest
import structlog
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse

from byokportal import addresses

INNER = "10.0.0.0/8,fd00::/8"

# BEHIND_PROXY, who spoke to us, X-Forwarded-For, whose request it is
ROWS = [
    ("0", "203.0.113.9", "", "203.0.113.9"),
    ("0", "203.0.113.9", "1.2.3.4", "203.0.113.9"),  # nobody of ours wrote it
    ("1", "10.0.0.2", "198.51.100.7", "198.51.100.7"),
    ("1", "10.0.0.2", "1.2.3.4, 198.51.100.7", "198.51.100.7"),  # the left one is the client's own word
    ("1", "10.0.0.2", "1.2.3.4,5.6.7.8 ,198.51.100.7", "198.51.100.7"),
    ("1", "10.0.0.2", "", "10.0.0.2"),
    ("true", "10.0.0.2", "1.2.3.4, 198.51.100.7", "198.51.100.7"),
    ("2", "10.0.0.2", "1.2.3.4, 198.51.100.7, 10.0.0.1", "198.51.100.7"),
    ("2", "10.0.0.2", "1.2.3.4", "10.0.0.2"),  # somebody went around a proxy
    ("1", "10.0.0.2", "unknown", "10.0.0.2"),
    ("1", "10.0.0.2", "198.51.100.7:4711", "198.51.100.7"),
    ("1", "10.0.0.2", "[2001:db8::1]:4711", "2001:db8::1"),
    ("1", "10.0.0.2", "2001:0DB8::0001", "2001:db8::1"),
    ("1", "10.0.0.2", "::ffff:198.51.100.7", "198.51.100.7"),
    ("1", "10.0.0.2", "fe80::1%eth0", "fe80::1"),
    ("1", "", "198.51.100.7", "198.51.100.7"),  # a socket of this machine
    ("0", "", "198.51.100.7", "unknown"),
    (INNER, "10.0.0.2", "1.2.3.4, 198.51.100.7, 10.0.0.1", "198.51.100.7"),
    (INNER, "10.0.0.2", "1.2.3.4, 198.51.100.7", "198.51.100.7"),
    (INNER, "203.0.113.9", "1.2.3.4", "203.0.113.9"),  # around the proxies: he may write what he likes
    (INNER, "203.0.113.9", "10.0.0.1, 10.0.0.2", "203.0.113.9"),
    (INNER, "fd00::2", "2001:db8::1, fd00::1", "2001:db8::1"),
    (INNER, "10.0.0.2", "10.0.0.3", "10.0.0.3"),  # one of our own machines
    (INNER, "10.0.0.2", "198.51.100.7, nonsense, 10.0.0.1", "10.0.0.1"),
    (INNER, "10.0.0.2", ",".join(["198.51.100.7"] * 10_000 + ["10.0.0.1"] * 19), "198.51.100.7"),
]


@pytest.mark.parametrize(("setting", "peer", "forwarded", "expected"), ROWS)
def test_the_client_is_whom_our_own_proxies_saw(
    setting: str, peer: str, forwarded: str, expected: str, settings: object
) -> None:
    settings.PROXIES = addresses.proxies(setting)  # type: ignore[attr-defined]
    request = HttpRequest()
    request.META = {"REMOTE_ADDR": peer, "HTTP_X_FORWARDED_FOR": forwarded, "HTTP_X_REAL_IP": "1.2.3.4"}
    addresses.ClientAddressMiddleware(lambda _: HttpResponse())(request)
    assert {"REMOTE_ADDR": expected} == request.META  # and nothing is left that could be read as another
    assert structlog.contextvars.get_contextvars()["ip"] == expected


@pytest.mark.parametrize(
    ("setting", "peer", "is_believed"),
    [("1", "10.0.0.2", True), ("0", "10.0.0.2", False), (INNER, "10.0.0.2", True), (INNER, "203.0.113.9", False)],
)
def test_tls_is_believed_of_our_proxies_only(setting: str, peer: str, is_believed: bool, settings: object) -> None:
    settings.PROXIES = addresses.proxies(setting)  # type: ignore[attr-defined]
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")  # type: ignore[attr-defined]
    request = HttpRequest()
    request.META = {"REMOTE_ADDR": peer, "HTTP_X_FORWARDED_PROTO": "https"}
    addresses.ClientAddressMiddleware(lambda _: HttpResponse())(request)
    assert request.is_secure() == is_believed


@pytest.mark.parametrize("setting", ["-1", "99999", "proxy.example", "10.0.0.0/99", "10.0.0.1/8", "1 2"])
def test_a_setting_that_means_nothing_is_refused(setting: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="BEHIND_PROXY"):
        addresses.proxies(setting)


def test_the_addresses_of_one_caller_count_as_one() -> None:
    assert addresses.group("2001:db8:1:2:3:4:5:6") == addresses.group("2001:db8:1:2::1") == "2001:db8:1:2::/64"
    assert addresses.group("2001:db8:1:3::1") != addresses.group("2001:db8:1:2::1")
    assert addresses.group("198.51.100.7") == "198.51.100.7"
    assert addresses.group("unknown") == "unknown"
