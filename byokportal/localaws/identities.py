"""Who calls, and which policies speak for them: users, roles and sessions of the local AWS."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from moto.iam.models import Role, iam_backends

from byokportal.localaws.errors import AwsError
from byokportal.localaws.state import Session, State
from keys.policies import evaluator
from keys.policies.evaluator import Policy, Principal

ADMINISTRATOR: Policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


@dataclass(frozen=True, slots=True)
class Caller:
    """A verified caller: its principal, the policies that speak for it, and its session if it is a role's."""

    principal: Principal
    identity: tuple[Policy, ...]
    boundaries: tuple[Policy, ...] = ()
    session: Session | None = None

    @property
    def account(self) -> str:
        return self.principal.account

    @property
    def user_id(self) -> str:
        return f"{self.principal.unique_id}:{self.session.name}" if self.session else self.principal.unique_id


def iam(account: str) -> Any:
    """Return moto's IAM of an account."""
    return iam_backends[account]["aws"]


def secret_of(state: State, access_key_id: str, token: str, now: datetime, *, kms: bool) -> str:
    """Return the secret that a signature has to be made with.

    Raises:
        AwsError: nobody has this key id, the session token is wrong or missing, or the session has ended.
    """
    session = state.sessions.get(access_key_id)
    if session is not None:
        if session.token != token:
            raise _unknown(kms)
        if session.expires_at <= now:
            words = "The security token included in the request is expired"
            raise AwsError("ExpiredTokenException" if kms else "ExpiredToken", words, status=400 if kms else 403)
        return session.secret
    if token:
        raise _unknown(kms)
    for admin in state.admins.values():
        if admin.access_key_id == access_key_id:
            return admin.secret
    for user in _users(state):
        for key in user.access_keys:
            if key.access_key_id == access_key_id and key.status == "Active":
                return str(key.secret_access_key)
    raise _unknown(kms)


def _unknown(kms: bool) -> AwsError:
    code = "UnrecognizedClientException" if kms else "InvalidClientTokenId"
    return AwsError(code, "The security token included in the request is invalid.", status=400 if kms else 403)


def _users(state: State) -> Iterator[Any]:
    for account in state.admins:
        yield from iam(account).users.values()


def caller_of(state: State, access_key_id: str) -> Caller:
    """Return the caller that an access key id (already verified) belongs to."""
    session = state.sessions.get(access_key_id)
    if session is not None:
        role = role_by_id(session.account, session.role_unique_id)
        name = role.name if role else "deleted"
        arn = f"arn:aws:sts::{session.account}:assumed-role/{name}/{session.name}"
        principal = Principal(arn, session.account, session.role_unique_id, role.arn if role else "")
        return Caller(
            principal, tuple(_policies(role)) if role else (), tuple(_boundary(role)) if role else (), session
        )
    for admin in state.admins.values():
        if admin.access_key_id == access_key_id:
            return Caller(Principal(admin.arn, admin.account, admin.unique_id), (ADMINISTRATOR,))
    for account in state.admins:
        for user in iam(account).users.values():
            if any(key.access_key_id == access_key_id for key in user.access_keys):
                return Caller(Principal(user.arn, account, user.id), tuple(_policies(user)), tuple(_boundary(user)))
    raise _unknown(False)


def role_by_id(account: str, unique_id: str) -> Role | None:
    """Return a role by its unique id: a role that was deleted and created again is another one."""
    return next((role for role in iam(account).roles.values() if role.id == unique_id), None)


def role_by_arn(arn: str) -> Role | None:
    """Return a role by its ARN, letter case and path exact."""
    account = evaluator.account_of(arn)
    return next((role for role in iam(account).roles.values() if role.arn == arn), None)


def unique_id_of(state: State, arn: str) -> str | None:
    """Return the unique id of the user or role that an ARN names; None when there is none."""
    account = evaluator.account_of(arn)
    if account not in state.admins:
        return None
    if state.admins[account].arn == arn:
        return state.admins[account].unique_id
    if ":role/" in arn:
        role = role_by_arn(arn)
        return str(role.id) if role else None
    return next((str(user.id) for user in iam(account).users.values() if user.arn == arn), None)


def _policies(holder: Any) -> Iterator[Policy]:
    for document in holder.policies.values():
        yield _parsed(document)
    for policy in holder.managed_policies.values():
        yield _parsed(next(v.document for v in policy.versions if v.version_id == policy.default_version_id))


def _boundary(holder: Any) -> Iterator[Policy]:
    arn = getattr(holder, "permissions_boundary_arn", None)
    if arn:
        policy = iam(evaluator.account_of(arn)).managed_policies.get(arn)
        yield (
            _parsed(next(v.document for v in policy.versions if v.version_id == policy.default_version_id))
            if policy
            else {"Statement": []}
        )


def _parsed(document: Any) -> Policy:
    return json.loads(document) if isinstance(document, str) else document  # type: ignore[no-any-return]


def check_principals(state: State, policy: Policy, *, code: str, words: str) -> None:
    """Refuse a policy that names a principal which does not exist: AWS stores unique ids, so it has to find them.

    Args:
        words: the message, with `{principal}` where AWS repeats it.
    """
    for statement in evaluator.statements(policy):
        for element in ("Principal", "NotPrincipal"):
            named = statement.get(element)
            if not isinstance(named, dict):
                continue
            for name in evaluator.listed(named.get("AWS")):
                if not _exists(state, name):
                    raise AwsError(code, words.format(principal=name))


def _exists(state: State, name: str) -> bool:
    if name == "*":
        return True
    if name in state.admins or (
        name.startswith("arn:aws:iam::") and name.endswith(":root") and evaluator.account_of(name) in state.admins
    ):
        return True
    if name.startswith("arn:aws:sts::") and ":assumed-role/" in name:
        account, role_name = evaluator.account_of(name), name.split("/")[1]
        return account in state.admins and any(role.name == role_name for role in iam(account).roles.values())
    if name.startswith("arn:"):
        return unique_id_of(state, name) is not None
    return name.startswith(("AROA", "AIDA"))  # a principal that was deleted since: AWS shows and takes its id


def bury(state: State, arn: str, unique_id: str) -> None:
    """After a user or role is deleted, policies that named it name its unique id: a new one of that name matches no more."""
    from moto.kms.models import kms_backends

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
