"""What a benchmark over HTTP runs against: the system as production runs it, on servers started for the run."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from tests import on_servers

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CONNECTIONS = 32
WORKERS = 2
# From Debian's package; without it a load generator in Python is used.
WRK = shutil.which("wrk")


@contextlib.contextmanager
def system(**settings: str) -> Iterator[dict[str, Any]]:
    """Run PostgreSQL that waits for the disk, Redis, the local AWS and two web processes.

    Yields:
        `url`, `tenant`, `token`: the address of the tenant's data keys, and who may ask there; `environment` for more
        processes of the same system.
    """
    with contextlib.ExitStack() as stack:
        var_dir = stack.enter_context(tempfile.TemporaryDirectory(prefix="byok-bench-"))
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "DJANGO_"))},
            "DJANGO_SETTINGS_MODULE": "tests.bench.settings",
            "PYTHONPATH": str(ROOT),
            "DATABASE_URL": stack.enter_context(on_servers.postgresql(durable=True)),
            "REDIS_URL": stack.enter_context(on_servers.redis()),
            "VAR_DIR": var_dir,
            "EMBEDDED": "1",
            "AWS_MODE": "local",
            "LOG_LEVEL": "CRITICAL",  # what goes wrong shows in the answers
            "EXTERNAL_ID_PROBE_GAP": "0",
            "PROPAGATION_WINDOW": "0",
            **settings,
        }
        stack.enter_context(
            process([sys.executable, "-m", "byokportal.localaws", "--port", "0", "--var-dir", var_dir], environment)
        )
        wait_for(lambda: (Path(var_dir) / "localaws.json").exists(), "the local AWS")
        made = subprocess.run(
            [sys.executable, "-m", "tests.bench.prepare"], env=environment, cwd=ROOT, check=True, stdout=subprocess.PIPE
        )
        port = free_port()
        command = [sys.executable, "-m", "byokportal.server", "--port", str(port), "--workers", str(WORKERS)]
        command += ["--application", "tests.bench.asgi:application"]
        stack.enter_context(process(command, environment))
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/healthz"), "the web processes")
        found = json.loads(made.stdout.splitlines()[-1])
        url = f"http://127.0.0.1:{port}/api/v1/tenants/{found['tenant']}/data-keys"
        yield {"url": url, "environment": environment, **found}


@contextlib.contextmanager
def sweeping(system: dict[str, Any], tenants: int = 2_000) -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """Have a worker that sweeps tenants of its own, one sweep after another,
    against a stub of AWS that answers after 30 ms.

    Yields:
        What lets it work for as long as a block lasts.
    """
    with tempfile.TemporaryDirectory(prefix="byok-bench-") as folder:
        # AWS takes none of our cores: its stand-in gets what the system leaves, as far as a machine allows that.
        command = ["nice", "-n", "19", sys.executable, str(HERE / "stub_aws.py"), "0.03", folder]
        stub = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert stub.stdout is not None
        environment = {
            **system["environment"],
            "VAR_DIR": folder,
            "STUB": f"https://127.0.0.1:{int(stub.stdout.readline())}",
            "AWS_CA_BUNDLE": f"{folder}/ca.pem",
        }
        command = [sys.executable, "-m", "tests.bench.sweep_beside", str(tenants)]
        worker = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE)
        assert worker.stdout is not None

        @contextlib.contextmanager
        def at_work() -> Iterator[None]:
            worker.send_signal(signal.SIGCONT)
            try:
                yield
                if worker.poll() is not None:
                    raise AssertionError("the sweep has ended")
            finally:
                worker.send_signal(signal.SIGSTOP)

        try:
            if worker.stdout.readline() != b"ready\n":
                raise AssertionError("the sweep did not start")
            worker.send_signal(signal.SIGSTOP)
            yield at_work
        finally:
            for running in (worker, stub):
                running.kill()
                running.wait()


@contextlib.contextmanager
def process(command: Sequence[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process for as long as the block lasts."""
    running = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        yield running
    finally:
        running.terminate()
        try:
            running.wait(15)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


def load(
    url: str,
    *,
    token: str,
    bodies: Sequence[str] = ("{}",),
    seconds: float = 5.0,
    header: str = "",
    connections: int = CONNECTIONS,
) -> Any:
    """Send requests for so many seconds over keep-alive connections, and return what was measured.

    wrk does it where there is one: it takes a tenth of a core where a load generator in Python takes a whole one.

    Returns:
        `requests`, `per_second`, `p50`, `p99` (milliseconds), `refused`: how many answers were none of 200.
    """
    headers = {"Content-Type": "application/json"}
    headers |= {header: token} if header else {"Authorization": f"Bearer {token}"}
    plan = {"url": url, "connections": connections, "seconds": seconds, "headers": headers, "bodies": list(bodies)}
    found = _wrk(plan) if WRK and len(plan["bodies"]) == 1 else _in_python(plan)
    # On a machine that others use too, a commit may now and then take half a second.
    if found["refused"] > found["requests"] / 100:
        raise AssertionError(f"{url}: {found}")
    return found


def _in_python(plan: dict[str, Any]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "bench" / "load.py")],
        input=json.dumps(plan).encode(),
        stdout=subprocess.PIPE,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return {**found, "refused": sum(count for status, count in found["statuses"].items() if status != "200")}


LUA = """
wrk.method = "POST"
wrk.body = {body}
{headers}
done = function(summary, latency, requests)
  io.write(string.format('{{"requests": %d, "seconds": %f, "p50": %f, "p99": %f, "refused": %d}}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    summary.errors.status + summary.errors.timeout + summary.errors.connect + summary.errors.read))
end
"""


def _wrk(plan: dict[str, Any]) -> dict[str, Any]:
    assert WRK is not None
    headers = "\n".join(f"wrk.headers[{_lua(name)}] = {_lua(value)}" for name, value in plan["headers"].items())
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(LUA.format(body=_lua(plan["bodies"][0]), headers=headers))
        script.flush()
        command = [WRK, "-t1", f"-c{plan['connections']}", f"-d{plan['seconds']:.0f}s", "-s", script.name, plan["url"]]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**found, "per_second": round(found["requests"] / found["seconds"], 1)}


def _lua(text: str) -> str:
    return json.dumps(text)


def post(url: str, body: Any, *, token: str) -> Any:
    """Send one request and return the JSON of its answer."""
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def answers(url: str) -> bool:
    with contextlib.suppress(OSError, urllib.error.URLError), urllib.request.urlopen(url, timeout=2) as answer:
        return bool(answer.status == 200)
    return False


def wait_for(ready: Any, what: str, seconds: float = 180) -> None:
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come up within {seconds:g} s")
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
