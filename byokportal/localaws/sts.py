"""STS: AssumeRole as AWS refuses it, and who we are (STS API reference; IAM guide, "Using IAM roles")."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from xml.sax.saxutils import escape

from byokportal.localaws import denials, identities, sessions
from byokportal.localaws.errors import AwsError
from byokportal.localaws.identities import Caller, Holder
from byokportal.localaws.sessions import Session
from byokportal.localaws.state import State, random_id
from keys.policies import evaluator
from keys.policies.evaluator import Policy, Request

ROLE_ARN = re.compile(r"arn:aws:iam::[0-9]{12}:role/[\x21-\x7e]+", re.ASCII)
LETTERS = re.compile(r"[\w+=,.@-]*", re.ASCII)
EXTERNAL_ID = re.compile(r"[\w+=,.@:\/-]*", re.ASCII)
CHAINED = 3600  # seconds: role chaining allows no more
TAG = re.compile(r"[\w \t.:/=+@-]*")  # letters of any script


def answer(state: State, caller: Caller, region: str, form: Mapping[str, str], now: datetime) -> str:
    """Return the XML of the result of one call."""
    match form.get("Action", ""):
        case "GetCallerIdentity":
            return (
                f"<Arn>{escape(caller.principal.arn)}</Arn><UserId>{escape(caller.user_id)}</UserId>"
                f"<Account>{caller.account}</Account>"
            )
        case "AssumeRole":
            return _assume_role(state, caller, region, form, now)
        case action:
            raise AwsError("InvalidAction", f"Could not find operation {action} for version 2011-06-15")


def _assume_role(state: State, caller: Caller, region: str, form: Mapping[str, str], now: datetime) -> str:
    role_arn, name, external_id = form.get("RoleArn"), form.get("RoleSessionName"), form.get("ExternalId")
    _validate(role_arn, name, external_id)
    assert role_arn is not None
    assert name is not None
    duration = _duration(form.get("DurationSeconds", "3600"))
    policy = _session_policy(form, evaluator.account_of(role_arn))
    tags, transitive = _tags(form, caller)
    source_identity = _source_identity(form, caller)
    if caller.principal.is_root:
        raise AwsError("AccessDenied", "Roles may not be assumed by root accounts.", status=403)
    role = identities.holder_by_arn(state, role_arn, now)
    context: dict[str, Any] = {
        **identities.context_of(caller, region, now),
        "sts:RoleSessionName": name,
        "aws:ResourceAccount": evaluator.account_of(role_arn),
    }
    if external_id is not None:
        context["sts:ExternalId"] = external_id
    if tags:
        context |= {f"aws:RequestTag/{key}": value for key, value in tags.items()}
        context |= {"aws:TagKeys": list(tags), "sts:TransitiveTagKeys": list(transitive)}
    if source_identity:
        context["sts:SourceIdentity"] = source_identity
    actions = [
        "sts:AssumeRole",
        *(["sts:TagSession"] if tags else []),
        *(["sts:SetSourceIdentity"] if source_identity else []),
    ]
    for action in actions:
        _authorise(state, caller, role, Request(action, role_arn, caller.principal, context))
    assert role is not None
    if caller.session is not None and duration > CHAINED:
        words = "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining."
        raise AwsError("ValidationError", words)
    if duration > role.max_session:
        words = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
        raise AwsError("ValidationError", words)
    kept = {key: value for key, value in (caller.session.tags if caller.session else {}).items() if key in transitive}
    session = Session(
        access_key_id=random_id("ASIA"),
        secret=secrets.token_urlsafe(30),
        account=role.account,
        role_unique_id=role.unique_id,
        name=name,
        expires_at=(now + timedelta(seconds=duration)).replace(microsecond=0),
        policy=policy,
        tags={**kept, **tags},
        transitive=transitive,
        source_identity=source_identity,
    )
    return _xml(role, session, sessions.seal(session, state.session_key))


def _xml(role: Holder, session: Session, token: str) -> str:
    source = f"<SourceIdentity>{escape(session.source_identity)}</SourceIdentity>" if session.source_identity else ""
    return (
        "<AssumedRoleUser>"
        f"<Arn>arn:aws:sts::{session.account}:assumed-role/{escape(role.name)}/{escape(session.name)}</Arn>"
        f"<AssumedRoleId>{role.unique_id}:{escape(session.name)}</AssumedRoleId></AssumedRoleUser><Credentials>"
        f"<AccessKeyId>{session.access_key_id}</AccessKeyId><SecretAccessKey>{session.secret}</SecretAccessKey>"
        f"<SessionToken>{token}</SessionToken><Expiration>{session.expires_at:%Y-%m-%dT%H:%M:%SZ}</Expiration>"
        f"</Credentials>{source}"
    )


def _authorise(state: State, caller: Caller, role: Holder | None, request: Request) -> None:
    trust: Policy = role.trust if role else evaluator.NO_POLICY
    decision = evaluator.evaluate(
        request, resource=trust, **caller.layers(state, evaluator.account_of(request.resource))
    )
    if role is None or not decision.allowed:
        raise denials.assume_role(caller, request.action, request.resource, decision)


# --- what is no call at all -----------------------------------------------------------------------------------------


def _invalid(value: str | None, member: str, words: str) -> AwsError:
    shown = "null" if value is None else f"'{value[:80]}'"
    return AwsError(
        "ValidationError",
        f"1 validation error detected: Value {shown} at '{member}' failed to satisfy constraint: {words}",
    )


def _check(value: str | None, member: str, pattern: re.Pattern[str], least: int, most: int) -> None:
    if value is None:
        raise _invalid(None, member, "Member must not be null")
    if len(value) < least:
        raise _invalid(value, member, f"Member must have length greater than or equal to {least}")
    if len(value) > most:
        raise _invalid(value, member, f"Member must have length less than or equal to {most}")
    if not pattern.fullmatch(value):
        raise _invalid(value, member, f"Member must satisfy regular expression pattern: {pattern.pattern}")


def _validate(role_arn: str | None, name: str | None, external_id: str | None) -> None:
    _check(role_arn, "roleArn", re.compile(r"[\t\n\r -\ufffd]+"), 20, 2048)
    if not ROLE_ARN.fullmatch(role_arn or ""):
        raise AwsError("ValidationError", f"{role_arn} is invalid")
    _check(name, "roleSessionName", LETTERS, 2, 64)
    if external_id is not None:
        _check(external_id, "externalId", EXTERNAL_ID, 2, 1224)


def _duration(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII):
        raise _invalid(text[:20], "durationSeconds", "Member must be an integer")
    if int(text) < 900:
        raise _invalid(text, "durationSeconds", "Member must have value greater than or equal to 900")
    if int(text) > 43_200:
        raise _invalid(text, "durationSeconds", "Member must have value less than or equal to 43200")
    return int(text)


def _session_policy(form: Mapping[str, str], account: str) -> dict[str, Any] | None:
    """Return what the session is narrowed to:
    the inline policy and the managed ones of the role's account, together."""
    found = [_inline_session_policy(form["Policy"])] if form.get("Policy") else []
    arns = [form[f"PolicyArns.member.{n}.arn"] for n in range(1, 11) if f"PolicyArns.member.{n}.arn" in form]
    for arn in arns:
        managed = identities.managed_policy(account, arn)
        if managed is None:
            raise AwsError("MalformedPolicyDocument", f"The policy {arn} is not in the account of the role.")
        found.append(managed)
    statements = [statement for policy in found for statement in evaluator.statements(policy)]
    return {"Version": evaluator.VARIABLES_SINCE, "Statement": statements} if found else None


def _inline_session_policy(text: str) -> Policy:
    if len(text) > 2048:
        raise AwsError("PackedPolicyTooLarge", "Packed size of session policy consumes more than the allotted space.")
    try:
        policy = json.loads(text)
    except ValueError:
        raise AwsError("MalformedPolicyDocument", "This policy contains invalid Json") from None
    if not isinstance(policy, dict) or not evaluator.statements(policy):
        raise AwsError("MalformedPolicyDocument", "Syntax errors in policy.")
    return policy


def _tags(form: Mapping[str, str], caller: Caller) -> tuple[dict[str, str], tuple[str, ...]]:
    tags = {
        form[f"Tags.member.{n}.Key"]: form.get(f"Tags.member.{n}.Value", "")
        for n in range(1, 51)
        if f"Tags.member.{n}.Key" in form
    }
    for key, value in tags.items():
        if not TAG.fullmatch(key) or not 1 <= len(key) <= 128:
            raise _invalid(key, "tags.1.member.key", f"Member must satisfy regular expression pattern: {TAG.pattern}")
        if not TAG.fullmatch(value) or len(value) > 256:
            raise _invalid(
                value, "tags.1.member.value", f"Member must satisfy regular expression pattern: {TAG.pattern}"
            )
    asked = tuple(
        form[f"TransitiveTagKeys.member.{n}"] for n in range(1, 51) if f"TransitiveTagKeys.member.{n}" in form
    )
    handed_on = caller.session.transitive if caller.session else ()
    if set(tags) & set(handed_on):
        words = (
            "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from "
            "the calling session."
        )
        raise AwsError("InvalidParameterValue", words)
    return tags, (*handed_on, *asked)


def _source_identity(form: Mapping[str, str], caller: Caller) -> str:
    asked, had = form.get("SourceIdentity", ""), caller.session.source_identity if caller.session else ""
    if asked:
        _check(asked, "sourceIdentity", LETTERS, 2, 64)
    if asked and had and asked != had:  # it cannot be changed once it is set
        raise AwsError("AccessDenied", "The source identity of the calling session cannot be changed.", status=403)
    return asked or had
