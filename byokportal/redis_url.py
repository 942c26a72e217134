"""REDIS_URL as Celery and Django's cache need it:
over TLS with the server's certificate checked, whatever the address leaves open.

Both take TLS settings out of the address's query, by names of their own and with defaults of their own: kombu checks no
certificate unless told to, and neither complains of a name that it does not know. So the query is read here, and both
get the same, said in full.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

SCHEMES = ("redis", "rediss", "unix")
PATHS = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile")  # files that redis-py and kombu both take
# What else may stand there, and the one thing that it may say.
FIXED = {"ssl_cert_reqs": "required", "ssl_check_hostname": "true"}


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """What an address means.

    Args:
        plain: the address without its TLS settings.
        tls: what `SSLConnection` of redis-py takes; empty without TLS.
        problems: what is mistyped in it, in words that follow "REDIS_URL".
    """

    plain: str
    tls: dict[str, object] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @property
    def broker(self) -> str:
        """The address as kombu writes it."""
        return self.plain.replace("unix://", "redis+socket://", 1).replace("?db=", "?virtual_host=")


def parse(url: str) -> RedisUrl:
    """Read an address. A certificate is checked in every case, also where the address says that it should not be."""
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    settings = {name: value for name, value in query if name.startswith("ssl")}
    others = [(name, value) for name, value in query if not name.startswith("ssl")]
    # A socket's query stays as it is written: kombu takes it apart by itself.
    plain = urlunsplit(parts._replace(query=urlencode(others, safe="/"))) if settings else url
    if parts.scheme != "rediss":
        return RedisUrl(plain, {}, tuple(_problems(parts.scheme, settings, others)))
    paths = {name: value for name, value in settings.items() if name in PATHS and value}
    tls = {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": True, **paths}
    return RedisUrl(plain, tls, tuple(_problems(parts.scheme, settings, others)))


def _problems(scheme: str, settings: dict[str, str], others: list[tuple[str, str]]) -> list[str]:
    found = []
    if scheme not in SCHEMES:
        found.append(f"begins with {scheme or 'no scheme'}: it is one of {', '.join(f'{one}://' for one in SCHEMES)}.")
    if settings and scheme in {"redis", "unix"}:
        found.append(f"has {', '.join(sorted(settings))} but no TLS: write rediss:// if it is meant.")
    for name, value in settings.items():
        if name in FIXED:
            if value.lower() != FIXED[name]:
                found.append(
                    f"says {name}={value}: the server's certificate is always checked. "
                    "Name its authority with ssl_ca_certs."
                )
        elif name not in PATHS:
            found.append(f"has {name}, which nobody reads: there are {', '.join((*PATHS, *FIXED))}.")
        elif not Path(value).exists():
            found.append(f"has {name}={value}, and there is no such file here.")
    found += [f"has {name}, which nobody reads: only db and ssl_… are." for name, _ in others if name != "db"]
    return found
