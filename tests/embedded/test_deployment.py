"""The papers of a deployment: .env.example as it is, compose,
and what `check --deploy` says of settings that are a mistake."""

from __future__ import annotations

import ast
import contextlib
import fnmatch
import os
import re
import runpy
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from django import conf
from django.core import checks
from django.core.cache.backends.redis import RedisCache
from django.core.exceptions import ImproperlyConfigured
from django.test import Client

from byokportal import environment, redis_url, staticfiles
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
    settings.CLOSING_EXPORT_DIR = ""
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
        ("CLOSING_EXPORT_DIR", "/tmp/closings"),
        ("CLOSING_EXPORT_DIR", f"{conf.settings.VAR_DIR}/closings"),
        ("ESCROW_PREFIX", "branch-keys"),
        ("ESCROW_PREFIX", ""),
        ("ESCROW_ENDPOINT_URL", "http://s3.acme.test"),
        ("ESCROW_BUCKET", "byok-escrow"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector.acme.test:4318"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://key@collector.acme.test:4318"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=s3cret"),
        ("OTEL_TRACES_SAMPLER_ARG", 10.0),
        ("SENTRY_DSN", "http://0123abc@sentry.acme.test/7"),
        ("SENTRY_DSN", "https://0123abc:s3cret@sentry.acme.test/7"),
        ("SENTRY_ENVIRONMENT", "production"),
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


def refused_in_production() -> set[str]:
    """Return the settings with which nothing starts while AWS_MODE is `real`."""
    text = (ROOT / "byokportal/settings.py").read_text()
    return set(re.findall(r"is refused together with ([A-Z_]{4,})\b[*,]", text))


def test_no_remedy_and_no_document_asks_for_a_setting_that_production_refuses() -> None:
    refused = refused_in_production()
    assert refused == {"AWS_ENDPOINT_URL", "CLOCK_SKEW", "OUTBOUND_ALLOW"}
    for path in [ROOT / "byokportal/checks.py", *(ROOT / "support/preflight").glob("*.py")]:
        assert not [each for each in refused if each in path.read_text()], path
    documents = {ROOT / "README.md", *(ROOT / "docs").glob("*.md")} - {ROOT / "docs/local-aws.md"}
    for path in sorted(documents):
        for sentence in re.split(r"[.;:](?= )|\||\n\n", path.read_text()):
            if any(each in sentence for each in refused):
                assert re.search(r"empty|must not be set|refused", sentence), f"{path.name}: {sentence}"


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("ON_CALL_WEBHOOK_URL", "https://10.0.0.7/page"),
        ("ON_CALL_WEBHOOK_URL", "http://pager.acme.test/page"),
        ("ON_CALL_PAGERDUTY_URL", "https://pager/enqueue"),
    ],
)
def test_an_address_on_call_that_we_do_not_call_is_named_without_its_value(
    production: Any, setting: str, value: str
) -> None:
    setattr(production, setting, value)
    (failed,) = [message for message in found() if message.id == "byok.E040"]
    assert setting in failed.msg
    assert value not in f"{failed.msg} {failed.hint}"
    assert "a relay that is public" in str(failed.hint)


def test_each_number_of_a_check_means_one_thing() -> None:
    """Whoever silences one (SILENCED_SYSTEM_CHECKS) silences no other with it."""
    means = dict[str, set[str]]()
    for call in ast.walk(ast.parse((ROOT / "byokportal/checks.py").read_text())):
        if not isinstance(call, ast.Call) or not call.args:
            continue
        numbers = [call.args[-1], *(each.value for each in call.keywords if each.arg == "id")]
        for one in numbers:
            if isinstance(one, ast.Constant) and re.fullmatch(r"(byok\.)?[EW][0-9]{3}", str(one.value)):
                means.setdefault(str(one.value).removeprefix("byok."), set()).add(ast.unparse(call.args[0]))
    assert len(means) > 40
    assert {number: said for number, said in means.items() if len(said) > 1} == {}


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
    assert set(services) == {
        "certificates",
        "proxy",
        "migrate",
        "partitions",
        "web",
        "worker",
        "background",
        "probes",
        "webhooks",
        "streams",
        "configuration",
        "beat",
        "postgres",
        "redis",
    }
    assert services["migrate"]["restart"] == "no"
    for name in ("migrate", "partitions"):
        assert services[name]["env_file"] == [".env", {"path": ".env.maintenance", "required": False}]
    assert "manage.py maintain_partitions" in services["partitions"]["command"][-1]
    for name in ("web", "worker", "background", "probes", "webhooks", "streams", "configuration", "beat"):
        waits_for = {part: rule["condition"] for part, rule in services[name]["depends_on"].items()}
        assert waits_for == {
            "migrate": "service_completed_successfully",
            "postgres": "service_healthy",
            "redis": "service_healthy",
        }
        own = [".env", {"path": ".env.configuration", "required": False}]
        assert services[name]["env_file"] == (own if name == "configuration" else ".env")
    assert services["certificates"]["restart"] == "no"
    for name in ("proxy", "redis"):
        assert services[name]["depends_on"]["certificates"]["condition"] == "service_completed_successfully"
    for name, service in services.items():
        if name in {"migrate", "certificates"}:
            continue
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
        assert re.fullmatch(r"[0-9]+s", service["stop_grace_period"])
    from byokportal import server

    assert int(services["web"]["stop_grace_period"][:-1]) > server.GRACEFUL
    assert "max_connections=300" in services["postgres"]["command"]


def test_compose_has_a_worker_for_each_queue(settings: Any) -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    commands = [service.get("command", []) for service in services.values()]
    queues = [command[command.index("-Q") + 1] for command in commands if "-Q" in command]
    assert sorted(queues) == sorted({*settings.QUEUES, "configuration"})


def test_who_seals_and_who_signs_share_the_published_heads() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    where = example()["SEAL_HEADS_DIR"]
    for queue in ("checks", "bulk"):
        (service,) = (one for one in compose["services"].values() if queue in one.get("command", []))
        assert f"heads:{where}" in service["volumes"]
    # `reopen_logs` runs there (docs/restore.md); whoever owns the tables writes no heads.
    assert f"heads:{where}:ro" in compose["services"]["migrate"]["volumes"]
    assert "heads" in compose["volumes"]
    # A new volume takes its owner from the directory that it is laid over.
    assert f" {where}\n" in (ROOT / "Dockerfile").read_text()


def test_exports_of_closings_outlive_the_container_that_writes_them() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    assert "closings:/var/lib/byok-closings" in compose["services"]["background"]["volumes"]
    assert "closings" in compose["volumes"]
    assert "-o byok /var/lib/byok-closings" in (ROOT / "Dockerfile").read_text()


def test_the_database_is_healthy_only_once_it_takes_connections_by_the_network() -> None:
    """The image's first start has a temporary server, which listens on the socket alone and is ended again."""
    postgres = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["postgres"]
    assert "-h 127.0.0.1" in postgres["healthcheck"]["test"][-1]


def volumes_of(services: dict[str, Any], part: str) -> dict[str, bool]:
    """Return the named volumes of a part, and whether it only reads what somebody else has to write first.

    A new volume has what the image has at its place: a folder there, empty and its user's, is all that is read then.
    """
    image = (ROOT / "Dockerfile").read_text().split()
    given = (each.split(":") for each in services[part].get("volumes", ()))
    return {
        name: rest[1:] == ["ro"] and rest[0] not in image for name, *rest in given if not name.startswith((".", "/"))
    }


def test_each_command_of_the_first_start_has_what_its_container_reads() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    chapter = (ROOT / "docs/deploy.md").read_text().partition("## First start")[2].partition("\n## ")[0]
    written, ran = set[str](), list[str]()

    def start(part: str, *, alone: bool) -> None:
        for before in () if alone else services[part].get("depends_on", {}):
            start(before, alone=False)
        lacks = [
            volume for volume, only_read in volumes_of(services, part).items() if only_read and volume not in written
        ]
        assert not lacks, f"{part} reads {lacks}, which no step before has made"
        written.update(volume for volume, only_read in volumes_of(services, part).items() if not only_read)

    for run, options, part in re.findall(r"`docker compose (run|up)((?: --?[a-z-]+)*)(?: ([a-z]+))?", chapter):
        ran.append(part or run)
        for each in [part] if part else services:
            start(each, alone="--no-deps" in options)
    assert ran == ["certificates", "migrate", "up"]


def test_no_part_of_compose_can_change_its_own_files_or_gain_rights() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    for name, service in services.items():
        assert service["read_only"] is True and service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert name == "proxy" or not service.get("ports"), f"{name} is reached past the proxy"
        is_ours = service.get("build") == "."
        assert is_ours or re.fullmatch(r"[a-z]+:[0-9.a-z-]+@sha256:[0-9a-f]{64}", service["image"]), name
    assert {name for name, service in services.items() if service.get("cap_add")} == {"certificates", "postgres"}
    assert {name for name, service in services.items() if service.get("user") == "root"} == {"certificates"}
    assert services["certificates"]["network_mode"] == "none"


def test_redis_speaks_tls_alone_and_everybody_checks_its_certificate() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    command = services["redis"]["command"]
    assert command[command.index("--port") + 1] == "0"
    for name in ("migrate", "web", "worker", "background", "probes", "webhooks", "streams", "configuration", "beat"):
        url = services[name]["environment"]["REDIS_URL"]
        read = redis_url.parse(url)
        assert url.startswith("rediss://redis:") and all("no such file here" in one for one in read.problems)
        assert "tls:/run/tls:ro" in services[name]["volumes"]


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not on this machine")
def test_a_redis_with_such_a_certificate_is_spoken_to_and_its_name_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "chown", lambda *_: None)
    runpy.run_path(str(ROOT / "deploy/compose/certificates.py"))["main"](tmp_path, "localhost")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    given = [one.replace("/run/tls/redis", f"{tmp_path}/proxy") for one in services["redis"]["command"]]
    command = [one.replace("/run/tls", str(tmp_path)) for one in given]
    command[command.index("--tls-port") + 1] = str(port)
    server = subprocess.Popen([*command, "--bind", "127.0.0.1", "--dir", str(tmp_path)], stdout=subprocess.DEVNULL)
    try:
        read = redis_url.parse(f"rediss://localhost:{port}/0?ssl_ca_certs={tmp_path}/ca.pem")
        cache = RedisCache(read.plain, {"OPTIONS": read.tls})
        while server.poll() is None:  # it starts, or ends with an error
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.02)
        cache.set("x", 1)
        assert cache.get("x") == 1
        other = redis_url.parse(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={tmp_path}/ca.pem")
        pool = RedisCache(other.plain, {"OPTIONS": other.tls})._cache._get_connection_pool(write=True)
        with pytest.raises(Exception, match="CERTIFICATE_VERIFY_FAILED"):
            pool.make_connection()._connect()
    finally:
        server.terminate()
        server.wait()


def test_postgresql_has_room_for_the_connections_of_every_process() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    (most,) = re.findall(r"max_connections=([0-9]+)", " ".join(services["postgres"]["command"]))
    image = (ROOT / "Dockerfile").read_text()
    (web,) = re.findall(r'"--workers", "([0-9]+)"', image)
    (of_web,) = re.findall(r"processes × ([0-9]+)", (ROOT / "docs/deploy.md").read_text())
    (threads,) = map(int, re.findall(r'"WEB_THREADS", default=([0-9]+)', (ROOT / "byokportal/settings.py").read_text()))
    # Those that wait for AWS, those for everything else, those that commit uses, and one that looks for changes.
    assert int(of_web) == threads + max(4, threads // 2) + 4 + 1
    needed = int(web) * int(of_web) + 1 + 5  # beat; a person and what the server keeps for its owner
    for service in services.values():
        command = service.get("command", [])
        if "worker" in command:
            threads = 16 if {"webhooks", "streams"} & set(command) else 1
            needed += (int(command[command.index("-c") + 1]) + 1) * threads
    assert needed <= int(most), needed


def test_the_proxy_of_compose_has_the_bounds_of_the_example() -> None:
    def bounds(text: str) -> list[str]:
        lines = [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]
        return [line for line in lines if not line.startswith(("server ", "server_name", "ssl_certificate", "listen"))]

    of_compose = (ROOT / "deploy/compose/nginx.conf").read_text()
    assert bounds(of_compose) == bounds((ROOT / "docs/examples/nginx.conf").read_text())


def test_the_certificates_of_compose_are_of_one_authority_whose_key_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owners: dict[str, int] = {}
    monkeypatch.setattr(os, "chown", lambda path, user, group: owners.update({Path(path).name: user}))
    made = runpy.run_path(str(ROOT / "deploy/compose/certificates.py"))
    made["main"](tmp_path, "byok.acme.test")
    files = {one.name for one in tmp_path.iterdir()}
    assert files == {"ca.pem", "proxy.key", "proxy.pem", "redis.key", "redis.pem"}
    assert owners == {"redis.key": 999, "proxy.key": 101}
    ca = x509.load_pem_x509_certificate((tmp_path / "ca.pem").read_bytes())
    for name, host in (("redis", "redis"), ("proxy", "byok.acme.test")):
        one = x509.load_pem_x509_certificate((tmp_path / f"{name}.pem").read_bytes())
        one.verify_directly_issued_by(ca)
        names = one.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == [host]
        assert (tmp_path / f"{name}.key").stat().st_mode & 0o777 == 0o400
    before = (tmp_path / "redis.pem").read_bytes()
    made["main"](tmp_path, "byok.acme.test")
    assert (tmp_path / "redis.pem").read_bytes() == before, "a second start makes no others"


def test_the_image_runs_as_nobody_in_particular_from_a_pinned_base_without_a_compiler() -> None:
    text = (ROOT / "Dockerfile").read_text()
    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert len(bases) == 2 and all(re.fullmatch(r"python:3\.13-slim@sha256:[0-9a-f]{64}", one) for one in bases)
    last = text.rpartition("FROM ")[2]
    assert "USER byok" in last and "pip install" not in last and "apt-get" not in text
    assert "--only-binary :all:" in text
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert {"tests", "byokportal/localaws", "byokportal/embedded", "byokportal/demo"} <= set(ignored)


@pytest.mark.slow
def test_what_the_image_holds_starts_without_what_it_leaves_out(tmp_path: Path) -> None:
    left_out = [one for one in (ROOT / ".dockerignore").read_text().split() if not one.startswith("!")]
    image = tmp_path / "image"

    def unwanted(folder: str, names: list[str]) -> list[str]:
        here = Path(folder).relative_to(ROOT)
        paths = {name: (here / name).as_posix() for name in names}
        return [name for name, path in paths.items() if any(fnmatch.fnmatch(path, one.removeprefix("**/")) or
                fnmatch.fnmatch(name, one.removeprefix("**/")) for one in left_out)]  # fmt: skip

    shutil.copytree(ROOT, image, ignore=unwanted)
    assert not (image / "byokportal/localaws").exists() and not (image / "tests").exists()
    left = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    ran = subprocess.run(
        [sys.executable, "-c", "import byokportal.asgi, byokportal.celery, byokportal.server"],
        cwd=image,
        env={**left, **example(), **FILLED, "VAR_DIR": str(tmp_path), "STATIC_ROOT": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
