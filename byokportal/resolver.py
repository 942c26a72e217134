"""Asks the DNS: the addresses of a name, and the TXT records at one; DNS_RESOLVER says whom it asks.

`system` asks the resolvers of this machine, a list of addresses (`10.0.0.2,10.0.0.3:5353`) asks those, and `file:PATH`
reads a JSON file instead, for tests and the embedded run: `{"hooks.acme.example": ["A 127.0.0.1", "TXT text"]}`.
"""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path

import dns.exception
import dns.name
import dns.nameserver
import dns.rdatatype
import dns.resolver
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

FILE = "file:"


class NoSuchRecord(Exception):
    """The DNS says that there is none: an answer, which counts."""


class NoAnswer(Exception):
    """The DNS gave no answer that says anything: a time-out, a server that fails."""


def addresses(name: str, *, seconds: float) -> list[str]:
    """Return the IPv4 and IPv6 addresses of a name.

    Args:
        seconds: how long it may take in all.

    Raises:
        NoSuchRecord: it has none.
        NoAnswer: nobody could tell.
    """
    if settings.DNS_RESOLVER.startswith(FILE):
        return _from_file(name, "A") or _raise(NoSuchRecord())
    try:
        found = _resolver().resolve_name(_absolute(name), lifetime=seconds, search=False)
        return list(found.addresses()) or _raise(NoSuchRecord())
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        raise NoSuchRecord from None
    except (dns.exception.DNSException, OSError) as error:
        raise NoAnswer(type(error).__name__) from None


def texts(name: str, *, seconds: float) -> list[str]:
    """Return the TXT records at a name, each in one piece.

    Raises:
        NoSuchRecord: there is none.
        NoAnswer: nobody could tell.
    """
    if settings.DNS_RESOLVER.startswith(FILE):
        return _from_file(name, "TXT") or _raise(NoSuchRecord())
    try:
        found = _resolver().resolve(_absolute(name), dns.rdatatype.TXT, lifetime=seconds, search=False)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        raise NoSuchRecord from None
    except (dns.exception.DNSException, OSError) as error:
        raise NoAnswer(type(error).__name__) from None
    return [b"".join(record.strings).decode("utf-8", "replace") for record in found]


def servers(text: str) -> list[dns.nameserver.Do53Nameserver]:
    """Return the resolvers that a setting names.

    Raises:
        ImproperlyConfigured: one of them is no address.
    """
    return [_server(part.strip()) for part in text.split(",") if part.strip()]


def _server(text: str) -> dns.nameserver.Do53Nameserver:
    host, _, port = text.rpartition(":") if text.count(":") == 1 else (text.strip("[]"), "", "53")
    try:
        return dns.nameserver.Do53Nameserver(str(ipaddress.ip_address(host)), int(port))
    except ValueError:
        raise ImproperlyConfigured("DNS_RESOLVER is `system`, addresses of resolvers, or file:PATH.") from None


def _resolver() -> dns.resolver.Resolver:
    if settings.DNS_RESOLVER == "system":
        return dns.resolver.Resolver()
    made = dns.resolver.Resolver(configure=False)
    made.nameservers = servers(settings.DNS_RESOLVER)
    return made


def _absolute(name: str) -> dns.name.Name:
    """Return the name as one that no search list is added to."""
    try:
        return dns.name.from_text(name.rstrip(".") + ".")
    except dns.exception.DNSException:
        raise NoSuchRecord from None


def _from_file(name: str, kind: str) -> list[str]:
    try:
        records = json.loads(Path(settings.DNS_RESOLVER.removeprefix(FILE)).read_text())
    except FileNotFoundError:
        return []
    return [one.partition(" ")[2] for one in records.get(name, []) if one.partition(" ")[0] == kind]


def _raise(error: Exception) -> list[str]:
    raise error
