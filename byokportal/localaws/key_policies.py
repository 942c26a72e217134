"""Key policies that KMS does not take, and the one of an AWS managed key (KMS guide, "Key policies in AWS KMS")."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

from byokportal.localaws import identities
from byokportal.localaws.errors import AwsError
from byokportal.localaws.identities import Caller
from byokportal.localaws.state import State
from keys.policies import conditions, evaluator
from keys.policies.evaluator import Request

MAX = 32_768  # bytes
LETTERS = re.compile(r"[\u0009\u000A\u000D\u0020-\u00FF]+")
MALFORMED = "MalformedPolicyDocumentException"


def check(
    state: State, caller: Caller, region: str, text: object, given: dict[str, Any], account: str, now: datetime
) -> None:
    """Refuse what KMS refuses to save.

    Raises:
        AwsError: no policy, an unknown principal, or one that would lock the caller out.
    """
    if not isinstance(text, str) or not 1 <= len(text) <= MAX:
        raise AwsError(
            "ValidationException",
            (
                "1 validation error detected: Value at 'policy' failed to satisfy constraint: "
                "Member must have length less than or equal to 131072"
            ),
        )
    if not LETTERS.fullmatch(text):
        words = (
            "Value at 'policy' failed to satisfy constraint: Member must satisfy regular expression pattern: "
            f"{LETTERS.pattern}"
        )
        raise AwsError("ValidationException", f"1 validation error detected: {words}")
    try:
        policy = json.loads(text)
    except (ValueError, RecursionError):
        raise AwsError(MALFORMED, "The policy is not valid JSON.") from None
    if not isinstance(policy, dict) or not evaluator.statements(policy):
        raise AwsError(MALFORMED, "Policy is invalid.")
    for statement in evaluator.statements(policy):
        if (
            statement.get("Effect") not in ("Allow", "Deny")
            or ("Action" in statement and "NotAction" in statement)
            or ("Principal" in statement) == ("NotPrincipal" in statement)
            or ("Resource" in statement and "NotResource" in statement)
            or ("Condition" in statement and not conditions.readable(statement["Condition"]))
        ):
            raise AwsError(MALFORMED, "Policy is invalid.")
    identities.check_principals(
        state, policy, code=MALFORMED, words="Policy contains a statement with one or more invalid principals.", now=now
    )
    if given.get("BypassPolicyLockoutSafetyCheck"):
        return
    context = identities.context_of(caller, region, now) | {"kms:CallerAccount": account}
    request = Request("kms:PutKeyPolicy", "*", caller.principal, context, account)
    # The check is about the policy alone: may the caller come back,
    # by this policy or by its account's identity policies?
    if not evaluator.evaluate(request, resource=policy, **caller.layers(state, account)).allowed or not _names(
        policy, request
    ):
        raise AwsError(MALFORMED, "The new key policy will not allow you to update the key policy in the future.")


def _names(policy: dict[str, Any], request: Request) -> bool:
    """Tell whether the key policy itself lets the caller in: identity policies alone never do."""
    everything = {"Statement": [{"Effect": "Allow", "Action": "kms:PutKeyPolicy", "Resource": "*"}]}
    key = Request(
        request.action,
        "arn:aws:kms:us-east-1:000000000000:key/new",
        request.principal,
        request.context,
        request.resource_account,
    )
    return evaluator.evaluate(key, resource=policy, identity=[everything]).allowed


def make_aws_managed(backend: Any, alias: str) -> None:
    """Make the key behind alias/aws/… when it is first looked at, as AWS does; it serves one AWS service alone."""
    if backend.alias_exists(alias):
        return
    key = backend.keys[backend._generate_default_keys(alias)]
    account, service = key.account_id, alias.removeprefix("alias/aws/")
    key.key_manager = "AWS"
    through = {"kms:CallerAccount": account, "kms:ViaService": f"{service}.{key.region}.amazonaws.com"}
    reads = ["kms:Describe*", "kms:Get*", "kms:List*", "kms:RevokeGrant"]
    key.policy = json.dumps(
        {
            "Version": "2012-10-17",
            "Id": f"auto-{service}-1",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"AWS": "*"},
                    "Action": [
                        "kms:Encrypt",
                        "kms:Decrypt",
                        "kms:ReEncrypt*",
                        "kms:GenerateDataKey*",
                        "kms:CreateGrant",
                        "kms:DescribeKey",
                    ],
                    "Resource": "*",
                    "Condition": {"StringEquals": through},
                },
                {
                    "Effect": "Allow",
                    "Principal": {"AWS": f"arn:aws:iam::{account}:root"},
                    "Action": reads,
                    "Resource": "*",
                },
            ],
        }
    )
