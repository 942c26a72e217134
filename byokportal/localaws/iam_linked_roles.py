"""Roles that AWS's services make for themselves, and other roles that only AWS changes (IAM guide, "Create a
service-linked role"; names and words recorded from AWS: localstack/localstack, tests/aws/services/iam)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from byokportal.localaws import moto_adapter
from byokportal.localaws.errors import AwsError
from byokportal.localaws.identities import iam

# Service → its role, without what all of these names have; moto makes up names of its own.
RECORDED = """
accountdiscovery.ssm=AmazonSSM_AccountDiscovery acm=CertificateManager appmesh=AppMesh
autoscaling=AutoScaling autoscaling-plans=AutoScalingPlans_EC2AutoScaling backup=Backup batch=Batch
cassandra.application-autoscaling=ApplicationAutoScaling_CassandraTable
cks.kms=KeyManagementServiceCustomKeyStores cloudtrail=CloudTrail
codestar-notifications=CodeStarNotifications config=Config connect=AmazonConnect dms=DMSServerless
dms-fleet-advisor=DMSFleetAdvisor docdb-elastic=DocDB-Elastic ec2-instance-connect=Ec2InstanceConnect
ec2.application-autoscaling=ApplicationAutoScaling_EC2SpotFleetRequest ecr=ECRTemplate ecs=ECS
eks=AmazonEKS eks-connector=AmazonEKSConnector eks-fargate=AmazonEKSForFargate
eks-nodegroup=AmazonEKSNodegroup elasticache=ElastiCache elasticbeanstalk=ElasticBeanstalk
elasticfilesystem=AmazonElasticFileSystem elasticloadbalancing=ElasticLoadBalancing
email.cognito-idp=AmazonCognitoIdpEmailService emr-containers=AmazonEMRContainers emrwal=EMRWAL fis=FIS
grafana=AmazonGrafana imagebuilder=ImageBuilder iotmanagedintegrations=IoTManagedIntegrations kafka=Kafka
kafkaconnect=KafkaConnect lakeformation=LakeFormationDataAccess lex=LexBots lexv2=LexV2Bots
lightsail=Lightsail m2=AWSM2 memorydb=MemoryDB mq=AmazonMQ mrk.kms=KeyManagementServiceMultiRegionKeys
notifications=AwsUserNotifications observability.aoss=AmazonOpenSearchServerless
opensearchservice=AmazonOpenSearchService ops.apigateway=APIGateway ops.emr-serverless=AmazonEMRServerless
opsdatasync.ssm=SystemsManagerOpsDataSync opsinsights.ssm=AmazonSSM_OpsInsights
pullthroughcache.ecr=ECRPullThroughCache ram=ResourceAccessManager rds=RDS redshift=Redshift
replication.cassandra=KeyspacesReplication replication.ecr=ECRReplication
repository.sync.codeconnections=GitSync resource-explorer-2=ResourceExplorer rolesanywhere=RolesAnywhere
s3-outposts=S3OnOutposts ses=AmazonSES shield=AWSShield ssm=AmazonSSM ssm-incidents=IncidentManager
ssm-quicksetup=SSMQuickSetup sso=SSO vpcorigin.cloudfront=CloudFrontVPCOrigin waf=WAFLogging
wafv2=WAFV2Logging
"""
NAMES = dict(pair.split("=") for pair in RECORDED.split())
WITH_SUFFIX = {"autoscaling.amazonaws.com", "connect.amazonaws.com", "lexv2.amazonaws.com"}
SERVICE = re.compile(r"([a-z0-9-]+\.){1,3}amazonaws\.com", re.ASCII)
LINKED, RESERVED = "/aws-service-role/", "/aws-reserved/"  # paths
REFUSED = {
    "AddRoleToInstanceProfile",
    "AttachRolePolicy",
    "DeleteRole",
    "DeleteRolePermissionsBoundary",
    "DeleteRolePolicy",
    "DetachRolePolicy",
    "PutRolePermissionsBoundary",
    "PutRolePolicy",
    "UpdateAssumeRolePolicy",
}
TASK = re.compile(rb"(?<=<DeletionTaskId>)")


def check(account: str, action: str, form: Mapping[str, str], role: Any) -> None:
    """Refuse what is not for customers to do.

    Args:
        role: the one that the request names, if it is there.

    Raises:
        AwsError: UnmodifiableEntity, InvalidInput or NoSuchEntity.
    """
    if role is not None and action in REFUSED and role.path.startswith((LINKED, RESERVED)):
        words = (
            f"Cannot perform the operation on the protected role '{role.name}' - this role is only modifiable by AWS"
        )
        raise AwsError("UnmodifiableEntity", words)
    if role is not None and action == "DeleteServiceLinkedRole" and not role.path.startswith(LINKED):
        raise AwsError("NoSuchEntity", f"Role with name {role.name} cannot be found.", status=404)
    if action == "CreateServiceLinkedRole":
        _check_new(account, form)


def _check_new(account: str, form: Mapping[str, str]) -> None:
    service = form["AWSServiceName"]
    if not SERVICE.fullmatch(service):
        raise AwsError("InvalidInput", f"{service} is not the name of an AWS service that has service-linked roles.")
    if form.get("CustomSuffix") and service not in WITH_SUFFIX:
        raise AwsError("InvalidInput", f"Custom suffix is not allowed for {service}")
    name = _name(form)
    if name and any(role.name == name for role in iam(account).roles.values()):
        words = f"Service role name {name} has been taken in this account, please try a different suffix."
        raise AwsError("InvalidInput", words)


def _name(form: Mapping[str, str]) -> str:
    """Return the name of a service's role; "" where none was recorded."""
    known = NAMES.get(form["AWSServiceName"].removesuffix(".amazonaws.com"))
    suffix = f"_{form['CustomSuffix']}" if form.get("CustomSuffix") else ""
    return f"AWSServiceRoleFor{known}{suffix}" if known else ""


def as_aws(
    account: str, action: str, form: Mapping[str, str], role: Any, answered: moto_adapter.Answer
) -> moto_adapter.Answer:
    """Return moto's answer with AWS's names: of the new role, or of the task that deletes one."""
    if action == "DeleteServiceLinkedRole":
        return replace(answered, body=TASK.sub(f"task{role.path}{role.name}/".encode(), answered.body))
    name = _name(form) if action == "CreateServiceLinkedRole" else ""
    if not name:
        return answered
    made = list(iam(account).roles.values())[-1]
    old, made.name = made.name, name
    return replace(answered, body=answered.body.replace(old.encode(), name.encode()))
