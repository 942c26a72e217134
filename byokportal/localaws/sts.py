"""STS: AssumeRole as AWS refuses it, and who we are (STS API reference; IAM guide, "Using IAM roles")."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from xml.sax.saxutils import escape

from byokportal.localaws import denials, identities
from byokportal.localaws.errors import AwsError
from byokportal.localaws.identities import Caller
from byokportal.localaws.state import Session, State, random_id
from keys.policies import evaluator
from keys.policies.evaluator import Request

SESSION_NAME = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
EXTERNAL_ID = re.compile(r"[\w+=,.@:\/-]{2,1224}", re.ASCII)
CHAINED = 3600  # seconds: role chaining allows no more


def answer(state: State, caller: Caller, form: Mapping[str, str], now: datetime) -> str:
    """Return the XML of the result of one call."""
    match form.get("Action", ""):
        case "GetCallerIdentity":
            return f"<Arn>{escape(caller.principal.arn)}</Arn><UserId>{escape(caller.user_id)}</UserId><Account>{caller.account}</Account>"
        case "AssumeRole":
            return _assume_role(state, caller, form, now)
        case action:
            raise AwsError("InvalidAction", f"Could not find operation {action} for version 2011-06-15")


def _assume_role(state: State, caller: Caller, form: Mapping[str, str], now: datetime) -> str:
    role_arn, name, external_id = form.get("RoleArn", ""), form.get("RoleSessionName", ""), form.get("ExternalId")
    _validate(role_arn, name, external_id)
    duration = _duration(form.get("DurationSeconds", "3600"))
    policy = _session_policy(form.get("Policy", ""))
    role = identities.role_by_arn(role_arn) if evaluator.account_of(role_arn) in state.admins else None
    context: dict[str, str] = {"sts:RoleSessionName": name, **caller_context(caller, now)}
    if external_id is not None:
        context["sts:ExternalId"] = external_id
    request = Request("sts:AssumeRole", role_arn, caller.principal, context)
    trust = json.loads(_text(role.assume_role_policy_document)) if role else {"Statement": []}
    decision = evaluator.evaluate(
        request,
        identity=caller.identity,
        resource=trust,
        session=caller.session.policy if caller.session else None,
        boundaries=caller.boundaries,
    )
    if role is None or not decision.allowed:
        raise denials.assume_role(caller, role_arn, decision)
    if caller.session is not None and duration > CHAINED:
        raise AwsError(
            "ValidationError",
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining",
        )
    if duration > int(role.max_session_duration or 3600):
        raise AwsError(
            "ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
        )
    session = Session(
        access_key_id=random_id("ASIA"),
        secret=secrets.token_urlsafe(30),
        token=secrets.token_urlsafe(150),
        account=evaluator.account_of(role_arn),
        role_unique_id=str(role.id),
        name=name,
        expires_at=(now + timedelta(seconds=duration)).replace(microsecond=0),
        policy=policy,
    )
    for old in [key for key, kept in state.sessions.items() if kept.expires_at < now - timedelta(hours=1)]:
        del state.sessions[old]
    state.sessions[session.access_key_id] = session
    state.changed()
    return (
        f"<AssumedRoleUser><Arn>arn:aws:sts::{session.account}:assumed-role/{escape(role.name)}/{escape(name)}</Arn>"
        f"<AssumedRoleId>{role.id}:{escape(name)}</AssumedRoleId></AssumedRoleUser>"
        f"<Credentials><AccessKeyId>{session.access_key_id}</AccessKeyId><SecretAccessKey>{session.secret}</SecretAccessKey>"
        f"<SessionToken>{session.token}</SessionToken><Expiration>{session.expires_at:%Y-%m-%dT%H:%M:%SZ}</Expiration></Credentials>"
    )


def caller_context(caller: Caller, now: datetime) -> dict[str, str]:
    """Return the context keys that every request has."""
    return {
        "aws:PrincipalArn": caller.principal.role_arn or caller.principal.arn,
        "aws:PrincipalAccount": caller.account,
        "aws:userid": caller.user_id,
        "aws:SourceIp": "127.0.0.1",
        "aws:SecureTransport": "true",
        "aws:CurrentTime": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "aws:EpochTime": str(int(now.timestamp())),
    }


def _text(document: object) -> str:
    return document if isinstance(document, str) else json.dumps(document)


def _validate(role_arn: str, name: str, external_id: str | None) -> None:
    if (
        not re.fullmatch(r"arn:[\w-]+:iam::[0-9]{12}:role/[\x21-\x7e]+", role_arn, re.ASCII)
        or not 20 <= len(role_arn) <= 2048
    ):
        raise AwsError("ValidationError", f"{role_arn} is invalid")
    if not SESSION_NAME.fullmatch(name):
        words = r"Member must satisfy regular expression pattern: [\w+=,.@-]*"
        raise AwsError(
            "ValidationError",
            f"1 validation error detected: Value '{name}' at 'roleSessionName' failed to satisfy constraint: {words}",
        )
    if external_id is not None and not EXTERNAL_ID.fullmatch(external_id):
        words = (
            "Member must have length greater than or equal to 2"
            if len(external_id) < 2
            else r"Member must satisfy regular expression pattern: [\w+=,.@:\/-]*"
        )
        raise AwsError(
            "ValidationError",
            f"1 validation error detected: Value '{external_id[:80]}' at 'externalId' failed to satisfy constraint: {words}",
        )


def _duration(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", text, re.ASCII) or not 900 <= int(text) <= 43_200:
        words = "Member must have value greater than or equal to 900"
        raise AwsError(
            "ValidationError",
            f"1 validation error detected: Value '{text[:20]}' at 'durationSeconds' failed to satisfy constraint: {words}",
        )
    return int(text)


def _session_policy(text: str) -> dict[str, object] | None:
    if not text:
        return None
    if len(text) > 2048:
        raise AwsError("PackedPolicyTooLarge", "Packed size of session policy consumes more than the allotted space.")
    try:
        policy = json.loads(text)
    except ValueError:
        raise AwsError("MalformedPolicyDocument", "This policy contains invalid Json") from None
    if not isinstance(policy, dict):
        raise AwsError("MalformedPolicyDocument", "Syntax errors in policy.")
    return policy
