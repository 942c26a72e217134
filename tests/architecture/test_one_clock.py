"""Clocks of two machines are never compared:
whoever needs the time asks `byokportal.clock`, or stands here with a reason."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection
from pathlib import Path

ROOT = Path(__file__).parents[2]
MACHINE = {
    ("timezone", "now"),
    ("timezone", "localtime"),
    ("timezone", "localdate"),
    ("time", "time"),
    ("time", "time_ns"),
    ("datetime", "now"),
    ("datetime", "utcnow"),
    ("datetime", "today"),
    ("date", "today"),
    ("time", "localtime"),
    ("time", "gmtime"),
}
# Stands still while the machine sleeps, so that what should end in five seconds outlives a night: `clock.monotonic`.
SLEEPING = {("time", "monotonic"), ("time", "monotonic_ns"), ("time", "perf_counter")}
ALLOWED = {
    "byokportal/clock.py": "the one clock itself",
    "byokportal/localaws/": "stands for AWS, which has a clock of its own; no app of ours compares with it",
    "support/preflight/__init__.py": "it tells how far this clock is from the others, and nothing else",
    "byokportal/lines.py": "when a line was printed, as logging says it of its own",
    "keys/proof/pasted/trial_requests.py": "a date in a policy that is only evaluated, fine to a day",
}


def readings(source: str, clocks: Collection[tuple[str, str]] = MACHINE) -> list[int]:
    """Return the lines that read this machine's clock; `Now()` is the database's."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            of = node.value.id if isinstance(node.value, ast.Name) else getattr(node.value, "attr", "")
            if (of, node.attr) in clocks:
                found.append(node.lineno)
        elif isinstance(node, ast.ImportFrom) and node.module in {"time", "django.utils.timezone"}:
            found += [node.lineno for name in node.names if name.name in {"time", "time_ns", "now", "localtime"}]
        elif isinstance(node, ast.keyword) and node.arg in {"auto_now", "auto_now_add"}:
            found.append(node.lineno)
    return found


def sources() -> list[tuple[str, str]]:
    files = [
        path for app in ("byokportal", "tenants", "keys", "support") for path in sorted((ROOT / app).rglob("*.py"))
    ]
    return [(str(path.relative_to(ROOT)), path.read_text()) for path in files if "migrations" not in path.parts]


def test_only_what_stands_here_reads_the_clock_of_its_machine() -> None:
    found = {
        f"{name}:{line}"
        for name, source in sources()
        if not name.startswith(tuple(ALLOWED))
        for line in readings(source)
    }
    assert not found


def test_no_app_reads_a_clock_that_stands_still_while_the_machine_sleeps() -> None:
    assert not [
        f"{name}:{line}"
        for name, source in sources()
        if not name.startswith("byokportal/")
        for line in readings(source, SLEEPING)
    ]


def test_no_test_moves_a_clock_that_nothing_reads() -> None:
    """`time.monotonic` replaced moves none of ours: the test would wait for nothing, and pass or fail by chance."""
    moved = re.compile(r"""setattr\(\s*(time,|["']time\.)""")
    assert not [str(path) for path in sorted((ROOT / "tests").rglob("*.py")) if moved.search(path.read_text())]


def test_nothing_stands_here_without_need() -> None:
    for allowed in ALLOWED:
        assert any(name.startswith(allowed) and readings(source) for name, source in sources()), allowed


def test_the_lint_sees_each_way_to_ask_the_machine() -> None:
    for line in (
        "timezone.now()",
        "default=timezone.now",
        "time.time()",
        "datetime.now(UTC)",
        "datetime.datetime.utcnow()",
        "date.today()",
    ):
        source = f"f({line})"
        assert readings(source), line
    assert readings("from time import time")
    assert readings("models.DateTimeField(auto_now=True)")
