"""Ready texts for a customer's own controls: organization policies, conditions of a key policy, alarms, queries; pure.

Each forbids or reports what is none of our doing, and nothing that we do; tests hold them against the local AWS.

Sources: SCPs take NotAction, NotResource and conditions with Deny (Organizations guide, "SCP syntax"); RCPs only deny,
for everybody, and cover STS and KMS among others ("Resource control policies"); `aws:PrincipalArn` of a session is its
role's ARN (IAM guide, "AWS global condition context keys"); DescribeKey carries no encryption context (KMS guide,
"kms:EncryptionContext:context-key"). EventBridge has KMS's calls with the detail type used here (EventBridge events
reference, "AWS KMS events": https://docs.aws.amazon.com/eventbridge/latest/ref/events-ref-kms.html) and IAM's in
us-east-1 alone. Metric filters take `$.resources[0].ARN` and session issuers (CloudWatch Logs guide, "Filter and
pattern syntax"). CloudTrail Lake has `element_at` over requestParameters and takes no new customers since 31 May 2026
(CloudTrail guide, "CloudTrail Lake availability change"), so the same question stands there for Logs Insights too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from keys.access import Access
from keys.arns import KeyArn, RoleArn
from keys.policies import guide
from keys.policies.guide import Beside, Document

DESCRIBE = "kms:DescribeKey"
# What ends or loosens the key or the role; each is a change, which EventBridge passes on without being asked for reads.
KEY_CHANGES = (
    "CancelKeyDeletion",
    "CreateGrant",
    "DeleteImportedKeyMaterial",
    "DisableKey",
    "DisableKeyRotation",
    "EnableKey",
    "PutKeyPolicy",
    "ScheduleKeyDeletion",
)
ROLE_CHANGES = (
    "AttachRolePolicy",
    "DeleteRole",
    "DeleteRolePermissionsBoundary",
    "DeleteRolePolicy",
    "DetachRolePolicy",
    "PutRolePermissionsBoundary",
    "PutRolePolicy",
    "UpdateAssumeRolePolicy",
)


@dataclass(frozen=True, slots=True)
class Known:
    """What the texts are made of.

    Args:
        access: with role and key.
        beside: keys that the same role, and roles that the same key, goes on serving for now.
        egress: the networks that our calls come from; empty where they are not fixed.
    """

    access: Access
    beside: Beside
    egress: Sequence[str] = ()

    @property
    def role(self) -> RoleArn:
        return self.access.both()[0]

    @property
    def key(self) -> KeyArn:
        return self.access.both()[1]

    @property
    def keys(self) -> list[str]:
        return [*self.beside.keys, str(self.key)]


def service_control_policy(known: Known) -> str:
    """The role can do nothing but use this key: for the organization of the role's account."""
    of_role = {"ArnEquals": {"aws:PrincipalArn": str(known.role)}}
    return _policy(
        {
            "Sid": "ByokRoleDoesNothingElse",
            "Effect": "Deny",
            "NotAction": list(known.access.actions),
            "Resource": "*",
            "Condition": of_role,
        },
        {
            "Sid": "ByokRoleUsesNoOtherKey",
            "Effect": "Deny",
            "Action": "kms:*",
            "NotResource": known.keys,
            "Condition": of_role,
        },
    )


def resource_control_policy(known: Known) -> str:
    """The role lets in our service role alone, with the External ID, from our addresses where they are fixed."""
    assume = {"Effect": "Deny", "Principal": "*", "Action": "sts:AssumeRole", "Resource": str(known.role)}
    service_role, external_id = str(known.access.service_role), known.access.external_id
    statements: list[Document] = [
        {"Sid": "OnlyKore", **assume, "Condition": {"ArnNotEquals": {"aws:PrincipalArn": service_role}}},
        {"Sid": "OnlyWithExternalId", **assume, "Condition": {"StringNotEquals": {"sts:ExternalId": external_id}}},
        {"Sid": "OnlyOverTls", **assume, "Condition": {"Bool": {"aws:SecureTransport": "false"}}},
    ]
    if known.egress:
        statements.append(
            {"Sid": "OnlyFromKore", **assume, "Condition": {"NotIpAddress": {"aws:SourceIp": list(known.egress)}}}
        )
    return _policy(*statements)


def key_policy_conditions(known: Known) -> str:
    """The statement of step 3 in two: what carries an encryption context has to carry yours."""
    statement = guide.key_policy_statement(str(known.role), known.beside.roles, known.access.actions)
    address = {"IpAddress": {"aws:SourceIp": list(known.egress)}} if known.egress else {}
    context = {"StringEquals": {"kms:EncryptionContext:tenant": known.access.tenant}}
    use = {
        **statement,
        "Action": [action for action in known.access.actions if action != DESCRIBE],
        "Condition": {**context, **address},
    }
    describe = {**statement, "Sid": "AllowYourAppToDescribe", "Action": DESCRIBE}
    return guide.render([use, describe | ({"Condition": address} if address else {})])


def eventbridge_key(known: Known) -> str:
    """An event pattern: somebody changed the key. For a rule in the key's Region."""
    return _pattern("kms", {"eventName": list(KEY_CHANGES), "resources": {"ARN": known.keys}})


def eventbridge_role(known: Known) -> str:
    """An event pattern: somebody changed the role. For a rule in us-east-1, where IAM's events are."""
    names = {"eventName": list(ROLE_CHANGES), "requestParameters": {"roleName": [known.role.name]}}
    return _pattern("iam", names)


def cloudwatch_alarms(known: Known) -> str:
    """A script that makes two metric filters on the log group of a trail, and an alarm for each."""
    source, issuer = "$.eventSource = kms.amazonaws.com", "$.userIdentity.sessionContext.sessionIssuer.arn"
    calls = " || ".join(f"($.eventName = {name})" for name in ("Decrypt", "Encrypt", "ReEncrypt", "GenerateDataKey*"))
    others = f'{{ ({source}) && ($.resources[0].ARN = "{known.key}") && ({issuer} != "{known.role}") && ({calls}) }}'
    # Our test proves that a wrong encryption context does not open: KMS answers that with InvalidCiphertextException.
    refused = (
        f'{{ ({source}) && ({issuer} = "{known.role}") && ($.errorCode = "*") && '
        '($.errorCode != "InvalidCiphertextException") }'
    )
    return f"""#!/usr/bin/env bash
set -euo pipefail

# The log group of your CloudTrail, and the SNS topic that is told: LOG_GROUP=… TOPIC_ARN=… bash byok-alarms.sh
: "${{LOG_GROUP:?}}" "${{TOPIC_ARN:?}}"

alarm() {{
  aws logs put-metric-filter --region {known.key.region} --log-group-name "$LOG_GROUP" --filter-name "$1" \\
    --filter-pattern "$2" --metric-transformations "metricName=$1,metricNamespace=Byok,metricValue=1"
  aws cloudwatch put-metric-alarm --region {known.key.region} --alarm-name "$1" --alarm-description "$3" \\
    --namespace Byok --metric-name "$1" --statistic Sum --period 300 --evaluation-periods 1 --threshold 1 \\
    --comparison-operator GreaterThanOrEqualToThreshold --treat-missing-data notBreaching --alarm-actions "$TOPIC_ARN"
}}

alarm ByokKeyUsedByOthers '{others}' "Somebody else than the role for Kore.ai used the key"
alarm ByokKeyRefused '{refused}' "AWS refused Kore.ai the key"
"""


def cloudtrail_lake_query(known: Known) -> str:
    """Every use of the key through the role, newest first."""
    lines = (
        "SELECT eventTime, eventName, awsRegion, sourceIPAddress, errorCode, requestId, userIdentity.arn AS session,",
        "  element_at(requestParameters, 'encryptionContext') AS encryptionContext",
        "FROM <event-data-store-id>",
        "WHERE eventSource = 'kms.amazonaws.com'",
        f"  AND userIdentity.sessionContext.sessionIssuer.arn = '{known.role}'",
        "ORDER BY eventTime DESC",
    )
    return "\n".join(lines)


def logs_insights_query(known: Known) -> str:
    """The same question for CloudWatch Logs Insights, on the log group of a trail."""
    return f"""fields eventTime, eventName, awsRegion, sourceIPAddress, errorCode, requestID, userIdentity.arn,
  requestParameters.encryptionContext.tenant
| filter eventSource = "kms.amazonaws.com"
| filter userIdentity.sessionContext.sessionIssuer.arn = "{known.role}"
| sort eventTime desc"""


CONTROLS: dict[str, Callable[[Known], str]] = {
    "scp": service_control_policy,
    "rcp": resource_control_policy,
    "key-policy-conditions": key_policy_conditions,
    "eventbridge-key": eventbridge_key,
    "eventbridge-role": eventbridge_role,
    "cloudwatch-alarms": cloudwatch_alarms,
    "cloudtrail-lake": cloudtrail_lake_query,
    "logs-insights": logs_insights_query,
}
FILES = {
    "scp": "byok-scp.json",
    "rcp": "byok-rcp.json",
    "key-policy-conditions": "byok-key-policy-statements.json",
    "eventbridge-key": "byok-eventbridge-key.json",
    "eventbridge-role": "byok-eventbridge-role.json",
    "cloudwatch-alarms": "byok-alarms.sh",
    "cloudtrail-lake": "byok-cloudtrail-lake.sql",
    "logs-insights": "byok-logs-insights.txt",
}


def _policy(*statements: Document) -> str:
    return guide.render({"Version": "2012-10-17", "Statement": list(statements)})


def _pattern(service: str, detail: Document) -> str:
    pattern = {
        "source": [f"aws.{service}"],
        "detail-type": ["AWS API Call via CloudTrail"],
        "detail": {"eventSource": [f"{service}.amazonaws.com"], **detail},
    }
    return json.dumps(pattern, indent=2)
