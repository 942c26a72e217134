"""The one way into moto: a request in the name of an account, in process."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

from botocore.loaders import Loader
from botocore.regions import EndpointResolver
from moto.kms import models as kms_models
from moto.kms.responses import KmsResponse
from moto.moto_server.werkzeug_app import create_backend_app
from werkzeug.test import Client


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back over the wire."""

    status: int
    body: bytes
    content_type: str


# moto refuses ids of multi-Region keys in AWS's form. The gate has found the key before moto is asked.
KmsResponse._validate_cmk_id = lambda self, key_id: None
# moto denies DescribeKey for every Deny that names it, whomever that spares. The gate has asked the key policy before.
KmsResponse._validate_key_policy = lambda self, key_id, action: None
# A symmetric key has no private half. moto makes it one, an RSA key that takes 50 ms and that nobody may ask for.
_private_key_of = kms_models.generate_private_key
kms_models.generate_private_key = lambda spec: (  # type: ignore[assignment]
    _private_key_of(spec) if spec.startswith(("RSA_", "ECC_")) else None
)


def json_answer(value: Any) -> Answer:
    """Return an answer of the JSON protocol."""
    return Answer(200, json.dumps(value).encode() if value is not None else b"", "application/x-amz-json-1.1")


@cache
def regions(service: str) -> frozenset[str]:
    """Return the Regions of the standard partition in which a service is offered."""
    # Out of botocore's own file: a session would read the developer's profile, which may be broken or not there.
    resolver = EndpointResolver(Loader().load_data("endpoints"))
    return frozenset(resolver.get_available_endpoints(service))


def is_region(service: str, name: str) -> bool:
    """Tell whether a service is offered in a Region of that name.

    IAM takes all of them: a client that is pointed at an endpoint signs with its own Region, where against
    AWS it would find out by itself that IAM wants us-east-1.
    """
    return name in regions("sts" if service == "iam" else service)


@cache
def _client(service: str) -> Client:
    return Client(create_backend_app(service))  # type: ignore[arg-type]


def call(service: str, account: str, region: str, body: bytes, target: str = "") -> Answer:
    """Let moto answer; the caller is verified and allowed already.

    Args:
        target: X-Amz-Target of a JSON protocol call.
    """
    headers: dict[str, Any] = {
        # moto reads the service and Region out of the header and believes it; the account comes by its own header.
        "Authorization": (
            f"AWS4-HMAC-SHA256 Credential=AKIAGATE/20260101/{region}/{service}/aws4_request, "
            "SignedHeaders=host, Signature=0"
        ),
        "x-moto-account-id": account,
        "Content-Type": "application/x-amz-json-1.1" if target else "application/x-www-form-urlencoded; charset=utf-8",
    }
    if target:
        headers["X-Amz-Target"] = target
    host = "iam.amazonaws.com" if service == "iam" else f"{service}.{region}.amazonaws.com"
    answered = _client(service).open("/", method="POST", data=body, headers=headers, base_url=f"https://{host}")
    return Answer(answered.status_code, answered.get_data(), answered.headers.get("Content-Type", "text/xml"))
