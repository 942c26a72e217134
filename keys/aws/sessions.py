"""Base principal → service role → tenant's role: who we are in AWS, with the External ID always sent."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from byokportal import clock
from byokportal.errors import DomainError
from byokportal.lru import Lru
from byokportal.singleflight import Singleflight
from byokportal.translation import lazy
from keys import actions, errors
from keys.access import Access
from keys.arns import KeyArn, PrincipalArn, RoleArn
from keys.aws import clients, faults
from keys.aws.clients import Credentials
from keys.policies import documents

log = logging.getLogger(__name__)

SECONDS = 900  # of a session with a tenant: the shortest that STS gives (API reference, AssumeRole)
EARLY = timedelta(seconds=60)  # a session is renewed that long before its end
CACHED = 20_000  # sessions kept at most


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
    # `Date` of the answer, as AWS wrote it; empty where it was missing.
    date: str = ""


_lock = threading.Lock()
_cache: Lru[tuple[str, ...], Credentials] = Lru(CACHED)
# at most one AssumeRole for a session, whoever asks for it at once
_under_way: Singleflight[Credentials] = Singleflight()
_of_local_aws: dict[str, object] = {}  # when the one had started that gave the sessions


def forget_all() -> None:
    """Drop every session and every client, and what was read of the local AWS."""
    with _lock:
        _cache.clear()
    clients.forget_all()


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


def identity(credentials: Credentials | None, region: str) -> Identity:
    """Ask who we are; needs no permission, so a failure is about credentials, clock or network."""
    try:
        answer = clients.client("sts", region, credentials).get_caller_identity()
    except faults.RAISED as error:
        raise faults.translate(error, "sts:GetCallerIdentity", denied=errors.OwnAccessBroken) from error
    date = str(answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", ""))
    return Identity(answer["Account"], answer["Arn"], answer["UserId"], faults.request_id_in(answer), date)


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
    """Become a tenant's role, narrowed to exactly its key and what its documents allow us, or to what the
    purpose needs where that is less (design.md 8).

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
    allowed = actions.NARROW if purpose in SERVES else access.actions

    def assume() -> Credentials:
        return _assume(
            service_role(str(access.service_role), region),
            region,
            str(role),
            external_id=access.external_id,
            session_name=session_name(purpose, access.tenant),
            policy=json.dumps(documents.session_policy(key_arns, allowed), separators=(",", ":")),
            denied=errors.RoleNotAssumable,
        )

    name = ("tenant", str(access.service_role), str(role), access.external_id, purpose, *key_arns, *allowed)
    return _cached(name, assume) if keep else assume()


# What stands in the session names that customers see, and what such a session is for.
PURPOSES = {
    "data-keys": lazy("opens and makes the keys that wrap data keys"),
    "probe": lazy("asks now and then whether the key still works"),
    "re-encrypt": lazy("moves wrapped keys to another key of yours"),
    "test": lazy("proves the set-up, also that it refuses what it has to refuse"),
}


SERVES = frozenset({"data-keys", "probe"})  # these make and open branch keys and look at the key: `actions.NARROW`


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
        sts = clients.client("sts", region) if source is None else clients.hot_client("sts", region, source)
        answer = sts.assume_role(**options)
    except faults.RAISED as error:
        ours = faults.translate(error, "sts:AssumeRole", denied=denied)
        if source is not None and isinstance(ours, errors.OwnAccessBroken):
            forget(source)
        raise ours from error
    request_id = faults.request_id_in(answer)
    assumed = answer.get("AssumedRoleUser", {})
    if not is_session_of(role_arn, str(assumed.get("Arn", ""))):
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


def is_session_of(role_arn: str, assumed_arn: str) -> bool:
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


def _forget_those_of_another_local_aws() -> None:
    """Drop every session when the local AWS started anew: it knows none of them."""
    since = clients.local_since()
    if _of_local_aws.get("since") == since:
        return
    with _lock:
        _cache.clear()
        _of_local_aws["since"] = since


def _cached(name: tuple[str, ...], assume: Callable[[], Credentials], *, fresh: bool = False) -> Credentials:
    if settings.AWS_MODE == "local":
        _forget_those_of_another_local_aws()
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
