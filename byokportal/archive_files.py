"""Files that keep rows which have left the database: JSON Lines, compressed, written once and read again before
anything relies on them."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from byokportal import once_written
from byokportal.errors import InvalidInput

PIECE = 1 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Folder:
    """A directory of such files, outside of the database and of its backups."""

    path: Path

    def write(self, name: str, lines: Iterable[Mapping[str, Any]]) -> tuple[int, str]:
        """Write a file whole or not at all, and never in place of another one.

        The same lines make the same bytes: what was interrupted behind the writing may be done again.

        Returns:
            how many lines it has, and its SHA-256 in hex.

        Raises:
            InvalidInput: the directory is not there, or has another file of that name.
        """
        if not self.path.is_dir():
            raise InvalidInput(errors={"archive": ["ARCHIVE_DIR is no directory here. Mount it where this job runs."]})
        place, count, digest = self.path / name, 0, ""
        try:
            with once_written.file(place) as raw:
                with gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as file:
                    for line in lines:
                        file.write(_text(line))
                        count += 1
                    file.write(_text({"complete": True, "count": count}))
                raw.flush()
                digest = _digest(Path(raw.name))
        except FileExistsError:
            if _digest(place) != digest:
                why = f"ARCHIVE_DIR has another {name}. Find out who wrote it, and move it away."
                raise InvalidInput(errors={"archive": [why]}) from None
        return count, digest

    def read(self, name: str, *, sha256: str = "") -> Iterator[dict[str, Any]]:
        """Yield the lines of a file.

        Args:
            sha256: what its bytes have to be; empty: it is not asked.

        Raises:
            InvalidInput: there is no such file, it was cut off, or it is not what was written.
        """
        place = self.path / name
        try:
            if sha256 and _digest(place) != sha256:
                raise _unlike(name)
            with gzip.open(place, "rt", encoding="utf-8") as file:
                count, end = 0, None
                for text in file:
                    if end is not None:
                        raise _unlike(name)
                    line = json.loads(text)
                    if "complete" in line:  # read on: what is behind it says whether the file is whole
                        end = line
                    else:
                        count += 1
                        yield line
        except FileNotFoundError:
            raise InvalidInput(errors={"archive": [f"ARCHIVE_DIR has no {name}. Bring it back first."]}) from None
        except (EOFError, OSError, ValueError) as error:
            raise _unlike(name) from error
        if end != {"complete": True, "count": count}:
            raise _unlike(name)


def folder() -> Folder:
    """Return where archived months are kept."""
    return Folder(Path(settings.ARCHIVE_DIR))


def _unlike(name: str) -> InvalidInput:
    return InvalidInput(errors={"archive": [f"{name} in ARCHIVE_DIR is not the file that was written."]})


def _text(line: Mapping[str, Any]) -> bytes:
    return (json.dumps(line, separators=(",", ":")) + "\n").encode()


def _digest(place: Path) -> str:
    digest = hashlib.sha256()
    with open(place, "rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()
