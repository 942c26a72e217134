"""Run the web server: `python -m byokportal.server`, uvicorn with our settings.

How long a request may be, how long it may take to come and how long its answer may wait for its reader is for the proxy
in front (docs/adr/0011, docs/examples/nginx.conf); the embedded run has none and listens on loopback. Here stays what
some proxies hand on and uvicorn takes for headers: trailers, and names with `_`, which WSGI reads like their twins with
`-`. With either a caller could say what only the proxy may say (`X-Forwarded-For`). uvicorn believes `X-Forwarded-*`
from loopback unless told otherwise; whether there is a proxy is for Django to know (`BEHIND_PROXY`).
"""

from __future__ import annotations

import argparse
import logging.config
import os

import uvicorn
from django.conf import settings
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from byokportal import lines, metrics

# Seconds that a connection is kept while nothing is asked: services call again and again. Longer than a proxy keeps it.
KEEP_ALIVE = 75
# Seconds that requests under way have when the server is told to stop.
GRACEFUL = 20
# Of one process; what comes on top is a 503.
CONNECTIONS = 2_000


class HeadersOnly(HttpToolsProtocol):
    """One connection, whose requests have the headers of their heads: no trailers, no names with `_`."""

    _is_in_head = False

    def on_message_begin(self) -> None:
        self._is_in_head = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_in_head and b"_" not in name:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        super().on_headers_complete()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m byokportal.server", description="Run the web server.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--workers", type=int, default=1, help="processes; one for each core")
    parser.add_argument("--application", default="byokportal.asgi:application", help="another one, for a benchmark")
    given = parser.parse_args()
    metrics.serve()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "byokportal.settings")
    logging.config.dictConfig(settings.LOGGING)  # the parent of several processes sets up no Django
    uvicorn.run(
        given.application,
        host=given.host,
        port=given.port,
        workers=given.workers,
        http="byokportal.server:HeadersOnly",
        loop="uvloop",
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=GRACEFUL,
        limit_concurrency=CONNECTIONS,
    )


if __name__ in {"__main__", "__mp_main__"}:  # the second: a child of several, which begins anew with this module
    lines.every_line_is_json()
if __name__ == "__main__":
    main()
