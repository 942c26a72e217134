"""Whose request it is: the client's address as our own proxies saw it,
and nothing that a client may write there himself."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping

import structlog
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Proxies = int | tuple[Network, ...]  # how many stand in front of us, or the networks that they are in

UNKNOWN = "unknown"  # a socket of this machine: nobody but our own proxy speaks to it
HOPS = 20  # of X-Forwarded-For that are read, from the right
FORWARDED = (
    "HTTP_FORWARDED",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PORT",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_X_REAL_IP",
)


def proxies(text: str) -> Proxies:
    """Return the proxies that a setting names: a number of them, or their networks.

    Raises:
        ImproperlyConfigured: it is neither.
    """
    word = text.strip().lower()
    if word in {"", "0", "false", "no", "off", "n", "f"}:
        return 0
    if word in {"true", "yes", "on", "y", "t"}:
        return 1
    if word.isascii() and word.isdigit() and int(word[:3]) <= HOPS:
        return int(word)
    try:
        return tuple(ipaddress.ip_network(part.strip()) for part in word.split(","))
    except ValueError:
        raise ImproperlyConfigured(
            "BEHIND_PROXY is the number of proxies in front of us, or their networks with commas between."
        ) from None


def parsed(text: str) -> str:
    """Return an address in its one form, without brackets, port and zone; "" when it is none."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def client(meta: Mapping[str, str], ours: Proxies) -> str:
    """Return the client's address.

    Every proxy appends the address that it was spoken to from, so the list is read from the right, and only as far as
    our own proxies wrote it. With fewer entries than we have proxies somebody went around one: then it is the address
    that spoke to us.
    """
    peer = parsed(meta.get("REMOTE_ADDR", "")) or UNKNOWN
    hops = [hop for hop in meta.get("HTTP_X_FORWARDED_FOR", "").split(",")[-HOPS:] if hop.strip()]
    if isinstance(ours, int):
        return (parsed(hops[-ours]) if 0 < ours <= len(hops) else "") or peer
    for hop in reversed(hops):
        address = parsed(hop)
        if not _is_in(peer, ours) or not address:
            break
        peer = address
    return peer


def group(address: str) -> str:
    """Return what an address is counted as: itself, or the /64 of an IPv6 address, all of which one caller has."""
    if ":" not in address:
        return address
    return str(ipaddress.ip_network(f"{address}/64", strict=False))


def is_from_proxy(peer: str, ours: Proxies) -> bool:
    """Tell whether one of our proxies sent a request, so that what it says of the way before counts.

    Args:
        peer: the address that the connection came from, "" for a socket of this machine.
    """
    return ours > 0 if isinstance(ours, int) else _is_in(parsed(peer) or UNKNOWN, ours)


def _is_in(address: str, networks: tuple[Network, ...]) -> bool:
    return address != UNKNOWN and any(ipaddress.ip_address(address) in network for network in networks)


class ClientAddressMiddleware:
    """Puts the client's address where everything reads it: REMOTE_ADDR, and each log line.
    What nobody of ours wrote is dropped."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        ours, meta = settings.PROXIES, request.META
        peer = meta.get("REMOTE_ADDR", "")
        meta["REMOTE_ADDR"] = client(meta, ours)
        keeps_proto = is_from_proxy(peer, ours)
        for name in FORWARDED:
            if name != "HTTP_X_FORWARDED_PROTO" or not keeps_proto:
                meta.pop(name, None)
        structlog.contextvars.bind_contextvars(ip=meta["REMOTE_ADDR"])
        return self.get_response(request)
