"""What the commands share that a person runs after a restore: exports of logs, the public key, and what is refused."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.core.management.base import CommandError

from byokportal.errors import DomainError

LONGEST = 1_000_000  # characters of a line


@contextmanager
def told() -> Iterator[None]:
    """Say what is refused or cannot be read as the message of the command."""
    try:
        yield
    except DomainError as error:
        raise CommandError(f"{error} {json.dumps(getattr(error, 'errors', None) or {})}") from error
    except RecursionError as error:
        raise CommandError("A line is nested too deeply.") from error
    except (OSError, ValueError) as error:
        raise CommandError(str(error)) from error


def texts(files: list[str]) -> Iterator[str]:
    """Yield the lines of files, one after the other.

    Raises:
        OSError, ValueError: a file cannot be read, is not UTF-8, or has a line that is longer than any of ours.
    """
    for file in files:
        with Path(file).open(encoding="utf-8") as lines:
            while line := lines.readline(LONGEST + 1):
                if len(line) > LONGEST:
                    raise ValueError(f"{file} has a line of more than {LONGEST} characters.")
                yield line


def public_key(text: str) -> bytes:
    """Return an Ed25519 public key that was given as base64.

    Raises:
        ValueError: it is no base64 of 32 bytes.
    """
    try:
        found = base64.b64decode(text, validate=True)
    except ValueError:
        found = b""
    if len(found) != 32:
        raise ValueError("--public-key is not the base64 of 32 bytes.")
    return found
