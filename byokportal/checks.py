"""System checks: settings that contradict each other, said at start instead of at night."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register


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
