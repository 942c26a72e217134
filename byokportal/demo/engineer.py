"""The customer's engineer: plain boto3 with the customer account's own credentials,
and the documents as the API renders them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.config import Config


@dataclass(slots=True)
class Engineer:
    """Works in one AWS account; `request_id` is that of the last call."""

    endpoint: str
    account: str
    credentials: dict[str, str] = field(repr=False)
    region: str = "eu-central-1"
    request_id: str = ""

    def _call(self, service: str, operation: str, **parameters: Any) -> Any:
        session: Any = boto3.Session()
        client = session.client(
            service,
            endpoint_url=self.endpoint,
            region_name="us-east-1" if service == "iam" else self.region,
            aws_access_key_id=self.credentials["access_key_id"],
            aws_secret_access_key=self.credentials["secret_access_key"],
            config=Config(retries={"max_attempts": 1}),
        )
        answer = getattr(client, operation)(**parameters)
        self.request_id = answer["ResponseMetadata"]["RequestId"]
        return answer

    def create_key(self) -> str:
        return str(self._call("kms", "create_key", Description="Kore.ai BYOK")["KeyMetadata"]["Arn"])

    def create_role(self, name: str, trust_policy: str) -> str:
        return str(
            self._call("iam", "create_role", RoleName=name, AssumeRolePolicyDocument=trust_policy)["Role"]["Arn"]
        )

    def attach_permissions(self, role_name: str, policy_name: str, policy: str) -> str:
        arn = str(self._call("iam", "create_policy", PolicyName=policy_name, PolicyDocument=policy)["Policy"]["Arn"])
        self._call("iam", "attach_role_policy", RoleName=role_name, PolicyArn=arn)
        return arn

    def set_trust(self, role_name: str, trust_policy: str) -> None:
        self._call("iam", "update_assume_role_policy", RoleName=role_name, PolicyDocument=trust_policy)

    def add_key_statement(self, key_arn: str, statement: str) -> None:
        policy = json.loads(self._call("kms", "get_key_policy", KeyId=key_arn, PolicyName="default")["Policy"])
        policy["Statement"].append(json.loads(statement))
        self._call("kms", "put_key_policy", KeyId=key_arn, PolicyName="default", Policy=json.dumps(policy))

    def disable(self, key_arn: str) -> None:
        self._call("kms", "disable_key", KeyId=key_arn)

    def enable(self, key_arn: str) -> None:
        self._call("kms", "enable_key", KeyId=key_arn)
