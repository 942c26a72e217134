"""How long the certificates of the servers that we and our customers speak TLS to are good for."""

from __future__ import annotations

import itertools
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

from byokportal import clock, redis_url
from support.preflight.findings import REMEDIES, Finding

SECONDS = 5.0  # that a server has for its answer
SOON = timedelta(days=30)  # before the end; from then on somebody has to look
HTTPS, REDIS = 443, 6379  # ports that an address leaves open
# Refusals that whoever looks meets, from wherever; by any other nobody here vouches for the certificate.
# https://docs.openssl.org/3.0/man3/X509_STORE_CTX_get_error/
WRONG = {9: "it is not valid yet", 10: "it has ended", 62: "it is of another name", 64: "it is of another address"}


def look(part: str) -> Iterator[Finding]:
    """Look at the certificate of each server of REDIS_URL, and at that of BASE_URL; one that cannot be looked at does
    not keep the others back.

    One that has ended, or that nobody vouches for, ends what it serves: Redis's ends every worker, the proxy's
    everybody's way in.
    """
    found = itertools.chain(_of_the_portal(part), _of_redis(part))
    yield next(found, Finding(part, "ok", "Neither REDIS_URL nor BASE_URL is over TLS."))
    yield from found


def _of_redis(part: str) -> Iterator[Finding]:
    address, read = urlsplit(settings.REDIS_URL), redis_url.parse(settings.REDIS_URL)
    if not read.tls:
        return
    tls: dict[str, Any] = read.tls
    trusted = ssl.create_default_context(cafile=tls.get("ssl_ca_certs"), capath=tls.get("ssl_ca_path"))
    if "ssl_certfile" in tls:
        trusted.load_cert_chain(tls["ssl_certfile"], tls.get("ssl_keyfile"))
    for host, port in read.sentinels or [(address.hostname or "", address.port or REDIS)]:
        try:
            yield _finding(part, host, port, trusted)
        except ssl.SSLCertVerificationError as error:
            yield Finding(part, "fail", f"That of {host}:{port} is refused: {_refusal(error)}.", REMEDIES[part])
        except OSError as error:
            text = f"That of {host}:{port} could not be looked at ({type(error).__name__})."
            yield Finding(part, "fail", text, REMEDIES["broker"])


def _of_the_portal(part: str) -> Iterator[Finding]:
    address = urlsplit(settings.BASE_URL)
    if address.scheme != "https":
        return
    host, port = address.hostname or "", address.port or HTTPS
    try:
        yield _finding(part, host, port, ssl.create_default_context())
    except ssl.SSLCertVerificationError as error:
        if error.verify_code in WRONG:
            yield Finding(part, "fail", f"That of {host} is refused: {_refusal(error)}.", REMEDIES[part])
        else:
            yield _not_from_here(part, host, _refusal(error))
    except OSError as error:
        yield _not_from_here(part, host, type(error).__name__)


def _not_from_here(part: str, host: str, why: str) -> Finding:
    """Say that there may be no way to it from here, or that nobody here may know its authority."""
    text = f"That of {host} could not be looked at from here ({why})."
    return Finding(part, "warn", text, "Look at it from where your customers are.")


def _refusal(error: ssl.SSLCertVerificationError) -> str:
    return WRONG.get(error.verify_code, "nobody whom this process trusts vouches for it")


def _finding(part: str, host: str, port: int, trusted: ssl.SSLContext) -> Finding:
    with (
        socket.create_connection((host, port), SECONDS) as plain,
        trusted.wrap_socket(plain, server_hostname=host) as server,
    ):
        ends = ssl.cert_time_to_seconds(str((server.getpeercert() or {})["notAfter"]))
    end = datetime.fromtimestamp(ends, UTC)
    left = end - clock.now()
    if left < SOON:
        return Finding(part, "warn", f"That of {host} ends on {end:%Y-%m-%d}, in {left.days} days.", REMEDIES[part])
    return Finding(part, "ok", f"That of {host} is good until {end:%Y-%m-%d}.")
