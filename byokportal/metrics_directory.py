"""The directory in which the processes of one group keep what they count; importing this makes it."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client's; children inherit it


def _make() -> None:
    """Make a directory that ends with this process.

    Whatever starts with METRICS_ADDRESS set makes one, a command and a health check too: left behind they would fill
    the disk.
    """
    made, maker = tempfile.mkdtemp(prefix="byok-metrics-"), os.getpid()
    os.environ[VARIABLE] = made

    def remove() -> None:
        if os.getpid() == maker:  # no child of it
            shutil.rmtree(made, ignore_errors=True)

    atexit.register(remove)


if os.environ.get("METRICS_ADDRESS") and VARIABLE not in os.environ:
    _make()
