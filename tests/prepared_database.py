"""A migrated SQLite file that runs of the suite start from: migrating an empty one takes longer than most tests.

It lies in the temporary directory, named by what it was made of: another migration, or another release of Django or
of an app of others, makes another one. Migrations still run on the copy and find nothing to do.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sqlite3
import tempfile
from importlib.metadata import version
from pathlib import Path

from django.conf import settings
from django.db import connection

ROOT = Path(__file__).resolve().parents[1]
FOLDER = Path(tempfile.gettempdir()) / f"byok-prepared-databases-{os.getuid()}"
KEPT = 8  # files; the oldest make room


def copy() -> bool:
    """Put the prepared file where the suite's database will be; False when there is none, or no file is used."""
    prepared, name = _prepared(), _name()
    if name is None or not prepared.exists():
        return False
    try:
        shutil.copyfile(prepared, name)
    except OSError:  # another run removed it
        return False
    os.utime(prepared)
    return True


def keep() -> None:
    """Keep a copy of the database that was just migrated."""
    name = _name()
    if name is None:
        return
    FOLDER.mkdir(mode=0o700, exist_ok=True)
    made = FOLDER / f"{os.getpid()}.new"
    with contextlib.closing(sqlite3.connect(name)) as source, contextlib.closing(sqlite3.connect(made)) as target:
        source.backup(target)
    made.replace(_prepared())
    for old in sorted(FOLDER.glob("*.sqlite3"), key=lambda file: file.stat().st_mtime)[:-KEPT]:
        old.unlink(missing_ok=True)


def _name() -> Path | None:
    """Return the suite's database; None where it is none of files."""
    if connection.vendor != "sqlite":
        return None
    return Path(str(settings.DATABASES["default"]["TEST"]["NAME"]))


def _prepared() -> Path:
    digest = hashlib.sha256()
    for package in ("django", "django-allauth"):
        digest.update(version(package).encode())
    for file in sorted([*ROOT.glob("*/migrations/*.py"), *(ROOT / "byokportal").glob("schema.py")]):
        digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes())
    return FOLDER / f"{digest.hexdigest()[:32]}.sqlite3"
