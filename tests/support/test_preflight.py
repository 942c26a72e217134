"""`manage.py preflight`: one line a part, what is wrong and what to do, and no secret in it."""

from __future__ import annotations

import io
import json
import socket
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from byokportal import clock
from byokportal.localaws.testing import LocalAws
from keys import datakeys, log_heads
from keys.aws import sessions
from keys.models import AccountQuotas, BranchKey, KeyRegistration
from support import preflight
from support.fleet import heartbeats
from support.preflight import findings
from tenants import log_trees
from tenants.models import LogHead, ServiceRole, Tenant

pytestmark = pytest.mark.django_db
CANARY = "999900002222"
PASSWORD = "s3cret-of-a-canary"


def lines() -> tuple[int, list[str]]:
    written, code = io.StringIO(), 0
    try:
        call_command("preflight", stdout=written)
    except SystemExit as ended:
        code = int(str(ended.code))
    return code, written.getvalue().splitlines()


def of(part: str) -> list[str]:
    return [line for line in lines()[1] if line[5:].startswith(f"{part}:")]


def test_each_part_has_its_line_and_what_is_good_is_ok(aws: LocalAws, service_role: ServiceRole) -> None:
    assert {part for part, _ in preflight.PARTS} == set(findings.REMEDIES)
    _, said = lines()
    for part in ("database", "migrations", "broker", "cache", "identity", "clock", "service role", "canary", "seal"):
        found = [line for line in said if line[5:].startswith(f"{part}:")]
        assert found, part
        assert all(line.startswith("ok ") for line in found), found


def test_credentials_of_another_account_are_exit_1(
    aws: LocalAws, service_role: ServiceRole, settings: Any, tmp_path: Path
) -> None:
    known = json.loads(Path(settings.LOCALAWS_FILE).read_text())
    known["accounts"][settings.AWS_ACCOUNT_ID] = known["accounts"][CANARY]
    settings.LOCALAWS_FILE = tmp_path / "localaws.json"
    settings.LOCALAWS_FILE.write_text(json.dumps(known))
    sessions.forget_all()
    code, said = lines()
    assert code == 1
    assert any(line.startswith("fail identity:") and "AWS_ACCOUNT_ID" in line for line in said)


def test_a_service_role_that_was_made_anew_is_named(aws: LocalAws, service_role: ServiceRole) -> None:
    ServiceRole.objects.update(unique_id="AROAWASANOTHERONE")
    (line,) = of("service role")
    assert line.startswith("fail")
    assert "AROAWASANOTHERONE" in line


def test_a_canary_that_refuses_is_named(aws: LocalAws, service_role: ServiceRole) -> None:
    trust = '{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*", "Action": "sts:AssumeRole"}]}'
    aws.client(CANARY, "iam", "us-east-1").update_assume_role_policy(
        RoleName=f"byok-canary-{service_role.name}", PolicyDocument=trust
    )
    sessions.forget_all()
    (line,) = of("canary")
    assert line.startswith("fail")
    assert "AccessDenied" in line


def test_no_service_role_is_a_failure(aws: LocalAws) -> None:
    (line,) = of("service role")
    assert line.startswith("fail")
    assert "open_service_role" in line


def test_quotas_that_leave_no_room_are_a_failure(aws: LocalAws, service_role: ServiceRole) -> None:
    assert of("quotas")[0].startswith("warn")
    facts = {"policy_size": 6144, "attached": 10, "roles": 1000, "roles_quota": 1000}
    AccountQuotas.objects.create(pk=1, policies=1, policies_quota=1500, read_at=service_role.created_at, **facts)
    assert of("quotas")[0].startswith("fail")


@pytest.mark.parametrize(
    ("escrow", "says"),
    [
        ({}, "warn copies: 1 branch keys from before"),
        (
            {"escrow_due_at": timedelta(0), "wrapped_at": timedelta(minutes=16)},
            "fail copies: 1 branch keys have waited",
        ),
        ({"escrow_due_at": timedelta(0), "wrapped_at": timedelta(minutes=5)}, "ok   copies: Each branch key"),
        ({"escrowed_at": timedelta(0)}, "ok   copies: Each branch key"),
    ],
)
def test_copies_that_wait_are_told_from_those_nobody_asked_for(
    active: KeyRegistration, settings: Any, escrow: dict[str, timedelta], says: str
) -> None:
    datakeys.generate(active.tenant, [{"a": "b"}], caller="tests", request_id="r")
    assert of("copies") == ["ok   copies: None are kept (ESCROW_BUCKET is not set)."]
    settings.ESCROW_BUCKET = "copies"
    assert BranchKey.objects.count() == 1
    BranchKey.objects.update(**{name: clock.now() - ago for name, ago in escrow.items()})
    assert [line[: len(says)] for line in of("copies")] == [says]


def test_servers_that_are_gone_are_named_and_their_passwords_are_not(
    aws: LocalAws, service_role: ServiceRole, settings: Any
) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT, settings.EMAIL_TIMEOUT = "127.0.0.1", 1, 1
    settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = "byok", PASSWORD
    settings.CELERY_BROKER_URL = settings.REDIS_URL = f"redis://:{PASSWORD}@127.0.0.1:1/0"
    code, said = lines()
    assert code == 1
    for part in ("mail", "broker"):
        assert any(line.startswith(f"fail {part}:") for line in said), said
    assert PASSWORD not in "\n".join(said)
    assert sum(line[5:].startswith("database:") for line in said) == 1


def test_a_role_that_owns_the_log_is_named(db: None) -> None:
    if connection.vendor != "postgresql":
        assert of("database role")[0].startswith("ok ")
        return
    (line,) = of("database role")
    assert line.startswith("warn") and "tenants_auditevent" in line and "roles.sql" in line
    with connection.cursor() as cursor:  # in the transaction of this test
        cursor.execute("CREATE ROLE byok_of_tests")
        cursor.execute("SET LOCAL ROLE byok_of_tests")
        (found,) = preflight._database_role("database role")
        cursor.execute("RESET ROLE")
    assert found.level == "ok"


def test_traces_and_reports_say_where_they_go_and_no_secret(aws: LocalAws, settings: Any) -> None:
    assert of("traces") == ["ok   traces: They are off."]
    assert of("error reports") == ["ok   error reports: They are off."]
    settings.OTEL_EXPORTER_OTLP_ENDPOINT = "http://127.0.0.1:9"
    settings.OTEL_EXPORTER_OTLP_HEADERS = f"api-key={PASSWORD}"
    settings.SENTRY_DSN = "https://0123abc@sentry.acme.test/7"
    _, said = lines()
    found = [line for line in said if "traces:" in line or "error reports:" in line]
    assert [line[:4] for line in found] == ["warn", "ok  "]
    assert "sentry.acme.test" in found[1]
    assert not [line for line in said if PASSWORD in line or "0123abc" in line]


# --- the seal ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def heads(settings: Any, tmp_path: Path) -> Path:
    """The directory of the heads, on a machine where a worker that signs was seen."""
    settings.SEAL_HEADS_DIR = str(tmp_path / "heads")
    heartbeats.beat("bulk", f"celery@{socket.gethostname()}")
    (tmp_path / "heads").mkdir()
    return tmp_path / "heads"


def test_a_seal_that_works_is_ok_and_leaves_nothing_behind(aws: LocalAws, tenant: Tenant, heads: Path) -> None:
    for published in ([], ["000000000001.json"]):
        assert [line[:4] for line in of("seal")] == ["ok  ", "ok  "]
        assert sorted(each.name for each in heads.iterdir()) == published
        log_trees.seal()
        log_heads.publish_due()


@pytest.mark.parametrize(
    "of_seal",
    [
        {"SEAL_KEY": "no key in PEM"},
        {"SEAL_KMS_KEY_ARN": "arn:aws:kms:eu-central-1:999900001111:key/1234abcd-12ab-34cd-56ef-1234567890ab"},
    ],
)
def test_a_seal_whose_key_does_not_sign_is_a_failure(
    aws: LocalAws, service_role: ServiceRole, settings: Any, heads: Path, of_seal: dict[str, str]
) -> None:
    for name, value in of_seal.items():
        setattr(settings, name, value)
    key, directory = of("seal")
    assert key.startswith("fail") and "kms:Sign" in key
    assert directory.startswith("ok ")
    settings.SEAL_KEY = settings.SEAL_KMS_KEY_ARN = ""
    settings.EMBEDDED = False
    assert [line[:4] for line in of("seal")] == ["ok  "], "an installation without a seal"


def test_a_directory_that_takes_no_head_is_a_failure(aws: LocalAws, tenant: Tenant, settings: Any, heads: Path) -> None:
    log_trees.seal()
    log_heads.publish_due()
    settings.SEAL_HEADS_DIR = str(heads / "not-mounted")
    assert of("seal")[1].startswith("fail seal: Head 1 was published")
    LogHead.objects.update(published_at=None)
    assert of("seal")[1].startswith("fail seal: SEAL_HEADS_DIR takes no file")


def test_the_directory_is_not_asked_where_nobody_seals(aws: LocalAws, tenant: Tenant, settings: Any) -> None:
    settings.SEAL_HEADS_DIR = "/nowhere"
    heartbeats.beat("sweep", f"celery@{socket.gethostname()}")
    heartbeats.beat("bulk", "celery@another-machine")
    assert [line[:4] for line in of("seal")] == ["ok  ", "ok  "]
