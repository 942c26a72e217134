"""Who calls, and which policies speak for them: users, roles and sessions of the local AWS."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

from moto.iam.models import iam_backends
from moto.kms.models import kms_backends

from byokportal.localaws import sessions
from byokportal.localaws.errors import AwsError
from byokportal.localaws.sessions import Session
from byokportal.localaws.state import ADMINISTRATOR, State
from keys.policies import evaluator
from keys.policies.evaluator import Policy, Principal

NOTHING: Policy = {"Version": "2012-10-17", "Statement": []}


@dataclass(frozen=True, slots=True)
class Holder:
    """A user or role with the policies that speak for it."""

    account: str
    name: str
    arn: str
    unique_id: str
    identity: tuple[Policy, ...]
    boundaries: tuple[Policy, ...] = ()
    trust: Policy = field(default_factory=dict)  # a role's
    max_session: int = 3600  # seconds
    tags: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Caller:
    """A verified caller: its principal, the policies that speak for it, and its session if it is a role's."""

    principal: Principal
    identity: tuple[Policy, ...]
    boundaries: tuple[Policy, ...] = ()
    session: Session | None = None
    access_key_id: str = ""
    tags: tuple[tuple[str, str], ...] = ()
    organization: str = ""

    @property
    def account(self) -> str:
        return self.principal.account

    @property
    def user_id(self) -> str:
        return f"{self.principal.unique_id}:{self.session.name}" if self.session else self.principal.unique_id

    def layers(self, state: State, resource_account: str) -> dict[str, Any]:
        """Return what the evaluator weighs beside the resource's own policy."""
        return {
            "identity": self.identity,
            "session": self.session.policy if self.session else None,
            "boundaries": self.boundaries,
            "scps": state.scps.get(self.account, ()),
            "rcps": state.rcps.get(resource_account, ()),
        }


def iam(account: str) -> Any:
    """Return moto's IAM of an account."""
    return iam_backends[account]["aws"]


# --- the caller ---------------------------------------------------------------------------------------------------


def secret_of(state: State, access_key_id: str, token: str, now: datetime, *, json_protocol: bool) -> str:
    """Return the secret that a signature has to be made with.

    Raises:
        AwsError: nobody has this key id, the session token is wrong or missing, or the session has ended.
    """
    if token:
        session = sessions.unseal(token, state.session_key)
        if session is None or session.access_key_id != access_key_id:
            raise _unknown(json_protocol)
        if session.expires_at <= now:
            words = "The security token included in the request is expired"
            code, status = ("ExpiredTokenException", 400) if json_protocol else ("ExpiredToken", 403)
            raise AwsError(code, words, status=status)
        return session.secret
    for keys in (*state.admins.values(), *state.roots.values()):
        if keys.access_key_id == access_key_id:
            return keys.secret
    for _, user in _users(state):
        for key in user.access_keys:
            if key.access_key_id == access_key_id and key.status == "Active":
                return str(key.secret_access_key)
    raise _unknown(json_protocol)


def _unknown(json_protocol: bool) -> AwsError:
    code = "UnrecognizedClientException" if json_protocol else "InvalidClientTokenId"
    return AwsError(
        code, "The security token included in the request is invalid.", status=400 if json_protocol else 403
    )


def _users(state: State) -> Iterator[tuple[str, Any]]:
    for account in state.admins:
        for user in iam(account).users.values():
            yield account, user


def account_of_key(state: State, access_key_id: str, token: str) -> str:
    """Return the account that an access key id claims to belong to, before anything is verified; "" when to none."""
    session = sessions.unseal(token, state.session_key) if token else None
    if session is not None:
        return session.account
    for keys in (*state.admins.values(), *state.roots.values()):
        if keys.access_key_id == access_key_id:
            return keys.account
    owned = (
        account for account, user in _users(state) for key in user.access_keys if key.access_key_id == access_key_id
    )
    return next(owned, "")


def caller_of(state: State, access_key_id: str, token: str, now: datetime) -> Caller:
    """Return the caller that verified credentials belong to, with its policies as far as they have got around."""
    if token:
        session = sessions.unseal(token, state.session_key)
        assert session is not None  # `secret_of` has seen it
        return _in_session(state, session, access_key_id, now)
    for keys in state.admins.values():
        if keys.access_key_id == access_key_id:
            return Caller(
                Principal(keys.arn, keys.account, keys.unique_id), (ADMINISTRATOR,), access_key_id=access_key_id
            )
    for keys in state.roots.values():
        if keys.access_key_id == access_key_id:
            return Caller(Principal(keys.arn, keys.account, keys.unique_id), (), access_key_id=access_key_id)
    for account, user in _users(state):
        if any(key.access_key_id == access_key_id for key in user.access_keys):
            holder = holder_by_arn(state, user.arn, now) or _user(account, user)
            principal = Principal(holder.arn, account, holder.unique_id)
            return Caller(principal, holder.identity, holder.boundaries, None, access_key_id, holder.tags)
    raise _unknown(False)


def _in_session(state: State, session: Session, access_key_id: str, now: datetime) -> Caller:
    role = _role_by_id(state, session.account, session.role_unique_id, now)
    name = role.name if role else "deleted"
    arn = f"arn:aws:sts::{session.account}:assumed-role/{name}/{session.name}"
    principal = Principal(arn, session.account, session.role_unique_id, role.arn if role else "")
    tags = tuple({**dict(role.tags if role else ()), **session.tags}.items())
    if role is None:  # its sessions outlive it, and may do nothing
        return Caller(principal, (), (), session, access_key_id, tags)
    return Caller(principal, role.identity, role.boundaries, session, access_key_id, tags)


def context_of(caller: Caller, region: str, now: datetime) -> dict[str, Any]:
    """Return the context keys that every request has (IAM guide, "AWS global condition context keys")."""
    stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    context: dict[str, Any] = {
        "aws:PrincipalArn": caller.principal.role_arn or caller.principal.arn,
        "aws:PrincipalAccount": caller.account,
        "aws:PrincipalType": "AssumedRole" if caller.session else "Account" if caller.principal.is_root else "User",
        "aws:PrincipalIsAWSService": "false",
        "aws:ViaAWSService": "false",
        "aws:userid": caller.user_id,
        "aws:SourceIp": "127.0.0.1",
        "aws:SecureTransport": "true",  # the loopback address stands in for TLS
        "aws:CurrentTime": stamp,
        "aws:EpochTime": str(int(now.timestamp())),
        "aws:RequestedRegion": region,
    }
    if caller.organization:
        context["aws:PrincipalOrgID"] = caller.organization
    if ":user/" in caller.principal.arn:
        context["aws:username"] = caller.principal.arn.rpartition("/")[2]
    if caller.session is not None:
        context["aws:MultiFactorAuthPresent"] = "false"
        if caller.session.source_identity:
            context["aws:SourceIdentity"] = caller.session.source_identity
    return context | {f"aws:PrincipalTag/{name}": value for name, value in caller.tags}


# --- users and roles ----------------------------------------------------------------------------------------------


def directory(account: str) -> dict[str, Holder]:
    """Return the users and roles of an account by ARN, as they are now."""
    roles = (_role(account, role) for role in iam(account).roles.values())
    users = (_user(account, user) for user in iam(account).users.values())
    return {holder.arn: holder for holder in (*roles, *users)}


def holder_by_arn(state: State, arn: str, now: datetime) -> Holder | None:
    """Return a user or role by its ARN, letter case and path exact, as far as it has got around."""
    account = evaluator.account_of(arn)
    if account not in state.admins:
        return None
    seen: Mapping[str, Holder] | None = state.visibility.seen("iam", account, now)
    if seen is not None:
        return seen.get(arn)
    if ":role/" in arn:
        role = next((role for role in iam(account).roles.values() if role.arn == arn), None)
        return _role(account, role) if role else None
    user = next((user for user in iam(account).users.values() if user.arn == arn), None)
    return _user(account, user) if user else None


def group_by_arn(state: State, arn: str) -> Holder | None:
    """Return a group, which holds policies and calls nothing."""
    account = evaluator.account_of(arn)
    groups = iam(account).groups.values() if account in state.admins else ()
    group = next((group for group in groups if group.arn == arn), None)
    return Holder(account, group.name, group.arn, str(group.id), tuple(_policies(group))) if group else None


def _role_by_id(state: State, account: str, unique_id: str, now: datetime) -> Holder | None:
    """Return a role by its unique id: a role that was deleted and created again is another one."""
    seen: Mapping[str, Holder] | None = state.visibility.seen("iam", account, now)
    if seen is not None:
        return next((holder for holder in seen.values() if holder.unique_id == unique_id), None)
    role = next((role for role in iam(account).roles.values() if role.id == unique_id), None)
    return _role(account, role) if role else None


def _role(account: str, role: Any) -> Holder:
    return Holder(
        account,
        role.name,
        role.arn,
        str(role.id),
        tuple(_policies(role)),
        tuple(_boundary(account, role)),
        parsed(role.assume_role_policy_document),
        int(role.max_session_duration or 3600),
        _tags(role),
    )


def _user(account: str, user: Any) -> Holder:
    return Holder(
        account,
        user.name,
        user.arn,
        str(user.id),
        (
            *_policies(user),
            *(policy for group in iam(account).groups.values() if user in group.users for policy in _policies(group)),
        ),
        tuple(_boundary(account, user)),
        tags=_tags(user),
    )


def _tags(holder: Any) -> tuple[tuple[str, str], ...]:
    tags = getattr(holder, "tags", None) or {}
    pairs = tags.values() if isinstance(tags, dict) else tags
    return tuple((str(tag["Key"]), str(tag["Value"])) for tag in pairs if isinstance(tag, dict))


def _policies(holder: Any) -> Iterator[Policy]:
    for document in holder.policies.values():
        yield parsed(document)
    for policy in holder.managed_policies.values():
        yield _default_version(policy)


def _boundary(account: str, holder: Any) -> Iterator[Policy]:
    arn = getattr(holder, "permissions_boundary_arn", None)
    if arn:
        policy = iam(account).managed_policies.get(arn)
        yield _default_version(policy) if policy else NOTHING


def managed_policy(account: str, arn: str) -> Policy | None:
    """Return the default version of a managed policy of an account."""
    policy = iam(account).managed_policies.get(arn)
    return _default_version(policy) if policy else None


def _default_version(policy: Any) -> Policy:
    return parsed(next(v.document for v in policy.versions if v.version_id == policy.default_version_id))


def parsed(document: Any) -> Policy:
    """Return a policy that moto keeps as text or as an object; it is not to be changed."""
    return _parsed(document) if isinstance(document, str) else document  # type: ignore[no-any-return]


@lru_cache(maxsize=4096)
def _parsed(text: str) -> Policy:
    return json.loads(text)  # type: ignore[no-any-return]


# --- principals in policies -----------------------------------------------------------------------------------------


def unique_id_of(state: State, arn: str) -> str | None:
    """Return the unique id of the user or role that an ARN names; None when there is none."""
    account = evaluator.account_of(arn)
    if account not in state.admins:
        return None
    if state.admins[account].arn == arn:
        return state.admins[account].unique_id
    rows = iam(account).roles if ":role/" in arn else iam(account).users
    return next((str(row.id) for row in rows.values() if row.arn == arn), None)


def check_principals(state: State, policy: Policy, *, code: str, words: str, now: datetime) -> None:
    """Refuse a policy that names a principal which does not exist: AWS stores unique ids, so it has to find them.

    Args:
        words: the message, with `{principal}` where AWS repeats it.
    """
    for statement in evaluator.statements(policy):
        for element in ("Principal", "NotPrincipal"):
            named = statement.get(element)
            if named is None or named == "*":
                continue
            kinds = set(named) if isinstance(named, dict) else {"?"}
            if not kinds or not kinds <= {"AWS", "Service", "Federated", "CanonicalUser"}:
                raise AwsError(code, words.format(principal=named if isinstance(named, str) else next(iter(kinds), "")))
            for name in evaluator.listed(named.get("AWS")):
                if not _exists(state, name, now):
                    raise AwsError(code, words.format(principal=name))


def _exists(state: State, name: str, now: datetime) -> bool:
    if name == "*" or name in state.admins:
        return True
    account = evaluator.account_of(name)
    if name.startswith("arn:aws:iam::") and name.endswith(f":{account}:root"):
        return account in state.admins
    if name.startswith("arn:aws:sts::") and ":assumed-role/" in name:
        role_name = name.split("/")[1]
        return account in state.admins and any(role.name == role_name for role in iam(account).roles.values())
    if name.startswith("arn:"):
        if state.visibility.seen("iam", account, now) is not None and holder_by_arn(state, name, now) is None:
            return account in state.admins and state.admins[account].arn == name
        return unique_id_of(state, name) is not None
    return name.startswith(("AROA", "AIDA"))  # a principal that was deleted since: AWS shows and takes its id


def bury(state: State, arn: str, unique_id: str) -> None:
    """After a user or role is deleted, policies that named it name its unique id:
    a new one of that name matches no more."""
    quoted, buried = json.dumps(arn), json.dumps(unique_id)
    for account in state.admins:
        for role in iam(account).roles.values():
            document = role.assume_role_policy_document
            role.assume_role_policy_document = json.loads(
                json.dumps(document).replace(json.dumps(quoted)[1:-1], json.dumps(buried)[1:-1])
            )
        for backend in kms_backends[account].values():
            for key in backend.keys.values():
                key.policy = key.policy.replace(quoted, buried)
                for grant in key.grants.values():
                    grant.grantee_principal = unique_id if grant.grantee_principal == arn else grant.grantee_principal
                    grant.retiring_principal = (
                        unique_id if grant.retiring_principal == arn else grant.retiring_principal
                    )
