"""What an operator asks before people are let in: does each part that we need answer, and as we count on it.

Nothing is changed. Each finding is one line of ours: of what another side answered only its kind is repeated, because
an error of a driver can hold an address with its password.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core import cache as shared
from django.core import checks, mail
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models.functions import Coalesce
from kombu import Connection
from redis import RedisError, sentinel

from byokportal import clock, deadline, redis_url, telemetry
from byokportal.postgresql import partitions
from keys import escrow
from keys.aws import sessions
from keys.models import BranchKey
from support.preflight import certificates, findings, our_aws, seal
from support.preflight.findings import Finding

SECONDS = 5.0  # that the database has for a question
CLOCK_WARN, CLOCK_WRONG = 5.0, 240.0  # seconds; AWS refuses signatures that are five minutes off
COPY_LATE = timedelta(minutes=15)  # as long as the alert ByokBranchKeysNotCopied waits
# Tables with a trigger of ours that this role may drop: as their owner, as a member of it, or as a superuser.
OWNS = """
    SELECT DISTINCT tgrelid::regclass::text FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
    WHERE NOT tgisinternal AND tgparentid = 0 AND pg_has_role(relowner, 'USAGE')
"""
SENTINELS = 3  # at least: with fewer, no majority is left when one is lost
NEAR = {"", "localhost", "127.0.0.1", "::1"}  # hosts to which nothing leaves this machine


def look() -> Iterator[Finding]:
    """Look at every part, one after the other; one that cannot be asked does not keep the others back."""
    for part, ask in PARTS:
        try:
            yield from ask(part)
        except Exception as error:  # noqa: BLE001  whatever it is, the part does not answer
            yield Finding(part, "fail", f"It gave no answer ({findings.kind(error)}).", findings.REMEDIES[part])


def _settings(part: str) -> Iterator[Finding]:
    found = checks.run_checks(include_deployment_checks=True)
    for message in found:
        level = "fail" if message.is_serious() else "warn"
        yield Finding(part, level, _line(f"{message.id}: {message.msg}"), _line(message.hint or ""))
    if not found:
        yield Finding(part, "ok", "No setting is missing or contradicts another.")


def _line(text: object) -> str:
    return " ".join(str(text).split())


def _database(part: str) -> Iterator[Finding]:
    with deadline.at_most(SECONDS), connection.cursor() as cursor:
        cursor.execute("UPDATE django_migrations SET name = name WHERE 1 = 0")
    yield Finding(part, "ok", f"{connection.vendor} answers and takes changes.")
    options, host = settings.DATABASES["default"].get("OPTIONS", {}), settings.DATABASES["default"].get("HOST", "")
    if connection.vendor == "postgresql" and not _is_near(host) and options.get("sslmode") != "verify-full":
        text = "The server's certificate and name are not both checked."
        yield Finding(part, "warn", text, "Write sslmode=verify-full into DATABASE_URL.")


def _database_role(part: str) -> Iterator[Finding]:
    if connection.vendor != "postgresql":
        yield Finding(part, "ok", f"{connection.vendor} has no roles.")
        return
    with deadline.at_most(SECONDS), connection.cursor() as cursor:
        cursor.execute(OWNS)
        owned = sorted(name for (name,) in cursor.fetchall())
    if owned:
        text = f"This process may drop the triggers of {', '.join(owned)}: it is their owner, or a superuser."
        yield Finding(part, "warn", text, findings.REMEDIES[part])
    else:
        yield Finding(part, "ok", "It owns none of the tables that are append-only.")


def _is_near(host: str) -> bool:
    return host in NEAR or host.startswith("/")


def _migrations(part: str) -> Iterator[Finding]:
    with deadline.at_most(SECONDS):
        executor = MigrationExecutor(connection)
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if plan:
        first = f"{plan[0][0].app_label}.{plan[0][0].name}"
        yield Finding(part, "fail", f"{len(plan)} have not run, the first is {first}.", "Run manage.py migrate.")
    else:
        yield Finding(part, "ok", "All have run.")


def _partitions(part: str) -> Iterator[Finding]:
    with deadline.at_most(SECONDS):
        left = partitions.left()
    if left is None:
        yield Finding(part, "ok", f"{connection.vendor} keeps one table.")
    elif left < partitions.SOON:
        text = f"There are partitions for {max(0, left.days)} days more; without one no data key leaves."
        yield Finding(part, "fail", text, findings.REMEDIES[part])
    else:
        yield Finding(part, "ok", f"There are partitions for {left.days} days more.")


def _broker(part: str) -> Iterator[Finding]:
    with Connection(
        settings.CELERY_BROKER_URL,
        ssl=settings.CELERY_BROKER_USE_SSL or False,
        transport_options=settings.CELERY_BROKER_TRANSPORT_OPTIONS,
    ) as broker:
        # Opening a channel asks the server.
        broker.channel()
    yield Finding(part, "ok", "It answers.")
    address, read = urlsplit(settings.REDIS_URL), redis_url.parse(settings.REDIS_URL)
    if read.sentinels:
        yield _sentinels(part, read)
    hosts = [host for host, _ in read.sentinels] or [address.hostname or ""]
    if not read.tls and address.scheme != "unix" and not all(_is_near(host) for host in hosts):
        text = "Messages go to another machine without TLS."
        remedy = "Set REDIS_URL to rediss://… or rediss+sentinel://…, or keep the network between them private."
        yield Finding(part, "warn", text, remedy)


def _sentinels(part: str, read: redis_url.RedisUrl) -> Finding:
    """Ask each Sentinel who is the master: a failover needs most of them, and all have to name the same."""
    masters: list[tuple[str, int] | None] = []
    of = len(read.sentinels)
    redis: Any = sentinel  # it has no types
    for asked in redis.Sentinel(read.sentinels, sentinel_kwargs=read.sentinel_options).sentinels:
        with contextlib.suppress(RedisError):
            host, port = asked.sentinel_get_master_addr_by_name(read.master) or (b"", 0)
            masters.append((host.decode(), port) if host else None)
    named = set(masters)
    if not named:
        return Finding(part, "fail", "No Sentinel answers.", findings.REMEDIES[part])
    if len(named) > 1 or None in named:
        return Finding(part, "fail", f"The Sentinels do not agree on who is {read.master}.", findings.REMEDIES[part])
    if len(masters) < of:
        text = f"Only {len(masters)} of {of} Sentinels answer."
        return Finding(part, "warn", text, "Start the others: without most of them nothing follows a lost master.")
    if of < SENTINELS:
        text = f"REDIS_URL names {of} Sentinels, and nobody takes over when one is lost."
        return Finding(part, "warn", text, f"Run {SENTINELS} of them, on machines of their own, and name all.")
    return Finding(part, "ok", f"{of} of {of} Sentinels answer, and all name the same master.")


def _cache(part: str) -> Iterator[Finding]:
    shared.cache.set("preflight", 1, 5)
    if shared.cache.get("preflight") == 1:
        yield Finding(part, "ok", "It keeps what is written.")
    else:
        yield Finding(part, "fail", "It forgets what is written.", findings.REMEDIES[part])


def _clock(part: str) -> Iterator[Finding]:
    with deadline.at_most(SECONDS):
        yield _apart(part, "the database's", time.time() - clock.now().timestamp())
    date = sessions.identity(None, our_aws.HOME).date
    if date:
        yield _apart(part, "AWS's", time.time() - parsedate_to_datetime(date).timestamp())
    else:
        yield Finding(part, "warn", "AWS's answer had no date.", "See whether a proxy stands between us and AWS.")


def _apart(part: str, whose: str, seconds: float) -> Finding:
    text = f"This machine's is {abs(seconds):.0f} s {'before' if seconds > 0 else 'behind'} {whose}."
    if abs(seconds) < CLOCK_WARN:
        return Finding(part, "ok", text)
    return Finding(part, "fail" if abs(seconds) > CLOCK_WRONG else "warn", text, findings.REMEDIES[part])


def _copies(part: str) -> Iterator[Finding]:
    if not escrow.is_on():
        yield Finding(part, "ok", "None are kept (ESCROW_BUCKET is not set).")
        return
    without = BranchKey.objects.filter(escrowed_at=None)
    old = without.filter(escrow_due_at=None).count()
    late = without.annotate(at=Coalesce("wrapped_at", "created_at")).filter(
        escrow_due_at__isnull=False, at__lt=clock.now() - COPY_LATE
    )
    if old:
        text = f"{old} branch keys from before ESCROW_BUCKET was set have no copy."
        yield Finding(part, "warn", text, "Run manage.py escrow_branch_keys.")
    if count := late.count():
        yield Finding(
            part, "fail", f"{count} branch keys have waited for more than 15 minutes.", findings.REMEDIES[part]
        )
    elif not old:
        yield Finding(part, "ok", "Each branch key has its copy, or gets it within minutes.")


def _mail(part: str) -> Iterator[Finding]:
    if not settings.EMAIL_BACKEND.endswith("smtp.EmailBackend"):
        yield Finding(part, "warn", "No mail leaves this machine.", "Set EMAIL_URL to smtp+tls://….")
        return
    server = mail.get_connection(fail_silently=False)
    try:
        server.open()
    finally:
        server.close()
    yield Finding(part, "ok", "The server lets us in.")
    if not (settings.EMAIL_USE_TLS or settings.EMAIL_USE_SSL) and not _is_near(settings.EMAIL_HOST):
        text = "Mails, with links that let people in, go without TLS."
        yield Finding(part, "fail", text, "Set EMAIL_URL to smtp+tls://….")


def _name(part: str) -> Iterator[Finding]:
    host = urlsplit(settings.BASE_URL).hostname or ""
    socket.getaddrinfo(host, None)
    yield Finding(part, "ok", f"{host} has an address.")


def _traces(part: str) -> Iterator[Finding]:
    if not settings.OTEL_EXPORTER_OTLP_ENDPOINT:
        yield Finding(part, "ok", "They are off.")
    elif telemetry.reaches_collector():
        yield Finding(part, "ok", f"The collector takes them; {settings.OTEL_TRACES_SAMPLER_ARG:.0%} are sent.")
    else:
        yield Finding(part, "warn", "The collector does not take them: they are dropped.", findings.REMEDIES[part])


def _reports(part: str) -> Iterator[Finding]:
    host = urlsplit(settings.SENTRY_DSN).hostname
    yield Finding(part, "ok", f"They go to {host}." if host else "They are off.")


PARTS: tuple[tuple[str, Callable[[str], Iterator[Finding]]], ...] = (
    ("settings", _settings),
    ("database", _database),
    ("database role", _database_role),
    ("migrations", _migrations),
    ("partitions", _partitions),
    ("broker", _broker),
    ("cache", _cache),
    ("certificates", certificates.look),
    ("host", _name),
    ("identity", our_aws.identity),
    ("clock", _clock),
    ("service role", our_aws.service_roles),
    ("canary", our_aws.canaries),
    ("configuration", our_aws.configuration),
    ("quotas", our_aws.quotas),
    ("seal", seal.look),
    ("copies", _copies),
    ("mail", _mail),
    ("traces", _traces),
    ("error reports", _reports),
)
