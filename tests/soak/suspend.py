"""Trials of Suspend: how long after its 200 some process still gave out a key; 5 s are promised (design.md 8).

Two web processes on machines whose clocks are hours apart, one tenant with revocation latency 0 and one with 10,
and a KMS that takes 2.6 s for each Decrypt: whoever is there when the button is pressed comes back long after it.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from byokportal.demo.portal import Api, token_of
from byokportal.embedded.demo import SCOPES
from byokportal.embedded.stack import ROOT, Stack, _free_port, _listens
from tests.soak.__main__ import TIMES, Tenant, onboard, wait

BOUND = 5.0  # seconds
SLOW = "2.6"  # seconds that KMS takes for a Decrypt
LATENCIES = (0, 10)
APART = (3 * 3600, -2 * 3600)  # seconds by which the machines of the two web processes are wrong
WATCHED = 6.5  # seconds for which it is asked on after the button


@dataclass
class Load:
    """Requests for keys of one tenant, without end, and when each answer with a key came."""

    tenants: Sequence[Api]  # the same tenant at each web process
    given_at: list[float] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)

    def ask(self, api: Api, until: threading.Event) -> None:
        blob = ""
        while not until.is_set():
            decrypts = bool(blob) and random.random() < 0.5
            answer = (
                api.call("POST", "data-keys/decrypt", {"wrapped_key": blob})
                if decrypts
                else api.call("POST", "data-keys", {})
            )
            at = time.monotonic()
            what = f"{answer.status} {answer.body.get('code', '')}".strip()
            self.statuses[what] = self.statuses.get(what, 0) + 1
            if answer.status == 200:
                self.given_at.append(at)
                blob = answer.body.get("wrapped_key", blob)
            time.sleep(0.02)


@contextmanager
def second_web(stack: Stack, skew: int) -> Iterator[str]:
    """Run a web process of its own on a machine whose clock is wrong; yields its address."""
    port = _free_port()
    with open(stack.var_dir / "logs" / f"web{skew:+d}.log", "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "byokportal.server", "--port", str(port)],
            env={**stack.environment, "CLOCK_SKEW": str(skew)},
            stdout=log,
            stderr=log,
            cwd=ROOT,
        )
    try:
        wait("a web process", lambda: _listens(port), 60)
        yield f"http://localhost:{port}"
    finally:
        process.terminate()
        process.wait(30)


def trial(tenants: dict[int, Tenant], webs: Sequence[str], number: int, token: str) -> dict[int, float]:
    """Press Suspend under load, and return for each latency how many seconds after its 200 the last key
    came (0: none did)."""
    loads = {latency: Load([Api(web, tenant.id, token) for web in webs]) for latency, tenant in tenants.items()}
    until = threading.Event()
    threads = [
        threading.Thread(target=load.ask, args=(api, until), daemon=True)
        for load in loads.values()
        for api in load.tenants
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    time.sleep(random.uniform(3.5, 6.5))
    pressed = {}
    for latency, tenant in tenants.items():
        button = Api(webs[number % len(webs)], tenant.id, tenant.owner.token)
        answer = button.call("POST", "key/suspend", {"reason": "a trial"})
        assert answer.status == 200, answer.body
        pressed[latency] = time.monotonic()
    time.sleep(WATCHED)
    until.set()
    for thread in threads:
        thread.join(40)
    for latency, load in loads.items():
        assert any(at < pressed[latency] for at in load.given_at), f"no key before Suspend: {load.statuses}"
        assert any("suspended" in status for status in load.statuses), f"nobody was refused: {load.statuses}"
    return {latency: max([0.0, *(at - pressed[latency] for at in load.given_at)]) for latency, load in loads.items()}


def run(trials: int, *, show: Any = print) -> dict[int, list[float]]:
    """Run so many trials, and return for each latency what was measured."""
    var_dir = Path(tempfile.mkdtemp(prefix="byok-suspend-"))
    more = {"DATABASE_URL": os.environ["SOAK_DATABASE_URL"]} if "SOAK_DATABASE_URL" in os.environ else {}
    stack = Stack(var_dir, port=0, aws_port=0, settings={**TIMES, **more}, show=lambda line: None)
    measured: dict[int, list[float]] = {latency: [] for latency in LATENCIES}
    try:
        run_json = stack.start()
        tenants = {}
        for number, latency in enumerate(LATENCIES):
            stack.environment["DEFAULT_REVOCATION_LATENCY"] = str(latency)
            tenants[latency] = onboard(stack, run_json, number)
        wanted = [part for scope in SCOPES for part in ("--scope", scope)]
        account = json.loads(stack.manage("create_service_account", "--name", "trials", "--all-tenants", *wanted))
        stack.manage("faults", "add", "latency", SLOW, "--operation", "kms:Decrypt")
        with second_web(stack, APART[0]) as ahead, second_web(stack, APART[1]) as behind:
            for number in range(trials):
                token = token_of(ahead, **account)
                for latency, seconds in trial(tenants, (ahead, behind), number, token).items():
                    measured[latency].append(seconds)
                    show(
                        f"  trial {number + 1:3}, latency {latency:2} s: the last key {seconds:.2f} s after Suspend",
                        flush=True,
                    )
                for tenant in tenants.values():
                    tenant.owner.call("POST", "key/resume", {"reason": "the trial is over"})
                for tenant in tenants.values():
                    wait("service again", lambda tenant=tenant: tenant.owner.get("key")["status"] == "active", 120)
    finally:
        stack.stop()
        shutil.rmtree(var_dir, ignore_errors=True)
    return measured


def distribution(measured: dict[int, list[float]]) -> list[str]:
    """Return what was measured as lines of a table."""
    lines = ["latency  trials  none after   median      90 %       max  beyond 5 s"]
    for latency, each in measured.items():
        spread = sorted(each)
        lines.append(
            f"{latency:5} s {len(each):7} {sum(one == 0 for one in each):11} {statistics.median(spread):7.2f} s"
            f" {spread[round(0.9 * (len(spread) - 1))]:7.2f} s {spread[-1]:7.2f} s "
            f"{sum(one > BOUND for one in each):11}"
        )
    return lines


def main() -> int:
    measured = run(int(os.environ.get("SUSPEND_TRIALS", "100")))
    print("\n".join(distribution(measured)))
    return 1 if any(one > BOUND for each in measured.values() for one in each) else 0


if __name__ == "__main__":
    sys.exit(main())
