"""Requests and answers as they stand on the wire:
the query protocol (STS, IAM) and the JSON protocol (KMS, CloudTrail)."""

from __future__ import annotations

import json
import re
import urllib.parse
from dataclasses import dataclass, field
from typing import Any
from xml.sax.saxutils import escape

from werkzeug.wrappers import Request

from byokportal.localaws import moto_adapter, operations, shapes, signatures
from byokportal.localaws.errors import AwsError
from byokportal.localaws.signatures import Scope, Signed

TARGETS = {
    "TrentService": "kms",
    "com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101": "cloudtrail",
    "CloudTrail_20131101": "cloudtrail",
}
SERVICE = {version: service for service, version in operations.VERSIONS.items()}
NAMESPACE = {"sts": "https://sts.amazonaws.com/doc/2011-06-15/", "iam": "https://iam.amazonaws.com/doc/2010-05-08/"}
JSON = {"kms", "cloudtrail"}
MAX_FIELDS = 2_000
REQUEST_ID = re.compile(rb"<RequestId>[^<]*</RequestId>")  # moto makes its own; one call has one id
NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


UNSIGNED, NO_SCOPE = Signed("", "", "", {}, b""), Scope("", "", "", "", (), "")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that has been read, and nothing more: who sent it is not known yet."""

    service: str = ""
    operation: str = ""
    signed: Signed = UNSIGNED
    scope: Scope = NO_SCOPE
    token: str = field(default="", repr=False)
    given: dict[str, Any] = field(default_factory=dict)  # the parameters, in the types of AWS's model
    form: dict[str, str] = field(default_factory=dict)  # the same as fields of the query protocol, for IAM and STS

    @property
    def is_json(self) -> bool:
        return self.service in JSON

    @property
    def region(self) -> str:
        """Return the Region of the call; IAM has one for the world, whatever Region its caller signs for."""
        return "us-east-1" if self.service == "iam" else self.scope.region


def claimed_service(request: Request) -> str:
    """Return the service that a request is for, also when its signature cannot be read: the error has its form."""
    target = request.headers.get("X-Amz-Target", "").rpartition(".")[0]
    if target:
        return TARGETS.get(target, "kms")
    return "iam" if "/iam/aws4_request" in request.headers.get("Authorization", "") else "sts"


def read(request: Request) -> Asked:
    """Read a request.

    Raises:
        AwsError: not signed, for another service than its signature says, or not in the protocol of the service.
    """
    body = request.get_data(cache=False)
    headers = {name.lower(): value for name, value in request.headers.items()}
    signed = Signed(request.method, request.path, request.query_string.decode("latin-1"), headers, body)
    scope = signatures.scope_of(signed, is_json=claimed_service(request) in JSON)
    target, _, operation = headers.get("x-amz-target", "").rpartition(".")
    fields: dict[str, str] = {}
    if target:
        service = TARGETS.get(target, "")
    else:
        fields = _form(body)
        service, operation = SERVICE.get(fields.get("Version", ""), scope.service), fields.get("Action", "")
    if service not in operations.DONE or (service in JSON) != bool(target):
        raise AwsError("UnknownOperationException", "")
    if not moto_adapter.is_region(service, scope.region):
        raise signatures.mismatch(service, f"Credential should be scoped to a valid region, not '{scope.region}'. ")
    if scope.service != service:
        raise signatures.mismatch(service, f"Credential should be scoped to correct service: '{service}'. ")
    if not target and not operation:
        raise AwsError("MissingAction", "Could not find operation for version")
    given = shapes.typed(service, operation, _object(body)) if target else shapes.of_form(service, operation, fields)
    form = {} if target else {"Action": operation, "Version": operations.VERSIONS[service], **shapes.to_form(given)}
    return Asked(service, operation, signed, scope, headers.get("x-amz-security-token", ""), given, form)


def _object(body: bytes) -> dict[str, Any]:
    try:
        given = json.loads(body or b"{}", parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise AwsError("SerializationException", "") from None
    if not isinstance(given, dict):
        raise AwsError("SerializationException", "")
    return given


def _no_number(word: str) -> None:
    raise ValueError(word)


def _form(body: bytes) -> dict[str, str]:
    try:
        pairs = urllib.parse.parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        raise AwsError("MalformedQueryString", "The query string contains a syntax error.") from None
    return dict(pairs)


def xml(service: str, operation: str, result: str, request_id: str) -> moto_adapter.Answer:
    """Answer in the query protocol."""
    text = (
        f'<{operation}Response xmlns="{NAMESPACE[service]}"><{operation}Result>{result}</{operation}Result>'
        f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{operation}Response>"
    )
    return moto_adapter.Answer(200, text.encode(), "text/xml")


def error(service: str, refused: AwsError, request_id: str) -> moto_adapter.Answer:
    """Answer with an error, in the protocol of the service."""
    if service in JSON:
        body = {"__type": refused.code, "message": refused.message} if refused.message else {"__type": refused.code}
        return moto_adapter.Answer(refused.status, json.dumps(body).encode(), "application/x-amz-json-1.1")
    kind = "Sender" if refused.status < 500 else "Receiver"
    words = escape(NOT_XML.sub("\ufffd", refused.message))
    text = (
        f'<ErrorResponse xmlns="{NAMESPACE.get(service, NAMESPACE["sts"])}"><Error><Type>{kind}</Type>'
        f"<Code>{refused.code}</Code>"
        f"<Message>{words}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>"
    )
    return moto_adapter.Answer(refused.status, text.encode("utf-8", "replace"), "text/xml")


def with_request_id(body: bytes, request_id: str) -> bytes:
    return REQUEST_ID.sub(f"<RequestId>{request_id}</RequestId>".encode(), body)
