"""REDIS_URL as Celery and Django's cache need it:
over TLS with the server's certificate checked, whatever the address leaves open.

Both take TLS settings out of the address's query, by names of their own and with defaults of their own: kombu checks no
certificate unless told to, and neither complains of a name that it does not know. So the query is read here, and both
get the same, said in full.

`redis+sentinel://` and `rediss+sentinel://` name Sentinels, which say which server is the master now (Redis
documentation, "High availability with Redis Sentinel"): redis+sentinel://s1:26379,s2:26379,s3:26379/<master>/<db>.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from redis.backoff import NoBackoff
from redis.retry import Retry

SENTINEL = "+sentinel"
SCHEMES = ("redis", "rediss", "unix", f"redis{SENTINEL}", f"rediss{SENTINEL}")
SENTINEL_PORT = 26379
SECONDS = 1.0  # that a Sentinel has for its answer; then the next is asked
PATHS = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile")  # files that redis-py and kombu both take
# What else may stand there, and the one thing that it may say.
FIXED = {"ssl_cert_reqs": "required", "ssl_check_hostname": "true"}
# Where Sentinels ask who we are; user and password before the hosts are those of the servers behind them.
OF_SENTINELS = ("sentinel_username", "sentinel_password")


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """What an address means.

    Args:
        plain: the address without its TLS settings.
        tls: what `SSLConnection` of redis-py takes; empty without TLS.
        problems: what is mistyped in it, in words that follow "REDIS_URL".
        sentinels: host and port of each; empty where the address is the server's own.
        master: the name that they know the servers by.
        asks: how they let us in: username, password.
    """

    plain: str
    tls: dict[str, object] = field(default_factory=dict, repr=False)
    problems: tuple[str, ...] = ()
    sentinels: tuple[tuple[str, int], ...] = ()
    master: str = ""
    asks: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def broker(self) -> str:
        """The address as kombu writes it."""
        if self.sentinels:
            let_in, db = urlsplit(self.plain).netloc.rpartition("@")[0], self.db
            return ";".join(
                f"sentinel://{let_in}{'@' if let_in else ''}{host}:{port}/{db}" for host, port in self.sentinels
            )
        return self.plain.replace("unix://", "redis+socket://", 1).replace("?db=", "?virtual_host=")

    @property
    def broker_options(self) -> dict[str, object]:
        """What kombu's transport takes beside it."""
        return {"master_name": self.master, "sentinel_kwargs": self.sentinel_options} if self.sentinels else {}

    @property
    def cache_options(self) -> dict[str, object]:
        """What Django's cache takes beside it."""
        return {"pool_class": "byokportal.redis_sentinel.Pool"} if self.sentinels else {}

    @property
    def sentinel_options(self) -> dict[str, object]:
        """What redis-py takes to ask a Sentinel; there is TLS to them where there is TLS to the servers."""
        tls = {"ssl": True, **self.tls} if self.tls else {}
        # redis-py would ask one that is gone ten times.
        waits = {"socket_timeout": SECONDS, "socket_connect_timeout": SECONDS, "retry": Retry(NoBackoff(), 0)}
        return {**waits, **self.asks, **tls}

    @property
    def credentials(self) -> dict[str, str]:
        """Who we are to the servers behind the Sentinels."""
        user, _, password = urlsplit(self.plain).netloc.rpartition("@")[0].partition(":")
        given = {"username": unquote(user), "password": unquote(password)}
        return {name: value for name, value in given.items() if value}

    @property
    def db(self) -> int:
        """The number of the database behind the Sentinels."""
        number = _path(self.plain)[1]
        return int(number) if number.isdecimal() else 0


def parse(url: str) -> RedisUrl:
    """Read an address. A certificate is checked in every case, also where the address says that it should not be."""
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    settings = {name: value for name, value in query if name.startswith("ssl")}
    others = [(name, value) for name, value in query if not name.startswith("ssl")]
    # A socket's query stays as it is written: kombu takes it apart by itself.
    plain = urlunsplit(parts._replace(query=urlencode(others, safe="/"))) if settings else url
    tls: dict[str, object] = {}
    if parts.scheme.startswith("rediss"):
        paths = {name: value for name, value in settings.items() if name in PATHS and value}
        tls = {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": True, **paths}
    if not parts.scheme.endswith(SENTINEL):
        return RedisUrl(plain, tls, tuple(_problems(parts.scheme, settings, others)))
    asks = {name.removeprefix("sentinel_"): value for name, value in others if name in OF_SENTINELS and value}
    others = [(name, value) for name, value in others if name not in OF_SENTINELS]
    plain = urlunsplit(parts._replace(query=""))
    found = [*_problems(parts.scheme, settings, others), *_problems_of_sentinels(plain)]
    if found:  # it is said by `check --deploy`; nobody connects by it
        return RedisUrl(plain, tls, tuple(found), (("localhost", SENTINEL_PORT),), "?", asks)
    return RedisUrl(plain, tls, (), tuple(_hosts(plain)), _path(plain)[0], asks)


def _hosts(url: str) -> list[tuple[str, int]]:
    """Return host and port of each Sentinel.

    Raises:
        ValueError: a port is no number.
    """
    each = [urlsplit(f"//{one}") for one in urlsplit(url).netloc.rpartition("@")[2].split(",")]
    return [(one.hostname or "", one.port or SENTINEL_PORT) for one in each]


def _path(url: str) -> tuple[str, str]:
    """Return the master's name and the number of the database, as they are written."""
    name, _, db = urlsplit(url).path.strip("/").partition("/")
    return unquote(name), db


def _problems_of_sentinels(url: str) -> list[str]:
    name, db = _path(url)
    found = [] if name else ["names no master: redis+sentinel://host:26379,host:26379/<master>/<db>."]
    if db and not db.isdecimal():
        found.append(f"has {db} for the number of a database.")
    try:
        if not all(host for host, _ in _hosts(url)):
            found.append("lacks a host between two commas.")
    except ValueError:
        found.append("has a port that is no number.")
    return found


def _problems(scheme: str, settings: dict[str, str], others: list[tuple[str, str]]) -> list[str]:
    found = []
    if scheme not in SCHEMES:
        found.append(f"begins with {scheme or 'no scheme'}: it is one of {', '.join(f'{one}://' for one in SCHEMES)}.")
    if settings and scheme in {"redis", "unix", f"redis{SENTINEL}"}:
        meant = scheme.replace("redis", "rediss", 1) if scheme != "unix" else "rediss"
        found.append(f"has {', '.join(sorted(settings))} but no TLS: write {meant}:// if it is meant.")
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
    read = () if scheme.endswith(SENTINEL) else ("db",)
    found += [f"has {name}, which nobody reads: only db and ssl_… are." for name, _ in others if name not in read]
    return found
