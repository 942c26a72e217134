"""System checks: settings that contradict each other, said at start instead of at night."""

from __future__ import annotations

import os
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register

from byokportal import redis_url


@register(Tags.security, deploy=True)
def production_is_not_embedded(app_configs: Any, **_: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if settings.EMBEDDED:
        found.append(
            Error(
                "EMBEDDED is on: cookies would travel over http.", hint="Unset EMBEDDED in production.", id="byok.E001"
            )
        )
    if not settings.MFA_REQUIRED:
        found.append(
            Warning(
                "MFA_REQUIRED is off.",
                hint="People who hold customers' kill switches need a second factor.",
                id="byok.W001",
            )
        )
    if settings.BASE_URL.startswith("http://"):
        found.append(
            Warning(
                "BASE_URL is http.",
                hint="Set BASE_URL to the https address people use; it stands in mails.",
                id="byok.W002",
            )
        )
    return found


@register()
def times_fit_together(app_configs: Any, **_: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if not settings.DENIED_PROBE_SECONDS or any(seconds < 0 for seconds in settings.DENIED_PROBE_SECONDS):
        found.append(Error("DENIED_PROBE_SECONDS needs at least one number of seconds.", id="byok.E002"))
    if settings.PROBE_SECONDS <= 0:
        found.append(Error("PROBE_SECONDS has to be more than 0.", id="byok.E003"))
    return found


# Celery asks these before its settings: what they name would be spoken to without the certificate check that REDIS_URL brings.
PASSES_US_BY = ("CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL")
VERIFYING = {"verify-ca", "verify-full"}


@register(Tags.security, deploy=True)
def servers_are_who_they_say(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """A mistyped TLS setting fails here; at run time it would only be weaker than it looks."""
    found: list[CheckMessage] = [
        Error(f"REDIS_URL {problem}", id="byok.E020") for problem in redis_url.parse(settings.REDIS_URL).problems
    ]
    found += [
        Error(f"{name} is set, and Celery would use it in place of REDIS_URL.", hint="Unset it.", id="byok.E021")
        for name in PASSES_US_BY
        if name in os.environ
    ]
    mode = settings.DATABASES["default"].get("OPTIONS", {}).get("sslmode")
    if mode is not None and mode not in {*VERIFYING, "disable"}:
        found.append(
            Warning(
                f"DATABASE_URL says sslmode={mode}: it encrypts, if that, and does not check whom it speaks to.",
                hint="Write sslmode=verify-full, with sslrootcert=… where the authority is your own.",
                id="byok.W020",
            )
        )
    return found
