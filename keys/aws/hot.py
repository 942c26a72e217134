"""STS and KMS on the two hot paths, unwrap and sweep:
botocore's own signer and parsers over one pooled client for all tenants.

A boto3 client for each tenant costs about a megabyte, 46 ms and a TLS context, and a call through it
about twice the CPU of one through this module. So one pool of connections with one TLS context
(`keys.aws.connections`) carries the calls of all tenants, each signed with its tenant's session. Serializer, signer,
parser and errors are botocore's, so `keys.aws.faults` reads what comes from here by the same table as what boto3
raises.
"""

from __future__ import annotations

import logging
import os
import random
import time
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import urlencode, urlsplit

import botocore
from botocore.auth import SIGNED_HEADERS_BLACKLIST, SigV4Auth
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import ClientError, ReadTimeoutError
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.parsers import ResponseParserError, ResponseParserFactory
from botocore.serialize import create_serializer
from botocore.utils import parse_timestamp

from byokportal import metrics, tracing
from keys import errors
from keys.aws import connections, faults

CONNECT_TIMEOUT = 1.0  # seconds: KMS and STS answer in tens of milliseconds, and a thread of ours waits
READ_TIMEOUT = 3.0  # seconds
ATTEMPTS = 2  # botocore's "standard" mode with total_max_attempts 2
BACKOFF = 0.2  # seconds at most before the second attempt, at random
POOL = 96  # connections kept for each endpoint: one for each thread of a sweep
TRANSIENT = {500, 502, 503, 504}  # HTTP statuses that "standard" mode tries again

# At DEBUG these log bodies, in which an opened branch key stands or one that is wrapped anew, and session tokens.
QUIET = ("botocore.parsers", "botocore.auth", "botocore.endpoint")
AGENT = f"byokportal botocore/{botocore.__version__}"


for _name in QUIET:  # whatever level somebody sets while looking for something else
    logging.getLogger(_name).addFilter(lambda record: record.levelno > logging.DEBUG)


class Client:
    """One session's way to a service, with boto3's names, parameters and answers for the operations of the hot paths.

    All of these may be repeated without harm: they read, or make something that nobody keeps when the answer is lost.
    """

    __slots__ = ("_credentials", "_endpoint", "_region", "_service")

    def __init__(self, service: str, region: str, endpoint: str, credentials: ReadOnlyCredentials) -> None:
        self._service, self._region, self._endpoint = service, region, endpoint
        self._credentials = credentials

    def __repr__(self) -> str:
        return f"<hot {self._service} client for {self._region}>"

    def assume_role(self, **parameters: Any) -> dict[str, Any]:
        return self._call("AssumeRole", parameters)

    def describe_key(self, **parameters: Any) -> dict[str, Any]:
        return self._call("DescribeKey", parameters)

    def decrypt(self, **parameters: Any) -> dict[str, Any]:
        return self._call("Decrypt", parameters)

    def generate_data_key_without_plaintext(self, **parameters: Any) -> dict[str, Any]:
        return self._call("GenerateDataKeyWithoutPlaintext", parameters)

    def _call(self, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Ask, and once more where "standard" retries would; an answer that is an error is raised as boto3 raises it.

        Raises:
            ClientError, BotoCoreError, ResponseParserError: `faults.RAISED`.
        """
        for _ in range(ATTEMPTS - 1):
            try:
                return self._ask(operation, parameters)
            except faults.RAISED as error:
                if not _is_worth_another(error):
                    raise
            time.sleep(random.uniform(0, BACKOFF))  # noqa: S311  spreading retries needs no secret
        return self._ask(operation, parameters)

    def _ask(self, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        with (
            metrics.timed_call(self._service, operation, faults.code_for_metrics),
            tracing.begin(f"{self._service}.{operation}", "client") as span,
        ):
            span.set(rpc__system="aws-api", rpc__service=self._service, rpc__method=operation)
            span.set(cloud__region=self._region)
            try:
                answer = self._asked(operation, parameters)
            except faults.RAISED as error:
                span.set(aws__request_id=faults.request_id_of(error), byok__outcome=faults.code_for_metrics(error))
                raise
            span.set(aws__request_id=faults.request_id_in(answer), byok__outcome="ok")
            return answer

    def _asked(self, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        serializer, parser, model = _protocol(self._service)
        shape = model.operation_model(operation)
        ready = serializer.serialize_to_request(parameters, shape)
        body = ready["body"] if isinstance(ready["body"], bytes) else urlencode(ready["body"]).encode()
        request: Any = Request(self._endpoint + "/", {**ready["headers"], "User-Agent": AGENT}, body)
        Signer(self._credentials, self._service, self._region).add_auth(request)
        answer = _pool(self._endpoint).send(request)
        raw = {"status_code": answer.status_code, "headers": answer.headers, "body": answer.content}
        faults.refuse_pages(answer.status_code, answer.content, shape)
        try:
            read: dict[str, Any] = parser.parse(raw, shape.output_shape)
        except (ValueError, TypeError, AttributeError) as error:  # no base64, no time, no object where one has to be
            raise ResponseParserError(f"{operation} cannot be read") from error
        if answer.status_code >= 300:
            raise ClientError(read, operation)  # type: ignore[arg-type]
        return read


class Request:
    """What the signer and the pool read of a request;
    `AWSRequest` copies itself at each look and takes more CPU than the signature."""

    __slots__ = ("body", "context", "headers", "url")
    method, params, stream_output = "POST", None, False

    def __init__(self, url: str, headers: dict[str, str], body: bytes) -> None:
        self.url, self.headers, self.body = url, headers, body
        self.context: dict[str, Any] = {}  # the signer keeps its time there


class Signer(SigV4Auth):
    """botocore's signer. Only the headers to sign are collected here:
    its own go through the mail parser of the standard library."""

    def headers_to_sign(self, request: Any) -> Any:  # botocore's stubs know its own classes alone
        named = {name.lower(): value for name, value in request.headers.items()}
        signed = Headers((name, value) for name, value in named.items() if name not in SIGNED_HEADERS_BLACKLIST)
        signed["host"] = urlsplit(request.url).netloc
        return signed


class Headers(dict[str, str]):
    """Each name once, in lower case."""

    def get_all(self, name: str) -> list[str]:
        return [self[name]]


def _is_worth_another(error: Exception) -> bool:
    """Tell what "standard" mode tries again; not after a read timeout: whoever waits for us has waited long enough."""
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return status in TRANSIENT or faults.ANYWHERE.get(faults.code_of(error)) is errors.AwsThrottled
    return isinstance(error, faults.SILENCE) and not isinstance(error, ReadTimeoutError)


@cache
def _pool(endpoint: str) -> connections.Pool:
    return connections.Pool(endpoint, connect_timeout=CONNECT_TIMEOUT, read_timeout=READ_TIMEOUT, keep=POOL)


def _forget_pools() -> None:
    _pool.cache_clear()
    connections.forget()


os.register_at_fork(after_in_child=_forget_pools)  # the connections are the parent's


@cache
def _protocol(service: str) -> tuple[Any, Any, Any]:
    """Return serializer, parser and model of a service; the model is parsed once in a process."""
    model = ServiceModel(Loader().load_service_model(service, "service-2"), service)
    protocol = str(model.metadata["protocol"])
    # Parameters are ours, and AWS refuses a bad one: boto3's own validation would cost as much as signing.
    parsers = ResponseParserFactory()
    parsers.set_parser_defaults(timestamp_parser=_time)
    return create_serializer(protocol, include_validation=False), parsers.create_parser(protocol), model


def _time(value: Any) -> datetime:
    """Read a time of AWS's: seconds since 1970 (KMS) or ISO 8601 (STS);
    botocore's own way guesses at the form, and takes its time."""
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC)
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        return parse_timestamp(value)
