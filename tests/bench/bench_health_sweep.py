"""A health sweep of 10,000 tenants against one boto3 client per tenant in a thread pool,
on PostgreSQL that waits for the disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests import on_servers
from tests.bench.figure import Figure

HERE = Path(__file__).parent
DELAY = 0.03
TENANTS, SAMPLE = int(os.environ.get("BENCH_TENANTS", "10000")), 300


def measure() -> Iterator[Figure]:
    """Yield tenants a second, and how many times what a client per tenant reaches.
    AWS is a stub in a process of its own, over TLS."""
    with tempfile.TemporaryDirectory(prefix="byok-bench-") as name, on_servers.postgresql(durable=True) as database:
        folder = Path(name)
        command = [sys.executable, str(HERE / "stub_aws.py"), str(DELAY), name]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as stub:
            try:
                assert stub.stdout is not None
                found = _run(folder, database, f"https://127.0.0.1:{int(stub.stdout.readline())}")
            finally:
                stub.terminate()
    yield Figure(f"health sweep of {TENANTS:,} tenants", found["sweep"], "1/s", 300, at_least=True)
    yield Figure(
        "the same, against a boto3 client per tenant",
        found["sweep"] / found["client_per_tenant"],
        "x",
        6,
        at_least=True,
    )
    yield Figure("the same in CPU time", found["cpu_client_per_tenant"] / found["cpu"], "x", 6, at_least=True)
    yield Figure("CPU of one tenant in a sweep", found["cpu"] * 1_000, "ms", 3)


def _run(folder: Path, database: str, endpoint: str) -> dict[str, float]:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "DJANGO_"))},
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "PYTHONPATH": str(HERE.parents[1]),
        "DATABASE_URL": database,
        "STUB": endpoint,
        "AWS_CA_BUNDLE": str(folder / "ca.pem"),
        "LOG_LEVEL": "WARNING",
    }
    command = [sys.executable, str(HERE / "sweep_run.py"), str(TENANTS), str(SAMPLE)]
    done = subprocess.run(command, env=environment, cwd=HERE.parents[1], check=True, stdout=subprocess.PIPE)
    return dict(json.loads(done.stdout.splitlines()[-1]))
