"""AWS Signature Version 4, verified (IAM guide, "Create a signed AWS API request")."""

from __future__ import annotations

import hashlib
import hmac
import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from byokportal.localaws.errors import AwsError

AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[A-Za-z0-9]{16,128})/(?P<date>[0-9]{8})/(?P<region>[a-z0-9-]+)/"
    r"(?P<service>[a-z0-9]+)/aws4_request, ?"
    r"SignedHeaders=(?P<signed>[a-z0-9;-]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)
SKEW = {"kms": 300, "sts": 900, "iam": 900, "cloudtrail": 300}  # seconds
JSON = {"kms", "cloudtrail"}


@dataclass(frozen=True, slots=True)
class Signed:
    """The parts of a request that its signature covers."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]  # names in small letters
    body: bytes


@dataclass(frozen=True, slots=True)
class Scope:
    """What the Authorization header claims."""

    access_key_id: str
    date: str
    region: str
    service: str
    signed_headers: tuple[str, ...]
    signature: str


def scope_of(request: Signed, *, is_json: bool = False) -> Scope:
    """Read the Authorization header.

    Raises:
        AwsError: there is none, or it is no Signature Version 4.
    """
    header = request.headers.get("authorization", "")
    status = 400 if is_json else 403
    if not header:
        code = "MissingAuthenticationTokenException" if is_json else "MissingAuthenticationToken"
        raise AwsError(code, "Request is missing Authentication Token", status=status)
    match = AUTHORIZATION.fullmatch(header)
    if match is None:
        words = (
            "Authorization header requires 'Credential' parameter. "
            "Authorization header requires 'Signature' parameter. "
            "Authorization header requires 'SignedHeaders' parameter."
        )
        raise AwsError("IncompleteSignatureException" if is_json else "IncompleteSignature", words, status=status)
    return Scope(
        match["key"],
        match["date"],
        match["region"],
        match["service"],
        tuple(match["signed"].split(";")),
        match["signature"],
    )


def mismatch(service: str, words: str) -> AwsError:
    """A signature that is not the right one: the code and status depend on the protocol of the service."""
    is_json = service in JSON
    return AwsError(
        "InvalidSignatureException" if is_json else "SignatureDoesNotMatch", words, status=400 if is_json else 403
    )


def verify(request: Signed, scope: Scope, secret: str, now: datetime) -> None:
    """Compare the signature with the one made with the right secret, then look at the clock.

    Raises:
        AwsError: another secret, a changed request, or a clock too far off.
    """
    at = request.headers.get("x-amz-date", "")
    if not re.fullmatch(r"[0-9]{8}T[0-9]{6}Z", at, re.ASCII) or not at.startswith(scope.date):
        words = "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP"
        raise mismatch(scope.service, words)
    needed = {"host", "x-amz-date", *({"x-amz-security-token"} if "x-amz-security-token" in request.headers else ())}
    needed |= {"x-amz-target"} if "x-amz-target" in request.headers else set()
    if not needed <= set(scope.signed_headers):
        words = f"'{sorted(needed - set(scope.signed_headers))[0]}' must be a 'SignedHeader' in the AWS Authorization."
        raise mismatch(scope.service, words)
    if not hmac.compare_digest(_signature(request, scope, secret, at), scope.signature):
        words = (
            "The request signature we calculated does not match the signature you provided. "
            "Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
        )
        raise mismatch(scope.service, words)
    try:
        signed_at = datetime.strptime(at, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise mismatch(scope.service, "Date must be in ISO-8601 'basic format'.") from None
    window = SKEW.get(scope.service, 900)
    off = (now - signed_at).total_seconds()
    stamp, minutes = now.strftime("%Y%m%dT%H%M%SZ"), window // 60
    if off > window:
        edge = datetime.fromtimestamp(now.timestamp() - window, UTC).strftime("%Y%m%dT%H%M%SZ")
        raise mismatch(scope.service, f"Signature expired: {at} is now earlier than {edge} ({stamp} - {minutes} min.)")
    if off < -window:
        edge = datetime.fromtimestamp(now.timestamp() + window, UTC).strftime("%Y%m%dT%H%M%SZ")
        raise mismatch(
            scope.service, f"Signature not yet current: {at} is still later than {edge} ({stamp} + {minutes} min.)"
        )


def _signature(request: Signed, scope: Scope, secret: str, at: str) -> str:
    query = "&".join(
        f"{urllib.parse.quote(name, safe='-_.~')}={urllib.parse.quote(value, safe='-_.~')}"
        for name, value in sorted(urllib.parse.parse_qsl(request.query, keep_blank_values=True))
    )
    headers = "".join(f"{name}:{' '.join(request.headers.get(name, '').split())}\n" for name in scope.signed_headers)
    canonical = "\n".join(
        [
            request.method,
            request.path or "/",
            query,
            headers,
            ";".join(scope.signed_headers),
            hashlib.sha256(request.body).hexdigest(),  # what was signed is what came: an unsigned payload does not pass
        ]
    )
    credential_scope = f"{scope.date}/{scope.region}/{scope.service}/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", at, credential_scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{secret}".encode()
    for part in (scope.date, scope.region, scope.service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
