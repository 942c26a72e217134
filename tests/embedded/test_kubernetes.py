"""The Kustomize base: each resource fits Kubernetes' own schema, and each pod is as docs/deploy.md says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from django.conf import settings

from byokportal import celery_programs, server

BASE = Path(__file__).resolve().parents[2] / "deploy" / "kubernetes"
VERSION = "1.33"
FILES = yaml.safe_load((BASE / "kustomization.yaml").read_text())["resources"]
RESOURCES = [each for name in FILES for each in yaml.safe_load_all((BASE / name).read_text())]
PODS = {
    each["metadata"]["name"].removeprefix("byok-"): each["spec"]["jobTemplate"] if each["kind"] == "CronJob" else each
    for each in RESOURCES
    if each["kind"] in ("Deployment", "Job", "CronJob")
}


def spec(name: str) -> Any:
    return PODS[name]["spec"]["template"]["spec"]


def container(name: str) -> Any:
    (only,) = spec(name)["containers"]
    return only


def test_the_base_names_every_file() -> None:
    assert {path.name for path in BASE.glob("*.yaml")} == {*FILES, "kustomization.yaml"}


@pytest.mark.parametrize("each", RESOURCES, ids=lambda each: f"{each['kind']}-{each['metadata']['name']}")
def test_each_resource_fits_the_schema(each: Any) -> None:
    kubernetes_validate.validate(each, VERSION, strict=True)


@pytest.mark.parametrize("name", PODS)
def test_each_pod_has_no_more_than_it_needs(name: str) -> None:
    pod, only = spec(name), container(name)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert only["securityContext"]["readOnlyRootFilesystem"] is True
    assert only["securityContext"]["allowPrivilegeEscalation"] is False
    assert only["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert only["resources"]["requests"].keys() == {"cpu", "memory"}
    assert "memory" in only["resources"]["limits"]
    assert {mount["mountPath"] for mount in only["volumeMounts"]} >= {"/tmp", "/var/lib/byok"}
    assert not pod["automountServiceAccountToken"]
    assert {"secretRef": {"name": "byok-secrets"}} in only["envFrom"]
    assert not any(each["kind"] == "Secret" for each in RESOURCES)
    if name not in {"migrate", "partitions"}:
        assert "livenessProbe" in only


@pytest.mark.parametrize("name", [name for name in PODS if "livenessProbe" in container(name)])
def test_no_pod_is_killed_because_another_server_is_away(name: str) -> None:
    """A worker that is restarted while Redis is away loses what it does, and comes back late (CrashLoopBackOff)."""
    asked = str(container(name)["livenessProbe"])
    assert not [each for each in ("inspect", "manage.py", "/readyz", "redis", "python") if each in asked]
    if "worker" in container(name)["command"]:
        folder = next(each["mountPath"] for each in container(name)["volumeMounts"] if each["name"] == "var")
        assert f"find {folder}/{celery_programs.ALIVE} -mmin" in asked


def test_each_queue_has_a_worker_of_its_own() -> None:
    commands = [container(name)["command"] for name in PODS]
    queues = [command[command.index("-Q") + 1] for command in commands if "-Q" in command]
    assert sorted(queues) == sorted({*settings.QUEUES, "configuration"})


def test_one_beat_that_is_never_beside_another() -> None:
    beat = PODS["beat"]["spec"]
    assert (beat["replicas"], beat["strategy"]) == (1, {"type": "Recreate"})


def test_what_runs_twice_is_not_disrupted_at_once() -> None:
    kept = {each["spec"]["selector"]["matchLabels"]["part"] for each in RESOURCES if "Disruption" in each["kind"]}
    assert kept == {name for name, each in PODS.items() if each["spec"].get("replicas", 1) > 1}


def test_principals_are_apart() -> None:
    accounts = {name: spec(name)["serviceAccountName"] for name in PODS}
    assert [name for name, account in accounts.items() if account == "byok-configuration"] == ["configuration"]
    assert {name for name, account in accounts.items() if account == "byok-nobody"} == {
        "beat",
        "migrate",
        "partitions",
        "webhooks",
        "streams",
    }


def test_web_has_time_to_end_and_is_asked_whether_it_is_ready() -> None:
    assert spec("web")["terminationGracePeriodSeconds"] > server.GRACEFUL
    assert container("web")["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_metrics_are_for_prometheus_alone() -> None:
    policies = [each["spec"] for each in RESOURCES if each["kind"] == "NetworkPolicy"]
    (rule,) = [rule for each in policies for rule in each["ingress"] if rule["ports"][0]["port"] == 9090]
    assert rule["from"][0]["namespaceSelector"]
    assert {"app": "byok"} in [each["podSelector"]["matchLabels"] for each in policies]


@pytest.mark.parametrize("name", ["tests", "bulk", "migrate"])
def test_who_publishes_or_reads_heads_shares_their_directory(name: str) -> None:
    (where,) = [each["value"] for each in container(name)["env"] if each["name"] == "SEAL_HEADS_DIR"]
    (volume,) = [each["name"] for each in container(name)["volumeMounts"] if each["mountPath"] == where]
    (mount,) = [each for each in container(name)["volumeMounts"] if each["mountPath"] == where]
    assert mount.get("readOnly", False) is (name == "migrate")
    (claim,) = [each["persistentVolumeClaim"] for each in spec(name)["volumes"] if each["name"] == volume]
    assert is_shared(claim["claimName"])


def is_shared(claim: str) -> bool:
    (found,) = [
        each for each in RESOURCES if each["kind"] == "PersistentVolumeClaim" and each["metadata"]["name"] == claim
    ]
    return bool(found["spec"]["accessModes"] == ["ReadWriteMany"])


def test_exports_of_closings_outlive_the_pods_that_write_them() -> None:
    where = "/var/lib/byok-closings"
    (volume,) = [each["name"] for each in container("bulk")["volumeMounts"] if each["mountPath"] == where]
    (claim,) = [each["persistentVolumeClaim"] for each in spec("bulk")["volumes"] if each["name"] == volume]
    assert is_shared(claim["claimName"])
