"""Reports of errors to Sentry: of what the log has at level ERROR, where it happened, and nothing of what it was about.

Off unless SENTRY_DSN is set: then the settings name `Reports` as a handler of the log, and nothing else imports this
module. None of Sentry's integrations that look into requests, tasks, queries or variables is on. What an exception says
stays in the log, where the tag `request_id` leads: an error of a driver or of AWS can hold values.
"""

from __future__ import annotations

import copy
import logging
import sys
from typing import Any

import sentry_sdk
import structlog
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from sentry_sdk.integrations.atexit import AtexitIntegration
from sentry_sdk.integrations.logging import EventHandler
from sentry_sdk.types import Event, Hint
from sentry_sdk.utils import BadDsn

from byokportal import logs

OURS = ("byokportal", "tenants", "keys", "support")  # their messages are literals: ruff's rule G
FACTS = ("event_id", "timestamp", "level", "platform", "logger", "release", "environment")
OF_FRAME = ("filename", "function", "lineno", "module", "in_app")
SECONDS = 2.0  # that the end of a process waits for reports which are on their way


class Reports(EventHandler):
    """A handler of the log.

    Args:
        transport: in place of Sentry's own, for tests.
    """

    def __init__(self, level: int = logging.ERROR, transport: Any = None) -> None:
        super().__init__(level)
        try:
            sentry_sdk.init(
                dsn=settings.SENTRY_DSN,
                environment=settings.SENTRY_ENVIRONMENT or None,
                release="byokportal",  # it would ask git
                server_name="",
                transport=transport,
                default_integrations=False,
                auto_enabling_integrations=False,
                integrations=[AtexitIntegration(callback=lambda pending, timeout: None)],
                shutdown_timeout=SECONDS,
                send_default_pii=False,
                include_local_variables=False,
                include_source_context=False,
                max_request_body_size="never",
                max_breadcrumbs=0,
                propagate_traces=False,
                traces_sample_rate=0.0,
                auto_session_tracking=False,
                send_client_reports=False,
                spotlight=False,
                debug=False,
                before_send=allowed,
                before_send_transaction=_never,
            )
        except BadDsn:  # whose words repeat the value
            words = "SENTRY_DSN is like https://<public key>@<host>/<project>."
            raise ImproperlyConfigured(words) from None

    def emit(self, record: logging.LogRecord) -> None:
        plain = _plain(record)
        if plain.exc_info or _is_ours(plain.name):
            super().emit(plain)


def allowed(event: Event, _: Hint) -> Event:
    """Return what of a report may leave: made anew from names of a list."""
    given: dict[str, Any] = dict(event)
    kept: dict[str, Any] = {name: given[name] for name in FACTS if name in given}
    bound = structlog.contextvars.get_contextvars()
    kept["tags"] = {name: str(bound[name]) for name in ("request_id", "task_id") if name in bound}
    if _is_ours(str(given.get("logger", ""))):
        kept["logentry"] = {"message": logs.redact(str((given.get("logentry") or {}).get("message", "")))}
    values = (given.get("exception") or {}).get("values") or ()
    if values:
        kept["exception"] = {"values": [_exception(one) for one in values]}
    return kept  # type: ignore[return-value]  # some keys of an Event


def _exception(given: dict[str, Any]) -> dict[str, Any]:
    frames = (given.get("stacktrace") or {}).get("frames") or ()
    return {
        "type": given.get("type"),
        "module": given.get("module"),
        "stacktrace": {"frames": [{name: frame[name] for name in OF_FRAME if name in frame} for frame in frames]},
    }


def _never(event: Event, _: Hint) -> None:
    """Send no trace by this way."""


def _is_ours(logger: str) -> bool:
    return logger.partition(".")[0] in OURS


def _plain(record: logging.LogRecord) -> logging.LogRecord:
    """Return a record of structlog's as the standard library makes one; the other handlers' is left as it is."""
    plain = copy.copy(record)
    plain.args, plain.stack_info = (), None
    if isinstance(record.msg, dict):
        plain.msg, error = str(record.msg.get("event", "")), record.msg.get("exc_info")
        if isinstance(error, BaseException):
            plain.exc_info = (type(error), error, error.__traceback__)
        else:
            plain.exc_info = error if isinstance(error, tuple) else sys.exc_info() if error else None
    return plain
