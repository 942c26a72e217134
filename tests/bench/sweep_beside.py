"""Sweep without end beside another benchmark, over tenants of its own:
`python -m tests.bench.sweep_beside COUNT` prints `ready` and goes on."""

from __future__ import annotations

import os
import sys
from datetime import timedelta

from byokportal.celery import NICE, stay_on_one_core
from tests.bench import sweep_run  # it sets Django up
from tests.bench.sweep_run import KeyHealth, health, timezone

if __name__ == "__main__":
    os.nice(NICE)  # as a worker does
    stay_on_one_core()
    # the stub does not answer for the others
    KeyHealth.objects.update(next_probe_at=timezone.now() + timedelta(days=1))
    sweep_run.prepare(int(sys.argv[1]))
    health.sweep(64)
    print("ready", flush=True)
    while True:
        sweep_run.due()
        while health.sweep():
            pass
