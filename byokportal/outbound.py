"""The one client for every address that a tenant gives: https, resolved once, and to the public internet alone.

A tenant's address may name our own network, answer for ever, or send us elsewhere. So the name is resolved once and the
connection goes to the address that was judged; every answer of the DNS has to be public; no redirect is followed;
nothing is decompressed; headers and body are bounded; one deadline holds for all of it together.
OUTBOUND_ALLOW exempts origins from https and from the ranges, and from nothing else; it is for tests and the embedded
run.
"""

from __future__ import annotations

import http.client
import ipaddress
import re
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from byokportal import clock, resolver
from byokportal.errors import AddressRefused, AddressUnreachable
from byokportal.translation import translate as _

SECONDS = 5.0
LARGEST = 256 * 1024  # bytes of a body
# Calls of one process for one tenant.
AT_ONCE_FOR_ONE = 3

ADDRESS = re.compile(r"(https?)://([A-Za-z0-9.-]{1,253})(?::([0-9]{1,5}))?((?:/|\?)[!$-;=?-Z_a-z~\[\]]*)?", re.ASCII)
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)

# IANA's special-purpose registries (iana.org/assignments/iana-ipv4-special-registry and …/iana-ipv6-special-registry),
# multicast (RFC 5771), class E, and the address at which Azure's hosts answer their guests
# (learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16).
NOT_PUBLIC_V4 = [
    ipaddress.IPv4Network(one)
    for one in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
]
# Of IPv6, global unicast alone (RFC 4291): that leaves out mapped and compatible IPv4 addresses, NAT64 (64:ff9b::/96
# and 64:ff9b:1::/48), unique local, link-local and multicast. Of what is left, protocol assignments with Teredo,
# documentation, 6to4 and what else has an IPv4 address or a network of ours inside go too.
PUBLIC_V6 = ipaddress.IPv6Network("2000::/3")
NOT_PUBLIC_V6 = [
    ipaddress.IPv6Network(one) for one in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
]


@dataclass(frozen=True, slots=True)
class Answer:
    """What an address answered. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Target:
    """An address, taken apart."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def origin(self) -> str:
        """Return scheme, host and port, the port only where it is not the scheme's own."""
        own = {"https": 443, "http": 80}[self.scheme]
        return f"{self.scheme}://{self.host}" + ("" if self.port == own else f":{self.port}")

    @property
    def is_allowed(self) -> bool:
        """Tell whether OUTBOUND_ALLOW names it."""
        return self.origin in settings.OUTBOUND_ALLOW


def target_of(address: str) -> Target:
    """Take an address apart; asks nobody.

    Raises:
        AddressRefused: it is none that we would call.
    """
    found = ADDRESS.fullmatch(address)
    if found is None or len(address) > 2000:
        raise AddressRefused(why=_("It is like https://host.example/path, without a user name and without a fragment."))
    scheme, host = found[1], found[2].lower()
    port = int(found[3]) if found[3] else {"https": 443, "http": 80}[scheme]
    path = found[4] or "/"
    target = Target(scheme, host, port, path if path.startswith("/") else f"/{path}")
    if target.is_allowed:
        return target
    if scheme != "https":
        raise AddressRefused(why=_("It begins with https://."))
    labels = host.split(".")
    # A last label that begins with a digit makes it a number: an IPv4 address in one of its many spellings.
    if len(labels) < 2 or not all(LABEL.fullmatch(one) for one in labels) or labels[-1][0].isdigit():
        raise AddressRefused(why=_("It names a host of the public internet by its full name, not by a number."))
    if not (port == 443 or 1024 <= port <= 65_535):
        raise AddressRefused(why=_("Its port is 443, or 1024 and above."))
    return target


def is_public(text: str) -> bool:
    """Tell whether an IP address belongs to the public internet."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in NOT_PUBLIC_V4)
    return (
        address.scope_id is None and address in PUBLIC_V6 and not any(address in network for network in NOT_PUBLIC_V6)
    )


def request(
    address: str,
    *,
    whose: str,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    seconds: float = SECONDS,
    largest: int = LARGEST,
    at_once: int | None = None,
) -> Answer:
    """Call an address that a tenant gave, and return what it answers, whatever its status.

    Args:
        whose: the tenant that gave the address; how many calls at once are counted for it.
        seconds: for the name, the connection, TLS, the request and the whole answer together.
        largest: bytes of the body of the answer.
        at_once: calls of this process at once, in one that answers no pages; else `concurrent_calls`.

    Raises:
        AddressRefused: we do not call such an address.
        AddressUnreachable: it did not answer as an answer has to be, in time and in size.
    """
    target = target_of(address)
    ends_at = clock.monotonic() + seconds
    with _one_of_few(whose, at_once or concurrent_calls()):
        candidates = _resolved(target, ends_at)
        try:
            return _call(target, candidates, method, dict(headers or {}), body, ends_at, largest)
        except TimeoutError:
            raise AddressUnreachable(why=_("It did not answer in time.")) from None
        except ssl.SSLCertVerificationError:
            raise AddressUnreachable(why=_("Its certificate is not valid for that name.")) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise AddressUnreachable(why=_why(error)) from None


def _resolved(target: Target, ends_at: float) -> list[str]:
    """Return the addresses of the host, all of them judged; nothing resolves it again."""
    with suppress(ValueError):
        return [str(ipaddress.ip_address(target.host))]  # only OUTBOUND_ALLOW lets one get here
    if target.is_allowed and target.host == "localhost":
        return ["127.0.0.1"]
    # Two answers would tell a tenant which names there are in a DNS of ours.
    refused = AddressRefused(why=_("Its name leads to no address on the public internet."))
    try:
        found = resolver.addresses(target.host, seconds=_left(ends_at))
    except resolver.NoSuchRecord:
        raise refused from None
    except (resolver.NoAnswer, TimeoutError):
        raise AddressUnreachable(why=_("The DNS did not answer.")) from None
    if not target.is_allowed and not all(is_public(one) for one in found):
        raise refused
    return found


def _call(
    target: Target,
    candidates: list[str],
    method: str,
    headers: dict[str, str],
    body: bytes | None,
    ends_at: float,
    largest: int,
) -> Answer:
    connection = http.client.HTTPConnection(target.host, target.port)
    connection.sock = _connected(target, candidates, ends_at)
    try:
        # What is compressed could unpack to anything.
        connection.request(method, target.path, body, {**headers, "Accept-Encoding": "identity", "Connection": "close"})
        response = connection.getresponse()
        if 300 <= response.status < 400:
            raise AddressUnreachable(why=_("It sends us to another address, and we follow no redirect."))
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise AddressUnreachable(why=_("Its answer is compressed, which we did not ask for."))
        promised = response.length or 0
        if promised > largest:
            raise AddressUnreachable(why=_("Its answer is too large."))
        text = response.read(largest + 1)
        if len(text) < promised:
            raise AddressUnreachable(why=_("Its answer broke off."))
        if len(text) > largest:
            raise AddressUnreachable(why=_("Its answer is too large."))
        return Answer(response.status, {name.lower(): value for name, value in response.headers.items()}, text)
    finally:
        connection.close()


def _connected(target: Target, candidates: list[str], ends_at: float) -> socket.socket:
    """Return a connection to the first of the judged addresses that takes one."""
    failed: OSError = OSError("no address")
    for address in candidates[:4]:
        plain = _PlainSocket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        plain.ends_at = ends_at
        try:
            plain.settimeout(_left(ends_at))
            plain.connect((address, target.port))
            return _in_tls(plain, target.host, ends_at) if target.scheme == "https" else plain
        except (ssl.SSLError, TimeoutError):
            plain.close()
            raise
        except OSError as error:
            plain.close()
            failed = error
    raise failed


def _in_tls(plain: socket.socket, host: str, ends_at: float) -> socket.socket:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslsocket_class = _TlsSocket
    secured: Any = context.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)
    secured.ends_at = ends_at
    try:
        secured.settimeout(_left(ends_at))
        secured.do_handshake()
    except OSError:
        secured.close()
        raise
    return secured  # type: ignore[no-any-return]


class _Timed:
    """A socket that waits until one instant in all: whoever sends a byte now and then does not begin it anew."""

    ends_at: float

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        self.settimeout(_left(self.ends_at))  # type: ignore[attr-defined]
        read: int = super().recv_into(*args, **kwargs)  # type: ignore[misc]
        return read

    def send(self, *args: Any, **kwargs: Any) -> int:
        self.settimeout(_left(self.ends_at))  # type: ignore[attr-defined]
        sent: int = super().send(*args, **kwargs)  # type: ignore[misc]
        return sent


class _PlainSocket(_Timed, socket.socket):
    pass


class _TlsSocket(_Timed, ssl.SSLSocket):
    pass


def _left(ends_at: float) -> float:
    left = ends_at - clock.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


_lock = threading.Lock()
_running: Counter[str] = Counter()


def concurrent_calls() -> int:
    """Return how many calls this process makes at once: a quarter of the threads that answer pages, or one tenant's."""
    threads: int = settings.WEB_THREADS
    return max(AT_ONCE_FOR_ONE, threads // 8)


@contextmanager
def _one_of_few(whose: str, most: int) -> Iterator[None]:
    """Let few calls run at once: addresses that never answer must not take every thread of the pages."""
    with _lock:
        if _running.total() >= most or _running[whose] >= AT_ONCE_FOR_ONE:
            raise AddressUnreachable(why=_("Too many calls run at this moment."))
        _running[whose] += 1
    try:
        yield
    finally:
        with _lock:
            _running[whose] -= 1
            if not _running[whose]:
                del _running[whose]


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return _("It does not speak TLS as it has to.")
    if isinstance(error, ConnectionRefusedError):
        return _("It refused the connection.")
    if isinstance(error, OSError):
        return _("The connection failed.")
    return _("Its answer is no HTTP that we understand.")
