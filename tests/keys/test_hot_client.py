"""The hot way into AWS answers and fails as boto3 does, is shared by all tenants,
and asks no more often than it has to."""

from __future__ import annotations

import json
import logging
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import ClientError
from botocore.httpsession import URLLib3Session
from botocore.utils import parse_timestamp
from conftest import Customer

from byokportal.errors import DomainError
from byokportal.localaws.testing import LocalAws
from keys import aws as keys_aws
from keys import errors
from keys.aws import clients, connections, faults, hot, sessions
from keys.models import KeyRegistration
from tenants.models import Tenant

CONTEXT = {"tenant": "a", "branch-key": "b"}


@pytest.fixture
def way(tenant: Tenant, active: KeyRegistration) -> Any:
    """Return a function that opens the tenant's key, by the hot client or by boto3."""

    def opened(*, hot: bool = True, purpose: str = "data-keys") -> keys_aws.KmsKey:
        return keys_aws.open_key(
            active.access(tenant),
            purpose=purpose,
            keep=purpose == "data-keys",
            hot=hot,
        )

    return opened


def operations(aws: LocalAws) -> Counter[str]:
    return Counter(operation for _, operation, _ in aws.calls)


def test_it_answers_as_boto3_does(way: Any) -> None:
    ours, theirs = way(), way(hot=False)
    assert isinstance(ours.client, hot.Client)
    wrapped = ours.generate_wrapped(CONTEXT).ciphertext
    assert ours.decrypt(wrapped, CONTEXT).plaintext == theirs.decrypt(wrapped, CONTEXT).plaintext
    mine, his = (key.client.describe_key(KeyId=key.arn)["KeyMetadata"] for key in (ours, theirs))
    assert mine == his


def refused_by(call: Any) -> tuple[str, int, str]:
    with pytest.raises(ClientError) as refused:
        call()
    answer = refused.value.response
    assert answer["ResponseMetadata"]["RequestId"]
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Message"]


def test_it_fails_as_boto3_does(way: Any, customer: Customer, tenant: Tenant, active: KeyRegistration) -> None:
    ours, theirs = way(), way(hot=False)
    wrapped = ours.generate_wrapped(CONTEXT).ciphertext

    def both(method: str, **parameters: Any) -> None:
        mine, his = (refused_by(lambda key=key: getattr(key.client, method)(**parameters)) for key in (ours, theirs))
        assert mine == his

    both("decrypt", KeyId=ours.arn, CiphertextBlob=wrapped, EncryptionContext={"tenant": "other"})
    both("decrypt", KeyId=ours.arn, CiphertextBlob=b"x" * 50, EncryptionContext=CONTEXT)
    both("describe_key", KeyId=ours.arn.replace("key/", "key/f"))
    customer.kms.disable_key(KeyId=customer.key_arn)
    both("decrypt", KeyId=ours.arn, CiphertextBlob=wrapped, EncryptionContext=CONTEXT)
    source = sessions.service_role(tenant.service_role.arn, "eu-central-1")
    asked = {
        "RoleArn": active.role_arn,
        "RoleSessionName": "byok-test-x",
        "DurationSeconds": 900,
        "ExternalId": "wrong-one",
    }
    mine, his = (
        refused_by(lambda make=make: make("sts", "eu-central-1", source).assume_role(**asked))
        for make in (clients.hot_client, clients.client)
    )
    assert mine == his
    assert mine[0] == "AccessDenied"


@pytest.mark.parametrize(
    ("fault", "value", "asked", "raised"),
    [
        ("throttling", None, 2, errors.AwsThrottled),
        ("error", 503, 2, errors.AwsUnreachable),
        ("reset", None, 2, errors.AwsUnreachable),
        ("timeout", 30, 1, errors.AwsUnreachable),
    ],
)
def test_a_fault_is_tried_once_more_and_then_told(
    way: Any,
    aws: LocalAws,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    value: Any,
    asked: int,
    raised: type[DomainError],
) -> None:
    monkeypatch.setattr(hot, "READ_TIMEOUT", 0.3)
    hot._forget_pools()
    key = way()
    wrapped = key.generate_wrapped(CONTEXT).ciphertext
    aws.set_fault(fault, value, operation="kms:Decrypt", times=asked)
    with pytest.raises(raised):
        key.decrypt(wrapped, CONTEXT)
    assert key.decrypt(wrapped, CONTEXT).plaintext  # the faults met exactly `asked` calls, so this one is answered
    hot._forget_pools()


@pytest.mark.parametrize(("fault", "value"), [("throttling", None), ("error", 500), ("reset", None)])
def test_one_bad_answer_is_not_noticed(way: Any, aws: LocalAws, fault: str, value: Any) -> None:
    key = way()
    wrapped = key.generate_wrapped(CONTEXT).ciphertext
    aws.set_fault(fault, value, operation="kms:Decrypt", times=1)
    assert key.decrypt(wrapped, CONTEXT).plaintext


@pytest.mark.parametrize(
    "endpoint", ["https://kms.eu-central-1.amazonaws.com", "http://127.0.0.1:5005", "https://[::1]:8443"]
)
@pytest.mark.parametrize("body", [b"", b"{}", b"Action=AssumeRole&Policy=%7B%7D"])
def test_it_signs_what_botocore_signs(endpoint: str, body: bytes) -> None:
    """Only the collecting of headers is ours: the signature is the one over botocore's own request."""
    credentials = ReadOnlyCredentials("ASIAEXAMPLE", "secret", "token with  blanks")
    headers = {
        "Content-Type": "application/x-amz-json-1.1",
        "X-Amz-Target": "TrentService.Decrypt",
        "User-Agent": hot.AGENT,
    }
    with time_machine.travel("2026-03-01T12:00:00Z", tick=False):
        mine, his = (
            hot.Request(endpoint + "/", dict(headers), body),
            AWSRequest("POST", endpoint + "/", dict(headers), body),
        )
        hot.Signer(credentials, "kms", "eu-central-1").add_auth(mine)
        SigV4Auth(credentials, "kms", "eu-central-1").add_auth(his)
    assert mine.headers == dict(his.headers.items())
    assert "host;" in mine.headers["Authorization"] and "user-agent" not in mine.headers["Authorization"]


def test_both_clients_send_it(way: Any, aws: LocalAws) -> None:
    """Ours, and botocore's, which goes through a proxy: the local AWS checks what was signed."""
    client = way().client
    body = json.dumps({"KeyId": way().arn}).encode()
    for send in (hot._pool(client._endpoint).send, URLLib3Session(proxies={}).send):
        headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "TrentService.DescribeKey"}
        request = hot.Request(client._endpoint + "/", headers, body)
        hot.Signer(client._credentials, "kms", client._region).add_auth(request)
        answer = send(request)
        assert (answer.status_code, json.loads(answer.content)["KeyMetadata"]["Arn"]) == (200, way().arn)


@pytest.mark.parametrize(
    "said",
    [1772366400, 1772366400.0, "2026-03-01T12:00:00Z", "2026-03-01T12:00:00.000Z", "Sun, 01 Mar 2026 12:00:00 GMT"],
)
def test_a_time_in_any_form_that_botocore_reads(said: Any) -> None:
    assert hot._time(said) == datetime(2026, 3, 1, 12, tzinfo=UTC) == parse_timestamp(said)


def test_all_tenants_share_one_pool_and_one_tls_context(way: Any) -> None:
    way().describe()
    way(purpose="probe").describe()
    assert hot._pool.cache_info().currsize == 1
    assert connections._tls() is connections._tls()  # whatever the endpoint


def test_real_aws_is_called_at_its_regional_endpoints(way: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    credentials = way().session
    settings.AWS_MODE = "real"
    monkeypatch.setattr(clients, "_endpoints", {})
    endpoint = {
        service: clients.hot_client(service, region, credentials)._endpoint
        for service, region in (("sts", "eu-central-1"), ("kms", "cn-north-1"))
    }
    assert endpoint == {
        "sts": "https://sts.eu-central-1.amazonaws.com",
        "kms": "https://kms.cn-north-1.amazonaws.com.cn",
    }


def test_many_at_once_assume_the_role_once(way: Any, aws: LocalAws) -> None:
    sessions.forget_all()
    aws.calls.clear()
    gate = threading.Barrier(24)

    def ask(_: int) -> clients.Credentials | None:
        gate.wait()
        session: clients.Credentials | None = way().session
        return session

    with ThreadPoolExecutor(24) as pool:
        got = list(pool.map(ask, range(24)))
    assert len({id(session) for session in got}) == 1
    assert operations(aws)["AssumeRole"] == 2  # our service role, the tenant's role


def test_a_failure_of_the_one_call_is_told_to_all_who_waited(way: Any, aws: LocalAws) -> None:
    sessions.forget_all()
    aws.set_fault("throttling", operation="sts:AssumeRole")
    gate = threading.Barrier(8)

    def ask(_: int) -> Exception:
        gate.wait()
        with pytest.raises(errors.AwsThrottled) as told:
            way()
        return told.value

    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(ask, range(8)))
    assert len({id(error) for error in told}) == 8  # each its own: a traceback belongs to one thread
    assert {error.params["aws_code"] for error in told} == {"Throttling"}


def test_an_opened_key_and_a_session_are_in_no_log_line_and_no_repr(way: Any, caplog: pytest.LogCaptureFixture) -> None:
    sessions.forget_all()
    with caplog.at_level(logging.DEBUG):
        for name in ("botocore", "urllib3", "keys", *hot.QUIET):
            logging.getLogger(name).setLevel(logging.DEBUG)
        key = way()
        opened = key.decrypt(key.generate_wrapped(CONTEXT).ciphertext, CONTEXT)
    import base64

    said = caplog.text + repr(opened) + repr(key) + repr(key.client)
    assert "DEBUG" in caplog.text
    for secret in (
        opened.plaintext.hex(),
        base64.b64encode(opened.plaintext).decode(),
        repr(opened.plaintext),
        key.session.token,
        key.session.secret_access_key,
    ):
        assert secret not in said
    for name in ("botocore", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in ("keys", *hot.QUIET):
        logging.getLogger(name).setLevel(logging.NOTSET)


def test_what_aws_said_is_translated_by_the_one_table(way: Any, customer: Customer) -> None:
    key = way()
    wrapped = key.generate_wrapped(CONTEXT).ciphertext
    customer.kms.schedule_key_deletion(KeyId=customer.key_arn, PendingWindowInDays=7)
    with pytest.raises(errors.KeyPendingDeletion) as refused:
        key.decrypt(wrapped, CONTEXT)
    assert "pending deletion" in faults.aws_message_of(refused.value)
