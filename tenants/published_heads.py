"""Where the signed heads of the logs lie outside the database: one file for each, which is never written again.

Whoever restores or rewrites the database does not restore these with it, so the sealer sees by them that it went back.
The receipts of closings lie beside them for the same reason: a restored database is told by them what was closed.
"""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from byokportal import once_written

NAME = re.compile(r"([0-9]{12})\.json")
RECEIPT = re.compile(r"closing-[0-9a-f-]{36}-[12]\.json", re.ASCII)


@dataclass(frozen=True, slots=True)
class Folder:
    """Heads as files of a directory, which every worker that seals sees."""

    path: Path

    def is_there(self) -> bool:
        """Tell whether the directory is there; one that is not says nothing of what was published."""
        return self.path.is_dir()

    def newest(self) -> int:
        """Return the number of the newest head; 0 where there is none."""
        if not self.path.is_dir():
            return 0
        return max((int(found[1]) for name in os.listdir(self.path) if (found := NAME.fullmatch(name))), default=0)

    def read(self, number: int) -> dict[str, Any] | None:
        """Return what was published under a number; None: nothing was."""
        try:
            found: dict[str, Any] = json.loads(self._file(number).read_text())
        except FileNotFoundError:
            return None
        return found

    def write(self, number: int, published: dict[str, Any]) -> None:
        """Publish a head: whole or not at all, and never in place of another one.

        Raises:
            FileExistsError: there is one of that number.
        """
        self._write(self._file(number), published)

    def _write(self, place: Path, published: dict[str, Any]) -> None:
        self.path.mkdir(parents=True, exist_ok=True, mode=0o755)
        with once_written.file(place) as file:
            file.write((json.dumps(published) + "\n").encode())

    def try_out(self) -> None:
        """See that a file can be published here; none is left behind.

        Raises:
            OSError: it cannot.
        """
        place = self.path / f".tried-out.{os.getpid()}.{uuid.uuid4()}"
        self._write(place, {})
        place.unlink()

    def write_receipt(self, name: str, document: dict[str, Any]) -> bool:
        """Publish the receipt of a closing, as `write` does a head; False where there is one of that name.

        Args:
            name: as `RECEIPT` has it.
        """
        try:
            self._write(self.path / name, document)
        except FileExistsError:
            return False
        return True

    def receipts(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield names and contents of the receipts that were published; what is no JSON object is an empty one."""
        for name in sorted(os.listdir(self.path)) if self.path.is_dir() else ():
            if RECEIPT.fullmatch(name):
                yield name, self.receipt(name) or {}

    def receipt(self, name: str) -> dict[str, Any] | None:
        """Return what was published under a name; None: nothing was."""
        try:
            found = json.loads((self.path / name).read_text())
        except FileNotFoundError:
            return None
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def _file(self, number: int) -> Path:
        return self.path / f"{number:012}.json"


def folder() -> Folder:
    """Return where heads are published."""
    return Folder(Path(settings.SEAL_HEADS_DIR))
