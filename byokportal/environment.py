"""Reads the environment for the settings, and knows which names are read:
what else stands there is not a setting of ours."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

TRUE, FALSE = {"1", "true", "yes", "on", "y", "t"}, {"0", "false", "no", "off", "n", "f"}
WHAT = {int: "a whole number", float: "a number"}
READ: set[str] = set()


class Environment(environ.Env):  # type: ignore[misc]  # it has no types
    """NAME, or NAME_FILE for a secret in a file.

    White space around a value is nobody's wish, an empty value counts as not set (`.env` files leave them so), a `$` is
    a `$`, and a value that cannot be read is refused with its name. The value itself is never repeated: it
    may be a password.
    """

    def get_value(
        self, var: str, cast: Any = None, default: Any = environ.Env.NOTSET, parse_default: bool = False
    ) -> Any:
        READ.add(var)
        given = _text(var)
        if not given:
            if default is self.NOTSET:
                raise ImproperlyConfigured(f"{var} is missing.")
            return default
        if cast is bool:
            if given.lower() not in TRUE | FALSE:
                raise ImproperlyConfigured(f"{var} is 1 or 0.")
            return given.lower() in TRUE
        if cast is list:
            return [part.strip() for part in given.split(",") if part.strip()]
        try:
            # its own reading of a number drops letters
            found = cast(given) if cast in WHAT else self.parse_value(given, cast)
        except ValueError as error:
            raise ImproperlyConfigured(f"{var} is {WHAT.get(cast, 'not readable')}.") from error
        if cast is float and not math.isfinite(found):
            raise ImproperlyConfigured(f"{var} is a number.")
        return found

    def db(self, var: str, default: str) -> Any:
        """Return the database of an address."""
        if not self.str(var, default=default).startswith(("postgres://", "postgresql://", "sqlite://")):
            raise ImproperlyConfigured(f"{var} begins with postgres:// (or, for a trial, sqlite://).")
        try:
            return super().db(var, default=default)
        except (ValueError, KeyError) as error:
            raise ImproperlyConfigured(f"{var} is no address of a database.") from error

    def email(self, var: str, default: str) -> Any:
        """Return how mail is sent."""
        try:
            return super().email(var, default=default)
        except (ValueError, KeyError, ImproperlyConfigured) as error:
            raise ImproperlyConfigured(f"{var} is like smtp://user:password@host:25 or smtp+tls://…") from error


def _text(name: str) -> str:
    file = os.environ.get(f"{name}_FILE", "").strip()
    if not file:
        return os.environ.get(name, "").strip()
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ImproperlyConfigured(f"{name}_FILE names a file that cannot be read.") from error
