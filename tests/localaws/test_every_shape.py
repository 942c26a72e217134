"""No input of any kind breaks the local AWS: every operation that it does, with every parameter that AWS's model has,
missing, empty, of another type, too small, too large, too long, in other letters, and at random."""

from __future__ import annotations

import base64
import http.client
import json
import math
import os
import re
import urllib.parse
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from byokportal.localaws import operations, server
from byokportal.localaws.testing import LocalAws
from tests.localaws.conformance.world import REGION, allow, policy, trusting

ACCOUNT = "111122223333"
TARGETS = {"kms": "TrentService", "cloudtrail": "CloudTrail_20131101"}
EVERY = [
    (service, name) for service in ("kms", "iam", "sts", "cloudtrail") for name in sorted(operations.DONE[service])
]
LONG = "x" * 20_000
TEXTS = [
    "",
    " ",
    "x",
    "arn:",
    "arn:aws:iam::111122223333:role/",
    "\u0416\u4e2d\U0001f511",
    "a\x00b\x1f\x7f",
    "*?${x}<&>'\"",
    LONG,
]
NUMBERS = [-(2**63), -1, 0, 1, 2**31 - 1, 2**31, 10**30]


class Wire:
    """Signed requests over one connection, with whatever in them."""

    def __init__(self, aws: LocalAws) -> None:
        keys = aws.accounts[ACCOUNT]
        self._keys = botocore.credentials.Credentials(keys["access_key_id"], keys["secret_access_key"])
        self._host = aws.endpoint.removeprefix("http://")
        self._connection = http.client.HTTPConnection(self._host, timeout=20)

    def __call__(self, service: str, operation: str, parameters: Any) -> tuple[int, Any]:
        """Send a call; return status and answer, which has to be one of the protocol."""
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if service in TARGETS:
            headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": f"{TARGETS[service]}.{operation}"}
            body = json.dumps(parameters).encode("utf-8", "surrogatepass")
        else:
            fields = {"Action": operation, "Version": operations.VERSIONS[service], **parameters}
            body = urllib.parse.urlencode(fields, errors="surrogatepass").encode()
        request = botocore.awsrequest.AWSRequest("POST", f"http://{self._host}/", data=body, headers=headers)
        region = "us-east-1" if service == "iam" else REGION
        botocore.auth.SigV4Auth(self._keys, service, region).add_auth(request)
        self._connection.request("POST", "/", body, dict(request.headers))
        answer = self._connection.getresponse()
        text = answer.read()
        found = (json.loads(text) if text else None) if service in TARGETS else ET.fromstring(text)
        return answer.status, found


class World:
    """What the calls are about: it is made again for each operation."""

    def __init__(self, aws: LocalAws) -> None:
        aws.reset()
        kms, iam = aws.client(ACCOUNT, "kms", REGION), aws.client(ACCOUNT, "iam", "us-east-1")
        key = kms.create_key()["KeyMetadata"]["Arn"]
        role = iam.create_role(RoleName="role", AssumeRolePolicyDocument=policy(trusting(ACCOUNT)))["Role"]["Arn"]
        iam.create_user(UserName="user")
        iam.create_group(GroupName="group")
        managed = iam.create_policy(PolicyName="policy", PolicyDocument=policy(allow("*")))["Policy"]["Arn"]
        iam.create_instance_profile(InstanceProfileName="profile")
        blob = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
        grant = kms.create_grant(KeyId=key, GranteePrincipal=role, Operations=["Encrypt"])["GrantId"]
        self.known: dict[str, Any] = {
            **dict.fromkeys(("KeyId", "SourceKeyId", "DestinationKeyId", "TargetKeyId"), key),
            **dict.fromkeys(("GranteePrincipal", "RetiringPrincipal", "RoleArn", "PolicySourceArn"), role),
            **dict.fromkeys(("PolicyArn", "PermissionsBoundary"), managed),
            **dict.fromkeys(("PolicyDocument", "Policy", "PolicyInputList"), policy(allow("*"))),
            "AssumeRolePolicyDocument": policy(trusting(ACCOUNT)),
            "CiphertextBlob": base64.b64encode(blob).decode(),
            "GrantId": grant,
            "AliasName": "alias/x",
            "PolicyName": "default",
            "ReplicaRegion": "eu-west-1",
            "RoleName": "role",
            "UserName": "user",
            "GroupName": "group",
            "InstanceProfileName": "profile",
            "RoleSessionName": "session",
            "AWSServiceName": "batch.amazonaws.com",
            "VersionId": "v1",
            "Path": "/",
            "KeySpec": "AES_256",
            "KeyPairSpec": "ECC_NIST_P256",
        }

    def plausible(self, name: str, shape: Any) -> Any:
        """Return a value that the model takes."""
        kind, facts = shape.type_name, shape.metadata
        if name in self.known and kind == "string" and ("enum" not in facts or self.known[name] in facts["enum"]):
            return self.known[name]
        match kind:
            case "structure":
                return {each: self.plausible(each, shape.members[each]) for each in shape.required_members}
            case "list":
                return [self.plausible(name, shape.member)]
            case "map":
                return {"a": "b"}
            case "boolean":
                return False
            case "integer" | "long":
                return facts.get("min", 1)
            case "timestamp":
                return 1_700_000_000
            case "blob":
                return "eA=="
        return facts["enum"][0] if "enum" in facts else "x" * max(facts.get("min", 1), 1)


def variants(shape: Any, good: Any) -> Iterator[Any]:
    """Yield values of a parameter: the good one, those at the edges of what the model takes, and others."""
    kind, facts = shape.type_name, shape.metadata
    yield good
    least, most = facts.get("min"), facts.get("max")
    match kind:
        case "string":
            yield from TEXTS
            yield from ("x" * size for size in edges(least, most, 20_000))
        case "integer" | "long":
            yield from NUMBERS
            yield from edges(least, most, 10**6)
        case "blob":
            yield from ("", "no base64!", "eA==", "A" * 40_000)
        case "list":
            yield from ([], [good[0]] * 2, [good[0]] * 60, [{}], [""], [None], ["x" * 300])
        case "structure" | "map":
            yield from ({}, {"x": "y"}, {"x": None}, {"\u0416": "\u0416"})
        case _:
            yield from (True, -1, math.pi)
    yield from (None, 7, "x", [], [[[]]], {}, {"a": {"b": []}}, True)


def edges(least: int | None, most: int | None, bound: int) -> Iterator[int]:
    for edge in (least, most):
        if edge is not None and edge <= bound:
            yield from (max(edge - 1, 0), edge, edge + 1)


def fields(value: Any, prefix: str) -> dict[str, str]:
    """Write a value as a client of the query protocol does, whatever it is."""
    if isinstance(value, dict):
        return {k: v for name, each in value.items() for k, v in fields(each, f"{prefix}.{name}").items()}
    if isinstance(value, list):
        entries = enumerate(value, 1)
        return {k: v for number, each in entries for k, v in fields(each, f"{prefix}.member.{number}").items()} or {
            prefix: ""
        }
    return {} if value is None else {prefix: str(value)}


def written(service: str, parameters: dict[str, Any]) -> dict[str, Any]:
    if service in TARGETS:
        return parameters
    return {k: v for name, value in parameters.items() for k, v in fields(value, name).items()}


def see(wire: Wire, service: str, operation: str, parameters: dict[str, Any]) -> None:
    status, answer = wire(service, operation, written(service, parameters))
    said = f"{service}:{operation} {str(parameters)[:600]} → {status} {answer}"
    assert status < 500, said
    if status >= 400:
        code = answer.get("__type") if service in TARGETS else answer.findtext("{*}Error/{*}Code")
        assert code and "Failure" not in code, said


@pytest.mark.parametrize(("service", "operation"), EVERY)
def test_no_parameter_breaks_an_operation(aws: LocalAws, service: str, operation: str) -> None:
    world, wire, shape = World(aws), Wire(aws), operations.of(service, operation).input_shape
    see(wire, service, operation, {})
    if shape is None:
        return
    base = {name: world.plausible(name, shape.members[name]) for name in shape.required_members}
    see(wire, service, operation, base)
    for name, member in shape.members.items():
        tried = [{**base, name: value} for value in variants(member, world.plausible(name, member))]
        for parameters in {json.dumps(written(service, each)): each for each in tried}.values():
            see(wire, service, operation, parameters)
    see(wire, service, operation, {name: world.plausible(name, member) for name, member in shape.members.items()})


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=6,
)


def _at_random(aws: LocalAws, examples: int) -> None:
    world, wire = World(aws), Wire(aws)

    @settings(
        max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(st.sampled_from(EVERY), st.data())
    def check(chosen: tuple[str, str], data: st.DataObject) -> None:
        service, operation = chosen
        shape = operations.of(service, operation).input_shape
        parameters: dict[str, Any] = {"Nothing": "x"}
        for name, member in shape.members.items() if shape is not None else ():
            good = world.plausible(name, member)
            value = data.draw(st.sampled_from([*variants(member, good)]) | ANYTHING | st.just(good))
            if name in shape.required_members or data.draw(st.booleans()):
                parameters[name] = value
        see(wire, service, operation, parameters)

    check()


def test_nothing_at_random_breaks_it(aws: LocalAws) -> None:
    _at_random(aws, 300)


@pytest.mark.slow
def test_nothing_at_random_breaks_it_for_long(aws: LocalAws) -> None:
    _at_random(aws, int(os.environ.get("SHAPE_EXAMPLES", "2500")))  # always the same ones; `make soak` tries 10,000


@pytest.mark.parametrize("service", ["kms", "iam", "sts"])
def test_an_operation_that_is_left_out_is_answered_as_an_unknown_one(aws: LocalAws, service: str) -> None:
    wire = Wire(aws)
    assert operations.left_out(service)
    answers = [wire(service, name, {}) for name in (*operations.left_out(service), "Nonsense")]
    unknown = "UnknownOperationException" if service == "kms" else "InvalidAction"
    for status, answer in answers:
        code = answer["__type"] if service == "kms" else answer.findtext("{*}Error/{*}Code")
        assert (status, code) == (400, unknown)


def test_the_documentation_lists_what_is_left_out() -> None:
    """Where this is red: `byokportal/localaws/operations.py` is the table, docs/local-aws.md follows it."""
    text = (Path(__file__).parents[2] / "docs" / "local-aws.md").read_text()
    for service in ("kms", "sts", "iam"):
        line = next(line for line in text.splitlines() if line.startswith(f"- **{service.upper()}**: "))
        assert tuple(re.findall(r"`(\w+)`", line)) == operations.left_out(service)


def test_what_is_done_is_in_the_model() -> None:
    for service, done in operations.DONE.items():
        assert done <= set(operations.model(service).operation_names)


def test_the_trap_works(aws: LocalAws, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of the local AWS's own would be seen."""
    monkeypatch.setattr(server.iam, "answer", lambda *_: 1 // 0)
    with pytest.raises(AssertionError, match="500"):
        see(Wire(aws), "iam", "ListUsers", {})
