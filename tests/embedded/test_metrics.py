"""What Prometheus is told, of the processes of one group and by beat of the whole system; no tenant or secret in it."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
import yaml
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.test import Client
from django.utils import timezone
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from byokportal import metrics
from keys import log_heads
from keys.models import KeyRegistration
from support.figures import Figures
from tenants import log_trees
from tenants.models import LogHead, Member, ServiceAccount, Tenant

ROOT = Path(__file__).resolve().parents[2]
OF_TWO = """
import os, sys, urllib.request
from byokportal import metrics
children = []
for _ in range(2):
    child = os.fork()
    if not child:
        metrics.DATA_KEYS.labels("keys.generate", "ok").inc(3)
        os._exit(0)
    children.append(child)
for child in children:
    os.waitpid(child, 0)
metrics.serve()
print(urllib.request.urlopen("http://" + os.environ["METRICS_ADDRESS"] + "/metrics").read().decode())
print(os.environ["PROMETHEUS_MULTIPROC_DIR"], file=sys.stderr)
"""


def told(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def text_of(*collectors: Figures) -> str:
    return generate_latest(metrics.registry(*collectors)).decode()


def test_one_address_tells_of_all_processes_of_a_group() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    environment = {name: value for name, value in os.environ.items() if name != "PROMETHEUS_MULTIPROC_DIR"}
    ran = subprocess.run(
        [sys.executable, "-c", OF_TWO],
        cwd=ROOT,
        env={**environment, "METRICS_ADDRESS": address, "DJANGO_SETTINGS_MODULE": "tests.settings"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    directory = Path(ran.stderr.splitlines()[-1])
    assert directory.name.startswith("byok-metrics-")
    assert not directory.exists(), "it ends with the process that made it"
    assert told(ran.stdout)["byok_data_keys_total", (("operation", "keys.generate"), ("outcome", "ok"))] == 6


def test_nothing_listens_without_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("METRICS_ADDRESS", raising=False)
    metrics.serve()
    with pytest.raises(OSError):
        urllib.request.urlopen("http://127.0.0.1:9/metrics", timeout=1)
    assert Client().get("/metrics").status_code == 404, "no page of the portal tells it"


@pytest.mark.django_db(transaction=True)
def test_a_data_key_is_counted_by_its_outcome(
    active: KeyRegistration, tenant: Tenant, service: ServiceAccount, api_of: Callable[[ServiceAccount], Client]
) -> None:
    api, before = api_of(service), told(text_of())
    address = f"/api/v1/tenants/{tenant.pk}/data-keys"

    def more(name: str, **labels: str) -> float:
        key = (name, tuple(sorted(labels.items())))
        return told(text_of()).get(key, 0.0) - before.get(key, 0.0)

    made = api.post(address, {}, content_type="application/json").json()
    api.post(address, {"items": [{}, {}]}, content_type="application/json")
    api.post(f"{address}/decrypt", {"wrapped_key": "AAAA"}, content_type="application/json")
    assert more("byok_data_keys_total", operation="keys.generate", outcome="ok") == 3
    assert more("byok_data_keys_total", operation="keys.decrypt", outcome="wrapped_key_unreadable") == 1
    assert more("byok_branch_key_lookups_total", result="hit") >= 1
    assert more("byok_aws_call_seconds_count", service="kms", operation="Decrypt", outcome="ok") >= 1
    text = text_of()
    for secret in (made["plaintext"], made["wrapped_key"], str(tenant.pk), tenant.name, tenant.external_id):
        assert secret not in text


@pytest.mark.django_db
def test_an_address_that_somebody_made_up_is_no_label() -> None:
    Client().get("/made-up-by-a-scanner/")
    assert "made-up-by-a-scanner" not in text_of()
    assert 'route="none"' in text_of()


@pytest.mark.django_db(transaction=True)
def test_beat_tells_of_the_whole_system(active: KeyRegistration, alice: Member) -> None:
    found = told(text_of(Figures()))
    assert found["byok_figures_readable", ()] == 1
    assert found["byok_broker_readable", ()] == 1
    assert found["byok_registrations", (("status", "active"),)] == 1
    assert found["byok_registrations", (("status", "draft"),)] == 0
    assert found["byok_service_roles", (("state", "open"),)] >= 1
    assert ("byok_oldest_due_seconds", (("kind", "probe"),)) in found


@pytest.mark.django_db(transaction=True)
def test_numbers_that_cannot_be_read_are_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE support_notice RENAME TO support_notice_gone")
    try:
        found = told(text_of(Figures()))
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE support_notice_gone RENAME TO support_notice")
    assert found["byok_figures_readable", ()] == 0
    assert not [name for name, _ in found if name.startswith(("byok_registrations", "byok_due_rows"))]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("of_seal", ["no key in PEM", ""])
def test_a_seal_that_never_signed_anything_is_an_alert(tenant: Tenant, settings: Any, of_seal: str) -> None:
    rules = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())["groups"][0]["rules"]
    (asked,) = [rule["expr"] for rule in rules if rule["alert"] == "ByokHeadsNotSigned"]
    (threshold,) = re.findall(r"byok_log_head_age_seconds\) > ([0-9]+)", asked)
    settings.SEAL_KEY, settings.EMBEDDED = of_seal, False
    log_trees.seal()
    with contextlib.suppress(ImproperlyConfigured):  # what the task's line says each minute
        log_heads.publish_due()
    assert not LogHead.objects.exists()
    with time_machine.travel(timezone.now() + timedelta(hours=4), tick=False):
        age = told(text_of(Figures()))["byok_log_head_age_seconds", ()]
    assert age == 0 if not of_seal else age > int(threshold)
