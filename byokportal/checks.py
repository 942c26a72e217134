"""System checks: settings that contradict each other or look like a mistake, said at start instead of at night.

`manage.py check --deploy` runs all of them;
it fails where service would fail, or would be less safe than its papers say.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
from collections.abc import Iterable
from pathlib import Path
from tempfile import gettempdir
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register

from byokportal import environment, outbound, redis_url
from byokportal.errors import AddressRefused

# Setting → smallest and largest value that makes sense. Tests and the demo shorten times; a week is a slip of a zero.
DAY = 86_400
RANGES: dict[str, tuple[float, float]] = {
    "PORT": (1, 65_535),
    "PROBE_SECONDS": (0.01, DAY),
    "TRUST_PROBE_SECONDS": (0, 7 * DAY),
    "DRILL_PROBE_SECONDS": (0, 600),
    "DRILL_SECONDS": (0.01, DAY),
    "MANY_DENIALS": (1, 100_000),
    "MANY_DENIALS_SHARE": (0, 1),
    "MANY_DENIALS_SECONDS": (0, DAY),
    "DEFAULT_REVOCATION_LATENCY": (0, 900),
    "PROPAGATION_WINDOW": (0, 3600),
    "EXTERNAL_ID_PROBE_GAP": (0, 3600),
    "GOOD_ANSWERS_APART": (0, 600),
    "GOOD_ANSWERS_SPAN": (0, 3600),
    "DUE_SECONDS": (0.01, 60),
    "CANARY_SECONDS": (1, 3600),
    "SERVICE_ROLES_ROOM": (1, 100_000),
    "SERVICE_ROLES_WARN": (0, 100_000),
    "SERVICE_ROLES_QUOTA_WARN": (0, 1_000_000),
    "SERVICE_ROLE_SHARE": (0.1, 0.75),
    "BRANCH_KEY_ROTATION_DAYS": (0, 3650),
    "DATA_KEYS_PER_CALLER": (1, 10**9),
    "DATA_KEYS_PER_TENANT": (1, 10**9),
    "WEB_THREADS": (2, 1000),
    "TICKET_REMIND_MINUTES": (0, 10_080),
    "TICKET_REOPEN_DAYS": (0, 3650),
    "TEST_RETENTION_DAYS": (1, 36_500),
    "CANARY_TEST_RETENTION_DAYS": (1, 36_500),
    "NOTICE_RETENTION_DAYS": (30, 36_500),
    "SEAL_HEAD_SECONDS": (1, DAY),
    "SEAL_USES_SECONDS": (1, DAY),
    "OTEL_TRACES_SAMPLER_ARG": (0, 1),
}
ACCOUNT = re.compile(r"[0-9]{12}", re.ASCII)
KEY = re.compile(r"arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+", re.ASCII)
SIGNS = re.compile(r"whsec_[A-Za-z0-9+/]{32,88}={0,2}", re.ASCII)
# 24 bytes at least; base64.
SECRET = re.compile(r"whsec_[A-Za-z0-9+/]{32,88}={0,2}", re.ASCII)
DSN = re.compile(r"https://[0-9A-Za-z]+@[A-Za-z0-9.-]+(?::[0-9]+)?/(?:[A-Za-z0-9/_-]+/)?[0-9]+", re.ASCII)
MAILBOX = re.compile(r"[A-Za-z0-9._-]{1,11}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+", re.ASCII)
HOST = re.compile(r"\.?[A-Za-z0-9.-]+|\[[0-9a-fA-F:.]+\]", re.ASCII)
EXAMPLES = ("example.com", "example.org", "kore.example")  # what .env.example and our defaults say
SIMILAR = 0.85  # of difflib: one letter in ten is another one


@register(Tags.security, deploy=True)
def production_is_not_embedded(app_configs: Any, **_: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if settings.EMBEDDED:
        found.append(_error("EMBEDDED is on: cookies would travel over http.", "Unset EMBEDDED in production.", "E001"))
    if settings.DEBUG:
        found.append(
            _error("DEBUG is on: pages would show our code and settings.", "Unset DEBUG in production.", "E004")
        )
    if settings.AWS_MODE != "real":
        found.append(_error("AWS_MODE is not 'real': no customer's key would be used.", "Set AWS_MODE=real.", "E005"))
    if not settings.MFA_REQUIRED:
        found.append(
            _warning("MFA_REQUIRED is off.", "People who hold customers' kill switches need a second factor.", "W001")
        )
    if settings.SECURE_PROXY_SSL_HEADER is None and settings.SECURE_SSL_REDIRECT:
        found.append(
            _error(
                (
                    "BEHIND_PROXY is off: our server speaks no TLS itself, so every page would redirect to "
                    "itself for ever."
                ),
                "Put a proxy with TLS in front, let it set X-Forwarded-Proto itself, and set BEHIND_PROXY=1.",
                "E006",
            )
        )
    return found


@register(Tags.security, deploy=True)
def addresses_are_those_that_people_use(app_configs: Any, **_: Any) -> list[CheckMessage]:
    return [*_base_url(), *_hosts(), *_mail(), *_inbound_mail(), *_clocks_of_tickets(), *_accounts(), *_origins()]


def _base_url() -> Iterable[CheckMessage]:
    base = urlsplit(settings.BASE_URL)
    if base.scheme != "https" or not base.hostname or base.path or base.query or base.fragment:
        yield _error(
            "BASE_URL is not https://host: it stands in mails and in every error of the API.",
            "Set BASE_URL to the https address people use, without a path and without a slash at the end.",
            "E007",
        )
    elif not any(
        base.hostname == host or host == "*" or (host.startswith(".") and f".{base.hostname}".endswith(host))
        for host in settings.ALLOWED_HOSTS
    ):
        yield _error(
            "The host of BASE_URL is not in ALLOWED_HOSTS: every page would be a 400.", "Name it there too.", "E008"
        )
    if not settings.SUPPORT_URL.startswith("https://"):
        yield _error("SUPPORT_URL is no https address.", "It is the link that people without help follow.", "E009")
    for network in settings.EGRESS_ADDRESSES:
        try:
            ipaddress.ip_network(network)
        except ValueError:
            yield _error(
                f"EGRESS_ADDRESSES has {network!r}, which is no network.",
                "Like 192.0.2.0/28,2001:db8::/56: customers let our calls in by it.",
                "E023",
            )
    template = settings.CFN_TEMPLATE_URL
    # The longest that CloudFormation takes (guide, "Selecting a stack template").
    if template and (not template.startswith("https://") or len(template) > 1024):
        yield _error(
            "CFN_TEMPLATE_URL is no https address, or longer than 1,024 characters.",
            "Put what `manage.py cloudformation_template` prints into S3, and its address here.",
            "E022",
        )


def _hosts() -> Iterable[CheckMessage]:
    if not settings.ALLOWED_HOSTS:
        yield _error(
            "ALLOWED_HOSTS is missing: every page would be a 400.", "Set it to the host that people use.", "E010"
        )
    for host in settings.ALLOWED_HOSTS:
        if not HOST.fullmatch(host):
            yield _error(
                f"ALLOWED_HOSTS has {host!r}.", "Names of hosts only: no https://, no port, no path, no *.", "E011"
            )


def _origins() -> Iterable[CheckMessage]:
    for origin in settings.CSRF_TRUSTED_ORIGINS:
        if not origin.startswith("https://") or urlsplit(origin).path:
            yield _error(
                f"CSRF_TRUSTED_ORIGINS has {origin!r}.", "Like https://byok.example.com, without a path.", "E012"
            )


def _mail() -> Iterable[CheckMessage]:
    if not settings.EMAIL_BACKEND.endswith("smtp.EmailBackend"):
        yield _error(
            "EMAIL_URL sends no mail.", "Set it to smtp+tls://user:password@host:587; invitations go there.", "E013"
        )
    for name in ("DEFAULT_FROM_EMAIL", "SUPPORT_EMAIL"):
        if not re.search(r"[^@\s<]+@[^@\s>]+", getattr(settings, name)):
            yield _error(f"{name} is no address for mail.", "Like byok@example.com.", "E014")
    for name in ("BASE_URL", "DEFAULT_FROM_EMAIL", "SUPPORT_EMAIL"):
        if getattr(settings, name).rstrip(">").endswith(EXAMPLES):
            yield _warning(f"{name} is still the example's.", "Set it to one of yours.", "W003")


def _inbound_mail() -> Iterable[CheckMessage]:
    secrets, address = settings.INBOUND_MAIL_SECRETS, settings.INBOUND_MAIL_ADDRESS
    if bool(secrets) != bool(address):
        yield _error(
            "Answers to tickets by mail need both INBOUND_MAIL_SECRETS and INBOUND_MAIL_ADDRESS.",
            "Set both, or neither (docs/tickets.md).",
            "E030",
        )
    for secret in secrets:
        if not SECRET.fullmatch(secret):
            yield _error(
                "A secret in INBOUND_MAIL_SECRETS is none: anybody could write tickets.",
                'whsec_ and 32 random bytes in base64: echo "whsec_$(openssl rand -base64 32)".',
                "E031",
            )
    if address and not MAILBOX.fullmatch(address):
        yield _error(
            f"INBOUND_MAIL_ADDRESS {address!r} is no address that a word can be added to.",
            "Like reply@byok.example.com: at most eleven characters before the @, no plus.",
            "E032",
        )


def _clocks_of_tickets() -> Iterable[CheckMessage]:
    for name in ("TICKET_FIRST_ANSWER_MINUTES", "TICKET_RESOLUTION_MINUTES"):
        minutes = getattr(settings, name)
        if len(minutes) != 4 or minutes != sorted(minutes) or not all(0 < each <= 525_600 for each in minutes):
            yield _error(
                f"{name} is not four times that grow.", "Minutes for urgent, high, normal, low: 30,60,240,1440.", "E033"
            )


def _accounts() -> Iterable[CheckMessage]:
    for name in ("AWS_ACCOUNT_ID", "CANARY_ACCOUNT_ID"):
        account = getattr(settings, name)
        if not ACCOUNT.fullmatch(account):
            yield _error(f"{name} is not an AWS account id.", "Twelve digits, without hyphens.", "E015")
        elif account.startswith("99990000") and settings.AWS_MODE == "real":
            yield _warning(f"{name} is still the example's.", "Set it to one of yours.", "W003")
    if settings.PLATFORM_KEY_ARN and not KEY.fullmatch(settings.PLATFORM_KEY_ARN):
        yield _error(
            "PLATFORM_KEY_ARN is no ARN of a KMS key.", "Like arn:aws:kms:eu-central-1:…:key/…; no alias.", "E016"
        )


@register(Tags.security, deploy=True)
def somebody_is_on_call(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Say before the first bad night that its page reaches nobody; no value is repeated, because each is a secret."""
    found: list[CheckMessage] = []
    for name in ("ON_CALL_WEBHOOK_URL", "ON_CALL_PAGERDUTY_URL"):
        try:
            if getattr(settings, name):
                outbound.target_of(getattr(settings, name))
        except AddressRefused as error:
            hint = f"{error} For a pager inside your network name a relay that is public, or PagerDuty."
            found.append(_error(f"{name} is no address that we call.", hint, "E040"))
    if settings.ON_CALL_WEBHOOK_URL and not SIGNS.fullmatch(settings.ON_CALL_WEBHOOK_SECRET):
        hint = "whsec_ and the base64 of 24 to 64 random bytes, as the receiver has it."
        found.append(_error("ON_CALL_WEBHOOK_SECRET signs nothing.", hint, "E041"))
    if not settings.ON_CALL_WEBHOOK_URL and not settings.ON_CALL_PAGERDUTY_ROUTING_KEY:
        hint = "Set ON_CALL_WEBHOOK_URL and its secret, or ON_CALL_PAGERDUTY_ROUTING_KEY; then manage.py test_on_call."
        found.append(_warning("Nobody is called when an incident of ours opens: it is mailed only.", hint, "W006"))
    return found


@register(Tags.security, deploy=True)
def the_heads_of_the_logs_are_signed(app_configs: Any, **_: Any) -> list[CheckMessage]:
    if settings.SEAL_KEY or settings.SEAL_KMS_KEY_ARN:
        return []
    hint = "Set SEAL_KMS_KEY_ARN, or SEAL_KEY_FILE, and SEAL_HEADS_DIR (docs/seal.md)."
    return [
        _warning("No key signs the heads of the logs: nobody can prove that they were not rewritten.", hint, "W005")
    ]


@register(Tags.security, deploy=True)
def copies_of_branch_keys_can_be_written(app_configs: Any, **_: Any) -> list[CheckMessage]:
    found = []
    if not re.fullmatch(r"(?:[A-Za-z0-9._-]+/)+", settings.ESCROW_PREFIX, re.ASCII):
        hint = "Letters, digits, dots, hyphens and underscores, and a slash at the end: branch-keys/."
        found.append(_error("ESCROW_PREFIX is no folder of a bucket.", hint, "E024"))
    if settings.ESCROW_ENDPOINT_URL and not settings.ESCROW_ENDPOINT_URL.startswith("https://"):
        found.append(_error("ESCROW_ENDPOINT_URL is no https address.", "Begin it with https://.", "E025"))
    if settings.ESCROW_BUCKET and not (settings.SEAL_KEY or settings.SEAL_KMS_KEY_ARN):
        hint = "Set SEAL_KMS_KEY_ARN, or SEAL_KEY_FILE: copies are signed by the key of the seal (docs/escrow.md)."
        found.append(_error("ESCROW_BUCKET is set, and nothing signs the copies: none is written.", hint, "E026"))
    return found


@register(Tags.security, deploy=True)
def exports_of_closings_last(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Keys are destroyed once the export is written: a folder that goes with its container would lose it."""
    folder = Path(settings.CLOSING_EXPORT_DIR or "/").resolve()
    if settings.EMBEDDED or not any(folder.is_relative_to(Path(each)) for each in (settings.VAR_DIR, gettempdir())):
        return []
    hint = "Name a folder outside of VAR_DIR and /tmp, on a volume that lasts (/var/lib/byok-closings in compose)."
    return [_error("CLOSING_EXPORT_DIR goes away with its container.", hint, "E042")]


@register(Tags.security, deploy=True)
def traces_and_reports_go_where_they_are_meant_to(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Values are not repeated: headers of a collector are a secret, and who has a DSN can fill our Sentry."""
    found: list[CheckMessage] = []
    collector = urlsplit(settings.OTEL_EXPORTER_OTLP_ENDPOINT)
    if settings.OTEL_EXPORTER_OTLP_ENDPOINT:
        if collector.scheme not in {"http", "https"} or not collector.hostname or collector.query or collector.username:
            hint = "Like https://collector.byok.example:4318; headers go into OTEL_EXPORTER_OTLP_HEADERS."
            found.append(_error("OTEL_EXPORTER_OTLP_ENDPOINT is no http address.", hint, "E034"))
        elif collector.scheme == "http" and collector.hostname not in {"localhost", "127.0.0.1", "::1"}:
            hint = "Begin it with https://, or keep the network in between private."
            found.append(_warning("Traces go to another machine without TLS.", hint, "W007"))
        if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
            hint = "Unset one of the two."
            found.append(_error("OTEL_SDK_DISABLED is on beside OTEL_EXPORTER_OTLP_ENDPOINT.", hint, "E035"))
    elif settings.OTEL_EXPORTER_OTLP_HEADERS:
        hint = "Set OTEL_EXPORTER_OTLP_ENDPOINT too, or neither."
        found.append(_error("OTEL_EXPORTER_OTLP_HEADERS is set, and no trace is sent.", hint, "E036"))
    if settings.SENTRY_DSN:
        if not DSN.fullmatch(settings.SENTRY_DSN):
            hint = "Like https://<public key>@<host>/<project>; without the secret key that old ones have."
            found.append(_error("SENTRY_DSN is no address of a project over https.", hint, "E037"))
        logging: Any = settings.LOGGING
        if logging["root"]["level"] == "CRITICAL":
            hint = "Set LOG_LEVEL to ERROR or lower, or unset SENTRY_DSN."
            found.append(_error("LOG_LEVEL is CRITICAL, so no error reaches SENTRY_DSN.", hint, "E038"))
    elif settings.SENTRY_ENVIRONMENT:
        found.append(
            _error("SENTRY_ENVIRONMENT is set, and nothing is reported.", "Set SENTRY_DSN too, or neither.", "E039")
        )
    return found


@register(Tags.security, deploy=True)
def the_example_is_filled_in(app_configs: Any, **_: Any) -> list[CheckMessage]:
    if "change-me" in settings.SECRET_KEY or len(settings.SECRET_KEY) < 40:
        return [
            _error(
                "SECRET_KEY is the example's, or short: sessions could be forged.", "Fifty random characters.", "E017"
            )
        ]
    return []


@register(Tags.security, deploy=True)
def names_are_spelt_as_we_read_them(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Name every variable that nobody reads and that looks like one of ours: its value would silently not count."""
    ours = environment.READ
    found: list[CheckMessage] = []
    for name in sorted(os.environ):
        plain = name.removesuffix("_FILE")
        if plain in ours:
            continue
        meant = {_plain(one): one for one in ours}.get(_plain(plain)) or next(
            iter(difflib.get_close_matches(plain.upper(), ours, 1, SIMILAR)), None
        )
        if meant:
            found.append(_error(f"{name} is set, and nothing reads it.", f"Did you mean {meant}?", "E018"))
    return found


def _plain(name: str) -> str:
    return re.sub(r"[^A-Z0-9]", "", name.upper())


@register(Tags.security, deploy=True)
def static_files_are_collected(app_configs: Any, **_: Any) -> list[CheckMessage]:
    if settings.EMBEDDED or (settings.STATIC_ROOT / "staticfiles.json").exists():
        return []
    return [
        _warning(
            f"STATIC_ROOT ({settings.STATIC_ROOT}) is empty: style sheets come slowly and are not cached.",
            "Run manage.py collectstatic, or leave STATIC_ROOT unset in our image, which has them.",
            "W004",
        )
    ]


@register()
def values_are_in_range(app_configs: Any, **_: Any) -> list[CheckMessage]:
    found = [
        _error(f"{name} is {getattr(settings, name)}.", f"It is between {low:g} and {high:g}.", "E003")
        for name, (low, high) in RANGES.items()
        if not low <= getattr(settings, name) <= high
    ]
    if not settings.DENIED_PROBE_SECONDS or any(not 0 <= seconds <= DAY for seconds in settings.DENIED_PROBE_SECONDS):
        found.append(_error("DENIED_PROBE_SECONDS needs at least one number of seconds.", "Like 60,120,300.", "E002"))
    return found


# Celery asks these before its settings: what they name would be spoken to without the certificate check
# that REDIS_URL brings.
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


def _error(message: str, hint: str, number: str) -> CheckMessage:
    return Error(message, hint=hint, id=f"byok.{number}")


def _warning(message: str, hint: str, number: str) -> CheckMessage:
    return Warning(message, hint=hint, id=f"byok.{number}")
