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
CHAINED = 3600  # seconds: role chaining allows no more, and what one gets who names none
TAGS = 50  # of a session


def answer(state: State, caller: Caller, region: str, form: Mapping[str, str], now: datetime) -> str:
    """Return the XML of the result of one call."""
    match form.get("Action", ""):
        case "GetCallerIdentity":
            return (
                f"<Arn>{escape(caller.principal.arn)}</Arn><UserId>{escape(caller.user_id)}</UserId>"
                f"<Account>{caller.account}</Account>"
            )
        case _:
            return _assume_role(state, caller, region, form, now)


def _assume_role(state: State, caller: Caller, region: str, form: Mapping[str, str], now: datetime) -> str:
    role_arn, name, external_id = form["RoleArn"], form["RoleSessionName"], form.get("ExternalId")
    if not ROLE_ARN.fullmatch(role_arn):
        raise AwsError("ValidationError", f"{role_arn} is invalid")
    duration = int(form.get("DurationSeconds", CHAINED))
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
    evaluation = evaluator.evaluate(
        request, resource=trust, **caller.layers(state, evaluator.account_of(request.resource))
    )
    if role is None or not evaluation.allowed:
        raise denials.assume_role(caller, request.action, request.resource, evaluation)


# --- what a session takes with it -----------------------------------------------------------------------------------


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
    """Return the tags of the session that is asked for, and the keys of those that go on to its own sessions.

    Keys are compared without regard to case (IAM guide, "Pass session tags in AWS STS").
    """
    pairs = [
        (form[f"Tags.member.{n}.Key"], form[f"Tags.member.{n}.Value"])
        for n in range(1, TAGS + 1)
        if f"Tags.member.{n}.Key" in form
    ]
    tags = dict(pairs)
    asked = tuple(form[name] for n in range(1, TAGS + 1) if (name := f"TransitiveTagKeys.member.{n}") in form)
    if len({key.lower() for key, _ in pairs}) < len(pairs):
        raise AwsError(
            "InvalidParameterValue", "Duplicate tag keys found. Please note that Tag keys are case insensitive."
        )
    if any(key.lower().startswith("aws:") for key in tags):
        raise AwsError("InvalidParameterValue", "Tag keys that begin with aws: are reserved.")
    if not {key.lower() for key in asked} <= {key.lower() for key in tags}:
        words = "The specified transitive tag key must be included in the requested tags."
        raise AwsError("InvalidParameterValue", words)
    handed_on = caller.session.transitive if caller.session else ()
    if {key.lower() for key in tags} & {key.lower() for key in handed_on}:
        words = (
            "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from "
            "the calling session."
        )
        raise AwsError("InvalidParameterValue", words)
    # A key is written as its tag is: what goes on is found by it.
    named = {key.lower(): key for key in tags}
    return tags, (*handed_on, *(named[key.lower()] for key in asked))


def _source_identity(form: Mapping[str, str], caller: Caller) -> str:
    asked, had = form.get("SourceIdentity", ""), caller.session.source_identity if caller.session else ""
    if asked and had and asked != had:  # it cannot be changed once it is set
        raise AwsError("AccessDenied", "The source identity of the calling session cannot be changed.", status=403)
    return asked or had
