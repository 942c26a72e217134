"""The local AWS as a process: what survives a stop and a kill, what is refused, and that there is one way in only."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from byokportal.localaws import server
from byokportal.localaws.state import HEADER, VERSION, State
from byokportal.localaws.testing import LocalAws
from tests.localaws.conformance.world import allow, policy, trusting

CUSTOMER, REGION = "111122223333", "eu-central-1"


class Process:
    """A local AWS of its own, as `manage.py localaws` runs it."""

    def __init__(self, var_dir: Path) -> None:
        self.var_dir = var_dir
        command = [sys.executable, "-m", "byokportal.localaws", "--port", "0", "--var-dir", str(var_dir)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.said = self.process.stdout.readline()

    @property
    def facts(self) -> dict[str, Any]:
        return json.loads((self.var_dir / "localaws.json").read_text())  # type: ignore[no-any-return]

    def client(self, service: str, **keys: str) -> Any:
        account = self.facts["accounts"][CUSTOMER]
        keys = keys or {
            "aws_access_key_id": account["access_key_id"],
            "aws_secret_access_key": account["secret_access_key"],
        }
        region = "us-east-1" if service == "iam" else REGION
        config = Config(retries={"total_max_attempts": 1})
        return boto3.Session().client(
            service, endpoint_url=self.facts["endpoint"], region_name=region, config=config, **keys
        )  # type: ignore[call-overload]

    def end(self, sign: int = signal.SIGTERM) -> None:
        self.process.send_signal(sign)
        self.process.wait(60)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    running: list[Process] = []

    def begin() -> Process:
        running.append(Process(tmp_path))
        return running[-1]

    yield begin
    for each in running:
        each.process.kill()


def test_everything_is_there_after_a_stop_and_a_kill(start: Any) -> None:
    running = start()
    iam, kms, sts = (running.client(service) for service in ("iam", "kms", "sts"))
    key = kms.create_key()["KeyMetadata"]["Arn"]
    blob = kms.encrypt(KeyId=key, Plaintext=b"x", EncryptionContext={"a": "b"})["CiphertextBlob"]
    kms.create_alias(AliasName="alias/mine", TargetKeyId=key)
    iam.create_role(RoleName="R", AssumeRolePolicyDocument=policy(trusting(CUSTOMER)))
    iam.put_role_policy(RoleName="R", PolicyName="p", PolicyDocument=policy(allow("kms:*")))
    session = sts.assume_role(RoleArn=f"arn:aws:iam::{CUSTOMER}:role/R", RoleSessionName="xx")["Credentials"]
    before = running.facts["accounts"]
    keys = {
        "aws_access_key_id": session["AccessKeyId"],
        "aws_secret_access_key": session["SecretAccessKey"],
        "aws_session_token": session["SessionToken"],
    }
    for sign in (signal.SIGTERM, signal.SIGKILL, signal.SIGINT):
        running.client("kms").disable_key(KeyId=key)
        running.end(sign)
        running = start()
        assert running.facts["accounts"] == before, sign
        kms = running.client("kms")
        assert kms.describe_key(KeyId="alias/mine")["KeyMetadata"]["KeyState"] == "Disabled", sign
        kms.enable_key(KeyId=key)
        theirs = running.client("kms", **keys)
        assert theirs.decrypt(CiphertextBlob=blob, EncryptionContext={"a": "b"})["Plaintext"] == b"x", sign
        names = [event["EventName"] for event in running.client("cloudtrail").lookup_events()["Events"]]
        assert {"Encrypt", "AssumeRole", "DisableKey"} <= set(names), sign  # the trail survives too


def test_nothing_secret_is_printed_and_the_files_are_private(start: Any, tmp_path: Path) -> None:
    running = start()
    assert running.said.startswith("local AWS on http://127.0.0.1:")
    for name in ("localaws.json", "localaws.state", "faults.sock"):
        assert stat.S_IMODE(os.stat(tmp_path / name).st_mode) == 0o600
    running.client("kms").create_key()
    assert stat.S_IMODE(os.stat(tmp_path / "localaws.trail").st_mode) == 0o600
    running.end()
    out, err = running.process.communicate()
    secrets = [
        keys[name]
        for keys in running.facts["accounts"].values()
        for name in ("secret_access_key", "root_secret_access_key")
    ]
    assert not [secret for secret in secrets if secret in running.said + out + err]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"something else\n",
        HEADER % (VERSION - 1) + b"x",
        HEADER % VERSION + b"half",
        HEADER % VERSION + b"cos\nsystem\n(S'true'\ntR.",
    ],
    ids=["empty", "foreign", "older", "half", "a command"],
)
def test_a_state_of_another_kind_is_refused_with_a_message(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "localaws.state").write_bytes(content)
    with pytest.raises(SystemExit, match="Remove it"):
        State(tmp_path, server.ACCOUNTS)


def test_an_unreadable_localaws_json_is_refused_with_a_message(tmp_path: Path) -> None:
    (tmp_path / "localaws.json").write_text("{")
    with pytest.raises(SystemExit, match="Remove it"):
        State(tmp_path, server.ACCOUNTS)


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(SystemExit, match="is in use"):
            server.start(tmp_path, taken.getsockname()[1])


# --- entry points ---------------------------------------------------------------------------------------------------


def send(aws: LocalAws, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(aws.endpoint.removeprefix("http://"), timeout=60)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


@pytest.mark.parametrize(
    "path", ["/moto-api/", "/moto-api/reset", "/moto-api/data.json", "/latest/meta-data/", "/x", "//moto-api/"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_there_is_no_other_way_in(aws: LocalAws, method: str, path: str) -> None:
    assert send(aws, method, path)[0] == 404


def test_it_listens_on_the_loopback_address_alone(aws: LocalAws) -> None:
    assert aws._server.server_address[0] == "127.0.0.1"


def test_a_body_that_is_too_large_is_refused(aws: LocalAws) -> None:
    assert send(aws, "POST", "/", b"x" * (server.MAX_BODY + 1))[0] == 413


texts = st.text(max_size=60)
TARGETS = [
    "TrentService.Encrypt",
    "TrentService.CreateKey",
    "TrentService.",
    "x",
    "com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101.LookupEvents",
]


@hypothesis_settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300), st.sampled_from([*TARGETS, ""]), texts)
def test_bytes_of_any_kind_get_an_answer_and_no_500(
    aws: LocalAws, body: bytes, target: str, authorization: str
) -> None:
    headers = {"Authorization": authorization.encode("ascii", "replace").decode().replace("\n", " ").replace("\r", " ")}
    status, _ = send(aws, "POST", "/", body, **headers, **({"X-Amz-Target": target} if target else {}))
    assert 400 <= status < 500


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=20)
    | st.sampled_from(["alias/x", "arn:aws:kms:eu-central-1:111122223333:key/x", "*"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = [
    "KeyId",
    "Plaintext",
    "CiphertextBlob",
    "EncryptionContext",
    "KeySpec",
    "NumberOfBytes",
    "Policy",
    "GranteePrincipal",
    "Operations",
    "Constraints",
    "AliasName",
    "TargetKeyId",
    "ReplicaRegion",
    "DestinationKeyId",
    "SourceKeyId",
    "LookupAttributes",
    "StartTime",
    "MaxResults",
    "NextToken",
    "GrantId",
    "GrantToken",
    "PolicyName",
]
KMS_OPERATIONS = [
    "Encrypt",
    "Decrypt",
    "ReEncrypt",
    "GenerateDataKey",
    "CreateGrant",
    "RetireGrant",
    "PutKeyPolicy",
    "CreateAlias",
    "DescribeKey",
    "ReplicateKey",
    "Smell",
]


@hypothesis_settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(KMS_OPERATIONS), st.dictionaries(st.sampled_from(FIELDS), values, max_size=5), st.booleans())
def test_parameters_of_any_kind_get_an_answer_and_no_500(
    aws: LocalAws, operation: str, given_: dict[str, Any], real: bool
) -> None:
    kms = aws.client(CUSTOMER, "kms", REGION)
    if real:
        given_ = {**given_, "KeyId": aws.client(CUSTOMER, "kms", REGION).create_key()["KeyMetadata"]["KeyId"]}
    request = {
        "url_path": "/",
        "query_string": "",
        "method": "POST",
        "headers": {"X-Amz-Target": f"TrentService.{operation}", "Content-Type": "application/x-amz-json-1.1"},
        "body": json.dumps(given_).encode(),
        "url": aws.endpoint + "/",
        "context": {
            "client_region": REGION,
            "client_config": kms.meta.config,
            "has_streaming_input": False,
            "auth_type": None,
            "signing": {},
        },
    }
    response, _ = kms._make_request(kms.meta.service_model.operation_model("ListKeys"), request, request["context"])
    assert response.status_code < 500, response.text


def test_a_call_is_answered_while_another_hangs(aws: LocalAws) -> None:
    aws.set_fault("latency", 30, operation="ListKeys", times=1)
    kms = aws.client(CUSTOMER, "kms", REGION)
    hanging = threading.Thread(target=kms.list_keys, daemon=True)
    hanging.start()
    while aws.faults.rules():  # until the call has met the faults
        time.sleep(0.01)
    aws.client(CUSTOMER, "sts", REGION).get_caller_identity()
    assert hanging.is_alive()
    aws.faults.clear()  # ends the waiting too
    hanging.join()
