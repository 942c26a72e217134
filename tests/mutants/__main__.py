"""Turn off each switch in a copy of the project and see its tests go red: `make mutants`, RULE=word for some."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mutants.closing_switches import SWITCHES as OF_CLOSING
from tests.mutants.keys_switches import SWITCHES as OF_KEYS
from tests.mutants.log_switches import SWITCHES as OF_LOGS
from tests.mutants.people_switches import SWITCHES as OF_PEOPLE
from tests.mutants.switch import Switch

ROOT = Path(__file__).resolve().parents[2]
SWITCHES = [*OF_KEYS, *OF_LOGS, *OF_PEOPLE, *OF_CLOSING]
AT_ONCE = int(os.environ.get("MUTANTS_AT_ONCE", "2"))
# Byte code is taken along: Python makes that of the changed file anew, by its time.
LEFT_OUT = shutil.ignore_patterns(".git", ".venv*", "var", ".*_cache")


def misplaced() -> list[str]:
    """Return the switches whose place in the code is not there, or not there alone."""
    return [one.rule for one in SWITCHES if (ROOT / one.file).read_text().count(one.old) != 1 or one.old == one.new]


def survives(switch: Switch | None, tests: str) -> bool:
    """Tell whether tests stay green with a switch turned off, or with none."""
    with tempfile.TemporaryDirectory(prefix="byok-mutant-") as folder:
        copy = Path(folder) / "project"
        shutil.copytree(ROOT, copy, ignore=LEFT_OUT)
        if switch is not None:
            path = copy / switch.file
            path.write_text(path.read_text().replace(switch.old, switch.new))
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-x",
            "-p",
            "no:xdist",
            "-p",
            "no:cacheprovider",
            "-m",
            "not slow",
        ]
        environment = {**os.environ, "PYTHONPATH": str(copy)}
        done = subprocess.run([*command, *tests.split()], cwd=copy, env=environment, capture_output=True, check=False)
        # 2: a table of tests is built by what was changed. Any other end: no test ran, which shows nothing.
        if done.returncode not in (0, 1, 2):
            raise RuntimeError(
                f"{switch and switch.rule}: pytest ended with {done.returncode}\n{done.stdout.decode()[-2000:]}"
            )
        if switch is None and done.returncode:
            print(done.stdout.decode()[-4000:])
        return done.returncode == 0


def main() -> int:
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    chosen = [one for one in SWITCHES if wanted in one.rule]
    if wrong := misplaced():
        print("\n".join(f"not in its place, or twice: {rule}" for rule in wrong))
        return 1
    every_test = " ".join(sorted({test for one in chosen for test in one.tests.split()}))
    if not survives(None, every_test):
        print("Tests are red before anything is changed: they would prove nothing.")
        return 1
    alive = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for one, is_alive in zip(chosen, pool.map(lambda each: survives(each, each.tests), chosen), strict=True):
            alive += [one.rule] if is_alive else []
            print("SURVIVES" if is_alive else "red     ", one.rule, flush=True)
    print(f"{len(chosen) - len(alive)} of {len(chosen)} switches: their tests go red without them.")
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main())
