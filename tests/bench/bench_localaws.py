"""What the gate of the local AWS adds to moto's own time, and what a decision of the evaluator costs."""

from __future__ import annotations

import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from byokportal.localaws import server
from byokportal.localaws.testing import LocalAws
from keys.policies import evaluator
from keys.policies.evaluator import Principal, Request
from tests.bench.figure import Figure

OURS, CUSTOMER, REGION = "999900001111", "111122223333", "eu-central-1"
ROUNDS = 150
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{OURS}:root"},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"sts:ExternalId": "byok-1"}},
        }
    ],
}
CONTEXT = {"tenant": "t1", "purpose": "test"}


def measure() -> Iterator[Figure]:
    """Yield the figures of design.md 7 and of the issue of the local AWS: 2 ms a call, 100 µs a decision."""
    yield from _gate()
    yield from _decisions()


@contextmanager
def _plain_moto() -> Iterator[str]:
    """moto's own server, behind the same web server as the gate."""
    app = DomainDispatcherApplication(create_backend_app)
    running = make_server("127.0.0.1", 0, app, threaded=True, request_handler=server._Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()


def _calls(session: Any, endpoint: str) -> dict[str, Callable[[], Any]]:
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=30)
    sts, kms, iam = (
        session.client(name, endpoint_url=endpoint, region_name="us-east-1" if name == "iam" else REGION, config=config)
        for name in ("sts", "kms", "iam")
    )
    role = iam.create_role(RoleName="R", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
    key = kms.create_key()["KeyMetadata"]["Arn"]
    blob = kms.encrypt(KeyId=key, Plaintext=b"x", EncryptionContext=CONTEXT)["CiphertextBlob"]
    return {
        "AssumeRole": lambda: sts.assume_role(RoleArn=role, RoleSessionName="xx", ExternalId="byok-1"),
        "GetCallerIdentity": sts.get_caller_identity,
        "DescribeKey": lambda: kms.describe_key(KeyId=key),
        "GenerateDataKey": lambda: kms.generate_data_key(KeyId=key, KeySpec="AES_256", EncryptionContext=CONTEXT),
        "Decrypt": lambda: kms.decrypt(CiphertextBlob=blob, EncryptionContext=CONTEXT),
        "GetRole": lambda: iam.get_role(RoleName="R"),
    }


def _gate() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as folder, LocalAws(Path(folder), lasts=True) as aws, _plain_moto() as moto:
        keys = aws.accounts[OURS]
        session = boto3.Session(
            aws_access_key_id=keys["access_key_id"], aws_secret_access_key=keys["secret_access_key"]
        )
        gated, plain = _calls(session, aws.endpoint), _calls(session, moto)
        for name in gated:
            times: dict[str, list[float]] = {"gated": [], "plain": []}
            for _ in range(ROUNDS):  # in turn, so that what else the machine does meets both
                for which, calls in (("gated", gated), ("plain", plain)):
                    began = time.perf_counter()
                    calls[name]()
                    times[which].append(time.perf_counter() - began)
            added = statistics.median(times["gated"]) - statistics.median(times["plain"])
            yield Figure(
                f"gate: {name}, added to moto's own {statistics.median(times['plain']) * 1000:.1f} ms",
                added * 1000,
                "ms",
                2,
            )


def _decisions() -> Iterator[Figure]:
    role_arn, key = f"arn:aws:iam::{CUSTOMER}:role/R", f"arn:aws:kms:{REGION}:{CUSTOMER}:key/k"
    guide = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]
    allow = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": guide, "Resource": key}]}
    full = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    key_policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"AWS": f"arn:aws:iam::{CUSTOMER}:root"},
                "Action": "kms:*",
                "Resource": "*",
            },
            {"Effect": "Allow", "Principal": {"AWS": role_arn}, "Action": guide, "Resource": "*"},
        ],
    }
    many = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": "sts:AssumeRole",
                "Resource": [f"arn:aws:iam::{n:012}:role/AIforWorkByokAccessRole" for n in range(60)],
            }
        ],
    }
    facts = {
        "aws:PrincipalArn": role_arn,
        "aws:PrincipalAccount": CUSTOMER,
        "kms:CallerAccount": CUSTOMER,
        "aws:SourceIp": "127.0.0.1",
        "aws:SecureTransport": "true",
        "kms:EncryptionContext:tenant": "t1",
    }
    customer = Principal(f"arn:aws:sts::{CUSTOMER}:assumed-role/R/s", CUSTOMER, "AROAR", role_arn)
    ours = Principal(
        f"arn:aws:sts::{OURS}:assumed-role/byok-service-1/s", OURS, "AROAO", f"arn:aws:iam::{OURS}:role/byok-service-1"
    )
    questions: dict[str, tuple[Request, dict[str, Any]]] = {
        "kms:Decrypt with the guide's policies and a session policy": (
            Request("kms:Decrypt", key, customer, facts),
            {"identity": [allow], "resource": key_policy, "session": allow},
        ),
        "kms:Decrypt under boundary, SCPs and RCPs too": (
            Request("kms:Decrypt", key, customer, facts),
            {
                "identity": [allow],
                "resource": key_policy,
                "session": allow,
                "boundaries": [full],
                "scps": [[full], [full]],
                "rcps": [full],
            },
        ),
        "sts:AssumeRole out of ten full policies of role ARNs": (
            Request("sts:AssumeRole", f"arn:aws:iam::{CUSTOMER}:role/R", ours, {"sts:ExternalId": "byok-1", **facts}),
            {"identity": [*[many] * 10, full], "resource": TRUST},
        ),
    }
    for name, (request, layers) in questions.items():
        assert evaluator.evaluate(request, **layers).allowed
        times = []
        for _ in range(300):
            began = time.perf_counter()
            evaluator.evaluate(request, **layers)
            times.append(time.perf_counter() - began)
        yield Figure(f"decision: {name}", statistics.median(times) * 1e6, "µs", 100)
