"""The long run: the whole system while every fifth call to AWS fails and processes are killed;
`make soak` (SOAK_SECONDS, default 600).

It ends with 0 only if cached tenants were served in at least 99 % of the requests, nobody was blamed for AWS's faults,
no key opened for another tenant, every answer had its row, and all are well again when the faults are over.
"""

from __future__ import annotations

import collections
import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from byokportal.demo.engineer import Engineer
from byokportal.demo.portal import Api, token_of
from byokportal.embedded.demo import SCOPES
from byokportal.embedded.stack import Stack

TIMES = {
    "PROBE_SECONDS": "15",
    "DENIED_PROBE_SECONDS": "5,10,15",
    "DEFAULT_REVOCATION_LATENCY": "30",
    "PROPAGATION_WINDOW": "5",
    "EXTERNAL_ID_PROBE_GAP": "1",
}
TENANTS, THREADS, SHARE, SERVED = 6, 4, 0.2, 0.99
KILLED_EVERY = 30.0  # seconds: a worker, then a web process, in turn


@dataclass
class Seen:
    """What the callers saw."""

    answers: collections.Counter[str] = field(default_factory=collections.Counter)
    lost: int = 0  # connections that a killed web process took with it
    wrong: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, what: str) -> None:
        with self.lock:
            self.answers[what] += 1


@dataclass
class Tenant:
    """One tenant as its owner and a platform service see it."""

    id: str
    owner: Api
    service: Api = field(init=False)
    blobs: list[tuple[str, str]] = field(default_factory=list)  # wrapped key, plaintext


def onboard(stack: Stack, run: dict[str, Any], number: int) -> Tenant:
    """Bring one tenant through the six steps, as its engineer and by the API."""
    made = json.loads(
        stack.manage("create_tenant", "--name", f"Soak {number}", "--owner", f"owner{number}@soak.example")
    )
    owner = Api(run["url"], made["tenant"], made["automation_token"])
    account, credentials = next(iter(run["accounts"].items()))
    engineer, role = Engineer(run["aws_endpoint"], account, credentials), f"Soak{number}"
    key_arn = engineer.create_key()
    owner.call("PUT", "registration", {"key_arn": key_arn})
    role_arn = engineer.create_role(role, owner.get("documents/trust-policy"))
    engineer.attach_permissions(role, role, owner.get("documents/permissions-policy"))
    owner.call("PUT", "registration", {"role_arn": role_arn})
    engineer.add_key_statement(key_arn, owner.get("documents/key-policy-statement"))
    owner.call("POST", "registration/submit", {})
    wait("a key in service", lambda: owner.get("key")["status"] == "active", 90)
    return Tenant(made["tenant"], owner)


def service_for(stack: Stack, run: dict[str, Any], tenants: list[Tenant]) -> None:
    """Let one platform service act for all of them."""
    wanted = [part for scope in SCOPES for part in ("--scope", scope)]
    account = json.loads(stack.manage("create_service_account", "--name", "soak", "--all-tenants", *wanted))
    token = token_of(run["url"], **account)
    for tenant in tenants:
        tenant.service = Api(run["url"], tenant.id, token)


def wait(what: str, is_so: Any, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > end:
            raise SystemExit(f"NOT within {seconds:g} s: {what}")
        time.sleep(0.2)


def call(seen: Seen, tenants: list[Tenant], until: float) -> None:
    """Make and open data keys of all tenants, and try each blob on another tenant now and then."""
    while time.monotonic() < until:
        mine, other = random.sample(tenants, 2)
        try:
            if not mine.blobs or random.random() < 0.5:
                answer = mine.service.call("POST", "data-keys", {"context": {"object": "1"}})
                if answer.status == 200:
                    mine.blobs.append((answer.body["wrapped_key"], answer.body["plaintext"]))
                    del mine.blobs[:-200]
                seen.note(f"generate {answer.status} {answer.body.get('code', '')}".strip())
            else:
                wrapped, plaintext = random.choice(mine.blobs)
                body = {"wrapped_key": wrapped, "context": {"object": "1"}}
                if random.random() < 0.05:
                    foreign = other.service.call("POST", "data-keys/decrypt", body)
                    if foreign.status == 200:
                        seen.wrong.append(f"a blob of {mine.id} opened for {other.id}")
                    continue
                answer = mine.service.call("POST", "data-keys/decrypt", body)
                if answer.status == 200 and answer.body["plaintext"] != plaintext:
                    seen.wrong.append(f"another plaintext for {mine.id}")
                seen.note(f"decrypt {answer.status} {answer.body.get('code', '')}".strip())
        except OSError:
            seen.lost += 1
            time.sleep(0.2)
        time.sleep(0.01)


def blame(seen: Seen, tenants: list[Tenant], until: float) -> None:
    """Nobody's key may be called suspended: AWS said no to nobody."""
    while time.monotonic() < until:
        for tenant in tenants:
            try:
                status = tenant.owner.get("key")["status"]
            except (OSError, AssertionError):
                continue
            if status not in {"active", "unreachable"}:
                seen.wrong.append(f"{tenant.id} is {status}")
            seen.note(f"state {status}")
        time.sleep(1)


def main() -> int:
    seconds = float(os.environ.get("SOAK_SECONDS", "600"))
    var_dir = Path(tempfile.mkdtemp(prefix="byok-soak-"))
    stack = Stack(var_dir, port=0, aws_port=0, settings=TIMES, show=lambda line: None)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    seen = Seen()
    try:
        run = stack.start()
        tenants = [onboard(stack, run, number) for number in range(TENANTS)]
        service_for(stack, run, tenants)
        for tenant in tenants:
            tenant.service.call("POST", "data-keys", {})
        print(f"{TENANTS} tenants in service; {SHARE:.0%} of all calls to AWS fail for {seconds:g} s.", flush=True)
        stack.manage("faults", "add", "error", "503", "--share", str(SHARE / 2))
        stack.manage("faults", "add", "throttling", "--share", str(SHARE / 2))
        until = time.monotonic() + seconds
        threads = [threading.Thread(target=call, args=(seen, tenants, until), daemon=True) for _ in range(THREADS)]
        threads.append(threading.Thread(target=blame, args=(seen, tenants, until), daemon=True))
        for thread in threads:
            thread.start()
        turn = 0
        while time.monotonic() < until:
            stack.watch_for(min(KILLED_EVERY, max(0.1, until - time.monotonic())))
            if time.monotonic() < until - KILLED_EVERY:
                stack.kill(("worker", "web")[turn % 2])
                turn += 1
        for thread in threads:
            thread.join(30)
        stack.manage("faults", "clear")
        end = time.monotonic() + 90
        while not all(tenant.owner.get("key")["status"] == "active" for tenant in tenants):
            if time.monotonic() > end:
                seen.wrong.append("not all keys are in service 90 s after the faults were cleared")
                break
            stack.watch_for(1.0)
        return verdict(seen, var_dir, turn)
    finally:
        stack.stop()
        shutil.rmtree(var_dir, ignore_errors=True)


def verdict(seen: Seen, var_dir: Path, kills: int) -> int:
    asked = {name: n for name, n in seen.answers.items() if not name.startswith("state")}
    good = sum(n for name, n in asked.items() if " 200" in name)
    share = good / max(1, sum(asked.values()))
    with sqlite3.connect(f"file:{var_dir / 'db.sqlite3'}?mode=ro", uri=True) as database:
        (rows,) = database.execute("select count(*) from keys_keyuse").fetchone()
    for name, n in sorted(seen.answers.items()):
        print(f"  {n:7,}  {name}")
    print(f"  {seen.lost:7,}  connections lost with {kills} killed processes")
    print(f"served {share:.2%} (at least {SERVED:.0%}); {rows:,} rows for {good:,} answers with a key")
    if rows < good:
        seen.wrong.append("a key left without its row")
    if share < SERVED:
        seen.wrong.append(f"served {share:.2%} only")
    for wrong in sorted(set(seen.wrong)):
        print(f"NOT: {wrong}")
    return 1 if seen.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
