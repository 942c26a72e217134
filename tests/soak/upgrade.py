"""Two versions beside each other: `make upgrade-drill` (OLD=revision, UPGRADE_SECONDS=of each phase, default 20).

The old version serves data keys while the new one migrates the database; then its processes come up beside the old
ones, which end by SIGTERM one after another. Services ask without a pause, with the client that we give them
(docs/examples/byok_client.py: it repeats what is retryable, and what a lost connection left open), through a proxy
that takes the next web process where one refuses to connect. Nobody tells the proxy first that a process will end.

It ends with 0 only if every request came to its key, every plaintext was the right one, every answer has its row, every
refusal on the way was a retryable one, every test that an owner asked for passed, and every old process ended in time.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import http.client
import importlib.util
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from byokportal.embedded.demo import SCOPES
from byokportal.embedded.processes import die_with_parent
from byokportal.embedded.stack import CUSTOMERS, ROOT, _free_port, _listens
from tests import on_servers
from tests.soak.__main__ import TIMES, Tenant, onboard, wait

APPS = ("keys", "tenants", "support")
CLIENTS, PAUSE = 4, 0.1  # seconds between the requests of one client
# Seconds for which a client repeats: what was lost in its middle is "in progress" for `tenants.idempotency.STUCK`.
PATIENCE = 90
WEB_GRACE, WORKER_GRACE = 30.0, 130.0  # seconds; docs/deploy.md says 20 and 120
QUEUES = "checks,configuration,bulk,sweep,webhooks"
ENDED = {"finished", "cancelled"}  # statuses of a test
KEPT = 200  # wrapped keys that each client opens again


def _client() -> Any:
    spec = importlib.util.spec_from_file_location("byok_client", ROOT / "docs" / "examples" / "byok_client.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault("byok_client", module)
    spec.loader.exec_module(module)
    return module


byok_client = _client()


# --- which versions -----------------------------------------------------------------------------------------------


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def older() -> str | None:
    """Return the newest revision whose migrations are not those of this tree; None: there is none, or no git."""
    try:
        if git("status", "--porcelain", "--", *(f"{app}/migrations" for app in APPS)):
            return git("rev-parse", "HEAD")
        head = migrations_of("HEAD")
        for revision in git("rev-list", "--first-parent", "HEAD").split():
            if migrations_of(revision) != head:
                return revision
    except (subprocess.CalledProcessError, FileNotFoundError):
        pass
    return None


def migrations_of(revision: str) -> str:
    return git("rev-parse", *(f"{revision}:{app}/migrations" for app in APPS))


@contextlib.contextmanager
def tree_of(revision: str | None) -> Iterator[Path]:
    """Check a revision out beside this tree, for as long as the block lasts; None is this tree itself."""
    if revision is None:
        yield ROOT
        return
    with tempfile.TemporaryDirectory(prefix="byok-old-") as folder:
        git("worktree", "add", "--detach", "--quiet", f"{folder}/tree", revision)
        try:
            yield Path(folder) / "tree"
        finally:
            git("worktree", "remove", "--force", f"{folder}/tree")


# --- the processes ------------------------------------------------------------------------------------------------


@dataclass
class Version:
    """One version of the system: its tree, and its processes that run."""

    name: str
    tree: Path
    environment: dict[str, str]
    logs: Path
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.logs / f"{self.name}-{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=self.tree,
                env={**self.environment, "PYTHONPATH": str(self.tree)},
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent,
            )
        self.running.append(process)
        return process

    def done(self, *arguments: str) -> str:
        """Run something to its end, and return what it printed."""
        ran = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.tree,
            env={**self.environment, "PYTHONPATH": str(self.tree)},
            capture_output=True,
            text=True,
            check=False,
        )
        if ran.returncode:
            raise SystemExit(f"NOT: {self.name}: {' '.join(arguments)} failed:\n{ran.stderr[-3000:]}")
        return ran.stdout

    def manage(self, *arguments: str) -> str:
        return self.done("manage.py", *arguments)

    def start_web(self, port: int) -> subprocess.Popen[bytes]:
        return self.start(f"web-{port}", "-m", "byokportal.server", "--port", str(port))

    def start_worker(self) -> subprocess.Popen[bytes]:
        options = ["-n", f"{self.name}@%h", "-Q", QUEUES, "-c", "2", "-l", "warning"]
        options += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        return self.start("worker", "-m", "celery", "-A", "byokportal", "worker", *options)

    def start_beat(self) -> subprocess.Popen[bytes]:
        schedule = str(self.logs / f"{self.name}-schedule")
        return self.start(
            "beat", "-m", "celery", "-A", "byokportal", "beat", "-l", "warning", "-s", schedule, "--pidfile="
        )

    def kill(self) -> None:
        for process in self.running:
            process.kill()
            process.wait()


def is_ready(port: int) -> bool:
    with (
        contextlib.suppress(OSError, http.client.HTTPException),
        urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer,
    ):
        return bool(answer.status == 200)
    return False


class Proxy:
    """Hands connections on to the web processes in turn; one that refuses is passed over."""

    def __init__(self) -> None:
        self.port, self.backends = _free_port(), list[int]()
        self._turn = itertools.count()
        threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True).start()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._hand_on, "127.0.0.1", self.port)
        async with server:
            await server.serve_forever()

    async def _hand_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        backends, first = list(self.backends), next(self._turn)
        for number in range(len(backends)):
            try:
                there = await asyncio.open_connection("127.0.0.1", backends[(first + number) % len(backends)])
            except OSError:
                continue
            await asyncio.gather(_copy(reader, there[1]), _copy(there[0], writer))
            return
        writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while part := await reader.read(65_536):
            writer.write(part)
            await writer.drain()
    writer.close()


# --- who asks -----------------------------------------------------------------------------------------------------


@dataclass
class Seen:
    """What services and the owner saw, all together."""

    attempts: collections.Counter[str] = field(default_factory=collections.Counter)
    keys: collections.Counter[str] = field(default_factory=collections.Counter)  # by phase
    answered: set[str] = field(default_factory=set)  # request ids of answers with a key
    tests: list[str] = field(default_factory=list)  # their ids
    phase: str = ""
    longest: float = 0.0  # seconds from the first try to the key
    wrong: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    until: threading.Event = field(default_factory=threading.Event)


class Client(byok_client.Client):  # type: ignore[misc]
    """The client of our documentation, each of whose tries is counted."""

    seen: Seen

    def _send(self, method: str, path: str, headers: dict[str, str], content: bytes | None) -> Any:
        request_id = str(uuid.uuid4())
        try:
            answer = super()._send(method, path, {**headers, "X-Request-ID": request_id}, content)
        except byok_client.Problem as problem:
            self._note(f"{problem.status} {problem.code}")
            if not problem.body.get("retryable"):
                self.seen.wrong.append(f"{method} {path}: {problem}")
            raise
        except (OSError, http.client.HTTPException) as error:
            self._note(f"lost connection ({type(error).__name__})")
            raise
        self._note("200")
        if "/data-keys" in path:
            with self.seen.lock:
                self.seen.answered.add(request_id)
        return answer

    def _note(self, what: str) -> None:
        with self.seen.lock:
            self.seen.attempts[what] += 1


def ask(client: Client, tenants: list[Tenant]) -> None:
    """Make data keys and open them again, those of long ago too, until it is over."""
    seen, made = client.seen, list[tuple[str, dict[str, str], Any]]()
    while not seen.until.is_set():
        began = time.monotonic()
        try:
            if not made or random.random() < 0.4:
                tenant, context = random.choice(tenants).id, {"object": str(uuid.uuid4())}
                made.append((tenant, context, client.new_key(tenant, context)))
                if len(made) > KEPT:
                    made.pop(random.randrange(1, KEPT))  # the first of all stays: the old version made it
            else:
                tenant, context, key = random.choice([made[0], *made[-KEPT:]])
                client.purge(tenant)
                if client.open_key(tenant, key.wrapped, context).plaintext != key.plaintext:
                    seen.wrong.append(f"another plaintext for {tenant}")
        except Exception as error:
            seen.wrong.append(f"no answer: {type(error).__name__}: {error}"[:300])
        with seen.lock:
            seen.keys[seen.phase] += 1
            seen.longest = max(seen.longest, time.monotonic() - began)
        time.sleep(PAUSE)


def test_on(seen: Seen, owner: Any) -> None:
    """Ask for one encryption test after the other, as an owner does: workers of both versions do them."""

    def get(method: str, path: str, wanted: int) -> Any:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with contextlib.suppress(OSError, http.client.HTTPException):
                answer = owner.call(method, path, {} if method == "POST" else None)
                if answer.status == wanted:
                    return answer.body
                if not answer.body.get("retryable"):
                    seen.wrong.append(f"the owner: {method} {path}: {answer.status} {answer.body.get('code')}")
                    return None
            time.sleep(0.3)
        seen.wrong.append(f"the owner: {method} {path} was not answered within 60 s")
        return None

    while not seen.until.is_set():
        asked = get("POST", "tests", 202)
        if asked is None:
            return
        seen.tests.append(asked["id"])
        end = time.monotonic() + 300
        while (found := get("GET", f"tests/{asked['id']}", 200)) and found["status"] not in ENDED:
            if time.monotonic() > end:
                break
            time.sleep(0.5)
        if not found or found["verdict"] != "pass":
            checks = {
                one["code"]: one["verdict"] for one in (found or {}).get("checks", []) if one["verdict"] != "pass"
            }
            seen.wrong.append(f"a test ended {(found or {}).get('status')} while {seen.phase}: {checks}"[:500])
            return
        seen.until.wait(2)


# --- the drill ----------------------------------------------------------------------------------------------------


def end(process: subprocess.Popen[bytes], within: float, what: str, seen: Seen, show: Callable[[str], None]) -> None:
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(within)
        show(f"  {what} ended {time.monotonic() - began:.1f} s after SIGTERM")
    except subprocess.TimeoutExpired:
        seen.wrong.append(f"{what} did not end within {within:g} s of SIGTERM")
        process.kill()
        process.wait()


def drill(
    revision: str | None, *, seconds: float, webs: int = 2, tenants: int = 2, show: Callable[[str], None] = print
) -> list[str]:
    """Play the upgrade from a revision to this tree.

    Args:
        revision: None starts this version again.
        seconds: that each phase lasts.
        webs: web processes of each version.
        tenants: whose keys are asked for.

    Returns:
        What did not hold, as sentences.

    Raises:
        FileNotFoundError: PostgreSQL or Redis is not on this machine.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="byok-upgrade-")))
        proxy = Proxy()
        database = stack.enter_context(on_servers.postgresql())
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "DJANGO_"))},
            "DJANGO_SETTINGS_MODULE": "byokportal.settings",
            "DATABASE_URL": database,
            "REDIS_URL": stack.enter_context(on_servers.redis()),
            "VAR_DIR": str(folder),
            "EMBEDDED": "1",
            "AWS_MODE": "local",
            "BASE_URL": f"http://localhost:{proxy.port}",
            **TIMES,
        }
        old = Version("old", stack.enter_context(tree_of(revision)), environment, folder)
        new = Version("new", ROOT, environment, folder)
        for version in (old, new):
            stack.callback(version.kill)
        new.start("aws", "-m", "byokportal.localaws", "--port", "0", "--var-dir", str(folder))
        wait("the local AWS", lambda: (folder / "localaws.json").exists(), 60)
        seen = Seen(phase="old alone")
        try:
            _play(old, new, proxy, seen, seconds=seconds, webs=webs, count=tenants, show=show)
        except SystemExit as error:  # somebody waited in vain
            seen.wrong.append(str(error))
        finally:
            seen.until.set()
        _count(seen, database, show)
        if seen.wrong and "UPGRADE_LOGS" in os.environ:
            shutil.copytree(
                folder, os.environ["UPGRADE_LOGS"], dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.sock")
            )
        return sorted(set(seen.wrong))


def _play(
    old: Version,
    new: Version,
    proxy: Proxy,
    seen: Seen,
    *,
    seconds: float,
    webs: int,
    count: int,
    show: Callable[[str], None],
) -> None:
    old.manage("migrate", "--verbosity", "0")
    old.manage("open_service_role")
    proxy.backends = [_free_port() for _ in range(webs)]
    ending = {f"old web on {port}": (old.start_web(port), WEB_GRACE) for port in proxy.backends}
    ending |= {"old beat": (old.start_beat(), WEB_GRACE), "old worker": (old.start_worker(), WORKER_GRACE)}
    wait("the old version", lambda: all(is_ready(port) for port in proxy.backends) and _listens(proxy.port), 120)
    local, url = json.loads((old.logs / "localaws.json").read_text()), f"http://127.0.0.1:{proxy.port}"
    run = {"url": url, "aws_endpoint": local["endpoint"], "accounts": {CUSTOMERS[0]: local["accounts"][CUSTOMERS[0]]}}
    tenants = [onboard(old, run, number) for number in range(count)]  # type: ignore[arg-type]
    wanted = [part for scope in SCOPES for part in ("--scope", scope)]
    account = json.loads(old.manage("create_service_account", "--name", "drill", "--all-tenants", *wanted))
    threads = [threading.Thread(target=test_on, args=(seen, tenants[0].owner), daemon=True)]
    for _ in range(CLIENTS):
        client = Client(url, account["client_id"], account["client_secret"], timeout=PATIENCE)
        client.seen = seen
        threads.append(threading.Thread(target=ask, args=(client, tenants), daemon=True))
    for thread in threads:
        thread.start()
    time.sleep(seconds)

    seen.phase, began = "old, while the new migrates", time.monotonic()
    new.manage("migrate", "--verbosity", "0")
    show(f"  migrated in {time.monotonic() - began:.1f} s")
    seen.phase = "old on the new tables"
    time.sleep(seconds)
    for port in proxy.backends:
        if not is_ready(port):
            seen.wrong.append("an old web process is not ready once the database is migrated")

    seen.phase = "old and new"
    started = [_free_port() for _ in range(webs)]
    for port in started:
        new.start_web(port)
    new.start_worker()
    wait("the new version", lambda: all(is_ready(port) for port in started), 120)
    proxy.backends = [*proxy.backends, *started]
    time.sleep(seconds)

    seen.phase = "old ends"
    for what, (process, grace) in ending.items():
        end(process, grace, what, seen, show)
    new.start_beat()  # one at a time, and after the last worker that would not know a message of it
    proxy.backends = started
    seen.phase = "new alone"
    time.sleep(seconds)
    seen.until.set()
    for thread in threads:
        thread.join(180)
    if any(thread.is_alive() for thread in threads):
        seen.wrong.append("somebody still waits for an answer")


def _count(seen: Seen, database: str, show: Callable[[str], None]) -> None:
    with psycopg.connect(database) as connection:
        uses = {row[0] for row in connection.execute("SELECT request_id FROM keys_keyuse")}
        asked = connection.execute(
            "SELECT target FROM (SELECT payload::json ->> 'target' AS target, name FROM tenants_auditevent) AS one "
            "WHERE name = 'keys.test.requested'"
        )
        logged = {row[0] for row in asked}
    for phase, number in seen.keys.items():
        show(f"  {number:7,}  requests with their key: {phase}")
    for what, number in sorted(seen.attempts.items()):
        show(f"  {number:7,}  tries answered {what}" if what[0].isdigit() else f"  {number:7,}  tries: {what}")
    without = len(seen.answered - uses)
    show(f"  {len(seen.answered):7,}  answers with a key, {without} of them without a row; {len(uses):,} rows")
    show(
        f"  {len(seen.tests):7,}  encryption tests asked for, {len(set(seen.tests) - logged)} without a line in the log"
    )
    show(f"  {seen.longest:7.2f}  seconds from the first try to the key, at most")
    if without:
        seen.wrong.append(f"{without} answers have no row")
    if set(seen.tests) - logged:
        seen.wrong.append("a test that was asked for is not in the log")
    for phase in ("old alone", "old on the new tables", "old and new", "new alone"):
        if not seen.keys[phase]:
            seen.wrong.append(f"nobody was served: {phase}")


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the servers that were started end too
    revision = os.environ.get("OLD") or older()
    if revision is None:
        print("== No older revision has other migrations: this version is started again beside itself.")
    else:
        print(f"== from {git('log', '-1', '--format=%h %s', revision)}")
        if changed := git("diff", "--name-only", revision, "--", "requirements.txt"):
            print(f"   {changed} differs; both run with the packages of this tree.")
    try:
        wrong = drill(revision, seconds=float(os.environ.get("UPGRADE_SECONDS", "20")))
    except FileNotFoundError as missing:
        print(f"== SKIPPED: {missing} was not found on this machine")
        return 1
    for sentence in wrong:
        print(f"NOT: {sentence}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
