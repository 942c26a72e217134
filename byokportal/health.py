"""/healthz: the process lives. /readyz: the broker answers too, the database commits a write,
and it is the one that this code was written for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from functools import cache

from django.apps import apps
from django.contrib.sessions.models import Session
from django.core import cache as shared
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from byokportal import clock, database, deadline
from byokportal.postgresql import partitions

log = logging.getLogger(__name__)
SECONDS = 2.0  # that /readyz waits for the database
RETRY_AFTER = "5"


@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"status": "ok"})


@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    parts = {"database": _database(), "cache": _cache()}
    if all(parts.values()):
        return JsonResponse({"status": "ok", **parts})
    return JsonResponse({"status": "not ready", **parts}, status=503, headers={"Retry-After": RETRY_AFTER})


class HealthMiddleware:
    """Answers /healthz and /readyz before anything looks at the Host header:
    whoever watches a process asks it by its address."""

    VIEWS = {"/healthz": healthz, "/readyz": readyz}

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        view = self.VIEWS.get(request.path_info)
        if view is None:
            return self.get_response(request)
        answer = view(request)
        answer.headers["Cache-Control"] = "no-store"
        # Django's own mark: what is wrong has its line already
        answer._has_been_logged = True  # type: ignore[attr-defined]
        return answer


def _database() -> bool:
    """Tell whether the database takes writes, has every table that we know of, and a partition for today's rows."""
    try:
        with deadline.at_most(SECONDS):
            with connection.cursor() as cursor:
                there = set(connection.introspection.table_names(cursor))
            applied = {".".join(name) for name in MigrationRecorder(connection).applied_migrations()}
            missing = sorted((_tables() - there) | (_migrations() - applied))
            _write()
            left = partitions.left()
    except Exception as error:  # noqa: BLE001  whatever is wrong, the answer is "not ready"
        log.warning("not ready: %s", database.why(error))
        return False
    if missing:
        log.warning("not ready: migrations are missing: %s", missing[:5])
    if takes_none := left is not None and left <= timedelta(0):
        log.warning("not ready: a table has no partition for this month: run manage.py maintain_partitions")
    return not (missing or takes_none)


def _write() -> None:
    """Commit a write, at most one a second in each process: whoever asks may ask as often as they like.

    The row is one of sessions, which every database of ours has; its key is too short for a session of a person.
    """
    global _written_at
    if clock.monotonic() - _written_at < EVERY:
        return
    until = clock.now() + timedelta(hours=1)
    if not Session.objects.filter(pk=ROW).update(expire_date=until):
        Session.objects.get_or_create(pk=ROW, defaults={"session_data": "", "expire_date": until})
    _written_at = clock.monotonic()


ROW, EVERY = "readyz", 1.0  # seconds
_written_at = -EVERY


@cache
def _tables() -> set[str]:
    return {model._meta.db_table for model in apps.get_models(include_auto_created=True) if model._meta.managed}


@cache
def _migrations() -> set[str]:
    """Return the migrations that this code comes with; a newer release may have run more."""
    loader = MigrationLoader(None, load=False)
    loader.load_disk()
    return {".".join(name) for name in loader.disk_migrations}


def _cache() -> bool:
    try:
        shared.cache.set("readyz", 1, 5)
        return bool(shared.cache.get("readyz") == 1)
    except Exception:  # noqa: BLE001
        return False
