"""Every setting, read from the environment; a missing or contradictory one fails loudly, with its name."""

import contextlib
import json
import logging
import os
import re
import secrets
from functools import partial
from pathlib import Path

import structlog
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from redis.backoff import NoBackoff
from redis.retry import Retry

from byokportal import addresses, embedded_packages, redis_url
from byokportal.environment import Environment
from byokportal.logs import render_json

# --- what runs ------------------------------------------------------------------------------------

BASE_DIR = Path(__file__).resolve().parent.parent
env = Environment()  # NAME or NAME_FILE: secrets may come as files

AWS_MODE = env.str("AWS_MODE", default="local")
if AWS_MODE == "local" and (_absent := embedded_packages.missing(*embedded_packages.LOCAL_AWS)):
    raise ImproperlyConfigured(f"AWS_MODE is local, and this machine has no local AWS. {_absent}")
VAR_DIR = Path(env.str("VAR_DIR", default=str(BASE_DIR / "var"))).resolve()
# `make run` leaves its settings in its directory, so that manage.py in another shell means the same
# database, broker and key.
if AWS_MODE == "local" and (VAR_DIR / "environment.json").exists():
    for _name, _value in json.loads((VAR_DIR / "environment.json").read_text()).items():
        os.environ.setdefault(_name, _value)
# http on this machine only; the default of a local AWS with SQLite, never of anything else.
EMBEDDED = env.bool("EMBEDDED", default=AWS_MODE == "local" and not env.str("DATABASE_URL", default=""))
DEBUG = env.bool("DEBUG", default=False)
PORT = env.int("PORT", default=8000)
BASE_URL = env.str("BASE_URL", default=f"http://localhost:{PORT}")
SECRET_KEY = env.str("SECRET_KEY", default="")
if not SECRET_KEY and EMBEDDED:
    VAR_DIR.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (
        contextlib.suppress(FileExistsError),
        open(VAR_DIR / "secret_key", "x", opener=partial(os.open, mode=0o600)) as _file,
    ):
        _file.write(secrets.token_urlsafe(50))
    SECRET_KEY = (VAR_DIR / "secret_key").read_text()
_needed = ["SECRET_KEY", *(("DATABASE_URL", "AWS_ACCOUNT_ID", "CANARY_ACCOUNT_ID") if AWS_MODE == "real" else ())]
if not EMBEDDED and not all(env.str(_name, default="") for _name in _needed):
    _needed += ["BASE_URL", "ALLOWED_HOSTS", "EMAIL_URL"]  # it starts without these, and `check --deploy` asks for them
    _missing = [_name for _name in _needed if not env.str(_name, default="")]
    raise ImproperlyConfigured(f"Not set: {', '.join(_missing)}. .env.example says what each is; NAME_FILE works too.")

ROOT_URLCONF = "byokportal.urls"
WSGI_APPLICATION = "byokportal.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "support.admin.admin_site.SupportAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",  # which sessions are whose, so that a person can be signed out everywhere
    "csp",
    "django_htmx",
    "rest_framework",
    "drf_spectacular",
    "django_structlog",
    "byokportal",
    "tenants",
    "keys",
    "support",
]

# --- web --------------------------------------------------------------------------------------------

ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"] if EMBEDDED or DEBUG else [])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
MIDDLEWARE = [
    "byokportal.kept.NeverKeptMiddleware",
    "byokportal.metrics.MetricsMiddleware",
    "byokportal.addresses.ClientAddressMiddleware",
    # a load balancer asks by address: no Host of ours, no session, no redirect to https
    "byokportal.health.HealthMiddleware",
    "byokportal.database.DeadlineMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "byokportal.logs.RequestIdMiddleware",
    "byokportal.tracing.TracingMiddleware",
    "django_structlog.middlewares.RequestMiddleware",
    "byokportal.languages.LanguageMiddleware",  # before what may answer with a page
    "byokportal.bodies.BodyMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "tenants.idle.IdleMiddleware",
    "tenants.sign_on_sessions.SignOnMiddleware",
    "tenants.middleware.SecondFactorMiddleware",
    "byokportal.pasted.SecretTextsMiddleware",
    "byokportal.problems.PortalProblemsMiddleware",
    "tenants.middleware.SecondPersonMiddleware",
    "tenants.sign_on_sessions.SignOnNeededMiddleware",
    "tenants.middleware.FreshSignInMiddleware",  # the last is asked first about an exception
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
STATIC_URL = "/static/"
STATIC_ROOT = Path(env.str("STATIC_ROOT", default=str(VAR_DIR / "static")))
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "byokportal.staticfiles.Storage"},
}
# nothing is collected: serve the files from where they are
WHITENOISE_USE_FINDERS = not (STATIC_ROOT / "staticfiles.json").exists()
if EMBEDDED:  # no collecting and compressing before the first page
    STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    WHITENOISE_USE_FINDERS = True
APPEND_SLASH = False
DATA_UPLOAD_MAX_MEMORY_SIZE = 256 * 1024  # bytes; the API's own limits are in byokportal.bodies
LANGUAGE_CODE = "en"  # of the sources, and of all that machines read (byokportal.languages)
LANGUAGES = [("en", "English"), ("de", "Deutsch")]
USE_I18N = True
LOCALE_PATHS = [BASE_DIR / "locale"]
TIME_ZONE = "UTC"
FORMAT_MODULE_PATH = ["byokportal.formats"]
USE_TZ = True
# Times that processes compare are the database's (byokportal.clock); "machine" is for tests, which move it.
CLOCK = "database"
# A test setting: this process reads its machine's clock wrong by so many seconds, and must not do anything wrong by it.
CLOCK_SKEW = env.float("CLOCK_SKEW", default=0.0)

# --- data -------------------------------------------------------------------------------------------

DATABASES = {"default": env.db("DATABASE_URL", default=f"sqlite:///{VAR_DIR / 'db.sqlite3'}")}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",  # a read that turns into a write would fail at once instead of waiting
        "timeout": 20,
        "init_command": (
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; PRAGMA recursive_triggers=ON;"
        ),
    }
else:
    DATABASES["default"]["ENGINE"] = "byokportal.postgresql"  # Django's own, with waits that can be given an end
    DATABASES["default"]["CONN_MAX_AGE"] = 60
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
    DATABASES["default"].setdefault("OPTIONS", {})["connect_timeout"] = 3

REDIS_URL = env.str("REDIS_URL", default="redis://127.0.0.1:6379/0")
_redis = redis_url.parse(REDIS_URL)  # what is mistyped in it is said by `check --deploy`
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": [REDIS_URL if _redis.sentinels else _redis.plain],  # a list: Django parts a string at each comma
        "KEY_PREFIX": "byok",
        # A cache that makes people wait is none; redis-py would try four times.
        "OPTIONS": {
            "socket_timeout": 0.2,
            "socket_connect_timeout": 0.2,
            "retry": Retry(NoBackoff(), 0),
            **_redis.tls,
            **_redis.cache_options,
        },
    }
}

# --- Celery: the row in the database is the job; a message only wakes a worker ------------------------

CELERY_BROKER_URL = _redis.broker
CELERY_BROKER_USE_SSL = _redis.tls or None
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True  # a worker killed in the middle gives its message back …
CELERY_TASK_REJECT_ON_WORKER_LOST = True  # … also when only its child process dies
CELERY_WORKER_PREFETCH_MULTIPLIER = 1  # a slow test must not sit in front of a quick one
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 300,  # seconds until a lost worker's message is given to another; the default is an hour
    "unacked_restore_interval": 5,
    "unacked_restore_throttle": 1,
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
    "max_retries": 0,  # kombu would look for a dead broker for six seconds, whoever waits
    **_redis.broker_options,
}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None  # a worker waits for its broker as long as it takes
# … and also for one that answers and takes no writes: the old master in a failover, a full disk, no memory left.
CELERY_BROKER_CHANNEL_ERROR_RETRY = True
CELERY_TASK_PUBLISH_RETRY = False  # beat sends it again; an operation must not hang on a dead broker
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_CONSUMER = "byokportal.celery_programs:Consumer"
CELERY_TIMEZONE = "UTC"
# people are waiting; "bulk" is for what may take long, "sweep" for the probes of all tenants, "webhooks" and "streams"
# (of the log) for receivers that may be slow
CELERY_TASK_DEFAULT_QUEUE = "checks"
# How often it is looked whether a canary is missing, or waits for its next step.
CANARY_SECONDS = env.float("CANARY_SECONDS", default=15 if EMBEDDED else 300)
DUE_SECONDS = env.float("DUE_SECONDS", default=2.0)  # beat's safety net: how often due rows are looked for
CELERY_BEAT_SCHEDULE = {
    "enqueue-due-configurations": {"task": "keys.tasks.enqueue_due_configurations", "schedule": DUE_SECONDS},
    "enqueue-due-tests": {"task": "keys.tasks.enqueue_due_tests", "schedule": DUE_SECONDS},
    "attend-due-activations": {"task": "keys.tasks.attend_due_activations", "schedule": DUE_SECONDS},
    "keep-room": {"task": "keys.tasks.keep_room", "schedule": DUE_SECONDS},
    "ask-canaries": {"task": "keys.tasks.ask_canaries", "schedule": DUE_SECONDS},
    "keep-canaries": {"task": "keys.tasks.keep_canaries", "schedule": CANARY_SECONDS},
    "send-canaries": {"task": "keys.tasks.send_canaries", "schedule": DUE_SECONDS},
    "advance-canaries": {"task": "support.tasks.advance_canaries", "schedule": CANARY_SECONDS},
    "look-for-drift": {"task": "keys.tasks.look_for_drift", "schedule": DUE_SECONDS},
    "enqueue-due-branch-keys": {"task": "keys.tasks.enqueue_due_branch_keys", "schedule": DUE_SECONDS},
    "enqueue-awaited-probes": {"task": "keys.tasks.enqueue_due_probes", "schedule": DUE_SECONDS},
    "clear-wrappings": {"task": "keys.tasks.clear_wrappings", "schedule": 3600.0},
    "sweep-due-probes": {"task": "keys.tasks.sweep", "schedule": DUE_SECONDS},
    "roll-up-uses": {"task": "keys.tasks.roll_up_uses", "schedule": 5.0},
    "follow-the-log": {"task": "support.tasks.follow_log", "schedule": DUE_SECONDS},
    "send-due-notices": {"task": "support.tasks.send_notices", "schedule": 10.0},
    "deliver-due-webhooks": {"task": "support.tasks.deliver_webhooks", "schedule": DUE_SECONDS},
    "send-due-log-streams": {"task": "tenants.tasks.send_log_streams", "schedule": DUE_SECONDS},
    "call-on-call": {"task": "support.tasks.call_on_call", "schedule": DUE_SECONDS},
    "remind-of-due-tickets": {"task": "support.tasks.remind_of_tickets", "schedule": 10.0},
    "prune-inbound-mails": {"task": "support.tasks.prune_inbound_mails", "schedule": 3600.0},
    "prune-webhooks": {"task": "support.tasks.prune_webhooks", "schedule": 3600.0},
    "follow-the-fleet": {"task": "support.tasks.follow_fleet", "schedule": max(5.0, DUE_SECONDS)},
    "count-the-fleet": {"task": "support.tasks.count_fleet", "schedule": 60.0},
    "run-due-bulk-operations": {"task": "support.tasks.run_bulk", "schedule": DUE_SECONDS},
    "attend-due-closings": {"task": "support.tasks.attend_closings", "schedule": DUE_SECONDS},
    "complete-due-recoveries": {"task": "support.tasks.complete_recoveries", "schedule": 60.0},
    "escrow-due-branch-keys": {"task": "keys.tasks.escrow_branch_keys", "schedule": DUE_SECONDS},
    "publish-due-log-head": {"task": "keys.tasks.publish_log_head", "schedule": 60.0},
    "roll-up-sealed-uses": {"task": "keys.tasks.roll_up_sealed_uses", "schedule": 60.0},
    "seal-the-log": {"task": "tenants.tasks.seal_log", "schedule": min(1.0, DUE_SECONDS)},
    "mail-due-log-heads": {"task": "tenants.tasks.mail_log_heads", "schedule": 60.0},
    "look-at-due-domains": {"task": "tenants.tasks.look_at_due_domains", "schedule": 10.0},
    "look-at-due-connections": {"task": "tenants.tasks.look_at_due_connections", "schedule": 60.0},
    "end-proven-holds": {"task": "keys.tasks.end_proven_holds", "schedule": 5.0},
    "clear-old-tests": {"task": "keys.tasks.clear_tests", "schedule": 3600.0},
    "clear-old-notices": {"task": "support.tasks.clear_notices", "schedule": 3600.0},
    "clear-expired": {"task": "tenants.tasks.clear_expired", "schedule": 3600.0},
}
# One message to each queue: a worker that takes it says that it is at work (`support.fleet.heartbeats`).
QUEUES = ("checks", "bulk", "sweep", "webhooks", "streams", "configuration")
for _queue in QUEUES:
    CELERY_BEAT_SCHEDULE[f"report-in-{_queue}"] = {
        "task": "support.tasks.report_in",
        "schedule": 15.0,
        "options": {"queue": _queue},
    }
# A message that nobody took is worth nothing once the next is there: after an hour without a worker there would be
# 1,800 of each. Not less than a minute, because the end is compared on the worker's clock with beat's.
for _entry in CELERY_BEAT_SCHEDULE.values():
    _entry["options"] = {**_entry.get("options", {}), "expires": max(60.0, float(_entry["schedule"]))}

CELERY_BEAT_SCHEDULER = "byokportal.beat:Scheduler"
# What beat asks the database first; it sends the task only where something is due.
BEAT_LOOKS = {
    "keys.tasks.enqueue_due_configurations": "keys.due.configurations",
    "keys.tasks.keep_room": "keys.due.room",
    "keys.tasks.ask_canaries": "keys.due.canaries",
    "keys.tasks.send_canaries": "keys.due.canary_rounds",
    "keys.tasks.look_for_drift": "keys.due.drift",
    "keys.tasks.enqueue_due_tests": "keys.due.tests",
    "keys.tasks.attend_due_activations": "keys.due.activations",
    "keys.tasks.enqueue_due_branch_keys": "keys.due.branch_keys",
    "keys.tasks.escrow_branch_keys": "keys.due.escrow",
    "keys.tasks.enqueue_due_probes": "keys.due.awaited_probes",
    "keys.tasks.sweep": "keys.due.probes",
    "keys.tasks.roll_up_uses": "keys.due.uses",
    "keys.tasks.end_proven_holds": "keys.due.holds",
    "tenants.tasks.mail_log_heads": "tenants.due.head_mailings",
    "tenants.tasks.seal_log": "tenants.due.unsealed",
    "tenants.tasks.look_at_due_domains": "tenants.due.domains",
    "tenants.tasks.look_at_due_connections": "tenants.due.connections",
    "tenants.tasks.send_log_streams": "tenants.due.log_streams",
    "support.tasks.follow_log": "support.due.events",
    "support.tasks.follow_fleet": "support.due.fleet",
    "support.tasks.run_bulk": "support.due.bulk",
    "support.tasks.attend_closings": "support.due.closings",
    "support.tasks.send_notices": "support.due.notices",
    "support.tasks.deliver_webhooks": "support.due.deliveries",
    "support.tasks.call_on_call": "support.due.on_call",
    "support.tasks.remind_of_tickets": "support.due.reminders",
}

# --- what is counted for Prometheus -------------------------------------------------------------------------

# `host:port` of each group of processes (web, each kind of worker, beat); without it nothing listens.
METRICS_ADDRESS = env.str("METRICS_ADDRESS", default="")
# What beat's address tells beside its own numbers: those of the whole system, out of the database and the broker.
METRICS_OF_ALL = "support.figures.Figures"
# With which entry of its schedule beat says that it is at work, and how.
BEAT_REPORTS = {"report-in-checks": "support.fleet.heartbeats.beat_is_at_work"}

# --- traces and reports of errors, both off ------------------------------------------------------------------------

# Where OpenTelemetry's collector takes OTLP over HTTP: https://collector:4318; `NAME=value,…` of headers is a secret.
OTEL_EXPORTER_OTLP_ENDPOINT = env.str("OTEL_EXPORTER_OTLP_ENDPOINT", default="")
OTEL_EXPORTER_OTLP_HEADERS = env.str("OTEL_EXPORTER_OTLP_HEADERS", default="")
OTEL_TRACES_SAMPLER_ARG = env.float("OTEL_TRACES_SAMPLER_ARG", default=0.1)  # of all traces, the share that is sent
# Where Sentry takes reports of errors: https://<public key>@<host>/<project>.
SENTRY_DSN = env.str("SENTRY_DSN", default="")
SENTRY_ENVIRONMENT = env.str("SENTRY_ENVIRONMENT", default="")

# --- AWS --------------------------------------------------------------------------------------------------

if AWS_MODE == "local":
    INSTALLED_APPS.append("byokportal.localaws")  # its commands; no app of ours imports it
AWS_ACCOUNT_ID = env.str("AWS_ACCOUNT_ID", default="999900001111" if AWS_MODE == "local" else "")
CANARY_ACCOUNT_ID = env.str("CANARY_ACCOUNT_ID", default="999900002222" if AWS_MODE == "local" else "")
LOCALAWS_FILE = VAR_DIR / "localaws.json"
PLATFORM_KEY_ARN = env.str("PLATFORM_KEY_ARN", default="")
# Regions that AWS has opened since our botocore was published: "mx-west-1,…".
EXTRA_REGIONS = env.list("EXTRA_REGIONS", default=[])
# The networks that our calls to AWS come from, where they are fixed: customers put them into conditions of theirs.
EGRESS_ADDRESSES = env.list("EGRESS_ADDRESSES", default=[])
# Where `manage.py cloudformation_template` lies in S3; without it no page offers a quick-create link.
CFN_TEMPLATE_URL = env.str("CFN_TEMPLATE_URL", default="")
# Who the service roles trust: the principal of web and workers. Needed where the configuration worker is another one.
BASE_PRINCIPAL_ARN = env.str("BASE_PRINCIPAL_ARN", default="")
# The role in CANARY_ACCOUNT_ID by which the configuration worker makes canaries; without it service roles are opened
# by hand.
CANARY_WRITER_ROLE_ARN = env.str("CANARY_WRITER_ROLE_ARN", default="")
# With places for fewer new tenants than this, the next service role is opened; below the second number, or when the
# quotas of our account leave room for fewer than the third, a person is told.
SERVICE_ROLES_ROOM = env.int("SERVICE_ROLES_ROOM", default=500)
SERVICE_ROLES_WARN = env.int("SERVICE_ROLES_WARN", default=100)
SERVICE_ROLES_QUOTA_WARN = env.int("SERVICE_ROLES_QUOTA_WARN", default=2_000)
# Of the characters that IAM takes in a service role's policies, how many are for new tenants.
SERVICE_ROLE_SHARE = env.float("SERVICE_ROLE_SHARE", default=0.75)
SERVICE_SIDE_APPROVAL = env.str("SERVICE_SIDE_APPROVAL", default="automatic")
# Who of ours is called when an incident opens: a webhook that we sign (Standard Webhooks), PagerDuty, both or none.
ON_CALL_WEBHOOK_URL = env.str("ON_CALL_WEBHOOK_URL", default="")
ON_CALL_WEBHOOK_SECRET = env.str("ON_CALL_WEBHOOK_SECRET", default="")
ON_CALL_PAGERDUTY_ROUTING_KEY = env.str("ON_CALL_PAGERDUTY_ROUTING_KEY", default="")
ON_CALL_PAGERDUTY_URL = env.str("ON_CALL_PAGERDUTY_URL", default="https://events.pagerduty.com/v2/enqueue")
SUPPORT_URL = env.str("SUPPORT_URL", default="https://support.kore.ai/")

BRANCH_KEY_ROTATION_DAYS = env.float("BRANCH_KEY_ROTATION_DAYS", default=90)
# How long backups of the database are kept: until then an old role and an old key are needed,
# because such a backup opens only with both.
BACKUP_RETENTION_DAYS = env.float("BACKUP_RETENTION_DAYS", default=35)

# Times, in seconds. Tests and the demo shorten them; what each means is in design.md 3, 5 and 8.
PROBE_SECONDS = env.float("PROBE_SECONDS", default=300)
DENIED_PROBE_SECONDS = [float(part) for part in env.list("DENIED_PROBE_SECONDS", default=["60", "120", "300"])]
TRUST_PROBE_SECONDS = env.float("TRUST_PROBE_SECONDS", default=3600)  # how often a probe looks at the trust policy too
DRILL_PROBE_SECONDS = env.float("DRILL_PROBE_SECONDS", default=3)  # while a revocation drill is on
DRILL_SECONDS = env.float("DRILL_SECONDS", default=3600)  # a drill that nobody ends is over then
# That many tenants refused on one service role, and at least that share of those it serves, within that time:
# our doing until shown otherwise.
MANY_DENIALS = env.int("MANY_DENIALS", default=5)
MANY_DENIALS_SHARE = env.float("MANY_DENIALS_SHARE", default=0.05)
MANY_DENIALS_SECONDS = env.float("MANY_DENIALS_SECONDS", default=300)
DEFAULT_REVOCATION_LATENCY = env.int("DEFAULT_REVOCATION_LATENCY", default=300)
PROPAGATION_WINDOW = env.float("PROPAGATION_WINDOW", default=300)
EXTERNAL_ID_PROBE_GAP = env.float("EXTERNAL_ID_PROBE_GAP", default=60)
# A stopped key serves again after two good answers so far apart, and within PROPAGATION_WINDOW of a policy's refusal
# after good ones that span so long (keys.health.timing).
GOOD_ANSWERS_APART = env.float("GOOD_ANSWERS_APART", default=2)
GOOD_ANSWERS_SPAN = env.float("GOOD_ANSWERS_SPAN", default=15)
SNAPSHOT_SECONDS = 0.5  # how often a process that gives out data keys asks what has changed (keys.datakeys.snapshots)
# … in a thread of its own, and new copies of branch keys come in others; without: within the requests.
DATA_KEY_THREADS = True

# --- the seal of the log (docs/seal.md) ----------------------------------------------------------------------------

# The Ed25519 key that signs the heads of the logs: PEM, or one of the spec ECC_NIST_EDWARDS25519 in AWS KMS. The
# embedded run makes one in VAR_DIR; without any nothing is signed.
SEAL_KEY = env.str("SEAL_KEY", default="")
SEAL_KMS_KEY_ARN = env.str("SEAL_KMS_KEY_ARN", default="")
# Where signed heads are kept outside the database: a directory that every worker sees.
SEAL_HEADS_DIR = env.str("SEAL_HEADS_DIR", default=str(VAR_DIR / "log-heads"))
SEAL_HEAD_SECONDS = env.float("SEAL_HEAD_SECONDS", default=3600)
SEAL_USES_SECONDS = env.float("SEAL_USES_SECONDS", default=3600)  # after which uses of keys are rolled up and sealed

# --- how long rows are kept that nothing needs any more (docs/capacity.md) ------------------------------------

TEST_RETENTION_DAYS = env.int("TEST_RETENTION_DAYS", default=400)  # tests of a registration, but for its newest
CANARY_TEST_RETENTION_DAYS = env.int("CANARY_TEST_RETENTION_DAYS", default=30)
NOTICE_RETENTION_DAYS = env.int("NOTICE_RETENTION_DAYS", default=400)  # mails that were sent or are not wanted any more

# How long the log and uses of keys stay in the database; months that are older go to files in ARCHIVE_DIR
# (docs/archive.md). None: they stay for ever. PostgreSQL only.
AUDIT_RETENTION_DAYS = env.int("AUDIT_RETENTION_DAYS", default=None)
ARCHIVE_DIR = env.str("ARCHIVE_DIR", default=str(VAR_DIR / "archive"))

# --- copies of wrapped branch keys (docs/escrow.md) -------------------------------------------------------------

ESCROW_BUCKET = env.str("ESCROW_BUCKET", default="")  # "": no copies
ESCROW_PREFIX = env.str("ESCROW_PREFIX", default="branch-keys/")
ESCROW_REGION = env.str("ESCROW_REGION", default="")
ESCROW_ENDPOINT_URL = env.str("ESCROW_ENDPOINT_URL", default="")  # of a store that speaks S3; "": Amazon's
# "": those of the base principal
ESCROW_ACCESS_KEY_ID = env.str("ESCROW_ACCESS_KEY_ID", default="")
ESCROW_SECRET_ACCESS_KEY = env.str("ESCROW_SECRET_ACCESS_KEY", default="")

# --- closing an organisation (docs/closing.md) ------------------------------------------------------------------

# Where the back office has exports written before keys are destroyed: a folder that workers of the queue "bulk" see.
# Production names one, or closes by the command line alone.
CLOSING_EXPORT_DIR = env.str("CLOSING_EXPORT_DIR", default=str(VAR_DIR / "closings") if EMBEDDED else "")
# No service may have used a key of an organisation for so long, or it is not closed.
CLOSING_QUIET_HOURS = env.float("CLOSING_QUIET_HOURS", default=24)
# Until when the bucket keeps copies that could not be deleted at once: what its Object Lock and lifecycle rules say. It
# has no default, because a signed receipt names the date: without it, whoever has copies in a bucket is not closed.
ESCROW_RETENTION_DAYS = env.float("ESCROW_RETENTION_DAYS", default=None)

# --- sign-in ------------------------------------------------------------------------------------------------

MFA_REQUIRED = env.bool("MFA_REQUIRED", default=not (EMBEDDED or DEBUG))
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
ACCOUNT_LOGOUT_REDIRECT_URL = "account_login"
ACCOUNT_ADAPTER = "tenants.accounts.InvitedOnlyAdapter"  # people come by invitation; nobody signs up by themselves
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
# an address is proved by the link of an invitation; no page of allauth's changes it
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_PREVENT_ENUMERATION = True
ACCOUNT_SESSION_REMEMBER = False
# tenants.sign_in counts attempts: allauth's limits let a stranger keep others out,
# and let nobody in without the shared cache.
ACCOUNT_RATE_LIMITS = MFA_RATE_LIMITS = False
ACCOUNT_FORMS = {
    "login": "tenants.sign_in_forms.LoginForm",
    "reauthenticate": "tenants.sign_in_forms.PasswordAgainForm",
    "change_password": "tenants.sign_in_forms.ChangePasswordForm",
    "reset_password": "tenants.sign_in_forms.ResetPasswordForm",
    "reset_password_from_key": "tenants.sign_in_forms.NewPasswordForm",
}
MFA_FORMS = {
    "activate_totp": "tenants.sign_in_forms.SetUpAppForm",
    "authenticate": "tenants.sign_in_forms.CodeForm",
    "reauthenticate": "tenants.sign_in_forms.CodeAgainForm",
    "login_webauthn": "tenants.sign_in_forms.SignInByPasskeyForm",
    "authenticate_webauthn": "tenants.sign_in_forms.PasskeyAsSecondFactorForm",
    "reauthenticate_webauthn": "tenants.sign_in_forms.PasskeyAgainForm",
    "add_webauthn": "tenants.sign_in_forms.AddPasskeyForm",
    "edit_webauthn": "tenants.sign_in_forms.RenamePasskeyForm",
}
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
FRESH_SIGN_IN_SECONDS = ACCOUNT_REAUTHENTICATION_TIMEOUT = 600  # the first decides, by tenants.fresh
# Mail domains of Kore.ai's own people, who are never members of an organisation.
STAFF_EMAIL_DOMAINS = [
    domain.lower() for domain in env.list("STAFF_EMAIL_DOMAINS", default=["kore.example"] if EMBEDDED else [])
]
MFA_ADAPTER = "tenants.second_factor.Adapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_TOTP_ISSUER = "Kore.ai BYOK"
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = EMBEDDED or DEBUG

# --- security ---------------------------------------------------------------------------------------------

_https = not (EMBEDDED or DEBUG)
SECURE_SSL_REDIRECT = _https
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
# The proxies in front of us: how many, or their networks.
# Only what they say of a client's address and of TLS is believed.
PROXIES = addresses.proxies(env.str("BEHIND_PROXY", default="0"))
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if PROXIES else None
SECURE_HSTS_SECONDS = 31_536_000 if _https else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = _https
SECURE_HSTS_PRELOAD = _https
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _https
SESSION_COOKIE_HTTPONLY = True
CSRF_COOKIE_HTTPONLY = True
# A cookie of that name comes from this host and by TLS, or the browser drops it:
# no other host of the domain can plant one.
_host = "__Host-" if _https else ""
SESSION_COOKIE_NAME = f"{_host}sessionid"
CSRF_COOKIE_NAME = f"{_host}csrftoken"
LANGUAGE_COOKIE_NAME = f"{_host}language"
LANGUAGE_COOKIE_SECURE = _https
LANGUAGE_COOKIE_HTTPONLY = True
LANGUAGE_COOKIE_AGE = 365 * 24 * 3600  # seconds
MESSAGES_COOKIE_NAME = f"{_host}messages"
DEVICE_COOKIE_NAME = f"{_host}device"  # tenants.sign_in
MESSAGE_STORAGE = "byokportal.kept.MessagesCookie"
SESSION_COOKIE_AGE = 12 * 3600  # seconds that a session lasts, whatever is done in it
SESSION_IDLE_SECONDS = env.int("SESSION_IDLE_SECONDS", default=1800)  # and without anything done
SESSION_EXPIRE_AT_BROWSER_CLOSE = True
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
        "manifest-src": [SELF],
    }
}

# --- addresses that tenants give (byokportal.outbound) ----------------------------------------------------------

# Whom we ask for names: `system`, addresses of resolvers, or file:PATH (byokportal.resolver).
DNS_RESOLVER = env.str("DNS_RESOLVER", default=f"file:{VAR_DIR / 'dns.json'}" if EMBEDDED else "system")
# Origins that may be http and on a private network: http://127.0.0.1:9400,…
OUTBOUND_ALLOW = env.list("OUTBOUND_ALLOW", default=[])

# --- fair shares ------------------------------------------------------------------------------------------------

# Data keys a second of all processes together; each gives out its part (tenants.limits).
# An item of a batch counts like a request of its own.
DATA_KEYS_PER_CALLER = env.int("DATA_KEYS_PER_CALLER", default=10_000)
DATA_KEYS_PER_TENANT = env.int("DATA_KEYS_PER_TENANT", default=10_000)
# Of one web process, for requests for data keys that have to wait; keys.datakeys.bulkhead and
# keys.datakeys.http.priority divide them. Pages and the rest of the API have half as many of their own.
WEB_THREADS = env.int("WEB_THREADS", default=32)

# --- API ----------------------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["byokportal.bodies.StrictJSONParser"],
    "DEFAULT_AUTHENTICATION_CLASSES": ["tenants.authentication.BearerAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "byokportal.bodies.JsonOnly",
    "DEFAULT_SCHEMA_CLASS": "byokportal.schema.ProblemSchema",
    "EXCEPTION_HANDLER": "byokportal.problems.exception_handler",
    "UNAUTHENTICATED_USER": None,
    "URL_FORMAT_OVERRIDE": None,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Kore.ai BYOK",
    "DESCRIPTION": (
        "Bring your own key: set-up, tests, the key in service, data keys, tickets and the log.\n\n"
        "**How long a plaintext key may be kept.** `cache_until` is an instant on our clock, and `Date` of the same "
        "answer is read from the same clock. Count the seconds from `Date` to `cache_until`, less one (`Date` has no "
        "fractions), from the moment before you asked, on your machine's monotonic clock; keep the key no longer. "
        "Never compare `cache_until` with your own wall clock. A 423, and a line of `key-states` whose status is not "
        "`active`, end it at once."
    ),
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": [],
    "COMPONENT_SPLIT_REQUEST": True,
    "SCHEMA_PATH_PREFIX": r"/api/v1",
    # Several shapes have a status of their own.
    "ENUM_NAME_OVERRIDES": {
        "RoleEnum": "tenants.models.Role",
        "WebhookStatusEnum": ["on", "off", "failing"],
        "DeliveryStatusEnum": "support.models.WebhookDelivery.Status",
        "FormatEnum": "support.models.WebhookEndpoint.Format",
        "LogStreamFormatEnum": "tenants.models.LogStream.Format",
    },
    "POSTPROCESSING_HOOKS": ["drf_spectacular.hooks.postprocess_schema_enums", "byokportal.schema.add_examples"],
}

# --- mail -------------------------------------------------------------------------------------------------------

EMAIL_CONFIG = env.email("EMAIL_URL", default=f"filemail://{VAR_DIR / 'mail'}")
vars().update(EMAIL_CONFIG)
if EMAIL_CONFIG["EMAIL_BACKEND"].endswith("filebased.EmailBackend"):
    EMAIL_FILE_PATH = str(VAR_DIR / "mail")
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="byok@kore.example")
SUPPORT_EMAIL = env.str("SUPPORT_EMAIL", default="byok-support@kore.example")
# Answers to tickets by mail (docs/tickets.md): secrets of the mail gateway, `whsec_…`, the newest first, and the
# address that it takes mails for. Without both no mail comes in, and none of ours can be answered.
INBOUND_MAIL_SECRETS = env.list("INBOUND_MAIL_SECRETS", default=[])
INBOUND_MAIL_ADDRESS = env.str("INBOUND_MAIL_ADDRESS", default="")

# --- clocks of tickets, in minutes, day and night: urgent, high, normal, low ----------------------------------------

TICKET_FIRST_ANSWER_MINUTES = [
    float(part) for part in env.list("TICKET_FIRST_ANSWER_MINUTES", default=["30", "60", "240", "1440"])
]
TICKET_RESOLUTION_MINUTES = [
    float(part) for part in env.list("TICKET_RESOLUTION_MINUTES", default=["480", "1440", "4320", "10080"])
]
# So long before a clock runs out somebody is reminded, and once more when it does.
TICKET_REMIND_MINUTES = env.float("TICKET_REMIND_MINUTES", default=60)
# A cause that returns within this time opens its ticket again; later it gets a new one.
TICKET_REOPEN_DAYS = env.float("TICKET_REOPEN_DAYS", default=30)

# --- logs ---------------------------------------------------------------------------------------------------------

DJANGO_STRUCTLOG_USER_ID_FIELD = "pk"
DJANGO_STRUCTLOG_TRUST_UPSTREAM_REQUEST_ID = True  # it is ours: byokportal.logs.RequestIdMiddleware has judged it
DJANGO_STRUCTLOG_IP_LOGGING_ENABLED = False  # it believes what anybody writes; byokportal.addresses binds the address
DJANGO_STRUCTLOG_STATUS_5XX_LOG_LEVEL = logging.INFO  # a failure is logged once, where it happens
_processors: list[structlog.types.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.stdlib.PositionalArgumentsFormatter(),
    structlog.processors.TimeStamper(fmt="iso"),
]
structlog.configure(
    processors=[*_processors, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
    logger_factory=structlog.stdlib.LoggerFactory(),
    wrapper_class=structlog.stdlib.BoundLogger,
    cache_logger_on_first_use=True,
)
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"redact": {"()": "byokportal.logs.Redact"}},
    "formatters": {
        "json": {
            "()": structlog.stdlib.ProcessorFormatter,
            "foreign_pre_chain": _processors,
            "processors": [
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                render_json,
            ],
        },
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "json", "filters": ["redact"]}},
    "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", default="INFO").upper()},
    "loggers": {
        "django": {"handlers": [], "level": "INFO", "propagate": True},
        "django.server": {"handlers": [], "level": "INFO", "propagate": True},
        "botocore": {"level": "WARNING"},
        "boto3": {"level": "WARNING"},
        "urllib3": {"level": "WARNING"},
        "celery": {"level": "INFO"},
        # A line for each message that beat sends, several a second, would drown what people and on-call have to see.
        "celery.beat": {"level": "WARNING"},
        "celery.worker.strategy": {"level": "WARNING"},
        "celery.app.trace": {"level": "CRITICAL"},  # one line a task, failures too: byokportal.celery
    },
}

# AWS_ENDPOINT_URL* would send signed requests, with our credentials' rights, to whoever is named there.
if AWS_MODE == "real" and any(name.startswith("AWS_ENDPOINT_URL") for name in os.environ):
    raise ImproperlyConfigured("AWS_MODE=real is refused together with AWS_ENDPOINT_URL*. Unset those variables.")
if AWS_MODE not in {"local", "real"}:
    raise ImproperlyConfigured("AWS_MODE is either 'local' or 'real'.")
if AWS_MODE == "real" and "sqlite3" in DATABASES["default"]["ENGINE"]:
    raise ImproperlyConfigured("AWS_MODE=real is refused together with SQLite. Set DATABASE_URL to PostgreSQL.")
if AWS_MODE == "real" and CLOCK_SKEW:
    raise ImproperlyConfigured("AWS_MODE=real is refused together with CLOCK_SKEW, which is for tests. Unset it.")
if AWS_MODE == "real" and OUTBOUND_ALLOW:
    raise ImproperlyConfigured("AWS_MODE=real is refused together with OUTBOUND_ALLOW, which is for tests. Unset it.")
if AWS_MODE == "real" and DNS_RESOLVER.startswith("file:"):
    raise ImproperlyConfigured("AWS_MODE=real is refused together with DNS_RESOLVER=file:…, which is for tests.")
if CLOCK_SKEW:
    from byokportal import clock

    clock.set_machine_wrong(CLOCK_SKEW)
if AWS_ACCOUNT_ID == CANARY_ACCOUNT_ID:
    raise ImproperlyConfigured(
        "CANARY_ACCOUNT_ID is another account than AWS_ACCOUNT_ID: our policies deny roles of our own account."
    )
if any(not re.fullmatch(r"[a-z]{2,5}(-[a-z]{2,10}){1,2}-[1-9][0-9]?", region) for region in EXTRA_REGIONS):
    raise ImproperlyConfigured(
        "EXTRA_REGIONS holds names of AWS Regions, with commas between them: eu-central-1,us-east-1."
    )
if LOGGING["root"]["level"] not in logging.getLevelNamesMapping():  # type: ignore[index]
    raise ImproperlyConfigured("LOG_LEVEL is DEBUG, INFO, WARNING or ERROR.")
if SERVICE_SIDE_APPROVAL not in {"automatic", "support"}:
    raise ImproperlyConfigured("SERVICE_SIDE_APPROVAL is either 'automatic' or 'support'.")
if not 0 <= BACKUP_RETENTION_DAYS <= 3_650:
    raise ImproperlyConfigured("BACKUP_RETENTION_DAYS is between 0 and 3650 days; what your backups are kept for.")
if AUDIT_RETENTION_DAYS is not None and not max(400, NOTICE_RETENTION_DAYS) < AUDIT_RETENTION_DAYS <= 36_500:
    raise ImproperlyConfigured(
        "AUDIT_RETENTION_DAYS is more than 400 and more than NOTICE_RETENTION_DAYS; without it everything is kept."
    )
if not 0 <= CLOSING_QUIET_HOURS <= 8_760 or not 0 <= (ESCROW_RETENTION_DAYS or 0) <= 36_500:
    raise ImproperlyConfigured("CLOSING_QUIET_HOURS is at most a year, ESCROW_RETENTION_DAYS between 0 and 36500 days.")
if not 0 <= DEFAULT_REVOCATION_LATENCY <= 900:
    raise ImproperlyConfigured("DEFAULT_REVOCATION_LATENCY is between 0 and 900 seconds.")
if SENTRY_DSN:
    LOGGING["handlers"]["reports"] = {"class": "byokportal.error_reports.Reports", "level": "ERROR"}  # type: ignore[index]
    LOGGING["root"]["handlers"].append("reports")  # type: ignore[index]
