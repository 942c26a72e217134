"""Which operations of AWS the local AWS does: one table, from which its documentation lists those it leaves out."""

from __future__ import annotations

from functools import cache

from botocore import loaders
from botocore.model import OperationModel, ServiceModel

from byokportal.localaws.errors import AwsError

VERSIONS = {"sts": "2011-06-15", "iam": "2010-05-08"}  # of the query protocol


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


DONE: dict[str, frozenset[str]] = {
    "sts": frozenset({"AssumeRole", "GetCallerIdentity"}),
    "cloudtrail": frozenset({"LookupEvents"}),
    "kms": _names(
        """
        CancelKeyDeletion CreateAlias CreateGrant CreateKey Decrypt DeleteAlias DescribeKey DisableKey
        DisableKeyRotation EnableKey EnableKeyRotation Encrypt GenerateDataKey GenerateDataKeyPair
        GenerateDataKeyPairWithoutPlaintext GenerateDataKeyWithoutPlaintext GenerateMac GenerateRandom GetKeyPolicy
        GetKeyRotationStatus GetPublicKey ListAliases ListGrants ListKeyPolicies ListKeyRotations ListKeys
        ListResourceTags ListRetirableGrants PutKeyPolicy ReEncrypt ReplicateKey RetireGrant RevokeGrant
        RotateKeyOnDemand ScheduleKeyDeletion Sign TagResource UntagResource UpdateAlias UpdateKeyDescription Verify
        VerifyMac
        """
    ),
    "iam": _names(
        """
        AddRoleToInstanceProfile AddUserToGroup AttachGroupPolicy AttachRolePolicy AttachUserPolicy CreateAccessKey
        CreateAccountAlias CreateGroup CreateInstanceProfile CreateLoginProfile CreateOpenIDConnectProvider
        CreatePolicy CreatePolicyVersion CreateRole CreateSAMLProvider CreateServiceLinkedRole CreateUser
        CreateVirtualMFADevice DeactivateMFADevice DeleteAccessKey DeleteAccountAlias DeleteAccountPasswordPolicy
        DeleteGroup DeleteGroupPolicy DeleteInstanceProfile DeleteLoginProfile DeleteOpenIDConnectProvider
        DeletePolicy DeletePolicyVersion DeleteRole DeleteRolePermissionsBoundary DeleteRolePolicy
        DeleteSAMLProvider DeleteServiceLinkedRole DeleteUser DeleteUserPermissionsBoundary DeleteUserPolicy
        DeleteVirtualMFADevice DetachGroupPolicy DetachRolePolicy DetachUserPolicy EnableMFADevice
        GetAccessKeyLastUsed GetAccountAuthorizationDetails GetAccountPasswordPolicy GetAccountSummary GetGroup
        GetGroupPolicy GetInstanceProfile GetLoginProfile GetOpenIDConnectProvider GetPolicy GetPolicyVersion GetRole
        GetRolePolicy GetSAMLProvider GetServiceLinkedRoleDeletionStatus GetUser GetUserPolicy ListAccessKeys
        ListAccountAliases ListAttachedGroupPolicies ListAttachedRolePolicies ListAttachedUserPolicies
        ListEntitiesForPolicy ListGroupPolicies ListGroups ListGroupsForUser ListInstanceProfiles
        ListInstanceProfilesForRole ListMFADevices ListOpenIDConnectProviderTags ListOpenIDConnectProviders
        ListPolicies ListPolicyTags ListPolicyVersions ListRolePolicies ListRoleTags ListRoles ListSAMLProviders
        ListUserPolicies ListUserTags ListUsers ListVirtualMFADevices PutGroupPolicy PutRolePermissionsBoundary
        PutRolePolicy PutUserPermissionsBoundary PutUserPolicy RemoveRoleFromInstanceProfile RemoveUserFromGroup
        SetDefaultPolicyVersion SimulatePrincipalPolicy TagInstanceProfile TagOpenIDConnectProvider TagPolicy TagRole
        TagUser UntagInstanceProfile UntagOpenIDConnectProvider UntagPolicy UntagRole UntagUser UpdateAccessKey
        UpdateAccountPasswordPolicy UpdateAssumeRolePolicy UpdateGroup UpdateLoginProfile
        UpdateOpenIDConnectProviderThumbprint UpdateRole UpdateRoleDescription UpdateSAMLProvider UpdateUser
        """
    ),
}


@cache
def model(service: str) -> ServiceModel:
    """Return AWS's own description of a service, as boto3 has it.

    A botocore session would read the profile of whoever runs this, and fail where there is none of its name.
    """
    return ServiceModel(loaders.create_loader().load_service_model(service, "service-2"), service)


@cache
def left_out(service: str) -> tuple[str, ...]:
    """Return the operations of a service that the local AWS does not do, in order."""
    return tuple(sorted(set(model(service).operation_names) - DONE[service]))


@cache
def of(service: str, name: str) -> OperationModel:
    """Return an operation that is done here.

    Raises:
        AwsError: AWS's answer to an operation that it does not know (STS API reference, "Common errors").
    """
    if name in DONE[service]:
        return model(service).operation_model(name)
    if service in VERSIONS:
        raise AwsError("InvalidAction", f"Could not find operation {name} for version {VERSIONS[service]}")
    raise AwsError("UnknownOperationException", "")
