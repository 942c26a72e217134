"""What preflight says of a part, and what to do about each."""

from __future__ import annotations

from dataclasses import dataclass

from byokportal.errors import DomainError


@dataclass(frozen=True, slots=True)
class Finding:
    """One line.

    Args:
        part: what was looked at.
        level: `ok`, `warn` or `fail`; the last would hurt in service.
        text: what is so.
        remedy: what to do; empty with `ok`.
    """

    part: str
    level: str
    text: str
    remedy: str = ""


def kind(error: Exception) -> str:
    """Return what an error is, without a word of the other side."""
    if isinstance(error, DomainError):
        return " ".join(str(word) for word in (error.code, error.params.get("aws_code")) if word)
    return type(error).__name__


REMEDIES = {
    "settings": "Run manage.py check --deploy.",
    "database": "See that the server of DATABASE_URL runs, lets us in and is no standby.",
    "database role": "Run deploy/postgresql/roles.sql, and serve as the role that owns nothing (docs/deploy.md).",
    "migrations": "See to the database first, then run manage.py migrate.",
    "partitions": "Run manage.py maintain_partitions as the owner of the tables, and each day from then on.",
    "broker": "See that the server of REDIS_URL runs, lets us in and has the certificate that the address asks for.",
    "cache": "See that the server of REDIS_URL runs and has memory left.",
    "certificates": "Give the server a new one before that day: then everybody who checks it stops (docs/deploy.md).",
    "host": "Give the host of BASE_URL an address in DNS.",
    "identity": "Give this process credentials of the base principal (docs/deploy.md), and a way out to AWS.",
    "clock": "Let NTP set the clock of this machine and the database's; AWS refuses what is five minutes off.",
    "service role": "See that it exists and trusts our base principal (BASE_PRINCIPAL_ARN): manage.py our_principals.",
    "canary": "Compare the canary's trust policy with what manage.py open_service_role prints.",
    "configuration": "Compare this process's principal with manage.py our_principals (configuration_worker).",
    "quotas": "Ask AWS for more roles and policies in our account (Service Quotas, IAM).",
    "seal": "See docs/seal.md, and keys.tasks.publish_log_head in the log of the worker of the queue bulk.",
    "copies": "Look for branch_key_not_escrowed in the log of the worker of the queue bulk (docs/runbook.md).",
    "traces": "See that OTEL_EXPORTER_OTLP_ENDPOINT takes OTLP over HTTP from here, and OTEL_EXPORTER_OTLP_HEADERS.",
    "error reports": "See that SENTRY_DSN is that of a project.",
    "mail": "See that the server of EMAIL_URL runs and takes the user and password.",
}
