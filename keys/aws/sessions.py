"""Base principal → service role → tenant's role: who we are in AWS, with the External ID always sent."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from django.conf import settings

from byokportal.errors import DomainError
from keys import errors
from keys.aws import faults
from keys.policies import documents

SECONDS = 900  # of a session with a tenant: the shortest that STS gives (API reference, AssumeRole)
EARLY = timedelta(seconds=60)  # a session is renewed that long before its end
CACHED = 20_000  # sessions kept at most
CONFIG = Config(
    connect_timeout=3,
    read_timeout=5,
    retries={"mode": "standard", "max_attempts": 2},
    tcp_keepalive=True,
    max_pool_connections=20,
)


@dataclass(frozen=True, slots=True)
class Credentials:
    """Temporary credentials of a role, until when they last, and who they are."""

    access_key_id: str = field(repr=False)
    secret_access_key: str = field(repr=False)
    token: str = field(repr=False)
    expires_at: datetime
    role_unique_id: str
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class AssumeOutcome:
    """What STS said: True it let us in, False AccessDenied and nothing else, None we cannot tell."""

    allowed: bool | None
    aws_code: str
    request_id: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Identity:
    """Who we are, by GetCallerIdentity."""

    account: str
    arn: str
    user_id: str
    request_id: str


_lock = threading.Lock()
_cache: OrderedDict[tuple[str, ...], Credentials] = OrderedDict()
_endpoint_of: dict[str, Any] = {}
# One loader for all clients: parsing the service models costs most of a client.
_botocore = botocore.session.Session()


def forget_all() -> None:
    """Drop every session and what was read of the local AWS."""
    with _lock:
        _cache.clear()
        _endpoint_of.clear()
        _clients.clear()


def forget_role(service_role_arn: str) -> None:
    """Drop the sessions of one service role: its permissions have just changed."""
    with _lock:
        for name in [name for name in _cache if service_role_arn in name]:
            del _cache[name]


def _local() -> dict[str, Any]:
    """Return localaws.json, read again when it changed.

    Raises:
        OwnAccessBroken: the file is missing; the developer's own AWS credentials are never used in its place.
    """
    try:
        changed = settings.LOCALAWS_FILE.stat().st_mtime_ns
        if _endpoint_of.get("changed") != changed:
            read = json.loads(settings.LOCALAWS_FILE.read_text())
            with _lock:
                _cache.clear()
                _clients.clear()
                _endpoint_of.update(changed=changed, read=read)
        return _endpoint_of["read"]  # type: ignore[no-any-return]
    except FileNotFoundError:
        raise errors.OwnAccessBroken(
            retry_after=5, aws_code="localaws.json is missing", action="reading the local AWS's address"
        ) from None


_clients: dict[tuple[str, str, str], Any] = {}


def client(service: str, region: str, credentials: Credentials | None = None, *, account: str = "") -> Any:
    """Return a boto3 client: of the base principal, of temporary credentials, or (local AWS) of an account's administrator.

    Args:
        region: where to call; IAM is answered in us-east-1.
        account: only with the local AWS: whose administrator user acts.
    """
    options: dict[str, Any] = {"region_name": region, "config": CONFIG}
    if settings.AWS_MODE == "local":
        local = _local()
        options["endpoint_url"] = local["endpoint"]
        if credentials is None:
            keys = local["accounts"].get(account or settings.AWS_ACCOUNT_ID)
            if keys is None:
                raise errors.OwnAccessBroken(
                    retry_after=5,
                    aws_code="the account is missing in localaws.json",
                    action="signing in to the local AWS",
                )
            options |= {"aws_access_key_id": keys["access_key_id"], "aws_secret_access_key": keys["secret_access_key"]}
    if credentials is not None:
        options |= {
            "aws_access_key_id": credentials.access_key_id,
            "aws_secret_access_key": credentials.secret_access_key,
            "aws_session_token": credentials.token,
        }
    kept = (service, region, account) if credentials is None else None
    if kept is not None and kept in _clients:
        return _clients[kept]
    with _lock:  # creating clients in a shared session is not thread-safe (boto3 guide, "Multithreading")
        session: Any = boto3.Session(botocore_session=_botocore)
        made = session.client(service, **options)
    if kept is not None:
        _clients[kept] = made
    return made


def region_of(arn: str) -> str:
    """Return the Region of a key ARN."""
    return arn.split(":")[3]


def identity(credentials: Credentials | None, region: str) -> Identity:
    """Ask who we are; needs no permission, so a failure is about credentials, clock or network."""
    try:
        answer = client("sts", region, credentials).get_caller_identity()
    except (ClientError, BotoCoreError) as error:
        raise faults.translate(error, "sts:GetCallerIdentity", denied=errors.OwnAccessBroken) from error
    return Identity(answer["Account"], answer["Arn"], answer["UserId"], answer["ResponseMetadata"]["RequestId"])


def service_role(service_role_arn: str, region: str, *, fresh: bool = False) -> Credentials:
    """Become one of our service roles.

    Raises:
        OwnAccessBroken: AWS says no to ourselves.
        AwsThrottled, AwsUnreachable: it cannot be told.
    """

    def assume() -> Credentials:
        return _assume(None, region, service_role_arn, session_name="byok-service", denied=errors.OwnAccessBroken)

    return _cached(("service", service_role_arn, region), assume, fresh=fresh)


def tenant_role(
    service_role_arn: str,
    role_arn: str,
    external_id: str,
    key_arns: Sequence[str],
    *,
    tenant: str,
    purpose: str,
    fresh: bool = False,
) -> Credentials:
    """Become a tenant's role, narrowed to exactly these keys and the guide's five patterns (design.md 8).

    Raises:
        RoleNotAssumable: STS answered AccessDenied.
        OwnAccessBroken, AwsThrottled, AwsUnreachable: as `service_role`.
    """
    region = region_of(key_arns[0])

    def assume() -> Credentials:
        return _assume(
            service_role(service_role_arn, region),
            region,
            role_arn,
            external_id=external_id,
            session_name=session_name(purpose, tenant),
            policy=json.dumps(documents.session_policy(key_arns), separators=(",", ":")),
            denied=errors.RoleNotAssumable,
        )

    return _cached(("tenant", service_role_arn, role_arn, external_id, purpose, *key_arns), assume, fresh=fresh)


def session_name(purpose: str, tenant: str) -> str:
    """Return the name that the customer's CloudTrail shows: at most 64 characters."""
    return f"byok-{purpose}-{tenant}"[:64]


def probe(service_role_arn: str, role_arn: str, external_id: str | None, *, region: str, session: str) -> AssumeOutcome:
    """Try to become a role, with this External ID or (None) with the parameter left out, and keep nothing of it."""
    at = datetime.now(UTC)
    try:
        source = service_role(service_role_arn, region)
        made = _assume(
            source, region, role_arn, external_id=external_id, session_name=session, denied=errors.RoleNotAssumable
        )
    except errors.RoleNotAssumable as error:
        return AssumeOutcome(False, str(error.params["aws_code"]), str(error.params["aws_request_id"]), at)
    except DomainError as error:
        return AssumeOutcome(
            None, str(error.params.get("aws_code", error.code)), str(error.params.get("aws_request_id", "")), at
        )
    return AssumeOutcome(True, "", made.request_id, at)


def _assume(
    source: Credentials | None,
    region: str,
    role_arn: str,
    *,
    session_name: str,
    denied: type[DomainError],
    external_id: str | None = None,
    policy: str = "",
) -> Credentials:
    options: dict[str, Any] = {"RoleArn": role_arn, "RoleSessionName": session_name, "DurationSeconds": SECONDS}
    if external_id is not None:
        options["ExternalId"] = external_id
    if policy:
        options["Policy"] = policy
    try:
        answer = client("sts", region, source).assume_role(**options)
    except (ClientError, BotoCoreError) as error:
        raise faults.translate(error, "sts:AssumeRole", denied=denied) from error
    got = answer["Credentials"]
    return Credentials(
        got["AccessKeyId"],
        got["SecretAccessKey"],
        got["SessionToken"],
        got["Expiration"],
        answer["AssumedRoleUser"]["AssumedRoleId"].split(":")[0],
        answer["ResponseMetadata"]["RequestId"],
    )


def _cached(name: tuple[str, ...], assume: Callable[[], Credentials], *, fresh: bool) -> Credentials:
    if settings.AWS_MODE == "local":
        _local()  # a local AWS that started anew knows none of the old sessions
    with _lock:
        found = _cache.get(name)
    if found is not None and not fresh and found.expires_at - EARLY > datetime.now(UTC):
        return found
    made = assume()
    with _lock:
        _cache[name] = made
        _cache.move_to_end(name)
        while len(_cache) > CACHED:
            _cache.popitem(last=False)
    return made
