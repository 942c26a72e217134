"""Two AWS accounts to try things in: those of the local AWS, or real ones when credentials for two are given."""

from __future__ import annotations

import functools
import json
import os
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from byokportal.localaws.testing import LocalAws

REGION, ELSEWHERE = "eu-central-1", "eu-west-1"
CONFIG = Config(retries={"max_attempts": 1}, connect_timeout=3, read_timeout=15, parameter_validation=False)
EVERYTHING = {"Effect": "Allow", "Action": "*", "Resource": "*"}
GUIDE = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]
Statement = dict[str, Any]


def policy(*statements: Statement, version: str = "2012-10-17") -> str:
    return json.dumps({"Version": version, "Statement": list(statements)})


def allow(action: Any, resource: Any = "*", **more: Any) -> Statement:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action: Any, resource: Any = "*", **more: Any) -> Statement:
    return {"Effect": "Deny", "Action": action, "Resource": resource, **more}


def trusting(principal: Any, *, effect: str = "Allow", action: Any = "sts:AssumeRole", **condition: Any) -> Statement:
    """A statement of a trust policy; `condition` is operator → keys."""
    named = {"AWS": principal} if isinstance(principal, str | list) and principal != "*" else principal
    return {"Effect": effect, "Principal": named, "Action": action, **({"Condition": condition} if condition else {})}


@functools.lru_cache(maxsize=64)
def _client(session: Any, service: str, region: str, endpoint: str | None, *keys: str | None) -> Any:
    names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
    return session.client(
        service, region_name=region, endpoint_url=endpoint, config=CONFIG, **dict(zip(names, keys, strict=False))
    )


PLAIN = boto3.Session()  # one for all: reading the service models is what costs


@dataclass
class World:
    """`ours` calls, `theirs` owns: account ids. Everything made here is removed by `close`."""

    ours: str
    theirs: str
    sessions: dict[str, Any]
    endpoint: str | None = None
    local: LocalAws | None = None
    run: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    _undo: list[Callable[[], Any]] = field(default_factory=list)
    _count: int = 0

    def client(self, who: str | dict[str, str], service: str, region: str = REGION) -> Any:
        """A client of an account's administrator (account id), or of a session's credentials."""
        region = "us-east-1" if service == "iam" else region
        if isinstance(who, str):
            return _client(self.sessions[who], service, region, self.endpoint)
        return _client(
            PLAIN, service, region, self.endpoint, who["AccessKeyId"], who["SecretAccessKey"], who.get("SessionToken")
        )

    def name(self, word: str = "thing") -> str:
        self._count += 1
        return f"byok-{word}-{self.run}-{self._count}"

    def settle(self) -> None:
        """Wait until a change is seen everywhere: real AWS takes seconds."""
        if self.local is None:
            time.sleep(12)

    def role(self, account: str, trust: str, *statements: Statement, boundary: str = "", **options: Any) -> str:
        """Create a role with one inline policy; return its ARN."""
        iam, name = self.client(account, "iam"), options.pop("name", "") or self.name("role")
        if boundary:
            options["PermissionsBoundary"] = boundary
        arn: str = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust, **options)["Role"]["Arn"]
        self._undo.append(lambda: iam.delete_role(RoleName=name))
        if statements:
            iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=policy(*statements))
            self._undo.append(lambda: iam.delete_role_policy(RoleName=name, PolicyName="p"))
        self.settle()
        return arn

    def user(self, account: str, *statements: Statement, boundary: str = "") -> tuple[str, dict[str, str]]:
        """Create a user with one inline policy; return its ARN and access keys."""
        iam, name = self.client(account, "iam"), self.name("user")
        options = {"PermissionsBoundary": boundary} if boundary else {}
        arn: str = iam.create_user(UserName=name, **options)["User"]["Arn"]
        self._undo.append(lambda: iam.delete_user(UserName=name))
        keys = iam.create_access_key(UserName=name)["AccessKey"]
        self._undo.append(lambda: iam.delete_access_key(UserName=name, AccessKeyId=keys["AccessKeyId"]))
        if statements:
            iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=policy(*statements))
            self._undo.append(lambda: iam.delete_user_policy(UserName=name, PolicyName="p"))
        self.settle()
        return arn, keys

    def managed(self, account: str, *statements: Statement) -> str:
        iam = self.client(account, "iam")
        arn: str = iam.create_policy(PolicyName=self.name("policy"), PolicyDocument=policy(*statements))["Policy"][
            "Arn"
        ]
        self._undo.append(lambda: iam.delete_policy(PolicyArn=arn))
        return arn

    def key(self, account: str, *statements: Statement, region: str = REGION, **options: Any) -> str:
        """Create a key; with statements they stand beside the one that lets the account's IAM policies
        decide for users."""
        kms = self.client(account, "kms", region)
        if statements:
            options["Policy"] = policy(self.owner(account), *statements)
        arn: str = kms.create_key(**options)["KeyMetadata"]["Arn"]
        self._undo.append(lambda: kms.schedule_key_deletion(KeyId=arn, PendingWindowInDays=7))
        self.settle()
        return arn

    @staticmethod
    def owner(account: str) -> Statement:
        """Lets the account's users administer the key, and no role use it."""
        users = {"ArnLike": {"aws:PrincipalArn": f"arn:aws:iam::{account}:user/*"}}
        return {
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{account}:root"},
            "Action": "kms:*",
            "Resource": "*",
            "Condition": users,
        }

    def us(self) -> tuple[str, dict[str, str]]:
        """A role of ours that may assume roles, and a session of it."""
        arn = self.role(self.ours, policy(trusting(self.ours)), allow("sts:*"), allow("kms:*"))
        return arn, self.session(self.ours, arn)

    def session(self, by: str | dict[str, str], role_arn: str, **options: Any) -> dict[str, str]:
        """Assume a role and return the credentials."""
        options = {"RoleSessionName": "conformance", **options}
        credentials: dict[str, str] = self.client(by, "sts").assume_role(RoleArn=role_arn, **options)["Credentials"]
        return credentials

    def insider(self, *statements: Statement, **options: Any) -> tuple[str, dict[str, str]]:
        """A role in their account and a session of it that their administrator made."""
        arn = self.role(self.theirs, policy(trusting(self.theirs)), *statements)
        return arn, self.session(self.theirs, arn, **options)

    def close(self) -> None:
        for undo in reversed(self._undo):
            try:
                undo()
            except ClientError:
                continue  # the row has removed it itself


def local_world(aws: LocalAws) -> World:
    ours, theirs = "999900001111", "111122223333"
    return World(ours, theirs, {account: _session(aws, account) for account in (ours, theirs)}, aws.endpoint, aws)


@functools.cache
def _session(aws: LocalAws, account: str) -> Any:
    return aws.session(account)


def real_world() -> World:
    """Two real accounts by the profiles of CONFORMANCE_OURS and CONFORMANCE_THEIRS;
    their users need AdministratorAccess."""
    sessions = [boto3.Session(profile_name=os.environ[name]) for name in ("CONFORMANCE_OURS", "CONFORMANCE_THEIRS")]
    ids = [session.client("sts").get_caller_identity()["Account"] for session in sessions]
    if ids[0] == ids[1]:
        raise SystemExit("CONFORMANCE_OURS and CONFORMANCE_THEIRS are one account; two are needed.")
    return World(ids[0], ids[1], dict(zip(ids, sessions, strict=True)))
