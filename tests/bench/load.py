"""A load generator in a process of its own: keep-alive connections, one request at a time on each, answers timed.

It reads a JSON plan on stdin: `{url, connections, seconds, headers, bodies, method}`; the bodies are sent
in turn. It prints `{requests, seconds, per_second, p50, p99, statuses}` (p in milliseconds). The same generator stands
before every server that is compared, so what it costs itself weighs on all of them alike.
"""

from __future__ import annotations

import itertools
import json
import selectors
import socket
import sys
import time
from collections import Counter
from typing import Any
from urllib.parse import urlsplit


class Connection:
    """One keep-alive connection: sends the next request as soon as an answer is complete."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""
        self.began = 0.0

    def send(self, request: bytes) -> None:
        self.received, self.began = b"", time.perf_counter()
        self.socket.sendall(request)

    def answer(self) -> int | None:
        """Read what is there and return the status once the answer is complete."""
        data = self.socket.recv(262144)
        if not data:
            raise SystemExit("the server closed a connection in the middle")
        self.received += data
        head, found, body = self.received.partition(b"\r\n\r\n")
        if not found:
            return None
        lower = head.lower()
        at = lower.find(b"content-length:")
        if at < 0:
            raise SystemExit(f"an answer without Content-Length: {head[:200]!r}")
        length = int(lower[at + 15 : (lower + b"\r\n").find(b"\r\n", at)])
        return int(head[9:12]) if len(body) >= length else None


def run(plan: dict[str, Any]) -> dict[str, Any]:
    """Return what came of the plan."""
    url = urlsplit(plan["url"])
    address = (url.hostname or "127.0.0.1", url.port or 80)
    head = f"{plan.get('method', 'POST')} {url.path} HTTP/1.1\r\nHost: {url.netloc}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in plan.get("headers", {}).items())
    requests = itertools.cycle(
        f"{head}Content-Length: {len(body.encode())}\r\n\r\n{body}".encode() for body in plan.get("bodies", [""])
    )
    selector = selectors.DefaultSelector()
    for _ in range(plan["connections"]):
        connection = Connection(address)
        selector.register(connection.socket, selectors.EVENT_READ, connection)
        connection.send(next(requests))
    statuses: Counter[int] = Counter()
    times: list[float] = []
    began = time.perf_counter()
    end = began + plan["seconds"]
    while (now := time.perf_counter()) < end:
        for key, _ in selector.select(timeout=end - now):
            connection = key.data
            status = connection.answer()
            if status is not None:
                times.append(time.perf_counter() - connection.began)
                statuses[status] += 1
                connection.send(next(requests))
    took = time.perf_counter() - began
    times.sort()
    return {
        "requests": len(times),
        "seconds": round(took, 3),
        "per_second": round(len(times) / took, 1),
        "p50": round(times[len(times) // 2] * 1000, 2) if times else None,
        "p99": round(times[int(len(times) * 0.99)] * 1000, 2) if times else None,
        "statuses": dict(statuses),
    }


if __name__ == "__main__":
    print(json.dumps(run(json.load(sys.stdin))))
