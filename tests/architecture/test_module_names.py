"""Module names: a name stands for one engine module of its app, and none hides a module of the standard library."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
# The same noun is meant to recur in these: the entry points and rows of one thing.
SAME_NOUN = {
    "services",
    "views",
    "api",
    "scim",
    "models",
    "admin",
    "management",
    "templatetags",
    "formats",
    "migrations",
}
# Programs of their own inside byokportal.
PROGRAMS = ("byokportal/localaws/", "byokportal/embedded/", "byokportal/demo/")
# Never imported by this name alone; Python 3 has no implicit relative imports.
HIDES_NOTHING = {"keys/datakeys/http"}


def modules() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found = [
        Path(line) for line in listed.splitlines() if line.split("/")[0] in {"byokportal", "tenants", "keys", "support"}
    ]
    return [path.parent if path.name == "__init__.py" else path for path in found]


def program(path: Path) -> str:
    return next((each for each in PROGRAMS if str(path).startswith(each)), path.parts[0])


def test_no_two_engine_modules_of_an_app_share_a_name() -> None:
    named = defaultdict(list)
    for path in modules():
        if not SAME_NOUN & set(path.parts) and path.stem not in {"__main__", "apps"}:
            named[program(path), path.stem].append(str(path))
    assert not [paths for paths in named.values() if len(paths) > 1]


def test_no_module_has_the_name_of_one_of_the_standard_library() -> None:
    assert not [
        str(path) for path in modules() if path.stem in sys.stdlib_module_names and str(path) not in HIDES_NOTHING
    ]
