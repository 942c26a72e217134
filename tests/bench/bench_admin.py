"""The back office over 100,000 seeded tenants on PostgreSQL: queries of each page, and its time against that of an
empty list in the same run. BENCH_TENANTS is how many; BENCH_DATABASE_URL names a database that is seeded already."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from tests import on_servers
from tests.bench.figure import Figure

HERE = Path(__file__).parent
TENANTS = int(os.environ.get("BENCH_TENANTS", "100000"))
QUERIES, TIMES = 12, 10


def measure() -> Iterator[Figure]:
    """Yield for each page its queries, and how many times the empty list it takes."""
    with ExitStack() as stack:
        seeded = os.environ.get("BENCH_DATABASE_URL", "")
        database = seeded or stack.enter_context(on_servers.postgresql())
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="byok-bench-"))
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "DJANGO_"))},
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "PYTHONPATH": str(HERE.parents[1]),
            "DATABASE_URL": database,
            "VAR_DIR": folder,
            "LOG_LEVEL": "WARNING",
            "EMBEDDED": "1",
            "MFA_REQUIRED": "0",
        }
        command = [sys.executable, str(HERE / "admin_run.py"), str(0 if seeded else TENANTS)]
        done = subprocess.run(command, env=environment, cwd=HERE.parents[1], check=True, stdout=subprocess.PIPE)
    found = json.loads(done.stdout.splitlines()[-1])
    for name, (queries, times, milliseconds) in found["pages"].items():
        yield Figure(f"{name}, {found['tenants']:,} tenants", queries, "queries", QUERIES)
        yield Figure(f"… against an empty list ({milliseconds:.0f} ms)", times, "x", TIMES)
