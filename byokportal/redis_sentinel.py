"""The cache's connections where Redis is found through Sentinel: each new one goes to the server that is master now."""

from __future__ import annotations

from typing import Any, Self

from redis import sentinel

from byokportal import redis_url


class Pool(sentinel.SentinelConnectionPool):
    """What Django's cache takes for a pool of connections."""

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """Return a pool for an address of `byokportal.redis_url`.

        Args:
            options: of each connection, its TLS settings among them.
        """
        read = redis_url.parse(url)
        waits = {name: value for name, value in options.items() if name.startswith("socket_")}
        redis: Any = sentinel  # it has no types
        asked = redis.Sentinel(read.sentinels, sentinel_kwargs={**read.sentinel_options, **waits})
        return cls(read.master, asked, ssl=bool(read.tls), db=read.db, **read.credentials, **options)
