"""Run the benchmarks of this folder and print a table: `make bench`, or `python -m tests.bench NAME…` for some.

A module here has `measure()`, which yields `Figure`s. Figures are ratios or differences taken in one run wherever a
machine's speed would decide otherwise.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys

from tests import bench
from tests.bench.figure import Figure


def main(names: list[str]) -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    figures: list[Figure] = []
    for module in pkgutil.iter_modules(bench.__path__):
        if module.name.startswith("bench_") and (not names or any(name in module.name for name in names)):
            for figure in importlib.import_module(f"tests.bench.{module.name}").measure():
                figures.append(figure)
                print(figure, flush=True)
    missed = [figure for figure in figures if not figure.met]
    print(f"{len(figures) - len(missed)} of {len(figures)} meet their target.")
    return 1 if missed or not figures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
