"""The one clock that is compared with stored times."""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone


def now() -> datetime:
    """Return the time, aware and in UTC, that rows and other processes are compared with."""
    return timezone.now()
