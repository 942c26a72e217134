"""Base principal → service role → tenant's role: who we are in AWS, with the External ID always sent."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.configprovider import BOTOCORE_DEFAUT_SESSION_VARIABLES  # spelled so by botocore
from botocore.credentials import ReadOnlyCredentials
from django.conf import settings

from byokportal import clock
from byokportal.errors import DomainError
from byokportal.lru import Lru
from byokportal.singleflight import Singleflight
from keys import errors
from keys.access import Access
from keys.arns import KeyArn, PrincipalArn, RoleArn
from keys.aws import faults, hot
from keys.policies import documents

log = logging.getLogger(__name__)

SECONDS = 900  # of a session with a tenant: the shortest that STS gives (API reference, AssumeRole)
EARLY = timedelta(seconds=60)  # a session is renewed that long before its end
CACHED = 20_000  # sessions kept at most
CONFIG = Config(
    connect_timeout=3,  # seconds
    read_timeout=5,
    retries={"mode": "standard", "total_max_attempts": 2},
    tcp_keepalive=True,
    max_pool_connections=20,
)
LOCAL_CONFIG = CONFIG.merge(Config(proxies={}))  # an HTTP_PROXY of the developer's is not on the way to this machine


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
_cache: Lru[tuple[str, ...], Credentials] = Lru(CACHED)
# at most one AssumeRole for a session, whoever asks for it at once
_under_way: Singleflight[Credentials] = Singleflight()
_clients: dict[tuple[str, str, str], Any] = {}  # those of long-lived credentials
_endpoints: dict[tuple[str, str], str] = {}
_boto3: dict[str, Any] = {}  # AWS_MODE → its session
_local_file: dict[str, Any] = {}  # localaws.json as it was read last, and when it had changed


def forget_all() -> None:
    """Drop every session and what was read of the local AWS."""
    with _lock:
        _cache.clear()
        _clients.clear()
        _local_file.clear()


def forget_role(arn: str) -> None:
    """Drop the sessions of a role, one of ours or a tenant's."""
    with _lock:
        for name in [name for name, _ in _cache.items() if arn in name]:
            _cache.pop(name)


def forget(credentials: Credentials) -> None:
    """Drop one session: AWS does not know it (any more)."""
    with _lock:
        for name in [name for name, kept in _cache.items() if kept is credentials]:
            _cache.pop(name)


def _local() -> dict[str, Any]:
    """Return localaws.json, read again when it changed; the sessions of a local AWS that started anew are dropped.

    Raises:
        OwnAccessBroken: the file is missing; the developer's own AWS credentials are never used in its place.
    """
    path = settings.LOCALAWS_FILE
    try:
        changed = path.stat().st_mtime_ns
        if _local_file.get("changed") != changed:
            found = json.loads(path.read_text())
            read = {"endpoint": str(found["endpoint"]), "accounts": dict(found["accounts"])}
            with _lock:
                _cache.clear()
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
    return made


def _refuse_pages(operation_model: Any, response_dict: dict[str, Any], **_: Any) -> None:
    faults.refuse_pages(response_dict["status_code"], response_dict["body"], operation_model)


def _administrator(account: str) -> dict[str, str]:
    """Return the keys of an account's administrator user; our base principal is the one of AWS_ACCOUNT_ID."""
    keys = _local()["accounts"].get(account)
    if keys is None:
        raise errors.OwnAccessBroken(
            retry_after=5, aws_code=f"localaws.json has no account {account}", action="signing in to the local AWS"
        )
    return {"aws_access_key_id": keys["access_key_id"], "aws_secret_access_key": keys["secret_access_key"]}


def identity(credentials: Credentials | None, region: str) -> Identity:
    """Ask who we are; needs no permission, so a failure is about credentials, clock or network."""
    try:
        answer = client("sts", region, credentials).get_caller_identity()
    except faults.RAISED as error:
        raise faults.translate(error, "sts:GetCallerIdentity", denied=errors.OwnAccessBroken) from error
    return Identity(answer["Account"], answer["Arn"], answer["UserId"], faults.request_id_in(answer))


def service_role(service_role_arn: str, region: str, *, fresh: bool = False) -> Credentials:
    """Become one of our service roles.

    Raises:
        OwnAccessBroken: AWS says no to ourselves.
        AwsThrottled, AwsUnreachable: it cannot be told.
        AwsSurprise: STS gave a session of another role.
    """

    def assume() -> Credentials:
        return _assume(None, region, service_role_arn, session_name="byok-service", denied=errors.OwnAccessBroken)

    return _cached(("service", service_role_arn, region), assume, fresh=fresh)


def tenant_role(access: Access, *, purpose: str, also: KeyArn | None = None, keep: bool = False) -> Credentials:
    """Become a tenant's role, narrowed to exactly its key and the guide's five patterns (design.md 8).

    Args:
        also: a second key that the session may use.
        keep: take the session that is kept, or keep the new one: only for what is asked again soon, for a kept
            session is a live credential of a customer in our memory. All others ask STS and leave nothing behind.

    Raises:
        RoleNotAssumable: STS answered AccessDenied.
        OwnAccessBroken, AwsThrottled, AwsUnreachable, AwsSurprise: as `service_role`.
    """
    role, key = access.both()
    region, key_arns = key.region, [str(each) for each in (key, also) if each]

    def assume() -> Credentials:
        return _assume(
            service_role(str(access.service_role), region),
            region,
            str(role),
            external_id=access.external_id,
            session_name=session_name(purpose, access.tenant),
            policy=json.dumps(documents.session_policy(key_arns), separators=(",", ":")),
            denied=errors.RoleNotAssumable,
        )

    name = ("tenant", str(access.service_role), str(role), access.external_id, purpose, *key_arns)
    return _cached(name, assume) if keep else assume()


# What stands in the session names that customers see, and what such a session is for.
PURPOSES = {
    "data-keys": "opens and makes the keys that wrap data keys",
    "probe": "asks now and then whether the key still works",
    "re-encrypt": "moves wrapped keys to another key of yours",
    "test": "proves the set-up, also that it refuses what it has to refuse",
}


def session_name(purpose: str, tenant: str) -> str:
    """Return the name that the customer's CloudTrail shows: at most 64 characters."""
    return f"byok-{purpose}-{tenant}"[:64]


def probe(access: Access, external_id: str | None, *, region: str, session: str) -> AssumeOutcome:
    """Try to become the role of an access, with this External ID or (None) with the parameter left out,
    and keep nothing of it."""
    assert access.role is not None
    at = clock.recent()
    try:
        source = service_role(str(access.service_role), region)
    except DomainError as error:
        return _could_not(error, at)
    return attempt(source, access.role, external_id, region=region, session=session)[0]


def attempt(
    source: Credentials | None, role: RoleArn, external_id: str | None, *, region: str, session: str
) -> tuple[AssumeOutcome, Credentials | None]:
    """Try to become a role and say what STS said; the session, when there is one, is the caller's and in no cache.

    Args:
        source: who tries; None is the base principal itself.
        external_id: None leaves the parameter out.
    """
    at = clock.recent()
    try:
        made = _assume(
            source, region, str(role), external_id=external_id, session_name=session, denied=errors.RoleNotAssumable
        )
    except errors.RoleNotAssumable as error:
        return AssumeOutcome(False, str(error.params["aws_code"]), str(error.params["aws_request_id"]), at), None
    except DomainError as error:
        return _could_not(error, at), None
    return AssumeOutcome(True, "", made.request_id, at), made


def _could_not(error: DomainError, at: datetime) -> AssumeOutcome:
    code = str(error.params.get("aws_code", error.code))
    return AssumeOutcome(None, code, str(error.params.get("aws_request_id", "")), at)


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
    began = clock.recent()
    try:
        # The base principal's credentials come from wherever boto3 finds them;
        # those of our service roles are plain values.
        sts = client("sts", region) if source is None else hot_client("sts", region, source)
        answer = sts.assume_role(**options)
    except faults.RAISED as error:
        ours = faults.translate(error, "sts:AssumeRole", denied=denied)
        if source is not None and isinstance(ours, errors.OwnAccessBroken):
            forget(source)
        raise ours from error
    request_id = faults.request_id_in(answer)
    assumed = answer.get("AssumedRoleUser", {})
    if not _is_session_of(role_arn, str(assumed.get("Arn", ""))):
        del answer  # a live session stands in it, and a traceback with locals would show it
        log.error("another_role_answered for %s, request %s", role_arn, request_id)
        raise errors.AwsSurprise(aws_code="another role", action="sts:AssumeRole", aws_request_id=request_id)
    got = answer["Credentials"]
    return Credentials(
        got["AccessKeyId"],
        got["SecretAccessKey"],
        got["SessionToken"],
        began + timedelta(seconds=SECONDS),
        assumed["AssumedRoleId"].partition(":")[0],
        request_id,
        session_name,
    )


def _is_session_of(role_arn: str, assumed_arn: str) -> bool:
    """Tell whether an answer of AssumeRole is about the role that was asked for; a session's ARN has no path."""
    asked, answering = PrincipalArn.parse(role_arn), PrincipalArn.parse(assumed_arn)
    return (
        asked is not None
        and answering is not None
        and (answering.account, answering.kind, answering.name) == (asked.account, "assumed-role", asked.name)
    )


def _is_over(kept: Credentials) -> bool:
    """Tell whether a session is too near to its end to be used again."""
    return kept.expires_at - EARLY <= clock.recent()


def _cached(name: tuple[str, ...], assume: Callable[[], Credentials], *, fresh: bool = False) -> Credentials:
    if settings.AWS_MODE == "local":
        _local()  # a local AWS that started anew knows none of the old sessions
    found = None if fresh else _cache.get(name)
    if found is not None and not _is_over(found):
        return found

    def ask() -> Credentials:
        made = assume()
        _cache.put(name, made)
        _cache.trim(_is_over)
        return made

    def renew() -> Credentials:
        newest = _cache.get(name)
        # somebody was first between our look and our turn
        return ask() if newest is None or newest is found else newest

    return ask() if fresh else _under_way.do(name, renew)
