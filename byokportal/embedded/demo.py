"""`make demo`: the stack in a fresh directory with shortened times, then the journey in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from byokportal.embedded.processes import die_with_parent
from byokportal.embedded.stack import ROOT, CannotStart, Stack, write_private

TIMES = {
    "PROBE_SECONDS": "2",
    "DENIED_PROBE_SECONDS": "1,1,2",
    "DEFAULT_REVOCATION_LATENCY": "5",
    "PROPAGATION_WINDOW": "5",
    "EXTERNAL_ID_PROBE_GAP": "2",
}
SCOPES = ("data-keys:generate", "data-keys:decrypt", "data-keys:rewrap", "key:read")


def main() -> int:
    """Run the demonstration; 0 only if every expectation held."""
    began = time.monotonic()
    var_dir = Path(tempfile.mkdtemp(prefix="byok-demo-"))
    stack = Stack(var_dir, port=0, aws_port=0, settings=TIMES, show=lambda line: None)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    print(
        "Shortened for the demonstration: " + ", ".join(f"{name}={value}" for name, value in TIMES.items()), flush=True
    )
    code = 1
    try:
        print("Starting the local AWS, the broker, web, worker and beat in a fresh directory …", flush=True)
        story = _cast(stack, stack.start())
        print(
            f"  up after {time.monotonic() - began:.1f} s at {stack.url}, local AWS at {story['aws_endpoint']}",
            flush=True,
        )
        file = var_dir / "demo.json"
        write_private(file, story)
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "HOME": str(var_dir),
        }
        code = subprocess.run(
            [sys.executable, "-m", "byokportal.demo", str(file)],
            env=environment,
            check=False,
            preexec_fn=die_with_parent,
            timeout=150,
        ).returncode
    except CannotStart as error:
        print(f"Cannot start. {error}", file=sys.stderr)
    except subprocess.TimeoutExpired:
        print("The journey did not end within 150 s.", file=sys.stderr)
    except KeyboardInterrupt:
        code = 130
    finally:
        stack.stop()
    if code:
        _show_logs(var_dir)
    shutil.rmtree(var_dir, ignore_errors=True)
    print(
        (
            f"{'Every expectation held' if code == 0 else 'NOT every expectation held'}; "
            f"{time.monotonic() - began:.1f} s in all."
        ),
        flush=True,
    )
    return code


def _cast(stack: Stack, run: dict[str, Any]) -> dict[str, Any]:
    """Make two tenants and a platform service; everything else the journey learns over HTTP."""
    tenants = [
        json.loads(stack.manage("create_tenant", "--name", name, "--owner", owner))
        for name, owner in (("Demo Bank", "owner@demo-bank.example"), ("Careless Ltd", "owner@careless.example"))
    ]
    wanted = [part for scope in SCOPES for part in ("--scope", scope)]
    service = json.loads(
        stack.manage("create_service_account", "--name", "demo", "--tenant", tenants[0]["tenant"], *wanted)
    )
    return {
        "url": run["url"],
        "aws_endpoint": run["aws_endpoint"],
        "accounts": run["accounts"],
        "tenants": [{"id": made["tenant"], "token": made["automation_token"]} for made in tenants],
        "service": service,
        "latency": float(TIMES["DEFAULT_REVOCATION_LATENCY"]),
    }


def _show_logs(var_dir: Path) -> None:
    for log in sorted((var_dir / "logs").glob("*.log")):
        lines = log.read_text(errors="replace").splitlines()[-15:]
        if lines:
            print(f"--- {log.name}\n" + "\n".join(lines), file=sys.stderr)
