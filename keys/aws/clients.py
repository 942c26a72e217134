"""Clients of AWS: of the base principal, of temporary credentials, or (local AWS) of an account's administrator."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.configprovider import BOTOCORE_DEFAUT_SESSION_VARIABLES  # spelled so by botocore
from botocore.credentials import ReadOnlyCredentials
from django.conf import settings

from byokportal import clock, metrics, tracing
from keys import errors
from keys.aws import faults, hot

CONFIG = Config(
    connect_timeout=3,  # seconds
    read_timeout=5,
    retries={"mode": "standard", "total_max_attempts": 2},
    tcp_keepalive=True,
    max_pool_connections=20,
)
LOCAL_CONFIG = CONFIG.merge(Config(proxies={}))  # an HTTP_PROXY of the developer's is not on the way to this machine

_lock = threading.Lock()
_clients: dict[tuple[str, str, str], Any] = {}  # those of long-lived credentials
_endpoints: dict[tuple[str, str], str] = {}
_boto3: dict[str, Any] = {}  # AWS_MODE → its session
_local_file: dict[str, Any] = {}  # localaws.json as it was read last, and when it had changed


@dataclass(frozen=True, slots=True)
class Credentials:
    """Temporary credentials of a role, until when they last, and who they are.

    Args:
        session_name: what the tenant's CloudTrail calls the session.
        expires_at: on our own clock, counted from before AWS was asked:
            AWS's instant would be compared with another machine's clock.
    """

    access_key_id: str = field(repr=False)
    secret_access_key: str = field(repr=False)
    token: str = field(repr=False)
    expires_at: datetime
    role_unique_id: str
    request_id: str = ""
    session_name: str = ""


def forget_all() -> None:
    """Drop every client and what was read of the local AWS."""
    with _lock:
        _clients.clear()
        _local_file.clear()


def local_since() -> object:
    """Return when the local AWS that is there now was started: sessions of an earlier one are worth nothing.

    Raises:
        OwnAccessBroken: there is none.
    """
    return _local()["since"]


def _local() -> dict[str, Any]:
    """Return localaws.json, read again when it changed; the clients of a local AWS that started anew are dropped.

    Raises:
        OwnAccessBroken: the file is missing; the developer's own AWS credentials are never used in its place.
    """
    path = settings.LOCALAWS_FILE
    try:
        changed = path.stat().st_mtime_ns
        if _local_file.get("changed") != changed:
            found = json.loads(path.read_text())
            read = {"endpoint": str(found["endpoint"]), "accounts": dict(found["accounts"]), "since": changed}
            with _lock:
                _clients.clear()
                _local_file.update(changed=changed, read=read)
        return _local_file["read"]  # type: ignore[no-any-return]
    except (OSError, ValueError, TypeError, KeyError):
        raise errors.OwnAccessBroken(
            retry_after=5, aws_code=f"{path.name} is missing or unreadable", action="finding the local AWS"
        ) from None


def _session() -> Any:
    """Return the one boto3 session of this AWS_MODE:
    parsing the service models costs most of a client, so all share them.

    In local mode it reads no environment variable, no profile and no file of the developer's.
    """
    mode = settings.AWS_MODE
    if mode not in _boto3:
        if mode == "local":
            deaf = {
                name: (None, None, default, convert)
                for name, (_, _, default, convert) in BOTOCORE_DEFAUT_SESSION_VARIABLES.items()
            }
            deaf |= dict.fromkeys(("config_file", "credentials_file"), (None, None, os.devnull, None))
            made = botocore.session.Session(session_vars=deaf)
        else:
            made = botocore.session.Session()
            made.set_config_variable("sts_regional_endpoints", "regional")  # the global one is in us-east-1 alone
        _boto3[mode] = boto3.Session(botocore_session=made)
    return _boto3[mode]


def client(service: str, region: str, credentials: Credentials | None = None, *, account: str = "") -> Any:
    """Return a boto3 client: of the base principal, of temporary credentials, or (local AWS)
    of an account's administrator.

    Args:
        region: where to call; IAM is answered in us-east-1.
        account: only with the local AWS: whose administrator user acts.

    Raises:
        OwnAccessBroken: there is no local AWS, or no usable credentials in the environment.
    """
    options: dict[str, Any] = {"region_name": region, "config": CONFIG}
    if settings.AWS_MODE == "local":
        options |= {"config": LOCAL_CONFIG, "endpoint_url": _local()["endpoint"]}
        if credentials is None:
            options |= _administrator(account or settings.AWS_ACCOUNT_ID)
    if credentials is not None:
        options |= {
            "aws_access_key_id": credentials.access_key_id,
            "aws_secret_access_key": credentials.secret_access_key,
            "aws_session_token": credentials.token,
        }
        with _lock:  # creating clients in a shared session is not thread-safe (boto3 guide, "Multithreading")
            return _made(service, options)
    with _lock:
        name = (service, region, account)
        if name not in _clients:
            _clients[name] = _made(service, options)
        return _clients[name]


def hot_client(service: str, region: str, credentials: Credentials) -> hot.Client:
    """Return the way to a service for the hot paths (`keys.aws.hot`), at the endpoint that boto3 would call.

    Raises:
        OwnAccessBroken: there is no local AWS.
    """
    if settings.AWS_MODE == "local":
        endpoint = str(_local()["endpoint"])
    else:
        if (service, region) not in _endpoints:
            _endpoints[service, region] = str(client(service, region, credentials).meta.endpoint_url)
        endpoint = _endpoints[service, region]
    signing = ReadOnlyCredentials(credentials.access_key_id, credentials.secret_access_key, credentials.token)
    return hot.Client(service, region, endpoint, signing)


def _made(service: str, options: dict[str, Any]) -> Any:
    try:
        made = _session().client(service, **options)
    except faults.RAISED as error:
        raise faults.translate(error, f"{service}:client") from error
    made.meta.events.register("before-parse", _refuse_pages)
    made.meta.events.register("before-call", _begin)
    made.meta.events.register("after-call", _answered)
    made.meta.events.register("after-call-error", _unanswered)
    return made


def _refuse_pages(operation_model: Any, response_dict: dict[str, Any], **_: Any) -> None:
    faults.refuse_pages(response_dict["status_code"], response_dict["body"], operation_model)


def _begin(model: Any, context: dict[str, Any], **_: Any) -> None:
    context["byok_began"] = clock.monotonic()
    service = model.service_model.service_name
    context["byok_span"] = span = tracing.begin(f"{service}.{model.name}", "client")
    span.set(rpc__system="aws-api", rpc__service=service, rpc__method=model.name)
    span.set(cloud__region=str(context.get("client_region") or ""))


def _answered(model: Any, parsed: Mapping[str, Any], context: dict[str, Any], **_: Any) -> None:
    code = faults.known(str(parsed["Error"].get("Code", ""))) if "Error" in parsed else "ok"
    metrics.AWS_SECONDS.labels(model.service_model.service_name, model.name, code).observe(
        clock.monotonic() - context["byok_began"]
    )
    span = context["byok_span"]
    span.set(aws__request_id=faults.request_id_in(parsed), byok__outcome=code)
    if code != "ok":
        span.fail(code)
    span.end()


def _unanswered(exception: Exception, context: dict[str, Any], event_name: str, **__: Any) -> None:
    _, service, operation = event_name.split(".")
    metrics.AWS_SECONDS.labels(service, operation, type(exception).__name__).observe(
        clock.monotonic() - context["byok_began"]
    )
    context["byok_span"].fail(type(exception).__name__)
    context["byok_span"].end()


def _administrator(account: str) -> dict[str, str]:
    """Return the keys of an account's administrator user; our base principal is the one of AWS_ACCOUNT_ID.

    A file with `session_token` holds a session: a process is then the principal that it is in production."""
    keys = _local()["accounts"].get(account)
    if keys is None:
        raise errors.OwnAccessBroken(
            retry_after=5, aws_code=f"localaws.json has no account {account}", action="signing in to the local AWS"
        )
    token = {"aws_session_token": keys["session_token"]} if "session_token" in keys else {}
    return {"aws_access_key_id": keys["access_key_id"], "aws_secret_access_key": keys["secret_access_key"], **token}
