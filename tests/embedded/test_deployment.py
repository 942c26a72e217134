"""The papers of a deployment: .env.example as it is, compose,
and what `check --deploy` says of settings that are a mistake."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.test import Client

from byokportal import environment, staticfiles
from byokportal.environment import Environment

ROOT = Path(__file__).resolve().parents[2]
FILLED = {
    "SECRET_KEY": "k" * 20 + "0123456789abcdefghijklmnopqrstuv$",
    "BASE_URL": "https://byok.acme.test",
    "ALLOWED_HOSTS": "byok.acme.test",
    "CSRF_TRUSTED_ORIGINS": "https://byok.acme.test",
    "AWS_ACCOUNT_ID": "210987654321",
    "CANARY_ACCOUNT_ID": "123456789012",
    "EMAIL_URL": "smtp+tls://byok:secret@mail.acme.test:587",
    "DEFAULT_FROM_EMAIL": "byok@acme.test",
    "SUPPORT_EMAIL": "byok-support@acme.test",
}


def example() -> dict[str, str]:
    """Return what `env_file: .env.example` sets, as Docker reads it: empty values too."""
    lines = (ROOT / ".env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def check_deploy(tmp_path: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `manage.py check --deploy` with these variables and no others of ours."""
    left = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy"],
        cwd=ROOT,
        env={**left, "VAR_DIR": str(tmp_path), **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_example_with_its_required_values_is_a_deployment(tmp_path: Path) -> None:
    ran = check_deploy(tmp_path, **{**example(), **FILLED}, STATIC_ROOT="")
    assert ran.returncode == 0, ran.stderr
    assert "byok.E" not in ran.stderr


def test_the_example_as_it_is_says_what_is_missing(tmp_path: Path) -> None:
    failed = check_deploy(tmp_path, **example())
    assert failed.returncode != 0
    for name in ("SECRET_KEY", "AWS_ACCOUNT_ID", "CANARY_ACCOUNT_ID", "BASE_URL", "ALLOWED_HOSTS", "EMAIL_URL"):
        assert name in failed.stderr


def test_the_example_names_every_setting() -> None:
    named = set(re.findall(r"^(?:# )?([A-Z][A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert named == environment.READ - {"CLOCK_SKEW"}  # for tests alone


def test_secrets_stay_out_of_git_and_of_the_image() -> None:
    for name in (".gitignore", ".dockerignore"):
        lines = (ROOT / name).read_text().splitlines()
        assert ".env" in lines
        assert "!.env.example" in lines


# --- what check --deploy names -----------------------------------------------------------------------------------


@pytest.fixture
def production(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Settings as a deployment has them: no check finds anything."""
    for name, value in {
        **FILLED,
        "ALLOWED_HOSTS": ["byok.acme.test"],
        "CSRF_TRUSTED_ORIGINS": ["https://byok.acme.test"],
    }.items():
        setattr(settings, name, value)
    settings.EMBEDDED, settings.AWS_MODE, settings.MFA_REQUIRED = False, "real", True
    settings.SECURE_SSL_REDIRECT, settings.SECURE_PROXY_SSL_HEADER = True, ("HTTP_X_FORWARDED_PROTO", "https")
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    for name in ("SECRET_KEY", "EMBEDDED", "VAR_DIR"):
        monkeypatch.delenv(name, raising=False)
    assert [message for message in found() if message.is_serious()] == []
    return settings


def found() -> list[checks.CheckMessage]:
    return [
        message for message in checks.run_checks(include_deployment_checks=True) if str(message.id).startswith("byok.")
    ]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("BASE_URL", "http://byok.acme.test"),
        ("BASE_URL", "https://byok.acme.test/"),
        ("BASE_URL", "byok.acme.test"),
        ("BASE_URL", '"https://byok.acme.test"'),
        ("BASE_URL", "https://byok.acme.tset"),
        ("ALLOWED_HOSTS", []),
        ("ALLOWED_HOSTS", ["*"]),
        ("ALLOWED_HOSTS", ["https://byok.acme.test"]),
        ("ALLOWED_HOSTS", ["byok.acme.test:443"]),
        ("CSRF_TRUSTED_ORIGINS", ["http://byok.acme.test"]),
        ("CSRF_TRUSTED_ORIGINS", ["byok.acme.test"]),
        ("AWS_ACCOUNT_ID", "2109-8765-4321"),
        ("CANARY_ACCOUNT_ID", "12345678901"),
        ("PLATFORM_KEY_ARN", "alias/byok"),
        ("SECRET_KEY", "change-me-to-fifty-random-characters-and-some-more"),
        ("SECRET_KEY", "short"),
        ("EMAIL_BACKEND", "django.core.mail.backends.filebased.EmailBackend"),
        ("SUPPORT_EMAIL", "support"),
        ("SUPPORT_URL", "support.acme.test"),
        ("EGRESS_ADDRESSES", ["192.0.2.1/24"]),
        ("EGRESS_ADDRESSES", ["nat.acme.test"]),
        ("CFN_TEMPLATE_URL", "s3://templates/byok-access.json"),
        ("CFN_TEMPLATE_URL", "https://templates.s3.amazonaws.com/" + "x" * 1024),
        ("DEBUG", True),
        ("EMBEDDED", True),
        ("AWS_MODE", "local"),
        ("SECURE_PROXY_SSL_HEADER", None),
        ("PROBE_SECONDS", 0),
        ("PROBE_SECONDS", 300_000),
        ("DEFAULT_REVOCATION_LATENCY", 901),
        ("PROPAGATION_WINDOW", -1),
        ("MANY_DENIALS_SHARE", 5),
        ("DUE_SECONDS", 0),
        ("WEB_THREADS", 0),
        ("DATA_KEYS_PER_CALLER", 0),
        ("DENIED_PROBE_SECONDS", []),
        ("DENIED_PROBE_SECONDS", [60, -1]),
    ],
)
def test_a_value_that_is_a_mistake_fails_with_its_name(production: Any, setting: str, value: object) -> None:
    setattr(production, setting, value)
    failed = [message for message in found() if message.is_serious()]
    name = {"SECURE_PROXY_SSL_HEADER": "BEHIND_PROXY", "EMAIL_BACKEND": "EMAIL_URL"}.get(setting, setting)
    assert any(name in message.msg for message in failed)


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("BEHIND_PROXI", "BEHIND_PROXY"),
        ("BEHINDPROXY", "BEHIND_PROXY"),
        ("behind_proxy", "BEHIND_PROXY"),
        ("BASE_URI", "BASE_URL"),
        ("ALLOWED_HOST", "ALLOWED_HOSTS"),
        ("CSRF_TRUSTED_ORIGIN", "CSRF_TRUSTED_ORIGINS"),
        ("MFA_REQUIRE", "MFA_REQUIRED"),
        ("SECRET_KEYS_FILE", "SECRET_KEY"),
        ("DATABASE_URI", "DATABASE_URL"),
        ("DEFAULT_REVOCATION_LATENCY_SECONDS", "DEFAULT_REVOCATION_LATENCY"),
        ("CANARY_ACCOUNTID", "CANARY_ACCOUNT_ID"),
    ],
)
def test_a_misspelt_name_is_named(production: Any, monkeypatch: pytest.MonkeyPatch, wrong: str, meant: str) -> None:
    monkeypatch.setenv(wrong, "1")
    failed = [message for message in found() if message.is_serious()]
    assert [(wrong in message.msg, meant in str(message.hint)) for message in failed] == [(True, True)]


def test_names_of_others_are_none_of_ours(production: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_PROFILE",
        "AWS_ROLE_ARN",
        "AWS_ACCESS_KEY_ID",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "HOSTNAME",
        "GPG_KEY",
        "PYTHON_VERSION",
        "REDIS_PORT",
        "REDIS_SERVICE_HOST",
        "POSTGRES_PORT",
        "WEB_PORT",
        "POSTGRES_PASSWORD",
        "DJANGO_SETTINGS_MODULE",
        "SSL_CERT_FILE",
        "MAIL",
        "SECRET_KEY_FILE",
    ):
        monkeypatch.setenv(name, "1")
    assert [message for message in found() if message.is_serious()] == []


# --- how values are read ------------------------------------------------------------------------------------------


def test_an_empty_value_counts_as_not_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    env = Environment()
    for given in ("", "  "):
        monkeypatch.setenv("A_NAME_OF_TESTS", given)
        assert env.str("A_NAME_OF_TESTS", default="d") == "d"
        assert env.bool("A_NAME_OF_TESTS", default=True) is True
        assert env.int("A_NAME_OF_TESTS", default=7) == 7
        assert env.float("A_NAME_OF_TESTS", default=7.5) == 7.5
        assert env.list("A_NAME_OF_TESTS", default=["x"]) == ["x"]
        assert env.db("A_NAME_OF_TESTS", default="sqlite:///x")["NAME"] == "x"
        assert env.email("A_NAME_OF_TESTS", default="filemail:///x")["EMAIL_BACKEND"].endswith("filebased.EmailBackend")
    environment.READ.discard("A_NAME_OF_TESTS")


def test_a_value_is_taken_as_it_stands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    env = Environment()
    monkeypatch.setenv("A_NAME_OF_TESTS", "$ecret\\$")
    assert env.str("A_NAME_OF_TESTS") == "$ecret\\$"
    monkeypatch.setenv("A_NAME_OF_TESTS", " a, b,,")
    assert env.list("A_NAME_OF_TESTS") == ["a", "b"]
    (tmp_path / "secret").write_text("postgres://u:p@h/name\n")
    monkeypatch.setenv("A_NAME_OF_TESTS_FILE", str(tmp_path / "secret"))
    assert env.db("A_NAME_OF_TESTS", default="")["NAME"] == "name"
    environment.READ.discard("A_NAME_OF_TESTS")


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("bool", "yse"),
        ("bool", "2"),
        ("int", "3s"),
        ("float", "5 min"),
        ("float", "nan"),
        ("float", "inf"),
        ("db", "mysql://u:p@h/n"),
        ("db", "byok"),
        ("db", "postgres://u:p@h:port/n"),
        ("email", "mail.acme.test"),
    ],
)
def test_a_value_that_cannot_be_read_is_refused_with_its_name_alone(
    monkeypatch: pytest.MonkeyPatch, kind: str, given: str
) -> None:
    monkeypatch.setenv("A_NAME_OF_TESTS", given)
    with pytest.raises(ImproperlyConfigured, match="A_NAME_OF_TESTS") as raised:
        getattr(Environment(), kind)("A_NAME_OF_TESTS", default=None if kind != "db" else "sqlite://")
    assert given not in str(raised.value)
    environment.READ.discard("A_NAME_OF_TESTS")


def test_pages_come_where_nobody_collected_the_static_files(settings: Any, tmp_path: Path) -> None:
    settings.STATIC_ROOT = str(tmp_path)
    settings.STORAGES = {**settings.STORAGES, "staticfiles": {"BACKEND": "byokportal.staticfiles.Storage"}}
    assert staticfiles.Storage().url("portal/portal.css") == "/static/portal/portal.css"
    assert Client().get("/docs/problems").status_code == 200


# --- compose ------------------------------------------------------------------------------------------------------


def test_compose_waits_for_the_migration_looks_after_each_part_and_lets_it_end() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    assert set(services) == {"migrate", "web", "worker", "background", "beat", "postgres", "redis"}
    assert services["migrate"]["restart"] == "no"
    for name in ("web", "worker", "background", "beat"):
        waits_for = {part: rule["condition"] for part, rule in services[name]["depends_on"].items()}
        assert waits_for == {
            "migrate": "service_completed_successfully",
            "postgres": "service_healthy",
            "redis": "service_healthy",
        }
        assert services[name]["env_file"] == ".env"
    for name, service in services.items():
        if name == "migrate":
            continue
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
        assert re.fullmatch(r"[0-9]+s", service["stop_grace_period"])
    from byokportal import server

    assert int(services["web"]["stop_grace_period"][:-1]) > server.GRACEFUL
    assert "max_connections=300" in services["postgres"]["command"]
