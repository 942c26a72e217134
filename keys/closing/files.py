"""The export that is written before the keys of an organisation are destroyed: log, uses, evidence, newest head."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from byokportal import exports
from byokportal.errors import DomainError, NotFound
from keys import evidence_pdf, key_uses
from keys.errors import ExportNotWritten
from keys.models import Closing
from tenants import log, log_proofs


def folder_of(closing: Closing, root: str) -> Path:
    """Return where this attempt at the export of a closing stands below the folder that whoever operates has named:
    no two workers write the same file."""
    return Path(root) / f"{_name_of(closing)}-{closing.attempts}"


def write(closing: Closing, root: str, evidence: dict[str, Any], *, is_alive: Callable[[], None]) -> Path:
    """Write log and uses as JSON Lines, in parts of 200,000 lines, the evidence, and the newest signed head of the log.

    Args:
        root: a folder that is there.
        evidence: of the organisation's whole life.
        is_alive: called after each 500 lines, so that whoever holds the row goes on holding it.

    Raises:
        ExportNotWritten: the folder is not there, cannot be written to, or the export broke off.
    """
    tenant = closing.tenant
    place = folder_of(closing, root)
    try:
        if not Path(root).is_dir():
            raise ExportNotWritten(why=f"{root or 'no folder'} is not there.")
        for left in Path(root).glob(f"{_name_of(closing)}-*"):  # of an attempt that broke off
            shutil.rmtree(left)
        place.mkdir(mode=0o700)
        _write_parts(place, "log", log.file(tenant, log.Wanted()), is_alive)
        _write_parts(place, "key-uses", key_uses.file(tenant, key_uses.Wanted()), is_alive)
        _write_json(place / "evidence.json", evidence)
        with _new(place / "evidence.pdf") as file:
            file.write(evidence_pdf.render(evidence))
        with suppress(NotFound):  # a log so young that no signed head covers it
            _write_json(place / "head.json", log_proofs.head(tenant))
    except OSError as error:
        raise ExportNotWritten(why=f"{place}: {error.strerror or type(error).__name__}.") from error
    return place


def write_receipt(place: str, number: int, document: dict[str, Any]) -> bool:
    """Write a receipt beside the export; False where that cannot be done: the receipt is kept and published anyhow."""
    try:
        _write_json(Path(place) / f"receipt-{number}.json", document)
    except OSError:
        return False
    return True


def _write_parts(place: Path, name: str, source: exports.Source, is_alive: Callable[[], None]) -> None:
    cursor, number = "", 1
    while True:
        said = _write_part(place / f"{name}-{number:03}.jsonl", source, cursor, is_alive)
        if said["complete"]:
            return
        if "code" in said or not said.get("next"):
            raise ExportNotWritten(why=f"{name} broke off ({said.get('code', 'no reason')}).")
        cursor, number = str(said["next"]), number + 1


def _write_part(path: Path, source: exports.Source, cursor: str, is_alive: Callable[[], None]) -> dict[str, Any]:
    last = ""
    with _new(path) as file:
        try:
            for text in exports.texts(source, cursor, extension="jsonl"):
                file.write(text.encode())
                last = text or last
                is_alive()
        except DomainError as error:
            raise ExportNotWritten(why=str(error)) from error
    said: dict[str, Any] = json.loads(last.splitlines()[-1])
    return said


def _name_of(closing: Closing) -> str:
    return f"{closing.tenant_id}-{str(closing.pk)[:8]}"


def _write_json(path: Path, value: dict[str, Any]) -> None:
    with _new(path) as file:
        file.write((json.dumps(value, indent=1) + "\n").encode())


@contextmanager
def _new(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for its owner alone; what was begun before is written anew."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
