"""A file that is written whole or not at all, and never in place of another one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def file(place: Path) -> Iterator[BinaryIO]:
    """Open a file under another name (its `name`); where the block ends well it is on the disk and gets its own.

    Raises:
        FileExistsError: there is one of that name; nothing is written.
    """
    whole = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        with open(whole, "wb") as raw:
            yield raw
            raw.flush()
            os.fsync(raw.fileno())
        os.link(whole, place)
    finally:
        whole.unlink(missing_ok=True)
    folder = os.open(place.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
