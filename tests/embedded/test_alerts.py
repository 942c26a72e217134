"""Each alert fires when it should, asks for a number that we tell, and has its paragraph in the runbook."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from byokportal import metrics
from support import backlog, figures

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "prometheus"
RULES = {rule["alert"]: rule for rule in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"][0]["rules"]}
PROMTOOL = shutil.which("promtool")
NAME = re.compile(r"\bbyok_[a-z0-9_]+")
# What makes each alert fire.
FIRES = {
    "ByokDataKeysRefusedByUs": {
        'byok_data_keys_total{operation="keys.generate",outcome="ok"}': "0+60x30",
        'byok_data_keys_total{operation="keys.generate",outcome="database_unavailable"}': "0+6x30",
    },
    "ByokDataKeysSlow": {
        'byok_data_key_request_seconds_bucket{operation="keys.generate",le="0.25"}': "0+90x30",
        'byok_data_key_request_seconds_bucket{operation="keys.generate",le="0.5"}': "0+100x30",
        'byok_data_key_request_seconds_bucket{operation="keys.generate",le="+Inf"}': "0+100x30",
    },
    "ByokBugs": {
        'byok_http_requests_total{route="/",code="500"}': "0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 1x20",
        'byok_data_keys_total{operation="keys.generate",outcome="bug"}': "0x30",
    },
    "ByokCommitsFail": {'byok_ledger_commit_seconds_count{outcome="failed"}': "0+1x30"},
    "ByokAwsFails": {
        'byok_aws_call_seconds_count{service="kms",operation="Decrypt",outcome="ok"}': "0+60x30",
        'byok_aws_call_seconds_count{service="kms",operation="Decrypt",outcome="ThrottlingException"}': "0+6x30",
    },
    "ByokIncident": {"byok_open_incidents": "1x30"},
    "ByokCanaryFails": {'byok_canaries{state="failing"}': "1x30"},
    "ByokNobodyOnCall": {"byok_on_call_not_reached": "1x30"},
    "ByokProbesLate": {'byok_oldest_due_seconds{kind="probe"}': "90x30"},
    "ByokPeopleWait": {'byok_oldest_due_seconds{kind="test"}': "45x30"},
    "ByokMailsLate": {'byok_failing_rows{kind="mail"}': "1x30"},
    "ByokReceiversWait": {'byok_oldest_due_seconds{kind="log_stream"}': "400x30"},
    "ByokBulkWaits": {'byok_oldest_due_seconds{kind="branch_key"}': "400x30"},
    "ByokFiguresMissing": {"byok_figures_readable": "0x30", "byok_broker_readable": "1x30"},
    "ByokNothingServes": {"byok_serving_processes": "0x30"},
    "ByokNoOpenServiceRole": {'byok_service_roles{state="open"}': "0x30"},
    "ByokHeadsNotSigned": {"byok_log_heads_refused": "1x30", "byok_log_head_age_seconds": "0x30"},
    "ByokBranchKeysNotCopied": {"byok_escrow_age_seconds": "1200x30"},
    "ByokPartitionsEnd": {"byok_partition_seconds_left": "2500000x30"},
    "ByokLogNotSealed": {"byok_seal_age_seconds": "90x30"},
}


def told() -> set[str]:
    """Return the names of every series that an answer of ours can hold."""
    found: set[str] = set()
    for each in vars(metrics).values():
        if isinstance(each, metrics.Counter):
            found.add(f"{each._name}_total")
        elif isinstance(each, metrics.Histogram):
            found |= {f"{each._name}_{end}" for end in ("bucket", "count", "sum")}
    source = Path(figures.__file__).read_text()
    return found | set(re.findall(r'"(byok_[a-z_]+)"', source))


def test_every_alert_has_what_makes_it_fire() -> None:
    assert set(FIRES) == set(RULES)


def test_alerts_and_dashboard_ask_for_numbers_that_we_tell() -> None:
    known = told()
    for name, rule in RULES.items():
        assert set(NAME.findall(rule["expr"])) <= known, name
    board = json.loads((ROOT / "deploy" / "grafana" / "byok.json").read_text())
    asked = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    assert len(asked) >= 12
    assert set(NAME.findall(" ".join(asked))) <= known


def test_an_alert_watches_every_kind_of_work() -> None:
    kinds = re.findall(
        r'byok_oldest_due_seconds\{kind=~?"([a-z_|]+)"\}', " ".join(rule["expr"] for rule in RULES.values())
    )
    assert {one for each in kinds for one in each.split("|")} == set(backlog.WORK)


def test_each_alert_has_its_paragraph_in_the_runbook() -> None:
    text = (ROOT / "docs" / "runbook.md").read_text()
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    for name, rule in RULES.items():
        path, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert path == "docs/runbook.md"
        assert anchor in anchors, name


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    assert PROMTOOL is not None
    return subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.skipif(PROMTOOL is None, reason="no promtool on this machine: apt-get install prometheus")
def test_a_quiet_system_fires_nothing() -> None:
    checked = promtool("check", "rules", str(FOLDER / "alerts.yml"))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    quiet = promtool("test", "rules", str(FOLDER / "alerts_test.yml"))
    assert quiet.returncode == 0, quiet.stdout + quiet.stderr


@pytest.mark.skipif(PROMTOOL is None, reason="no promtool on this machine: apt-get install prometheus")
def test_each_alert_fires(tmp_path: Path) -> None:
    def case(name: str) -> dict[str, Any]:
        rule = RULES[name]
        fires = {"exp_labels": rule["labels"], "exp_annotations": rule["annotations"]}
        return {
            "name": name,
            "interval": "1m",
            "input_series": [{"series": series, "values": values} for series, values in FIRES[name].items()],
            "alert_rule_test": [{"eval_time": "20m", "alertname": name, "exp_alerts": [fires]}],
        }

    file = tmp_path / "fires.yml"
    file.write_text(json.dumps({"rule_files": [str(FOLDER / "alerts.yml")], "tests": [case(name) for name in RULES]}))
    ran = promtool("test", "rules", str(file))
    assert ran.returncode == 0, ran.stdout + ran.stderr
