"""Data keys over HTTP: against OpenBao's transit, against an empty view, and many in one request against one at a time.

PostgreSQL waits for the disk, two web processes, 32 keep-alive connections; whatever is compared runs in
turn, three times, with the same load generator on the same cores, and the median of the ratios counts.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.bench import openbao, stack
from tests.bench.figure import Figure

TURNS = 3
# Of each turn: longer than a remembered token lasts (5 s), so that its renewals are in it.
SECONDS = 20.0
ITEMS = 100
PLENTY = {"DATA_KEYS_PER_CALLER": "100000000", "DATA_KEYS_PER_TENANT": "100000000"}

Load = Callable[[], dict[str, Any]]


def measure() -> Iterator[Figure]:
    """Yield the figures of the table in the issue of the key in service."""
    with stack.system(**PLENTY) as system, openbao.server() as bao:
        url, token = system["url"], system["token"]
        wrapped = stack.post(url, {}, token=token)["wrapped_key"]
        foreign = bao.ask("transit/datakey/plaintext/k")["data"]["ciphertext"]

        def ours(path: str, body: Any, connections: int = stack.CONNECTIONS) -> Load:
            return lambda: stack.load(
                url + path, token=token, bodies=[json.dumps(body)], seconds=SECONDS, connections=connections
            )

        def theirs(path: str, body: Any) -> Load:
            return lambda: stack.load(
                f"{bao.url}/{path}", token=bao.token, header="X-Vault-Token", bodies=[json.dumps(body)], seconds=SECONDS
            )

        empty = ours("/empty", {})
        generate = ours("", {})
        for name, mine, peer in (
            ("generate", generate, theirs("transit/datakey/plaintext/k", {})),
            (
                "decrypt",
                ours("/decrypt", {"wrapped_key": wrapped}),
                theirs("transit/decrypt/k", {"ciphertext": foreign}),
            ),
        ):
            runs = _in_turn(mine, peer, empty)
            yield from _against(name, runs, f"OpenBao {bao.version}")
        # A process takes four at once and lets twelve wait:
        # 32 of them would be told to come again (keys.datakeys.http.priority).
        runs = _in_turn(ours("", {"items": [{}] * ITEMS}, connections=8), generate)
        many, one = runs
        ratio = _median_ratio(many, one) * ITEMS
        yield Figure(f"{ITEMS} in one request, keys a second, against one at a time", ratio, "×", 12, at_least=True)
        print(
            f"        {statistics.median(r['per_second'] for r in many) * ITEMS:.0f} keys/s against "
            f"{statistics.median(r['per_second'] for r in one):.0f}"
        )
        moving = ours("/rewrap", {"items": [{"wrapped_key": wrapped}] * ITEMS}, connections=4)
        with stack.sweeping(system) as sweep:

            def busy() -> dict[str, Any]:
                with sweep():
                    return _while(moving, generate)

            alone, beside = _in_turn(generate, busy)
        ratio = statistics.median(a["p99"] / b["p99"] for a, b in zip(beside, alone, strict=True))
        print("        generate alone: " + _told(alone))
        print("        generate while a sweep and a bulk rewrap run: " + _told(beside))
        yield Figure("generate one, p99 while a sweep and a bulk rewrap run", ratio, "×", 2)


def _while(background: Load, load: Load) -> dict[str, Any]:
    """Run both at the same time, for as long as each runs; return what the second measured."""
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(background)
        measured = load()
        other.result()
    return measured


def _against(name: str, runs: list[list[dict[str, Any]]], peer: str) -> Iterator[Figure]:
    mine, theirs, empty = runs
    for who, measured in (("ours", mine), (peer, theirs), ("an empty view", empty)):
        print(f"        {name}: {who:24} {_told(measured)}", flush=True)
    yield Figure(f"{name} one, requests a second, against {peer}", _median_ratio(mine, theirs), "×", 3, at_least=True)
    p99 = statistics.median(a["p99"] / b["p99"] for a, b in zip(mine, theirs, strict=True))
    yield Figure(f"{name} one, p99, against {peer}", p99, "×", 0.25)
    yield Figure(
        f"{name} one, requests a second, against an empty view", _median_ratio(mine, empty), "×", 0.6, at_least=True
    )


def _told(measured: list[dict[str, Any]]) -> str:
    rate, p50, p99 = (statistics.median(run[what] for run in measured) for what in ("per_second", "p50", "p99"))
    return f"{rate:8.0f} a second, p50 {p50:.1f} ms, p99 {p99:.1f} ms"


def _in_turn(*loads: Load) -> list[list[dict[str, Any]]]:
    """Run each once to warm up, then all in turn; return what each measured."""
    for load in loads:
        load()
    runs: list[list[dict[str, Any]]] = [[] for _ in loads]
    for _ in range(TURNS):
        for load, measured in zip(loads, runs, strict=True):
            measured.append(load())
    return runs


def _median_ratio(ones: list[dict[str, Any]], others: list[dict[str, Any]]) -> float:
    return statistics.median(a["per_second"] / b["per_second"] for a, b in zip(ones, others, strict=True))
